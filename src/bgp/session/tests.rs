#![allow(clippy::wildcard_enum_match_arm, reason = "a table names only the rows that differ")]

mod histories;
mod timers;
mod words;

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::*;
use crate::bgp::wire::{self, Capabilities, Open};
use crate::config::{Families, PeerAsn};

const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
const FIRST: ConnectionId = ConnectionId(100);

fn settings() -> Settings {
    Settings {
        name: "tor-a".to_owned(),
        peer_asn: PeerAsn::Is(Asn::new(65001).unwrap()),
        local_asn: Asn::new(65010).unwrap(),
        address: "10.0.0.1:179".parse().unwrap(),
        families: Families { ipv4: true, ipv6: true },
        hold_time: 9,
        min_hold_time: 3,
        connect_retry: Duration::from_secs(5),
        idle_hold: Duration::from_secs(1),
        idle_hold_max: Duration::from_secs(60),
        send_hold_time: None,
        extended_next_hop: false,
        connections: FIRST.0,
        seed: 1,
    }
}

fn at(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

fn local() -> SocketAddr {
    "10.0.0.10:40000".parse().unwrap()
}

fn peer_open() -> Open {
    Open {
        version: 4,
        asn: 65001,
        hold_time: 90,
        id: Ipv4Addr::new(10, 0, 0, 1),
        capabilities: Capabilities {
            families: vec![Family::Ipv4, Family::Ipv6],
            multiprotocol: true,
            route_refresh: true,
            extended_message: true,
            four_octet_asn: Some(65001),
            enhanced_route_refresh: true,
            ..Capabilities::default()
        },
    }
}

/// The UPDATE with nothing in it: End-of-RIB of IPv4 (RFC 4724 §2).
fn update() -> Bytes {
    let mut bytes = BytesMut::new();
    wire::end_of_rib(Family::Ipv4, &mut bytes);
    bytes.freeze()
}

fn drain(session: &mut Session) -> Vec<Action> {
    std::iter::from_fn(|| session.poll()).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Stopped,
    Idle,
    Active,
    Connect,
    OpenSent,
    OpenConfirm,
    Established,
}

const STATES: [At; 7] =
    [At::Stopped, At::Idle, At::Active, At::Connect, At::OpenSent, At::OpenConfirm, At::Established];

/// A session led to `state` at time 0, drained, and the connection that counts there (or counted last).
fn led_to(settings: Settings, state: At) -> Session {
    let mut session = Session::new(settings);
    let hear = |session: &mut Session, bytes: Bytes| session.received(at(0), FIRST, &bytes);
    if state != At::Stopped {
        session.start(at(0), US);
    }
    match state {
        At::Stopped | At::Connect => {}
        At::Active => session.closed(at(0), FIRST, &Closed::ByPeer),
        At::Idle | At::OpenSent | At::OpenConfirm | At::Established => {
            session.connected(at(0), FIRST, local());
        }
    }
    match state {
        At::Stopped | At::Connect | At::Active | At::OpenSent => {}
        At::Idle => hear(&mut session, wire::keepalive()),
        At::OpenConfirm | At::Established => hear(&mut session, wire::open(&peer_open())),
    }
    if state == At::Established {
        hear(&mut session, wire::keepalive());
    }
    let name = if state == At::Stopped { "Idle".to_owned() } else { format!("{state:?}") };
    assert_eq!(session.status().state, name);
    drain(&mut session);
    session
}

fn dial(n: u64) -> Action {
    Action::Dial { connection: ConnectionId(FIRST.0 + n), to: settings().address }
}

fn send(bytes: Bytes) -> Action {
    Action::Send { connection: FIRST, bytes }
}

fn sent(kind: Kind) -> Action {
    Action::Sent { kind, messages: 1 }
}

fn notified(code: u8, subcode: u8, data: &[u8]) -> Vec<Action> {
    let bytes = wire::notification(&Notification::new(code, subcode, data));
    vec![send(bytes), sent(Kind::Notification), Action::Close { connection: FIRST }]
}

/// What happened, without the sentence, which the scripts show.
fn outline(actions: Vec<Action>) -> Vec<Action> {
    let blank = |action| match action {
        Action::Down { .. } => Action::Down { why: String::new() },
        Action::Failed { .. } => Action::Failed { why: String::new() },
        other => other,
    };
    actions.into_iter().map(blank).collect()
}

fn failed() -> Action {
    Action::Failed { why: String::new() }
}

fn down() -> Action {
    Action::Down { why: String::new() }
}

fn negotiated() -> Negotiated {
    Negotiated {
        codec: Codec { four_octet_asn: true, extended_message: true, extended_next_hop: false, internal: false },
        ipv4: true,
        ipv6: true,
        enhanced_route_refresh: true,
        hold_time: Some(Duration::from_secs(9)),
        local: local(),
        peer_asn: 65001,
    }
}

/// The end of the connection in `state` after our NOTIFICATION.
fn ended(state: At, code: u8, subcode: u8, data: &[u8]) -> (Vec<Action>, &'static str) {
    let mut actions = notified(code, subcode, data);
    actions.push(if state == At::Established { down() } else { failed() });
    (actions, if matches!(code, 4 | 6 | 8) { "Active" } else { "Idle" })
}

/// The same state, nothing said.
fn ignored(state: At) -> (Vec<Action>, &'static str) {
    (Vec::new(), led_to(settings(), state).status().state)
}

fn play(state: At, event: impl FnOnce(&mut Session)) -> (Vec<Action>, &'static str) {
    let mut session = led_to(settings(), state);
    event(&mut session);
    (outline(drain(&mut session)), session.status().state)
}

fn hear(state: At, bytes: &[u8]) -> (Vec<Action>, &'static str) {
    play(state, |session| session.received(at(1), FIRST, bytes))
}

#[test]
fn start_dials_once() {
    for state in STATES {
        let expected = if state == At::Stopped { (vec![dial(0)], "Connect") } else { ignored(state) };
        assert_eq!(play(state, |s| s.start(at(1), US)), expected, "{state:?}");
    }
}

#[test]
fn connected_sends_our_open() {
    let open = wire::open(&open::ours(&settings(), US));
    for state in STATES {
        let expected = match state {
            At::Connect => (vec![send(open.clone()), sent(Kind::Open)], "OpenSent"),
            _ => ignored(state),
        };
        assert_eq!(play(state, |s| s.connected(at(1), FIRST, local())), expected, "{state:?}");
    }
}

#[test]
fn open_in_each_state() {
    for state in STATES {
        let expected = match state {
            At::OpenSent => {
                (vec![Action::Received(Received::Open), send(wire::keepalive()), sent(Kind::Keepalive)], "OpenConfirm")
            }
            At::OpenConfirm => ended(state, 5, 2, &[1]),
            At::Established => ended(state, 5, 3, &[1]),
            _ => ignored(state),
        };
        assert_eq!(hear(state, &wire::open(&peer_open())), expected, "{state:?}");
    }
}

#[test]
fn keepalive_in_each_state() {
    let received = Action::Received(Received::Keepalive);
    for state in STATES {
        let expected = match state {
            At::OpenSent => ended(state, 5, 1, &[4]),
            At::OpenConfirm => (vec![received.clone(), Action::Up(negotiated())], "Established"),
            At::Established => (vec![received.clone()], "Established"),
            _ => ignored(state),
        };
        assert_eq!(hear(state, &wire::keepalive()), expected, "{state:?}");
    }
}

#[test]
fn update_in_each_state() {
    let none = Count::default();
    let received = Received::Update { announced: none, withdrawn: none, malformed: Vec::new() };
    for state in STATES {
        let expected = match state {
            At::OpenSent => ended(state, 5, 1, &[2]),
            At::OpenConfirm => ended(state, 5, 2, &[2]),
            At::Established => (vec![Action::Received(received.clone())], "Established"),
            _ => ignored(state),
        };
        assert_eq!(hear(state, &update()), expected, "{state:?}");
    }
}

#[test]
fn route_refresh_in_each_state() {
    let received = Action::Received(Received::RouteRefresh);
    for state in STATES {
        let expected = match state {
            At::OpenSent => ended(state, 5, 1, &[5]),
            At::OpenConfirm => ended(state, 5, 2, &[5]),
            At::Established => (vec![received.clone(), Action::Refresh { family: Family::Ipv6 }], "Established"),
            _ => ignored(state),
        };
        assert_eq!(hear(state, &wire::route_refresh(Family::Ipv6, 0)), expected, "{state:?}");
    }
    // Begin, end and unknown subtypes are the peer's own business (RFC 7313 §5).
    for subtype in 1..=3 {
        let heard = hear(At::Established, &wire::route_refresh(Family::Ipv6, subtype));
        assert_eq!(heard, (vec![received.clone()], "Established"));
    }
}

#[test]
fn a_notification_is_never_answered() {
    for (code, subcode, next) in [(1, 1, "Idle"), (2, 2, "Idle"), (3, 1, "Idle"), (4, 0, "Active")].into_iter().chain([
        (5, 0, "Idle"),
        (6, 1, "Idle"),
        (6, 2, "Active"),
        (99, 99, "Idle"),
    ]) {
        let notification = Notification::new(code, subcode, [1, 2]);
        for state in STATES {
            let last = if state == At::Established { down() } else { failed() };
            let expected = match state {
                At::OpenSent | At::OpenConfirm | At::Established => (
                    vec![
                        Action::Received(Received::Notification(notification.clone())),
                        Action::Close { connection: FIRST },
                        last,
                    ],
                    next,
                ),
                _ => ignored(state),
            };
            let heard = hear(state, &wire::notification(&notification));
            assert_eq!(heard, expected, "{code}/{subcode} in {state:?}");
        }
    }
}

#[test]
fn broken_messages_get_their_notification() {
    let header = |length: [u8; 2], kind: u8| [&[0xFF; 16][..], &length, &[kind]].concat();
    // (bytes, code, subcode, data)
    let table = [
        (vec![0; 19], 1, 1, vec![]),
        (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), 1, 1, vec![]),
        (header([0, 18], 4), 1, 2, vec![0, 18]),
        (header([0, 20], 4), 1, 2, vec![0, 20]),
        (header([0xFF, 0xFF], 1), 1, 2, vec![0xFF, 0xFF]),
        (header([0, 19], 0), 1, 3, vec![0]),
        (header([0, 19], 7), 1, 3, vec![7]),
    ];
    for (bytes, code, subcode, data) in table {
        for state in [At::OpenSent, At::OpenConfirm, At::Established] {
            let expected = ended(state, code, subcode, &data);
            assert_eq!(hear(state, &bytes), expected, "{bytes:?} in {state:?}");
        }
    }
    // Attributes longer than the message: RFC 4271 §6.3.
    let overlong = [&header([0, 23], 2)[..], &[0, 0, 0, 9]].concat();
    assert_eq!(hear(At::Established, &overlong), ended(At::Established, 3, 1, &[]));
}

#[test]
fn unacceptable_opens_get_their_notification() {
    let internal = || Settings { peer_asn: PeerAsn::Internal, ..settings() };
    let external = || Settings { peer_asn: PeerAsn::External, ..settings() };
    let open = |asn: u32, hold_time, id: Ipv4Addr| {
        let four_octet_asn = Some(asn);
        let capabilities = Capabilities { four_octet_asn, ..Capabilities::default() };
        wire::open(&Open { version: 4, asn, hold_time, id, capabilities })
    };
    let peer = Ipv4Addr::new(10, 0, 0, 1);
    // (settings, OPEN, NOTIFICATION; none: accepted)
    let table = [
        (settings(), open(65009, 90, peer), Some((2, 2))),
        (settings(), open(65001, 90, peer), None),
        (settings(), open(65001, 90, US), None),
        (settings(), open(65001, 90, Ipv4Addr::UNSPECIFIED), Some((2, 3))),
        (settings(), open(65001, 0, peer), Some((2, 6))),
        (settings(), open(65001, 1, peer), Some((2, 6))),
        (settings(), open(65001, 2, peer), Some((2, 6))),
        (settings(), open(65001, 3, peer), None),
        (Settings { min_hold_time: 9, ..settings() }, open(65001, 8, peer), Some((2, 6))),
        (Settings { min_hold_time: 0, ..settings() }, open(65001, 2, peer), Some((2, 6))),
        (Settings { min_hold_time: 0, ..settings() }, open(65001, 0, peer), None),
        (external(), open(65009, 90, peer), None),
        (external(), open(65010, 90, peer), Some((2, 2))),
        (external(), open(0, 90, peer), Some((2, 2))),
        (internal(), open(65010, 90, peer), None),
        (internal(), open(65010, 90, US), Some((2, 3))),
        (internal(), open(65001, 90, peer), Some((2, 2))),
    ];
    for (number, (settings, open, refused)) in table.into_iter().enumerate() {
        let mut session = led_to(settings, At::OpenSent);
        session.received(at(1), FIRST, &open);
        let mut actions = outline(drain(&mut session));
        actions.retain(|action| *action != Action::Received(Received::Open));
        let expected = match refused {
            Some((code, subcode)) => ended(At::OpenSent, code, subcode, &[]),
            None => (vec![send(wire::keepalive()), sent(Kind::Keepalive)], "OpenConfirm"),
        };
        assert_eq!((actions, session.status().state), expected, "row {number}");
    }
}

#[test]
fn closed_means_connect_retry() {
    for why in [Closed::ByPeer, Closed::Failed("reset".to_owned()), Closed::Refused(String::new())] {
        for state in STATES {
            let expected = match state {
                At::Stopped | At::Idle | At::Active => ignored(state),
                At::Connect | At::OpenSent | At::OpenConfirm => (vec![failed()], "Active"),
                At::Established => (vec![down()], "Active"),
            };
            assert_eq!(play(state, |s| s.closed(at(1), FIRST, &why)), expected, "{state:?}");
        }
    }
}

#[test]
fn stop_says_why_and_stays() {
    let cease = Notification::administrative_shutdown("maintenance");
    for state in STATES {
        let expected = match state {
            At::Stopped | At::Idle | At::Active => Vec::new(),
            At::Connect => vec![Action::Close { connection: FIRST }, failed()],
            At::OpenSent | At::OpenConfirm | At::Established => ended(state, 6, 2, &cease.data).0,
        };
        let mut session = led_to(settings(), state);
        session.stop(at(1), cease.clone());
        assert_eq!(outline(drain(&mut session)), expected, "{state:?}");
        assert_eq!((session.status().state, session.deadline()), ("Idle", Time::MAX));
        session.tick(at(100_000));
        assert_eq!(drain(&mut session), []);
    }
}

#[test]
fn what_another_connection_says_is_stale() {
    let other = ConnectionId(FIRST.0 + 7);
    for state in STATES {
        let heard = play(state, |session| {
            session.connected(at(1), other, local());
            session.received(at(1), other, b"no BGP at all, not even nearly");
            session.written(at(1), other, 10_000);
            session.closed(at(1), other, &Closed::ByPeer);
        });
        assert_eq!(heard, ignored(state), "{state:?}");
    }
}

#[test]
fn families_are_what_both_sides_say() {
    let both = Families { ipv4: true, ipv6: true };
    let only4 = Families { ipv4: true, ipv6: false };
    let only6 = Families { ipv4: false, ipv6: true };
    // (ours, the peer's; none: no multiprotocol at all) -> (ipv4, ipv6)
    let table: [(_, Option<&[Family]>, _); 6] = [
        (both, Some(&[Family::Ipv4, Family::Ipv6]), (true, true)),
        (both, Some(&[Family::Ipv6]), (false, true)),
        (both, None, (true, false)),
        (only4, Some(&[Family::Ipv6]), (false, false)),
        (only6, None, (false, false)),
        (both, Some(&[]), (false, false)),
    ];
    for (families, theirs, expected) in table {
        let mut session = led_to(Settings { families, ..settings() }, At::OpenSent);
        let mut open = peer_open();
        open.capabilities.multiprotocol = theirs.is_some();
        open.capabilities.families = theirs.unwrap_or_default().to_vec();
        let agreed = open::judge(&session.settings, US, local(), &open).unwrap().negotiated;
        assert_eq!((agreed.ipv4, agreed.ipv6), expected, "{families:?} {theirs:?}");
        // No common family is no error.
        session.received(at(0), FIRST, &wire::open(&peer_open()));
        assert_eq!(session.status().state, "OpenConfirm");
    }
}

#[test]
fn a_session_survives_being_written_down() {
    for state in STATES {
        let mut session = led_to(settings(), state);
        let text = serde_json::to_string(&session).unwrap();
        let mut again: Session = serde_json::from_str(&text).unwrap();
        for session in [&mut session, &mut again] {
            session.received(at(1), FIRST, &wire::keepalive()[..7]);
            session.tick(at(3));
            session.received(at(4), FIRST, &wire::keepalive()[7..]);
            session.tick(at(100));
        }
        assert_eq!(drain(&mut session), drain(&mut again), "{state:?}");
        assert_eq!(session.status(), again.status());
    }
}

#[test]
fn a_long_message_needs_both_sides_capability() {
    // An UPDATE of 4097 octets: one attribute nobody knows, optional and transitive, with a two-octet length.
    let mut long = [&[0xFF; 16][..], &[0x10, 0x01, 2, 0, 0, 0x0F, 0xEA, 0xD0, 99, 0x0F, 0xE6]].concat();
    long.resize(4097, 0);
    for extended_message in [true, false] {
        let mut session = led_to(settings(), At::OpenSent);
        let mut open = peer_open();
        open.capabilities.extended_message = extended_message;
        session.received(at(0), FIRST, &wire::open(&open));
        session.received(at(0), FIRST, &wire::keepalive());
        drain(&mut session);
        session.received(at(0), FIRST, &long);
        let actions = outline(drain(&mut session));
        if extended_message {
            assert!(matches!(actions[..], [Action::Received(Received::Update { .. })]), "{actions:?}");
        } else {
            assert_eq!(actions, ended(At::Established, 1, 2, &[0x10, 0x01]).0);
        }
    }
}

#[test]
fn the_inbox_holds_less_than_one_message_between_calls() {
    let mut session = led_to(settings(), At::Established);
    let many = update().repeat(1000);
    session.received(at(1), FIRST, &many[..many.len() - 1]);
    assert_eq!(session.link(FIRST).map(|link| link.inbox.len()), Some(22));
    assert_eq!(drain(&mut session).len(), 999);
}

#[test]
fn what_bytes_depend_on_is_agreed() {
    let ibgp = Settings { peer_asn: PeerAsn::Internal, extended_next_hop: true, ..settings() };
    let mut open = peer_open();
    open.asn = 65010;
    open.capabilities = Capabilities { extended_next_hop: true, multiprotocol: true, ..Capabilities::default() };
    let codec = |settings: &Settings, open: &Open| open::judge(settings, US, local(), open).unwrap().negotiated.codec;
    let expected = Codec { four_octet_asn: false, extended_message: false, extended_next_hop: true, internal: true };
    assert_eq!(codec(&ibgp, &open), expected);
    // RFC 8950 takes both sides, and IPv4.
    let without = Codec { extended_next_hop: false, ..expected };
    assert_eq!(codec(&Settings { extended_next_hop: false, ..ibgp.clone() }, &open), without);
    let families = Families { ipv4: false, ipv6: true };
    assert_eq!(codec(&Settings { families, ..ibgp.clone() }, &open), without);
    open.capabilities.extended_next_hop = false;
    assert_eq!(codec(&ibgp, &open), without);
}
