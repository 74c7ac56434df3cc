//! A check of a Unix stream socket: connect; say something; hear something.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixStream;

use super::process::Seat;
use super::{Bad, Progress, tcp, words};
use crate::config::UnixCheck;

/// Where the server's queue is full, connect(2) does not wait for room in it, and nothing tells when there is some.
const FULL: Duration = Duration::from_millis(10);

pub(super) async fn run(check: &UnixCheck, seat: Seat, progress: &Progress) -> Result<String, Bad> {
    let named = |error: io::Error| Bad::Fail(words::clean(&format!("{}: {}", check.path.display(), words::io(&error))));
    let stream = connect(check.path.clone(), seat).await.map_err(named)?;
    tcp::talk(check.send.as_deref(), check.expect.as_deref(), stream, progress).await
}

async fn connect(path: PathBuf, mut seat: Seat) -> io::Result<UnixStream> {
    loop {
        let path = path.clone();
        // To walk along a path can take for ever (a dead file server): not on the check thread.
        let connected = tokio::task::spawn_blocking(move || (start(&path), seat));
        let (socket, kept) = connected.await.map_err(io::Error::other)?;
        match socket {
            Ok(socket) => return UnixStream::from_std(socket.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(FULL).await,
            Err(error) => return Err(error),
        }
        seat = kept;
    }
}

fn start(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}
