//! The daemon as one value: `handle(now, input)`, then `poll()` until `None`, and be woken at `deadline()`.
//!
//! ```text
//!   Input --> facts, checks, sessions --> dirty prefixes --> plan::judge --> wanted --> rib_out --> Output
//!             (observe, checks, tell)                        (decide)                   (tell)
//! ```
//!
//! One engine and not a task per neighbor: a host has a handful of routers and tens of services, and in return a test
//! drives the whole daemon through a day in milliseconds. Everything in here is plain data, because a restart hands it
//! over. A step is short: judging is proportional to what changed, and telling stops when a neighbor's room is filled
//! and goes on at the next call.

mod announced;
mod checks;
mod decide;
mod events;
mod observe;
mod port;
mod push;
mod schedule;
mod services;
mod stop;
mod tell;
mod view;

pub use crate::bgp::connection::{Closed, ConnectionId};
pub use port::{Event, EventKind, Hook, Input, Outcome, Output, ProbeId};
pub use push::{NotPushed, Pushable};
pub use view::{Clock, Explained, Words};

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use ipnet::IpNet;

use crate::Time;
use crate::bgp::rib_out::{PrefixId, RouteId, Routes};
use crate::config::{self, Config, Target};
use crate::dice::Dice;
use crate::facts::{Facts, Watch};
use crate::plan::{Bound, DisableFile, Judged};
use crate::status::Histogram;
use announced::Announced;
use checks::{Instance, InstanceKey};
use events::Events;
use observe::Watched;
use push::Said;
use schedule::{Schedule, Timer};
use services::{HookRuns, Tally};
use stop::Stop;
use tell::{Group, Neighbor};

/// Most timers run in one step: starting a check or asking about a listener costs a microsecond.
const TIMERS: usize = 500;

#[derive(Clone, Debug)]
pub struct Engine {
    config: Config,
    started: Time,
    router_id: RouterId,
    facts: Facts,
    /// Every configured prefix; a [`PrefixId`] is its row here and in every other column.
    prefixes: Vec<IpNet>,
    rows: Vec<Row>,
    disable_files: Vec<DisableFile>,
    /// By service.
    tallies: Vec<Tally>,
    /// Services of which a prefix came, went or changed its reason since their hooks were looked at.
    stirred: BTreeSet<usize>,
    hook_runs: BTreeMap<(usize, Hook), HookRuns>,
    watches: BTreeMap<Watch, Watched>,
    /// `io` has not been given the present set yet.
    watches_changed: bool,
    checks: BTreeMap<InstanceKey, Instance>,
    routes: Routes,
    groups: Vec<Group>,
    neighbors: Vec<Neighbor>,
    /// Dialled and not yet reported closed.
    connections: BTreeSet<ConnectionId>,
    /// Rows to find on this host again.
    unbound: BTreeSet<PrefixId>,
    /// Rows to judge again.
    dirty: BTreeSet<PrefixId>,
    /// Services to judge again whole, once what is dirty has been judged: however often they are named meanwhile.
    whole: BTreeSet<usize>,
    pushes: VecDeque<Said>,
    schedule: Schedule,
    stop: Stop,
    ready: bool,
    sessions_started: bool,
    announced: Announced,
    /// Rows judged since the neighbors were told last.
    judged_untold: usize,
    dice: Dice,
    /// Number of the newest run of any check.
    runs: u64,
    /// Of each service: its rows, which stand together.
    spans: Vec<Range<u32>>,
    /// Where a configured prefix stands.
    index: BTreeMap<IpNet, PrefixId>,
    counters: Counters,
    check_counters: BTreeMap<(usize, usize), CheckCounters>,
    events: Events,
    out: VecDeque<Output>,
}

/// One configured prefix.
#[derive(Clone, Debug)]
struct Row {
    service: usize,
    /// More specific prefixes of other services: longest match owns the address.
    inner: Vec<IpNet>,
    bound: Bound,
    watches: Vec<Watch>,
    checks: Vec<InstanceKey>,
    judged: Judged,
    /// Since when the reason has been what it is.
    since: Time,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum RouterId {
    Known(Ipv4Addr),
    /// The address towards this neighbor; no session before it is known (RFC 4271 §4.2).
    Finding {
        towards: Ipv4Addr,
        problem: String,
    },
}

/// What has happened, for metrics; what belongs to one neighbor is with it.
#[derive(Clone, PartialEq, Debug, Default)]
struct Counters {
    manage_failures: u64,
    withdraw_latency: Histogram,
    announce_latency: Histogram,
}

/// One check, all its addresses together.
#[derive(Clone, PartialEq, Debug, Default)]
struct CheckCounters {
    timeouts: u64,
    durations: Histogram,
}

impl Engine {
    /// `seed` feeds jitter and nothing else.
    pub fn new(now: Time, config: Config, seed: u64) -> Self {
        let prefixes: Vec<IpNet> = config.services.iter().flat_map(|service| service.prefixes.clone()).collect();
        let rows = rows(&config, now);
        let (groups, neighbors) = tell::neighbors(&config, prefixes.len(), seed);
        let first_ipv4 = config.neighbors.iter().find_map(|neighbor| match neighbor.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let mut engine = Self {
            started: now,
            router_id: match (config.router.id, first_ipv4) {
                (Some(id), _) => RouterId::Known(id),
                (None, Some(towards)) => RouterId::Finding { towards, problem: "not looked for yet".into() },
                (None, None) => RouterId::Finding {
                    towards: Ipv4Addr::UNSPECIFIED,
                    problem: "router.id is required: no neighbor has an IPv4 address".into(),
                },
            },
            facts: Facts::default(),
            disable_files: vec![DisableFile::default(); config.services.len()],
            tallies: Tally::all(&config),
            stirred: BTreeSet::new(),
            hook_runs: BTreeMap::new(),
            watches: BTreeMap::new(),
            watches_changed: false,
            checks: BTreeMap::new(),
            routes: Routes::default(),
            groups,
            neighbors,
            connections: BTreeSet::new(),
            dirty: (0..rows.len()).filter_map(|row| u32::try_from(row).ok()).map(PrefixId).collect(),
            whole: BTreeSet::new(),
            pushes: VecDeque::new(),
            unbound: BTreeSet::new(),
            schedule: Schedule::default(),
            stop: Stop::No,
            ready: false,
            sessions_started: false,
            announced: Announced::new(&config, rows.len()),
            judged_untold: 0,
            dice: Dice::new(seed),
            runs: 0,
            spans: spans(&config),
            index: (0..).map(PrefixId).zip(&prefixes).map(|(id, prefix)| (*prefix, id)).collect(),
            counters: Counters::default(),
            check_counters: BTreeMap::new(),
            events: Events::new(now),
            out: VecDeque::new(),
            prefixes,
            rows,
            config,
        };
        engine.manage_addresses();
        engine.start_fixed_checks(now);
        engine.start_sessions(now);
        engine.settle(now);
        engine
    }

    pub fn handle(&mut self, now: Time, input: Input) {
        self.events.now = now;
        match input {
            Input::Fact(fact) => self.learn(now, fact),
            Input::Connected { connection, local } => self.session(now, connection, |session| {
                session.connected(now, connection, local);
            }),
            Input::Received { connection, bytes } => self.session(now, connection, |session| {
                session.received(now, connection, &bytes);
            }),
            Input::Written { connection, bytes } => self.session(now, connection, |session| {
                session.written(now, connection, bytes);
            }),
            Input::Closed { connection, why } => {
                self.session(now, connection, |session| session.closed(now, connection, &why));
                self.connections.remove(&connection);
            }
            Input::Probed { probe, outcome, took } => self.probed(now, probe, outcome, took),
            Input::HookEnded { service, hook, result } => self.hook_ended(now, service, hook, result),
            Input::Pushed { service, check, address, pass, detail } => {
                self.pushes.push_back(Said::new(service, check, address, pass, detail));
            }
            Input::Source { to, address } => self.source_found(now, to, address),
            Input::ManageFailed { address, detail } => self.manage_failed(address, detail),
            Input::Stop => self.begin_stop(now),
            Input::Tick => {}
        }
        self.settle(now);
    }

    /// First in, first out; to be drained after every `handle`.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When `handle(now, Input::Tick)` is due; [`Time::MAX`] where nothing is. It lies in the past while there is work
    /// left that one call did not finish.
    pub fn deadline(&self) -> Time {
        let sessions = self.neighbors.iter().map(Neighbor::deadline).min().unwrap_or(Time::MAX);
        let undecided = if self.is_settled() && self.announced.is_settled() { Time::MAX } else { Time::default() };
        sessions.min(self.schedule.next()).min(self.stop.deadline()).min(undecided)
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Runs what is due, then decides and tells; what is left of much goes on at the next call.
    fn settle(&mut self, now: Time) {
        self.bind(now);
        self.hear_pushes(now);
        for _ in 0..TIMERS {
            let Some(timer) = self.schedule.pop_due(now) else { break };
            match timer {
                Timer::Check(key) => self.check_due(now, key),
                Timer::Ask(watch) => self.ask(now, watch),
                Timer::Judge(id) => {
                    self.dirty.insert(id);
                }
                Timer::Source => self.find_source(now),
                Timer::Sessions => self.start_sessions(now),
            }
        }
        self.decide(now);
        self.tell_watches();
        self.tell(now);
        self.say_announced();
        self.run_hooks();
        self.stop_progress(now);
    }

    /// Everything that is known has been looked at.
    fn is_settled(&self) -> bool {
        self.unbound.is_empty() && self.dirty.is_empty() && self.whole.is_empty() && self.pushes.is_empty()
    }

    fn ids_of(&self, service: usize) -> impl Iterator<Item = PrefixId> + use<> {
        self.spans.get(service).cloned().unwrap_or_default().map(PrefixId)
    }

    /// All prefixes of the service have to be judged again.
    fn judge_service(&mut self, service: usize) {
        self.whole.insert(service);
    }

    fn ids(&self) -> impl Iterator<Item = PrefixId> + use<> {
        (0..u32::try_from(self.rows.len()).unwrap_or(u32::MAX)).map(PrefixId)
    }

    /// The configured addresses that anycaster itself puts on lo.
    fn managed(&self) -> Vec<IpAddr> {
        let services = self.config.services.iter().filter(|service| service.enabled && service.binding.manage);
        services.flat_map(|service| &service.prefixes).map(IpNet::addr).collect()
    }
}

fn rows(config: &Config, now: Time) -> Vec<Row> {
    let all: Vec<(usize, IpNet)> = (config.services.iter().enumerate())
        .flat_map(|(index, service)| service.prefixes.iter().map(move |prefix| (index, *prefix)))
        .collect();
    let row = |(service, prefix): &(usize, IpNet)| Row {
        service: *service,
        inner: if prefix.prefix_len() < prefix.max_prefix_len() {
            let inside = |(other, net): &&(usize, IpNet)| other != service && net != prefix && prefix.contains(net);
            all.iter().filter(inside).map(|(_, net)| *net).collect()
        } else {
            vec![]
        },
        bound: Bound::Nowhere,
        watches: vec![],
        checks: vec![],
        judged: Judged::default(),
        since: now,
    };
    all.iter().map(row).collect()
}

fn spans(config: &Config) -> Vec<Range<u32>> {
    let mut next = 0;
    let span = |service: &config::Service| {
        let start = next;
        next += u32::try_from(service.prefixes.len()).unwrap_or_default();
        start..next
    };
    config.services.iter().map(span).collect()
}

/// Where a check whose target is one fixed address goes.
fn fixed_target(config: &Config, service: usize, check: usize) -> Option<IpAddr> {
    match config.services.get(service)?.checks.get(check)?.target {
        Target::Service => None,
        Target::Address(address) => Some(address),
    }
}

/// What a group wants of each row.
type Column = Vec<Option<RouteId>>;

#[cfg(test)]
mod tests;
