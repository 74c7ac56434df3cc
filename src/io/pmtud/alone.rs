//! `anycaster pmtud`: the relay without BGP, in the foreground.
//!
//! Packets matter more than being seen: where a door for operators cannot be had, because another daemon of this host
//! has it, that is one line in the log.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::started::{self, Started};
use crate::Time;
use crate::config::{self, LoadedPmtud, Log, LogFormat, LogLevel, Report};
use crate::engine::NotPushed;
use crate::io::admin::{self, Admin, BindError, Query, Reply, Request};
use crate::io::notify::Notify;
use crate::io::{clock, descriptors, files, log, log_warnings, terminal};
use crate::status::metrics::Snapshot;
use crate::status::{self, Counters, Readiness, Status, rfc3339};

const LOG: Log = Log { format: LogFormat::Text, level: LogLevel::Info };
/// As `router.http` of a daemon that says nothing of it.
const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9179);

/// Until it is told to stop; the result is the exit code. `named`: somebody gave the path of the socket, and wants it.
pub fn run(config: &Path, socket: &Path, named: bool) -> u8 {
    let Some(loaded) = load(config) else { return 2 };
    match serve(&loaded, socket, named) {
        Ok(()) => 0,
        Err(problem) => {
            terminal::complain(&problem);
            2
        }
    }
}

fn load(path: &Path) -> Option<LoadedPmtud> {
    let sources = files::read_sources(path).map_err(|problem| terminal::complain(&problem)).ok()?;
    let complain = |report: Report| terminal::complain(report.render(terminal::error_colour()).trim_end());
    config::load_pmtud(&sources).map_err(complain).ok()
}

/// Everything that can be refused is refused before a packet is looked at; the error is one sentence.
fn serve(loaded: &LoadedPmtud, socket: &Path, named: bool) -> Result<(), String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| say(&e))?;
    // From here on a stop is an orderly one.
    let signals = runtime.block_on(async { Signals::hear() }).map_err(|e| say(&e))?;
    let keys = started::read_keys(Some(&loaded.pmtud))?;
    descriptors::raise_limit().map_err(|e| say(&e))?;
    let (admin, refused) = Admin::bind_what_is_free(socket, HTTP);
    if named && let Some(error) = refused.iter().find(|error| !matches!(error, BindError::Http { .. })) {
        return Err(error.to_string());
    }
    let _log = log::start(&LOG).map_err(|error| format!("logging cannot start: {error}"))?;
    log_warnings(&loaded.warnings);
    for error in refused {
        tracing::warn!("{error}; the relay goes on without");
    }
    let relay = started::start_alone(&loaded.pmtud, keys)?;
    let (queries_in, queries) = mpsc::channel(admin::QUERIES);
    let _admin = admin::Serving::start(admin, queries_in).map_err(|e| say(&e))?;
    let notify = Notify::start().map_err(|e| say(&e))?;
    let alone = Alone { loaded, relay, notify, started: clock::now(), started_at: clock::since_1970() };
    runtime.block_on(alone.run(queries, signals));
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Heard so that they do not end the process.
    hangup: Signal,
    user2: Signal,
}

impl Signals {
    fn hear() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }
}

struct Alone<'a> {
    loaded: &'a LoadedPmtud,
    relay: Started,
    notify: Notify,
    started: Time,
    started_at: Duration,
}

impl Alone<'_> {
    async fn run(mut self, mut queries: mpsc::Receiver<Query>, mut signals: Signals) {
        tracing::info!("pmtud runs on {}", self.loaded.pmtud.interfaces.join(", "));
        self.notify.ready();
        loop {
            self.notify.watchdog(clock::now());
            // Without a watchdog there is nothing to wake for.
            let beat = self.notify.deadline().map_or(Duration::from_secs(3600), |due| due.since(clock::now()));
            tokio::select! {
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hangup.recv() => tracing::warn!("SIGHUP: restart to read the configuration again"),
                _ = signals.user2.recv() => tracing::warn!("SIGUSR2: stop and start to run another binary"),
                Some(query) = queries.recv() => {
                    // A client that hung up needs no answer.
                    let _gone = query.reply.send(self.answer(query.request)).is_err();
                }
                () = tokio::time::sleep(beat) => {}
            }
        }
        self.notify.stopping();
    }

    fn answer(&self, request: Request) -> Reply {
        match request {
            Request::Status => Reply::Status(Box::new(self.status())),
            Request::Metrics => Reply::Metrics(Box::new(self.metrics())),
            Request::Health => Reply::Healthy,
            Request::Ready => Reply::Ready(Readiness::new(&self.configuration(), &[])),
            Request::Neighbors => Reply::Neighbors(Vec::new()),
            Request::Services => Reply::Services(Vec::new()),
            Request::Routes => Reply::Routes(Vec::new()),
            Request::Events { after: _ } => Reply::Events(Vec::new()),
            Request::Explain(_) => Reply::Unknown { known: Vec::new() },
            Request::Push(_) => Reply::Pushed(Err(NotPushed::NoService { known: Vec::new() })),
        }
    }

    fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: clock::now().since(self.started).as_secs_f64(),
            router: None,
            config: self.configuration(),
            neighbors: Vec::new(),
            services: Vec::new(),
            guard: serde_json::Map::new(),
            pmtud: self.relay.status(),
        }
    }

    fn configuration(&self) -> status::Config {
        status::Config {
            path: self.loaded.path.display().to_string(),
            hash: format!("{:016x}", self.loaded.hash),
            loaded_at: rfc3339::format(self.started_at),
            state: "current".into(),
        }
    }

    fn metrics(&self) -> Snapshot {
        let mut counters = Counters { started_at: self.started_at.as_secs_f64(), ..Counters::default() };
        counters.send_errors.extend(self.relay.send_errors().map(|count| ("pmtud".to_owned(), count)));
        Snapshot { status: self.status(), counters, max_prefixes: 0 }
    }
}
