//! What the scripts must show between them: each state with each event that matters there, and each NOTIFICATION.

use std::collections::BTreeSet;

use anycaster::bgp::session::{Action, Received};
use anycaster::bgp::wire::{Notification, code};

/// What was seen in one script, or in all of them.
#[derive(Default)]
pub(crate) struct Seen {
    events: BTreeSet<String>,
    sent: BTreeSet<String>,
    received: BTreeSet<String>,
    /// NOTIFICATION of ours, and KEEPALIVE of ours, since the last event.
    said: Option<(u8, u8)>,
    kept_alive: bool,
}

impl Seen {
    pub(crate) fn add(&mut self, other: Self) {
        self.events.extend(other.events);
        self.sent.extend(other.sent);
        self.received.extend(other.received);
    }

    pub(crate) fn action(&mut self, action: &Action) {
        match action {
            // Type 3 and code, subcode; type 4.
            Action::Send { bytes, .. } => match bytes[18..] {
                [3, code, subcode, ..] => {
                    self.said = Some((code, subcode));
                    self.sent.insert(format!("{code}/{subcode}"));
                }
                [4] => self.kept_alive = true,
                _ => {}
            },
            Action::Received(Received::Notification(said)) => {
                self.received.insert(format!("{}/{}{}", said.code, said.subcode, text(said)));
            }
            Action::Dial { .. }
            | Action::Close { .. }
            | Action::Up(_)
            | Action::Down { .. }
            | Action::Failed { .. }
            | Action::Refresh { .. }
            | Action::Flushed { .. }
            | Action::Received(_)
            | Action::Sent { .. } => {}
        }
    }

    /// An author's line, and the state before it.
    pub(crate) fn event(&mut self, before: &str, who: &str, words: &[&str]) {
        let said = self.said.take();
        self.kept_alive = false;
        let event = match (who, words) {
            ("we", [word @ ("start" | "stop"), ..]) => word,
            ("peer", _) if matches!(said, Some((code::MESSAGE_HEADER, _))) => "broken header",
            ("peer", ["unreachable"]) => "refuse",
            ("peer", ["EOR", ..]) => "UPDATE",
            ("peer", ["bytes", hex @ ..]) => match hex.concat().get(36..38) {
                Some("01") => "OPEN",
                Some("02") => "UPDATE",
                Some("03") => "NOTIFICATION",
                Some("05") => "REFRESH",
                _ => "part of a message",
            },
            ("peer", [word, ..]) => word,
            _ => return,
        };
        self.events.insert(format!("{before}: {event}"));
    }

    /// A deadline that the session waited for, and the state before it.
    pub(crate) fn timer(&mut self, before: &str) {
        let (said, kept_alive) = (self.said.take(), std::mem::take(&mut self.kept_alive));
        let timer = match (before, said) {
            ("Idle", _) => "idle hold timer",
            ("Active", _) => "connect retry timer",
            ("Connect", _) => "connect timer",
            (_, Some((code::HOLD_TIMER_EXPIRED, _))) => "hold timer",
            (_, Some((code::SEND_HOLD_TIMER_EXPIRED, _))) => "send hold timer",
            _ if kept_alive => "keepalive timer",
            _ => return,
        };
        self.events.insert(format!("{before}: {timer}"));
    }

    /// What no script shows, one a line.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (event, states) in EVENTS {
            for state in states.split_whitespace() {
                let pair = format!("{state}: {event}");
                if !self.events.contains(&pair) {
                    missing.push(format!("event {pair}"));
                }
            }
        }
        for (verb, wanted, seen) in [("sent", SENT, &self.sent), ("received", RECEIVED, &self.received)] {
            for one in wanted.split(';').map(str::trim) {
                if !seen.contains(one) {
                    missing.push(format!("NOTIFICATION {one} {verb}"));
                }
            }
        }
        // Whoever adds an error to the session adds it to the table.
        let listed: BTreeSet<&str> = SENT.split(';').map(str::trim).collect();
        let unlisted = self.sent.iter().filter(|one| !listed.contains(one.as_str()));
        missing.extend(unlisted.map(|one| format!("NOTIFICATION {one} is sent, and not in the table")));
        missing
    }
}

/// Which form the text of RFC 9003 has, where there is one.
fn text(said: &Notification) -> &'static str {
    if said.code != code::CEASE || !matches!(said.subcode, 2 | 4) {
        return "";
    }
    let Some((&length, rest)) = said.data.split_first() else { return "" };
    let Some(text) = rest.get(..usize::from(length)) else { return " text cut off" };
    match std::str::from_utf8(text) {
        _ if rest.len() > text.len() => " octets behind the text",
        Err(_) => " text not UTF-8",
        Ok(text) if text.chars().any(char::is_control) => " text with control characters",
        Ok(text) if text.len() > 128 => " text longer than RFC 8203's",
        Ok(_) => " text",
    }
}

/// RFC 4271 §8: the event, and the states in which it happens to a speaker that only dials. Idle before a start is
/// Stopped. In Idle, Active and Connect a message can only be a late one of a connection that is over.
const EVENTS: &[(&str, &str)] = &[
    ("start", "Stopped Idle Active Connect OpenSent OpenConfirm Established"),
    ("stop", "Stopped Idle Active Connect OpenSent OpenConfirm Established"),
    ("accept", "Stopped Active Connect"),
    ("refuse", "Connect"),
    ("close", "Idle Active OpenSent OpenConfirm Established"),
    ("reset", "OpenSent OpenConfirm Established"),
    ("OPEN", "Stopped Idle Active Connect OpenSent OpenConfirm Established"),
    ("KEEPALIVE", "Stopped Idle Active Connect OpenSent OpenConfirm Established"),
    ("UPDATE", "Stopped Idle Active Connect OpenSent OpenConfirm Established"),
    ("NOTIFICATION", "Stopped Idle Active Connect OpenSent OpenConfirm Established"),
    ("REFRESH", "Stopped Idle Active Connect OpenSent OpenConfirm Established"),
    ("part of a message", "OpenSent Established"),
    ("broken header", "OpenSent OpenConfirm Established"),
    ("idle hold timer", "Idle"),
    ("connect retry timer", "Active"),
    ("connect timer", "Connect"),
    ("hold timer", "OpenSent OpenConfirm Established"),
    ("keepalive timer", "OpenConfirm Established"),
    ("send hold timer", "Established"),
];

/// All that we send. 2/5 is deprecated, 2/7 would need a capability that we insist on, 3/3 and 3/7 never reset a session
/// any more (RFC 7606), and the only Cease of ours is the operator's or the daemon's stop.
const SENT: &str = "1/1; 1/2; 1/3; 2/0; 2/1; 2/2; 2/3; 2/4; 2/6; 3/1; 3/2; 3/4; 3/5; 3/6; 3/8; 3/9; 3/10; 3/11; 4/0; \
                    5/1; 5/2; 5/3; 6/2; 7/1; 8/0";

/// All that IANA lists, unknown ones, and the forms of RFC 9003's text.
const RECEIVED: &str = "1/0; 1/1; 1/2; 1/3; 2/0; 2/1; 2/2; 2/3; 2/4; 2/5; 2/6; 2/7; 2/11; 3/0; 3/1; 3/2; 3/3; 3/4; 3/5; \
                        3/6; 3/7; 3/8; 3/9; 3/10; 3/11; 4/0; 5/0; 5/1; 5/2; 5/3; 6/0; 6/1; 6/2; 6/3; 6/4; 6/5; 6/6; 6/7; \
                        6/8; 6/9; 6/10; 6/42; 7/0; 7/1; 8/0; 77/1; 6/2 text; 6/4 text; 6/2 text cut off; \
                        6/2 octets behind the text; 6/2 text not UTF-8; 6/2 text with control characters; \
                        6/2 text longer than RFC 8203's";
