//! A UDP check: one datagram, and the answers to it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::tcp::{find, first_line};
use super::{Bad, Phase, Progress, dial, words};
use crate::config::UdpCheck;

/// With nothing to say nothing may be answered: a port that nobody has is refused by this host at once.
const REFUSED: Duration = Duration::from_millis(5);

/// And by another one within this time, on the same continent.
const REFUSED_ELSEWHERE: Duration = Duration::from_millis(100);

/// No datagram is longer.
const MOST_READ: usize = 65_535;

pub(super) async fn run(
    check: &UdpCheck,
    from: Option<IpAddr>,
    to: IpAddr,
    progress: &Progress,
) -> Result<String, Bad> {
    let socket = dial::datagrams(from, SocketAddr::new(to, check.port))?;
    send(&socket, check.send.as_deref().unwrap_or_default().as_bytes(), progress).await?;
    let mut heard = Vec::new();
    if let UdpCheck { send: None, expect: None, .. } = check {
        let wait = if from.is_some() { REFUSED } else { REFUSED_ELSEWHERE };
        return match tokio::time::timeout(wait, hear(&socket, &mut heard)).await {
            Ok(heard) => heard.map(|()| "answered".to_owned()),
            Err(_) => Ok("not refused".to_owned()),
        };
    }
    loop {
        hear(&socket, &mut heard).await?;
        match &check.expect {
            None => return Ok("answered".to_owned()),
            Some(expect) if find(&heard, 0, expect.as_bytes()) => return Ok("answered as expected".to_owned()),
            // A late answer to an earlier run cannot come here, but a server may say several things.
            Some(_) => progress.heard(|| first_line(&heard)),
        }
    }
}

pub(super) async fn send(socket: &UdpSocket, datagram: &[u8], progress: &Progress) -> Result<(), Bad> {
    socket.send(datagram).await.map_err(|error| failed(&error))?;
    progress.reached(Phase::Sent);
    Ok(())
}

/// One datagram, whole. While there is none, there is no room for one either: many runs may wait at once.
pub(super) async fn hear(socket: &UdpSocket, heard: &mut Vec<u8>) -> Result<(), Bad> {
    loop {
        // What comes back as ICMP makes a socket erroneous, not readable.
        socket.ready(Interest::READABLE | Interest::ERROR).await.map_err(|error| failed(&error))?;
        let error = socket.try_io(Interest::ERROR, || socket.take_error()?.ok_or(io::ErrorKind::WouldBlock.into()));
        if let Ok(error) = error {
            return Err(failed(&error));
        }
        heard.clear();
        heard.reserve(MOST_READ);
        match socket.try_recv_buf(heard) {
            Ok(_length) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(failed(&error)),
        }
    }
}

/// What ICMP says of the datagram sent is an error of the socket.
fn failed(error: &io::Error) -> Bad {
    Bad::Fail(match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "port unreachable: nothing listens there".to_owned(),
        Some(_) | None => words::io(error),
    })
}
