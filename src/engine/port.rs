//! What goes into the engine and what comes out of it: all of it plain data.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::bgp::connection::{Closed, ConnectionId};
use crate::config::Hooks;
use crate::facts::{Fact, Watch};

/// One run of one check on one address. `run` is never used twice, so a late result is known as stale, even by a check
/// whose address went and came back meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ProbeId {
    /// Index into `Config::services`.
    pub service: usize,
    /// Index into `Service::checks`.
    pub check: usize,
    /// Where the probe goes, and (target = "service") where it comes from.
    pub address: IpAddr,
    pub run: u64,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    Fact(Fact),
    /// Answer to [`Output::Dial`]; `local` is what getsockname said.
    Connected {
        connection: ConnectionId,
        local: SocketAddr,
    },
    Received {
        connection: ConnectionId,
        bytes: Bytes,
    },
    /// So many more bytes of what [`Output::Send`] gave are with the kernel.
    Written {
        connection: ConnectionId,
        bytes: usize,
    },
    /// The connection is gone, or never came to be. The last thing said of it.
    Closed {
        connection: ConnectionId,
        why: Closed,
    },
    Probed {
        probe: ProbeId,
        outcome: Outcome,
        took: Duration,
    },
    /// Somebody says how a push check stands; what [`super::Engine::pushable`] did not find is not heard.
    Pushed {
        /// Index into `Config::services`.
        service: usize,
        /// Index into `Service::checks`.
        check: usize,
        /// `None`: on each address it has.
        address: Option<IpAddr>,
        pass: bool,
        detail: String,
    },
    /// Answer to [`Output::FindSource`]: the address the kernel would send from.
    Source {
        to: Ipv4Addr,
        address: Option<Ipv4Addr>,
    },
    /// Answer to [`Output::Hook`]: how the program ended, or why it could not run.
    HookEnded {
        service: usize,
        hook: Hook,
        result: Result<String, String>,
    },
    /// A managed address could not be added or removed; counted, tried again with the next full read.
    ManageFailed {
        address: IpAddr,
        detail: String,
    },
    /// SIGTERM, SIGINT: withdraw, settle, Cease, exit. A second one: exit now.
    Stop,
    /// Nothing but the time.
    Tick,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Pass {
        detail: String,
    },
    Fail {
        detail: String,
    },
    TimedOut {
        detail: String,
    },
    /// The source address is not on this host: no packet was sent.
    NoAddress,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Connect; answered by `Connected` or `Closed`. A connect that hangs is ended by [`Output::Close`].
    Dial {
        connection: ConnectionId,
        to: SocketAddr,
    },
    /// Answered by `Written`, in one or several parts.
    Send {
        connection: ConnectionId,
        bytes: Bytes,
    },
    /// Write what was sent before (for a second at most), then close. Answered by `Closed { AsAsked }`.
    Close {
        connection: ConnectionId,
    },
    /// Run a check once; answered by `Probed` no later than its timeout and a little.
    Probe {
        probe: ProbeId,
    },
    /// Ask the kernel; answered by `Fact::Listener`.
    Ask {
        watch: Watch,
    },
    /// The listeners whose closing must be reported at once, whole: replaces the previous set.
    Watch {
        watches: Vec<Watch>,
    },
    /// Which address would be used towards this neighbor? Answered by `Source`.
    FindSource {
        to: Ipv4Addr,
    },
    /// Put a host address on lo, or take it off; the netlink events that follow are the answer.
    Manage {
        address: IpAddr,
        present: bool,
    },
    /// The routers were told (or their sockets are full): run this service's program, once those before it have ended.
    Hook {
        service: usize,
        hook: Hook,
    },
    /// At least one neighbor is told this prefix from now on, or none any more. Only with `[pmtud]`.
    Announced {
        prefix: IpNet,
        announced: bool,
    },
    /// Something an operator wants to read.
    Event(Event),
    /// The first time every neighbor and prefix is known well enough to say READY=1.
    Ready,
    Stopping,
    /// Nothing is left to do: leave with exit code 0.
    Exit,
}

/// What a service can run a program for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Hook {
    Up,
    Down,
    Drain,
}

impl Hook {
    pub const ALL: [Self; 3] = [Self::Up, Self::Down, Self::Drain];

    /// The key in `hooks`, and the label of its metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Drain => "drain",
        }
    }

    /// The argv, where one is configured.
    pub fn command(self, hooks: &Hooks) -> Option<&[String]> {
        let command = match self {
            Self::Up => &hooks.up,
            Self::Down => &hooks.down,
            Self::Drain => &hooks.drain,
        };
        command.as_deref()
    }
}

/// One transition with its reason: a log line, and one of `/events`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Event {
    pub kind: EventKind,
    pub service: Option<String>,
    pub prefix: Option<String>,
    pub neighbor: Option<String>,
    pub from: String,
    pub to: String,
    /// The same word as in JSON and metrics, or empty.
    pub reason: String,
    pub detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    #[default]
    Session,
    Prefix,
    Check,
    Config,
    Netlink,
    Address,
    Hook,
}

impl EventKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Prefix => "prefix",
            Self::Check => "check",
            Self::Config => "config",
            Self::Netlink => "netlink",
            Self::Address => "address",
            Self::Hook => "hook",
        }
    }
}
