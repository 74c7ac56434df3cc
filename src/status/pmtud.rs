//! The relay of ICMP errors as operators see it: a pure function of what was counted.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Explanation, Step};
use crate::config;
use crate::pmtud::totals::{Family, Totals, Uplink};
use crate::pmtud::{Heard, Verdict};

/// The relay of ICMP errors. Without `[pmtud]` only `enabled` and `advice` say something.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pmtud {
    pub enabled: bool,
    /// "relay" or "broadcast"; null where it is not enabled.
    pub mode: Option<String>,
    pub dry_run: bool,
    pub interfaces: Vec<PmtudInterface>,
    pub members: Vec<PmtudMember>,
    /// Captured errors of all interfaces by verdict; those that never came are left out.
    pub packets: BTreeMap<String, u64>,
    /// Datagrams from members by verdict; those that never came are left out.
    pub received: BTreeMap<String, u64>,
    /// MTUs of the errors that were believed, by family and value; what did not fit is "other".
    pub mtus: BTreeMap<String, BTreeMap<String, u64>>,
    /// Of what members sent and could be judged: how much met its socket here, 0 to 1; null before the first. With N members
    /// and errors spread evenly, 1/(N-1) is as it should be.
    pub useful: Option<f64>,
    /// The list of members could not be read again: why. The last one goes on.
    pub members_error: Option<String>,
    /// Sentences for the operator; empty where there is nothing to do.
    pub advice: Vec<String>,
    /// What the kernel counts, with and without a relay.
    pub host: PmtudHost,
}

/// Of this network namespace, since it was made; null where the kernel does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PmtudHost {
    /// ICMP messages that were of no use here: mostly about connections that this host does not have.
    pub ipv4_errors: Option<u64>,
    pub ipv6_errors: Option<u64>,
    /// Errors about a connection that is here, but not about what is on its way: mostly duplicates.
    pub out_of_window: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PmtudInterface {
    pub name: String,
    /// Null while there is no such interface.
    pub mtu: Option<u32>,
    /// By family ("ipv4", "ipv6") and verdict; zeros are left out.
    pub packets: BTreeMap<String, BTreeMap<String, u64>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PmtudMember {
    pub address: IpAddr,
    pub relayed: u64,
    pub send_errors: u64,
}

impl Pmtud {
    /// `mtus`: of each configured interface.
    pub fn new(config: &config::Pmtud, totals: &Totals, mtus: &[Option<u32>]) -> Self {
        let interface = |(index, name): (usize, &String)| PmtudInterface {
            name: name.clone(),
            mtu: mtus.get(index).copied().flatten(),
            packets: totals.uplinks.get(index).map(by_family).unwrap_or_default(),
        };
        let mode = match config.mode {
            config::PmtudMode::Relay(_) => "relay",
            config::PmtudMode::Broadcast => "broadcast",
        };
        Self {
            enabled: true,
            mode: Some(mode.to_owned()),
            dry_run: config.dry_run,
            interfaces: config.interfaces.iter().enumerate().map(interface).collect(),
            members: totals.members.iter().map(PmtudMember::new).collect(),
            packets: named(Verdict::ALL.map(Verdict::name), &sum(&totals.uplinks)),
            received: named(Heard::ALL.map(Heard::name), &totals.heard),
            mtus: mtu_counts(totals),
            useful: useful(totals),
            members_error: None,
            advice: Vec::new(),
            host: PmtudHost::default(),
        }
    }

    /// One more step of `explain` while the relay runs. It is always ok: what is announced does not depend on it.
    /// `prefixes`: those of the configuration.
    pub fn step(&self, prefixes: Option<&[IpNet]>, explanation: &Explanation) -> Option<Step> {
        if !self.enabled {
            return None;
        }
        let prefix = explanation.prefix.parse::<IpNet>().ok()?;
        let listed = prefixes.map(|prefixes| prefixes.iter().any(|listed| listed.contains(&prefix)));
        let detail = match (listed, explanation.announced) {
            (Some(false), _) => "errors for it stay here: it is in none of pmtud.prefixes".to_owned(),
            (None, false) => "errors for it stay here: it is not announced".to_owned(),
            (Some(true), _) | (None, true) => self.whereto(),
        };
        Some(Step { step: "pmtud".to_owned(), ok: true, detail, since: None })
    }

    fn whereto(&self) -> String {
        let dry = if self.dry_run { ", but for dry-run = true" } else { "" };
        if self.mode.as_deref() == Some("broadcast") {
            return format!("errors for it are sent on to the whole segment{dry}");
        }
        match self.members.len() {
            0 => "errors for it stay here: there is no other member".to_owned(),
            1 => format!("errors for it are relayed to 1 member{dry}"),
            count => format!("errors for it are relayed to {count} members{dry}"),
        }
    }
}

impl PmtudMember {
    fn new(member: &crate::pmtud::totals::Member) -> Self {
        Self { address: member.address, relayed: member.relayed, send_errors: member.send_errors }
    }
}

const fn family(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

/// Those that are not zero.
fn named<'a>(
    names: impl IntoIterator<Item = &'static str>,
    counts: impl IntoIterator<Item = &'a u64>,
) -> BTreeMap<String, u64> {
    let counted = names.into_iter().zip(counts).filter(|(_, count)| **count > 0);
    counted.map(|(name, count)| (name.to_owned(), *count)).collect()
}

fn by_family(uplink: &Uplink) -> BTreeMap<String, BTreeMap<String, u64>> {
    let families = [Family::Ipv4, Family::Ipv6].into_iter().zip(&uplink.verdicts);
    let counts = families.map(|(of, counts)| (family(of).to_owned(), named(Verdict::ALL.map(Verdict::name), counts)));
    counts.filter(|(_, counts)| !counts.is_empty()).collect()
}

/// Of all interfaces and both families.
fn sum(uplinks: &[Uplink]) -> [u64; Verdict::ALL.len()] {
    let mut sums = [0; Verdict::ALL.len()];
    for counts in uplinks.iter().flat_map(|uplink| &uplink.verdicts) {
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    sums
}

fn mtu_counts(totals: &Totals) -> BTreeMap<String, BTreeMap<String, u64>> {
    let values = totals.mtus.iter().map(|(of, mtu, count)| (*of, mtu.to_string(), *count));
    let others = [Family::Ipv4, Family::Ipv6].into_iter().zip(totals.other_mtus);
    let others = others.filter(|(_, count)| *count > 0).map(|(of, count)| (of, "other".to_owned(), count));
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (of, mtu, count) in values.chain(others) {
        counts.entry(family(of).to_owned()).or_default().insert(mtu, count);
    }
    counts
}

fn useful(totals: &Totals) -> Option<f64> {
    // What could be sent, or would have been, met its socket all the same.
    let taken: u64 = [Heard::Injected, Heard::DryRun, Heard::SendError].map(|heard| totals.heard(heard)).iter().sum();
    let here = taken.saturating_sub(totals.unjudged);
    let all = u128::from(here) + u128::from(totals.heard(Heard::NotOwned));
    // In millionths: what fits into 32 bits becomes a float without loss.
    let millionths = (u128::from(here) * 1_000_000).checked_div(all)?;
    u32::try_from(millionths).ok().map(|millionths| f64::from(millionths) / 1e6)
}

#[cfg(test)]
mod tests;
