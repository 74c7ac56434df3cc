//! RFC 4271 §8 towards one neighbor, with one connection at a time. Pure: time is an argument, [`Session::poll`] is the
//! only way out.
//!
//! ```text
//!            start               connected            OPEN                 KEEPALIVE
//!   (off) ----------> Connect ------------> OpenSent -------> OpenConfirm -----------> Established
//!     ^                ^   \                  |                  |                        |
//!     | stop     dial  |    \________________ | ________________ | _______________________|
//!     |                |                      v
//!     +---- Active (connect-retry after a transport failure, hold expiry, a Cease)
//!     +---- Idle   (idle-hold, doubling, after a protocol error)
//! ```
//!
//! # Why Active while we only dial?
//! It names the pause in which a connection of the peer's would be welcome; in Idle it would not be (RFC 4271 §8.2.2).
//! An operator sees from the word alone whether the network failed or somebody broke the protocol.
//!
//! # Why are there two peer clocks?
//! The hold timer hears whether the peer speaks, the send hold timer (RFC 9687) whether it listens.

mod action;
mod hear;
mod link;
mod open;
mod pause;
mod transition;
mod words;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::action::{Action, Count, Kind, Received};
use self::link::Link;
use self::open::Agreed;
use self::pause::{Backoff, Pause, jittered};
use self::transition::{End, Farewell};
use crate::Time;
use crate::bgp::connection::{Closed, ConnectionId};
use crate::bgp::wire::{Asn, Codec, Families, Family, Notification};
use crate::dice::Dice;

/// Most octets sent to `io` and not yet written: enough to fill a 10 Gbit/s link's round trip in a rack, little enough
/// that a neighbor who stops reading keeps its backlog with us as a difference to send, not as bytes.
pub const WINDOW: usize = 64 * 1024;

/// A SYN goes out at 0, 1 and 3 s: who has not answered the third is down, or a firewall.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// RFC 4271 §8.2.2: "a hold timer value of 4 minutes is suggested" until the OPENs have agreed on one.
const LARGE_HOLD: Duration = Duration::from_secs(240);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settings {
    pub name: String,
    pub peer_asn: PeerAsn,
    /// The AS this neighbor knows us by.
    pub local_asn: Asn,
    pub address: SocketAddr,
    pub families: Families,
    pub hold_time: u16,
    pub min_hold_time: u16,
    pub connect_retry: Duration,
    pub idle_hold: Duration,
    pub idle_hold_max: Duration,
    /// `None`: max(8 min, 2 x negotiated hold), RFC 9687.
    pub send_hold_time: Option<Duration>,
    /// Offer RFC 8950: the session's address is IPv6.
    pub extended_next_hop: bool,
    /// The first [`ConnectionId`]; counts up from there.
    pub connections: u64,
    /// Of the jitter.
    pub seed: u64,
}

/// Which AS the peer has to be of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PeerAsn {
    Is(Asn),
    /// Any but ours.
    External,
    /// Ours.
    Internal,
}

/// What both OPENs agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Negotiated {
    pub codec: Codec,
    pub ipv4: bool,
    pub ipv6: bool,
    /// RFC 7313: answer a refresh between two markers.
    pub enhanced_route_refresh: bool,
    /// `None`: no hold timer and no KEEPALIVEs.
    pub hold_time: Option<Duration>,
    pub local: SocketAddr,
    pub peer_asn: u32,
}

impl Negotiated {
    pub const fn speaks(&self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }
}

/// A view of one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Status {
    /// Idle Connect Active OpenSent OpenConfirm Established
    pub state: &'static str,
    pub since: Time,
    /// From the peer's OPEN on.
    pub negotiated: Option<Negotiated>,
    /// What both sides offered, by name; empty before the peer's OPEN.
    pub capabilities: Vec<String>,
    /// Where Established: since when.
    pub up_since: Option<Time>,
    /// When the next dial comes, where one is waited for.
    pub retry_at: Option<Time>,
    /// Why the last connection ended; stays when the next one comes up.
    pub last_error: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum State {
    /// Not enabled.
    Stopped,
    /// After a protocol error.
    Idle {
        id: Ipv4Addr,
        retry_at: Time,
    },
    /// After a transport failure.
    Active {
        id: Ipv4Addr,
        retry_at: Time,
    },
    Connect {
        id: Ipv4Addr,
        connection: ConnectionId,
        give_up_at: Time,
    },
    OpenSent {
        link: Link,
        give_up_at: Time,
    },
    OpenConfirm {
        link: Link,
        agreed: Agreed,
        liveness: Option<Liveness>,
        confirm_by: Time,
    },
    Established {
        link: Link,
        agreed: Agreed,
        liveness: Option<Liveness>,
        since: Time,
    },
}

/// The two timers of a session with a hold time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Liveness {
    hold: Duration,
    expires_at: Time,
    keepalive_at: Time,
}

impl Liveness {
    fn new(now: Time, hold: Duration, dice: &mut Dice) -> Self {
        let mut liveness = Self { hold, expires_at: now + hold, keepalive_at: now };
        liveness.spoke(now, dice);
        liveness
    }

    fn heard(&mut self, now: Time) {
        self.expires_at = now + self.hold;
    }

    /// A third of the hold time with jitter (RFC 4271 §10), and never more than one a second (§4.4).
    fn spoke(&mut self, now: Time, dice: &mut Dice) {
        self.keepalive_at = now + jittered(self.hold / 3, dice).max(Duration::from_secs(1));
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    settings: Settings,
    state: State,
    /// When the state got its present name.
    since: Time,
    backoff: Backoff,
    dice: Dice,
    next_connection: u64,
    last_error: Option<String>,
    /// Drained after every call, so there is nothing to write down.
    #[serde(skip)]
    actions: VecDeque<Action>,
}

impl Session {
    /// Idle, not started.
    pub fn new(settings: Settings) -> Self {
        Self {
            state: State::Stopped,
            since: Time::default(),
            backoff: Backoff::default(),
            dice: Dice::new(settings.seed),
            next_connection: settings.connections,
            last_error: None,
            actions: VecDeque::new(),
            settings,
        }
    }

    /// Dials at once; `id` is our BGP identifier until the next `stop`.
    pub fn start(&mut self, now: Time, id: Ipv4Addr) {
        if matches!(self.state, State::Stopped) {
            self.backoff = Backoff::default();
            self.dial(now, id);
        }
    }

    /// Says `notification` where there is somebody to say it to, and stays Idle until `start`.
    pub fn stop(&mut self, now: Time, notification: Notification) {
        let why = format!("stopped: {notification}");
        self.leave(now, End::ours(notification, why));
        self.enter(now, State::Stopped);
    }

    pub fn connected(&mut self, now: Time, connection: ConnectionId, local: SocketAddr) {
        match self.state {
            State::Connect { id, connection: dialled, .. } if dialled == connection => {
                self.greet(now, Link::new(connection, id, local));
            }
            State::Stopped
            | State::Idle { .. }
            | State::Active { .. }
            | State::Connect { .. }
            | State::OpenSent { .. }
            | State::OpenConfirm { .. }
            | State::Established { .. } => {}
        }
    }

    pub fn received(&mut self, now: Time, connection: ConnectionId, bytes: &[u8]) {
        if let Some(link) = self.link(connection) {
            link.inbox.extend_from_slice(bytes);
        }
        while let Some(frame) = self.next_frame(connection) {
            let end = match frame {
                Ok(frame) => self.message(now, &frame).err(),
                Err(notification) => Some(self.malformed(notification)),
            };
            if let Some(end) = end {
                self.leave(now, end);
            }
        }
    }

    pub fn written(&mut self, now: Time, connection: ConnectionId, bytes: usize) {
        if let Some(link) = self.link(connection) {
            let marks = link.outbox.written(now, bytes);
            self.actions.extend(marks.into_iter().map(|mark| Action::Flushed { mark }));
        }
    }

    pub fn closed(&mut self, now: Time, connection: ConnectionId, why: &Closed) {
        if self.connection() == Some(connection) {
            let why = self.explain(why);
            self.leave(now, End { farewell: Farewell::Gone, pause: Pause::Retry, why });
        }
    }

    /// Does what is due by `now`.
    pub fn tick(&mut self, now: Time) {
        self.due(now);
        // A wait of zero that began just now is over too; a dial takes longer, so twice is enough.
        self.due(now);
    }

    /// When to call [`Self::tick`]; `Time::MAX`: no need to.
    pub fn deadline(&self) -> Time {
        match &self.state {
            State::Stopped => Time::MAX,
            State::Idle { retry_at, .. } | State::Active { retry_at, .. } => *retry_at,
            State::Connect { give_up_at, .. } | State::OpenSent { give_up_at, .. } => *give_up_at,
            State::OpenConfirm { liveness, confirm_by, .. } => {
                liveness.map_or(*confirm_by, |l| l.keepalive_at.min(*confirm_by))
            }
            State::Established { link, agreed, liveness, .. } => {
                let stalled = link.outbox.stalled_at(self.patience(agreed));
                liveness.map_or(stalled, |l| l.keepalive_at.min(l.expires_at).min(stalled))
            }
        }
    }

    /// First in, first out; call until `None`.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whole UPDATEs, and the ROUTE-REFRESHes that mark a refresh (RFC 7313), where Established; ask [`Self::room`]
    /// first. [`Action::Flushed`] brings `mark` back.
    pub fn send(&mut self, now: Time, bytes: Bytes, mark: u64) {
        let (updates, refreshes) = action::count_messages(&bytes);
        if let State::Established { link, liveness, .. } = &mut self.state {
            // RFC 4271 §8.2.2: a sent UPDATE restarts the keepalive timer.
            if let Some(liveness) = liveness
                && updates > 0
            {
                liveness.spoke(now, &mut self.dice);
            }
            link.outbox.push(now, bytes.clone(), Some(mark));
            self.actions.push_back(Action::Send { connection: link.connection, bytes });
            for (kind, messages) in [(Kind::Update, updates), (Kind::RouteRefresh, refreshes)] {
                if messages > 0 {
                    self.actions.push_back(Action::Sent { kind, messages });
                }
            }
        }
    }

    /// Octets that may be sent now; 0 unless Established.
    pub const fn room(&self) -> usize {
        match &self.state {
            State::Established { link, .. } => link.outbox.room(),
            State::Stopped
            | State::Idle { .. }
            | State::Active { .. }
            | State::Connect { .. }
            | State::OpenSent { .. }
            | State::OpenConfirm { .. } => 0,
        }
    }

    pub fn status(&self) -> Status {
        let (mut retry_at, mut agreed, mut up_since) = (None, None, None);
        match &self.state {
            State::Stopped | State::Connect { .. } | State::OpenSent { .. } => {}
            State::Idle { retry_at: at, .. } | State::Active { retry_at: at, .. } => retry_at = Some(*at),
            State::OpenConfirm { agreed: both, .. } => agreed = Some(both),
            State::Established { agreed: both, since, .. } => (agreed, up_since) = (Some(both), Some(*since)),
        }
        Status {
            state: self.state.name(),
            since: self.since,
            negotiated: agreed.map(|both| both.negotiated),
            capabilities: agreed.map(|both| both.capabilities.clone()).unwrap_or_default(),
            up_since,
            retry_at,
            last_error: self.last_error.clone(),
        }
    }
}

impl State {
    const fn name(&self) -> &'static str {
        match self {
            Self::Stopped | Self::Idle { .. } => "Idle",
            Self::Active { .. } => "Active",
            Self::Connect { .. } => "Connect",
            Self::OpenSent { .. } => "OpenSent",
            Self::OpenConfirm { .. } => "OpenConfirm",
            Self::Established { .. } => "Established",
        }
    }
}
