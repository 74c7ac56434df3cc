//! What must be true at every instant, and not only when all is quiet: a second, simpler model of what the daemon was
//! told, against which its decisions are held.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use ipnet::IpNet;

use super::pipe::next_hop_is_there;
use super::talk::Phase;
use super::world::World;
use crate::Time;
use crate::bgp::rib_out::PrefixId;
use crate::bgp::session::WINDOW;
use crate::config::Config;
use crate::engine::checks::InstanceKey;
use crate::engine::{Outcome, ProbeId};
use crate::facts::{Fact, Watch};
use crate::health::Verdict;
use crate::plan::{Held, Kept};

/// A result later than this after the timeout is none.
const LATE: Duration = Duration::from_secs(1);

pub(super) struct Judge {
    listeners: BTreeMap<Watch, Heard>,
    checks: BTreeMap<(usize, usize, IpAddr), Streak>,
    rows: Vec<Standing>,
    /// When a run is given up next.
    due: Time,
    /// Something happened that may change what was told, or what should be.
    told: bool,
}

/// What was said of a listener since it is asked about.
#[derive(Clone, Copy, Default)]
struct Heard {
    was_there: bool,
    absent: Option<Time>,
}

/// The results of one check on one address.
#[derive(Clone, Copy, Default)]
struct Streak {
    awaited: Option<(u64, Time)>,
    passes: u8,
    failures: u8,
    verdict: Verdict,
}

impl Streak {
    fn take(&mut self, pass: bool, rise: NonZeroU8, fall: NonZeroU8) {
        self.awaited = None;
        let (up, down) = if pass { (self.passes.saturating_add(1), 0) } else { (0, self.failures.saturating_add(1)) };
        (self.passes, self.failures) = (up, down);
        if up >= rise.get() {
            self.verdict = Verdict::Up;
        }
        if down >= fall.get() {
            self.verdict = Verdict::Down;
        }
    }
}

#[derive(Clone, Copy)]
struct Standing {
    result: Result<Option<Kept>, Held>,
    /// Since when nothing but start-hold can be in the way.
    ready: Option<Time>,
}

impl Judge {
    pub(super) fn new(config: &Config) -> Self {
        let rows = config.services.iter().map(|service| service.prefixes.len()).sum();
        let unknown = Standing { result: Err(Held::Unknown), ready: None };
        Self {
            listeners: BTreeMap::new(),
            checks: BTreeMap::new(),
            rows: vec![unknown; rows],
            due: Time::MAX,
            told: true,
        }
    }

    /// Addresses may have changed: what runs, what is told.
    pub(super) const fn look_again(&mut self) {
        (self.due, self.told) = (Time::from_nanos(0), true);
    }

    pub(super) const fn told_again(&mut self) {
        self.told = true;
    }

    pub(super) fn asked(&mut self, watch: Watch) {
        self.listeners.entry(watch).or_default();
    }

    /// Of one at least, since it is asked about, that it is or was there.
    pub(super) fn has_heard(&self, watches: &[Watch]) -> bool {
        let was_there = |watch| self.listeners.get(watch).is_some_and(|heard| heard.was_there);
        watches.is_empty() || watches.iter().any(was_there)
    }

    pub(super) fn watches(&mut self, watches: &BTreeSet<Watch>) {
        self.listeners.retain(|watch, _| watches.contains(watch));
    }
}

impl World {
    pub(super) fn judge_fact(&mut self, fact: &Fact) {
        let Fact::Listener { watch, listening } = fact else { return };
        let now = self.now;
        if let Some(heard) = self.judge.listeners.get_mut(watch) {
            match listening {
                Some(true) => *heard = Heard { was_there: true, absent: None },
                Some(false) => _ = heard.absent.get_or_insert(now),
                None => {}
            }
        }
    }

    /// A run begins: never two at once, unless the first was given up.
    pub(super) fn judge_probe(&mut self, probe: ProbeId) {
        let check = &self.engine.config.services[probe.service].checks[probe.check];
        assert!(self.engine.config.services[probe.service].enabled, "a disabled service is checked");
        let streak = self.judge.checks.entry((probe.service, probe.check, probe.address)).or_default();
        if let Some((_, began)) = streak.awaited {
            assert!(self.now.since(began) >= check.timeout + LATE, "two runs of one check at once");
            streak.take(false, check.rise, check.fall);
        }
        streak.awaited = Some((probe.run, self.now));
        self.judge.due = self.judge.due.min(self.now + check.timeout + LATE);
    }

    /// True where it changes the verdict.
    pub(super) fn judge_result(&mut self, probe: ProbeId, outcome: &Outcome) -> bool {
        let check = &self.engine.config.services[probe.service].checks[probe.check];
        let key = (probe.service, probe.check, probe.address);
        let Some(streak) = self.judge.checks.get_mut(&key) else { return false };
        let before = streak.verdict;
        if streak.awaited.is_some_and(|(run, _)| run == probe.run) {
            streak.take(matches!(outcome, Outcome::Pass { .. }), check.rise, check.fall);
        }
        // Stale or not, the engine's verdict is compared after it.
        self.judge.due = Time::from_nanos(0);
        streak.verdict != before
    }

    /// After each input and all that it led to.
    pub(super) fn judge_instant(&mut self) {
        if self.exited {
            return;
        }
        assert!(self.ready <= 1 && self.stops <= 1, "READY and STOPPING are said once");
        if self.judge.due <= self.now {
            self.judge_checks();
        }
        self.judge_rows();
        self.judge_connections();
        if self.judge.told && self.engine.deadline() > self.now {
            self.judge.told = false;
            self.judge_told();
            self.judge_announced();
        }
    }

    fn judge_checks(&mut self) {
        let World { engine, judge, now, .. } = self;
        let mut due = Time::MAX;
        judge.checks.retain(|(service, check, address), streak| {
            let key = InstanceKey { service: *service, check: *check, address: *address };
            let Some(instance) = engine.checks.get(&key) else { return false };
            let settings = &engine.config.services[*service].checks[*check];
            if streak.awaited.is_some_and(|(_, began)| now.since(began) >= settings.timeout + LATE) {
                streak.take(false, settings.rise, settings.fall);
            }
            if let Some((_, began)) = streak.awaited {
                due = due.min(began + settings.timeout + LATE);
            }
            assert_eq!(instance.health.verdict(), streak.verdict, "{} on {address}", settings.name);
            true
        });
        judge.due = due;
    }

    fn judge_rows(&mut self) {
        let now = self.now;
        for (number, row) in self.engine.rows.iter().enumerate() {
            let standing = &mut self.judge.rows[number];
            let result = row.judged.result;
            let before = std::mem::replace(&mut standing.result, result);
            let service = &self.engine.config.services[row.service];
            standing.ready = match result {
                Ok(_) | Err(Held::StartHold) => standing.ready.or(Some(now)),
                Err(_) => None,
            };
            if before == result {
                continue;
            }
            self.judge.told = true;
            let what = || format!("{} of {}, {before:?} to {result:?}", self.engine.prefixes[number], service.name);
            if let (Err(_), Ok(_), Some(ready)) = (before, result, standing.ready) {
                assert!(now.since(ready) >= service.health.start_hold, "start-hold: {}", what());
            }
            if let (Ok(_), Err(Held::NotListening)) = (before, result) {
                let over = |watch: &Watch| {
                    let heard = self.judge.listeners.get(watch).copied().unwrap_or_default();
                    !heard.was_there || heard.absent.is_some_and(|since| now.since(since) >= service.binding.grace)
                };
                assert!(row.watches.iter().any(over), "grace: {}", what());
            }
        }
    }

    /// The relay of ICMP errors knows exactly what some neighbor has been told.
    fn judge_announced(&self) {
        let told = |id| self.engine.neighbors.iter().any(|neighbor| neighbor.rib_out.is_told(id));
        let ids = (0..).map(PrefixId).zip(&self.engine.prefixes);
        let all: BTreeSet<IpNet> = ids.filter(|(id, _)| told(*id)).map(|(_, prefix)| *prefix).collect();
        assert_eq!(self.announced, all, "announced, as the relay was told");
    }

    /// While there is room, every neighbor has been told what was decided, at once and nothing else.
    fn judge_told(&self) {
        for pipe in self.connections.values() {
            if pipe.phase != Phase::Established || pipe.unwritten >= WINDOW || !self.engine.is_settled() {
                continue;
            }
            for (number, prefix) in self.engine.prefixes.iter().enumerate() {
                let row = &self.engine.rows[PrefixId(u32::try_from(number).unwrap()).row()];
                let due = row.judged.result.is_ok()
                    && self.engine.config.services[row.service].neighbors.contains(&pipe.neighbor)
                    && next_hop_is_there(self, pipe.neighbor, prefix);
                let told = pipe.told.contains(prefix);
                assert_eq!(told, due, "{prefix} for neighbor {}: told, and due", pipe.neighbor);
            }
        }
    }
}
