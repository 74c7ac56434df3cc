//! What only the whole configuration can break: who owns a prefix, who is whose neighbor, what has a bandwidth.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::depends;
use super::neighbor::NeighborRead;
use super::pmtud::{self, PmtudRead};
use super::report::{At, Fault, Report};
use super::router::RouterRead;
use super::service::ServiceRead;
use super::{CheckKind, Neighbor, PeerAsn, Quorum, WhenDown};

/// FRR 8 keeps bytes per second in 32 bits: a share above this wraps, and draws almost no traffic.
const WRAPS_AT: u64 = 1 << 32;
/// Without BFD, a router notices a dead host no sooner than this: what `check` still calls quick.
const QUICK_HOLD: u16 = 9;

pub(super) struct Read<'a> {
    pub(super) router: &'a RouterRead,
    pub(super) neighbors: &'a [NeighborRead],
    pub(super) services: &'a [ServiceRead],
    pub(super) pmtud: Option<&'a PmtudRead>,
}

pub(super) fn apply(read: &Read<'_>, report: &mut Report) {
    let owners = owners(read.services, report);
    router_id(read, &owners, report);
    sessions(read.neighbors, report);
    for neighbor in read.neighbors {
        addresses(neighbor, &owners, report);
        whose_as(neighbor, read.router, report);
        hold_time(neighbor, report);
    }
    for service in read.services {
        bandwidth(service, report);
        managed(service, report);
        quorum(service, report);
        watched(service, report);
        families(service, read.neighbors, report);
        environment(service, report);
    }
    depends::rules(read.services, report);
    if let Some(pmtud) = read.pmtud {
        unicast(pmtud, &owners, report);
    }
}

struct Owners<'a> {
    of: HashMap<IpNet, (&'a str, &'a At)>,
}

fn owners<'a>(services: &'a [ServiceRead], report: &mut Report) -> Owners<'a> {
    let mut of: HashMap<IpNet, (&str, &At)> = HashMap::new();
    for read in services {
        let name = read.service.name.as_str();
        for (at, prefix) in &read.prefixes {
            match of.get(prefix) {
                None => {
                    of.insert(*prefix, (name, at));
                }
                // Twice in one service was said when its list was read.
                Some((owner, _)) if *owner == name => {}
                Some((owner, first)) => {
                    let fault = Fault::new(format!("{prefix} belongs to two services"), format!("also in {name:?}"));
                    let fault = fault.help(
                        "a more specific prefix in another service is allowed: the longest match owns an address",
                    );
                    report.push(fault.at(at).also(first, format!("first in {owner:?}")));
                }
            }
        }
    }
    Owners { of }
}

impl Owners<'_> {
    /// The longest prefix of a service that contains the address.
    fn owner(&self, address: IpAddr) -> Option<(IpNet, &str, &At)> {
        let host = IpNet::from(address);
        (1..=host.prefix_len()).rev().find_map(|length| {
            let prefix = IpNet::new(address, length).ok()?.trunc();
            let (name, at) = self.of.get(&prefix)?;
            Some((prefix, *name, *at))
        })
    }
}

fn router_id(read: &Read<'_>, owners: &Owners<'_>, report: &mut Report) {
    let Some(router) = &read.router.router else { return };
    if let Some(id) = router.id
        && let Some((prefix, name, at)) = owners.owner(IpAddr::V4(id))
    {
        let fault = Fault::new("router.id lies in a service prefix", format!("{id} is in {prefix}"));
        let fault = fault.help("every member of the service would have the same id");
        report.push(fault.at(&read.router.id_at).also(at, format!("service {name:?}")));
    }
    let known: Vec<&Neighbor> = read.neighbors.iter().filter_map(|read| read.neighbor.as_ref()).collect();
    let all_read = known.len() == read.neighbors.len() && !known.is_empty();
    if !read.router.id_given && all_read && known.iter().all(|neighbor| neighbor.address.is_ipv6()) {
        let fault = Fault::new("`id` is required in [router]: no neighbor has an IPv4 address", "has no `id`");
        report.push(fault.help("any IPv4 address that only this host has").at(&read.router.at).missing());
    }
}

/// Two sessions to one place would fight over it (RFC 4271 §6.8).
fn sessions(neighbors: &[NeighborRead], report: &mut Report) {
    let mut seen: HashMap<(IpAddr, u16), &NeighborRead> = HashMap::new();
    for read in neighbors {
        let Some(neighbor) = &read.neighbor else { continue };
        match seen.get(&(neighbor.address, neighbor.port)) {
            None => {
                seen.insert((neighbor.address, neighbor.port), read);
            }
            Some(first) => {
                let place = format!("{} port {}", neighbor.address, neighbor.port);
                let fault = Fault::new(format!("two neighbors at {place}"), format!("neighbor {:?}", read.name));
                report.push(fault.at(&read.address_at).also(&first.address_at, format!("neighbor {:?}", first.name)));
            }
        }
    }
}

fn addresses(read: &NeighborRead, owners: &Owners<'_>, report: &mut Report) {
    let Some(neighbor) = &read.neighbor else { return };
    if let Some((prefix, name, at)) = owners.owner(neighbor.address) {
        let fault = Fault::new("a neighbor lies in a service prefix", format!("{} is in {prefix}", neighbor.address));
        let fault = fault.help("the host would speak to itself");
        report.push(fault.at(&read.address_at).also(at, format!("service {name:?}")));
    }
    let next_hops = [neighbor.next_hop.ipv4.map(IpAddr::V4), neighbor.next_hop.ipv6.map(IpAddr::V6)];
    for next_hop in next_hops.into_iter().flatten() {
        if let Some((prefix, name, at)) = owners.owner(next_hop) {
            let fault = Fault::new("next-hop lies in a service prefix", format!("{next_hop} is in {prefix}"));
            let fault = fault.help("the route would lead to itself");
            report.push(fault.at(&read.next_hop_at).also(at, format!("service {name:?}")));
        }
    }
}

/// Datagrams between members would go to any of them.
fn unicast(read: &PmtudRead, owners: &Owners<'_>, report: &mut Report) {
    let own = read.address.iter().map(|(at, address)| (at, *address, "address"));
    let members = read.members.iter().map(|(at, address)| (at, *address, "a member"));
    for (at, address, what) in own.chain(members) {
        if let Some((prefix, name, service_at)) = owners.owner(address) {
            report.push(pmtud::anycast(address, prefix, what).at(at).also(service_at, format!("service {name:?}")));
        }
    }
}

fn whose_as(read: &NeighborRead, router: &RouterRead, report: &mut Report) {
    let (Some(neighbor), Some(router)) = (&read.neighbor, &router.router) else { return };
    if neighbor.asn == PeerAsn::Internal
        && let Some(local) = neighbor.local_asn.filter(|local| *local != router.asn)
    {
        let label = format!("is {local}, but \"internal\" means {}", router.asn);
        let fault = Fault::new("local-asn contradicts asn = \"internal\"", label);
        report.push(fault.help(format!("for a peer in AS {local}: asn = {local}")).at(&read.local_asn_at));
    }
}

fn hold_time(read: &NeighborRead, report: &mut Report) {
    let Some(neighbor) = &read.neighbor else { return };
    let label = match neighbor.hold_time {
        0 => "0: a dead host is never noticed".to_owned(),
        seconds if seconds > QUICK_HOLD => format!("a dead host stays announced for {seconds} s"),
        _ => return,
    };
    let fault = Fault::new("neither BFD nor a hold time of 9 s or less", label);
    report.push(fault.at(&read.hold_time_at).warning());
}

fn bandwidth(read: &ServiceRead, report: &mut Report) {
    let service = &read.service;
    match service.bandwidth {
        None if !matches!(service.weight, 0 | 100) => {
            let label = format!("{} percent of what?", service.weight);
            let fault = Fault::new("a weight between 0 and 100 needs a bandwidth", label);
            report.push(fault.help("set bandwidth here or in [router], e.g. \"25Gbit\"").at(&read.weight_at));
        }
        Some(bandwidth) if bandwidth.share(service.weight) >= WRAPS_AT => {
            let gbit = bandwidth.share(service.weight) / 125_000_000;
            let fault =
                Fault::new("bandwidth above 34 Gbit/s", format!("{gbit} Gbit/s are announced for {:?}", service.name));
            let fault =
                fault.help("FRR 8 wraps at 2^32 bytes a second; all members count the same with any smaller number");
            report.push(fault.at(&read.bandwidth_at).warning());
        }
        None | Some(_) => {}
    }
}

fn managed(read: &ServiceRead, report: &mut Report) {
    if !read.service.binding.manage {
        return;
    }
    let host = |prefix: &IpNet| prefix.prefix_len() == prefix.max_prefix_len();
    if let Some((at, prefix)) = read.prefixes.iter().find(|(_, prefix)| !host(prefix)) {
        let fault = Fault::new("only host routes can be managed", "manage = true");
        report.push(fault.at(&read.manage_at).also(at, format!("{prefix} is more than one address")));
    }
}

fn quorum(read: &ServiceRead, report: &mut Report) {
    let counting = read.service.checks.iter().filter(|check| check.on_fail == WhenDown::Withdraw).count();
    let label = match read.service.health.quorum {
        Quorum::Any if counting == 0 => "no check counts".to_owned(),
        Quorum::AtLeast(_) if counting == 0 => "no check counts".to_owned(),
        Quorum::AtLeast(wanted) if usize::from(wanted.get()) > counting => match counting {
            1 => format!("{wanted} of 1 check that counts"),
            _ => format!("{wanted} of {counting} checks that count"),
        },
        Quorum::All | Quorum::Any | Quorum::AtLeast(_) => return,
    };
    if read.quorum_given && read.all_checks {
        let fault = Fault::new("the quorum can never be met", label);
        report.push(fault.help("checks with on-fail = \"deprefer\" do not count").at(&read.quorum_at));
    }
}

/// What an operator may not have meant.
fn watched(read: &ServiceRead, report: &mut Report) {
    if read.all_checks && read.service.checks.is_empty() && read.service.binding.listen.is_empty() {
        let fault = Fault::new(
            format!("service {:?} has no check and no listener", read.service.name),
            "the address alone decides",
        );
        report.push(fault.at(&read.at).warning());
    }
    for at in &read.insecure_at {
        let fault = Fault::new("certificates are not verified", "any server passes this check");
        report.push(fault.at(at).warning());
    }
}

/// execve(2) takes no string of more than 128 KiB, and every prefix of the service is in one.
const LONGEST_STRING: usize = 128 * 1024 - "PREFIXES=".len() - 1;

fn environment(read: &ServiceRead, report: &mut Report) {
    let service = &read.service;
    let hooks = &service.health.hooks;
    let runs = service.checks.iter().any(|check| matches!(check.kind, CheckKind::Exec(_)))
        || [&hooks.up, &hooks.down, &hooks.drain].into_iter().any(Option::is_some);
    if !runs {
        return;
    }
    let octets: usize = service.prefixes.iter().map(|prefix| prefix.to_string().len() + 1).sum();
    if octets > LONGEST_STRING {
        let label = format!("{} prefixes take {octets} bytes of {LONGEST_STRING}", service.prefixes.len());
        let fault =
            Fault::new(format!("service {:?} has more prefixes than a program can be told", service.name), label);
        report.push(fault.help("exec checks and hooks get all of them in PREFIXES: divide the service").at(&read.at));
    }
}

fn families(read: &ServiceRead, neighbors: &[NeighborRead], report: &mut Report) {
    let told: Vec<&Neighbor> = {
        let of = |index: &usize| neighbors.get(*index).and_then(|read| read.neighbor.as_ref());
        read.service.neighbors.iter().filter_map(of).collect()
    };
    if told.len() != read.service.neighbors.len() || told.is_empty() {
        return;
    }
    let carried = |prefix: &IpNet| match prefix {
        IpNet::V4(_) => told.iter().any(|neighbor| neighbor.families.ipv4),
        IpNet::V6(_) => told.iter().any(|neighbor| neighbor.families.ipv6),
    };
    if let Some((at, prefix)) = read.prefixes.iter().find(|(_, prefix)| !carried(prefix)) {
        let fault =
            Fault::new(format!("{prefix} is announced to nobody"), "no neighbor of this service has its family");
        report.push(fault.at(at).warning());
    }
}
