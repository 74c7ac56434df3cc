//! A top-of-rack router with hosts below it, host N at 10.97.N.2 and fd97:N::2, AS 65200 + N.

use std::collections::BTreeMap;

use crate::lab::bird::Bird;
use crate::lab::daemon::Daemon;
use crate::lab::frr::Frr;
use crate::lab::gobgp::GoBgp;
use crate::lab::namespace::{Namespace, link};
use crate::lab::openbgpd::{self, OpenBgpd};
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
    GoBgp,
    OpenBgpd,
}

/// What the routers differ in. All else is the same for each.
impl Kind {
    pub const fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Frr => &["zebra", "/usr/lib/frr/bgpd", "vtysh", "nginx"],
            Self::Bird => &["bird", "birdc", "nginx"],
            Self::GoBgp => &["gobgpd", "gobgp", "nginx"],
            Self::OpenBgpd => &[openbgpd::PROGRAM, "bgpctl", "nginx"],
        }
    }

    /// GoBGP needs zebra for it, and 3.10 panics with that of FRR 8.4; OpenBGPD writes routes on BSD only. Those two say
    /// in their RIB what they would use.
    pub const fn installs_routes(self) -> bool {
        match self {
            Self::Frr | Self::Bird => true,
            Self::GoBgp | Self::OpenBgpd => false,
        }
    }

    /// RFC 8950. OpenBGPD 7.7 does not know the capability.
    pub const fn takes_ipv6_next_hops_for_ipv4(self) -> bool {
        match self {
            Self::Frr | Self::Bird | Self::GoBgp => true,
            Self::OpenBgpd => false,
        }
    }

    /// What a router makes of 1,250,000,000 in a link bandwidth of type 0x40, from outside and from its own AS. A community
    /// that is not transitive is not for another AS (RFC 4360 section 6): only OpenBGPD takes that literally, though RFC 10005
    /// lets receivers take both. From inside it keeps the community, and shows it without AS and value.
    pub const fn non_transitive_bandwidth(self, internal: bool) -> Option<u64> {
        match (self, internal) {
            (Self::Frr | Self::Bird | Self::GoBgp, _) => Some(1_250_000_000),
            (Self::OpenBgpd, false) => None,
            (Self::OpenBgpd, true) => Some(0),
        }
    }

    /// Whether an operator's "ask again" sends a ROUTE-REFRESH. GoBGP never sends one: it keeps what came in and looks at
    /// that again.
    pub const fn sends_route_refresh(self) -> bool {
        match self {
            Self::Frr | Self::Bird | Self::OpenBgpd => true,
            Self::GoBgp => false,
        }
    }

    /// Capabilities that both sides offer on an IPv4 session; an IPv6 one adds `extended-next-hop` (RFC 8950).
    pub fn negotiates(self) -> Vec<String> {
        let more: &[&str] = match self {
            Self::Frr | Self::Bird => &["enhanced-route-refresh", "extended-message"],
            Self::GoBgp => &[],
            Self::OpenBgpd => &["enhanced-route-refresh"],
        };
        let always = ["four-octet-as", "ipv4-unicast", "ipv6-unicast", "route-refresh"];
        let mut names: Vec<String> = always.iter().chain(more).map(|name| (*name).to_owned()).collect();
        names.sort();
        names
    }
}

/// What the TCP sessions run over, and whether both ends share the AS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    Ipv4,
    Ipv6,
    Ipv4Internal,
    Ipv6Internal,
    /// The links have no IPv4 addresses at all.
    Ipv6Only,
}

impl Over {
    const fn is_ipv6(self) -> bool {
        match self {
            Self::Ipv4 | Self::Ipv4Internal => false,
            Self::Ipv6 | Self::Ipv6Internal | Self::Ipv6Only => true,
        }
    }
}

pub struct Host {
    pub number: usize,
    pub asn: u32,
    pub daemon: Option<Daemon>,
    pub nginx: Nginx,
    pub namespace: Namespace,
    link_local: String,
    kind: Kind,
    over: Over,
}

pub struct Rack {
    pub hosts: Vec<Host>,
    pub tor: Box<dyn Router>,
    pub kind: Kind,
}

/// Who tells each prefix, and where the router sends it: its kernel, or its multipath set where it installs no routes.
pub type View = BTreeMap<String, (Vec<String>, Vec<String>)>;

impl Rack {
    /// Router and hosts, links, nginx on every host; no daemon yet.
    pub fn new(kind: Kind, hosts: usize, over: Over) -> Self {
        let router = Namespace::new("tor");
        let hosts: Vec<Host> = (1..=hosts).map(|number| Host::new(&router, number, kind, over)).collect();
        let peers: Vec<Peer> = hosts.iter().map(Host::as_peer).collect();
        let tor: Box<dyn Router> = match kind {
            Kind::Frr => Box::new(Frr::start(router, TOR_ASN, &peers)),
            Kind::Bird => Box::new(Bird::start(router, TOR_ASN, &peers)),
            Kind::GoBgp => Box::new(GoBgp::start(router, TOR_ASN, &peers)),
            Kind::OpenBgpd => Box::new(OpenBgpd::start(router, TOR_ASN, &peers)),
        };
        Self { hosts, tor, kind }
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
            let hops = self.tor.next_hops(prefix);
            if !self.kind.installs_routes() {
                assert_eq!(
                    self.tor.namespace().next_hops(prefix),
                    Vec::<String>::new(),
                    "{:?} installs routes",
                    self.kind
                );
            }
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
    fn new(router: &Namespace, number: usize, kind: Kind, over: Over) -> Self {
        let namespace = Namespace::new(&format!("h{number}"));
        let addresses = |end: u8| [format!("10.97.{number}.{end}/30"), format!("fd97:{number}::{end}/64")];
        let [host4, host6] = addresses(2);
        let [tor4, tor6] = addresses(1);
        let device = format!("h{number}");
        match over {
            Over::Ipv6Only => link((&namespace, "eth0", &[&host6]), (router, &device, &[&tor6])),
            Over::Ipv4 | Over::Ipv6 | Over::Ipv4Internal | Over::Ipv6Internal => {
                link((&namespace, "eth0", &[&host4, &host6]), (router, &device, &[&tor4, &tor6]));
            }
        }
        let nginx = Nginx::start(&namespace);
        let asn = match over {
            Over::Ipv4 | Over::Ipv6 | Over::Ipv6Only => 65200 + u32::try_from(number).expect("few hosts"),
            Over::Ipv4Internal | Over::Ipv6Internal => TOR_ASN,
        };
        let link_local = namespace.link_local("eth0");
        Self { number, asn, daemon: None, nginx, namespace, link_local, kind, over }
    }

    pub fn as_peer(&self) -> Peer {
        let number = self.number;
        let [local, address] = [1, 2].map(|end| {
            if self.over.is_ipv6() { format!("fd97:{number}::{end}") } else { format!("10.97.{number}.{end}") }
        });
        Peer { interface: format!("h{number}"), local, address, asn: self.asn }
    }

    /// IPv6 routes have the interface's global address over either session. IPv4 routes over IPv6 have it too where the
    /// router offers RFC 8950, else the interface's IPv4 address.
    pub fn next_hop(&self, prefix: &str) -> String {
        if prefix.contains(':') || (self.over.is_ipv6() && self.kind.takes_ipv6_next_hops_for_ipv4()) {
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
        self.start_as(&TOR_ASN.to_string(), keys, tables);
    }

    /// `tor_asn` as a number or one of the words for it.
    pub fn start_as(&mut self, tor_asn: &str, keys: &str, tables: &str) {
        let (asn, number) = (self.asn, self.number);
        let address = self.as_peer().local;
        let text = format!(
            "[router]\nasn = {asn}\nid = \"10.97.{number}.2\"\nbandwidth = \"10Gbit\"\n
             [neighbors.tor]\naddress = \"{address}\"\nasn = {tor_asn}\nconnect-retry = \"500ms\"\n{keys}\n{tables}"
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
