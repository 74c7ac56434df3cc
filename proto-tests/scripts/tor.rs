//! The four routers, configured alike: one neighbor for each scenario, two routes to announce, and room for two of ours.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

pub(crate) use bird::bird;
pub(crate) use frr::frr;
pub(crate) use gobgp::gobgp;
pub(crate) use openbgpd::openbgpd;

use crate::lab::router::Peer;

#[path = "tor/bird.rs"]
mod bird;
#[path = "tor/frr.rs"]
mod frr;
#[path = "tor/gobgp.rs"]
mod gobgp;
#[path = "tor/openbgpd.rs"]
mod openbgpd;

pub(crate) const ROUTER: &str = "10.0.0.1";

/// What the router has to say itself.
const NETWORKS: [(&str, &str); 2] = [("ipv4", "198.51.100.0/24"), ("ipv6", "2001:db8:100::/48")];

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
