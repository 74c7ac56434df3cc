//! Any history of one session: what the operator, the network, the clock and the peer do, cut from the input. Octets of
//! the peer's come raw, as bodies behind a proper header, and as an OPEN that is accepted, so that every state is reached.
#![no_main]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anycaster::Time;
use anycaster::bgp::session::{Action, Kind, Session, Settings, WINDOW};
use anycaster::bgp::wire::{self, Asn, Capabilities, Family, MAX_MESSAGE, Message, Notification, Open};
use anycaster::config::{Families, PeerAsn};
use anycaster::engine::{Closed, ConnectionId};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

const OURS: u32 = 65010;
const THEIRS: u32 = 65001;

fuzz_target!(|input: &[u8]| {
    let mut input = Input(input);
    let mut world = World {
        session: Session::new(settings(&mut input)),
        now: Time::from_nanos(1),
        connection: None,
        dialled: None,
        unwritten: 0,
        up: false,
    };
    while !input.0.is_empty() {
        world.step(&mut input);
        world.drain();
        let _ = world.session.status();
    }
});

/// Octets of the input; zeros behind its end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

fn settings(input: &mut Input<'_>) -> Settings {
    let bits = input.u8();
    let wait = |octet: u8| Duration::from_millis(u64::from(octet) * 10);
    Settings {
        name: "tor".into(),
        peer_asn: match bits & 3 {
            0 | 1 => PeerAsn::Is(Asn::new(THEIRS).unwrap()),
            2 => PeerAsn::External,
            _ => PeerAsn::Internal,
        },
        local_asn: Asn::new(OURS).unwrap(),
        address: "10.0.0.1:179".parse().unwrap(),
        families: Families { ipv4: bits & 4 == 0, ipv6: bits & 8 == 0 },
        hold_time: if bits & 16 == 0 { 9 } else { 0 },
        min_hold_time: if bits & 32 == 0 { 0 } else { 3 },
        connect_retry: wait(input.u8()),
        idle_hold: wait(input.u8()),
        idle_hold_max: wait(input.u8()),
        send_hold_time: (bits & 64 != 0).then_some(Duration::from_secs(20)),
        extended_next_hop: bits & 128 != 0,
        connections: 7 << 32,
        seed: 1,
    }
}

struct World {
    session: Session,
    now: Time,
    /// Dialled and not closed by us, nor by the peer.
    connection: Option<ConnectionId>,
    dialled: Option<ConnectionId>,
    /// Octets sent on it that the kernel has not taken.
    unwritten: usize,
    up: bool,
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        let Some(connection) = self.connection else {
            return match input.u8() % 4 {
                0 | 1 => self.session.start(self.now, Ipv4Addr::new(10, 0, 0, 10)),
                2 => self.wait(input),
                _ => self.tick_when_due(),
            };
        };
        match input.u8() % 16 {
            0 => {
                let local: SocketAddr = "10.0.0.10:40000".parse().unwrap();
                self.session.connected(self.now, connection, local);
            }
            1 | 2 => {
                let length = usize::from(input.u8());
                self.session.received(self.now, connection, input.take(length));
            }
            3..=5 => {
                let kind = input.u8();
                let length = usize::from(input.u16() % 512);
                let message = message(kind, input.take(length));
                self.in_pieces(connection, &message, input.u8());
            }
            6 | 7 => {
                let open = open(input);
                self.in_pieces(connection, &open, 0);
            }
            8 | 9 => self.session.received(self.now, connection, &wire::keepalive()),
            10 => self.wait(input),
            11 => self.tick_when_due(),
            12 => {
                let written = self.unwritten.min(usize::from(input.u16()));
                self.unwritten -= written;
                self.session.written(self.now, connection, written);
            }
            13 => self.send(usize::from(input.u16())),
            14 => {
                let why = match input.u8() % 4 {
                    0 => Closed::ByPeer,
                    1 => Closed::Failed("reset (os error 104)".into()),
                    2 => Closed::Refused("Connection refused".into()),
                    _ => Closed::AsAsked,
                };
                self.session.closed(self.now, connection, &why);
                self.connection = None;
            }
            _ => {
                let cease = Notification::administrative_shutdown("maintenance");
                self.session.stop(self.now, cease);
            }
        }
    }

    fn in_pieces(&mut self, connection: ConnectionId, octets: &[u8], piece: u8) {
        let size = if piece == 0 { octets.len() } else { usize::from(piece) };
        for piece in octets.chunks(size.max(1)) {
            self.session.received(self.now, connection, piece);
        }
    }

    fn wait(&mut self, input: &mut Input<'_>) {
        self.now = self.now + Duration::from_millis(u64::from(input.u16()));
        self.tick();
    }

    fn tick_when_due(&mut self) {
        if self.session.deadline() != Time::MAX {
            self.now = self.now.max(self.session.deadline());
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.session.tick(self.now);
        assert!(self.session.deadline() > self.now, "a tick leaves nothing due");
    }

    /// As the engine does: no more than there is room for.
    fn send(&mut self, octets: usize) {
        let mut out = BytesMut::new();
        while out.len() < octets.min(self.session.room()) {
            wire::end_of_rib(Family::Ipv6, &mut out);
        }
        if !out.is_empty() {
            self.session.send(self.now, out.freeze(), 1);
        }
    }

    fn drain(&mut self) {
        let mut farewell = false;
        while let Some(action) = self.session.poll() {
            assert!(
                !farewell || matches!(action, Action::Sent { .. } | Action::Close { .. }),
                "{action:?} behind a NOTIFICATION"
            );
            match action {
                Action::Dial { connection, .. } => {
                    assert_eq!(self.connection, None, "two connections");
                    assert!(self.dialled < Some(connection), "a number used twice");
                    self.dialled = Some(connection);
                    self.connection = Some(connection);
                    self.unwritten = 0;
                }
                Action::Send { connection, bytes } => {
                    assert_eq!(Some(connection), self.connection, "sent where nobody is");
                    self.unwritten += bytes.len();
                    farewell = ours(bytes);
                }
                Action::Close { connection } => {
                    assert_eq!(Some(connection), self.connection, "closed twice");
                    self.connection = None;
                    farewell = false;
                }
                Action::Up(_) => assert!(!std::mem::replace(&mut self.up, true), "up twice"),
                Action::Down { .. } => {
                    assert!(std::mem::replace(&mut self.up, false), "down twice");
                }
                Action::Failed { .. } => assert!(!self.up, "failed while up"),
                Action::Refresh { .. } => assert!(self.up, "refresh while down"),
                Action::Sent { kind, .. } => assert!(!farewell || kind == Kind::Notification),
                Action::Flushed { .. } | Action::Received(_) => {}
            }
        }
        assert!(!farewell, "a NOTIFICATION and no close");
        assert!(self.unwritten <= WINDOW + 2 * MAX_MESSAGE, "{} octets wait", self.unwritten);
        assert!(self.session.room() <= WINDOW);
        assert!(self.up || self.session.room() == 0);
    }
}

/// Everything we send can be read; whether it ends with a NOTIFICATION.
fn ours(bytes: Bytes) -> bool {
    let mut buffer = BytesMut::from(bytes);
    let mut last = None;
    while let Some(frame) = wire::frame(&mut buffer, MAX_MESSAGE).expect("our own header") {
        let codec =
            wire::Codec { four_octet_asn: true, extended_message: false, extended_next_hop: true, internal: false };
        last = Some(wire::decode(&frame, &codec).expect("our own message"));
    }
    assert!(buffer.is_empty(), "half a message");
    matches!(last, Some(Message::Notification(_)))
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap();
    [&[0xFF; 16], &length.to_be_bytes()[..], &[kind % 8], body].concat()
}

fn open(input: &mut Input<'_>) -> Bytes {
    let bits = input.u8();
    let asn = if bits & 1 == 0 { THEIRS } else { OURS };
    wire::open(&Open {
        version: 4,
        asn,
        hold_time: u16::from(input.u8() % 16),
        id: Ipv4Addr::new(10, 0, 0, 1),
        capabilities: Capabilities {
            families: Family::ALL.to_vec(),
            multiprotocol: true,
            route_refresh: true,
            extended_next_hop: bits & 2 != 0,
            extended_message: bits & 4 != 0,
            four_octet_asn: (bits & 8 == 0).then_some(asn),
            enhanced_route_refresh: bits & 16 == 0,
            unknown: Vec::new(),
        },
    })
}
