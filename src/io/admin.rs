//! The operator's door: HTTP/1.1 with JSON on the control socket, and the GETs of it on a TCP address.
//!
//! ```text
//!   client -> accept -> one task per connection -> answer -> Query -> the engine's loop
//!                                                  answer <- Reply <-
//! ```
//!
//! Everything here runs on a thread and a runtime of its own: a slow client, a large scrape or a flood of
//! connections costs the engine only the few queries that fit into its queue. A connection serves one request and is
//! closed: then one clock bounds all a client can make us wait for, and `curl` and Prometheus do not mind.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::unistd::{Gid, Group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::engine::NotPushed;
use crate::status::metrics::Snapshot;
use crate::status::{Event, Explanation, Neighbor, Readiness, Route, Service, Status};

mod answer;
mod claim;
mod peer;
mod push;

use answer::Door;
use claim::Claim;
use peer::Rights;

/// Queries that wait for the engine's loop. It answers one between two steps, so a longer queue would only make the
/// last of it late; who does not fit waits `answer::PATIENCE` and is told so.
pub const QUERIES: usize = 32;

/// Readers at once, on each door: a descriptor and some 16 KiB each, and the usual limit of 1024 descriptors is shared
/// with checks and sessions. Who comes when all are taken is hung up on, so the backlog never fills.
const READERS: usize = 64;

/// Connections kept for root and the control group, so that no reader can lock them out.
const OPERATORS: usize = 16;

/// From the first byte to the last of the request's header; a client on this host needs microseconds.
const HEADER_TIME: Duration = Duration::from_secs(2);

/// A whole connection: header, the engine's answer, and a client that reads slowly.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// For what a client sent beyond its request: closed with octets unread, TCP resets, and a reset overtakes the answer.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

/// A request line with an explained prefix and a browser's headers fit; 8 KiB is also the least hyper takes.
const HEADER_BYTES: usize = 8 * 1024;

/// After an accept that failed (no descriptors left): long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A question to the engine's loop. A loop that is gone drops it, which is an answer too.
#[derive(Debug)]
pub struct Query {
    pub request: Request,
    pub reply: oneshot::Sender<Reply>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    Status,
    Neighbors,
    Services,
    Routes,
    Metrics,
    /// Those with a higher number than `after`.
    Events {
        after: Option<u64>,
    },
    /// A prefix as `ipnet` prints it (with its length, without host bits), or else the name of a service.
    Explain(String),
    Health,
    Ready,
    Push(Push),
}

/// What somebody says of a push check, by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Push {
    pub service: String,
    pub check: String,
    /// `None`: each address it has.
    pub address: Option<IpAddr>,
    pub pass: bool,
    /// One short printable line.
    pub detail: String,
}

/// Plain values, quick to fill; they are turned into text on this side.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    Status(Box<Status>),
    Neighbors(Vec<Neighbor>),
    Services(Vec<Service>),
    Routes(Vec<Route>),
    Metrics(Box<Snapshot>),
    Events(Vec<Event>),
    /// Of a prefix.
    Explanation(Box<Explanation>),
    /// Of a service: one for each of its prefixes.
    Explanations(Vec<Explanation>),
    /// No such prefix and no such service; all that could have been meant.
    Unknown {
        known: Vec<String>,
    },
    /// The loop came round.
    Healthy,
    Ready(Readiness),
    /// The addresses it counts for.
    Pushed(Result<Vec<IpAddr>, NotPushed>),
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("another anycaster answers on {0}: two daemons would announce and withdraw against each other")]
    Taken(PathBuf),
    #[error("{0} is there and is not a socket: remove it, or set router.control to another path")]
    NotASocket(PathBuf),
    #[error("cannot make the control socket {path}: {error}")]
    Control { path: PathBuf, error: io::Error },
    #[error("cannot listen on {address} (router.http): {error}")]
    Http { address: SocketAddr, error: io::Error },
    #[error("no group {0:?} on this host (router.control-group)")]
    NoGroup(String),
}

/// Both doors, open: made before anything is announced, so that a second daemon is refused in time.
#[derive(Debug)]
pub struct Admin {
    control: Option<Claim>,
    http: Option<StdTcpListener>,
    group: Option<Gid>,
}

impl Admin {
    /// `http`: `None` is "off".
    pub fn bind(control: &Path, control_group: Option<&str>, http: Option<SocketAddr>) -> Result<Self, BindError> {
        let group = control_group.map(group_id).transpose()?;
        let control = Some(Claim::new(control)?);
        let http = http.map(listen).transpose()?;
        Ok(Self { control, http, group })
    }

    /// The doors that nobody else has, and why the others are not open.
    pub fn bind_what_is_free(control: &Path, http: SocketAddr) -> (Self, Vec<BindError>) {
        let mut refused = Vec::new();
        let control = Claim::new(control).map_err(|error| refused.push(error)).ok();
        let http = listen(http).map_err(|error| refused.push(error)).ok();
        (Self { control, http, group: None }, refused)
    }

    /// Where the TCP door is, once a port 0 has become a port.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until the future is dropped, which also removes the socket; an error is one of the start.
    ///
    /// To be run inside a tokio runtime; connections are tasks of it and end with it.
    pub async fn serve(self, queries: mpsc::Sender<Query>) -> io::Result<()> {
        let control = self.control.as_ref().map(|claim| UnixListener::from_std(claim.listener()?)).transpose()?;
        let http = self.http.map(TcpListener::from_std).transpose()?;
        let group = self.group;
        tokio::join!(
            async {
                match control {
                    Some(control) => serve_control(&control, group, &queries).await,
                    None => std::future::pending().await,
                }
            },
            async {
                match http {
                    Some(http) => serve_http(&http, &queries).await,
                    None => std::future::pending().await,
                }
            },
        );
        Ok(())
    }
}

/// The thread that serves; dropped, it ends, and the socket is gone.
#[derive(Debug)]
pub struct Serving {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    pub fn start(admin: Admin, queries: mpsc::Sender<Query>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    result = admin.serve(queries) => {
                        if let Err(error) = result {
                            tracing::error!(%error, "the control socket cannot be served");
                        }
                    }
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Bounded: the thread waits for nothing but its own tasks.
            let _ended = thread.join().is_ok();
        }
    }
}

fn listen(address: SocketAddr) -> Result<StdTcpListener, BindError> {
    let listen = || {
        let listener = StdTcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|error| BindError::Http { address, error })
}

fn group_id(name: &str) -> Result<Gid, BindError> {
    let group = Group::from_name(name).ok().flatten();
    group.map(|group| group.gid).ok_or_else(|| BindError::NoGroup(name.to_owned()))
}

async fn serve_control(listener: &UnixListener, group: Option<Gid>, queries: &mpsc::Sender<Query>) {
    let readers = Arc::new(Semaphore::new(READERS));
    let operators = Arc::new(Semaphore::new(OPERATORS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let rights = peer::rights(&stream, group);
        let places = match rights {
            Rights::Change => &operators,
            Rights::Read => &readers,
        };
        serve(stream, Door::Control(rights), places, queries);
    }
}

async fn serve_http(listener: &TcpListener, queries: &mpsc::Sender<Query>) {
    let readers = Arc::new(Semaphore::new(READERS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve(stream, Door::Tcp, &readers, queries),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn serve<S>(stream: S, door: Door, places: &Arc<Semaphore>, queries: &mpsc::Sender<Query>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let Ok(place) = Arc::clone(places).try_acquire_owned() else { return };
    let queries = queries.clone();
    tokio::spawn(async move {
        let service = service_fn(|request| {
            let queries = queries.clone();
            async move { Ok::<_, std::convert::Infallible>(answer::answer(request, door, &queries).await) }
        });
        let request = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(HEADER_BYTES)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .without_shutdown();
        // What goes wrong here is the client's: it hung up, sent no HTTP, or was too slow.
        let _ = tokio::time::timeout(CONNECTION_TIME, async {
            if let Ok(parts) = request.await {
                hang_up(parts.io.into_inner()).await;
            }
        })
        .await;
        drop(place);
    });
}

/// Ends our direction first, and takes what still comes in.
async fn hang_up<S>(mut stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    if stream.shutdown().await.is_ok() {
        let (mut rest, mut nowhere) = (stream.take(LINGER_BYTES), tokio::io::sink());
        let _ = tokio::time::timeout(LINGER_TIME, tokio::io::copy(&mut rest, &mut nowhere)).await;
    }
}
