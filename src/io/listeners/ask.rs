//! The question to the kernel: who would get a packet for this address and port now?
//!
//! A sock_diag request that is not a dump returns the socket that the kernel itself would pick: wildcard, dual-stack,
//! v6only, SO_REUSEPORT, sk_lookup programs are all its affair. It answers within sendmsg(2), in microseconds and
//! without the rtnl lock, so this is asked from the engine's own thread.

use std::io;

use netlink_packet_core::{Emitable, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::{SOCK_DIAG_BY_FAMILY, SockDiagMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use nix::libc;

use crate::config::Protocol;
use crate::facts::Watch;
use crate::io::netlink::message::{Message, code, messages};

/// Replies looked at for one question: the kernel gives one, anything more is left from before.
const REPLIES: usize = 16;

/// linux/net/tcp_states.h
const TCP_LISTEN: u8 = 10;

pub(super) struct Asker {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    /// The kernel has the module that answers for (TCP, UDP). Without it, it says "no such entry" to every question,
    /// which is the same as "not listening".
    proven: [bool; 2],
}

/// What the kernel said.
enum Answer {
    /// A socket, in this state.
    Socket(u8),
    Error(i32),
    /// The end of a dump.
    Done,
}

impl Asker {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.set_non_blocking(true)?;
        socket.bind_auto()?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(64 * 1024), proven: [false; 2] })
    }

    /// `None`: the kernel could not be asked.
    pub(super) fn ask(&mut self, watch: &Watch) -> Option<bool> {
        let place = match watch.protocol {
            Protocol::Tcp => 0,
            Protocol::Udp => 1,
        };
        let answer = self.request(&question(watch), 0)?;
        let answered = match answer {
            Answer::Socket(state) => Some(watch.protocol == Protocol::Udp || state == TCP_LISTEN),
            Answer::Error(libc::ENOENT) => {
                let proven = self.proven.get(place).copied().unwrap_or(false);
                (proven || self.prove(watch)).then_some(false)
            }
            Answer::Error(_) | Answer::Done => None,
        };
        if let (Some(_), Some(proven)) = (answered, self.proven.get_mut(place)) {
            *proven = true;
        }
        answered
    }

    /// Whether the module is there: a dump of sockets in no state at all ends well only with it.
    fn prove(&mut self, watch: &Watch) -> bool {
        let mut nothing = question(watch);
        nothing.states = StateFlags::empty();
        matches!(self.request(&nothing, NLM_F_DUMP), Some(Answer::Done))
    }

    fn request(&mut self, request: &InetRequest, flags: u16) -> Option<Answer> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let payload = NetlinkPayload::from(SockDiagMessage::InetRequest(request.clone()));
        let mut message = NetlinkMessage::new(header, payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).ok()?;
        for _ in 0..REPLIES {
            self.buffer.clear();
            let (length, from) = self.socket.recv_from(&mut self.buffer, libc::MSG_TRUNC).ok()?;
            if length > self.buffer.len() || from.port_number() != 0 {
                continue;
            }
            // A late reply to an earlier question has another number.
            let found = messages(&self.buffer)
                .flatten()
                .filter(|message| message.sequence == self.sequence)
                .find_map(|message| answer(&message));
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

fn answer(message: &Message<'_>) -> Option<Answer> {
    match i32::from(message.kind) {
        libc::NLMSG_ERROR => Some(Answer::Error(code(message))),
        libc::NLMSG_DONE => match code(message) {
            0 => Some(Answer::Done),
            code => Some(Answer::Error(code)),
        },
        // inet_diag_msg: family, state, ...
        kind if kind == i32::from(SOCK_DIAG_BY_FAMILY) => message.payload.get(1).copied().map(Answer::Socket),
        _ => None,
    }
}

fn question(watch: &Watch) -> InetRequest {
    let (family, mut id) = if watch.address.is_ipv4() {
        (libc::AF_INET, SocketId::new_v4())
    } else {
        (libc::AF_INET6, SocketId::new_v6())
    };
    // INET_DIAG_NOCOOKIE: not one certain socket.
    id.cookie = [0xff; 8];
    let protocol = match watch.protocol {
        Protocol::Tcp => {
            (id.source_address, id.source_port) = (watch.address, watch.port);
            libc::IPPROTO_TCP
        }
        // The kernel: "src and dst are swapped for historical reasons".
        Protocol::Udp => {
            (id.destination_address, id.destination_port) = (watch.address, watch.port);
            libc::IPPROTO_UDP
        }
    };
    InetRequest {
        family: u8::try_from(family).unwrap_or_default(),
        protocol: u8::try_from(protocol).unwrap_or_default(),
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: id,
    }
}
