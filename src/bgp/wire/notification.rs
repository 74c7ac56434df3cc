//! NOTIFICATION (RFC 4271 §4.5): by name, and as an operator reads it.

use std::fmt;

use super::{Notification, Reader};

/// Error codes, and the subcodes below each, as IANA lists them.
pub mod code {
    pub const MESSAGE_HEADER: u8 = 1;
    pub const OPEN: u8 = 2;
    pub const UPDATE: u8 = 3;
    pub const HOLD_TIMER_EXPIRED: u8 = 4;
    pub const FSM: u8 = 5;
    pub const CEASE: u8 = 6;
    /// RFC 7313
    pub const ROUTE_REFRESH: u8 = 7;
    /// RFC 9687
    pub const SEND_HOLD_TIMER_EXPIRED: u8 = 8;

    pub mod header {
        pub const NOT_SYNCHRONIZED: u8 = 1;
        pub const BAD_LENGTH: u8 = 2;
        pub const BAD_TYPE: u8 = 3;
    }

    pub mod open {
        pub const UNSPECIFIC: u8 = 0;
        pub const UNSUPPORTED_VERSION: u8 = 1;
        pub const BAD_PEER_AS: u8 = 2;
        pub const BAD_IDENTIFIER: u8 = 3;
        pub const UNSUPPORTED_PARAMETER: u8 = 4;
        pub const UNACCEPTABLE_HOLD_TIME: u8 = 6;
        /// RFC 5492
        pub const UNSUPPORTED_CAPABILITY: u8 = 7;
        /// RFC 9234
        pub const ROLE_MISMATCH: u8 = 11;
    }

    pub mod update {
        pub const MALFORMED_ATTRIBUTE_LIST: u8 = 1;
        pub const UNRECOGNIZED_WELL_KNOWN: u8 = 2;
        pub const MISSING_WELL_KNOWN: u8 = 3;
        pub const ATTRIBUTE_FLAGS: u8 = 4;
        pub const ATTRIBUTE_LENGTH: u8 = 5;
        pub const INVALID_ORIGIN: u8 = 6;
        pub const INVALID_NEXT_HOP: u8 = 8;
        pub const OPTIONAL_ATTRIBUTE: u8 = 9;
        pub const INVALID_NETWORK_FIELD: u8 = 10;
        pub const MALFORMED_AS_PATH: u8 = 11;
    }

    /// RFC 6608
    pub mod fsm {
        pub const UNSPECIFIED: u8 = 0;
        pub const IN_OPEN_SENT: u8 = 1;
        pub const IN_OPEN_CONFIRM: u8 = 2;
        pub const IN_ESTABLISHED: u8 = 3;
    }

    /// RFC 4486, RFC 8538, RFC 9384
    pub mod cease {
        pub const MAXIMUM_PREFIXES: u8 = 1;
        pub const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
        pub const PEER_DECONFIGURED: u8 = 3;
        pub const ADMINISTRATIVE_RESET: u8 = 4;
        pub const CONNECTION_REJECTED: u8 = 5;
        pub const OTHER_CONFIGURATION_CHANGE: u8 = 6;
        pub const COLLISION: u8 = 7;
        pub const OUT_OF_RESOURCES: u8 = 8;
        pub const HARD_RESET: u8 = 9;
        pub const BFD_DOWN: u8 = 10;
    }

    pub mod route_refresh {
        pub const INVALID_LENGTH: u8 = 1;
    }
}

/// RFC 9003 §2: the length of the text is one octet.
const MAX_SHUTDOWN_TEXT: usize = 255;

impl Notification {
    pub fn new(code: u8, subcode: u8, data: impl Into<Vec<u8>>) -> Self {
        Self { code, subcode, data: data.into() }
    }

    pub const fn cease(subcode: u8) -> Self {
        Self { code: code::CEASE, subcode, data: Vec::new() }
    }

    /// RFC 9003: a text longer than 255 octets is cut at the last whole character.
    pub fn administrative_shutdown(text: &str) -> Self {
        let mut data = vec![0];
        for character in text.chars() {
            if data.len() - 1 + character.len_utf8() > MAX_SHUTDOWN_TEXT {
                break;
            }
            data.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        let length = u8::try_from(data.len() - 1).unwrap_or(u8::MAX);
        if let Some(first) = data.first_mut() {
            *first = length;
        }
        Self { code: code::CEASE, subcode: code::cease::ADMINISTRATIVE_SHUTDOWN, data }
    }

    pub const fn hold_timer_expired() -> Self {
        Self { code: code::HOLD_TIMER_EXPIRED, subcode: 0, data: Vec::new() }
    }

    /// RFC 9687
    pub const fn send_hold_timer_expired() -> Self {
        Self { code: code::SEND_HOLD_TIMER_EXPIRED, subcode: 0, data: Vec::new() }
    }

    /// RFC 6608 §4: the data is the type of the message that did not belong there.
    pub fn fsm_error(subcode: u8, message_type: u8) -> Self {
        Self { code: code::FSM, subcode, data: vec![message_type] }
    }

    /// The text of an Administrative Shutdown or Reset (RFC 9003), also inside a Hard Reset (RFC 8538). Control characters
    /// and what is no UTF-8 are replaced, since it goes to logs and terminals.
    pub fn shutdown_text(&self) -> Option<String> {
        if let Some(inner) = self.inside_hard_reset() {
            return inner.shutdown_text();
        }
        let carries_text =
            matches!(self.subcode, code::cease::ADMINISTRATIVE_SHUTDOWN | code::cease::ADMINISTRATIVE_RESET);
        if self.code != code::CEASE || !carries_text {
            return None;
        }
        let mut data = Reader::new(&self.data);
        let length = data.u8()?;
        let text = data.take(usize::from(length))?;
        let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        Some(String::from_utf8_lossy(text).chars().map(shown).collect::<String>()).filter(|text| !text.is_empty())
    }

    /// RFC 8538 §3.1: a Hard Reset carries the NOTIFICATION it stands for. One inside another is not looked into.
    fn inside_hard_reset(&self) -> Option<Self> {
        if (self.code, self.subcode) != (code::CEASE, code::cease::HARD_RESET) {
            return None;
        }
        let mut data = Reader::new(&self.data);
        let inner = Self { code: data.u8()?, subcode: data.u8()?, data: data.rest().to_vec() };
        (inner.subcode != code::cease::HARD_RESET || inner.code != code::CEASE).then_some(inner)
    }
}

const fn error_name(code: u8) -> Option<&'static str> {
    Some(match code {
        code::MESSAGE_HEADER => "Message Header Error",
        code::OPEN => "OPEN Message Error",
        code::UPDATE => "UPDATE Message Error",
        code::HOLD_TIMER_EXPIRED => "Hold Timer Expired",
        code::FSM => "Finite State Machine Error",
        code::CEASE => "Cease",
        code::ROUTE_REFRESH => "ROUTE-REFRESH Message Error",
        code::SEND_HOLD_TIMER_EXPIRED => "Send Hold Timer Expired",
        _ => return None,
    })
}

const fn subcode_name(code: u8, subcode: u8) -> Option<&'static str> {
    Some(match (code, subcode) {
        (code::MESSAGE_HEADER, 1) => "Connection Not Synchronized",
        (code::MESSAGE_HEADER, 2) => "Bad Message Length",
        (code::MESSAGE_HEADER, 3) => "Bad Message Type",
        (code::OPEN, 1) => "Unsupported Version Number",
        (code::OPEN, 2) => "Bad Peer AS",
        (code::OPEN, 3) => "Bad BGP Identifier",
        (code::OPEN, 4) => "Unsupported Optional Parameter",
        (code::OPEN, 5) => "Authentication Failure",
        (code::OPEN, 6) => "Unacceptable Hold Time",
        (code::OPEN, 7) => "Unsupported Capability",
        (code::OPEN, 11) => "Role Mismatch",
        (code::UPDATE, 1) => "Malformed Attribute List",
        (code::UPDATE, 2) => "Unrecognized Well-known Attribute",
        (code::UPDATE, 3) => "Missing Well-known Attribute",
        (code::UPDATE, 4) => "Attribute Flags Error",
        (code::UPDATE, 5) => "Attribute Length Error",
        (code::UPDATE, 6) => "Invalid ORIGIN Attribute",
        (code::UPDATE, 7) => "AS Routing Loop",
        (code::UPDATE, 8) => "Invalid NEXT_HOP Attribute",
        (code::UPDATE, 9) => "Optional Attribute Error",
        (code::UPDATE, 10) => "Invalid Network Field",
        (code::UPDATE, 11) => "Malformed AS_PATH",
        (code::FSM, 1) => "Receive Unexpected Message in OpenSent State",
        (code::FSM, 2) => "Receive Unexpected Message in OpenConfirm State",
        (code::FSM, 3) => "Receive Unexpected Message in Established State",
        (code::CEASE, 1) => "Maximum Number of Prefixes Reached",
        (code::CEASE, 2) => "Administrative Shutdown",
        (code::CEASE, 3) => "Peer De-configured",
        (code::CEASE, 4) => "Administrative Reset",
        (code::CEASE, 5) => "Connection Rejected",
        (code::CEASE, 6) => "Other Configuration Change",
        (code::CEASE, 7) => "Connection Collision Resolution",
        (code::CEASE, 8) => "Out of Resources",
        (code::CEASE, 9) => "Hard Reset",
        (code::CEASE, 10) => "BFD Down",
        (code::ROUTE_REFRESH, 1) => "Invalid Message Length",
        _ => return None,
    })
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (error_name(self.code), subcode_name(self.code, self.subcode)) {
            (Some(error), Some(subcode)) => write!(f, "{error}/{subcode}")?,
            (Some(error), None) if self.subcode == 0 => f.write_str(error)?,
            (Some(error), None) => write!(f, "{error}/subcode {}", self.subcode)?,
            (None, _) => write!(f, "error code {}/subcode {}", self.code, self.subcode)?,
        }
        if let Some(inner) = self.inside_hard_reset() {
            return write!(f, ": {inner}");
        }
        match self.shutdown_text() {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Notification {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_can_read_it() {
        let table: &[(Notification, &str)] = &[
            (Notification::new(1, 3, [7]), "Message Header Error/Bad Message Type"),
            (Notification::new(2, 2, []), "OPEN Message Error/Bad Peer AS"),
            (Notification::new(2, 0, []), "OPEN Message Error"),
            (Notification::new(2, 7, []), "OPEN Message Error/Unsupported Capability"),
            (Notification::new(2, 11, []), "OPEN Message Error/Role Mismatch"),
            (Notification::new(3, 11, []), "UPDATE Message Error/Malformed AS_PATH"),
            (Notification::hold_timer_expired(), "Hold Timer Expired"),
            (Notification::send_hold_timer_expired(), "Send Hold Timer Expired"),
            (
                Notification::fsm_error(code::fsm::IN_ESTABLISHED, 1),
                "Finite State Machine Error/Receive Unexpected Message in Established State",
            ),
            (Notification::administrative_shutdown("upgrade, #42"), "Cease/Administrative Shutdown: upgrade, #42"),
            (Notification::administrative_shutdown(""), "Cease/Administrative Shutdown"),
            (Notification::new(6, 2, [3, b'a', 0x1b, 0xff]), "Cease/Administrative Shutdown: a\u{fffd}\u{fffd}"),
            (Notification::new(6, 2, [9, b'a']), "Cease/Administrative Shutdown"),
            (Notification::new(6, 4, [1, b'a', b'b']), "Cease/Administrative Reset: a"),
            (Notification::new(6, 1, [0, 1, 1, 0, 0, 0, 9]), "Cease/Maximum Number of Prefixes Reached"),
            (Notification::cease(code::cease::BFD_DOWN), "Cease/BFD Down"),
            (Notification::cease(code::cease::HARD_RESET), "Cease/Hard Reset"),
            (Notification::new(6, 9, [6, 2, 2, b'h', b'i']), "Cease/Hard Reset: Cease/Administrative Shutdown: hi"),
            (Notification::new(6, 9, [6, 9, 6, 9]), "Cease/Hard Reset"),
            (Notification::new(6, 42, []), "Cease/subcode 42"),
            (Notification::new(7, 1, []), "ROUTE-REFRESH Message Error/Invalid Message Length"),
            (Notification::new(77, 1, []), "error code 77/subcode 1"),
        ];
        for (notification, text) in table {
            assert_eq!(&notification.to_string(), text);
        }
    }

    /// RFC 9003 §2: 255 octets, and no half character.
    #[test]
    fn a_text_is_cut_at_a_whole_character() {
        for (text, kept) in [
            ("x".repeat(255), 255),
            ("x".repeat(256), 255),
            ("é".repeat(127) + "x", 255),
            ("é".repeat(128), 254),
            ("x".repeat(254) + "é", 254),
        ] {
            let data = Notification::administrative_shutdown(&text).data;
            assert_eq!((usize::from(data[0]), data.len()), (kept, kept + 1), "{text}");
            assert_eq!(&data[1..], &text.as_bytes()[..kept]);
        }
    }

    #[test]
    fn only_a_shutdown_or_a_reset_has_a_text() {
        let text = |code, subcode| Notification::new(code, subcode, [2, b'h', b'i']).shutdown_text();
        let hi = Some("hi".to_owned());
        assert_eq!([text(6, 2), text(6, 4), text(6, 3), text(5, 2), text(3, 4)], [hi.clone(), hi, None, None, None]);
    }

    #[test]
    fn every_assigned_subcode_has_a_name() {
        let assigned = [(1, 1..=3), (2, 1..=7), (2, 11..=11), (3, 1..=11), (5, 1..=3), (6, 1..=10), (7, 1..=1)];
        for (code, subcodes) in assigned {
            for subcode in subcodes {
                assert_ne!(subcode_name(code, subcode), None, "{code}/{subcode}");
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let cut = Notification::administrative_shutdown(&"é".repeat(200));
        assert_eq!(cut.data.len(), 255);
        assert_eq!(cut.shutdown_text(), Some("é".repeat(127)));
    }
}
