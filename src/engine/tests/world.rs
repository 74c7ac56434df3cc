//! A host and its routers under one virtual clock: what `io` does in the daemon, a model does here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::judge::Judge;
use super::pipe::Pipe;
use super::router::Router;
use crate::Time;
use crate::bgp::wire::Notification;
use crate::config::{Config, Protocol};
use crate::dice::Dice;
use crate::engine::{Closed, ConnectionId, Engine, Event, EventKind, Hook, Input, Output};
use crate::facts::{Fact, Watch};

pub(super) use super::host::on;

pub(super) const LO: u32 = 1;
pub(super) const ETH0: u32 = 2;

/// The whole truth is read this often, as in the daemon.
const READ: Duration = Duration::from_secs(30);

/// What goes wrong from time to time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Reads of the kernel fail or come back empty, and so does what is asked of it.
    pub(super) reads: bool,
    /// Connects are refused or hang.
    pub(super) network: bool,
    /// The kernel takes octets in small parts, and late.
    pub(super) slow_writes: bool,
    /// Checks and questions are answered late or never, and notices of closing listeners are lost.
    pub(super) late: bool,
    /// Netlink events come twice, out of order, or not at all.
    pub(super) disorder: bool,
    /// Checks flap.
    pub(super) flaky: bool,
}

pub(super) struct World {
    pub(super) now: Time,
    pub(super) engine: Engine,
    pub(super) routers: Vec<Router>,
    /// Of each configured neighbor: its router.
    pub(super) slots: Vec<usize>,
    pub(super) dice: Dice,
    pub(super) faults: Faults,
    /// The truth about the host.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Those that are not where they are by nature.
    pub(super) placed: BTreeMap<IpAddr, u32>,
    pub(super) tentative: BTreeSet<IpAddr>,
    pub(super) interfaces: BTreeMap<u32, &'static str>,
    pub(super) routes: BTreeSet<IpNet>,
    pub(super) listening: BTreeSet<(Protocol, u16)>,
    pub(super) sick: BTreeSet<IpAddr>,
    pub(super) sick_checks: BTreeSet<&'static str>,
    pub(super) disable_file: bool,
    pub(super) connections: BTreeMap<ConnectionId, Pipe>,
    /// Cut, and the engine has not heard of it: what it still sends is lost, as in the kernel.
    pub(super) cut: BTreeSet<ConnectionId>,
    /// Closed by the engine, with its last word.
    pub(super) closed: BTreeMap<ConnectionId, Option<Notification>>,
    /// What the engine must say to the octets it is given just now.
    pub(super) due: Option<(ConnectionId, super::talk::Answer)>,
    pub(super) watches: BTreeSet<Watch>,
    /// What reaches the engine later.
    pub(super) later: BTreeMap<(Time, u64), Input>,
    number: u64,
    /// Given on the spot, as the daemon does.
    pub(super) answers: VecDeque<Input>,
    heard: BTreeMap<Watch, Option<bool>>,
    handled: u64,
    pump_at: Time,
    pub(super) read_at: Time,
    pub(super) judge: Judge,
    /// The last time that the daemon did not run for a while.
    pub(super) stalled: Time,
    pub(super) ready: u64,
    pub(super) exited: bool,
    pub(super) stops: u64,
    /// The last of each service.
    pub(super) hooked: BTreeMap<usize, Hook>,
    /// What the relay of ICMP errors was told.
    pub(super) announced: BTreeSet<IpNet>,
    /// The last one.
    pub(super) session_event: Option<Event>,
}

impl World {
    pub(super) fn new(config: Config, seed: u64) -> Self {
        let routers = vec![Router::default(); config.neighbors.len()];
        let slots = (0..routers.len()).collect();
        Self::with(Time::from_nanos(1_000_000_000), config, routers, slots, seed)
    }

    pub(super) fn with(now: Time, config: Config, routers: Vec<Router>, slots: Vec<usize>, seed: u64) -> Self {
        let mut world = Self {
            now,
            judge: Judge::new(&config),
            engine: Engine::new(now, config, seed),
            routers,
            slots,
            dice: Dice::new(seed),
            faults: Faults::default(),
            addresses: ["10.0.0.10", "fd00::10"].map(|text| text.parse().unwrap()).into(),
            placed: BTreeMap::new(),
            tentative: BTreeSet::new(),
            interfaces: [(LO, "lo"), (ETH0, "eth0")].into(),
            routes: BTreeSet::new(),
            listening: BTreeSet::new(),
            sick: BTreeSet::new(),
            sick_checks: BTreeSet::new(),
            disable_file: false,
            connections: BTreeMap::new(),
            cut: BTreeSet::new(),
            closed: BTreeMap::new(),
            due: None,
            watches: BTreeSet::new(),
            later: BTreeMap::new(),
            number: 0,
            answers: VecDeque::new(),
            heard: BTreeMap::new(),
            handled: 0,
            pump_at: now,
            read_at: now + READ,
            stalled: Time::default(),
            ready: 0,
            exited: false,
            stops: 0,
            hooked: BTreeMap::new(),
            announced: BTreeSet::new(),
            session_event: None,
        };
        world.drain();
        world
    }

    /// Another process with another configuration on the same host: the kernel has closed what the old one had open.
    pub(super) fn restart(&mut self, config: Config, slots: Vec<usize>, seed: u64) {
        for pipe in std::mem::take(&mut self.connections).into_values() {
            self.routers[pipe.router].disconnected();
        }
        self.cut.clear();
        self.closed.clear();
        self.watches.clear();
        self.later.clear();
        self.answers.clear();
        self.heard.clear();
        self.hooked.clear();
        self.announced.clear();
        (self.ready, self.exited, self.stops) = (0, false, 0);
        self.judge = Judge::new(&config);
        self.engine = Engine::new(self.now, config, seed);
        self.slots = slots;
        self.drain();
        self.boot();
        self.read_at = self.now + READ;
    }

    pub(super) fn input(&mut self, input: Input) {
        if self.exited {
            return;
        }
        self.handle(input);
        self.drain();
        self.judge_instant();
    }

    /// Compares with a full recompute after whatever may change a decision, and now and then after the rest.
    fn handle(&mut self, input: Input) {
        let decides = match &input {
            Input::Fact(Fact::Listener { watch, listening }) => {
                *listening != self.heard.insert(*watch, *listening).flatten()
            }
            Input::Fact(_) | Input::Stop => {
                self.judge.look_again();
                true
            }
            Input::Connected { .. } | Input::Received { .. } | Input::Closed { .. } => {
                self.judge.told_again();
                false
            }
            Input::Probed { .. }
            | Input::Pushed { .. }
            | Input::Tick
            | Input::Written { .. }
            | Input::Source { .. }
            | Input::HookEnded { .. }
            | Input::ManageFailed { .. } => false,
        };
        let decides = self.about_to(&input) || decides;
        self.engine.handle(self.now, input);
        self.handled += 1;
        if decides || self.handled.is_multiple_of(128) {
            self.assert_incremental_is_full();
        }
    }

    /// What is left for the next call is not decided yet.
    fn assert_incremental_is_full(&self) {
        if !self.engine.is_settled() {
            return;
        }
        let full = self.engine.recompute(self.now);
        for ((row, prefix), full) in self.engine.rows.iter().zip(&self.engine.prefixes).zip(full) {
            assert_eq!(row.judged.result, full, "{prefix}: incremental == full");
        }
    }

    pub(super) fn after(&mut self, millis: u64, input: Input) {
        self.number += 1;
        self.later.insert((self.now + Duration::from_millis(millis), self.number), input);
    }

    pub(super) fn drain(&mut self) {
        loop {
            while let Some(output) = self.engine.poll() {
                assert!(!self.exited, "after Exit: {output:?}");
                self.perform(output);
            }
            let Some(answer) = self.answers.pop_front() else { break };
            self.handle(answer);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Dial { connection, to } => self.dial(connection, to),
            Output::Send { connection, bytes } => self.sent(connection, bytes),
            Output::Close { connection } => self.close(connection),
            Output::Probe { probe } => {
                self.judge_probe(probe);
                self.probe_asked(probe);
            }
            Output::Ask { watch } => {
                self.judge.asked(watch);
                self.asked(watch);
            }
            Output::Watch { watches } => {
                self.watches = watches.into_iter().collect();
                self.judge.watches(&self.watches);
            }
            Output::FindSource { to } => {
                let known = !(self.faults.late && self.dice.one_in(3));
                let address = known.then(|| "10.0.0.10".parse().unwrap());
                self.after(0, Input::Source { to, address });
            }
            Output::Manage { address, present } => self.manage(address, present),
            Output::Event(event) if event.kind == EventKind::Session => self.session_event = Some(event),
            Output::Event(_) => {}
            Output::Hook { service, hook } => {
                let before = self.hooked.insert(service, hook);
                assert_ne!(before, Some(hook), "a hook of what has not changed");
                assert_eq!(self.stops, 0, "a stop runs no hook");
            }
            Output::Announced { prefix, announced } => {
                let news = if announced { self.announced.insert(prefix) } else { self.announced.remove(&prefix) };
                assert!(news, "{prefix}: announced {announced}, and was so before");
            }
            Output::Ready => self.ready += 1,
            Output::Stopping => self.stops += 1,
            Output::Exit => self.exited = true,
        }
    }

    /// The next moment at which something happens by itself, the engine's own deadline aside.
    pub(super) fn next_elsewhere(&self) -> Time {
        const SLOW: Duration = Duration::from_millis(20);
        let later = self.later.keys().next().map_or(Time::MAX, |(at, _)| *at);
        let next = later.min(self.pump_at).min(self.read_at).max(self.now);
        if self.sending() { next.min(self.now + SLOW) } else { next }
    }

    /// Lets `span` pass, one deadline after the other.
    pub(super) fn run(&mut self, span: Duration) {
        const ROUTERS_SPEAK: Duration = Duration::from_millis(250);
        let end = self.now + span;
        let mut stuck = 0;
        while self.now < end && !self.exited {
            let next = self.engine.deadline().max(self.now).min(self.next_elsewhere()).min(end);
            stuck = if next > self.now { 0 } else { stuck + 1 };
            assert!(
                stuck < 10_000,
                "the clock stands still at {:?}: a tick at the deadline must move the deadline",
                self.now
            );
            self.now = next;
            while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let input = entry.remove();
                self.input(input);
            }
            if self.engine.deadline() <= self.now {
                self.input(Input::Tick);
            }
            if self.now >= self.read_at {
                self.read_at = self.now + READ;
                self.boot();
            }
            if self.now >= self.pump_at || self.sending() {
                self.pump_at = self.now + ROUTERS_SPEAK;
                self.pump();
            }
        }
        // A clock that jumped has not been heard of yet.
        if self.engine.deadline() > self.now {
            self.assert_incremental_is_full();
        }
    }

    /// To just before, at or after the engine's next deadline, which then is due and not run.
    pub(super) fn run_to_deadline(&mut self, nanoseconds: i64) {
        for _ in 0..20 {
            let deadline = self.engine.deadline();
            if deadline == Time::MAX {
                return self.run(Duration::from_millis(100));
            }
            let by = Duration::from_nanos(nanoseconds.unsigned_abs());
            let at = if nanoseconds < 0 { deadline - by } else { deadline + by };
            let elsewhere = self.next_elsewhere();
            if elsewhere >= at {
                self.now = self.now.max(at);
                return;
            }
            self.run((elsewhere.since(self.now)).max(Duration::from_nanos(1)));
        }
    }

    /// The process does not run, and everything else goes on.
    pub(super) fn stall(&mut self, span: Duration) {
        self.now = self.now + span;
        self.stalled = self.now;
    }

    /// Says that a connection is gone, once.
    pub(super) fn hang_up(&mut self, connection: ConnectionId, why: Closed) {
        if let Some(pipe) = self.connections.remove(&connection) {
            self.routers[pipe.router].disconnected();
            self.cut.insert(connection);
        }
        self.after(0, Input::Closed { connection, why });
    }

    pub(super) fn cut_connections(&mut self) {
        for connection in self.connections.keys().copied().collect::<Vec<_>>() {
            self.hang_up(connection, Closed::Failed("connection reset by peer".into()));
        }
    }
}
