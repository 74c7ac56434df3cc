//! Runs checks, each run once and when asked: what the results mean, and when to ask again, is the engine's.
//!
//! ```text
//!   engine's thread                        the thread "checks"
//!   Runner::probe --[one per instance]-->  serve --> connect at once, or a task: tcp, http, exec ...
//!        ^                                                 |
//!        +---------[the engine's inputs]<---- Probed ------+
//! ```
//!
//! The thread has a runtime of its own, so nothing that a check does can delay a withdraw. A run is over at its
//! timeout, whatever it waits for: dropping its future closes its socket or kills its process group.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::config::Config;
use crate::engine::{Input, Outcome, ProbeId};
use crate::io::descriptors;
use dial::Dialed;
use prepare::{Kind, Prepared, Talk};
use process::{Seats, THREADS};

mod dial;
mod dns;
pub(super) mod exec;
mod file;
mod grpc;
mod http;
mod prepare;
pub(super) mod process;
mod systemd;
mod tcp;
mod tls;
mod udp;
mod unix;
pub(super) mod words;

/// What one run is to be told. The two texts reach programs as `STATE` and `REASON`; other kinds of checks do not look
/// at them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeRequest {
    pub probe: ProbeId,
    pub state: String,
    pub reason: String,
}

/// Why there can be no runner for this configuration.
#[derive(thiserror::Error, Debug)]
pub enum BuildError {
    #[error("service {service}, check {check}: {detail}")]
    Check { service: String, check: String, detail: String },
    #[error("service {service}, hook {hook}: {detail}")]
    Hook { service: String, hook: &'static str, detail: String },
    #[error("the check thread cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// Why a probe was not started: no `Probed` will come of it.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProbeError {
    #[error("too many checks are waiting to be started")]
    Full,
    #[error("no such check")]
    Unknown,
    #[error("the check thread is gone")]
    Gone,
}

/// Dropped: runs under way are cut off, their programs killed, and nothing more is reported.
pub struct Runner {
    requests: mpsc::Sender<ProbeRequest>,
    /// Number of checks of each service.
    checks: Vec<usize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// `inputs` is the engine's bounded queue: while it is full, results wait here and requests queue up behind them.
    pub fn new(config: &Config, inputs: mpsc::Sender<Input>) -> Result<Self, BuildError> {
        let prepared = Prepared::all(config)?;
        descriptors::keep_descriptors();
        let checks = prepared.iter().map(Vec::len).collect();
        // One run of each instance at a time: a queue of this length is full only when the engine asks twice.
        let (requests, queue) = mpsc::channel(prepare::instances(config).max(1));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(THREADS)
            .build()?;
        let work = Arc::new(Work { checks: prepared, inputs, seats: Seats::new(), looks: file::looks() });
        let thread = std::thread::Builder::new().name("checks".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = work.serve(queue) => {}
                    _ = stopped => {}
                }
            });
            // Drops every run. It must not wait for an exec(2) that hangs.
            runtime.shutdown_background();
        })?;
        Ok(Self { requests, checks, stop: Some(stop), thread: Some(thread) })
    }

    /// Starts one run; exactly one `Probed` comes of it. Never waits.
    pub fn probe(&self, request: ProbeRequest) -> Result<(), ProbeError> {
        match self.checks.get(request.probe.service) {
            Some(checks) if request.probe.check < *checks => {}
            Some(_) | None => return Err(ProbeError::Unknown),
        }
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProbeError::Full,
            mpsc::error::TrySendError::Closed(_) => ProbeError::Gone,
        })
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Bounded: the thread only drops what it has, so that no program outlives the daemon.
            let _ended = thread.join().is_ok();
        }
    }
}

/// Why a run did not pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Bad {
    Fail(String),
    TimedOut(String),
    NoAddress,
}

struct Work {
    checks: Vec<Vec<Prepared>>,
    inputs: mpsc::Sender<Input>,
    seats: Seats<(usize, usize, IpAddr)>,
    looks: Arc<Semaphore>,
}

/// One run under way.
#[derive(Clone, Copy)]
struct Run {
    probe: ProbeId,
    /// `None`: the kernel chooses.
    from: Option<IpAddr>,
    started: Instant,
    timeout: Duration,
}

impl Work {
    async fn serve(self: &Arc<Self>, mut queue: mpsc::Receiver<ProbeRequest>) {
        while let Some(request) = queue.recv().await {
            let probe = request.probe;
            let Some(check) = self.checks.get(probe.service).and_then(|checks| checks.get(probe.check)) else {
                continue;
            };
            let from = check.source(probe.address);
            let run = Run { probe, from, started: Instant::now(), timeout: check.timeout };
            let work = Arc::clone(self);
            match &check.kind {
                // Most checks are this one, and nearly all of those are over at once: neither task nor timer.
                Kind::Connect { port } => match dial::start(from, SocketAddr::new(probe.address, *port)) {
                    Ok(Dialed::Connected(socket)) => self.report(run, tcp::connected(socket)).await,
                    Ok(Dialed::Pending(socket)) => drop(tokio::spawn(async move {
                        work.limit(run, &Progress::default(), tcp::finish(socket)).await;
                    })),
                    Err(bad) => self.report(run, Err(bad)).await,
                },
                Kind::Talk(talk) => {
                    let talk = Arc::clone(talk);
                    drop(tokio::spawn(async move { work.talk(run, &talk, request).await }));
                }
                Kind::Nothing => self.report(run, Err(Bad::Fail("this check runs nothing".to_owned()))).await,
            }
        }
    }

    async fn talk(&self, run: Run, talk: &Talk, request: ProbeRequest) {
        let ProbeId { service, check, address, .. } = run.probe;
        let progress = Progress::default();
        match talk {
            Talk::Tcp(tcp) => self.limit(run, &progress, tcp::run(tcp, run.from, address, &progress)).await,
            Talk::Http(http) => self.limit(run, &progress, http.run(run.from, address, &progress)).await,
            Talk::File(file) => self.limit(run, &progress, file.run(&self.looks, &progress)).await,
            Talk::Exec(exec) => match self.seats.take((service, check, address)) {
                Some(seat) => self.limit(run, &progress, exec.run(&request, seat, &progress)).await,
                None => self.report(run, undead()).await,
            },
            Talk::Systemd(systemd) => match self.seats.take((service, check, address)) {
                Some(seat) => self.limit(run, &progress, systemd.run(&request, seat, &progress)).await,
                None => self.report(run, undead()).await,
            },
            Talk::Udp(udp) => self.limit(run, &progress, udp::run(udp, run.from, address, &progress)).await,
            Talk::Dns(dns) => self.limit(run, &progress, dns::run(dns, run.from, address, &progress)).await,
            Talk::Grpc(grpc) => self.limit(run, &progress, grpc.run(run.from, address, &progress)).await,
            Talk::Unix(unix) => match self.seats.take((service, check, address)) {
                Some(seat) => self.limit(run, &progress, unix.run(seat, &progress)).await,
                None => self.report(run, Err(Bad::Fail("earlier runs still hang in connect(2)".to_owned()))).await,
            },
        }
    }

    /// The timeout covers all of a run; what it cuts off is dropped before it is told.
    async fn limit(&self, run: Run, progress: &Progress, attempt: impl Future<Output = Result<String, Bad>>) {
        let left = run.timeout.saturating_sub(run.started.elapsed());
        let result = tokio::time::timeout(left, attempt).await;
        self.report(run, result.unwrap_or_else(|_| Err(Bad::TimedOut(progress.missing(run.timeout))))).await;
    }

    async fn report(&self, run: Run, result: Result<String, Bad>) {
        let outcome = match result {
            Ok(detail) => Outcome::Pass { detail },
            Err(Bad::Fail(detail)) => Outcome::Fail { detail },
            Err(Bad::TimedOut(detail)) => Outcome::TimedOut { detail },
            Err(Bad::NoAddress) => Outcome::NoAddress,
        };
        let result = Input::Probed { probe: run.probe, outcome, took: run.started.elapsed() };
        // An engine that is gone wants no results.
        let _delivered = self.inputs.send(result).await.is_ok();
    }
}

fn undead() -> Result<String, Bad> {
    Err(Bad::Fail("earlier runs were killed and do not end".to_owned()))
}

/// What a run waits for, which is what its timeout is told as.
#[derive(Default)]
pub(super) struct Progress {
    phase: AtomicU8,
    /// The first answer that was not the one waited for.
    heard: OnceLock<String>,
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Phase {
    Tls = 1,
    Answer,
    Running,
    Sent,
    /// For the look before it at the same file.
    Turn,
    /// For looks at other files.
    Place,
    Look,
    /// For exec(2).
    Start,
}

impl Phase {
    const ALL: [Self; 8] =
        [Self::Tls, Self::Answer, Self::Running, Self::Sent, Self::Turn, Self::Place, Self::Look, Self::Start];
}

impl Progress {
    fn reached(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// `answer`: clean, and not what was waited for.
    fn heard(&self, answer: impl FnOnce() -> String) {
        self.heard.get_or_init(answer);
    }

    pub(super) fn missing(&self, timeout: Duration) -> String {
        if let Some(heard) = self.heard.get() {
            return format!("not the expected answer within {timeout:?}: {heard}");
        }
        let reached = self.phase.load(Ordering::Relaxed);
        match Phase::ALL.into_iter().find(|phase| *phase as u8 == reached) {
            None => format!("no connection within {timeout:?}"),
            Some(Phase::Tls) => format!("connected, but no TLS within {timeout:?}"),
            Some(Phase::Answer) => format!("connected, but no answer within {timeout:?}"),
            Some(Phase::Running) => format!("timed out: still running after {timeout:?}, killed"),
            Some(Phase::Sent) => format!("sent, but no answer within {timeout:?}"),
            Some(Phase::Turn) => "timed out: an earlier look at the file hangs".to_owned(),
            Some(Phase::Place) => "timed out: too many looks at other files hang".to_owned(),
            Some(Phase::Start) => format!("timed out: the program has not been started within {timeout:?}"),
            Some(Phase::Look) => format!("timed out: the file system has not answered for {timeout:?}"),
        }
    }
}
