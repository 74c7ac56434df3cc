//! GoBGP 3 in the scenarios.

use std::fmt::Write as _;
use std::process::Command;

use super::{NETWORKS, ROUTER, Tor, address};
use crate::lab::gobgp::GoBgp;
use crate::lab::namespace::Namespace;
use crate::lab::router::{Router as _, tellers};
use crate::lab::{seconds, wait_for};

impl Tor for GoBgp {
    fn version(&self) -> String {
        let said = self.namespace().run("gobgpd --version");
        format!("GoBGP {}", said.trim().rsplit(' ').next().unwrap_or("?"))
    }

    fn tell(&self, number: usize, words: &[&str]) {
        let neighbor = address(number);
        let said = match words {
            ["shutdown", text @ ..] => {
                let mut command = Command::new("gobgp");
                // `disable`, which it recommends instead, loses the text.
                command.args(["neighbor", &neighbor, "shutdown", "--reason", &text.join(" ")]);
                let output = self.namespace().within(|| command.output()).unwrap();
                let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
                said.replace("WARNING: command `shutdown` is deprecated. use `disable` instead", "")
            }
            ["reset"] => self.gobgp(&format!("neighbor {neighbor} reset")),
            ["refresh"] => ["ipv4", "ipv6"]
                .map(|family| self.gobgp(&format!("neighbor {neighbor} softresetin -a {family}")))
                .concat(),
            ["forget"] => self.gobgp(&format!("neighbor del {neighbor}")),
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

    /// The machine's name.
    fn random(&self) -> &'static [&'static str] {
        &["caps=refresh,hostname:"]
    }
}

pub(crate) fn gobgp(namespace: Namespace, hosts: usize) -> GoBgp {
    let gobgp = GoBgp::with_config(namespace, &gobgp_text(hosts));
    for (family, network) in NETWORKS {
        let said = gobgp.gobgp(&format!("global rib add -a {family} {network}"));
        assert_eq!(said.trim(), "");
    }
    wait_for_active(&gobgp, hosts);
    gobgp
}

/// In Idle it closes what comes in.
fn wait_for_active(gobgp: &GoBgp, neighbors: usize) {
    wait_for("GoBGP to listen to its neighbors", seconds(15), || {
        let said = gobgp.gobgp("-j neighbor");
        let active = said.matches("\"session_state\":3").count();
        if active >= neighbors { Ok(()) } else { Err(said) }
    });
}

fn gobgp_text(hosts: usize) -> String {
    let mut text = format!(
        "[global.config]\nas = 65001\nrouter-id = \"{ROUTER}\"\n[global.apply-policy.config]\n\
         export-policy-list = [\"own\"]\ndefault-export-policy = \"reject-route\"\n[[policy-definitions]]\n\
         name = \"own\"\n"
    );
    for (family, _) in NETWORKS {
        let _ = write!(
            text,
            "[[policy-definitions.statements]]\nname = \"{family}\"\n\
             [policy-definitions.statements.conditions.match-prefix-set]\nprefix-set = \"{family}\"\n\
             [policy-definitions.statements.actions]\nroute-disposition = \"accept-route\"\n"
        );
    }
    for (family, network) in NETWORKS {
        let _ = write!(
            text,
            "[[defined-sets.prefix-sets]]\nprefix-set-name = \"{family}\"\n\
             [[defined-sets.prefix-sets.prefix-list]]\nip-prefix = \"{network}\"\n"
        );
    }
    for neighbor in (1..=hosts).map(address) {
        let _ = write!(
            text,
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{neighbor}\"\npeer-as = 4200000001\n\
             [neighbors.transport.config]\npassive-mode = true\n[neighbors.timers.config]\nhold-time = 90\n\
             idle-hold-time-after-reset = 1\n"
        );
        for (family, _) in NETWORKS {
            let _ = write!(
                text,
                "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}-unicast\"\n\
                 [neighbors.afi-safis.prefix-limit.config]\nmax-prefixes = 2\n"
            );
        }
    }
    text
}
