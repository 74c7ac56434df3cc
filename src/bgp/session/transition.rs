//! How connections begin and end, and what the timers do (RFC 4271 §8.2.2, RFC 9687).

use std::mem;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;

use super::link::Link;
use super::open::{self, Agreed};
use super::pause::Pause;
use super::{Action, CONNECT_TIMEOUT, Kind, LARGE_HOLD, Liveness, Session, State};
use crate::Time;
use crate::bgp::connection::ConnectionId;
use crate::bgp::wire::{self, Notification};

/// How a connection ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct End {
    pub(super) farewell: Farewell,
    pub(super) pause: Pause,
    /// For the operator: who did what.
    pub(super) why: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Farewell {
    Say(Notification),
    /// Close without a word.
    Silent,
    /// The connection is gone already.
    Gone,
}

impl End {
    pub(super) fn ours(notification: Notification, why: String) -> Self {
        Self { pause: Pause::sent(&notification), farewell: Farewell::Say(notification), why }
    }
}

impl Session {
    pub(super) fn dial(&mut self, now: Time, id: Ipv4Addr) {
        let connection = ConnectionId(self.next_connection);
        self.next_connection = self.next_connection.wrapping_add(1);
        self.actions.push_back(Action::Dial { connection, to: self.settings.address });
        self.enter(now, State::Connect { id, connection, give_up_at: now + CONNECT_TIMEOUT });
    }

    /// A connection that is there, whoever opened it, gets our OPEN.
    pub(super) fn greet(&mut self, now: Time, link: Link) {
        let (connection, id) = (link.connection, link.id);
        self.enter(now, State::OpenSent { link, give_up_at: now + LARGE_HOLD });
        self.say(now, connection, Kind::Open, wire::open(&open::ours(&self.settings, id)));
    }

    pub(super) fn due(&mut self, now: Time) {
        match &self.state {
            State::Stopped => {}
            &State::Idle { id, retry_at } | &State::Active { id, retry_at } => {
                if retry_at <= now {
                    self.dial(now, id);
                }
            }
            State::Connect { give_up_at, .. } => {
                if *give_up_at <= now {
                    let seconds = CONNECT_TIMEOUT.as_secs();
                    let why = format!("no answer from {} within {seconds} s", self.settings.address);
                    self.leave(now, End { farewell: Farewell::Silent, pause: Pause::Retry, why });
                }
            }
            State::OpenSent { give_up_at, .. } => {
                if *give_up_at <= now {
                    self.silent(now, LARGE_HOLD);
                }
            }
            State::OpenConfirm { link, liveness, confirm_by, .. } => {
                if *confirm_by <= now {
                    let hold = liveness.map_or(LARGE_HOLD, |liveness| liveness.hold);
                    self.silent(now, hold);
                } else {
                    let connection = link.connection;
                    self.keepalive_if_due(now, connection, *liveness);
                }
            }
            State::Established { link, agreed, liveness, .. } => {
                let (connection, patience) = (link.connection, self.patience(agreed));
                if let Some(liveness) = liveness.filter(|liveness| liveness.expires_at <= now) {
                    self.silent(now, liveness.hold);
                } else if link.outbox.stalled_at(patience) <= now {
                    self.deaf(now, patience);
                } else {
                    self.keepalive_if_due(now, connection, *liveness);
                }
            }
        }
    }

    fn silent(&mut self, now: Time, hold: Duration) {
        let why = format!("hold timer expired: nothing heard for {} s", hold.as_secs());
        self.leave(now, End::ours(Notification::hold_timer_expired(), why));
    }

    /// RFC 9687 §3: the NOTIFICATION waits behind what the peer does not take, so it may never arrive; closing does
    /// not wait for it.
    fn deaf(&mut self, now: Time, patience: Duration) {
        let name = &self.settings.name;
        let why = format!("send hold timer expired: {name} took nothing for {patience:?}");
        self.leave(now, End::ours(Notification::send_hold_timer_expired(), why));
    }

    fn keepalive_if_due(&mut self, now: Time, connection: ConnectionId, liveness: Option<Liveness>) {
        if liveness.is_some_and(|liveness| liveness.keepalive_at <= now) {
            self.keepalive(now, connection);
        }
    }

    fn keepalive(&mut self, now: Time, connection: ConnectionId) {
        let mut full = false;
        if let State::OpenConfirm { link, liveness: Some(liveness), .. }
        | State::Established { link, liveness: Some(liveness), .. } = &mut self.state
        {
            liveness.spoke(now, &mut self.dice);
            full = link.outbox.room() == 0;
        }
        // What waits in a full window tells the peer as much as a KEEPALIVE behind it would, and stays bounded.
        if !full {
            self.say(now, connection, Kind::Keepalive, wire::keepalive());
        }
    }

    pub(super) fn patience(&self, agreed: &Agreed) -> Duration {
        // RFC 9687 §3: at least eight minutes, and twice the hold time where that is more.
        self.settings.send_hold_time.unwrap_or_else(|| {
            let hold = agreed.negotiated.hold_time.unwrap_or_default();
            Duration::from_secs(480).max(hold * 2)
        })
    }

    /// The end of whatever connection there is; nothing where there is none.
    pub(super) fn leave(&mut self, now: Time, end: End) {
        let (id, connection, greeted, up) = match self.take() {
            State::Connect { id, connection, .. } => (id, connection, false, None),
            State::OpenSent { link, .. } | State::OpenConfirm { link, .. } => (link.id, link.connection, true, None),
            State::Established { link, since, .. } => (link.id, link.connection, true, Some(since)),
            none @ (State::Stopped | State::Idle { .. } | State::Active { .. }) => {
                self.state = none;
                return;
            }
        };
        match end.farewell {
            Farewell::Say(notification) if greeted => {
                let bytes = wire::notification(&notification);
                self.actions.push_back(Action::Send { connection, bytes });
                self.actions.push_back(Action::Sent { kind: Kind::Notification, messages: 1 });
                self.actions.push_back(Action::Close { connection });
            }
            Farewell::Say(_) | Farewell::Silent => {
                self.actions.push_back(Action::Close { connection });
            }
            Farewell::Gone => {}
        }
        let why = end.why;
        self.last_error = Some(why.clone());
        if let Some(since) = up {
            self.backoff.lasted(&self.settings, now.since(since));
            self.actions.push_back(Action::Down { why });
        } else {
            self.actions.push_back(Action::Failed { why });
        }
        // A wait of zero ends with the next tick, so a peer that fails at once costs a loop, never a deeper stack.
        let retry_at = now + self.backoff.wait(&self.settings, end.pause, &mut self.dice);
        let pause = match end.pause {
            Pause::Retry => State::Active { id, retry_at },
            Pause::Hold | Pause::Longest => State::Idle { id, retry_at },
        };
        self.enter(now, pause);
    }

    pub(super) fn say(&mut self, now: Time, connection: ConnectionId, kind: Kind, bytes: Bytes) {
        if let Some(link) = self.link(connection) {
            link.outbox.push(now, bytes.clone(), None);
            self.actions.push_back(Action::Send { connection, bytes });
            self.actions.push_back(Action::Sent { kind, messages: 1 });
        }
    }

    pub(super) fn enter(&mut self, now: Time, state: State) {
        self.state = state;
        self.since = now;
    }

    pub(super) fn take(&mut self) -> State {
        mem::replace(&mut self.state, State::Stopped)
    }

    /// `None`: not the connection that counts, so what it says is stale.
    pub(super) fn link(&mut self, connection: ConnectionId) -> Option<&mut Link> {
        match &mut self.state {
            State::OpenSent { link, .. } | State::OpenConfirm { link, .. } | State::Established { link, .. } => {
                (link.connection == connection).then_some(link)
            }
            State::Stopped | State::Idle { .. } | State::Active { .. } | State::Connect { .. } => None,
        }
    }

    pub(super) const fn connection(&self) -> Option<ConnectionId> {
        match &self.state {
            State::Connect { connection, .. } => Some(*connection),
            State::OpenSent { link, .. } | State::OpenConfirm { link, .. } | State::Established { link, .. } => {
                Some(link.connection)
            }
            State::Stopped | State::Idle { .. } | State::Active { .. } => None,
        }
    }
}
