//! BIRD 2 in the scenarios.

use std::fmt::Write as _;

use super::{NETWORKS, ROUTER, Tor, address, peers};
use crate::lab::bird::Bird;
use crate::lab::namespace::Namespace;
use crate::lab::router::tellers;

impl Tor for Bird {
    fn version(&self) -> String {
        let said = self.birdc("show status");
        let line = said.lines().find(|line| line.starts_with("BIRD ") && !line.contains("ready"));
        line.unwrap_or("BIRD ?").trim().to_owned()
    }

    fn tell(&self, number: usize, words: &[&str]) {
        let (said, good) = match words {
            ["shutdown", text @ ..] => (self.birdc(&format!("disable h{number} \"{}\"", text.join(" "))), "disabled"),
            ["reset"] => (self.birdc(&format!("restart h{number}")), "restarted"),
            ["refresh"] => (self.birdc(&format!("reload in h{number}")), "reloading"),
            ["forget"] => {
                let own = format!("protocol bgp h{number} ");
                let without =
                    |text: &str| text.lines().filter(|line| !line.starts_with(&own)).collect::<Vec<_>>().join("\n");
                (self.reconfigure(without), "onfigur")
            }
            unknown => panic!("tor {unknown:?}"),
        };
        assert!(said.contains(good), "{words:?}: {said}");
    }

    fn tellers(&self, prefix: &str) -> Vec<String> {
        tellers(self, prefix)
    }

    fn ends_rib(&self) -> bool {
        true
    }

    /// 2.0.12 sends the data of these from a buffer that another connection may have used in the meantime.
    fn random(&self) -> &'static [&'static str] {
        &["NOTIFICATION 2/1 data=", "NOTIFICATION 2/2 data="]
    }
}

pub(crate) fn bird(namespace: Namespace, hosts: usize) -> Bird {
    Bird::with_config(namespace, &bird_text(hosts), &peers(hosts))
}

fn bird_text(hosts: usize) -> String {
    let mut text = format!("router id {ROUTER};\nprotocol device {{}}\n");
    for (family, network) in NETWORKS {
        let _ = writeln!(text, "protocol static s{family} {{ {family}; route {network} blackhole; }}");
    }
    let channel = "import limit 2 action disable; import all; export where source = RTS_STATIC;";
    let _ = writeln!(
        text,
        "template bgp HOST {{ local {ROUTER} as 65001; passive yes; hold time 90;\nipv4 {{ {channel} }};\n\
         ipv6 {{ {channel} }};\n}}"
    );
    for number in 1..=hosts {
        let neighbor = address(number);
        let _ = writeln!(text, "protocol bgp h{number} from HOST {{ neighbor {neighbor} as 4200000001; }}");
    }
    text
}
