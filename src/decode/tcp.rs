//! TCP put together again: segments of one direction in, octets in order out, with what is missing said.
//!
//! ```text
//!   ...----[delivered]----|next   (gap)   [pending]  [pending]
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::bgp::wire::reader::Reader;

/// A receive window of a BGP speaker is below that; what is further ahead waits for nothing that will come.
pub(super) const MAX_PENDING: usize = 1 << 20;

/// Segments of one octet must not cost more than their octets.
const MAX_PENDING_SEGMENTS: usize = 4096;

/// Both machines may sit behind different cards, so an acknowledgement may be captured before what it acknowledges.
const PATIENCE: u64 = 1_000_000_000;

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Segment<'a> {
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) sequence: u32,
    pub(super) acknowledged: u32,
    pub(super) flags: u8,
    pub(super) data: &'a [u8],
}

impl<'a> Segment<'a> {
    /// `None`: the header is not all there, or is wrong.
    pub(super) fn read(octets: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(octets);
        let (from, to) = (reader.u16()?, reader.u16()?);
        let (sequence, acknowledged) = (reader.u32()?, reader.u32()?);
        let header = usize::from(reader.u8()? >> 4) * 4;
        let flags = reader.u8()?;
        let _window_checksum_and_urgent = reader.take(6)?;
        let _options = reader.take(header.checked_sub(20)?)?;
        Some(Self { from, to, sequence, acknowledged, flags, data: reader.rest() })
    }
}

/// What comes out, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    Octets(Bytes),
    /// So many octets are not in the capture.
    Missing(u64),
}

/// One direction.
#[derive(Default, Debug)]
pub(super) struct Side {
    /// The sequence number of the octet that comes next, once one has been seen.
    next: Option<u32>,
    /// Octets so far, which is where `next` stands.
    position: u64,
    /// By position; all beyond `self.position`, and they may overlap.
    pending: BTreeMap<u64, Bytes>,
    pending_octets: usize,
    /// Since when there is a gap that the other side has acknowledged.
    acknowledged_at: Option<u64>,
}

impl Side {
    pub(super) const fn pending_octets(&self) -> usize {
        self.pending_octets
    }

    /// The sender's SYN: everything before it belongs to another connection.
    pub(super) fn begin(&mut self, sequence: u32) {
        *self = Self { next: Some(sequence.wrapping_add(1)), ..Self::default() };
    }

    /// Whether this sequence number begins what is already known.
    pub(super) fn began_with(&self, sequence: u32) -> bool {
        let offset = u32::try_from(self.position & 0xFFFF_FFFF).unwrap_or_default();
        self.next.is_some_and(|next| next.wrapping_sub(offset) == sequence.wrapping_add(1))
    }

    /// `missing`: octets at the segment's end that the capture has not.
    pub(super) fn take(&mut self, sequence: u32, data: &[u8], missing: usize, out: &mut Vec<Piece>) {
        if data.is_empty() && missing == 0 {
            return;
        }
        let next = *self.next.get_or_insert(sequence);
        let ahead = i64::from(sequence.wrapping_sub(next).cast_signed());
        let begins = i128::from(self.position) + i128::from(ahead);
        // Octets delivered already come again with a retransmission, or overlap.
        let known = usize::try_from(-begins + i128::from(self.position)).unwrap_or(0);
        let fresh = data.get(known..).unwrap_or_default();
        let Ok(begins) = u64::try_from(begins.max(i128::from(self.position))) else { return };
        if !fresh.is_empty() {
            self.keep(begins, fresh);
            self.deliver(out);
        }
        let end = begins + u64::try_from(fresh.len()).unwrap_or_default();
        if missing > 0 && known < data.len() + missing && end == self.position {
            let missing = missing - known.saturating_sub(data.len());
            self.skip(u64::try_from(missing).unwrap_or_default(), out);
            self.deliver(out);
        }
        while self.pending_octets > MAX_PENDING || self.pending.len() > MAX_PENDING_SEGMENTS {
            self.give_up_gap(out);
        }
    }

    fn keep(&mut self, begins: u64, fresh: &[u8]) {
        let longer = self.pending.get(&begins).is_none_or(|there| there.len() < fresh.len());
        if longer {
            self.pending_octets += fresh.len();
            if let Some(old) = self.pending.insert(begins, Bytes::copy_from_slice(fresh)) {
                self.pending_octets -= old.len();
            }
        }
    }

    fn deliver(&mut self, out: &mut Vec<Piece>) {
        while let Some(first) = self.pending.first_entry().filter(|first| *first.key() <= self.position) {
            let (begins, mut octets) = first.remove_entry();
            self.pending_octets -= octets.len();
            let known = usize::try_from(self.position - begins).unwrap_or(usize::MAX).min(octets.len());
            let octets = octets.split_off(known);
            if octets.is_empty() {
                continue;
            }
            self.advance(u64::try_from(octets.len()).unwrap_or_default());
            out.push(Piece::Octets(octets));
        }
        if self.pending.is_empty() {
            self.acknowledged_at = None;
        }
    }

    fn skip(&mut self, octets: u64, out: &mut Vec<Piece>) {
        self.advance(octets);
        out.push(Piece::Missing(octets));
    }

    fn advance(&mut self, octets: u64) {
        self.position += octets;
        let low = u32::try_from(octets & 0xFFFF_FFFF).unwrap_or_default();
        self.next = self.next.map(|next| next.wrapping_add(low));
    }

    /// The other side has said what it got, at this time of the capture.
    pub(super) fn acknowledged(&mut self, number: u32, at: u64, out: &mut Vec<Piece>) {
        let Some(next) = self.next else { return };
        if self.pending.is_empty() || number.wrapping_sub(next).cast_signed() <= 0 {
            return;
        }
        let since = *self.acknowledged_at.get_or_insert(at);
        if at.saturating_sub(since) >= PATIENCE {
            self.give_up_gap(out);
        }
    }

    /// What is missing before the first pending segment will not come any more.
    pub(super) fn give_up_gap(&mut self, out: &mut Vec<Piece>) {
        let Some((first, _)) = self.pending.first_key_value() else { return };
        let gap = first.saturating_sub(self.position);
        if gap > 0 {
            self.skip(gap, out);
        }
        self.acknowledged_at = None;
        self.deliver(out);
    }

    /// No more will come.
    pub(super) fn finish(&mut self, out: &mut Vec<Piece>) {
        while !self.pending.is_empty() {
            self.give_up_gap(out);
        }
    }
}

#[cfg(test)]
mod tests;
