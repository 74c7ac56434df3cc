//! Messages off an octet stream that may begin anywhere and have holes: the daemon's own framing, and a search for the next
//! marker where that fails.

use bytes::{Bytes, BytesMut};

use super::bgp::{HEADER, kind};
use crate::bgp::wire::{self, Frame, MAX_MESSAGE, Notification, code};

const MARKER: [u8; 16] = [0xFF; 16];

#[derive(Default, Debug)]
pub(super) struct Framing {
    buffer: BytesMut,
    /// A message begins where the buffer does.
    synchronized: bool,
    /// Octets dropped in search of the next message.
    skipped: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Message(Frame),
    /// A marker, and then what cannot be: what RFC 4271 §6.1 answers.
    BadHeader {
        kind: u8,
        body: Bytes,
        reply: Notification,
    },
    /// No marker where a message should begin.
    NoMarker(Notification),
    /// Octets that belong to no message whose begin was seen.
    Skipped(u64),
    /// The octets end inside a message.
    Cut {
        kind: Option<u8>,
        there: usize,
        length: Option<u16>,
    },
}

impl Framing {
    /// The stream begins here, and so does a message.
    pub(super) fn begin(&mut self) {
        *self = Self { synchronized: true, ..Self::default() };
    }

    pub(super) fn extend(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    pub(super) fn next(&mut self, limit: usize) -> Option<Found> {
        if !self.synchronized {
            if !self.search() {
                return None;
            }
            if self.skipped > 0 {
                return Some(Found::Skipped(std::mem::take(&mut self.skipped)));
            }
        }
        match wire::frame(&mut self.buffer, limit) {
            Ok(frame) => frame.map(Found::Message),
            Err(reply) => self.wrong(reply),
        }
    }

    fn wrong(&mut self, reply: Notification) -> Option<Found> {
        if reply.subcode == code::header::NOT_SYNCHRONIZED {
            self.synchronized = false;
            return Some(Found::NoMarker(reply));
        }
        let (length, kind) = self.header()?;
        // What claims too much may claim anything: the next marker is a better guess than its length.
        let believable = (HEADER..=MAX_MESSAGE).contains(&usize::from(length));
        let take = if believable { usize::from(length) } else { HEADER };
        if self.buffer.len() < take {
            return None;
        }
        self.synchronized = believable;
        let body = self.buffer.split_to(take).split_off(HEADER).freeze();
        Some(Found::BadHeader { kind, body, reply })
    }

    fn header(&self) -> Option<(u16, u8)> {
        match self.buffer.get(16..19)? {
            [high, low, kind] => Some((u16::from_be_bytes([*high, *low]), *kind)),
            _ => None,
        }
    }

    /// Up to a marker with a length and a type that can be; false where there is none yet.
    fn search(&mut self) -> bool {
        let can_be = |window: &[u8]| match window {
            [marker @ .., high, low, kind] => {
                *marker == MARKER
                    && usize::from(u16::from_be_bytes([*high, *low])) >= HEADER
                    && (kind::OPEN..=kind::ROUTE_REFRESH).contains(kind)
            }
            _ => false,
        };
        let found = self.buffer.windows(HEADER).position(can_be);
        // Without one, all but what may be the begin of a header can go.
        let drop = found.unwrap_or_else(|| self.buffer.len().saturating_sub(HEADER - 1));
        let _ = self.buffer.split_to(drop);
        self.skipped += u64::try_from(drop).unwrap_or_default();
        self.synchronized = found.is_some();
        self.synchronized
    }

    /// Octets are missing, or no more will come: what is there of a message, and a search for the next one.
    pub(super) fn interrupt(&mut self) -> Option<Found> {
        let there = self.buffer.len();
        let found = if self.synchronized && there > 0 {
            let header = self.header();
            Some(Found::Cut { kind: header.map(|(_, kind)| kind), there, length: header.map(|(length, _)| length) })
        } else {
            let skipped = std::mem::take(&mut self.skipped) + u64::try_from(there).unwrap_or_default();
            (skipped > 0).then_some(Found::Skipped(skipped))
        };
        *self = Self::default();
        found
    }
}
