//! A check of a Unix stream socket: connect; say something; hear something.

use std::io;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixStream;

use super::process::{Seat, Starts};
use super::{Bad, Progress, tcp, words};
use crate::config::UnixCheck;

/// Where the server's queue is full, connect(2) does not wait for room in it, and nothing tells when there is some.
const FULL: Duration = Duration::from_millis(10);

pub(super) struct Unix {
    check: UnixCheck,
    starts: Starts,
}

impl Unix {
    pub(super) fn new(check: &UnixCheck) -> Self {
        Self { check: check.clone(), starts: Starts::new() }
    }

    pub(super) async fn run(&self, seat: Seat, progress: &Progress) -> Result<String, Bad> {
        let UnixCheck { path, send, expect } = &self.check;
        let named = |error: io::Error| Bad::Fail(words::clean(&format!("{}: {}", path.display(), words::io(&error))));
        let stream = self.connect(path, seat).await.map_err(named)?;
        tcp::talk(send.as_deref(), expect.as_deref(), stream, progress).await
    }

    async fn connect(&self, path: &Path, mut seat: Seat) -> io::Result<UnixStream> {
        loop {
            let path = path.to_owned();
            // To walk along a path can take for ever (a dead file server): not on the check thread.
            let (socket, kept) = self.starts.run(move || (start(&path), seat)).await?;
            match socket {
                Ok(socket) => return UnixStream::from_std(socket.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(FULL).await,
                Err(error) => return Err(error),
            }
            seat = kept;
        }
    }
}

fn start(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}
