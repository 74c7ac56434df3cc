//! Reads of everything. Blocking, because the kernel is.
//!
//! A request runs within sendmsg(2) and may wait there for the kernel's rtnl lock, for as long as somebody else holds
//! it. So a read runs on a thread for blocking work, never on the engine's, each time on a socket of its own: no late
//! answer of an earlier request can be taken for one of this.
//!
//! Not by the `rtnetlink` crate: it passes over NLM_F_DUMP_INTR and messages that it cannot read, and a read that may
//! lack something must not look whole.

use std::io;
use std::time::Duration;

use netlink_packet_core::{DecodeError, Emitable, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkHeader;
use netlink_packet_route::route::{RouteHeader, RouteType};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::libc;
use socket2::SockRef;

use super::message::{Message, code, fact, messages};
use crate::facts::{Fact, Interface, Snapshot};
use crate::io::sockopt;

/// Answers of one request wait here; a dump is sent as we read it, so this only has to hold a few datagrams.
const RECEIVE: usize = 1 << 20;

/// The kernel answers at once or not at all; this only ends a wait that would never end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Room for one datagram: the kernel's are 32 KiB at most.
const DATAGRAM: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("a message cannot be read: {0}")]
    Malformed(#[from] DecodeError),
    /// NLM_F_DUMP_INTR: what was read is a mixture of before and after a change.
    #[error("a change interrupted it")]
    Interrupted,
    #[error("no {0} at all, which cannot be")]
    Empty(&'static str),
}

/// One whole, uninterrupted read of interfaces, addresses and local routes.
pub(crate) fn read() -> Result<Snapshot, ReadError> {
    let mut channel = Channel::open()?;
    let mut snapshot = Snapshot::default();
    channel.dump(libc::RTM_GETLINK, &LinkHeader::default(), &mut snapshot)?;
    channel.dump(libc::RTM_GETADDR, &AddressMessage::default(), &mut snapshot)?;
    // Each family by itself: with "all", a kernel with MPLS refuses to filter by table.
    for address_family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let header = RouteHeader {
            address_family,
            table: libc::RT_TABLE_LOCAL,
            kind: RouteType::Local,
            ..RouteHeader::default()
        };
        match channel.dump(libc::RTM_GETROUTE, &header, &mut snapshot) {
            // "FIB table does not exist": this family has no local route yet.
            Err(ReadError::Io(error)) if error.raw_os_error() == Some(libc::ENOENT) => {}
            result => result?,
        }
    }
    // A kernel without IPv6 answers for all families both times.
    snapshot.routes.sort_unstable();
    snapshot.routes.dedup();
    // A host has at least lo with its address and route; nothing at all is a read that went wrong.
    for (what, empty) in [
        ("interface", snapshot.interfaces.is_empty()),
        ("address", snapshot.addresses.is_empty()),
        ("local route", snapshot.routes.is_empty()),
    ] {
        if empty {
            return Err(ReadError::Empty(what));
        }
    }
    Ok(snapshot)
}

struct Channel {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Channel {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        sockopt::receive_buffer(&socket, RECEIVE)?;
        SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
        // With it the kernel filters routes by table; without it (before 4.20) we get all and take what is ours.
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM) })
    }

    fn send(&mut self, kind: u16, flags: u16, body: &impl Emitable) -> io::Result<()> {
        self.sequence += 1;
        let request = encode(kind, flags | NLM_F_REQUEST, self.sequence, body);
        self.socket.send_to(&request, &SocketAddr::new(0, 0), 0).map(|_| ())
    }

    fn receive(&mut self) -> io::Result<()> {
        self.buffer.clear();
        let (length, from) = self.socket.recv_from(&mut self.buffer, libc::MSG_TRUNC)?;
        if length > self.buffer.len() {
            return Err(io::Error::other("a datagram was longer than any can be"));
        }
        if from.port_number() != 0 {
            self.buffer.clear();
        }
        Ok(())
    }

    fn dump(&mut self, kind: u16, body: &impl Emitable, snapshot: &mut Snapshot) -> Result<(), ReadError> {
        self.send(kind, NLM_F_DUMP, body)?;
        loop {
            self.receive()?;
            for message in messages(&self.buffer) {
                let message = message?;
                if message.sequence == self.sequence && take(&message, snapshot)? {
                    return Ok(());
                }
            }
        }
    }
}

/// One message of a dump; true where it was the last.
fn take(message: &Message<'_>, snapshot: &mut Snapshot) -> Result<bool, ReadError> {
    // Any message may carry it, the last one too.
    if message.flags & NLM_F_DUMP_INTR != 0 {
        return Err(ReadError::Interrupted);
    }
    match i32::from(message.kind) {
        // NLMSG_DONE carries an error code too: a dump may fail half way.
        libc::NLMSG_DONE | libc::NLMSG_ERROR => match code(message) {
            0 => Ok(true),
            code => Err(ReadError::Io(io::Error::from_raw_os_error(code))),
        },
        libc::NLMSG_OVERRUN => Err(ReadError::Interrupted),
        _ => {
            if let Some(fact) = fact(message)? {
                add(snapshot, fact);
            }
            Ok(false)
        }
    }
}

fn add(snapshot: &mut Snapshot, fact: Fact) {
    match fact {
        Fact::Interface { index, name: Some(name), loopback } => {
            snapshot.interfaces.push(Interface { index, name, loopback });
        }
        Fact::Address { address, present: true } => snapshot.addresses.push(address),
        Fact::LocalRoute { route, present: true } => snapshot.routes.push(route),
        // A dump tells what is there, and nothing of these.
        Fact::Interface { name: None, .. }
        | Fact::Address { present: false, .. }
        | Fact::LocalRoute { present: false, .. }
        | Fact::Snapshot(_)
        | Fact::ReadFailed { .. }
        | Fact::Listener { .. }
        | Fact::DisableFile { .. } => {}
    }
}

fn encode(kind: u16, flags: u16, sequence: u32, body: &impl Emitable) -> Vec<u8> {
    let length = 16 + body.buffer_len();
    let mut request = vec![0; length];
    let (header, rest) = request.split_at_mut(16);
    let mut buffer = netlink_packet_core::NetlinkBuffer::new(header);
    buffer.set_length(u32::try_from(length).unwrap_or(u32::MAX));
    buffer.set_message_type(kind);
    buffer.set_flags(flags);
    buffer.set_sequence_number(sequence);
    body.emit(rest);
    request
}

#[cfg(test)]
mod tests;
