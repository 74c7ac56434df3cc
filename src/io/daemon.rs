//! The loop: every input into the engine, every output out of it.
//!
//! ```text
//!   signals, listeners, netlink, connections, checks, hooks, files, queries --> engine.handle
//!   engine.poll --> connections, listeners, netlink, checks, hooks, log, systemd
//! ```
//!
//! One thread, one tokio runtime, nothing in it that blocks: checks, hooks, HTTP, disable-files and log lines have threads
//! of their own, so none of them can delay a withdraw. The channels are made in `io.rs`; their bounds stand here.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::admin::{Push, Query, Reply, Request};
use super::alarm::Alarm;
use super::checks::{ProbeRequest, Runner};
use super::hooks::Hooks;
use super::listeners::Listeners;
use super::netlink::{self, Netlink};
use super::notify::Notify;
use super::pmtud::Started;
use super::tcp::{Connections, find_source};
use super::{clock, log};
use crate::Time;
use crate::engine::{Clock, Engine, Explained, Input, Outcome, Output, Words};
use crate::facts::Fact;
use crate::status::metrics::Snapshot;
use crate::status::{Counters, Readiness, Status};

/// What netlink says at once when a whole table changes; the sender waits beyond it, and the kernel's own buffer (with
/// its overrun, which reads everything again) behind that.
pub(super) const FACTS: usize = 1024;

/// Reads of connections: each at most 64 KiB, so a flood of all peers together costs 4 MiB, and then waits in TCP.
pub(super) const RECEIVED: usize = 64;

/// Results of checks; the runner waits beyond it.
pub(super) const RESULTS: usize = 256;

/// Every so many waits each source gets its turn: else a listener that somebody opens and closes without end would
/// cost every session its hold time.
const TURN: u32 = 16;

/// Everything the loop drives.
pub(super) struct Daemon {
    pub(super) engine: Engine,
    pub(super) facts: mpsc::Receiver<Input>,
    pub(super) received: mpsc::Receiver<Input>,
    pub(super) results: mpsc::Receiver<Input>,
    pub(super) queries: mpsc::Receiver<Query>,
    pub(super) connections: Connections,
    pub(super) listeners: Listeners,
    pub(super) netlink: Netlink,
    pub(super) netlink_counters: Arc<netlink::Counters>,
    pub(super) runner: Runner,
    pub(super) hooks: Hooks,
    pub(super) pmtud: Started,
    pub(super) notify: Notify,
    pub(super) started_at: Duration,
    /// Probes that could not be handed to the check thread.
    pub(super) probe_errors: u64,
    /// Counted for [`TURN`].
    pub(super) waits: u32,
    pub(super) alarm: Alarm,
}

/// What people and service managers say. Registered before anything is announced, never given back: SIGHUP and SIGUSR2
/// would end the process otherwise, with every session.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user2: Signal,
}

impl Signals {
    fn hear() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }
}

impl Daemon {
    /// Ends when the engine says so, or with an error where the daemon would go on blind.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let mut signals = Signals::hear()?;
        if self.perform().is_break() {
            return Ok(());
        }
        loop {
            self.notify.watchdog(clock::now());
            for input in self.wait(&mut signals).await? {
                self.engine.handle(clock::now(), input);
                if self.perform().is_break() {
                    return Ok(());
                }
            }
        }
    }

    /// The next thing that happened, what is most urgent first: a listener that died, an address that went. Timers come
    /// last and lose nothing by it, because every input runs what is due.
    async fn wait(&mut self, signals: &mut Signals) -> io::Result<Vec<Input>> {
        self.waits = self.waits.wrapping_add(1);
        if self.waits.is_multiple_of(TURN) {
            let inputs = self.one_of_each();
            if !inputs.is_empty() {
                return Ok(inputs);
            }
        }
        let deadline = self.engine.deadline().min(self.notify.deadline().unwrap_or(Time::MAX));
        Ok(tokio::select! {
            biased;
            _ = signals.terminate.recv() => vec![Input::Stop],
            _ = signals.interrupt.recv() => vec![Input::Stop],
            _ = signals.hangup.recv() => {
                tracing::warn!("SIGHUP: reload is not supported yet; restart to read the configuration again");
                Vec::new()
            }
            _ = signals.user2.recv() => {
                tracing::warn!("SIGUSR2: a restart in place is not supported yet; stop and start to run another binary");
                Vec::new()
            }
            facts = self.listeners.changed() => facts.into_iter().map(Input::Fact).collect(),
            Some(input) = self.facts.recv() => vec![input],
            // Without it no address that goes would be noticed: better gone ourselves, and started anew.
            () = self.netlink.ended() => return Err(io::Error::other("the watch on addresses and routes has ended")),
            Some(input) = self.received.recv() => vec![input],
            Some(input) = self.results.recv() => vec![input],
            Some(query) = self.queries.recv(), if !self.engine.is_hearing() => self.answer(query).into_iter().collect(),
            rang = self.alarm.until(deadline) => rang.map(|()| vec![Input::Tick])?,
        })
    }

    /// What waits, one from each source however loud another is.
    fn one_of_each(&mut self) -> Vec<Input> {
        let query = if self.engine.is_hearing() { None } else { self.queries.try_recv().ok() };
        let pushed = query.and_then(|query| self.answer(query));
        let rest = [self.facts.try_recv(), self.received.try_recv(), self.results.try_recv()];
        pushed.into_iter().chain(rest.into_iter().flatten()).collect()
    }

    /// Drains the engine. What is answered on the spot goes back in at once.
    fn perform(&mut self) -> ControlFlow<()> {
        let mut answers = VecDeque::new();
        loop {
            while let Some(output) = self.engine.poll() {
                match output {
                    Output::Dial { connection, to } => self.connections.dial(connection, to),
                    Output::Send { connection, bytes } => {
                        let written = self.connections.send(connection, bytes);
                        if written > 0 {
                            answers.push_back(Input::Written { connection, bytes: written });
                        }
                    }
                    Output::Close { connection } => self.connections.close(connection),
                    Output::Probe { probe } => {
                        let Words { state, reason } = self.engine.words_for_check(probe.service, probe.check);
                        if let Err(error) = self.runner.probe(ProbeRequest { probe, state, reason }) {
                            self.probe_errors += 1;
                            let outcome = Outcome::Fail { detail: error.to_string() };
                            answers.push_back(Input::Probed { probe, outcome, took: Duration::ZERO });
                        }
                    }
                    Output::Ask { watch } => {
                        let listening = self.listeners.ask(&watch);
                        answers.push_back(Input::Fact(Fact::Listener { watch, listening }));
                    }
                    Output::Watch { watches } => {
                        answers.extend(self.listeners.set_watches(&watches).into_iter().map(Input::Fact));
                    }
                    Output::FindSource { to } => {
                        answers.push_back(Input::Source { to, address: find_source(to) });
                    }
                    Output::Manage { address, present } => self.netlink.manage(address, present),
                    Output::Hook { service, hook } => self.hooks.run(service, hook, self.engine.words(service)),
                    Output::Announced { prefix, announced } => self.pmtud.announced(prefix, announced),
                    Output::Event(event) => log::event(&event),
                    Output::Ready => self.notify.ready(),
                    Output::Stopping => self.notify.stopping(),
                    Output::Exit => return ControlFlow::Break(()),
                }
            }
            let Some(input) = answers.pop_front() else { return ControlFlow::Continue(()) };
            self.engine.handle(clock::now(), input);
        }
    }

    /// What was asked for beyond an answer goes into the engine next.
    fn answer(&self, query: Query) -> Option<Input> {
        let mut input = None;
        let clock = Clock { now: clock::now(), wall: clock::since_1970() };
        let reply = match query.request {
            Request::Status => Reply::Status(Box::new(self.status(clock))),
            Request::Neighbors => Reply::Neighbors(self.engine.neighbors(clock)),
            Request::Services => Reply::Services(self.engine.services(clock)),
            Request::Events { after } => Reply::Events(self.engine.events(clock, after)),
            Request::Routes => Reply::Routes(self.engine.routes(clock)),
            Request::Metrics => Reply::Metrics(Box::new(Snapshot {
                status: self.status(clock),
                counters: self.counters(),
                max_prefixes: self.engine.config().metrics.max_prefixes,
            })),
            Request::Explain(what) => match self.engine.explain(clock, &what) {
                Explained::Prefix(mut explanation) => {
                    self.pmtud.explain(std::slice::from_mut(&mut explanation));
                    Reply::Explanation(explanation)
                }
                Explained::Service(mut explanations) => {
                    self.pmtud.explain(&mut explanations);
                    Reply::Explanations(explanations)
                }
                Explained::Unknown(known) => Reply::Unknown { known },
            },
            Request::Health => Reply::Healthy,
            Request::Ready => {
                let status = self.engine.status(clock);
                Reply::Ready(Readiness::new(&status.config, &status.neighbors))
            }
            Request::Push(Push { service, check, address, pass, detail }) => {
                Reply::Pushed(self.engine.pushable(&service, &check, address).map(|to| {
                    input = Some(Input::Pushed { service: to.service, check: to.check, address, pass, detail });
                    to.addresses
                }))
            }
        };
        // A client that hung up needs no answer.
        let _gone = query.reply.send(reply).is_err();
        input
    }

    fn status(&self, clock: Clock) -> Status {
        Status { pmtud: self.pmtud.status(), ..self.engine.status(clock) }
    }

    fn counters(&self) -> Counters {
        let mut counters = self.engine.counters();
        counters.started_at = self.started_at.as_secs_f64();
        counters.netlink_resyncs = self.netlink_counters.resyncs.load(Ordering::Relaxed);
        counters.send_errors.insert("probe".into(), self.probe_errors);
        counters.send_errors.extend(self.pmtud.send_errors().map(|count| ("pmtud".into(), count)));
        counters
    }
}
