//! From facts to what each neighbor should have: judges what is dirty, and nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::checks::InstanceKey;
use super::schedule::Timer;
use super::{Engine, Event, EventKind};
use crate::Time;
use crate::bgp::rib_out::{PrefixId, RouteId};
use crate::plan::{self, Held, Judged, Kept, Question, Standings, Step};

/// Most prefixes judged in one step: a judgement takes a few microseconds.
const ROWS: usize = 250;

impl Engine {
    pub(super) fn decide(&mut self, now: Time) {
        let mut shared = BTreeMap::new();
        for _ in 0..ROWS {
            if self.dirty.is_empty() {
                let ids = std::mem::take(&mut self.whole).into_iter().flat_map(|service| self.ids_of(service));
                self.dirty = ids.collect();
            }
            let Some(id) = self.dirty.pop_first() else { break };
            self.judged_untold += 1;
            let serves = |service| self.serves(service);
            let Some(judged) = self.ask_plan(now, id, &mut shared, serves, plan::judge) else { continue };
            self.schedule.set(Timer::Judge(id), judged.until);
            self.take(now, id, judged);
        }
    }

    pub(super) fn steps(&self, now: Time, id: PrefixId) -> Vec<Step> {
        self.ask_plan(now, id, &mut BTreeMap::new(), |service| self.serves(service), plan::steps).unwrap_or_default()
    }

    /// Pure. `shared`: by service, what the checks say of all its prefixes together (`per-prefix = false`), so that it is
    /// put together once and not for each of them. `serves`: of each service, whether others may rely on it.
    fn ask_plan<T>(
        &self,
        now: Time,
        id: PrefixId,
        shared: &mut BTreeMap<usize, Standings>,
        serves: impl Fn(usize) -> bool,
        ask: impl Fn(&Question<'_>) -> T,
    ) -> Option<T> {
        let row = self.rows.get(id.row())?;
        let service = self.config.services.get(row.service)?;
        let verdict = |check, address| self.verdict(InstanceKey { service: row.service, check, address });
        let own;
        let standings = if service.health.per_prefix {
            own = Standings::of(service, row.bound.addresses(), verdict);
            &own
        } else {
            let all = || Standings::of(service, &self.addresses_of(row.service), verdict);
            shared.entry(row.service).or_insert_with(all)
        };
        Some(ask(&Question {
            service,
            prefix: self.prefixes.get(id.row())?,
            bound: &row.bound,
            standings,
            facts: &self.facts,
            disable_file: self.disable_files.get(row.service).copied().unwrap_or_default(),
            stopping: self.stop.is_stopping(),
            missing: self.missing(row.service, serves),
            ready_since: row.judged.ready_since,
            served: row.judged.serves,
            now,
        }))
    }

    fn addresses_of(&self, service: usize) -> Vec<IpAddr> {
        let rows = self.ids_of(service).filter_map(|id| self.rows.get(id.row()));
        rows.flat_map(|row| row.bound.addresses()).copied().collect()
    }

    fn take(&mut self, now: Time, id: PrefixId, judged: Judged) {
        let Some(row) = self.rows.get_mut(id.row()) else { return };
        let before = std::mem::replace(&mut row.judged, judged.clone());
        let service = row.service;
        let changed = before.result != judged.result;
        if changed {
            row.since = now;
        }
        self.count(service, &before, &judged);
        if changed {
            self.report(id, service, &before.result, &judged);
        }
        let deprefer = match judged.result {
            Err(_) => None,
            Ok(Some(Kept::Deprefer)) => Some(true),
            Ok(Some(Kept::Grace | Kept::Unknown) | None) => Some(false),
        };
        for group in 0..self.groups.len() {
            let wanted = deprefer.and_then(|deprefer| self.route_for(service, deprefer, group));
            self.want(now, group, id, wanted);
        }
    }

    /// The attribute set that this group's neighbors are told; `None` where the service is not for them.
    fn route_for(&mut self, service: usize, deprefer: bool, group: usize) -> Option<RouteId> {
        let group = self.groups.get_mut(group)?;
        if !*group.services.get(service)? {
            return None;
        }
        if let Some(known) = group.told_as.get(&(service, deprefer)) {
            return Some(*known);
        }
        let neighbor = self.config.neighbors.get(*group.members.first()?)?;
        let route = plan::route(self.config.services.get(service)?, deprefer);
        let id = self.routes.intern(plan::attributes(&route, &self.config.router, neighbor));
        group.told_as.insert((service, deprefer), id);
        Some(id)
    }

    fn want(&mut self, now: Time, group: usize, id: PrefixId, wanted: Option<RouteId>) {
        let Some(group) = self.groups.get_mut(group) else { return };
        let Some(cell) = group.wanted.get_mut(id.row()) else { return };
        if std::mem::replace(cell, wanted) == wanted {
            return;
        }
        for member in &group.members {
            if let Some(neighbor) = self.neighbors.get_mut(*member) {
                neighbor.touch(now, id);
            }
        }
    }

    fn report(&mut self, id: PrefixId, service: usize, before: &Result<Option<Kept>, Held>, judged: &Judged) {
        let event = Event {
            kind: EventKind::Prefix,
            service: self.config.services.get(service).map(|service| service.name.clone()),
            prefix: self.prefixes.get(id.row()).map(ToString::to_string),
            from: standing(before).into(),
            to: standing(&judged.result).into(),
            reason: reason(&judged.result).into(),
            detail: judged.detail.clone(),
            ..Event::default()
        };
        self.event(event);
    }

    /// What a judgement of everything from the facts alone would give; the test's oracle.
    #[cfg(test)]
    pub(super) fn recompute(&self, now: Time) -> Vec<Result<Option<Kept>, Held>> {
        let mut serving = vec![false; self.config.services.len()];
        loop {
            let serves = |service: usize| serving[service];
            let judge = |id| self.ask_plan(now, id, &mut BTreeMap::new(), serves, plan::judge);
            let judged: Vec<Judged> = self.ids().filter_map(judge).collect();
            let mut after = vec![false; serving.len()];
            for (row, judged) in self.rows.iter().zip(&judged) {
                after[row.service] |= judged.serves;
            }
            // Needs are no circle: each round settles at least one more service.
            if std::mem::replace(&mut serving, after.clone()) == after {
                return judged.into_iter().map(|judged| judged.result).collect();
            }
        }
    }
}

const fn standing(result: &Result<Option<Kept>, Held>) -> &'static str {
    match result {
        Ok(None) => "announced",
        Ok(Some(_)) => "kept",
        Err(_) => "held",
    }
}

/// The word for why; empty where all is well.
pub(super) const fn reason(result: &Result<Option<Kept>, Held>) -> &'static str {
    match result {
        Ok(None) => "",
        Ok(Some(kept)) => kept.name(),
        Err(held) => held.name(),
    }
}
