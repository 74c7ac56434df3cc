//! The relay of ICMP errors. Series are bounded: 64 interfaces, 1024 members, 32 MTUs a family.

use std::fmt;

use super::{Families, Snapshot};
use crate::pmtud::{Heard, Verdict};
use crate::status::Pmtud;

impl Snapshot {
    pub(super) fn pmtud(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let pmtud = &self.status.pmtud;
        if pmtud.enabled {
            relay(pmtud, families)?;
        }
        let host = &pmtud.host;
        families.counter(
            "anycaster_pmtud_host_icmp_errors",
            "ICMP messages of no use to this host (IcmpInErrors, Icmp6InErrors): mostly about connections of others",
            [("ipv4", host.ipv4_errors), ("ipv6", host.ipv6_errors)]
                .into_iter()
                .filter_map(|(family, count)| Some((vec![("family", family)], count?))),
        )?;
        families.counter(
            "anycaster_pmtud_host_out_of_window",
            "ICMP errors about a connection here, but not about what is on its way (OutOfWindowIcmps): duplicates",
            host.out_of_window.map(|count| (vec![], count)),
        )
    }
}

fn relay(pmtud: &Pmtud, families: &mut Families<'_, '_>) -> fmt::Result {
    families.counter(
        "anycaster_pmtud_packets",
        "Captured ICMP errors by interface, family and what became of them",
        pmtud.interfaces.iter().flat_map(|interface| {
            ["ipv4", "ipv6"].into_iter().flat_map(move |family| {
                // Zeros too: a series that begins at 1 hides its first increase.
                Verdict::ALL.into_iter().map(move |verdict| {
                    let counts = interface.packets.get(family);
                    let count = counts.and_then(|counts| counts.get(verdict.name())).copied().unwrap_or(0);
                    let labels =
                        vec![("interface", interface.name.as_str()), ("family", family), ("verdict", verdict.name())];
                    (labels, count)
                })
            })
        }),
    )?;
    families.counter(
        "anycaster_pmtud_relay_received",
        "Datagrams from members by what became of them",
        Heard::ALL
            .into_iter()
            .map(|heard| (vec![("verdict", heard.name())], pmtud.received.get(heard.name()).copied().unwrap_or(0))),
    )?;
    let members: Vec<(String, u64)> =
        pmtud.members.iter().map(|member| (member.address.to_string(), member.relayed)).collect();
    families.counter(
        "anycaster_pmtud_relayed",
        "Copies handed to the kernel for each member",
        members.iter().map(|(address, count)| (vec![("member", address.as_str())], *count)),
    )?;
    families.counter(
        "anycaster_pmtud_mtu",
        "Errors that were believed, by family and MTU",
        pmtud.mtus.iter().flat_map(|(family, counts)| {
            counts.iter().map(|(mtu, count)| (vec![("family", family.as_str()), ("mtu", mtu.as_str())], *count))
        }),
    )
}

#[cfg(test)]
mod tests;
