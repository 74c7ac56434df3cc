//! Facts come in: which prefixes are bound where, which listeners have to be asked about, and when.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;

use super::schedule::Timer;
use super::{Engine, Event, EventKind, Output, RouterId, STEP};
use crate::Time;
use crate::bgp::rib_out::PrefixId;
use crate::facts::{Cause, Changed, Fact, Listening, Watch};
use crate::plan::{Bound, DisableFile};

/// There is no event for a new listener, so one that is needed and absent is asked for this often.
const ASK_ABSENT: Duration = Duration::from_millis(20);

/// A listener that is there has a destroy event; asking now and then covers an event that was lost.
const ASK_PRESENT: Duration = Duration::from_secs(1);

/// Without a router id no session can start; the address towards a router is there as soon as its interface is.
const FIND_SOURCE_AGAIN: Duration = Duration::from_millis(500);

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
            Fact::Snapshot(snapshot) => {
                let changed = self.facts.snapshot(snapshot);
                self.first_read(now);
                changed
            }
            Fact::ReadFailed { detail } => {
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
            Fact::Listener { watch, listening } => self.heard_of_listener(now, watch, listening),
            Fact::DisableFile { service, exists } => {
                self.looked_at_disable_file(service, exists);
                Changed::default()
            }
        };
        self.apply(changed);
    }

    fn first_read(&mut self, now: Time) {
        self.manage_addresses();
        if !std::mem::replace(&mut self.ready, true) {
            self.out.push_back(Output::Ready);
            self.find_source(now);
        }
    }

    fn apply(&mut self, changed: Changed) {
        if changed.everything {
            self.unbound.extend(self.ids());
        } else if !changed.nets.is_empty() {
            let overlap = |prefix: &IpNet| changed.nets.iter().any(|net| prefix.contains(net) || net.contains(prefix));
            self.unbound.extend(self.ids().zip(&self.prefixes).filter(|(_, prefix)| overlap(prefix)).map(|(id, _)| id));
        }
        if changed.everything || !changed.nets.is_empty() {
            self.refresh_next_hops();
        }
        for watch in changed.watches {
            if let Some(watched) = self.watches.get(&watch) {
                self.dirty.extend(&watched.rows);
            }
        }
    }

    pub(super) fn bind(&mut self, now: Time) {
        for _ in 0..STEP {
            let Some(id) = self.unbound.pop_first() else { return };
            self.rebind(now, id);
        }
    }

    /// Finds anew where a prefix is, and what has to be asked and checked there.
    fn rebind(&mut self, now: Time, id: PrefixId) {
        let (Some(row), Some(prefix)) = (self.rows.get_mut(id.row()), self.prefixes.get(id.row())) else { return };
        let Some(service) = self.config.services.get(row.service) else { return };
        self.dirty.insert(id);
        let bound = Bound::find(prefix, &row.inner, service.binding.interface.as_deref(), &self.facts);
        if !service.health.per_prefix && row.bound.addresses() != bound.addresses() {
            let service = row.service;
            let siblings = self.rows.iter().zip(0..).filter(|(other, _)| other.service == service);
            self.dirty.extend(siblings.map(|(_, row)| PrefixId(row)));
        }
        let Some(row) = self.rows.get_mut(id.row()) else { return };
        row.bound = bound;
        if !service.enabled {
            return;
        }
        let mut watches: Vec<Watch> =
            service.binding.listen.iter().flat_map(|listen| row.bound.watches(prefix, listen)).collect();
        watches.sort_unstable();
        watches.dedup();
        let before = std::mem::replace(&mut row.watches, watches.clone());
        for watch in before.iter().filter(|watch| !watches.contains(watch)) {
            self.forget_watch(*watch, id);
        }
        for watch in watches {
            let watched = self.watches.entry(watch).or_default();
            self.watches_changed |= watched.rows.is_empty();
            watched.rows.insert(id);
            if watched.rows.len() == 1 && !watched.asked {
                self.ask(now, watch);
            }
        }
        self.rebind_checks(now, id);
    }

    fn forget_watch(&mut self, watch: Watch, id: PrefixId) {
        let Some(watched) = self.watches.get_mut(&watch) else { return };
        watched.rows.remove(&id);
        if watched.rows.is_empty() {
            self.watches.remove(&watch);
            self.watches_changed = true;
            self.schedule.cancel(Timer::Ask(watch));
            // An answer of an hour ago must not speak for a listener that is asked about anew.
            self.facts.retain_watches(|other| *other != watch);
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
            Listening::Present { doubted: true, .. } | Listening::Absent { .. } | Listening::Unknown => ASK_ABSENT,
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
            let rows = self.rows.iter().zip(0..).filter(|(row, _)| row.service == service);
            self.dirty.extend(rows.map(|(_, row)| PrefixId(row)));
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
                self.event(Event { kind: EventKind::Config, reason: "no-router-id".into(), detail: words, ..Event::default() });
            }
            Err(_) => {}
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }
}
