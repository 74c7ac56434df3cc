//! TCP connections: bytes out with the least delay, bytes in with a bound.
//!
//! ```text
//!   loop --send()--> socket            when nothing waits: no task, no channel in between
//!              \---> queue --> task    what the socket would not take, `Written` when it did
//!   loop <--inputs--- task <-- socket  Connected, Received, Written, and once, last: Closed
//! ```
//!
//! One task per connection owns the socket. It ends with exactly one `Closed`, said after the descriptor is closed.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use nix::libc;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::engine::{Closed, ConnectionId, Input};
use crate::io::sockopt;

/// What may wait for one peer, in octets: a session keeps at most 64 KiB not yet written (its window), and may put one
/// message of the largest kind on top, because it looks at the window before a message and not within it. More means
/// that the window is not kept; the connection is given up, since a queue without end would hide it.
const QUEUE: usize = 2 * 64 * 1024;

/// One read. A slot of the inputs channel holds at most this much, so its memory is bounded by its length.
const READ: usize = 64 * 1024;

/// How long a close may take to write what was sent and to see that the peer took it.
const CLOSE: Duration = Duration::from_secs(1);

/// All connections of this process.
pub struct Connections {
    inputs: mpsc::Sender<Input>,
    /// Weak, so that the descriptor closes with the task and not when somebody looks here again.
    open: HashMap<ConnectionId, Weak<Link>>,
}

impl Connections {
    /// `inputs` is shared by all peers; its senders wait in order of arrival, so a flooding peer gets no more than its turn.
    pub fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self { inputs, open: HashMap::new() }
    }

    /// Starts to connect; `Connected` or `Closed` follows.
    pub fn dial(&mut self, connection: ConnectionId, to: SocketAddr) {
        self.open.retain(|_, link| link.strong_count() > 0);
        let inputs = self.inputs.clone();
        match connect(to) {
            Ok(stream) => {
                let link = Arc::new(Link { stream, pending: Mutex::new(Pending::default()), wake: Notify::new() });
                self.open.insert(connection, Arc::downgrade(&link));
                tokio::spawn(run(connection, link, inputs));
            }
            Err(error) => {
                let why = Closed::Refused(error.to_string());
                tokio::spawn(async move {
                    let _ = inputs.send(Input::Closed { connection, why }).await;
                });
            }
        }
    }

    /// Gives `bytes` to the kernel, or as much as it takes now, and says how much that was: this part is `Written`.
    /// The rest is queued and reported by `Input::Written`. Ignored after a close.
    pub fn send(&self, connection: ConnectionId, bytes: Bytes) -> usize {
        self.link(connection).map_or(0, |link| link.send(bytes))
    }

    /// Writes what was sent, for a second at most, then closes; `Closed { AsAsked }` follows. A connect that hangs ends.
    pub fn close(&self, connection: ConnectionId) {
        if let Some(link) = self.link(connection) {
            link.pending().closing = true;
            link.wake.notify_one();
        }
    }

    fn link(&self, connection: ConnectionId) -> Option<Arc<Link>> {
        self.open.get(&connection).and_then(Weak::upgrade)
    }
}

/// The address the kernel would send from towards `to`; no packet is sent.
pub fn find_source(to: Ipv4Addr) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((to, 179)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(local) => Some(*local.ip()).filter(|address| !address.is_unspecified()),
        SocketAddr::V6(_) => None,
    }
}

/// What the loop and the task of one connection share.
struct Link {
    stream: TcpStream,
    /// Locked for a few instructions or one write that does not block; loop and task are on one thread.
    pending: Mutex<Pending>,
    /// Something in `pending` changed that the task must see.
    wake: Notify,
}

#[derive(Default)]
struct Pending {
    queue: VecDeque<Bytes>,
    octets: usize,
    closing: bool,
    failed: Option<String>,
}

impl Link {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, mut bytes: Bytes) -> usize {
        let mut pending = self.pending();
        if pending.closing || pending.failed.is_some() {
            return 0;
        }
        let mut written = 0;
        if pending.queue.is_empty() {
            match self.stream.try_write(&bytes) {
                Ok(count) => written = count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Kept for the task: a socket tells its error once, and a read after it would only say "closed".
                Err(error) => pending.failed = Some(error.to_string()),
            }
        }
        bytes.advance(written);
        if bytes.is_empty() && pending.failed.is_none() {
            return written;
        }
        if pending.octets.saturating_add(bytes.len()) > QUEUE {
            pending.failed = Some("more was sent than the window of a session allows".to_owned());
        } else {
            pending.octets += bytes.len();
            pending.queue.push_back(bytes);
        }
        self.wake.notify_one();
        written
    }

    /// Writes from the queue until the socket takes no more; returns how much it took.
    fn flush(&self) -> io::Result<usize> {
        let mut pending = self.pending();
        let mut written = 0;
        while let Some(front) = pending.queue.front_mut() {
            match self.stream.try_write(front) {
                Ok(count) => {
                    front.advance(count);
                    let done = front.is_empty();
                    pending.octets = pending.octets.saturating_sub(count);
                    written += count;
                    if done {
                        pending.queue.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Completes when a close was asked for; only while nothing else waits for `wake`.
    async fn close_asked(&self) {
        while !self.pending().closing {
            self.wake.notified().await;
        }
    }
}

/// A socket on its way to `to`, with its options set before the first SYN.
fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    sockopt::prepare(&socket, to)?;
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    TcpStream::from_std(socket.into())
}

/// The life of one connection.
async fn run(connection: ConnectionId, link: Arc<Link>, inputs: mpsc::Sender<Input>) {
    let why = match established(&link).await {
        Ok(local) => {
            if inputs.send(Input::Connected { connection, local }).await.is_err() {
                return;
            }
            serve(connection, &link, &inputs).await
        }
        Err(why) => why,
    };
    drop(link);
    let _ = inputs.send(Input::Closed { connection, why }).await;
}

async fn established(link: &Link) -> Result<SocketAddr, Closed> {
    let connected = async {
        link.stream.writable().await?;
        match link.stream.take_error()? {
            Some(error) => Err(error),
            None => link.stream.local_addr(),
        }
    };
    tokio::select! {
        biased;
        () = link.close_asked() => Err(Closed::AsAsked),
        result = connected => result.map_err(|error| Closed::Refused(error.to_string())),
    }
}

/// Reads and writes until one side has enough.
async fn serve(connection: ConnectionId, link: &Link, inputs: &mpsc::Sender<Input>) -> Closed {
    let mut scratch = BytesMut::with_capacity(READ);
    loop {
        let (closing, queued) = {
            let mut pending = link.pending();
            if let Some(text) = pending.failed.take() {
                return Closed::Failed(text);
            }
            (pending.closing, !pending.queue.is_empty())
        };
        if closing {
            return close(connection, link, inputs).await;
        }
        // First the octets, then a slot: a connection that is quiet holds no slot.
        let readable = async {
            link.stream.readable().await?;
            inputs.reserve().await.map_err(io::Error::other)
        };
        let result = tokio::select! {
            biased;
            () = link.wake.notified() => Ok(None),
            result = link.stream.writable(), if queued => match result.and_then(|()| link.flush()) {
                Ok(written) => {
                    report(connection, written, inputs).await;
                    Ok(None)
                }
                Err(error) => Err(error),
            },
            slot = readable => match slot {
                Ok(slot) => receive(connection, link, slot, &mut scratch),
                Err(error) => Err(error),
            },
        };
        match result {
            Ok(None) => {}
            Ok(Some(why)) => return why,
            Err(error) => return Closed::Failed(error.to_string()),
        }
    }
}

async fn report(connection: ConnectionId, bytes: usize, inputs: &mpsc::Sender<Input>) {
    if bytes > 0 {
        let _ = inputs.send(Input::Written { connection, bytes }).await;
    }
}

/// One read into the slot that waits for it; `Some`: the peer closed its side.
fn receive(
    connection: ConnectionId,
    link: &Link,
    slot: mpsc::Permit<'_, Input>,
    scratch: &mut BytesMut,
) -> io::Result<Option<Closed>> {
    // The scratch is copied from, not split: a keepalive of 19 octets must not hold 64 KiB alive.
    scratch.clear();
    match link.stream.try_read_buf(scratch) {
        Ok(0) => Ok(Some(Closed::ByPeer)),
        Ok(_) => {
            slot.send(Input::Received { connection, bytes: Bytes::copy_from_slice(scratch) });
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes what was sent, then says that nothing follows, then waits for the peer to have seen it.
///
/// The last step is not politeness: a socket closed with octets unread sends RST, and the peer's kernel then throws
/// away the NOTIFICATION that it had not read yet.
async fn close(connection: ConnectionId, link: &Link, inputs: &mpsc::Sender<Input>) -> Closed {
    let orderly = async {
        while !link.pending().queue.is_empty() {
            link.stream.writable().await?;
            report(connection, link.flush()?, inputs).await;
        }
        SockRef::from(&link.stream).shutdown(Shutdown::Write)?;
        let mut scratch = BytesMut::with_capacity(READ);
        loop {
            link.stream.readable().await?;
            scratch.clear();
            match link.stream.try_read_buf(&mut scratch) {
                Ok(0) => return Ok::<(), io::Error>(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    // Whether in time, late or with an error: it is closed, as asked.
    let _ = timeout(CLOSE, orderly).await;
    if !link.pending().queue.is_empty() {
        // A peer that stopped reading would keep the kernel's copy for minutes: RST ends it on both sides.
        let _ = SockRef::from(&link.stream).set_linger(Some(Duration::ZERO));
    }
    Closed::AsAsked
}

#[cfg(test)]
mod tests;
