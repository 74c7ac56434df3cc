//! What operators see: a pure view of the engine, as the JSON of CONTRACT. The command line reads the same types back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use histogram::Histogram;
pub use pmtud::{Pmtud, PmtudHost, PmtudInterface, PmtudMember};

pub mod histogram;
pub mod metrics;
pub mod nearest;
pub mod pmtud;
pub mod rfc3339;

/// `GET /status`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub uptime_seconds: f64,
    /// Null where only the relay runs (`anycaster pmtud`).
    pub router: Option<Router>,
    pub config: Config,
    pub neighbors: Vec<Neighbor>,
    pub services: Vec<Service>,
    pub guard: serde_json::Map<String, serde_json::Value>,
    pub pmtud: Pmtud,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Router {
    pub asn: u32,
    /// Null until it is known.
    pub id: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Config {
    pub path: String,
    /// Sixteen hexadecimal digits.
    pub hash: String,
    /// RFC 3339, UTC
    pub loaded_at: String,
    /// "current" (later: "last-good", "provisional")
    pub state: String,
}

/// `GET /neighbors` is an array of these.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Neighbor {
    pub name: String,
    pub address: IpAddr,
    pub asn: Option<u32>,
    pub enabled: bool,
    /// Idle Connect Active OpenSent OpenConfirm Established
    pub state: String,
    pub since: String,
    /// Of the session; null where it is not Established.
    pub uptime_seconds: Option<f64>,
    pub announced: Announced,
    /// Negotiated, in seconds; null where no session is.
    pub hold_time: Option<u64>,
    /// What both sides offered, by name.
    pub capabilities: Vec<String>,
    /// null, or "up" "down" "init" "admin-down"
    pub bfd: Option<String>,
    pub last_error: Option<String>,
    pub flaps: u64,
    /// Prefixes the peer announced to us: counted, never used.
    pub received: Announced,
    /// UPDATEs from the peer with an error that RFC 7606 does not let reset the session.
    pub malformed_updates: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Announced {
    pub ipv4: u64,
    pub ipv6: u64,
}

/// `GET /services` is an array of these.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    /// up partial starting down draining drained disabled
    pub state: String,
    pub weight: u8,
    pub prefixes: Vec<Prefix>,
    pub checks: Vec<Check>,
    /// Those that are configured.
    pub hooks: Vec<Hook>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Prefix {
    pub prefix: String,
    /// Not announced, and why.
    pub held: Option<Reason>,
    /// Announced although something is wrong.
    pub kept: Option<Reason>,
    pub neighbors: Vec<PrefixNeighbor>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reason {
    pub reason: String,
    pub detail: String,
    pub since: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PrefixNeighbor {
    pub name: String,
    pub announced: bool,
    pub since: String,
    pub held: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub address: IpAddr,
    /// unknown up down
    pub state: String,
    pub since: String,
    /// When the last result came; null before the first.
    pub last: Option<String>,
    pub detail: String,
}

/// The last run of a program that follows a service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hook {
    /// up down drain
    pub hook: String,
    /// When it ended last; null before the first run.
    pub last: Option<String>,
    pub ok: Option<bool>,
    pub detail: String,
    pub failures: u64,
}

/// `GET /events` is an array of these, oldest first: the last 2048, or with `?after=ID` those that came after that one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Counted from 1 since the daemon started.
    pub id: u64,
    pub at: String,
    /// session prefix check config netlink address hook
    pub kind: String,
    pub service: Option<String>,
    pub prefix: Option<String>,
    pub neighbor: Option<String>,
    pub from: String,
    pub to: String,
    pub reason: String,
    pub detail: String,
}

/// `GET /routes` is an array of these: what each neighbor was told.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Route {
    pub prefix: String,
    pub neighbor: String,
    pub next_hop: IpAddr,
    pub as_path: Vec<u32>,
    pub med: Option<u32>,
    pub communities: Vec<String>,
    pub large_communities: Vec<String>,
    /// Bytes per second, as sent (RFC 10005).
    pub bandwidth: Option<u64>,
    pub since: String,
}

/// `GET /explain/PREFIX`, also `/explain/SERVICE`: then an array of these.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Explanation {
    pub prefix: String,
    pub service: String,
    pub announced: bool,
    /// In the order an operator would ask. Not ok is also what is only kept; the reason is the one that says since when.
    pub steps: Vec<Step>,
    pub neighbors: Vec<PrefixNeighbor>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// enabled drain stop depends-on facts address listener checks start-hold, and pmtud, which decides nothing
    pub step: String,
    pub ok: bool,
    pub detail: String,
    pub since: Option<String>,
}

/// `GET /readyz`: 200 where `ready`, else 503 with the same object and what is missing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Readiness {
    pub ready: bool,
    /// As in [`Config::state`].
    pub config: String,
    /// Enabled neighbors whose session is not Established.
    pub down: Vec<Down>,
    /// As in every answer but 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Down {
    pub name: String,
    pub state: String,
    pub last_error: Option<String>,
}

impl Readiness {
    pub fn new(config: &Config, neighbors: &[Neighbor]) -> Self {
        let down: Vec<Down> = neighbors
            .iter()
            .filter(|neighbor| neighbor.enabled && neighbor.state != "Established")
            .map(|neighbor| Down {
                name: neighbor.name.clone(),
                state: neighbor.state.clone(),
                last_error: neighbor.last_error.clone(),
            })
            .collect();
        let current = config.state == "current";
        let ready = current && down.is_empty();
        let stale = (!current).then(|| format!("the configuration that runs is {}", config.state));
        let missing = stale.into_iter().chain(down.iter().map(|peer| format!("{} is {}", peer.name, peer.state)));
        let error = (!ready).then(|| missing.collect::<Vec<_>>().join(", "));
        Self { ready, config: config.state.clone(), down, error }
    }
}

/// What only grows: beside [`Status`], the other half of `/metrics`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Seconds since 1970 when this process started.
    pub started_at: f64,
    /// In the order of the configuration.
    pub neighbors: Vec<NeighborCounters>,
    /// In the order of the configuration.
    pub checks: Vec<CheckCounters>,
    /// Those that are configured.
    pub hooks: Vec<HookCounters>,
    /// From the event that made a route wanted to its bytes being with the kernel.
    pub announce_latency: Histogram,
    pub withdraw_latency: Histogram,
    /// By where: "connect", "tcp", "netlink" ...
    pub send_errors: BTreeMap<String, u64>,
    pub netlink_resyncs: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NeighborCounters {
    pub name: String,
    pub sent: Messages,
    pub received: Messages,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HookCounters {
    pub service: String,
    pub hook: String,
    pub failures: u64,
}

/// BGP messages by type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Messages {
    pub open: u64,
    pub update: u64,
    pub notification: u64,
    pub keepalive: u64,
    pub route_refresh: u64,
}

/// One check of one service, all its addresses together.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct CheckCounters {
    pub service: String,
    pub check: String,
    pub timeouts: u64,
    pub durations: Histogram,
}
