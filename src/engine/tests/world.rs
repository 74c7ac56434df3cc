//! A host and its routers under one virtual clock: what `io` does in the daemon, a model does here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::router::Router;
use crate::Time;
use crate::config::{Config, Protocol};
use crate::dice::Dice;
use crate::engine::{Closed, ConnectionId, Engine, Event, EventKind, Input, Outcome, Output};
use crate::facts::{Address, Fact, Interface, Snapshot, Watch};

pub(super) const LO: u32 = 1;
pub(super) const ETH0: u32 = 2;

/// What goes wrong from time to time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Reads of the kernel fail.
    pub(super) reads: bool,
    /// Connects are refused or hang, connections are cut, routers fall silent or speak garbage.
    pub(super) network: bool,
    /// The kernel takes octets in small parts, and late.
    pub(super) slow_writes: bool,
    /// Checks and questions are answered late or never, and notices of closing listeners are lost.
    pub(super) late: bool,
}

pub(super) struct World {
    pub(super) now: Time,
    pub(super) engine: Engine,
    pub(super) routers: Vec<Router>,
    pub(super) dice: Dice,
    pub(super) faults: Faults,
    /// The truth about the host.
    pub(super) addresses: BTreeSet<IpAddr>,
    pub(super) listening: BTreeSet<(Protocol, u16)>,
    pub(super) sick: BTreeSet<IpAddr>,
    pub(super) disable_file: bool,
    connections: BTreeMap<ConnectionId, Pipe>,
    /// Cut, and the engine has not heard of it: what it still sends is lost, as in the kernel.
    cut: BTreeSet<ConnectionId>,
    watches: BTreeSet<Watch>,
    /// What reaches the engine later.
    later: BTreeMap<(Time, u64), Input>,
    number: u64,
    /// Given on the spot, as the daemon does.
    answers: VecDeque<Input>,
    heard: BTreeMap<Watch, Option<bool>>,
    handled: u64,
    pump_at: Time,
    pub(super) exited: bool,
    pub(super) stops: u64,
    /// The last one.
    pub(super) session_event: Option<Event>,
}

struct Pipe {
    neighbor: usize,
    /// Handed over and not yet written.
    queue: VecDeque<u8>,
    closing: bool,
}

impl World {
    pub(super) fn new(config: Config, seed: u64) -> Self {
        let now = Time::from_nanos(1_000_000_000);
        let routers = vec![Router::default(); config.neighbors.len()];
        let mut world = Self {
            now,
            engine: Engine::new(now, config, seed),
            routers,
            dice: Dice::new(seed),
            faults: Faults::default(),
            addresses: ["10.0.0.10", "fd00::10"].map(|text| text.parse().unwrap()).into(),
            listening: BTreeSet::new(),
            sick: BTreeSet::new(),
            disable_file: false,
            connections: BTreeMap::new(),
            cut: BTreeSet::new(),
            watches: BTreeSet::new(),
            later: BTreeMap::new(),
            number: 0,
            answers: VecDeque::new(),
            heard: BTreeMap::new(),
            handled: 0,
            pump_at: now,
            exited: false,
            stops: 0,
            session_event: None,
        };
        world.drain();
        world
    }

    /// Everything the kernel would tell a daemon that just started.
    pub(super) fn boot(&mut self) {
        self.read_all();
        self.look_at_disable_file();
    }

    pub(super) fn input(&mut self, input: Input) {
        self.handle(input);
        self.drain();
    }

    /// Compares with a full recompute after whatever may change a decision, and now and then after the rest.
    fn handle(&mut self, input: Input) {
        let decides = match &input {
            Input::Fact(Fact::Listener { watch, listening }) => {
                *listening != self.heard.insert(*watch, *listening).flatten()
            }
            Input::Fact(_) | Input::Probed { .. } | Input::Pushed { .. } | Input::Stop => true,
            Input::Tick
            | Input::Connected { .. }
            | Input::Received { .. }
            | Input::Written { .. }
            | Input::Closed { .. }
            | Input::Source { .. }
            | Input::HookEnded { .. }
            | Input::ManageFailed { .. } => false,
        };
        if let Input::Closed { connection, .. } = &input {
            self.cut.remove(connection);
        }
        self.engine.handle(self.now, input);
        self.handled += 1;
        if decides || self.handled.is_multiple_of(32) {
            self.assert_incremental_is_full();
        }
    }

    fn assert_incremental_is_full(&self) {
        let standing: Vec<_> = self.engine.rows.iter().map(|row| row.judged.result).collect();
        assert_eq!(standing, self.engine.recompute(self.now), "incremental == full");
    }

    fn after(&mut self, millis: u64, input: Input) {
        self.number += 1;
        self.later.insert((self.now + Duration::from_millis(millis), self.number), input);
    }

    pub(super) fn drain(&mut self) {
        loop {
            while let Some(output) = self.engine.poll() {
                self.perform(output);
            }
            let Some(answer) = self.answers.pop_front() else { break };
            self.handle(answer);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Dial { connection, to } => self.dial(connection, to),
            Output::Send { connection, bytes } => {
                match self.connections.get_mut(&connection) {
                    Some(pipe) => pipe.queue.extend(bytes),
                    None => assert!(self.cut.contains(&connection), "sent on a connection that was reported closed"),
                }
                if !self.faults.slow_writes {
                    self.write(connection);
                }
            }
            Output::Close { connection } => {
                if let Some(pipe) = self.connections.get_mut(&connection) {
                    pipe.closing = true;
                    self.write(connection);
                }
                self.hang_up(connection, Closed::AsAsked);
                self.cut.remove(&connection);
            }
            Output::Probe { probe } => {
                let outcome = if self.sick.contains(&probe.address) {
                    Outcome::Fail { detail: "HTTP 503".into() }
                } else {
                    Outcome::Pass { detail: "ok".into() }
                };
                let mut took = 1 + self.dice.below(20);
                if self.faults.late && self.dice.one_in(8) {
                    if self.dice.one_in(2) {
                        return;
                    }
                    took += self.dice.below(4000);
                }
                self.after(took, Input::Probed { probe, outcome, took: Duration::from_millis(took) });
            }
            Output::Ask { watch } => {
                let failed = self.faults.reads && self.dice.one_in(4);
                let there =
                    self.listening.contains(&(watch.protocol, watch.port)) && self.addresses.contains(&watch.address);
                let listening = (!failed).then_some(there);
                if self.faults.late && self.dice.one_in(16) {
                    // Sometimes the answer is late, and sometimes it never comes.
                    if self.dice.one_in(2) {
                        let late = self.dice.below(3000);
                        self.after(late, Input::Fact(Fact::Listener { watch, listening }));
                    }
                } else {
                    self.answers.push_back(Input::Fact(Fact::Listener { watch, listening }));
                }
            }
            Output::Watch { watches } => self.watches = watches.into_iter().collect(),
            Output::FindSource { to } => {
                self.after(0, Input::Source { to, address: Some("10.0.0.10".parse().unwrap()) });
            }
            Output::Manage { address, present } => self.set_address(address, present),
            Output::Event(event) if event.kind == EventKind::Session => self.session_event = Some(event),
            Output::Event(_) | Output::Hook { .. } | Output::Ready => {}
            Output::Stopping => self.stops += 1,
            Output::Exit => self.exited = true,
        }
    }

    fn dial(&mut self, connection: ConnectionId, to: SocketAddr) {
        let neighbor = usize::try_from(connection.0 >> 32).unwrap();
        if self.faults.network && self.dice.one_in(5) {
            if self.dice.one_in(2) {
                self.after(1, Input::Closed { connection, why: Closed::Refused("connection refused".into()) });
            }
            return;
        }
        assert_eq!(to.ip(), self.engine.config.neighbors[neighbor].address);
        self.routers[neighbor].connected(self.now);
        self.connections.insert(connection, Pipe { neighbor, queue: VecDeque::new(), closing: false });
        let local = if to.is_ipv4() { "10.0.0.10:40000" } else { "[fd00::10]:40000" };
        self.after(1, Input::Connected { connection, local: local.parse().unwrap() });
    }

    /// The kernel takes some octets, or all.
    fn write(&mut self, connection: ConnectionId) {
        let Some(pipe) = self.connections.get_mut(&connection) else { return };
        if self.routers[pipe.neighbor].silent {
            return;
        }
        let most = if self.faults.slow_writes && !pipe.closing {
            usize::try_from(self.dice.below(600)).unwrap()
        } else {
            usize::MAX
        };
        let taken: Vec<u8> = pipe.queue.drain(..pipe.queue.len().min(most)).collect();
        let (neighbor, closing) = (pipe.neighbor, pipe.closing);
        if taken.is_empty() {
            return;
        }
        let cut = usize::try_from(self.dice.below(taken.len() as u64 + 1)).unwrap();
        let (one, two) = taken.split_at(cut);
        let stays = self.routers[neighbor].receive(self.now, one) && self.routers[neighbor].receive(self.now, two);
        if !closing {
            self.after(0, Input::Written { connection, bytes: taken.len() });
        }
        if !stays && !closing {
            self.hang_up(connection, Closed::ByPeer);
        }
    }

    fn hang_up(&mut self, connection: ConnectionId, why: Closed) {
        if let Some(pipe) = self.connections.remove(&connection) {
            self.routers[pipe.neighbor].disconnected();
            self.cut.insert(connection);
        }
        self.after(0, Input::Closed { connection, why });
    }

    pub(super) fn cut_connections(&mut self) {
        for connection in self.connections.keys().copied().collect::<Vec<_>>() {
            self.hang_up(connection, Closed::Failed("connection reset by peer".into()));
        }
    }

    /// Lets `span` pass, one deadline after the other.
    pub(super) fn run(&mut self, span: Duration) {
        const ROUTERS_SPEAK: Duration = Duration::from_millis(250);
        const SLOW: Duration = Duration::from_millis(20);
        let end = self.now + span;
        let mut stuck = 0;
        while self.now < end {
            let engine = self.engine.deadline().max(self.now);
            let later = self.later.keys().next().map_or(Time::MAX, |(at, _)| *at);
            let next = engine.min(later).min(self.pump_at.max(self.now)).min(end);
            let next = if self.sending() { next.min(self.now + SLOW) } else { next };
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
            if self.now >= self.pump_at || self.sending() {
                self.pump_at = self.now + ROUTERS_SPEAK;
                self.pump();
            }
        }
        self.assert_incremental_is_full();
    }

    /// Some router has octets to take or to give.
    fn sending(&self) -> bool {
        let busy = |pipe: &Pipe| {
            !self.routers[pipe.neighbor].silent && (!pipe.queue.is_empty() || self.routers[pipe.neighbor].has_words())
        };
        self.connections.values().any(busy)
    }

    fn pump(&mut self) {
        for connection in self.connections.keys().copied().collect::<Vec<_>>() {
            self.write(connection);
            let Some(pipe) = self.connections.get(&connection) else { continue };
            match self.routers[pipe.neighbor].speak(self.now) {
                None => self.hang_up(connection, Closed::ByPeer),
                Some(said) => {
                    for bytes in said {
                        self.deliver(connection, bytes);
                    }
                }
            }
        }
    }

    fn deliver(&mut self, connection: ConnectionId, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let part = bytes.split_to(1 + usize::try_from(self.dice.below(bytes.len() as u64)).unwrap());
            self.input(Input::Received { connection, bytes: part });
        }
    }

    pub(super) fn set_address(&mut self, address: IpAddr, present: bool) {
        let changed = if present { self.addresses.insert(address) } else { self.addresses.remove(&address) };
        if changed {
            self.after(0, Input::Fact(Fact::Address { address: on_host(address), present }));
        }
    }

    pub(super) fn set_listening(&mut self, protocol: Protocol, port: u16, present: bool) {
        if present {
            self.listening.insert((protocol, port));
        } else if self.listening.remove(&(protocol, port)) {
            let gone = |watch: &&Watch| (watch.protocol, watch.port) == (protocol, port);
            let lost = self.faults.late && self.dice.one_in(4);
            for watch in self.watches.iter().filter(gone).filter(|_| !lost).copied().collect::<Vec<_>>() {
                self.after(0, Input::Fact(Fact::Listener { watch, listening: Some(false) }));
            }
        }
    }

    pub(super) fn look_at_disable_file(&mut self) {
        let exists = if self.faults.reads && self.dice.one_in(3) { None } else { Some(self.disable_file) };
        for service in 0..self.engine.config.services.len() {
            self.after(0, Input::Fact(Fact::DisableFile { service, exists }));
        }
    }

    pub(super) fn read_all(&mut self) {
        if self.faults.reads && self.dice.one_in(3) {
            return self.after(0, Input::Fact(Fact::ReadFailed { detail: "interrupted".into() }));
        }
        let interface = |(index, name): (u32, &str)| Interface { index, name: name.into(), loopback: index == LO };
        let snapshot = Snapshot {
            interfaces: [(LO, "lo"), (ETH0, "eth0")].map(interface).into(),
            addresses: self.addresses.iter().copied().map(on_host).collect(),
            routes: vec![],
        };
        self.after(0, Input::Fact(Fact::Snapshot(snapshot)));
    }
}

fn on_host(address: IpAddr) -> Address {
    let own = ["10.0.0.10", "fd00::10"].contains(&address.to_string().as_str());
    on(if own { ETH0 } else { LO }, address)
}

pub(super) fn on(interface: u32, address: IpAddr) -> Address {
    Address { interface, address, length: if address.is_ipv4() { 32 } else { 128 }, usable: true }
}
