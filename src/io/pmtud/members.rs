//! The UDP socket between the members: one datagram to all of them in one system call.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt as option};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::PmtudRelay;
use crate::io::packet::{Message, Outbox};
use crate::io::sockopt;

/// At 400,000 datagrams a second, each charged with up to 2 KiB, this is what comes in 10 ms: as long as a busy scheduler lets
/// a thread wait.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A batch for a hundred members, each datagram charged with up to 2 KiB.
const SEND_BUFFER: usize = 16 << 20;

pub(super) struct Members {
    pub(super) socket: Socket,
    /// Ours.
    pub(super) address: IpAddr,
    port: u16,
    addresses: Vec<SockAddr>,
}

impl Members {
    /// The address need not be there yet, and may go: then sending fails, and is counted.
    pub(super) fn open(config: &PmtudRelay) -> Result<Self, String> {
        let (address, port) = (config.address, config.port);
        let socket = bind(address, port).map_err(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                return format!("[pmtud] port = {port}: another program receives UDP on {address} port {port}");
            }
            format!("[pmtud] cannot receive UDP on {address} port {port}: {error}")
        })?;
        Ok(Self { socket, address, port, addresses: Vec::new() })
    }

    pub(super) fn set(&mut self, members: impl Iterator<Item = IpAddr>) {
        self.addresses.clear();
        self.addresses.extend(members.map(|address| SockAddr::from(SocketAddr::new(address, self.port))));
    }

    /// Each datagram to each member; `outcome` gets the places of both, and what the kernel said.
    pub(super) fn send<'a>(
        &'a self,
        outbox: &mut Outbox,
        datagrams: impl Iterator<Item = &'a [u8]>,
        mut outcome: impl FnMut(usize, usize, io::Result<()>),
    ) {
        let messages = datagrams
            .flat_map(|datagram| self.addresses.iter().map(move |to| Message { to: Some(to), parts: [datagram, &[]] }));
        let (mut datagram, mut member) = (0, 0);
        outbox.send(self.socket.as_fd(), messages, |result| {
            outcome(datagram, member, result);
            member += 1;
            if member == self.addresses.len() {
                (datagram, member) = (datagram + 1, 0);
            }
        });
    }
}

fn bind(address: IpAddr, port: u16) -> io::Result<Socket> {
    let to = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None)?;
    match address {
        IpAddr::V4(_) => socket.set_freebind_v4(true)?,
        IpAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    sockopt::receive_buffer(&socket, RECEIVE_BUFFER)?;
    setsockopt(&socket, option::SndBufForce, &SEND_BUFFER)
        .or_else(|_: Errno| setsockopt(&socket, option::SndBuf, &SEND_BUFFER))?;
    socket.set_nonblocking(true)?;
    socket.bind(&to.into())?;
    Ok(socket)
}
