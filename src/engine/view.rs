//! The engine as operators see it: pure, and the only place that turns its times into wall time.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;

use super::checks::InstanceKey;
use super::decide::reason;
use super::{Engine, Hook, RouterId, Row};
use crate::Time;
use crate::bgp::rib_out::PrefixId;
use crate::bgp::wire::Family;
use crate::config::{CheckKind, PeerAsn};
use crate::plan::Held;
use crate::status::{self, Announced, Explanation, Reason, Status, rfc3339};

/// Two clocks read at the same moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    pub now: Time,
    /// Since 1970.
    pub wall: Duration,
}

impl Clock {
    fn at(&self, time: Time) -> String {
        rfc3339::format(self.wall.saturating_sub(self.now.since(time)))
    }
}

/// What a program is told in its environment, as `STATE` and `REASON`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Words {
    /// Of the service, as in `/services`.
    pub state: String,
    /// The first one that some prefix is held or kept for; empty where all is well.
    pub reason: String,
}

/// What `explain` is asked about.
pub enum Explained {
    Prefix(Box<Explanation>),
    /// A service: one for each of its prefixes.
    Service(Vec<Explanation>),
    /// Neither; all names that could have been meant.
    Unknown(Vec<String>),
}

impl Engine {
    pub fn status(&self, clock: Clock) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: clock.now.since(self.started).as_secs_f64(),
            router: Some(status::Router {
                asn: self.config.router.asn.get(),
                id: match &self.router_id {
                    RouterId::Known(id) => Some(id.to_string()),
                    RouterId::Finding { .. } => None,
                },
            }),
            config: status::Config {
                path: self.config.path.display().to_string(),
                hash: format!("{:016x}", self.config.hash),
                loaded_at: clock.at(self.started),
                state: "current".into(),
            },
            neighbors: self.neighbors(clock),
            services: self.services(clock),
            guard: serde_json::Map::new(),
            pmtud: status::Pmtud::default(),
        }
    }

    pub fn neighbors(&self, clock: Clock) -> Vec<status::Neighbor> {
        (0..self.neighbors.len()).filter_map(|index| self.neighbor_view(clock, index)).collect()
    }

    fn neighbor_view(&self, clock: Clock, index: usize) -> Option<status::Neighbor> {
        let settings = self.config.neighbors.get(index)?;
        let neighbor = self.neighbors.get(index)?;
        let session = neighbor.session.status();
        let waiting_for_id = match &self.router_id {
            RouterId::Finding { problem, .. } if settings.enabled => Some(problem.clone()),
            RouterId::Finding { .. } | RouterId::Known(_) => None,
        };
        Some(status::Neighbor {
            name: settings.name.clone(),
            address: settings.address,
            asn: match (session.negotiated, settings.asn) {
                (Some(negotiated), _) => Some(negotiated.peer_asn),
                (None, PeerAsn::Is(asn)) => Some(asn.get()),
                (None, PeerAsn::External | PeerAsn::Internal) => None,
            },
            enabled: settings.enabled,
            state: session.state.into(),
            // One that was never started is as it is since we are.
            since: clock.at(session.since.max(self.started)),
            uptime_seconds: session.up_since.map(|since| clock.now.since(since).as_secs_f64()),
            announced: Announced {
                ipv4: neighbor.rib_out.announced(Family::Ipv4),
                ipv6: neighbor.rib_out.announced(Family::Ipv6),
            },
            hold_time: session.negotiated.map(|negotiated| negotiated.hold_time.map_or(0, |hold| hold.as_secs())),
            capabilities: session.capabilities,
            bfd: None,
            last_error: waiting_for_id.or(session.last_error),
            flaps: neighbor.flaps,
            received: neighbor.received_prefixes,
            malformed_updates: neighbor.malformed_updates,
        })
    }

    pub fn services(&self, clock: Clock) -> Vec<status::Service> {
        let services = self.config.services.iter().enumerate();
        services
            .map(|(index, service)| status::Service {
                name: service.name.clone(),
                state: self.service_state(index).name().into(),
                weight: service.weight,
                prefixes: self.rows_of(index).map(|(id, row)| self.prefix_view(clock, id, row)).collect(),
                checks: self.check_views(clock, index),
                hooks: self.hook_views(clock, index),
            })
            .collect()
    }

    /// For a program that runs for this service.
    pub fn words(&self, service: usize) -> Words {
        let reasons = self.rows_of(service).map(|(_, row)| reason(&row.judged.result));
        let reason = reasons.into_iter().find(|reason| !reason.is_empty()).unwrap_or_default().to_owned();
        Words { state: self.service_state(service).name().to_owned(), reason }
    }

    /// Nothing for a check that runs no program.
    pub fn words_for_check(&self, service: usize, check: usize) -> Words {
        let kind = self.config.services.get(service).and_then(|service| Some(&service.checks.get(check)?.kind));
        if matches!(kind, Some(CheckKind::Exec(_))) { self.words(service) } else { Words::default() }
    }

    fn rows_of(&self, service: usize) -> impl Iterator<Item = (PrefixId, &Row)> {
        self.ids_of(service).filter_map(|id| Some((id, self.rows.get(id.row())?)))
    }

    fn prefix_view(&self, clock: Clock, id: PrefixId, row: &Row) -> status::Prefix {
        let why = || Reason {
            reason: reason(&row.judged.result).into(),
            detail: row.judged.detail.clone(),
            since: clock.at(row.since),
        };
        let (held, kept) = match row.judged.result {
            Err(_) => (Some(why()), None),
            Ok(Some(_)) => (None, Some(why())),
            Ok(None) => (None, None),
        };
        status::Prefix {
            prefix: self.net(id).map(|net| net.to_string()).unwrap_or_default(),
            held,
            kept,
            neighbors: self.told_views(clock, id, row),
        }
    }

    fn net(&self, id: PrefixId) -> Option<&IpNet> {
        self.prefixes.get(id.row())
    }

    fn told_views(&self, clock: Clock, id: PrefixId, row: &Row) -> Vec<status::PrefixNeighbor> {
        let both = self.config.neighbors.iter().zip(&self.neighbors).zip(0..);
        both.map(|((settings, neighbor), index)| {
            let announced = neighbor.rib_out.is_told(id);
            let told_at = neighbor.rib_out.since(id);
            status::PrefixNeighbor {
                name: settings.name.clone(),
                announced,
                since: clock.at(if announced { told_at } else { row.since.max(told_at) }),
                held: if announced { None } else { self.held_for(index, id, row).map(str::to_owned) },
            }
        })
        .collect()
    }

    /// What keeps a prefix from this one neighbor, where nothing keeps it from all of them.
    fn held_for(&self, index: usize, id: PrefixId, row: &Row) -> Option<&'static str> {
        if row.judged.result.is_err() {
            return Some(reason(&row.judged.result));
        }
        let family = Family::of(self.net(id)?);
        let neighbor = self.neighbors.get(index)?;
        let selected = self.groups.get(neighbor.group).and_then(|group| group.services.get(row.service).copied());
        if selected != Some(true) {
            return Some("not-selected");
        }
        if !self.config.neighbors.get(index)?.families.has(family) {
            return Some("not-selected");
        }
        let Some(link) = neighbor.rib_out.link() else { return Some("no-session") };
        if !link.speaks(family) {
            return Some("family-not-negotiated");
        }
        link.next_hops.of(family).is_none().then_some("no-next-hop")
    }

    fn check_views(&self, clock: Clock, service: usize) -> Vec<status::Check> {
        let Some(settings) = self.config.services.get(service) else { return vec![] };
        let first = InstanceKey { service, check: 0, address: IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        let own = self.checks.range(first..).take_while(|(key, _)| key.service == service);
        own.map(|(key, instance)| status::Check {
            name: settings.checks.get(key.check).map(|check| check.name.clone()).unwrap_or_default(),
            address: key.address,
            state: instance.health.verdict().name().into(),
            since: clock.at(instance.since),
            last: instance.last.map(|last| clock.at(last)),
            detail: instance.detail.clone(),
        })
        .collect()
    }

    /// Of those that are configured.
    fn hook_views(&self, clock: Clock, service: usize) -> Vec<status::Hook> {
        let Some(settings) = self.config.services.get(service) else { return vec![] };
        let configured = Hook::ALL.into_iter().filter(|hook| hook.command(&settings.health.hooks).is_some());
        configured
            .map(|hook| {
                let runs = self.hook_runs.get(&(service, hook)).cloned().unwrap_or_default();
                let (last, result) = runs.last.unzip();
                status::Hook {
                    hook: hook.name().into(),
                    last: last.map(|last| clock.at(last)),
                    ok: result.as_ref().map(Result::is_ok),
                    detail: result.map(|result| result.unwrap_or_else(|why| why)).unwrap_or_default(),
                    failures: runs.failures,
                }
            })
            .collect()
    }

    /// The newest events, oldest first; with `after` only those with a higher number.
    pub fn events(&self, clock: Clock, after: Option<u64>) -> Vec<status::Event> {
        self.events.after(after).map(|numbered| numbered.view(clock.at(numbered.at))).collect()
    }

    /// What each neighbor was told.
    pub fn routes(&self, clock: Clock) -> Vec<status::Route> {
        let each = self.ids().flat_map(|id| (0..self.neighbors.len()).map(move |index| (id, index)));
        each.filter_map(|(id, index)| self.route_view(clock, id, index)).collect()
    }

    fn route_view(&self, clock: Clock, id: PrefixId, index: usize) -> Option<status::Route> {
        let neighbor = self.neighbors.get(index)?;
        let attributes = self.routes.get(neighbor.rib_out.route_told(id)?)?;
        let net = self.net(id)?;
        Some(status::Route {
            prefix: net.to_string(),
            neighbor: self.config.neighbors.get(index)?.name.clone(),
            next_hop: neighbor.rib_out.link()?.next_hops.of(Family::of(net))?,
            as_path: attributes.as_path.iter().map(|asn| asn.get()).collect(),
            med: attributes.med,
            communities: attributes.communities.iter().map(ToString::to_string).collect(),
            large_communities: attributes.large_communities.iter().map(ToString::to_string).collect(),
            bandwidth: attributes.link_bandwidth.map(|bandwidth| bandwidth.bytes_per_second),
            since: clock.at(neighbor.rib_out.since(id)),
        })
    }

    /// `what`: a prefix in its canonical form, or else a service's name.
    pub fn explain(&self, clock: Clock, what: &str) -> Explained {
        let explain = |id| self.explanation(clock, id);
        if let Ok(prefix) = what.parse::<IpNet>()
            && let Some(id) = self.ids().find(|id| self.net(*id) == Some(&prefix))
            && let Some(explanation) = explain(id)
        {
            return Explained::Prefix(Box::new(explanation));
        }
        match self.config.services.iter().position(|service| service.name == what) {
            Some(service) => Explained::Service(self.rows_of(service).filter_map(|(id, _)| explain(id)).collect()),
            None => {
                let services = self.config.services.iter().map(|service| service.name.clone());
                Explained::Unknown(services.chain(self.prefixes.iter().map(ToString::to_string)).collect())
            }
        }
    }

    fn explanation(&self, clock: Clock, id: PrefixId) -> Option<Explanation> {
        let row = self.rows.get(id.row())?;
        let deciding = |result: &Result<_, Held>| *result != Ok(None) && *result == row.judged.result;
        let steps = self.steps(clock.now, id).into_iter().map(|step| status::Step {
            step: step.name.into(),
            ok: step.result == Ok(None),
            since: deciding(&step.result).then(|| clock.at(row.since)),
            detail: step.detail,
        });
        let neighbors = self.told_views(clock, id, row);
        Some(Explanation {
            prefix: self.net(id)?.to_string(),
            service: self.config.services.get(row.service)?.name.clone(),
            announced: neighbors.iter().any(|neighbor| neighbor.announced),
            steps: steps.collect(),
            neighbors,
        })
    }

    fn hook_counters(&self) -> Vec<status::HookCounters> {
        let services = self.config.services.iter().enumerate();
        let hooks = services.flat_map(|(index, service)| Hook::ALL.map(|hook| (index, service, hook)));
        let configured = hooks.filter(|(_, service, hook)| hook.command(&service.health.hooks).is_some());
        configured
            .map(|(index, service, hook)| status::HookCounters {
                service: service.name.clone(),
                hook: hook.name().into(),
                failures: self.hook_runs.get(&(index, hook)).map_or(0, |runs| runs.failures),
            })
            .collect()
    }

    /// The half of the counters that the engine keeps; the rest is `io`'s.
    pub fn counters(&self) -> status::Counters {
        let neighbors = self.config.neighbors.iter().zip(&self.neighbors);
        let checks = self.config.services.iter().enumerate().flat_map(|(index, service)| {
            service.checks.iter().enumerate().map(move |(number, check)| (index, number, service, check))
        });
        status::Counters {
            neighbors: neighbors
                .map(|(settings, neighbor)| status::NeighborCounters {
                    name: settings.name.clone(),
                    sent: neighbor.sent,
                    received: neighbor.received,
                })
                .collect(),
            checks: checks
                .map(|(index, number, service, check)| {
                    let kept = self.check_counters.get(&(index, number)).cloned().unwrap_or_default();
                    status::CheckCounters {
                        service: service.name.clone(),
                        check: check.name.clone(),
                        timeouts: kept.timeouts,
                        durations: kept.durations,
                    }
                })
                .collect(),
            hooks: self.hook_counters(),
            announce_latency: self.counters.announce_latency.clone(),
            withdraw_latency: self.counters.withdraw_latency.clone(),
            send_errors: [("manage".to_owned(), self.counters.manage_failures)].into(),
            ..status::Counters::default()
        }
    }
}
