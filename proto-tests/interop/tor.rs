//! The files of config/tor/, run as they are: an operator copies them, so they must do what their comments say.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::lab::bird::Bird;
use crate::lab::daemon::Daemon;
use crate::lab::frr::Frr;
use crate::lab::gobgp::GoBgp;
use crate::lab::namespace::{Namespace, link};
use crate::lab::openbgpd::OpenBgpd;
use crate::lab::router::{Peer, Router, tellers};
use crate::lab::service::Listening;
use crate::lab::{millis, seconds, stays_equal, wait_equal, wait_for};
use crate::rack::Kind;

const WEB: [&str; 2] = ["192.0.2.80/32", "2001:db8::80/128"];

/// The ToR at 10.0.0.1 and fd00::1 on a bridge, server N at 10.0.0.1N and fd00::1N, AS 6501N.
struct Shelf {
    servers: Vec<Server>,
    tor: Box<dyn Router>,
    kind: Kind,
}

struct Server {
    number: usize,
    daemon: Option<Daemon>,
    _listening: Listening,
    namespace: Namespace,
    link_local: String,
}

fn shipped(name: &str) -> String {
    let path = format!("config/tor/{name}");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl Shelf {
    fn new(kind: Kind) -> Self {
        let router = Namespace::new("tor");
        router.run("ip link add name rack type bridge");
        router.run("ip link set rack up");
        router.add_address("rack", "10.0.0.1/24");
        router.add_address("rack", "fd00::1/64");
        let servers: Vec<Server> = (1..=2).map(|number| Server::new(&router, number)).collect();
        let peer = |server: &Server| Peer {
            interface: format!("server{}", server.number),
            local: "10.0.0.1".to_owned(),
            address: server.address(),
            asn: 65010 + u32::try_from(server.number).expect("few"),
        };
        let peers: Vec<Peer> = servers.iter().map(peer).collect();
        let tor: Box<dyn Router> = match kind {
            Kind::Frr => Box::new(Frr::with_config(router, &shipped("frr.conf"))),
            Kind::Bird => Box::new(Bird::with_config(router, &shipped("bird.conf"), &peers)),
            Kind::GoBgp => Box::new(GoBgp::with_config(router, &shipped("gobgpd.toml"))),
            Kind::OpenBgpd => Box::new(OpenBgpd::with_config(router, &shipped("openbgpd.conf"))),
        };
        Self { servers, tor, kind }
    }

    /// server.toml on this server, with these replacements and further tables. For the tests it dials more often.
    fn start(&mut self, number: usize, replace: &[(&str, &str)], tables: &str) {
        let server = &mut self.servers[number - 1];
        let mut text = shipped("server.toml").replace("65011", &format!("6501{number}"));
        for (from, to) in [&[("asn = 65001", "asn = 65001\nconnect-retry = \"500ms\"")], replace].concat() {
            assert!(text.contains(from), "server.toml does not contain {from}");
            text = text.replace(from, to);
        }
        // The laboratory wants [router] first.
        let (_, text) = text.split_once("[router]\n").expect("a [router]");
        server.daemon = Some(Daemon::start(&server.namespace, &format!("[router]\n{text}\n{tables}")));
    }

    fn daemon(&self, number: usize) -> &Daemon {
        self.servers[number - 1].daemon.as_ref().expect("a daemon")
    }

    /// Who tells each prefix and where it is sent, by number of the server.
    fn view(&self) -> BTreeMap<&'static str, (Vec<usize>, Vec<usize>)> {
        let number = |address: &String| {
            let server = self.servers.iter().find(|server| server.is(address));
            server.unwrap_or_else(|| panic!("{address} is no server")).number
        };
        let sorted = |addresses: Vec<String>| {
            let mut numbers: Vec<usize> = addresses.iter().map(number).collect();
            numbers.sort_unstable();
            numbers
        };
        let entry = |prefix| (prefix, (sorted(tellers(self.tor.as_ref(), prefix)), sorted(self.tor.next_hops(prefix))));
        WEB.into_iter().map(entry).collect()
    }

    /// Weight of each next hop in the kernel, by number of the server.
    fn weights(&self, prefix: &str) -> BTreeMap<usize, u64> {
        let family = if prefix.contains(':') { "-6" } else { "-4" };
        let shown = self.tor.namespace().run(&format!("ip {family} -json route show {prefix}"));
        let routes: Value = serde_json::from_str(&shown).unwrap_or_default();
        let hops = routes[0]["nexthops"].as_array().cloned().unwrap_or_default();
        let weight = |hop: &Value| {
            let gateway = hop["gateway"].as_str()?;
            let server = self.servers.iter().find(|server| server.is(gateway))?;
            Some((server.number, hop["weight"].as_u64()?))
        };
        hops.iter().filter_map(weight).collect()
    }
}

impl Server {
    fn new(router: &Namespace, number: usize) -> Self {
        let namespace = Namespace::new(&format!("server{number}"));
        let port = format!("p{number}");
        let addresses = [format!("10.0.0.1{number}/24"), format!("fd00::1{number}/64")];
        link((&namespace, "eth0", &[&addresses[0], &addresses[1]]), (router, &port, &[]));
        router.run(&format!("ip link set {port} master rack"));
        for prefix in WEB {
            namespace.add_address("lo", prefix);
        }
        let listening = Listening::on(&namespace, &["192.0.2.80", "2001:db8::80"], 80);
        let link_local = namespace.link_local("eth0");
        Self { number, daemon: None, _listening: listening, namespace, link_local }
    }

    fn address(&self) -> String {
        format!("10.0.0.1{}", self.number)
    }

    /// A router may prefer the link-local next hop of the two that RFC 2545 allows.
    fn is(&self, address: &str) -> bool {
        address == self.address() || address == format!("fd00::1{}", self.number) || address == self.link_local
    }
}

fn both(numbers: &[usize]) -> BTreeMap<&'static str, (Vec<usize>, Vec<usize>)> {
    WEB.into_iter().map(|prefix| (prefix, (numbers.to_vec(), numbers.to_vec()))).collect()
}

pub fn two_servers_are_one_weighted_route_and_nothing_else_gets_in_or_out(kind: Kind) {
    let mut shelf = Shelf::new(kind);
    // Not in the ranges; in them, but not a host route.
    let stray = ["203.0.113.9/32", "2001:db9::9/128", "192.0.2.128/25", "2001:db8:1::/64"];
    for address in ["203.0.113.9/32", "2001:db9::9/128", "192.0.2.129/32", "2001:db8:1::1/128"] {
        shelf.servers[0].namespace.add_address("lo", address);
    }
    shelf.start(1, &[], &format!("[services.stray]\nprefixes = {stray:?}\n"));
    shelf.start(2, &[("25Gbit", "10Gbit")], "");
    wait_equal("two next hops in both families", seconds(10), &both(&[1, 2]), || shelf.view());
    wait_equal("the stray routes to be told", seconds(5), &json!({ "ipv4": 3, "ipv6": 3 }), || {
        shelf.daemon(1).neighbor("tor")["announced"].clone()
    });
    let refused = || stray.map(|prefix| tellers(shelf.tor.as_ref(), prefix));
    stays_equal("the stray routes to be refused", millis(500), &stray.map(|_| vec![]), refused);
    for number in [1, 2] {
        let received = shelf.daemon(number).neighbor("tor")["received"].clone();
        assert_eq!(received, json!({ "ipv4": 0, "ipv6": 0 }), "the router told server {number} something");
    }
    for prefix in WEB {
        // The community holds a float of 32 bits; routers print it with more digits than it has.
        #[allow(clippy::cast_precision_loss, reason = "that precision is what was sent")]
        let told: Vec<_> = shelf.tor.paths(prefix).into_iter().map(|path| path.bandwidth.map(|n| n as f32)).collect();
        assert_eq!(told, [Some(3.125e9), Some(1.25e9)], "{prefix}");
        // FRR makes percents of the sum, and rounds down; BIRD has what its filter says.
        let wanted: &[(usize, u64)] = match kind {
            Kind::Frr => &[(1, 71), (2, 28)],
            Kind::Bird => &[(1, 25), (2, 10)],
            Kind::GoBgp | Kind::OpenBgpd => &[],
        };
        wait_equal(prefix, seconds(5), &wanted.iter().copied().collect(), || shelf.weights(prefix));
    }
}

pub fn graceful_shutdown_moves_the_traffic_and_the_last_resort_stays(kind: Kind) {
    let mut shelf = Shelf::new(kind);
    shelf.start(1, &[], "");
    shelf.start(2, &[("asn = 65001", "asn = 65001\ncommunities = [\"graceful-shutdown\"]")], "");
    let away = WEB.into_iter().map(|prefix| (prefix, (vec![1, 2], vec![1]))).collect();
    wait_equal("the traffic to be on server 1 alone", seconds(10), &away, || shelf.view());
    for prefix in WEB {
        let second = shelf.tor.paths(prefix).into_iter().find(|path| path.from == "10.0.0.12").expect("a path");
        // GoBGP takes set-local-pref = 0 for none.
        let least = if kind == Kind::GoBgp { 1 } else { 0 };
        assert_eq!(second.local_preference, Some(least), "{prefix}");
    }
    shelf.servers[0].daemon = None;
    wait_equal("the route in graceful shutdown, where there is no other", seconds(10), &both(&[2]), || shelf.view());
    shelf.servers[1].daemon = None;
    wait_equal("no route", seconds(10), &both(&[]), || shelf.view());
    // The files of GoBGP and OpenBGPD leave it to the system that forwards.
    if shelf.kind.installs_routes() {
        for (prefix, address) in [("192.0.2.80/30", "192.0.2.80"), ("2001:db8::80/126", "2001:db8::80")] {
            assert_eq!(shelf.tor.next_hops(prefix).len(), 2, "{prefix}");
            let used = shelf.tor.namespace().run(&format!("ip route get {address}"));
            assert!(used.contains("via"), "{used}");
        }
    }
}

pub fn too_many_prefixes_end_this_session_only(kind: Kind) {
    let mut shelf = Shelf::new(kind);
    shelf.start(1, &[], "");
    shelf.start(2, &[], "");
    wait_equal("both servers within the limit", seconds(10), &both(&[1, 2]), || shelf.view());
    let before = shelf.tor.session("10.0.0.12");

    // With those of server.toml ten of each family, where eight are allowed: FRR 8.4 looks before it counts, and lets nine in.
    let many: Vec<String> = (1..=9).flat_map(|n| [format!("192.0.2.{n}/32"), format!("2001:db8::{n}/128")]).collect();
    for prefix in &many {
        shelf.servers[0].namespace.add_address("lo", prefix);
    }
    shelf.servers[0].daemon = None;
    shelf.start(1, &[], &format!("[services.many]\nprefixes = {many:?}\n"));
    wait_for("the server to hear of it", seconds(20), || {
        let said = shelf.daemon(1).last_error("tor");
        let told = said.to_lowercase().contains("maximum number of prefixes");
        if told { Ok(()) } else { Err(format!("{said}\n{}", shelf.tor.describe("10.0.0.11"))) }
    });
    wait_equal("only server 2", seconds(5), &both(&[2]), || shelf.view());
    stays_equal("only server 2", millis(1500), &both(&[2]), || shelf.view());
    assert_eq!(shelf.tor.session("10.0.0.12"), before, "the other session was reset");
}
