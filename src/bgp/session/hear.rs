//! What each message does in each state (RFC 4271 §8.2.2, RFC 6608).

use ipnet::IpNet;

use super::open;
use super::pause::Pause;
use super::transition::{End, Farewell};
use super::{Action, Count, Kind, LARGE_HOLD, Liveness, Received, Session, State};
use crate::Time;
use crate::bgp::connection::ConnectionId;
use crate::bgp::wire::{self, Codec, Family, Frame, Message, Notification, RouteRefresh, Update, code};

/// Before the OPENs: as little as every BGP speaker knows.
const PLAIN: Codec =
    Codec { four_octet_asn: false, extended_message: false, extended_next_hop: false, internal: false };

impl Session {
    pub(super) fn next_frame(&mut self, connection: ConnectionId) -> Option<Result<Frame, Notification>> {
        let limit = match self.codec().extended_message {
            true => wire::MAX_EXTENDED_MESSAGE,
            false => wire::MAX_MESSAGE,
        };
        wire::frame(&mut self.link(connection)?.inbox, limit).transpose()
    }

    const fn codec(&self) -> Codec {
        match &self.state {
            State::OpenConfirm { agreed, .. } | State::Established { agreed, .. } => agreed.negotiated.codec,
            State::Stopped
            | State::Idle { .. }
            | State::Active { .. }
            | State::Connect { .. }
            | State::OpenSent { .. } => PLAIN,
        }
    }

    /// One whole message; `Err` ends the connection.
    pub(super) fn message(&mut self, now: Time, frame: &Frame) -> Result<(), End> {
        let kind = Kind::of(frame.kind);
        // Who is not awaited is not read either: RFC 6608 wants the type, whatever the body says.
        if let Some(kind) = kind
            && let Some((subcode, state)) = self.unexpected(kind)
        {
            let why = self.out_of_place(kind, state);
            return Err(End::ours(Notification::fsm_error(subcode, kind.code()), why));
        }
        match wire::decode(frame, &self.codec()) {
            Ok(Message::Open(open)) => self.opened(now, &open),
            Ok(Message::Keepalive) => {
                self.actions.push_back(Action::Received(Received::Keepalive));
                self.confirmed(now);
                Ok(())
            }
            Ok(Message::Update(update)) => {
                self.updated(now, update);
                Ok(())
            }
            Ok(Message::RouteRefresh(refresh)) => {
                self.refreshed(refresh);
                Ok(())
            }
            Ok(Message::Notification(notification)) => Err(self.refused(notification)),
            // RFC 4271 §6.4: an error in a NOTIFICATION is never answered.
            Err(_) if kind == Some(Kind::Notification) => Err(End {
                farewell: Farewell::Silent,
                pause: Pause::Hold,
                why: format!("{} sent a NOTIFICATION that cannot be read", self.settings.name),
            }),
            Err(notification) => Err(self.malformed(notification)),
        }
    }

    /// RFC 6608: the subcode and the state's name, where this message has no place in it.
    fn unexpected(&self, kind: Kind) -> Option<(u8, &'static str)> {
        let (subcode, expected) = match (&self.state, kind) {
            (_, Kind::Notification) => (code::fsm::UNSPECIFIED, true),
            (State::OpenSent { .. }, kind) => (code::fsm::IN_OPEN_SENT, kind == Kind::Open),
            (State::OpenConfirm { .. }, kind) => (code::fsm::IN_OPEN_CONFIRM, kind == Kind::Keepalive),
            (State::Established { .. }, kind) => (code::fsm::IN_ESTABLISHED, kind != Kind::Open),
            (State::Stopped | State::Idle { .. } | State::Active { .. } | State::Connect { .. }, _) => {
                (code::fsm::UNSPECIFIED, true)
            }
        };
        (!expected).then(|| (subcode, self.state.name()))
    }

    fn opened(&mut self, now: Time, open: &wire::Open) -> Result<(), End> {
        self.actions.push_back(Action::Received(Received::Open));
        let State::OpenSent { link, .. } = &self.state else { return Ok(()) };
        let agreed = open::judge(&self.settings, link.id, link.local, open)?;
        let hold = agreed.negotiated.hold_time;
        let liveness = hold.map(|hold| Liveness::new(now, hold, &mut self.dice));
        // Without a hold time RFC 4271 would wait for ever for a KEEPALIVE that has to come all the same.
        let confirm_by = liveness.map_or(now + LARGE_HOLD, |liveness| liveness.expires_at);
        if let State::OpenSent { link, .. } = self.take() {
            let connection = link.connection;
            self.enter(now, State::OpenConfirm { link, agreed, liveness, confirm_by });
            self.say(now, connection, Kind::Keepalive, wire::keepalive());
        }
        Ok(())
    }

    fn confirmed(&mut self, now: Time) {
        if let State::Established { liveness: Some(liveness), .. } = &mut self.state {
            liveness.heard(now);
        }
        if !matches!(self.state, State::OpenConfirm { .. }) {
            return;
        }
        if let State::OpenConfirm { link, agreed, mut liveness, .. } = self.take() {
            if let Some(liveness) = &mut liveness {
                liveness.heard(now);
            }
            self.actions.push_back(Action::Up(agreed.negotiated));
            self.enter(now, State::Established { link, agreed, liveness, since: now });
        }
    }

    fn updated(&mut self, now: Time, update: Update) {
        if let State::Established { liveness: Some(liveness), .. } = &mut self.state {
            liveness.heard(now);
        }
        self.actions.push_back(Action::Received(Received::Update {
            announced: count(&update.announced),
            withdrawn: count(&update.withdrawn),
            malformed: update.malformed,
        }));
    }

    fn refreshed(&mut self, refresh: RouteRefresh) {
        self.actions.push_back(Action::Received(Received::RouteRefresh));
        // RFC 7313 §5: begin and end of the peer's own routes mean nothing to who keeps none; other subtypes and
        // families that were not agreed on (RFC 2918 §4) are ignored.
        if let (
            RouteRefresh { family: Some(family), subtype: RouteRefresh::REQUEST },
            State::Established { agreed, .. },
        ) = (refresh, &self.state)
            && agreed.negotiated.speaks(family)
        {
            self.actions.push_back(Action::Refresh { family });
        }
    }

    fn refused(&mut self, notification: Notification) -> End {
        let verb = match self.state {
            State::Established { .. } => "ended the session",
            State::Stopped
            | State::Idle { .. }
            | State::Active { .. }
            | State::Connect { .. }
            | State::OpenSent { .. }
            | State::OpenConfirm { .. } => "refused",
        };
        let why = format!("{} {verb}: {notification}", self.settings.name);
        let pause = Pause::received(&notification);
        self.actions.push_back(Action::Received(Received::Notification(notification)));
        End { farewell: Farewell::Silent, pause, why }
    }

    pub(super) fn malformed(&self, notification: Notification) -> End {
        let hint = match (notification.code, notification.subcode) {
            (code::MESSAGE_HEADER, code::header::NOT_SYNCHRONIZED) => " (no BGP marker: does BGP answer there?)",
            _ => "",
        };
        let why = format!("{} broke the protocol: {notification}{hint}", self.settings.name);
        End::ours(notification, why)
    }
}

fn count(prefixes: &[IpNet]) -> Count {
    let mut count = Count::default();
    for prefix in prefixes {
        match Family::of(prefix) {
            Family::Ipv4 => count.ipv4 += 1,
            Family::Ipv6 => count.ipv6 += 1,
        }
    }
    count
}
