//! One host with two routers: tor-a is what a test plays, tor-b is a well-behaved witness that must not notice.

use crate::lab::bgp::Open;
use crate::lab::daemon::Daemon;
use crate::lab::fake::{Connection, FakeNeighbor};
use crate::lab::millis;
use crate::lab::namespace::{Namespace, link};

pub const PREFIXES: [&str; 2] = ["192.0.2.53/32", "2001:db8::53/128"];

/// Keys of `[neighbors.tor-a]`: back at once after every error, and no KEEPALIVE in the way.
pub const EAGER: &str = "hold-time = \"90s\"\nconnect-retry = \"0ms\"\nidle-hold = \"0ms\"\nidle-hold-max = \"0ms\"\n";

/// One service with nothing to prove but its addresses.
pub const WEB: &str = "[services.web]\nprefixes = [\"192.0.2.53\", \"2001:db8::53\"]\n";

pub struct Scene {
    pub daemon: Daemon,
    pub tor: FakeNeighbor,
    witness: Connection,
    _witness_listener: FakeNeighbor,
    pub host: Namespace,
    pub router: Namespace,
}

impl Scene {
    /// `keys` for tor-a; `tables` are the services.
    pub fn new(keys: &str, tables: &str) -> Self {
        let (host, router) = namespaces();
        Self::in_namespaces(host, router, keys, tables)
    }

    pub fn in_namespaces(host: Namespace, router: Namespace, keys: &str, tables: &str) -> Self {
        let tor = FakeNeighbor::listen(&router, "10.97.1.1");
        Self::with_tor(host, router, tor, keys, tables)
    }

    pub fn with_tor(host: Namespace, router: Namespace, tor: FakeNeighbor, keys: &str, tables: &str) -> Self {
        let other = FakeNeighbor::listen(&router, "10.97.2.1");
        let daemon = Daemon::start(&host, &configuration(keys, tables));
        let witness = other.establish(&Open { id: [10, 97, 0, 2].into(), ..Open::default() });
        witness.initial_updates();
        Self { daemon, tor, witness, _witness_listener: other, host, router }
    }

    /// The witness heard nothing since its End-of-RIBs, and the daemon runs.
    pub fn finish(mut self) {
        self.assert_unharmed();
    }

    /// And stops the daemon instead of killing it, so that it takes along what its checks have started.
    pub fn finish_and_stop(mut self) {
        self.assert_unharmed();
        assert_eq!(self.daemon.stop().code, Some(0));
    }

    fn assert_unharmed(&mut self) {
        assert_eq!(self.witness.collect(millis(150)), [], "the other router noticed");
        assert!(self.daemon.running(), "the daemon has ended:\n{}", self.daemon.log());
        let neighbor = self.daemon.neighbor("tor-b");
        assert_eq!(neighbor["state"], "Established");
        assert_eq!(neighbor["last_error"], serde_json::Value::Null);
    }

    /// For tests that change what is announced: the witness hears of that, and of nothing else.
    pub fn witness(&self) -> &Connection {
        &self.witness
    }
}

/// Linked, with the service addresses on the host's lo.
pub fn namespaces() -> (Namespace, Namespace) {
    let host = Namespace::new("host");
    let router = Namespace::new("tor");
    for number in 1..=2 {
        let [host4, tor4] = [2, 1].map(|end| format!("10.97.{number}.{end}/30"));
        let [host6, tor6] = [2, 1].map(|end| format!("fd97:{number}::{end}/64"));
        let (eth, h) = (format!("eth{number}"), format!("h{number}"));
        link((&host, &eth, &[&host4, &host6]), (&router, &h, &[&tor4, &tor6]));
    }
    PREFIXES.iter().for_each(|prefix| host.add_address("lo", prefix));
    (host, router)
}

pub fn configuration(keys: &str, tables: &str) -> String {
    format!(
        "[router]\nasn = 65010\n
         [neighbors.tor-a]\naddress = \"10.97.1.1\"\nasn = 65001\n{keys}
         [neighbors.tor-b]\naddress = \"10.97.2.1\"\nasn = 65001\nhold-time = \"90s\"\n{tables}"
    )
}

/// The test function's first line: false where it cannot run.
pub fn ready() -> bool {
    crate::lab::ready(&[])
}

/// One router only, at any address, and any `[router]` table.
pub fn alone(host: &Namespace, router: &Namespace, own: &str, address: &str, tables: &str) -> (Daemon, FakeNeighbor) {
    let tor = FakeNeighbor::listen(router, address);
    let text = format!("[router]\n{own}\n[neighbors.tor-a]\naddress = \"{address}\"\nasn = 65001\n{EAGER}{tables}");
    (Daemon::start(host, &text), tor)
}
