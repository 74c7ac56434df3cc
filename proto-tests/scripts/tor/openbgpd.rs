//! OpenBGPD in the scenarios.

use std::fmt::Write as _;
use std::process::Command;

use super::{NETWORKS, ROUTER, Tor, address};
use crate::lab::namespace::Namespace;
use crate::lab::openbgpd::{OpenBgpd, PROGRAM};
use crate::lab::router::tellers;

impl Tor for OpenBgpd {
    fn version(&self) -> String {
        let output = Command::new(PROGRAM).arg("-V").output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()
    }

    fn tell(&self, number: usize, words: &[&str]) {
        let neighbor = &address(number);
        let (said, good) = match words {
            ["shutdown", text @ ..] => {
                (self.bgpctl_words(&["neighbor", neighbor, "down", &text.join(" ")]), "request processed")
            }
            ["reset"] => (self.bgpctl(&format!("neighbor {neighbor} clear")), "request processed"),
            ["refresh"] => (self.bgpctl(&format!("neighbor {neighbor} refresh")), "request processed"),
            ["forget"] => {
                let own = format!("neighbor {neighbor} ");
                let without = |text: &str| {
                    text.lines().filter(|line| !line.starts_with(&own)).fold(String::new(), |a, b| a + b + "\n")
                };
                (self.reconfigure(without), "")
            }
            unknown => panic!("tor {unknown:?}"),
        };
        assert!(said.contains(good), "{words:?}: {said}");
    }

    fn tellers(&self, prefix: &str) -> Vec<String> {
        tellers(self, prefix)
    }

    fn ends_rib(&self) -> bool {
        false
    }
}

pub(crate) fn openbgpd(namespace: Namespace, hosts: usize) -> OpenBgpd {
    OpenBgpd::with_config(namespace, &openbgpd_text(hosts))
}

fn openbgpd_text(hosts: usize) -> String {
    let mut text =
        format!("AS 65001\nrouter-id {ROUTER}\nfib-update no\nrde evaluate all\nholdtime 90\nlisten on {ROUTER}\n");
    for (_, network) in NETWORKS {
        let _ = writeln!(text, "network {network}");
    }
    text.push_str(
        "group \"hosts\" {\nannounce IPv4 unicast\nannounce IPv6 unicast\nannounce enhanced refresh yes\npassive\n\
         max-prefix 2\n",
    );
    for neighbor in (1..=hosts).map(address) {
        let _ = writeln!(text, "neighbor {neighbor} {{ remote-as 4200000001 }}");
    }
    text.push_str("}\nallow from group \"hosts\"\n");
    for (_, network) in NETWORKS {
        let _ = writeln!(text, "allow to group \"hosts\" prefix {network}");
    }
    text
}
