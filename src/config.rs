//! A configuration that is already valid: what the rest of the program works with.
//!
//! Strings and files live in `config/`; a [`Config`] can only come out of it whole, or not at all with every problem
//! named. Everything here is plain data.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::bgp::wire::{Asn, Community, LargeCommunity, Origin};

mod asn;
mod check;
mod depends;
mod load;
pub(crate) mod nearest;
mod neighbor;
mod pmtud;
mod report;
mod router;
mod rules;
mod service;
mod span;
mod syntax;
mod tree;
mod values;

pub use crate::bgp::session::PeerAsn;
pub use crate::bgp::wire::Families;
pub use check::{DnsCheck, FileCheck, GrpcCheck, Look, Record, response_code};
pub use load::{load, load_pmtud};
pub(crate) use pmtud::MEMBERS_AT_MOST;
pub use report::{Diagnostic, Position, Report, Severity};
pub use span::duration;
pub(crate) use span::written;
pub use values::show_community;

/// One file, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

/// A configuration without errors, and what is to be said of it all the same.
#[derive(Clone, PartialEq, Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Report,
}

/// What `anycaster pmtud` reads: one table, and nothing of the others.
#[derive(Clone, PartialEq, Debug)]
pub struct LoadedPmtud {
    pub path: PathBuf,
    /// As [`Config::hash`].
    pub hash: u64,
    pub pmtud: Pmtud,
    pub warnings: Report,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The main file as it was named on the command line.
    pub path: PathBuf,
    /// FNV-1a of the text of all files in order: tells two configurations apart, proves nothing.
    pub hash: u64,
    pub router: Router,
    /// In file order; the name identifies a neighbor everywhere.
    pub neighbors: Vec<Neighbor>,
    /// In file order.
    pub services: Vec<Service>,
    /// At a stop, between the withdraw and the Cease.
    pub withdraw_settle: Duration,
    pub metrics: Metrics,
    pub pmtud: Option<Pmtud>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Router {
    pub asn: Asn,
    /// `None`: the local address towards the first IPv4 neighbor.
    pub id: Option<Ipv4Addr>,
    /// Bytes per second that weight 100 stands for.
    pub bandwidth: Option<Bandwidth>,
    /// Reserved: nothing is kept over a restart yet.
    pub state_dir: PathBuf,
    pub control: PathBuf,
    pub control_group: Option<String>,
    /// `None`: "off".
    pub http: Option<SocketAddr>,
    pub log: Log,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    Text,
    Json,
    Journald,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Bits per second as written ("25Gbit"), kept as bytes per second, which is what RFC 10005 sends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Bandwidth {
    pub bytes_per_second: u64,
}

impl Bandwidth {
    /// So many percent of it.
    pub fn share(self, weight: u8) -> u64 {
        let share = u128::from(self.bytes_per_second) * u128::from(weight) / 100;
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Neighbor {
    pub name: String,
    pub address: IpAddr,
    pub asn: PeerAsn,
    pub enabled: bool,
    /// 1..=65535
    pub port: u16,
    /// Spoken to this neighbor instead of `router.asn`.
    pub local_asn: Option<Asn>,
    pub families: Families,
    /// Offered hold time in whole seconds: 0 or >= 3.
    pub hold_time: u16,
    /// Least hold time accepted from the peer, in whole seconds; 0: the peer may offer 0 (never 1 or 2).
    pub min_hold_time: u16,
    /// After a transport failure, hold expiry or a Cease; may be zero, as the next two.
    pub connect_retry: Duration,
    /// After a protocol error; doubles while they repeat.
    pub idle_hold: Duration,
    /// >= `idle_hold`
    pub idle_hold_max: Duration,
    /// `None`: max(8 min, 2 x negotiated hold), RFC 9687.
    pub send_hold_time: Option<Duration>,
    pub link_bandwidth: LinkBandwidthMode,
    pub policy: Policy,
    pub next_hop: NextHopPolicy,
}

/// What one neighbor is told in addition to what the service says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    pub communities: Vec<Community>,
    pub large_communities: Vec<LargeCommunity>,
    /// Wins over the service's.
    pub med: Option<u32>,
    /// Added to the service's; 0..=10 each.
    pub prepend: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkBandwidthMode {
    Transitive,
    NonTransitive,
    Off,
}

/// Both `None`: "self".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NextHopPolicy {
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Service {
    pub name: String,
    /// No host bits; none of them in another service.
    pub prefixes: Vec<IpNet>,
    pub enabled: bool,
    /// Indices into `Config::neighbors`, ascending; all of them where the file names none.
    pub neighbors: Vec<usize>,
    /// 0..=100 of the bandwidth; 0 = drained.
    pub weight: u8,
    /// The service's own, else the router's.
    pub bandwidth: Option<Bandwidth>,
    pub policy: Policy,
    /// Told to internal neighbors only.
    pub local_preference: u32,
    pub origin: Origin,
    /// Indices into `Config::services`: held while one of these is down. Never a circle.
    pub depends_on: Vec<usize>,
    pub binding: Binding,
    pub health: Health,
    pub checks: Vec<Check>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// `None`: "any".
    pub interface: Option<String>,
    /// Host addresses are put on lo at the start and taken off after the stop.
    pub manage: bool,
    pub listen: Vec<Listen>,
    /// A gap of listeners shorter than this is not a gap.
    pub grace: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Listen {
    pub protocol: Protocol,
    pub port: u16,
    /// `None`: each local address of the prefix.
    pub address: Option<IpAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// "tcp" or "udp", as in `listen`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Health {
    pub quorum: Quorum,
    pub per_prefix: bool,
    /// From when all is well until it is announced.
    pub start_hold: Duration,
    pub when_down: WhenDown,
    pub disable_file: Option<PathBuf>,
    pub hooks: Hooks,
}

/// What is run, one argv each, once a service has come up, gone down or been drained, and the routers were told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hooks {
    pub up: Option<Vec<String>>,
    pub down: Option<Vec<String>>,
    pub drain: Option<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quorum {
    All,
    Any,
    /// Not more than there are counting checks.
    AtLeast(NonZeroU8),
}

/// What a failure of this check (`on-fail`) or of the quorum (`when-down`) does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenDown {
    Withdraw,
    Deprefer,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Check {
    pub name: String,
    /// >= 10 ms, from start to start
    pub interval: Duration,
    /// > 0 and <= interval
    pub timeout: Duration,
    /// Between the first differing result and the verdict it leads to; 10 ms to `interval`.
    pub fast_interval: Option<Duration>,
    /// Percent of the interval, 0..=100.
    pub jitter: u8,
    pub rise: NonZeroU8,
    pub fall: NonZeroU8,
    pub on_fail: WhenDown,
    pub target: Target,
    pub kind: CheckKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Each address of the service, from that address.
    Service,
    Address(IpAddr),
}

#[derive(Clone, PartialEq, Debug)]
pub enum CheckKind {
    Tcp(TcpCheck),
    Http(Box<HttpCheck>),
    Exec(ExecCheck),
    Udp(UdpCheck),
    Unix(UnixCheck),
    Dns(Box<DnsCheck>),
    Grpc(Box<GrpcCheck>),
    File(FileCheck),
    Systemd(SystemdCheck),
    Push(PushCheck),
}

impl CheckKind {
    /// Of a check that is told how it is, instead of being run: how long silence is no failure.
    pub const fn ttl(&self) -> Option<Duration> {
        if let Self::Push(push) = self { Some(push.ttl) } else { None }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcpCheck {
    pub port: u16,
    pub send: Option<String>,
    /// Must occur in what the server sends before the timeout.
    pub expect: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UdpCheck {
    pub port: u16,
    /// One datagram; `None`: an empty one.
    pub send: Option<String>,
    /// Must occur in one of the datagrams that come back. `None`: any will do, and with neither a port that is not refused.
    pub expect: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnixCheck {
    /// A stream socket.
    pub path: PathBuf,
    pub send: Option<String>,
    pub expect: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpCheck {
    pub port: u16,
    pub path: String,
    pub method: String,
    /// In file order.
    pub headers: Vec<(String, String)>,
    /// 100..=599 each, never empty.
    pub expect_status: Vec<u16>,
    /// A regular expression that compiles.
    pub expect_body: Option<String>,
    /// `None`: http.
    pub tls: Option<Tls>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// SNI, certificate name and Host; else the target address.
    pub server_name: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub insecure: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecCheck {
    /// One argv, never empty, no shell.
    pub command: Vec<String>,
    pub user: Option<String>,
    pub env: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SystemdCheck {
    /// Whole, with its suffix.
    pub unit: String,
}

/// Nothing is run: somebody says how it is. Interval, timeout, fast interval and jitter of such a check say nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PushCheck {
    /// Without a push for so long it is down; >= 10 ms.
    pub ttl: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metrics {
    /// 0..=1,000,000; beyond it series per prefix become counts per service.
    pub max_prefixes: usize,
}

/// `[pmtud]`: which ICMP errors are relayed to the other members, and how.
#[derive(Clone, PartialEq, Debug)]
pub struct Pmtud {
    /// Where errors come in; never empty, never "lo". They need not exist yet.
    pub interfaces: Vec<String>,
    pub mode: PmtudMode,
    /// `None`: those that this daemon announces right now.
    pub prefixes: Option<Vec<IpNet>>,
    /// IANA numbers, ascending, never empty: 6 TCP, 17 UDP, 132 SCTP.
    pub protocols: Vec<u8>,
    /// Of the service, ascending; empty: all.
    pub ports: Vec<u16>,
    pub min_mtu: MinMtu,
    /// Everything but the sending.
    pub dry_run: bool,
    /// The same flow and MTU within this time is relayed once; zero: always. At most 10 s.
    pub dedup: Duration,
    pub limits: PmtudLimits,
}

#[derive(Clone, PartialEq, Debug)]
pub enum PmtudMode {
    Relay(PmtudRelay),
    /// One Ethernet frame to everybody on the segment.
    Broadcast,
}

#[derive(Clone, PartialEq, Debug)]
pub struct PmtudRelay {
    /// Our own, never a service address.
    pub address: IpAddr,
    /// 1..=65535, of every member.
    pub port: u16,
    pub members: Members,
    /// The first signs, all verify; empty only where `insecure`.
    pub keys: Vec<PathBuf>,
    pub insecure: bool,
}

/// Who else there is. Our own address, duplicates and other families are skipped where the list is used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Members {
    List(Vec<IpAddr>),
    /// One address a line, `#` begins a comment; read again when it changes.
    File(PathBuf),
    /// A name with an address for each member; resolved again and again.
    Dns(String),
}

/// An error that says less is not believed; 0 is below.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MinMtu {
    pub ipv4: u16,
    pub ipv6: u16,
}

/// Errors relayed, each a token bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PmtudLimits {
    /// Quoted client and MTU.
    pub flow: Rate,
    /// Source of the error (/24, /48).
    pub router: Rate,
    pub prefix: Rate,
    pub total: Rate,
}

/// "200/s"
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// 1..=10,000,000
    pub per_second: u32,
}
