//! pcapng: blocks of type, length, body and the length again. Section headers, interfaces and packets are read, all others
//! skipped.

use super::pcap::Order;
use super::{Broken, LARGEST_FRAME, LARGEST_RECORD, Next, Packet};
use crate::bgp::wire::reader::Reader;

const SECTION: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
/// Obsolete, but older files have it.
const PACKET: u32 = 2;
const SIMPLE: u32 = 3;
const ENHANCED: u32 = 6;

const BYTE_ORDER: u32 = 0x1A2B_3C4D;

/// Real files have a handful; what claims more is damaged.
const MAX_INTERFACES: usize = 4096;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pcapng {
    big: bool,
    interfaces: Vec<Interface>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Interface {
    link: u32,
    snaplen: u32,
    resolution: Resolution,
    /// `if_tsoffset`, in seconds.
    offset: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Resolution {
    /// Units are 10^-n seconds.
    Decimal(u8),
    /// Units are 2^-n seconds.
    Binary(u8),
}

impl Interface {
    fn nanoseconds(&self, units: u64) -> Option<u64> {
        let units = u128::from(units);
        let nanoseconds = match self.resolution {
            Resolution::Decimal(digits @ 0..=9) => units.checked_mul(10_u128.pow(u32::from(9 - digits)))?,
            Resolution::Decimal(digits) => units / 10_u128.checked_pow(u32::from(digits - 9))?,
            Resolution::Binary(bits) => units.checked_mul(1_000_000_000)?.checked_shr(u32::from(bits))?,
        };
        let offset = i128::from(self.offset) * 1_000_000_000;
        u64::try_from(i128::try_from(nanoseconds).ok()? + offset).ok()
    }
}

impl Pcapng {
    /// Whether a file that begins so is one.
    pub(super) fn is(start: &[u8]) -> bool {
        Reader::new(start).u32() == Some(SECTION)
    }

    pub(super) const fn new() -> Self {
        Self { big: false, interfaces: Vec::new() }
    }

    pub(super) fn next<'a>(&mut self, octets: &'a [u8]) -> Result<Next<'a>, Broken> {
        let mut reader = Reader::new(octets);
        let mut peek = reader;
        let Some(mark) = peek.u32() else { return Ok(Next::Wait) };
        if mark == SECTION {
            // The byte order stands behind the length, and holds for it.
            let (Some(_length), Some(order)) = (peek.u32(), peek.u32()) else { return Ok(Next::Wait) };
            self.big = match order {
                BYTE_ORDER => true,
                _ if order.swap_bytes() == BYTE_ORDER => false,
                _ => return Err(Broken::new("a section of neither byte order".to_owned())),
            };
            self.interfaces.clear();
        }
        let order = Order { big: self.big };
        let (Some(kind), Some(length)) = (order.u32(&mut reader), order.u32(&mut reader)) else {
            return Ok(Next::Wait);
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if !(12..=LARGEST_RECORD).contains(&length) {
            return Err(Broken::new(format!("a block of {length} octets")));
        }
        // Blocks end at a multiple of four, whatever some writers say.
        let used = length.next_multiple_of(4);
        if octets.len() < used {
            return Ok(Next::Wait);
        }
        let Some(body) = reader.sub(length - 12) else { return Ok(Next::Wait) };
        let broken = |what: &str| Broken::new(format!("{what} whose fields are longer than it is"));
        match kind {
            INTERFACE => {
                self.interface(body).ok_or_else(|| broken("an interface"))?;
                Ok(Next::Skip { used })
            }
            ENHANCED => Ok(Next::Packet { packet: self.enhanced(body).map_err(Broken::new)?, used }),
            PACKET => Ok(Next::Packet { packet: self.obsolete(body).map_err(Broken::new)?, used }),
            SIMPLE => Ok(Next::Packet { packet: self.simple(body).map_err(Broken::new)?, used }),
            _ => Ok(Next::Skip { used }),
        }
    }

    fn interface(&mut self, mut body: Reader<'_>) -> Option<()> {
        let order = Order { big: self.big };
        let link = u32::from(order.u16(&mut body)?);
        let _reserved = order.u16(&mut body)?;
        let snaplen = order.u32(&mut body)?;
        let mut interface = Interface { link, snaplen, resolution: Resolution::Decimal(6), offset: 0 };
        while let (Some(code), Some(length)) = (order.u16(&mut body), order.u16(&mut body)) {
            let value = body.take(usize::from(length))?;
            let _padding = body.take(usize::from(length).next_multiple_of(4) - usize::from(length));
            match (code, value) {
                (0, _) => break,
                (9, [base]) if base & 0x80 != 0 => interface.resolution = Resolution::Binary(base & 0x7F),
                (9, [base]) => interface.resolution = Resolution::Decimal(*base),
                (14, octets) => {
                    let octets = <[u8; 8]>::try_from(octets).ok()?;
                    interface.offset = if self.big { i64::from_be_bytes(octets) } else { i64::from_le_bytes(octets) };
                }
                _ => {}
            }
        }
        (self.interfaces.len() < MAX_INTERFACES).then(|| self.interfaces.push(interface))
    }

    fn enhanced<'a>(&self, mut body: Reader<'a>) -> Result<Packet<'a>, String> {
        let order = Order { big: self.big };
        let short = || "a packet block whose header is cut off".to_owned();
        let number = order.u32(&mut body).ok_or_else(short)?;
        self.timed(number, body)
    }

    fn obsolete<'a>(&self, mut body: Reader<'a>) -> Result<Packet<'a>, String> {
        let order = Order { big: self.big };
        let short = || "a packet block whose header is cut off".to_owned();
        let number = order.u16(&mut body).ok_or_else(short)?;
        let _drops = order.u16(&mut body).ok_or_else(short)?;
        self.timed(number.into(), body)
    }

    fn timed<'a>(&self, number: u32, mut body: Reader<'a>) -> Result<Packet<'a>, String> {
        let order = Order { big: self.big };
        let interface = self.at(number)?;
        let mut word = || order.u32(&mut body).ok_or_else(|| "a packet block whose header is cut off".to_owned());
        let (high, low, captured, original) = (word()?, word()?, word()?, word()?);
        let units = u64::from(high) << 32 | u64::from(low);
        packet(interface, interface.nanoseconds(units), captured, original, body)
    }

    fn simple<'a>(&self, mut body: Reader<'a>) -> Result<Packet<'a>, String> {
        let original = Order { big: self.big }.u32(&mut body).ok_or("a packet block whose header is cut off")?;
        let interface = self.at(0)?;
        let room = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let limit = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
        packet(interface, None, original.min(limit).min(room), original, body)
    }

    fn at(&self, number: u32) -> Result<&Interface, String> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        self.interfaces.get(index).ok_or_else(|| format!("a packet of interface {number}, which was not described"))
    }
}

fn packet<'a>(
    interface: &Interface,
    at: Option<u64>,
    captured: u32,
    original: u32,
    mut body: Reader<'a>,
) -> Result<Packet<'a>, String> {
    let length = usize::try_from(captured).unwrap_or(usize::MAX);
    let data = body.take(length).filter(|data| data.len() <= LARGEST_FRAME);
    let data = data.ok_or_else(|| format!("a packet of {captured} octets in a shorter block"))?;
    let missing = usize::try_from(original.saturating_sub(captured)).unwrap_or(usize::MAX);
    Ok(Packet { at, link: interface.link, data, missing })
}
