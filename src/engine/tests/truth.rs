//! What the routers must have, from the host and the configuration alone: no word of the engine's or the plan's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::router::{Nature, Said};
use super::talk::Means;
use super::world::{ETH0, World};
use crate::bgp::wire::{Asn, Community, Family};
use crate::config::{LinkBandwidthMode, Listen, Neighbor, Quorum, Service, Target, WhenDown};
use crate::engine::Hook;
use crate::engine::services::State;
use crate::health::Verdict;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Well,
    Depreferred,
    Not,
}

impl World {
    /// Of the router of this neighbor.
    pub(super) fn expected(&self, neighbor: usize) -> BTreeMap<IpNet, Said> {
        let (config, nature) = (&self.engine.config, &self.routers[self.slots[neighbor]].nature);
        let settings = &config.neighbors[neighbor];
        let ours = settings.spoken_asn(config.router.asn);
        let offer = Means::Offer { asn: nature.asn, hold: nature.hold };
        if !settings.enabled || offer.for_neighbor(settings, ours.get()) != Means::Open(None) {
            return BTreeMap::new();
        }
        let mut expected = BTreeMap::new();
        for service in config.services.iter().filter(|service| service.neighbors.contains(&neighbor)) {
            for prefix in &service.prefixes {
                let family = Family::of(prefix);
                let spoken = settings.families.has(family) && nature.speaks(family);
                let Some(hop) = self.next_hop(settings, nature, family).filter(|_| spoken) else { continue };
                let deprefer = match self.stands(service, prefix) {
                    Stands::Well => false,
                    Stands::Depreferred => true,
                    Stands::Not => continue,
                };
                expected.insert(*prefix, on_the_wire(service, settings, nature, ours, (family, hop), deprefer));
            }
        }
        expected
    }

    /// CONTRACT, `families` and `next-hop`.
    fn next_hop(&self, settings: &Neighbor, nature: &Nature, family: Family) -> Option<IpAddr> {
        let own: IpAddr = if settings.address.is_ipv4() { "10.0.0.10" } else { "fd00::10" }.parse().unwrap();
        let extended = own.is_ipv6() && settings.families.ipv4 && nature.capabilities.extended_next_hop;
        let (fixed, is_own) = match family {
            Family::Ipv4 => (settings.next_hop.ipv4.map(IpAddr::V4), own.is_ipv4() || extended),
            Family::Ipv6 => (settings.next_hop.ipv6.map(IpAddr::V6), own.is_ipv6()),
        };
        let beside = || {
            // The interface is the one that has the session's address.
            let fits = |a: &&IpAddr| a.is_ipv4() == (family == Family::Ipv4) && self.place(**a) == ETH0;
            self.usable(own).then(|| self.addresses.iter().filter(fits).min().copied()).flatten()
        };
        fixed.or_else(|| is_own.then_some(own)).or_else(beside)
    }

    /// Addresses of this host inside the prefix that belong to it, by longest match.
    fn inside(&self, service: &Service, prefix: &IpNet) -> Vec<IpAddr> {
        let config = &self.engine.config;
        let others = config.services.iter().filter(|other| other.name != service.name);
        let inner: Vec<&IpNet> =
            others.flat_map(|other| &other.prefixes).filter(|net| *net != prefix && prefix.contains(*net)).collect();
        let usable = self.addresses.iter().filter(|address| self.usable(**address) && self.right(service, **address));
        let inside = usable.filter(|address| prefix.contains(*address));
        inside.filter(|address| !inner.iter().any(|net| net.contains(*address))).copied().collect()
    }

    fn right(&self, service: &Service, address: IpAddr) -> bool {
        let name = self.interfaces.get(&self.place(address)).copied();
        service.binding.interface.as_deref().is_none_or(|wanted| name == Some(wanted))
    }

    /// Addresses to check, and addresses to ask about: not the same where only a route binds the prefix.
    fn bound(&self, service: &Service, prefix: &IpNet) -> Option<(Vec<IpAddr>, Vec<IpAddr>)> {
        let inside = self.inside(service, prefix);
        if !inside.is_empty() {
            return Some((inside.clone(), inside));
        }
        let host = prefix.prefix_len() == prefix.max_prefix_len();
        let on_lo = service.binding.interface.as_deref().is_none_or(|wanted| wanted == "lo");
        // The kernel has a host route for an address that is not usable yet.
        let waits =
            |route: &IpNet| route.prefix_len() == route.max_prefix_len() && self.tentative.contains(&route.addr());
        let routed = self.routes.iter().any(|route| route.contains(prefix) && !waits(route));
        match (on_lo && routed, host) {
            (false, _) => None,
            (true, true) => Some((vec![prefix.addr()], vec![prefix.addr()])),
            (true, false) => Some((vec![], vec![prefix.network()])),
        }
    }

    fn stands(&self, service: &Service, prefix: &IpNet) -> Stands {
        if self.drained(service) { Stands::Not } else { self.serves_on(service, prefix) }
    }

    fn drained(&self, service: &Service) -> bool {
        service.weight == 0 || self.disable_file && service.health.disable_file.is_some()
    }

    /// Some prefix could be announced, drained or not.
    fn serves(&self, service: &Service) -> bool {
        service.prefixes.iter().any(|prefix| self.serves_on(service, prefix) != Stands::Not)
    }

    fn serves_on(&self, service: &Service, prefix: &IpNet) -> Stands {
        let needed = |index: &usize| self.serves(&self.engine.config.services[*index]);
        if !service.enabled || !service.depends_on.iter().all(needed) {
            return Stands::Not;
        }
        let Some((addresses, ask)) = self.bound(service, prefix) else { return Stands::Not };
        let heard = |listen: &Listen| {
            let at = listen.address.map_or_else(|| ask.clone(), |address| vec![address]);
            let there =
                |address: &IpAddr| self.listening.contains(&(listen.protocol, listen.port)) && self.is_local(*address);
            at.iter().all(there)
        };
        if !service.binding.listen.iter().all(heard) {
            return Stands::Not;
        }
        let counting = if service.health.per_prefix {
            addresses
        } else {
            let bound = |prefix| self.bound(service, prefix).map(|(addresses, _)| addresses).unwrap_or_default();
            service.prefixes.iter().flat_map(bound).collect()
        };
        self.healthy(service, &counting)
    }

    fn healthy(&self, service: &Service, addresses: &[IpAddr]) -> Stands {
        if service.checks.is_empty() {
            return Stands::Well;
        }
        let places: Vec<Option<IpAddr>> =
            if addresses.is_empty() { vec![None] } else { addresses.iter().copied().map(Some).collect() };
        let number = self.engine.config.services.iter().position(|other| other.name == service.name).unwrap();
        let mut worst = Stands::Well;
        for place in places {
            let verdict = |index: usize| {
                let target = match service.checks[index].target {
                    Target::Service => place,
                    Target::Address(address) => Some(address),
                };
                target.map_or(Verdict::Unknown, |target| {
                    if self.is_sick(number, index, target) { Verdict::Down } else { Verdict::Up }
                })
            };
            let of = |on_fail: WhenDown| {
                let all = (0..service.checks.len()).filter(move |index| service.checks[*index].on_fail == on_fail);
                all.map(verdict).collect::<Vec<_>>()
            };
            let (counting, shared) = (of(WhenDown::Withdraw), of(WhenDown::Deprefer));
            let count = |wanted| counting.iter().filter(|verdict| **verdict == wanted).count();
            let needed = match service.health.quorum {
                Quorum::All => counting.len(),
                Quorum::Any => counting.len().min(1),
                Quorum::AtLeast(number) => counting.len().min(number.get().into()),
            };
            let (up, unknown) = (count(Verdict::Up), count(Verdict::Unknown));
            if up + unknown < needed {
                match service.health.when_down {
                    WhenDown::Withdraw => return Stands::Not,
                    WhenDown::Deprefer => worst = Stands::Depreferred,
                }
            } else if up < needed || shared.contains(&Verdict::Unknown) {
                return Stands::Not;
            } else if shared.contains(&Verdict::Down) {
                worst = Stands::Depreferred;
            }
        }
        worst
    }

    /// The hook that ran last is that of the state a service came to rest in.
    pub(super) fn assert_hooks_have_followed(&self) {
        for (index, service) in self.engine.config.services.iter().enumerate().filter(|(_, service)| service.enabled) {
            let announced = service.prefixes.iter().any(|prefix| self.stands(service, prefix) != Stands::Not);
            let drained = self.drained(service);
            let last = self.hooked.get(&index).copied();
            let right = match (announced, drained) {
                (true, _) => last == Some(Hook::Up),
                (false, true) => last == Some(Hook::Drain),
                // One without a target finds out for ever, and may have been drained before that.
                (false, false) if self.engine.service_state(index) == State::Starting => last != Some(Hook::Up),
                (false, false) => matches!(last, None | Some(Hook::Down)),
            };
            assert!(right, "{}: announced {announced}, drained {drained}, the last hook was {last:?}", service.name);
        }
    }

    pub(super) fn assert_routers_have_the_plan(&self) {
        for neighbor in 0..self.slots.len() {
            let router = &self.routers[self.slots[neighbor]];
            assert_eq!(router.table, self.expected(neighbor), "{}", self.engine.config.neighbors[neighbor].name);
        }
    }
}

fn on_the_wire(
    service: &Service,
    neighbor: &Neighbor,
    nature: &Nature,
    ours: Asn,
    (family, hop): (Family, IpAddr),
    deprefer: bool,
) -> Said {
    let (internal, four) = (nature.asn == ours.get(), nature.capabilities.four_octet_asn.is_some());
    let times = 1 + usize::from(service.policy.prepend) + usize::from(neighbor.policy.prepend) + usize::from(deprefer);
    let short = u16::try_from(ours.get()).unwrap_or(23456);
    let path = |four: bool| {
        let mut path = vec![2, u8::try_from(times).unwrap()];
        for _ in 0..times {
            if four { path.extend(ours.get().to_be_bytes()) } else { path.extend(short.to_be_bytes()) }
        }
        if internal { vec![] } else { path }
    };
    let mut said = vec![(1, vec![service.origin as u8]), (2, path(four))];
    match hop {
        IpAddr::V4(hop) => said.push((3, hop.octets().to_vec())),
        IpAddr::V6(hop) => said.insert(0, (14, reach(family, hop))),
    }
    if let Some(med) = neighbor.policy.med.or(service.policy.med) {
        said.push((4, med.to_be_bytes().to_vec()));
    }
    if internal {
        let preference = if deprefer { 0 } else { service.local_preference };
        said.push((5, preference.to_be_bytes().to_vec()));
    }
    let mut communities: Vec<Community> = [&service.policy.communities[..], &neighbor.policy.communities].concat();
    if deprefer {
        communities.push(Community(0xFFFF_0000));
    }
    communities.sort_unstable();
    communities.dedup();
    if !communities.is_empty() {
        said.push((8, communities.iter().flat_map(|community| community.0.to_be_bytes()).collect()));
    }
    let first = match neighbor.link_bandwidth {
        LinkBandwidthMode::Transitive => Some(0),
        LinkBandwidthMode::NonTransitive => Some(0x40),
        LinkBandwidthMode::Off => None,
    };
    if let (Some(bandwidth), Some(first)) = (service.bandwidth, first) {
        let share = bandwidth.bytes_per_second * u64::from(if deprefer { 1 } else { service.weight }) / 100;
        said.push((16, [&[first, 4][..], &short.to_be_bytes(), &(share as f32).to_be_bytes()].concat()));
    }
    if !internal && !four && ours.get() > 65_535 {
        said.push((17, path(true)));
    }
    let mut large = [&service.policy.large_communities[..], &neighbor.policy.large_communities].concat();
    large.sort_unstable();
    large.dedup();
    if !large.is_empty() {
        let octets =
            |one: &crate::bgp::wire::LargeCommunity| [one.global, one.local1, one.local2].map(u32::to_be_bytes);
        said.push((32, large.iter().flat_map(octets).flatten().collect()));
    }
    said
}

/// MP_REACH_NLRI before its prefixes.
fn reach(family: Family, hop: Ipv6Addr) -> Vec<u8> {
    let afi = if family == Family::Ipv4 { 1 } else { 2 };
    [&[0, afi, 1, 16][..], &hop.octets()].concat()
}
