//! `[neighbors.NAME]` over `[neighbor-defaults]`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::report::{At, Fault, Report};
use super::tree::{Keys, Table, Value};
use super::values;
use super::{Families, LinkBandwidthMode, Neighbor, NextHopPolicy, PeerAsn, Policy};
use crate::bgp::wire::{self, Asn};

pub(super) const NEIGHBOR: Keys = Keys {
    shared: &[],
    now: &[
        "address",
        "asn",
        "enabled",
        "port",
        "local-asn",
        "families",
        "hold-time",
        "min-hold-time",
        "connect-retry",
        "idle-hold",
        "idle-hold-max",
        "send-hold-time",
        "link-bandwidth",
        "communities",
        "large-communities",
        "med",
        "prepend",
        "next-hop",
    ],
    later: &[
        "interface",
        "source",
        "device",
        "passive",
        "multihop",
        "password-file",
        "ttl-security",
        "bfd",
        "graceful-restart",
        "role",
        "role-strict",
    ],
};

/// Each side of [`Policy`] (service and neighbor) may have so many of each kind: both together, with the longest path,
/// leave more than a third of a 4096-octet UPDATE to prefixes.
const COMMUNITIES_AT_MOST: usize = 64;
// What may be configured goes out whole; beside it graceful-shutdown, where a route is depreferred.
const _: () = assert!(2 * COMMUNITIES_AT_MOST < wire::MAX_COMMUNITIES);
const _: () = assert!(2 * COMMUNITIES_AT_MOST <= wire::MAX_LARGE_COMMUNITIES);

/// Longer paths are dropped by some networks, and do not move traffic any further.
const PREPEND_AT_MOST: u8 = 10;

const LINK_BANDWIDTH: [(&str, LinkBandwidthMode); 3] = [
    ("transitive", LinkBandwidthMode::Transitive),
    ("non-transitive", LinkBandwidthMode::NonTransitive),
    ("off", LinkBandwidthMode::Off),
];

/// One neighbor as far as it could be read, and where what it says stands.
pub(super) struct NeighborRead {
    pub(super) name: String,
    pub(super) address_at: At,
    pub(super) hold_time_at: At,
    pub(super) local_asn_at: At,
    pub(super) next_hop_at: At,
    /// `None` where address or AS could not be read.
    pub(super) neighbor: Option<Neighbor>,
}

pub(super) fn neighbors(root: &Table<'_>, report: &mut Report) -> Vec<NeighborRead> {
    let defaults = root.table("neighbor-defaults", report);
    if let Some(defaults) = &defaults {
        defaults.check(&NEIGHBOR, &[], report);
    }
    let tables = root.named("neighbors", report);
    tables.into_iter().map(|(name, table)| neighbor(name, table, defaults.as_ref(), report)).collect()
}

fn neighbor(name: &str, table: Table<'_>, defaults: Option<&Table<'_>>, report: &mut Report) -> NeighborRead {
    if let Err(fault) = values::name(name) {
        report.push(fault.at(&table.at));
    }
    table.check(&NEIGHBOR, &[], report);
    let table = table.or(defaults);
    let address = if table.get("interface").is_some() && table.get("address").is_none() {
        None
    } else {
        table.need("address", report, address)
    };
    let asn = table.need("asn", report, peer_asn);
    let fields = fields(name, &table, report);
    let build = |(address, asn)| fields(address, asn);
    NeighborRead {
        name: name.to_owned(),
        address_at: table.at("address"),
        hold_time_at: table.at("hold-time"),
        local_asn_at: table.at("local-asn"),
        next_hop_at: table.at("next-hop"),
        neighbor: address.zip(asn).map(build),
    }
}

/// Everything but address and AS; what cannot be read is reported and stands at its default.
fn fields(name: &str, table: &Table<'_>, report: &mut Report) -> impl FnOnce(IpAddr, PeerAsn) -> Neighbor + use<> {
    let name = name.to_owned();
    let enabled = table.read("enabled", report, Value::boolean).unwrap_or(true);
    let port = table.read("port", report, values::port).unwrap_or(179);
    let local_asn: Option<Asn> = table.read("local-asn", report, values::asn);
    let families = families(table, report);
    let hold_time = table.read("hold-time", report, values::hold_time).unwrap_or(9);
    let min_hold_time = table.read("min-hold-time", report, values::hold_time).unwrap_or(3);
    if hold_time == 0 && min_hold_time != 0 {
        let fault = Fault::new("hold-time \"0s\" needs min-hold-time \"0s\"", "our own offer would be refused");
        report.push(fault.at(&table.at("hold-time")));
    }
    let seconds = |key: &str, default: u64, report: &mut Report| {
        table.read(key, report, values::duration).unwrap_or(Duration::from_secs(default))
    };
    let connect_retry = seconds("connect-retry", 5, report);
    let idle_hold_max = seconds("idle-hold-max", 60, report);
    // A default does not contradict what is written.
    let idle_hold = table.read("idle-hold", report, values::duration);
    let idle_hold = idle_hold.unwrap_or(Duration::from_secs(1).min(idle_hold_max));
    if idle_hold > idle_hold_max {
        let (least, most) = (values::written(idle_hold), values::written(idle_hold_max));
        let fault = Fault::new("idle-hold is longer than idle-hold-max", format!("\"{least}\" is above \"{most}\""));
        report.push(fault.at(&table.at("idle-hold")));
    }
    let send_hold_time = table.read("send-hold-time", report, send_hold_time);
    let link_bandwidth = table.read("link-bandwidth", report, |v| values::word(v, &LINK_BANDWIDTH));
    let policy = policy(table, report);
    let next_hop = table.read("next-hop", report, next_hop).unwrap_or_default();
    move |address, asn| Neighbor {
        name,
        address,
        asn,
        enabled,
        port,
        local_asn,
        families,
        hold_time,
        min_hold_time,
        connect_retry,
        idle_hold,
        idle_hold_max,
        send_hold_time,
        link_bandwidth: link_bandwidth.unwrap_or(LinkBandwidthMode::Transitive),
        policy,
        next_hop,
    }
}

fn address(value: &Value<'_>) -> Result<IpAddr, Fault> {
    let address = values::address(value)?;
    if values::link_local(address) {
        return Err(Fault::new(
            format!("{address} is link-local and needs an interface"),
            "`interface` is not supported yet; use a global address",
        ));
    }
    Ok(address)
}

fn peer_asn(value: &Value<'_>) -> Result<PeerAsn, Fault> {
    match value.text() {
        Ok(text) if !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) => {
            values::word(value, &[("external", PeerAsn::External), ("internal", PeerAsn::Internal)])
        }
        Ok(_) | Err(_) => values::asn(value).map(PeerAsn::Is),
    }
}

fn families(table: &Table<'_>, report: &mut Report) -> Families {
    let all = Families { ipv4: true, ipv6: true };
    let only4 = Families { ipv4: true, ipv6: false };
    let only6 = Families { ipv4: false, ipv6: true };
    let read = table.list("families", report, |v| values::word(v, &[("ipv4", only4), ("ipv6", only6)]));
    let Some(read) = read else { return all };
    let whole = table.get("families").and_then(|entry| entry.value.items().ok()).is_some_and(|i| i.is_empty());
    if whole {
        let fault = Fault::new("a neighbor needs a family", "should name \"ipv4\", \"ipv6\" or both");
        report.push(fault.at(&table.at("families")));
    }
    twice(&read, |family| if family.ipv4 { "ipv4".to_owned() } else { "ipv6".to_owned() }, report);
    Families { ipv4: read.iter().any(|(_, f)| f.ipv4), ipv6: read.iter().any(|(_, f)| f.ipv6) }
}

/// Reports what stands in a list more than once.
pub(super) fn twice<T>(list: &[(At, T)], show: impl Fn(&T) -> String, report: &mut Report) {
    let mut first_at: BTreeMap<String, &At> = BTreeMap::new();
    for (at, item) in list {
        let shown = show(item);
        match first_at.get(&shown) {
            Some(first) => {
                let fault = Fault::new(format!("{shown} stands here twice"), "again");
                report.push(fault.at(at).also(first, "first"));
            }
            None => {
                first_at.insert(shown, at);
            }
        }
    }
}

/// RFC 9687: longer than a hold time, or never; 0 would end every session at its first write.
fn send_hold_time(value: &Value<'_>) -> Result<Duration, Fault> {
    let span = values::duration(value)?;
    if span.is_zero() {
        return Err(Fault::new("send-hold-time cannot be zero", "would end every session at its first write")
            .help("without it: 8 minutes, or twice the hold time where that is longer"));
    }
    Ok(span)
}

fn next_hop(value: &Value<'_>) -> Result<NextHopPolicy, Fault> {
    if value.text()? == "self" {
        return Ok(NextHopPolicy::default());
    }
    let address = values::address(value).map_err(|fault| fault.help("or \"self\": the session's own address"))?;
    if address.is_loopback() || values::link_local(address) {
        return Err(Fault::new(format!("{address} cannot be a next hop"), "a router could not reach it"));
    }
    Ok(match address {
        IpAddr::V4(v4) => NextHopPolicy { ipv4: Some(v4), ipv6: None },
        IpAddr::V6(v6) => NextHopPolicy { ipv4: None, ipv6: Some(v6) },
    })
}

/// The attributes that services and neighbors share.
pub(super) fn policy(table: &Table<'_>, report: &mut Report) -> Policy {
    let mut communities = Vec::new();
    if let Some(list) = table.list("communities", report, values::community) {
        few(table, "communities", list.len(), report);
        communities = list.into_iter().map(|(_, community)| community).collect();
        communities.sort_unstable();
        communities.dedup();
    }
    let mut large_communities = Vec::new();
    if let Some(list) = table.list("large-communities", report, values::large_community) {
        few(table, "large-communities", list.len(), report);
        large_communities = list.into_iter().map(|(_, community)| community).collect();
        large_communities.sort_unstable();
        large_communities.dedup();
    }
    let med = table.read("med", report, |v| values::small::<u32>(v, 0, u32::MAX));
    let prepend = table.read("prepend", report, |v| values::small::<u8>(v, 0, PREPEND_AT_MOST)).unwrap_or(0);
    Policy { communities, large_communities, med, prepend }
}

fn few(table: &Table<'_>, key: &str, count: usize, report: &mut Report) {
    if count > COMMUNITIES_AT_MOST {
        let fault = Fault::new(format!("too many {key}"), format!("{count}; at most {COMMUNITIES_AT_MOST}"));
        report.push(fault.at(&table.at(key)));
    }
}
