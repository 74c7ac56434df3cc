//! The four routers, configured alike: one neighbor for each scenario, two routes to announce, and room for two of ours.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::lab::bird::Bird;
use crate::lab::frr::Frr;
use crate::lab::gobgp::GoBgp;
use crate::lab::namespace::Namespace;
use crate::lab::openbgpd::{self, OpenBgpd};
use crate::lab::router::{Peer, Router as _, tellers};
use crate::lab::{seconds, wait_for};

pub(crate) const ROUTER: &str = "10.0.0.1";

/// Of host `number`, from 1 on.
pub(crate) fn address(number: usize) -> String {
    format!("10.0.0.{}", 10 + number)
}

pub(crate) trait Tor: Sync {
    /// "FRR 8.4.4"
    fn version(&self) -> String;

    /// The words of a `tor` line, for one neighbor.
    fn tell(&self, number: usize, words: &[&str]);

    /// The addresses of the hosts whose route for this prefix it has.
    fn tellers(&self, prefix: &str) -> Vec<String>;

    /// Whether it sends End-of-RIB to who does not offer graceful restart, as we.
    fn ends_rib(&self) -> bool;

    /// What it says with octets behind it that are others each time.
    fn random(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether the order in which it says its first routes is a matter of chance.
    fn shuffles(&self) -> bool {
        false
    }

    /// What a word of `await` stands for.
    fn meaning(&self, word: &str) -> Option<Vec<&'static str>> {
        let [(_, v4), (_, v6)] = NETWORKS;
        Some(match (word, self.ends_rib()) {
            ("ipv4-routes", false) => vec![v4],
            ("ipv4-routes", true) => vec![v4, "EOR "],
            ("ipv6-routes", false) => vec![v6],
            ("ipv6-routes", true) => vec![v6, "EOR ipv6 "],
            ("ipv6-again", _) => vec![v6],
            _ => return None,
        })
    }
}

/// All that scenarios announce.
const ROUTES: [&str; 6] =
    ["192.0.2.53/32", "192.0.2.54/32", "192.0.2.55/32", "192.0.2.56/32", "2001:db8::53/128", "2001:db8::54/128"];

/// The router's table of our routes. Forty scenarios ask at once, and the programs that answer are slow: whoever had to
/// wait for another's answer takes that, if it began after the question.
pub(crate) struct Table<'a> {
    tor: &'a dyn Tor,
    taken: Mutex<Option<Snapshot>>,
}

/// When it began, and who told each prefix.
type Snapshot = (Instant, Vec<(&'static str, Vec<String>)>);

impl<'a> Table<'a> {
    pub(crate) fn new(tor: &'a dyn Tor) -> Self {
        Self { tor, taken: Mutex::new(None) }
    }

    pub(crate) fn routes_of(&self, number: usize) -> Vec<&'static str> {
        let asked = Instant::now();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, table) = match taken.take().filter(|(began, _)| *began >= asked) {
            Some(fresh) => taken.insert(fresh),
            None => {
                let began = Instant::now();
                taken.insert((began, ROUTES.map(|prefix| (prefix, self.tor.tellers(prefix))).to_vec()))
            }
        };
        let own = address(number);
        table.iter().filter(|(_, tellers)| tellers.contains(&own)).map(|(prefix, _)| *prefix).collect()
    }
}

fn peers(hosts: usize) -> Vec<Peer> {
    let peer = |number| Peer {
        interface: format!("h{number}"),
        local: ROUTER.to_owned(),
        address: address(number),
        asn: 4_200_000_001,
    };
    (1..=hosts).map(peer).collect()
}

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

/// What the router has to say itself.
const NETWORKS: [(&str, &str); 2] = [("ipv4", "198.51.100.0/24"), ("ipv6", "2001:db8:100::/48")];

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

impl Tor for OpenBgpd {
    fn version(&self) -> String {
        let output = Command::new(openbgpd::PROGRAM).arg("-V").output().unwrap();
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
