//! Communities of all kinds as an operator writes them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::hex;
use super::nlri::distinguisher;
use crate::bgp::wire::Community;

pub(super) fn plain(number: u32) -> String {
    let community = Community(number);
    community.well_known_name().map_or_else(|| community.to_string(), str::to_owned)
}

/// RFC 4360, 5668, 7153, 8955, 10005 and the Ethernet VPN ones of RFC 7432.
pub(in crate::decode) fn extended(octets: [u8; 8]) -> String {
    let [kind, subtype, a, b, c, d, e, f] = octets;
    let number = u32::from_be_bytes([c, d, e, f]);
    let asn = u16::from_be_bytes([a, b]);
    // 0x40: not transitive. Two-octet AS, IPv4 address and four-octet AS share their subtypes.
    let body = match kind & 0x3F {
        0 => format!("{asn}:{number}"),
        1 => format!("{}:{}", Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([e, f])),
        2 => format!("{}:{}", u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f])),
        _ => String::new(),
    };
    let local = if kind & 0x40 == 0 { "" } else { " (non-transitive)" };
    match (kind, subtype) {
        (0x00 | 0x40, 0x04) => format!("link-bandwidth:{asn}:{}{local}", bandwidth(f32::from_bits(number))),
        (0x00..=0x02 | 0x40..=0x42, _) => match subtype {
            0x02 => format!("target:{body}{local}"),
            0x03 => format!("origin:{body}{local}"),
            0x05 => format!("ospf-domain:{body}{local}"),
            0x09 => format!("source-as:{body}{local}"),
            0x0b => format!("vrf-import:{body}{local}"),
            _ => format!("{kind:#04x}:{subtype:#04x}:{body}"),
        },
        (0x03, 0x06) => format!("ospf-route-type:area {}, type {}, options {}", Ipv4Addr::new(a, b, c, d), e, f),
        (0x03, 0x0b) => format!("color:{number}"),
        (0x03, 0x0c) => format!("encapsulation:{}", u16::from_be_bytes([e, f])),
        (0x03, 0x0d) => "default-gateway".to_owned(),
        (0x43, 0x00) => match f {
            0 => "origin-validation:valid".to_owned(),
            1 => "origin-validation:not-found".to_owned(),
            2 => "origin-validation:invalid".to_owned(),
            other => format!("origin-validation:{other}"),
        },
        (0x06, 0x00) => format!("mac-mobility:{number}{}", if a & 1 == 1 { " sticky" } else { "" }),
        (0x06, 0x01) => format!(
            "esi-label:{}{}",
            u32::from_be_bytes([0, d, e, f]) >> 4,
            if a & 1 == 1 { " single-active" } else { "" }
        ),
        (0x06, 0x02) => format!("es-import:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"),
        (0x06, 0x03) => format!("router-mac:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"),
        (0x80, 0x06) => format!("traffic-rate:{asn}:{}", f32::from_bits(number)),
        (0x80, 0x07) => format!("traffic-action:{f:#04x}"),
        (0x80, 0x08) => format!("redirect:{asn}:{number}"),
        (0x80, 0x09) => format!("traffic-marking:{f}"),
        _ => hex(&octets),
    }
}

/// The number as sent (bytes per second), and what a person calls it.
fn bandwidth(bytes: f32) -> String {
    let bits = f64::from(bytes) * 8.0;
    let (number, unit) = match bits.abs() {
        size if size >= 1e9 => (bits / 1e9, "Gbit/s"),
        size if size >= 1e6 => (bits / 1e6, "Mbit/s"),
        size if size >= 1e3 => (bits / 1e3, "kbit/s"),
        _ => (bits, "bit/s"),
    };
    let number = format!("{number:.3}");
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{bytes} ({number} {unit})")
}

/// RFC 5701
pub(super) fn ipv6_extended(octets: [u8; 20]) -> String {
    let [kind, subtype, address @ .., high, low] = octets;
    let name = match subtype {
        0x02 => "target".to_owned(),
        0x03 => "origin".to_owned(),
        _ => format!("{kind:#04x}:{subtype:#04x}"),
    };
    format!("{name}:[{}]:{}", Ipv6Addr::from(address), u16::from_be_bytes([high, low]))
}

/// RFC 8092
pub(super) fn large(octets: [u8; 12]) -> String {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = octets;
    let numbers = [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_be_bytes);
    let [global, one, two] = numbers;
    format!("{global}:{one}:{two}")
}

/// For other attributes that hold a distinguisher.
pub(super) fn route_distinguisher(octets: [u8; 8]) -> String {
    distinguisher(octets)
}
