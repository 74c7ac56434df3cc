//! Checks that run nothing: somebody says how it is, and silence is a failure.
//!
//! ```text
//!   a push: one result by rise and fall --> ttl starts anew
//!   ttl over without one --> down at once (a dead man's switch), until pushes pass `rise` times
//! ```

use std::net::IpAddr;
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

impl Engine {
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
        let first = InstanceKey { service, check, address: IpAddr::from([0, 0, 0, 0]) };
        let own = self.checks.range(first..).take_while(|(key, _)| (key.service, key.check) == (service, check));
        own.map(|(key, _)| key.address).collect()
    }

    pub(super) fn pushed(
        &mut self,
        now: Time,
        service: usize,
        check: usize,
        address: Option<IpAddr>,
        pass: bool,
        detail: &str,
    ) {
        for there in self.instances(service, check) {
            if address.is_none_or(|address| address == there) {
                self.pushed_at(now, InstanceKey { service, check, address: there }, pass, detail);
            }
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
