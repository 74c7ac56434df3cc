//! Prefixes, and what other families have in their place.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::hex;
use crate::bgp::wire::reader::Reader;

/// One route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::decode) struct Nlri<'a> {
    pub(in crate::decode) text: String,
    /// Without its path identifier.
    pub(in crate::decode) octets: &'a [u8],
}

/// All of a field. The error is where in it the first wrong one begins.
pub(in crate::decode) fn read(afi: u16, safi: u8, paths: bool, field: &[u8]) -> Result<Vec<Nlri<'_>>, usize> {
    let mut reader = Reader::new(field);
    let mut all = Vec::new();
    while !reader.is_empty() {
        let at = field.len() - reader.len();
        all.push(one(afi, safi, paths, &mut reader).ok_or(at)?);
    }
    Ok(all)
}

/// More than one default route in a field: path identifiers that were taken for prefixes.
pub(in crate::decode) fn improbable(routes: &[Nlri<'_>]) -> bool {
    routes.iter().filter(|route| route.octets == [0]).count() > 1
}

fn one<'a>(afi: u16, safi: u8, paths: bool, reader: &mut Reader<'a>) -> Option<Nlri<'a>> {
    let path = if paths { Some(reader.u32()?) } else { None };
    let start = *reader;
    let mut text = match (afi, safi) {
        (1 | 2, 1 | 2) => {
            let bits = reader.u8()?;
            prefix(afi, bits, reader)?
        }
        (1 | 2, 4 | 128) => labeled(afi, safi == 128, reader)?,
        (1, 132) => target(reader)?,
        (25, 70) => evpn(reader)?,
        (1 | 2, 133 | 134) => {
            let short = reader.u8()?;
            let length =
                if short < 240 { short.into() } else { usize::from(short & 0x0F) << 8 | usize::from(reader.u8()?) };
            format!("flow {}", hex(reader.take(length)?))
        }
        (16388, 71 | 72) => {
            let kind = reader.u16()?;
            let length = usize::from(reader.u16()?);
            let what = match kind {
                1 => "node",
                2 => "link",
                3 => "ipv4 prefix",
                4 => "ipv6 prefix",
                _ => "type",
            };
            format!("{what} ({kind}) {}", hex(reader.take(length)?))
        }
        (1 | 2, 5) => {
            let kind = reader.u8()?;
            let length = usize::from(reader.u8()?);
            format!("mvpn type {kind} {}", hex(reader.take(length)?))
        }
        (25, 65) => {
            let length = usize::from(reader.u16()?);
            format!("vpls {}", hex(reader.take(length)?))
        }
        _ => hex(reader.rest()),
    };
    if let Some(path) = path {
        let _ = write!(text, " path {path}");
    }
    Some(Nlri { text, octets: reader.since(&start) })
}

/// Bits behind the prefix are irrelevant (RFC 4271 §4.3), but shown cleared.
pub(in crate::decode) fn prefix(afi: u16, bits: u8, reader: &mut Reader<'_>) -> Option<String> {
    Some(if afi == 1 {
        let octets = padded::<4>(bits, reader)?;
        let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        format!("{}/{bits}", Ipv4Addr::from_bits(u32::from_be_bytes(octets) & mask))
    } else {
        let octets = padded::<16>(bits, reader)?;
        let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
        format!("{}/{bits}", Ipv6Addr::from_bits(u128::from_be_bytes(octets) & mask))
    })
}

fn padded<const N: usize>(bits: u8, reader: &mut Reader<'_>) -> Option<[u8; N]> {
    if usize::from(bits) > N * 8 {
        return None;
    }
    let mut octets = [0; N];
    let used = octets.get_mut(..usize::from(bits).div_ceil(8))?;
    used.copy_from_slice(reader.take(used.len())?);
    Some(octets)
}

/// RFC 8277 §2, RFC 4364 §4.3.4: labels and a distinguisher count as bits of the prefix.
fn labeled(afi: u16, vpn: bool, reader: &mut Reader<'_>) -> Option<String> {
    let mut bits = reader.u8()?;
    let mut labels = String::new();
    loop {
        bits = bits.checked_sub(24)?;
        let [high, middle, low] = reader.array()?;
        let label = u32::from_be_bytes([0, high, middle, low]);
        let _ = write!(labels, "{}{}", if labels.is_empty() { "" } else { "," }, label >> 4);
        // The bottom of the stack; and the two values that stand in withdrawals (RFC 3107 §3, RFC 8277 §2.4).
        if label & 1 == 1 || label == 0x80_0000 || label == 0 {
            break;
        }
    }
    let distinguisher = if vpn {
        bits = bits.checked_sub(64)?;
        format!("{} ", distinguisher(reader.array()?))
    } else {
        String::new()
    };
    Some(format!("{distinguisher}{} label {labels}", prefix(afi, bits, reader)?))
}

/// RFC 4364 §4.2
pub(super) fn distinguisher(octets: [u8; 8]) -> String {
    let [high, low, a, b, c, d, e, f] = octets;
    match u16::from_be_bytes([high, low]) {
        0 => format!("{}:{}", u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f])),
        1 => format!("{}:{}", Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([e, f])),
        2 => format!("{}:{}", u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f])),
        _ => hex(&octets),
    }
}

/// RFC 4684 §4
fn target(reader: &mut Reader<'_>) -> Option<String> {
    let bits = reader.u8()?;
    if bits == 0 {
        return Some("every target".to_owned());
    }
    let octets: [u8; 12] = padded(bits, reader)?;
    let mut reader = Reader::new(&octets);
    let (asn, community) = (reader.u32()?, reader.array()?);
    Some(format!("AS {asn} {} /{bits}", super::community::extended(community)))
}

/// RFC 7432 §7, RFC 9136 §3
fn evpn(reader: &mut Reader<'_>) -> Option<String> {
    let kind = reader.u8()?;
    let length = reader.u8()?;
    let mut body = reader.sub(usize::from(length))?;
    let known = known_evpn(kind, &mut { body });
    Some(known.unwrap_or_else(|| format!("evpn type {kind} {}", hex(body.rest()))))
}

fn known_evpn(kind: u8, body: &mut Reader<'_>) -> Option<String> {
    let rd = distinguisher(body.array()?);
    Some(match kind {
        1 => format!("ethernet-segment-discovery {rd} esi {} tag {}", hex(body.take(10)?), body.u32()?),
        2 => {
            let _segment = body.take(10)?;
            let tag = body.u32()?;
            let _bits = body.u8()?;
            let mac: Vec<String> = body.array::<6>()?.iter().map(|octet| format!("{octet:02x}")).collect();
            let address = match body.u8()? {
                32 => format!(" {}", Ipv4Addr::from(body.array::<4>()?)),
                128 => format!(" {}", Ipv6Addr::from(body.array::<16>()?)),
                _ => String::new(),
            };
            format!("mac {rd} {}{address} tag {tag}", mac.join(":"))
        }
        3 => {
            let tag = body.u32()?;
            format!("multicast {rd} {} tag {tag}", originator(body)?)
        }
        4 => format!("ethernet-segment {rd} esi {} {}", hex(body.take(10)?), originator(body)?),
        5 => {
            let _segment = body.take(10)?;
            let tag = body.u32()?;
            let bits = body.u8()?;
            // Whole addresses, whatever the length of the prefix: what is left tells which kind.
            let prefix = if body.len() > 16 {
                format!("{}/{bits}", Ipv6Addr::from(body.array::<16>()?))
            } else {
                format!("{}/{bits}", Ipv4Addr::from(body.array::<4>()?))
            };
            format!("prefix {rd} {prefix} tag {tag}")
        }
        _ => return None,
    })
}

fn originator(body: &mut Reader<'_>) -> Option<String> {
    Some(match body.u8()? {
        32 => Ipv4Addr::from(body.array::<4>()?).to_string(),
        128 => Ipv6Addr::from(body.array::<16>()?).to_string(),
        _ => return None,
    })
}
