//! One TCP connection, or one UDP socket, towards what is checked, from the address it is to come from.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};

use super::Bad;
use super::words;
use crate::io::sockopt;

/// A connection on its way.
pub(super) enum Dialed {
    Connected(Socket),
    Pending(Socket),
}

/// Sends the SYN and never waits.
pub(super) fn start(from: Option<IpAddr>, to: SocketAddr) -> Result<Dialed, Bad> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP)).map_err(failed)?;
    sockopt::leave_nothing(&socket).map_err(failed)?;
    if let Some(from) = from {
        bind(&socket, from)?;
    }
    let to = to.into();
    match socket.connect(&to) {
        Ok(()) => return to_another(&socket).map(|()| Dialed::Connected(socket)),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(failed(error)),
    }
    // On the host itself the handshake is over when connect(2) returns, although it says "in progress": asking once
    // more costs less than a round through epoll and a timer, and is all that most checks ever need.
    match socket.connect(&to) {
        Ok(()) => to_another(&socket).map(|()| Dialed::Connected(socket)),
        Err(error) if error.raw_os_error() == Some(libc::EALREADY) => Ok(Dialed::Pending(socket)),
        Err(error) => Err(failed(error)),
    }
}

/// From the address of the service, and to it: where nothing listens and the kernel picks the very port that is checked,
/// the socket is connected to itself (RFC 9293 §3.5, simultaneous open), and no server is there.
fn to_another(socket: &Socket) -> Result<(), Bad> {
    let [own, other] =
        [socket.local_addr(), socket.peer_addr()].map(|address| address.ok().and_then(|a| a.as_socket()));
    if own.is_some() && own == other { Err(Bad::Fail("connection refused".to_owned())) } else { Ok(()) }
}

fn bind(socket: &Socket, from: IpAddr) -> Result<(), Bad> {
    // Without it bind(2) takes a port that is then used up for every destination; with it connect(2) takes one that
    // only has to be free towards this one. It is an option of the IP level for IPv6 sockets, too.
    setsockopt(socket, IpBindAddressNoPort, &true).map_err(|errno| failed(errno.into()))?;
    match socket.bind(&SocketAddr::new(from, 0).into()) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(Errno::EADDRNOTAVAIL as i32) => Err(Bad::NoAddress),
        Err(error) => Err(failed(error)),
    }
}

/// A connection to talk on.
pub(super) async fn connect(from: Option<IpAddr>, to: SocketAddr) -> Result<TcpStream, Bad> {
    match start(from, to)? {
        Dialed::Connected(socket) => TcpStream::from_std(socket.into()).map_err(failed),
        Dialed::Pending(socket) => wait(socket).await,
    }
}

/// The rest of a connect(2) in progress.
pub(super) async fn wait(socket: Socket) -> Result<TcpStream, Bad> {
    let stream = TcpStream::from_std(socket.into()).map_err(failed)?;
    stream.writable().await.map_err(failed)?;
    match stream.take_error().map_err(failed)? {
        None => to_another(&SockRef::from(&stream)).map(|()| stream),
        Some(error) => Err(failed(error)),
    }
}

/// A socket that hears nobody but `to`.
pub(super) fn datagrams(from: Option<IpAddr>, to: SocketAddr) -> Result<UdpSocket, Bad> {
    let first = datagram(from, to)?;
    // From the address of the service, and to it: where the kernel picks the very port that is checked, the socket would
    // hear itself. While the first one is there, a second one has another.
    let own = first.local_addr().map_err(failed)?.as_socket();
    let socket = if own == Some(to) { datagram(from, to)? } else { first };
    UdpSocket::from_std(socket.into()).map_err(failed)
}

fn datagram(from: Option<IpAddr>, to: SocketAddr) -> Result<Socket, Bad> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::UDP)).map_err(failed)?;
    if let Some(from) = from {
        bind(&socket, from)?;
    }
    socket.connect(&to.into()).map_err(failed)?;
    Ok(socket)
}

fn failed(error: io::Error) -> Bad {
    Bad::Fail(words::io(&error))
}
