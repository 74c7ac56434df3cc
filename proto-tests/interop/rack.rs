//! A top-of-rack router with hosts below it, host N at 10.97.N.2 and fd97:N::2, AS 65200 + N.

use std::collections::BTreeMap;

use crate::lab::bird::Bird;
use crate::lab::daemon::Daemon;
use crate::lab::frr::Frr;
use crate::lab::namespace::{Namespace, link};
use crate::lab::router::{Peer, Router, Session, tellers};
use crate::lab::service::Nginx;
use crate::lab::{seconds, wait_for};

pub const TOR_ASN: u32 = 65100;
pub const WEB: [&str; 2] = ["192.0.2.53/32", "2001:db8::53/128"];
pub const OTHER: [&str; 2] = ["192.0.2.54/32", "2001:db8::54/128"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Frr,
    Bird,
}

/// What the TCP sessions run over, and whether both ends share the AS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    Ipv4,
    Ipv6,
    Ipv4Internal,
}

pub struct Host {
    pub number: usize,
    pub asn: u32,
    pub daemon: Option<Daemon>,
    pub nginx: Nginx,
    pub namespace: Namespace,
    link_local: String,
    over: Over,
}

pub struct Rack {
    pub hosts: Vec<Host>,
    pub tor: Box<dyn Router>,
}

/// Who tells each prefix, and where the router's kernel sends it.
pub type View = BTreeMap<String, (Vec<String>, Vec<String>)>;

impl Rack {
    /// Router and hosts, links, nginx on every host; no daemon yet.
    pub fn new(kind: Kind, hosts: usize, over: Over) -> Self {
        let router = Namespace::new("tor");
        let hosts: Vec<Host> = (1..=hosts).map(|number| Host::new(&router, number, over)).collect();
        let peers: Vec<Peer> = hosts.iter().map(Host::as_peer).collect();
        let tor: Box<dyn Router> = match kind {
            Kind::Frr => Box::new(Frr::start(router, TOR_ASN, &peers)),
            Kind::Bird => Box::new(Bird::start(router, TOR_ASN, &peers)),
        };
        Self { hosts, tor }
    }

    /// One host that runs this configuration and has its session.
    pub fn one(kind: Kind, over: Over, tables: &str) -> Self {
        let mut rack = Self::new(kind, 1, over);
        rack.hosts[0].bind_web();
        rack.hosts[0].start("", tables);
        rack.wait_established();
        rack
    }

    pub fn host(&self) -> &Host {
        &self.hosts[0]
    }

    pub fn daemon(&self) -> &Daemon {
        self.hosts[0].daemon()
    }

    pub fn wait_established(&self) {
        for host in &self.hosts {
            let peer = host.as_peer().address;
            wait_for("an established session", seconds(20), || {
                if self.tor.session(&peer).established {
                    return Ok(());
                }
                Err(format!("{}\nthe daemon said:\n{}", self.tor.describe(&peer), host.daemon().log()))
            });
        }
    }

    pub fn sessions(&self) -> Vec<Session> {
        self.hosts.iter().map(|host| self.tor.session(&host.as_peer().address)).collect()
    }

    pub fn view(&self, prefixes: &[&str]) -> View {
        let entry = |prefix: &&str| {
            let told = tellers(self.tor.as_ref(), prefix);
            let hops = self.tor.namespace().next_hops(prefix);
            let mut hops: Vec<String> = hops.into_iter().map(|hop| self.global_next_hop(prefix, hop)).collect();
            hops.sort();
            ((*prefix).to_owned(), (told, hops))
        };
        prefixes.iter().map(entry).collect()
    }

    /// A router may prefer the link-local next hop of the two that RFC 2545 allows; it is the same host.
    fn global_next_hop(&self, prefix: &str, hop: String) -> String {
        let owner = self.hosts.iter().find(|host| host.link_local == hop);
        owner.map_or(hop, |host| host.next_hop(prefix))
    }

    /// What `view` must become with all these hosts announcing all of it.
    pub fn full_view(&self, prefixes: &[&str]) -> View {
        let entry = |prefix: &&str| {
            let told = self.hosts.iter().map(|host| host.as_peer().address).collect();
            let mut hops: Vec<String> = self.hosts.iter().map(|host| host.next_hop(prefix)).collect();
            hops.sort();
            ((*prefix).to_owned(), (told, hops))
        };
        prefixes.iter().map(entry).collect()
    }
}

impl Host {
    fn new(router: &Namespace, number: usize, over: Over) -> Self {
        let namespace = Namespace::new(&format!("h{number}"));
        let addresses = |end: u8| [format!("10.97.{number}.{end}/30"), format!("fd97:{number}::{end}/64")];
        let [host4, host6] = addresses(2);
        let [tor4, tor6] = addresses(1);
        link((&namespace, "eth0", &[&host4, &host6]), (router, &format!("h{number}"), &[&tor4, &tor6]));
        let nginx = Nginx::start(&namespace);
        let asn = match over {
            Over::Ipv4 | Over::Ipv6 => 65200 + u32::try_from(number).expect("few hosts"),
            Over::Ipv4Internal => TOR_ASN,
        };
        let link_local = namespace.link_local("eth0");
        Self { number, asn, daemon: None, nginx, namespace, link_local, over }
    }

    pub fn as_peer(&self) -> Peer {
        let number = self.number;
        let [local, address] = [1, 2].map(|end| match self.over {
            Over::Ipv4 | Over::Ipv4Internal => format!("10.97.{number}.{end}"),
            Over::Ipv6 => format!("fd97:{number}::{end}"),
        });
        Peer { interface: format!("h{number}"), local, address, asn: self.asn }
    }

    /// RFC 8950 over IPv6 sessions; over IPv4 ones IPv6 routes have the interface's global address.
    pub fn next_hop(&self, prefix: &str) -> String {
        if prefix.contains(':') || self.over == Over::Ipv6 {
            format!("fd97:{}::2", self.number)
        } else {
            format!("10.97.{}.2", self.number)
        }
    }

    pub fn bind_web(&self) {
        for prefix in WEB {
            self.namespace.add_address("lo", prefix);
        }
    }

    /// `keys` go into `[neighbors.tor]`, `tables` behind it.
    pub fn start(&mut self, keys: &str, tables: &str) {
        let (asn, number) = (self.asn, self.number);
        let address = self.as_peer().local;
        let text = format!(
            "[router]\nasn = {asn}\nid = \"10.97.{number}.2\"\nbandwidth = \"10Gbit\"\n
             [neighbors.tor]\naddress = \"{address}\"\nasn = {TOR_ASN}\nconnect-retry = \"500ms\"\n{keys}\n{tables}"
        );
        self.daemon = Some(Daemon::start(&self.namespace, &text));
    }

    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("no daemon runs on this host")
    }

    pub fn daemon_mut(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("no daemon runs on this host")
    }
}
