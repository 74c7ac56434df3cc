//! Checks that run nothing: somebody says how it is, and silence is a failure.
//!
//! ```text
//!   a push: one result by rise and fall --> ttl starts anew
//!   ttl over without one --> down at once (a dead man's switch), until pushes pass `rise` times
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::time::Duration;

use super::Engine;
use super::checks::InstanceKey;
use super::schedule::Timer;
use crate::Time;
use crate::config::written;

/// Where a push goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pushable {
    /// Index into `Config::services`.
    pub service: usize,
    /// Index into `Service::checks`.
    pub check: usize,
    /// Those it counts for; none while no address of the service is on this host.
    pub addresses: Vec<IpAddr>,
}

/// Why a push counts for nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotPushed {
    NoService { known: Vec<String> },
    NoCheck { known: Vec<String> },
    AnotherType,
    NoAddress { here: Vec<IpAddr> },
}

/// Most addresses that hear a push in one step: a few microseconds each.
const ADDRESSES: usize = 250;

/// A push on its way from one address to the next.
#[derive(Clone, Debug)]
pub(super) struct Said {
    service: usize,
    check: usize,
    /// The last one that heard it.
    heard: Option<InstanceKey>,
    /// `None`: all of them.
    only: Option<IpAddr>,
    pass: bool,
    detail: String,
}

impl Said {
    pub(super) fn new(service: usize, check: usize, only: Option<IpAddr>, pass: bool, detail: String) -> Self {
        Self { service, check, heard: None, only, pass, detail }
    }
}

const FIRST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Engine {
    /// Some push has not reached all of its addresses: another one has to wait.
    pub fn is_hearing(&self) -> bool {
        !self.pushes.is_empty()
    }

    /// `address`: `None` is each address the check has now.
    pub fn pushable(&self, service: &str, check: &str, address: Option<IpAddr>) -> Result<Pushable, NotPushed> {
        let services = &self.config.services;
        let Some((service, settings)) = services.iter().enumerate().find(|(_, known)| known.name == service) else {
            return Err(NotPushed::NoService { known: services.iter().map(|known| known.name.clone()).collect() });
        };
        let Some((check, kind)) = settings.checks.iter().enumerate().find(|(_, known)| known.name == check) else {
            return Err(NotPushed::NoCheck { known: settings.checks.iter().map(|known| known.name.clone()).collect() });
        };
        if kind.kind.ttl().is_none() {
            return Err(NotPushed::AnotherType);
        }
        let here = self.instances(service, check);
        match address {
            None => Ok(Pushable { service, check, addresses: here }),
            Some(address) if here.contains(&address) => Ok(Pushable { service, check, addresses: vec![address] }),
            Some(_) => Err(NotPushed::NoAddress { here }),
        }
    }

    /// Ordered.
    fn instances(&self, service: usize, check: usize) -> Vec<IpAddr> {
        let first = InstanceKey { service, check, address: FIRST };
        let own = self.checks.range(first..).take_while(|(key, _)| (key.service, key.check) == (service, check));
        own.map(|(key, _)| key.address).collect()
    }

    pub(super) fn hear_pushes(&mut self, now: Time) {
        for _ in 0..ADDRESSES {
            let Some(Said { service, check, heard, only, pass, detail }) = self.pushes.front_mut() else { return };
            let first = InstanceKey { service: *service, check: *check, address: only.unwrap_or(FIRST) };
            let from = heard.map_or(Included(first), Excluded);
            let is_meant = |key: &InstanceKey| {
                (key.service, key.check) == (*service, *check) && only.is_none_or(|only| only == key.address)
            };
            let next = self.checks.range((from, Unbounded)).next().map(|(key, _)| *key);
            let Some(key) = next.filter(is_meant) else {
                self.pushes.pop_front();
                continue;
            };
            *heard = Some(key);
            let (pass, detail) = (*pass, detail.clone());
            self.pushed_at(now, key, pass, &detail);
        }
    }

    fn pushed_at(&mut self, now: Time, key: InstanceKey, pass: bool, detail: &str) {
        let Some(check) = self.config.services.get(key.service).and_then(|s| s.checks.get(key.check)) else { return };
        let Some(ttl) = check.kind.ttl() else { return };
        let Some(instance) = self.checks.get_mut(&key) else { return };
        let before = instance.health.verdict();
        let changed = instance.health.observe(pass, check.rise, check.fall);
        instance.last = Some(now);
        instance.detail = detail.to_owned();
        self.schedule.set(Timer::Check(key), now + ttl);
        if changed {
            instance.since = now;
            let to = instance.health.verdict();
            self.verdict_changed(key, before, to, detail.to_owned());
        }
    }

    /// Said and counted once for each silence; the time of the last push stays what it was.
    pub(super) fn push_missed(&mut self, now: Time, key: InstanceKey, ttl: Duration) {
        let Some(instance) = self.checks.get_mut(&key) else { return };
        self.check_counters.entry((key.service, key.check)).or_default().timeouts += 1;
        let before = instance.health.verdict();
        let changed = instance.health.expire();
        let detail = format!("no push for {}", written(ttl));
        instance.detail.clone_from(&detail);
        if changed {
            instance.since = now;
            let to = instance.health.verdict();
            self.verdict_changed(key, before, to, detail);
        }
    }
}
