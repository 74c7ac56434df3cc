//! The socket on which the kernel tells of changes.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::libc;
use socket2::{SockFilter, SockRef};
use tokio::io::unix::AsyncFd;

use super::message::{fact, hides_more, messages};
use crate::facts::Fact;
use crate::io::bpf::{discard, equal, keep, load, load_octet};
use crate::io::{descriptors, sockopt};

/// Events that may wait for us in the kernel: thousands of links or addresses changed at once.
const RECEIVE: usize = 4 << 20;

/// Room for one datagram: the kernel's are 32 KiB at most.
const DATAGRAM: usize = 64 * 1024;

/// Datagrams taken in one look, before other work gets its turn.
const BATCH: usize = 64;

/// Nothing else: neighbours and cached routes change thousands of times a second on a busy host.
const GROUPS: [libc::c_uint; 5] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
];

pub(super) struct Events {
    socket: AsyncFd<Socket>,
    buffer: Vec<u8>,
}

/// What one look found.
#[derive(Default)]
pub(super) struct Look {
    pub(super) facts: Vec<Fact>,
    /// More changed than the facts say.
    pub(super) doubt: bool,
    pub(super) end: End,
}

#[derive(Default)]
pub(super) enum End {
    /// Nothing waits any more.
    #[default]
    Empty,
    /// More waits.
    Batch,
    /// ENOBUFS: the kernel threw events away.
    Overrun,
    Broken(io::Error),
}

impl Events {
    pub(super) fn subscribe() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        sockopt::receive_buffer(&socket, RECEIVE)?;
        // Before joining, so that not even the first storm passes.
        SockRef::from(&socket).attach_filter(&filter())?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        Ok(Self { socket: descriptors::watched(socket)?, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Waits for events and takes a batch. Nothing is lost where the wait is given up.
    pub(super) async fn wait(&mut self) -> Look {
        let Self { socket, buffer } = self;
        match socket.readable().await {
            Ok(mut ready) => {
                let look = look(ready.get_inner(), buffer);
                // Only an empty socket wakes again: where more waits, it must stay ready.
                if matches!(look.end, End::Empty) {
                    ready.clear_ready();
                }
                look
            }
            Err(error) => Look { end: End::Broken(error), ..Look::default() },
        }
    }

    /// Takes a batch of what is there now.
    pub(super) fn look(&mut self) -> Look {
        look(self.socket.get_ref(), &mut self.buffer)
    }
}

fn look(socket: &Socket, buffer: &mut Vec<u8>) -> Look {
    let mut look = Look::default();
    for _ in 0..BATCH {
        buffer.clear();
        match socket.recv_from(buffer, libc::MSG_TRUNC) {
            Ok((length, _)) if length > buffer.len() => look.doubt = true,
            // Only the kernel has port 0; others could only speak to us with CAP_NET_ADMIN.
            Ok((_, from)) if from.port_number() != 0 => {}
            Ok(_) => look.take(buffer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return look,
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                look.end = End::Overrun;
                return look;
            }
            Err(error) => {
                look.end = End::Broken(error);
                return look;
            }
        }
    }
    look.end = End::Batch;
    look
}

impl Look {
    fn take(&mut self, datagram: &[u8]) {
        for message in messages(datagram) {
            let said = message.and_then(|message| {
                self.doubt |= hides_more(&message);
                fact(&message)
            });
            match said {
                Ok(said) => self.facts.extend(said),
                // What it said is unknown; that it said something is known.
                Err(_) => self.doubt = true,
            }
        }
    }
}

/// Drops, in the kernel, route events of other tables and types than local: a router with a full table on the same host
/// makes 50,000 of them at a time. The kernel multicasts one message per datagram.
fn filter() -> [SockFilter; 9] {
    // A filter loads in network order what a netlink header holds in the host's.
    let kind = |kind: u16| u32::from(kind.to_be());
    [
        load(4), // nlmsg_type
        equal(kind(libc::RTM_NEWROUTE), 1, 0),
        equal(kind(libc::RTM_DELROUTE), 0, 4),
        load_octet(16 + 4), // rtm_table
        equal(u32::from(libc::RT_TABLE_LOCAL), 0, 3),
        load_octet(16 + 7), // rtm_type
        equal(u32::from(libc::RTN_LOCAL), 0, 1),
        keep(),
        discard(),
    ]
}
