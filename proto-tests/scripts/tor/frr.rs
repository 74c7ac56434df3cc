//! FRR 8.4 in the scenarios.

use std::fmt::Write as _;

use super::{NETWORKS, ROUTER, Tor, address};
use crate::lab::frr::Frr;
use crate::lab::namespace::Namespace;
use crate::lab::router::tellers;
use crate::lab::{seconds, wait_for};

impl Tor for Frr {
    fn version(&self) -> String {
        let said = self.vtysh("show version");
        format!("FRR {}", said.split_whitespace().nth(1).unwrap_or("?"))
    }

    fn tell(&self, number: usize, words: &[&str]) {
        let neighbor = address(number);
        let configure = |line: &str| self.vtysh_lines(&["configure terminal", "router bgp 65001", line]);
        let said = match words {
            ["shutdown", text @ ..] => configure(&format!("neighbor {neighbor} shutdown message {}", text.join(" "))),
            ["reset"] => self.vtysh(&format!("clear bgp {neighbor}")),
            ["refresh"] => self
                .vtysh_lines(&["ipv4", "ipv6"].map(|family| format!("clear bgp {family} unicast {neighbor} soft in"))),
            ["forget"] => configure(&format!("no neighbor {neighbor}")),
            unknown => panic!("tor {unknown:?}"),
        };
        assert_eq!(said.trim(), "", "{words:?}");
    }

    fn tellers(&self, prefix: &str) -> Vec<String> {
        tellers(self, prefix)
    }

    fn ends_rib(&self) -> bool {
        false
    }

    fn shuffles(&self) -> bool {
        true
    }
}

pub(crate) fn frr(namespace: Namespace, hosts: usize) -> Frr {
    let frr = Frr::with_config(namespace, &frr_text(hosts));
    wait_for("FRR to listen to its neighbors", seconds(15), || {
        let said = frr.vtysh("show bgp neighbors json");
        let active = said.matches("\"bgpState\":\"Active\"").count();
        if active >= hosts { Ok(()) } else { Err(said) }
    });
    frr
}

fn frr_text(hosts: usize) -> String {
    let mut text = format!(
        "hostname tor\nrouter bgp 65001\n bgp router-id {ROUTER}\n no bgp ebgp-requires-policy\n \
         no bgp default ipv4-unicast\n no bgp network import-check\n coalesce-time 20\n"
    );
    for neighbor in (1..=hosts).map(address) {
        let _ = write!(
            text,
            " neighbor {neighbor} remote-as 4200000001\n neighbor {neighbor} timers 30 90\n \
             neighbor {neighbor} passive\n"
        );
    }
    for (family, network) in NETWORKS {
        let _ = writeln!(text, " address-family {family} unicast\n  network {network}");
        for neighbor in (1..=hosts).map(address) {
            let _ = write!(
                text,
                "  neighbor {neighbor} activate\n  neighbor {neighbor} maximum-prefix 2\n  \
                 neighbor {neighbor} prefix-list OURS out\n"
            );
        }
        text.push_str(" exit-address-family\n");
    }
    for (family, network) in NETWORKS {
        let word = if family == "ipv4" { "ip" } else { "ipv6" };
        let _ = writeln!(text, "{word} prefix-list OURS seq 5 permit {network}");
    }
    text
}
