//! Which checks run where, and when the next run is due.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::schedule::Timer;
use super::{Engine, Event, EventKind, Outcome, Output, ProbeId, fixed_target};
use crate::Time;
use crate::bgp::rib_out::PrefixId;
use crate::config::{Check, Target};
use crate::health::{Health, Verdict};

/// A run that has not answered this long after its timeout never will: it counts as timed out, so that a check runner
/// that died cannot keep a dead service announced.
const LATE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct InstanceKey {
    pub(super) service: usize,
    pub(super) check: usize,
    pub(super) address: IpAddr,
}

/// One check on one address.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) health: Health,
    /// Since when the verdict has stood.
    pub(super) since: Time,
    /// When the last result came.
    pub(super) last: Option<Time>,
    pub(super) detail: String,
    run: Run,
    /// Prefixes that have this address; none for a fixed target, which all prefixes of the service share.
    rows: BTreeSet<PrefixId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Run {
    Waiting,
    Started { at: Time, run: u64 },
}

impl Instance {
    fn new(now: Time, check: &Check) -> Self {
        let detail = if check.kind.ttl().is_some() { "no push yet" } else { "has not run yet" };
        Self {
            health: Health::default(),
            since: now,
            last: None,
            detail: detail.into(),
            run: Run::Waiting,
            rows: BTreeSet::new(),
        }
    }
}

/// A check runs at once; one that waits to be told has its whole ttl.
fn first_due(now: Time, check: &Check) -> Time {
    check.kind.ttl().map_or(now, |ttl| now + ttl)
}

impl Engine {
    /// Checks of one fixed target run from the start, whatever is bound.
    pub(super) fn start_fixed_checks(&mut self, now: Time) {
        for (service, settings) in self.config.services.iter().enumerate().filter(|(_, service)| service.enabled) {
            for (check, its) in settings.checks.iter().enumerate() {
                if let Some(address) = fixed_target(&self.config, service, check) {
                    let key = InstanceKey { service, check, address };
                    self.checks.insert(key, Instance::new(now, its));
                    self.schedule.set(Timer::Check(key), first_due(now, its));
                }
            }
        }
    }

    /// Checks with target "service" follow the addresses that the prefix has on this host. One that comes back starts
    /// anew: nothing is announced on a verdict from before.
    pub(super) fn rebind_checks(&mut self, now: Time, id: PrefixId) {
        let Some(row) = self.rows.get_mut(id.row()) else { return };
        let Some(settings) = self.config.services.get(row.service) else { return };
        let service = row.service;
        let own = settings.checks.iter().enumerate().filter(|(_, check)| check.target == Target::Service);
        let mut keys: Vec<InstanceKey> = own
            .flat_map(|(check, _)| {
                row.bound.addresses().iter().map(move |address| InstanceKey { service, check, address: *address })
            })
            .collect();
        keys.sort_unstable();
        let before = std::mem::replace(&mut row.checks, keys.clone());
        for key in before.iter().filter(|key| keys.binary_search(key).is_err()) {
            if let Some(instance) = self.checks.get_mut(key) {
                instance.rows.remove(&id);
                if instance.rows.is_empty() {
                    self.checks.remove(key);
                    self.schedule.cancel(Timer::Check(*key));
                }
            }
        }
        for key in keys {
            let Some(check) = settings.checks.get(key.check) else { continue };
            let instance = self.checks.entry(key).or_insert_with(|| {
                self.schedule.set(Timer::Check(key), first_due(now, check));
                Instance::new(now, check)
            });
            instance.rows.insert(id);
        }
    }

    fn settings(&self, key: InstanceKey) -> Option<&Check> {
        self.config.services.get(key.service)?.checks.get(key.check)
    }

    pub(super) fn check_due(&mut self, now: Time, key: InstanceKey) {
        let Some(check) = self.settings(key) else { return };
        if let Some(ttl) = check.kind.ttl() {
            return self.push_missed(now, key, ttl);
        }
        let timeout = check.timeout;
        let Some(instance) = self.checks.get_mut(&key) else { return };
        match instance.run {
            Run::Waiting => {
                self.runs += 1;
                instance.run = Run::Started { at: now, run: self.runs };
                let InstanceKey { service, check, address } = key;
                let probe = ProbeId { service, check, address, run: self.runs };
                self.schedule.set(Timer::Check(key), now + timeout + LATE);
                self.out.push_back(Output::Probe { probe });
            }
            Run::Started { at, .. } => {
                let detail = format!("no answer from the check within {timeout:?}");
                self.finish(now, key, Outcome::TimedOut { detail }, now.since(at));
            }
        }
    }

    pub(super) fn probed(&mut self, now: Time, probe: ProbeId, outcome: Outcome, took: Duration) {
        let ProbeId { service, check, address, run } = probe;
        let key = InstanceKey { service, check, address };
        let is_awaited = |instance: &Instance| match instance.run {
            Run::Started { run: started, .. } => started == run,
            Run::Waiting => false,
        };
        if self.checks.get(&key).is_some_and(is_awaited) {
            self.finish(now, key, outcome, took);
        }
    }

    fn finish(&mut self, now: Time, key: InstanceKey, outcome: Outcome, took: Duration) {
        let dice = self.dice.roll();
        let Some(check) = self.config.services.get(key.service).and_then(|s| s.checks.get(key.check)) else { return };
        let Some(instance) = self.checks.get_mut(&key) else { return };
        let counters = self.check_counters.entry((key.service, key.check)).or_default();
        counters.durations.observe(took);
        let (pass, detail) = match outcome {
            Outcome::Pass { detail } => (true, detail),
            Outcome::Fail { detail } => (false, detail),
            Outcome::TimedOut { detail } => {
                counters.timeouts += 1;
                (false, detail)
            }
            Outcome::NoAddress => (false, "the address is not on this host".into()),
        };
        let started = match std::mem::replace(&mut instance.run, Run::Waiting) {
            Run::Started { at, .. } => at,
            Run::Waiting => now,
        };
        let before = instance.health.verdict();
        let changed = instance.health.observe(pass, check.rise, check.fall);
        instance.last = Some(now);
        instance.detail.clone_from(&detail);
        // From start to start, so that a slow check does not slow its own rate; never two runs at once.
        let next = (started + instance.health.pause(check, dice)).max(now);
        self.schedule.set(Timer::Check(key), next);
        if changed {
            instance.since = now;
            let to = instance.health.verdict();
            self.verdict_changed(key, before, to, detail);
        }
    }

    pub(super) fn verdict_changed(&mut self, key: InstanceKey, from: Verdict, to: Verdict, detail: String) {
        let Some(service) = self.config.services.get(key.service) else { return };
        let shared = !service.health.per_prefix || fixed_target(&self.config, key.service, key.check).is_some();
        if shared {
            self.whole.insert(key.service);
        } else if let Some(instance) = self.checks.get(&key) {
            self.dirty.extend(&instance.rows);
        }
        let check = self.settings(key).map_or("", |check| check.name.as_str());
        let event = Event {
            kind: EventKind::Check,
            service: Some(service.name.clone()),
            from: from.name().into(),
            to: to.name().into(),
            reason: check.into(),
            detail: format!("{}: {detail}", key.address),
            ..Event::default()
        };
        self.event(event);
    }

    pub(super) fn verdict(&self, key: InstanceKey) -> (Verdict, &str) {
        self.checks.get(&key).map_or((Verdict::Unknown, "does not run here"), |instance| {
            (instance.health.verdict(), instance.detail.as_str())
        })
    }
}
