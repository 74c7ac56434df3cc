//! pcap: a header, then records; either byte order, micro- or nanoseconds.
//!
//! ```text
//!   magic 4 | version 4 | zone 4 | sigfigs 4 | snaplen 4 | link type 4    then each
//!   seconds 4 | fraction 4 | captured 4 | original 4 | octets
//! ```

use super::{Broken, LARGEST_FRAME, Next, Packet};
use crate::bgp::wire::reader::Reader;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pcap {
    big: bool,
    /// Nanoseconds in one unit of the fraction.
    unit: u64,
    /// Alexey Kuznetzov's variant has eight octets more in each record's header.
    longer: usize,
    link: u32,
}

/// Integers in the byte order of the machine that wrote the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Order {
    pub(super) big: bool,
}

impl Order {
    pub(super) fn u16(self, reader: &mut Reader<'_>) -> Option<u16> {
        reader.array().map(|octets| if self.big { u16::from_be_bytes(octets) } else { u16::from_le_bytes(octets) })
    }

    pub(super) fn u32(self, reader: &mut Reader<'_>) -> Option<u32> {
        reader.array().map(|octets| if self.big { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) })
    }
}

impl Pcap {
    pub(super) const HEADER: usize = 24;

    /// `None`: another format, or fewer than [`Self::HEADER`] octets.
    pub(super) fn open(header: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(header);
        let magic = reader.u32()?;
        let (big, unit, longer) = match magic {
            0xA1B2_C3D4 => (true, 1000, 0),
            0xD4C3_B2A1 => (false, 1000, 0),
            0xA1B2_3C4D => (true, 1, 0),
            0x4D3C_B2A1 => (false, 1, 0),
            0xA1B2_CD34 => (true, 1000, 8),
            0x34CD_B2A1 => (false, 1000, 8),
            _ => return None,
        };
        let _versions_zone_digits_and_snaplen = reader.take(16)?;
        // The upper bits say something about frame check sequences.
        let link = Order { big }.u32(&mut reader)? & 0x0FFF_FFFF;
        Some(Self { big, unit, longer, link })
    }

    pub(super) const fn link(self) -> u32 {
        self.link
    }

    pub(super) fn next(self, octets: &[u8]) -> Result<Next<'_>, Broken> {
        let order = Order { big: self.big };
        let mut reader = Reader::new(octets);
        let mut header = || {
            let numbers = [order.u32(&mut reader)?, order.u32(&mut reader)?, order.u32(&mut reader)?];
            let original = order.u32(&mut reader)?;
            let _more = reader.take(self.longer)?;
            Some((numbers, original))
        };
        let Some(([seconds, fraction, captured], original)) = header() else { return Ok(Next::Wait) };
        let captured = usize::try_from(captured).unwrap_or(usize::MAX);
        if captured > LARGEST_FRAME {
            return Err(Broken::new(format!("a frame of {captured} octets: no capture has that")));
        }
        let Some(data) = reader.take(captured) else { return Ok(Next::Wait) };
        let at = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.unit;
        let missing = usize::try_from(original).unwrap_or(usize::MAX).saturating_sub(captured);
        let used = 16 + self.longer + captured;
        Ok(Next::Packet { packet: Packet { at: Some(at), link: self.link, data, missing }, used })
    }
}
