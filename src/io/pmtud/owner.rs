//! Is a socket of exactly this flow on this host?
//!
//! A sock_diag request that is not a dump finds the socket as a packet of the flow would: by its hash, whatever family it was
//! opened with, in microseconds. Where no socket has the flow the kernel goes on to those that listen.

use std::io;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::{SOCK_DIAG_BY_FAMILY, SockDiagMessage};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::libc;

use super::ask::Asking;
use crate::Time;
use crate::io::netlink::message::{Message, code};
use crate::pmtud::{Flow, Owner};

/// linux/net/tcp_states.h
const TCP_LISTEN: u8 = 10;

/// A second, about captured errors: ten times what the default limits let pass. An answer costs as much as sending a copy or
/// two, so beyond that an error goes out unasked: members ask for themselves, and inject nothing that is not theirs.
const QUESTIONS: usize = 50_000;

/// IANA
const TCP: u8 = 6;
const UDP: u8 = 17;

pub(super) struct Owners {
    asking: Asking,
    /// The kernel has the module that answers for (TCP, UDP). Without it, it says "no such entry" to every question, which is
    /// the same as "not here".
    proven: [bool; 2],
    answers: Vec<Owner>,
    /// The second that is counted, and the questions in it.
    asked: (u64, usize),
}

impl Owners {
    pub(super) fn open() -> io::Result<Self> {
        let mut asking = Asking::open(NETLINK_SOCK_DIAG)?;
        let proven = [TCP, UDP].map(|protocol| prove(&mut asking, protocol));
        if proven.contains(&false) {
            tracing::warn!(
                "pmtud: the kernel has no tcp_diag or udp_diag: what it cannot say is relayed, and injected"
            );
        }
        Ok(Self { asking, proven, answers: Vec::new(), asked: (0, 0) })
    }

    /// As [`Owners::ask`], or nothing where too much was asked in this second.
    pub(super) fn ask_if_worth_it(&mut self, now: Time, flows: &[Flow]) -> &[Owner] {
        let second = now.as_nanos() / 1_000_000_000;
        let before = if self.asked.0 == second { self.asked.1 } else { 0 };
        if before >= QUESTIONS {
            return &[];
        }
        self.asked = (second, before + flows.len());
        self.ask(flows)
    }

    /// One answer for each flow, in their order.
    pub(super) fn ask(&mut self, flows: &[Flow]) -> &[Owner] {
        self.answers.clear();
        for flow in flows {
            self.asking.push(question(flow, StateFlags::all()), 0);
            self.answers.push(Owner::Unknown);
        }
        let ([tcp_proven, udp_proven], answers) = (self.proven, &mut self.answers);
        self.asking.ask(|place, message| {
            if let Some((flow, answer)) = flows.get(place).zip(answers.get_mut(place)) {
                *answer = if flow.protocol == UDP { udp(message, udp_proven) } else { tcp(message, tcp_proven) };
            }
        });
        &self.answers
    }
}

fn tcp(message: &Message<'_>, proven: bool) -> Owner {
    match state_and_remote_port(message) {
        Some((TCP_LISTEN, _)) => Owner::Elsewhere,
        Some(_) => Owner::Here,
        None => absent(message, proven),
    }
}

/// A socket that is not connected serves everybody: it may have sent the quoted packet, or not.
fn udp(message: &Message<'_>, proven: bool) -> Owner {
    match state_and_remote_port(message) {
        Some((_, 0)) => Owner::Unknown,
        Some(_) => Owner::Here,
        None => absent(message, proven),
    }
}

fn absent(message: &Message<'_>, proven: bool) -> Owner {
    let none = i32::from(message.kind) == libc::NLMSG_ERROR && code(message) == libc::ENOENT;
    if none && proven { Owner::Elsewhere } else { Owner::Unknown }
}

/// inet_diag_msg: family, state, two octets, then both ports in network order.
fn state_and_remote_port(message: &Message<'_>) -> Option<(u8, u16)> {
    let [_, state, _, _, _, _, high, low] = *message.payload.first_chunk()?;
    (message.kind == SOCK_DIAG_BY_FAMILY).then(|| (state, u16::from_be_bytes([high, low])))
}

/// Whether the module is there: a dump of sockets in no state at all ends well only with it.
fn prove(asking: &mut Asking, protocol: u8) -> bool {
    let anybody = [0, 0, 0, 0].into();
    let flow = Flow { service: anybody, client: anybody, protocol, service_port: 0, client_port: 0 };
    asking.push(question(&flow, StateFlags::empty()), NLM_F_DUMP);
    let mut proven = false;
    asking.ask(|_, message| proven |= i32::from(message.kind) == libc::NLMSG_DONE && code(message) == 0);
    proven
}

/// `None`: the kernel has no such question for this protocol.
fn question(flow: &Flow, states: StateFlags) -> Option<SockDiagMessage> {
    let (family, mut id) =
        if flow.service.is_ipv4() { (libc::AF_INET, SocketId::new_v4()) } else { (libc::AF_INET6, SocketId::new_v6()) };
    // INET_DIAG_NOCOOKIE: not one certain socket.
    id.cookie = [0xff; 8];
    let (ours, theirs) = ((flow.service, flow.service_port), (flow.client, flow.client_port));
    // The kernel of UDP: "src and dst are swapped for historical reasons".
    let (source, destination) = match flow.protocol {
        TCP => (ours, theirs),
        UDP => (theirs, ours),
        _ => return None,
    };
    (id.source_address, id.source_port) = source;
    (id.destination_address, id.destination_port) = destination;
    Some(SockDiagMessage::InetRequest(InetRequest {
        family: u8::try_from(family).unwrap_or_default(),
        protocol: flow.protocol,
        extensions: ExtensionFlags::empty(),
        states,
        socket_id: id,
    }))
}
