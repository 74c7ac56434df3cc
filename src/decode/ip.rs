//! IPv4 and IPv6 headers, extension headers included, down to what is inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bgp::wire::reader::Reader;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMP6: u8 = 58;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ip<'a> {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) ttl: u8,
    pub(super) protocol: u8,
    pub(super) payload: &'a [u8],
    /// Octets that the packet had and the capture has not.
    pub(super) missing: usize,
    pub(super) fragment: Option<Fragment>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Fragment {
    pub(super) id: u32,
    /// In octets.
    pub(super) offset: u16,
}

pub(super) fn read(packet: &[u8]) -> Option<Ip<'_>> {
    match packet.first()? >> 4 {
        4 => v4(packet),
        6 => v6(packet),
        _ => None,
    }
}

fn v4(packet: &[u8]) -> Option<Ip<'_>> {
    let mut reader = Reader::new(packet);
    let header = usize::from(reader.u8()? & 0x0F) * 4;
    let _service = reader.u8()?;
    let total = usize::from(reader.u16()?);
    let (id, flags) = (reader.u16()?, reader.u16()?);
    let (ttl, protocol) = (reader.u8()?, reader.u8()?);
    let _checksum = reader.u16()?;
    let (from, to) = (reader.array::<4>()?, reader.array::<4>()?);
    let _options = reader.take(header.checked_sub(20)?)?;
    // 0: the network card was to cut it up, and the length did not fit.
    let length = if total == 0 { reader.len() } else { total.checked_sub(header)? };
    let (offset, more) = ((flags & 0x1FFF) * 8, flags & 0x2000 != 0);
    let fragment = (offset > 0 || more).then_some(Fragment { id: id.into(), offset });
    let missing = length.saturating_sub(reader.len());
    let payload = reader.take(length.min(reader.len()))?;
    let (from, to) = (Ipv4Addr::from(from).into(), Ipv4Addr::from(to).into());
    Some(Ip { from, to, ttl, protocol, payload, missing, fragment })
}

fn v6(packet: &[u8]) -> Option<Ip<'_>> {
    let mut reader = Reader::new(packet);
    let _version_class_and_label = reader.u32()?;
    let length = usize::from(reader.u16()?);
    let (mut protocol, ttl) = (reader.u8()?, reader.u8()?);
    let (from, to) = (reader.array::<16>()?, reader.array::<16>()?);
    let length = if length == 0 { reader.len() } else { length };
    let missing = length.saturating_sub(reader.len());
    let mut rest = reader.sub(length.min(reader.len()))?;
    let mut fragment = None;
    loop {
        match protocol {
            // Hop-by-hop, routing, destination, mobility, host identity, shim6
            0 | 43 | 60 | 135 | 139 | 140 => {
                protocol = rest.u8()?;
                let units = usize::from(rest.u8()?);
                let _options = rest.take(6 + units * 8)?;
            }
            44 => {
                protocol = rest.u8()?;
                let _reserved = rest.u8()?;
                let field = rest.u16()?;
                let id = rest.u32()?;
                let offset = field & 0xFFF8;
                // RFC 6946: one that is whole is no fragment.
                if offset > 0 || field & 1 != 0 {
                    fragment = Some(Fragment { id, offset });
                }
                if offset > 0 {
                    break;
                }
            }
            // Authentication: its length counts four octets less than the others'.
            51 => {
                protocol = rest.u8()?;
                let units = usize::from(rest.u8()?);
                let _value = rest.take((units + 2).checked_mul(4)?.checked_sub(2)?)?;
            }
            _ => break,
        }
    }
    let (from, to) = (Ipv6Addr::from(from).into(), Ipv6Addr::from(to).into());
    Some(Ip { from, to, ttl, protocol, payload: rest.rest(), missing, fragment })
}
