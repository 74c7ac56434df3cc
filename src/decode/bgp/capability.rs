//! Capabilities by name (RFC 5492; IANA's "Capability Codes").

use super::super::entry::{Item, Said, Value};
use super::super::family;
use super::session::Offer;
use super::{hex, item, words};
use crate::bgp::wire::reader::Reader;

fn name(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "multiprotocol",
        2 => "route refresh",
        3 => "outbound route filtering",
        4 => "multiple routes to a destination",
        5 => "extended next hop",
        6 => "extended message",
        7 => "BGPsec",
        8 => "multiple labels",
        9 => "role",
        64 => "graceful restart",
        65 => "4-octet AS",
        66 => "dynamic capability (pre-standard)",
        67 => "dynamic capability",
        68 => "multisession",
        69 => "add-path",
        70 => "enhanced route refresh",
        71 => "long-lived graceful restart",
        72 => "routing policy distribution",
        73 => "FQDN",
        74 => "BFD strict mode",
        75 => "software version",
        76 => "paths limit",
        128 => "route refresh (pre-standard)",
        129 => "outbound route filtering (pre-standard, 129)",
        130 => "outbound route filtering (pre-standard)",
        131 => "multisession (pre-standard)",
        184 => "FQDN (pre-standard)",
        185 => "operational message",
        _ => return None,
    })
}

/// All of one parameter; `at` is where it begins.
pub(super) fn list(mut reader: Reader<'_>, mut at: usize, said: &mut Said, offer: &mut Offer) -> Vec<Item> {
    let mut items = Vec::new();
    while !reader.is_empty() {
        let code = reader.u8();
        let value = reader.u8().and_then(|length| reader.sub(usize::from(length)));
        let (Some(code), Some(value)) = (code, value) else {
            said.fault(at, "a capability that is longer than its parameter");
            break;
        };
        let mut rest = value;
        match one(code, &mut rest, offer).filter(|_| rest.is_empty()) {
            Some(known) => items.push(item(code, label(code), known)),
            None => {
                if name(code).is_some() {
                    said.fault(at, format!("capability {code} ({}) has a wrong length", label(code)));
                }
                items.push(item(code, label(code), Value::text(hex({ value }.rest()))));
            }
        }
        at += 2 + value.len();
    }
    items
}

fn label(code: u8) -> String {
    name(code).map_or_else(|| format!("capability {code}"), str::to_owned)
}

/// `None`: not as its RFC has it, or not known.
fn one(code: u8, value: &mut Reader<'_>, offer: &mut Offer) -> Option<Value> {
    Some(match code {
        1 => {
            let afi = value.u16()?;
            let _reserved = value.u8()?;
            Value::text(family::name(afi, value.u8()?))
        }
        2 | 4 | 66 | 67 | 70 | 128 => Value::Null,
        6 => {
            offer.extended_message = true;
            Value::Null
        }
        3 | 130 => {
            offer.filters = true;
            let mut list = Vec::new();
            while !value.is_empty() {
                let afi = value.u16()?;
                let _reserved = value.u8()?;
                let family = family::name(afi, value.u8()?);
                for _ in 0..value.u8()? {
                    list.push(format!("{family} type {} {}", value.u8()?, direction(value.u8()?)));
                }
            }
            Value::List(list)
        }
        5 => {
            let mut list = Vec::new();
            while !value.is_empty() {
                let (afi, safi, next_hop) = (value.u16()?, value.u16()?, value.u16()?);
                offer.extended_next_hop |= (afi, safi, next_hop) == (1, 1, 2);
                let safi = u8::try_from(safi).ok()?;
                list.push(format!("{} over {}", family::name(afi, safi), ip_version(next_hop)));
            }
            Value::List(list)
        }
        7 => {
            let (version, afi) = (value.u8()?, value.u16()?);
            let direction = if version & 0x08 != 0 { "send" } else { "receive" };
            Value::text(format!("version {} {direction} {}", version >> 4, ip_version(afi)))
        }
        8 => {
            let mut list = Vec::new();
            while !value.is_empty() {
                list.push(format!("{} {}", family::name(value.u16()?, value.u8()?), value.u8()?));
            }
            Value::List(list)
        }
        9 => Value::text(match value.u8()? {
            0 => "provider".to_owned(),
            1 => "route server".to_owned(),
            2 => "route server client".to_owned(),
            3 => "customer".to_owned(),
            4 => "peer".to_owned(),
            other => format!("{other}?"),
        }),
        64 => graceful_restart(value)?,
        65 => {
            offer.four_octets = true;
            offer.asn = value.u32()?;
            Value::Number(offer.asn.into())
        }
        69 => {
            let mut list = Vec::new();
            while !value.is_empty() {
                let (afi, safi, mode) = (value.u16()?, value.u8()?, value.u8()?);
                offer.paths.push((afi, safi, mode));
                list.push(format!("{} {}", family::name(afi, safi), direction(mode)));
            }
            Value::List(list)
        }
        71 => {
            let mut list = Vec::new();
            while !value.is_empty() {
                let family = family::name(value.u16()?, value.u8()?);
                let kept = if value.u8()? & 0x80 == 0 { "" } else { " forwarding kept" };
                let [high, middle, low] = value.array()?;
                list.push(format!("{family} {} s{kept}", u32::from_be_bytes([0, high, middle, low])));
            }
            Value::List(list)
        }
        73 => {
            let host = { value.u8() }.and_then(|length| value.take(usize::from(length)))?;
            let domain = { value.u8() }.and_then(|length| value.take(usize::from(length)))?;
            let dot = if domain.is_empty() { "" } else { "." };
            Value::text(format!("{}{dot}{}", words(host), words(domain)))
        }
        74 => Value::Null,
        75 => {
            let text = { value.u8() }.and_then(|length| value.take(usize::from(length)))?;
            Value::text(words(text))
        }
        76 => {
            let mut list = Vec::new();
            while !value.is_empty() {
                list.push(format!("{} {}", family::name(value.u16()?, value.u8()?), value.u16()?));
            }
            Value::List(list)
        }
        68 | 72 | 129 | 131 | 184 | 185 => Value::text(hex(value.rest())),
        _ => return None,
    })
}

/// RFC 4724 §3, RFC 8538 §2
fn graceful_restart(value: &mut Reader<'_>) -> Option<Value> {
    let word = value.u16()?;
    let mut list = vec![format!("{} s", word & 0x0FFF)];
    if word & 0x8000 != 0 {
        list.push("restarted".to_owned());
    }
    if word & 0x4000 != 0 {
        list.push("notification support".to_owned());
    }
    while !value.is_empty() {
        let family = family::name(value.u16()?, value.u8()?);
        let kept = if value.u8()? & 0x80 == 0 { "" } else { " (forwarding kept)" };
        list.push(format!("{family}{kept}"));
    }
    Some(Value::List(list))
}

fn direction(mode: u8) -> String {
    match mode {
        1 => "receive".to_owned(),
        2 => "send".to_owned(),
        3 => "both".to_owned(),
        other => format!("mode {other}?"),
    }
}

fn ip_version(afi: u16) -> String {
    match afi {
        1 => "ipv4".to_owned(),
        2 => "ipv6".to_owned(),
        other => format!("afi {other}"),
    }
}
