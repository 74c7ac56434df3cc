//! A top-of-rack router, whichever it is, as the tests ask it.

use super::namespace::Namespace;

/// One host as the router's configuration names it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Interface of the router towards it.
    pub interface: String,
    /// The router's own address on that link, in the family of the session.
    pub local: String,
    pub address: String,
    pub asn: u32,
}

/// One path of a prefix in the router's BGP table, in one notation for all routers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Path {
    /// The neighbor's address.
    pub from: String,
    pub as_path: Vec<u32>,
    /// IGP EGP Incomplete
    pub origin: String,
    pub next_hop: String,
    pub med: Option<u32>,
    pub local_preference: Option<u32>,
    pub communities: Vec<String>,
    pub large_communities: Vec<String>,
    /// Link bandwidth in bytes per second.
    pub bandwidth: Option<u64>,
}

/// Equal before and after: nobody reset the session in between.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    pub established: bool,
    /// How often it came up since the router runs.
    pub times_established: usize,
}

pub trait Router {
    fn namespace(&self) -> &Namespace;

    /// Sorted by neighbor.
    fn paths(&self, prefix: &str) -> Vec<Path>;

    /// Where it sends a host prefix, sorted: the kernel's next hops. A router that installs no routes says what it would use.
    fn next_hops(&self, prefix: &str) -> Vec<String> {
        self.namespace().next_hops(prefix)
    }

    fn session(&self, neighbor: &str) -> Session;

    /// What was negotiated, in seconds.
    fn hold_time(&self, neighbor: &str) -> u64;

    /// The capabilities that both sides offered, by the daemon's names for them, sorted; of those only.
    fn negotiated(&self, neighbor: &str) -> Vec<String>;

    /// Asks the neighbor for all its routes again (RFC 2918).
    fn refresh(&self, neighbor: &str);

    /// UPDATEs received from this neighbor so far.
    fn updates(&self, neighbor: &str) -> u64;

    /// How the router names the end of the last session: holds "Administrative Shutdown" or not.
    fn last_error(&self, neighbor: &str) -> String;

    /// All that it says about a neighbor, for a panic.
    fn describe(&self, neighbor: &str) -> String;
}

/// The neighbors that tell this prefix.
pub fn tellers(router: &dyn Router, prefix: &str) -> Vec<String> {
    router.paths(prefix).into_iter().map(|path| path.from).collect()
}
