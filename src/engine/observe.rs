//! Facts come in: which prefixes are bound where, which listeners have to be asked about, and when.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;

use super::schedule::Timer;
use super::{Engine, Event, EventKind, Output, RouterId};
use crate::Time;
use crate::bgp::rib_out::PrefixId;
use crate::facts::{Cause, Changed, Fact, Listening, Watch};
use crate::plan::{Bound, DisableFile};

/// There is no event for a new listener, so one that is needed and absent is asked for this often.
const ASK_ABSENT: Duration = Duration::from_millis(20);

/// However many are absent: 20,000 questions a second at most, a seventh of one core.
const ASK_EACH: Duration = Duration::from_micros(50);

/// A listener that is there has a destroy event; asking now and then covers an event that was lost.
const ASK_PRESENT: Duration = Duration::from_secs(1);

/// Without a router id no session can start; the address towards a router is there as soon as its interface is.
const FIND_SOURCE_AGAIN: Duration = Duration::from_millis(500);

/// Most prefixes bound in one step: some 8 us each.
const ROWS: usize = 200;

/// One listener that some prefix needs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Watched {
    rows: BTreeSet<PrefixId>,
    /// A question of ours is on its way: the next answer is a read, any other a notice from the kernel.
    asked: bool,
}

impl Engine {
    pub(super) fn learn(&mut self, now: Time, fact: Fact) {
        let changed = match fact {
            Fact::Interface { index, name, loopback } => self.facts.set_interface(index, name, loopback),
            Fact::Address { address, present } => self.facts.set_address(address, present),
            Fact::LocalRoute { route, present } => self.facts.set_route(route, present),
            Fact::Snapshot(snapshot) if snapshot.is_empty() => self.read_failed("it came back empty".into()),
            Fact::Snapshot(snapshot) => {
                let changed = self.facts.snapshot(snapshot);
                self.first_read(now);
                changed
            }
            Fact::ReadFailed { detail } => self.read_failed(detail),
            Fact::Listener { watch, listening } => self.heard_of_listener(now, watch, listening),
            Fact::DisableFile { service, exists } => {
                self.looked_at_disable_file(service, exists);
                Changed::default()
            }
        };
        self.apply(changed);
    }

    fn read_failed(&mut self, detail: String) -> Changed {
        let changed = self.facts.read_failed();
        if changed.everything {
            self.event(Event {
                kind: EventKind::Netlink,
                to: "read-failed".into(),
                reason: "unknown".into(),
                detail,
                ..Event::default()
            });
        }
        changed
    }

    fn first_read(&mut self, now: Time) {
        self.manage_addresses();
        if !std::mem::replace(&mut self.ready, true) {
            self.out.push_back(Output::Ready);
            self.find_source(now);
            self.start_sessions(now);
        }
    }

    fn apply(&mut self, changed: Changed) {
        let mut touched: BTreeSet<PrefixId> = changed.nets.iter().flat_map(|net| self.overlapping(net)).collect();
        for (number, service) in self.config.services.iter().enumerate() {
            if service.binding.interface.as_ref().is_some_and(|name| changed.interfaces.contains(name)) {
                touched.extend(self.ids_of(number));
            }
        }
        self.unbound.append(&mut touched);
        if changed.everything {
            self.dirty.extend(self.ids());
        }
        if !changed.nets.is_empty() {
            self.refresh_next_hops();
        }
        for watch in changed.watches {
            if let Some(watched) = self.watches.get(&watch) {
                self.dirty.extend(&watched.rows);
            }
        }
    }

    pub(super) fn bind(&mut self, now: Time) {
        let mut services = BTreeSet::new();
        for _ in 0..ROWS {
            let Some(id) = self.unbound.pop_first() else { break };
            services.extend(self.rebind(now, id));
        }
        services.into_iter().for_each(|service| self.judge_service(service));
    }

    /// Configured prefixes inside `net` or around it.
    fn overlapping(&self, net: &IpNet) -> Vec<PrefixId> {
        let outer = (0..net.prefix_len()).filter_map(|length| IpNet::new(net.network(), length).ok());
        let outer = outer.filter_map(|over| self.index.get(&over.trunc()));
        let ends = |address| IpNet::from(address);
        let first = IpNet::new(net.network(), 0).unwrap_or(*net);
        let inside = self.index.range(first..=ends(net.broadcast())).filter(|(prefix, _)| net.contains(*prefix));
        outer.chain(inside.map(|(_, id)| id)).copied().collect()
    }

    /// Finds anew where a prefix is, and what has to be asked and checked there; returns the service all of whose prefixes
    /// it moves (`per-prefix = false`).
    fn rebind(&mut self, now: Time, id: PrefixId) -> Option<usize> {
        let (row, prefix) = (self.rows.get_mut(id.row())?, self.prefixes.get(id.row())?);
        let service = self.config.services.get(row.service)?;
        self.dirty.insert(id);
        let bound = Bound::find(prefix, &row.inner, service.binding.interface.as_deref(), &self.facts);
        let moves_siblings = !service.health.per_prefix && row.bound.addresses() != bound.addresses();
        row.bound = bound;
        if !service.enabled {
            return moves_siblings.then_some(row.service);
        }
        let number = row.service;
        let mut watches: Vec<Watch> =
            service.binding.listen.iter().flat_map(|listen| row.bound.watches(prefix, listen)).collect();
        watches.sort_unstable();
        watches.dedup();
        let before = std::mem::replace(&mut row.watches, watches.clone());
        for watch in before.iter().filter(|watch| watches.binary_search(watch).is_err()) {
            self.forget_watch(*watch, id);
        }
        for watch in watches {
            let known = self.watches.contains_key(&watch);
            self.watches.entry(watch).or_default().rows.insert(id);
            if !known {
                self.watches_changed = true;
                self.ask(now, watch);
            }
        }
        self.rebind_checks(now, id);
        moves_siblings.then_some(number)
    }

    fn forget_watch(&mut self, watch: Watch, id: PrefixId) {
        let Some(watched) = self.watches.get_mut(&watch) else { return };
        watched.rows.remove(&id);
        if watched.rows.is_empty() {
            self.watches.remove(&watch);
            self.watches_changed = true;
            self.schedule.cancel(Timer::Ask(watch));
            // An answer of an hour ago must not speak for a listener that is asked about anew.
            self.facts.forget_listener(&watch);
        }
    }

    pub(super) fn ask(&mut self, now: Time, watch: Watch) {
        let Some(watched) = self.watches.get_mut(&watch) else { return };
        watched.asked = true;
        // Set first: an answer that never comes is asked for again.
        self.schedule.set(Timer::Ask(watch), now + ASK_PRESENT);
        self.out.push_back(Output::Ask { watch });
    }

    fn heard_of_listener(&mut self, now: Time, watch: Watch, listening: Option<bool>) -> Changed {
        let Some(watched) = self.watches.get_mut(&watch) else { return Changed::default() };
        let cause = if std::mem::take(&mut watched.asked) { Cause::Read } else { Cause::Notice };
        let changed = self.facts.set_listener(now, watch, listening, cause);
        let pause = match self.facts.listening(&watch) {
            Listening::Present { doubted: false, .. } => ASK_PRESENT,
            Listening::Present { doubted: true, .. } | Listening::Absent { .. } | Listening::Unknown => {
                ASK_ABSENT.max(ASK_EACH * u32::try_from(self.watches.len()).unwrap_or(u32::MAX))
            }
        };
        self.schedule.set(Timer::Ask(watch), now + pause);
        changed
    }

    /// Whole sets, so that `io` can never watch something else than what is needed.
    pub(super) fn tell_watches(&mut self) {
        if self.unbound.is_empty() && std::mem::take(&mut self.watches_changed) {
            self.out.push_back(Output::Watch { watches: self.watches.keys().copied().collect() });
        }
    }

    fn looked_at_disable_file(&mut self, service: usize, exists: Option<bool>) {
        let Some(file) = self.disable_files.get_mut(service) else { return };
        let after = match exists {
            Some(_) => DisableFile { exists, stale: false },
            None => DisableFile { exists: file.exists, stale: true },
        };
        if std::mem::replace(file, after) != after {
            self.judge_service(service);
        }
    }

    /// Before the checks, and again after each full read: an address that could not be added is wanted still.
    pub(super) fn manage_addresses(&mut self) {
        if self.stop.is_stopping() {
            return;
        }
        for address in self.managed() {
            if self.facts.addresses_in(&IpNet::from(address)).next().is_none() {
                self.out.push_back(Output::Manage { address, present: true });
            }
        }
    }

    pub(super) fn manage_failed(&mut self, address: IpAddr, detail: String) {
        self.counters.manage_failures += 1;
        self.event(Event {
            kind: EventKind::Address,
            prefix: Some(address.to_string()),
            to: "manage-failed".into(),
            detail,
            ..Event::default()
        });
    }

    pub(super) fn find_source(&mut self, now: Time) {
        if let RouterId::Finding { towards, .. } = &self.router_id
            && !towards.is_unspecified()
        {
            self.out.push_back(Output::FindSource { to: *towards });
            self.schedule.set(Timer::Source, now + FIND_SOURCE_AGAIN);
        }
    }

    /// Never an address on lo or in a service prefix: two hosts would have the same identifier, and a router drops one
    /// of their sessions (RFC 6286 §2.1).
    pub(super) fn source_found(&mut self, now: Time, to: Ipv4Addr, address: Option<Ipv4Addr>) {
        let RouterId::Finding { towards, problem } = &mut self.router_id else { return };
        if *towards != to || !self.facts.known() {
            return;
        }
        let news = match address {
            None => Err(format!("no route to {to}: router.id cannot be found")),
            Some(id) if self.facts.is_loopback(id.into()) => {
                Err(format!("the address towards {to} is {id}, on a loopback interface: set router.id"))
            }
            Some(id) if self.prefixes.iter().any(|prefix| prefix.contains(&IpAddr::V4(id))) => {
                Err(format!("the address towards {to} is {id}, in a service prefix: set router.id"))
            }
            Some(id) => Ok(id),
        };
        match news {
            Ok(id) => {
                self.router_id = RouterId::Known(id);
                self.schedule.cancel(Timer::Source);
                self.start_sessions(now);
            }
            Err(words) if *problem != words => {
                problem.clone_from(&words);
                self.event(Event {
                    kind: EventKind::Config,
                    reason: "no-router-id".into(),
                    detail: words,
                    ..Event::default()
                });
            }
            Err(_) => {}
        }
    }
}
