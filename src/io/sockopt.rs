//! Socket options: what a BGP connection wants, and what neither socket2 nor nix wraps.

#![allow(unsafe_code, reason = "SO_PEERGROUPS and TCP_LINGER2 have no safe wrapper")]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;

/// DSCP CS6, network control: RFC 4594 §3.1 asks it for routing protocols.
const NETWORK_CONTROL: u32 = 0xc0;

/// RFC 5082 §3: 255 is what a router with GTSM accepts; one without it accepts any.
const TTL: u32 = 255;

/// More groups than this a Linux process cannot have (NGROUPS_MAX).
const GROUPS: usize = 65_536;

/// What every BGP connection to `to` has from its first SYN on.
pub fn prepare(socket: &Socket, to: SocketAddr) -> io::Result<()> {
    // Messages are packed before they are written: waiting for more would only add latency.
    socket.set_tcp_nodelay(true)?;
    match to {
        SocketAddr::V4(_) => {
            socket.set_ttl_v4(TTL)?;
            socket.set_tos_v4(NETWORK_CONTROL)
        }
        SocketAddr::V6(_) => {
            socket.set_unicast_hops_v6(TTL)?;
            socket.set_tclass_v6(NETWORK_CONTROL)
        }
    }
}

/// A receive buffer of `octets`: beyond `net.core.rmem_max` with CAP_NET_ADMIN, else as much as that allows.
pub fn receive_buffer(socket: &impl AsFd, octets: usize) -> io::Result<()> {
    setsockopt(socket, sockopt::RcvBufForce, &octets)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &octets))
        .map_err(io::Error::from)
}

/// A connection that we close first stays for a minute in TIME_WAIT: sixty for each check, or all ports of a host that
/// checks much. SO_LINGER 0 would avoid it with a RST instead of a FIN, and services log and count resets. With a
/// negative TCP_LINGER2 they get the FIN and read an end of file, and the kernel forgets the connection as soon as that
/// is acknowledged (only getpeername(2) fails from then on, as after a RST). Of the three ways none costs measurably
/// more CPU than another.
pub fn leave_nothing(socket: &Socket) -> io::Result<()> {
    let never: libc::c_int = -1;
    let length = size_of_val(&never) as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `socket` is borrowed; the kernel reads `length` bytes of `never`, an
    // integer of this size that lives until the call returns.
    let answer = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_LINGER2, (&raw const never).cast(), length)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The supplementary groups that the peer of a Unix socket had when it connected.
///
/// Asking the group database instead would race with it, and miss what a container or a service manager added.
pub fn peer_groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    // 32 are enough nearly always; where not, the kernel says how many there are.
    let mut groups = vec![0_u32; 32];
    loop {
        let mut length = libc::socklen_t::try_from(size_of_val(groups.as_slice())).unwrap_or(0);
        // SAFETY: `groups` is a live, writable buffer of `length` octets, every bit pattern of a gid_t (u32) is valid,
        // and the descriptor is borrowed for the whole call.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = usize::try_from(length).unwrap_or(0) / size_of::<u32>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() || count > GROUPS {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    use nix::unistd::{Gid, getgroups};
    use socket2::{Domain, Protocol, Type};

    #[test]
    fn a_connection_is_marked_as_network_control_and_sent_with_the_highest_ttl() {
        let v4 = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        prepare(&v4, "192.0.2.1:179".parse().unwrap()).unwrap();
        assert_eq!((v4.ttl_v4().unwrap(), v4.tos_v4().unwrap()), (255, 0xc0));
        assert!(v4.tcp_nodelay().unwrap());
        let v6 = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP)).unwrap();
        prepare(&v6, "[2001:db8::1]:179".parse().unwrap()).unwrap();
        assert_eq!((v6.unicast_hops_v6().unwrap(), v6.tclass_v6().unwrap()), (255, 0xc0));
    }

    #[test]
    fn the_groups_of_the_peer_are_those_of_its_process() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let groups: Vec<Gid> = peer_groups(&ours).unwrap().into_iter().map(Gid::from_raw).collect();
        assert_eq!(groups, getgroups().unwrap());
    }

    #[test]
    fn a_receive_buffer_is_at_least_what_everyone_may_have() {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        receive_buffer(&socket, 65_536).unwrap();
        assert!(socket.recv_buffer_size().unwrap() >= 65_536);
    }
}
