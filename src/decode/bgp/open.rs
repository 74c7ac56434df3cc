//! OPEN: version, AS, hold time, identifier, and every capability (RFC 4271 §4.2, RFC 5492, RFC 9072).

use std::net::Ipv4Addr;

use super::super::entry::{Field, Item, Kind, Said, Value};
use super::session::Offer;
use super::{HEADER, capability, hex, item};
use crate::bgp::wire::AS_TRANS;
use crate::bgp::wire::reader::Reader;

const AUTHENTICATION: u8 = 1;
const CAPABILITIES: u8 = 2;
/// RFC 9072 §2
const EXTENDED: u8 = 255;

pub(super) fn open(body: &[u8]) -> Said {
    read(body).0
}

/// What later messages depend on.
pub(in crate::decode) fn offer(body: &[u8]) -> Offer {
    read(body).1
}

fn read(body: &[u8]) -> (Said, Offer) {
    let mut said = Said::plain(Kind::Open);
    let mut offer = Offer::default();
    let mut reader = Reader::new(body);
    let (Some(version), Some(short_asn), Some(hold_time), Some(id), Some(length)) =
        (reader.u8(), reader.u16(), reader.u16(), reader.u32(), reader.u8())
    else {
        said.fault(HEADER, "shorter than an OPEN");
        return (said, offer);
    };
    offer.asn = short_asn.into();
    let (items, extended) = parameters(reader, length, &mut said, &mut offer);
    let id = Ipv4Addr::from_bits(id);
    let asn = match offer.asn {
        asn if short_asn == AS_TRANS && asn != u32::from(AS_TRANS) => format!("AS {asn} (AS_TRANS)"),
        asn if u32::from(short_asn) != asn => format!("AS {short_asn} (but AS {asn} in its capability)"),
        asn => format!("AS {asn}"),
    };
    said.headline = format!("{asn}, id {id}, hold time {hold_time} s");
    if version != 4 {
        said.headline = format!("version {version}, {}", said.headline);
    }
    if extended {
        said.headline.push_str(", extended parameters");
    }
    said.fields = vec![
        Field::hidden("version", version),
        Field::hidden("asn", offer.asn),
        Field::hidden("short_asn", short_asn),
        Field::hidden("hold_time", hold_time),
        Field::hidden("id", id.to_string()),
        Field::hidden("extended_parameters", extended),
        Field::line("capabilities", "", Value::Items(items)),
    ];
    (said, offer)
}

fn parameters(mut reader: Reader<'_>, length: u8, said: &mut Said, offer: &mut Offer) -> (Vec<Item>, bool) {
    let mut at = HEADER + 10;
    let mut items = Vec::new();
    let mut peek = reader;
    let extended = length != 0 && peek.u8() == Some(EXTENDED);
    let announced = if extended {
        reader = peek;
        at += 3;
        reader.u16().map(usize::from)
    } else {
        Some(usize::from(length))
    };
    if announced != Some(reader.len()) {
        let there = reader.len();
        said.fault(HEADER + 9, format!("parameters of {} octets where {there} are", announced.unwrap_or(0)));
    }
    while !reader.is_empty() {
        let before = reader.len();
        let kind = reader.u8();
        let length = if extended { reader.u16() } else { reader.u8().map(u16::from) };
        let value = length.and_then(|length| reader.sub(usize::from(length)));
        let (Some(kind), Some(mut value)) = (kind, value) else {
            said.fault(at, "a parameter that is longer than what is left");
            break;
        };
        match kind {
            CAPABILITIES => {
                let start = at + before - reader.len() - value.len();
                items.extend(capability::list(value, start, said, offer));
            }
            _ => {
                let name = if kind == AUTHENTICATION { "authentication" } else { "unknown" };
                said.fault(at, format!("parameter of type {kind} ({name})"));
                items.push(item(0, format!("parameter {kind} ({name})"), Value::text(hex(value.rest()))));
            }
        }
        at += before - reader.len();
    }
    (items, extended)
}
