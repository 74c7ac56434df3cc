//! The original packet, byte for byte, into this host: through a raw socket and lo, so that no uplink captures it again and no
//! reverse path filter asks where it came from.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

use crate::io::bpf::discard;

pub(super) struct Injector {
    ipv4: Socket,
    /// `None`: this kernel has no IPv6.
    ipv6: Option<Socket>,
}

impl Injector {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { ipv4: raw(Domain::IPV4)?, ipv6: raw(Domain::IPV6).ok() })
    }

    /// Never waits.
    pub(super) fn inject(&self, to: IpAddr, packet: &[u8]) -> io::Result<()> {
        let socket = match to {
            IpAddr::V4(_) => &self.ipv4,
            IpAddr::V6(_) => self.ipv6.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?,
        };
        // A raw socket has no port.
        socket.send_to(packet, &SocketAddr::new(to, 0).into()).map(drop)
    }
}

/// Protocol 255: the IP header is ours, of either family (raw(7)).
fn raw(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
    // It would get packets of protocol 255, which nobody reads.
    socket.attach_filter(&[discard()])?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
