//! Path attributes by name and value (RFC 4271 §4.3; IANA's "BGP Path Attributes").

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::entry::Value;
use super::super::family;
use super::{community, hex};
use crate::bgp::wire::reader::Reader;

pub(in crate::decode) const MP_REACH: u8 = 14;
pub(in crate::decode) const MP_UNREACH: u8 = 15;
pub(super) const AS_PATH: u8 = 2;
pub(super) const AGGREGATOR: u8 = 7;
pub(super) const AS4_PATH: u8 = 17;
pub(super) const AS4_AGGREGATOR: u8 = 18;
const ATTR_SET: u8 = 128;

const NAMES: [(u8, &str); 38] = [
    (1, "ORIGIN"),
    (2, "AS_PATH"),
    (3, "NEXT_HOP"),
    (4, "MULTI_EXIT_DISC"),
    (5, "LOCAL_PREF"),
    (6, "ATOMIC_AGGREGATE"),
    (7, "AGGREGATOR"),
    (8, "COMMUNITIES"),
    (9, "ORIGINATOR_ID"),
    (10, "CLUSTER_LIST"),
    (11, "DPA"),
    (12, "ADVERTISER"),
    (13, "RCID_PATH"),
    (14, "MP_REACH_NLRI"),
    (15, "MP_UNREACH_NLRI"),
    (16, "EXTENDED_COMMUNITIES"),
    (17, "AS4_PATH"),
    (18, "AS4_AGGREGATOR"),
    (19, "SAFI_SPECIFIC"),
    (20, "CONNECTOR"),
    (21, "AS_PATHLIMIT"),
    (22, "PMSI_TUNNEL"),
    (23, "TUNNEL_ENCAPSULATION"),
    (24, "TRAFFIC_ENGINEERING"),
    (25, "IPV6_EXTENDED_COMMUNITIES"),
    (26, "AIGP"),
    (27, "PE_DISTINGUISHER_LABELS"),
    (28, "ENTROPY_LABEL_CAPABILITY"),
    (29, "BGP_LS"),
    (32, "LARGE_COMMUNITIES"),
    (33, "BGPSEC_PATH"),
    (34, "COMMUNITY_CONTAINER"),
    (35, "ONLY_TO_CUSTOMER"),
    (36, "D_PATH"),
    (38, "BFD_DISCRIMINATOR"),
    (39, "NEXT_HOP_CHARACTERISTICS"),
    (40, "PREFIX_SID"),
    (128, "ATTR_SET"),
];

pub(in crate::decode) fn name(kind: u8) -> Cow<'static, str> {
    let known = NAMES.iter().find(|(number, _)| *number == kind);
    known.map_or_else(|| format!("attribute {kind}").into(), |(_, name)| (*name).into())
}

pub(super) fn is_known(kind: u8) -> bool {
    NAMES.iter().any(|(number, _)| *number == kind)
}

/// One attribute as it stands in an UPDATE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::decode) struct Raw<'a> {
    pub(in crate::decode) flags: u8,
    pub(in crate::decode) kind: u8,
    pub(in crate::decode) value: &'a [u8],
    /// Flags, kind, length and value.
    pub(in crate::decode) whole: &'a [u8],
    /// In octets from the section's begin.
    pub(in crate::decode) at: usize,
}

impl Raw<'_> {
    pub(in crate::decode) const EXTENDED_LENGTH: u8 = 0x10;
    const PARTIAL: u8 = 0x20;

    pub(super) const fn remark(&self) -> &'static str {
        if self.flags & Self::PARTIAL != 0 { "partial" } else { "" }
    }
}

/// All that are whole; and where the first one that is not begins.
pub(in crate::decode) fn split(section: &[u8]) -> (Vec<Raw<'_>>, Option<usize>) {
    let mut reader = Reader::new(section);
    let mut all = Vec::new();
    while !reader.is_empty() {
        let at = section.len() - reader.len();
        match next(&mut reader, at) {
            Some(raw) => all.push(raw),
            None => return (all, Some(at)),
        }
    }
    (all, None)
}

fn next<'a>(reader: &mut Reader<'a>, at: usize) -> Option<Raw<'a>> {
    let start = *reader;
    let (flags, kind) = (reader.u8()?, reader.u8()?);
    let length = if flags & Raw::EXTENDED_LENGTH != 0 { reader.u16()? } else { reader.u8()?.into() };
    let value = reader.take(usize::from(length))?;
    Some(Raw { flags, kind, value, whole: reader.since(&start), at })
}

/// RFC 6793: with AS numbers of four octets or two, as the values themselves tell.
pub(in crate::decode) fn guess_four_octets(attributes: &[Raw<'_>]) -> bool {
    let find = |kind| attributes.iter().find(|raw| raw.kind == kind).map(|raw| raw.value);
    if find(AS4_PATH).is_some() || find(AS4_AGGREGATOR).is_some() {
        return false;
    }
    match find(AGGREGATOR).map(<[u8]>::len) {
        Some(6) => return false,
        Some(8) => return true,
        Some(_) | None => {}
    }
    let fits = |four| find(AS_PATH).is_none_or(|value| path(value, four).is_some());
    fits(true) || !fits(false)
}

/// `None`: not as its RFC has it. MP_REACH_NLRI and MP_UNREACH_NLRI are the UPDATE's to read.
pub(super) fn value(kind: u8, octets: &[u8], four_octets: bool) -> Option<Value> {
    let mut reader = Reader::new(octets);
    let value = match kind {
        1 => Value::text(match reader.u8()? {
            0 => "igp",
            1 => "egp",
            2 => "incomplete",
            _ => return None,
        }),
        AS_PATH => return path(octets, four_octets).map(Value::Text),
        AS4_PATH => return path(octets, true).map(Value::Text),
        3 | 9 => Value::text(Ipv4Addr::from(reader.array::<4>()?).to_string()),
        4 | 5 => Value::Number(reader.u32()?.into()),
        6 | 28 => Value::Null,
        AGGREGATOR | AS4_AGGREGATOR => {
            let four = four_octets || kind == AS4_AGGREGATOR;
            let asn = if four { reader.u32()? } else { reader.u16()?.into() };
            Value::text(format!("AS {asn} {}", Ipv4Addr::from(reader.array::<4>()?)))
        }
        8 => return each(reader, |reader| reader.u32().map(community::plain)),
        10 => return each(reader, |reader| reader.array::<4>().map(|id| Ipv4Addr::from(id).to_string())),
        16 => return each(reader, |reader| reader.array().map(community::extended)),
        20 => Value::text(format!("type {} {}", reader.u16()?, Ipv4Addr::from(reader.array::<4>()?))),
        22 => tunnel(&mut reader)?,
        23 => return each(reader, encapsulation),
        25 => return each(reader, |reader| reader.array().map(community::ipv6_extended)),
        26 => return each(reader, metric),
        32 => return each(reader, |reader| reader.array().map(community::large)),
        35 => Value::Number(reader.u32()?.into()),
        38 => {
            let mode = reader.u8()?;
            Value::text(format!("mode {mode} discriminator {:#010x} {}", reader.u32()?, hex(reader.rest())).trim_end())
        }
        40 => return each(reader, segment_identifier),
        ATTR_SET => return set(reader),
        _ => Value::text(hex(reader.rest())),
    };
    reader.is_empty().then_some(value)
}

/// At least one; the error of any is the error of all.
fn each(mut reader: Reader<'_>, one: impl Fn(&mut Reader<'_>) -> Option<String>) -> Option<Value> {
    let mut list = Vec::new();
    while !reader.is_empty() {
        list.push(one(&mut reader)?);
    }
    (!list.is_empty()).then_some(Value::List(list))
}

/// "65001 65002 {65003 65004}"; sequences of a confederation in (), its sets in [].
fn path(octets: &[u8], four_octets: bool) -> Option<String> {
    let mut reader = Reader::new(octets);
    let mut segments = Vec::new();
    while !reader.is_empty() {
        let (kind, count) = (reader.u8()?, reader.u8()?);
        let mut numbers = Vec::new();
        for _ in 0..count {
            let asn = if four_octets { reader.u32()? } else { reader.u16()?.into() };
            numbers.push(asn.to_string());
        }
        let numbers = numbers.join(" ");
        segments.push(match kind {
            1 => format!("{{{numbers}}}"),
            2 => numbers,
            3 => format!("({numbers})"),
            4 => format!("[{numbers}]"),
            _ => return None,
        });
    }
    Some(if segments.is_empty() { "(empty)".to_owned() } else { segments.join(" ") })
}

/// RFC 6514 §5
fn tunnel(reader: &mut Reader<'_>) -> Option<Value> {
    let flags = reader.u8()?;
    let kind = reader.u8()?;
    let [high, middle, low] = reader.array()?;
    let label = u32::from_be_bytes([0, high, middle, low]);
    let kind = match kind {
        0 => "none".to_owned(),
        1 => "RSVP-TE P2MP".to_owned(),
        2 => "mLDP P2MP".to_owned(),
        3 => "PIM-SSM".to_owned(),
        4 => "PIM-SM".to_owned(),
        5 => "BIDIR-PIM".to_owned(),
        6 => "ingress replication".to_owned(),
        7 => "mLDP MP2MP".to_owned(),
        other => format!("type {other}"),
    };
    let to = match reader.len() {
        4 => Ipv4Addr::from(reader.array::<4>()?).to_string(),
        16 => Ipv6Addr::from(reader.array::<16>()?).to_string(),
        _ => hex(reader.rest()),
    };
    Some(Value::text(format!("{kind} label {label} flags {flags:#04x} {to}").trim_end()))
}

/// RFC 9012 §2
fn encapsulation(reader: &mut Reader<'_>) -> Option<String> {
    let kind = reader.u16()?;
    let length = usize::from(reader.u16()?);
    let value = reader.take(length)?;
    let name = match kind {
        1 => "L2TPv3",
        2 => "GRE",
        7 => "IP-in-IP",
        8 => "VXLAN",
        9 => "NVGRE",
        11 => "MPLS-in-GRE",
        13 => "MPLS-in-UDP",
        15 => "SR policy",
        19 => "Geneve",
        _ => "type",
    };
    Some(format!("{name} ({kind}) {}", hex(value)).trim_end().to_owned())
}

/// RFC 7311 §3
fn metric(reader: &mut Reader<'_>) -> Option<String> {
    let kind = reader.u8()?;
    let length = usize::from(reader.u16()?).checked_sub(3)?;
    let mut value = reader.sub(length)?;
    match kind {
        1 => {
            let (high, low) = (value.u32()?, value.u32()?);
            value.is_empty().then(|| (u64::from(high) << 32 | u64::from(low)).to_string())
        }
        _ => Some(format!("type {kind} {}", hex(value.rest()))),
    }
}

/// RFC 8669 §3
fn segment_identifier(reader: &mut Reader<'_>) -> Option<String> {
    let kind = reader.u8()?;
    let length = usize::from(reader.u16()?);
    let mut value = reader.sub(length)?;
    Some(match kind {
        1 => {
            let _reserved_and_flags = value.take(3)?;
            format!("label-index {}", value.u32()?)
        }
        3 => format!("originator-srgb {}", hex(value.rest())),
        5 => format!("srv6-l3-service {}", hex(value.rest())),
        6 => format!("srv6-l2-service {}", hex(value.rest())),
        _ => format!("type {kind} {}", hex(value.rest())),
    })
}

/// RFC 6368 §5. Sets inside it are shown as octets: nobody nests deeper.
fn set(mut reader: Reader<'_>) -> Option<Value> {
    let origin = reader.u32()?;
    let (attributes, wrong) = split(reader.rest());
    if wrong.is_some() {
        return None;
    }
    let mut list = vec![format!("origin AS {origin}")];
    for raw in attributes {
        let shown = match raw.kind {
            ATTR_SET => Value::text(hex(raw.value)),
            kind => value(kind, raw.value, true)?,
        };
        list.push(format!("{} {}", name(raw.kind), flat(&shown)).trim_end().to_owned());
    }
    Some(Value::List(list))
}

fn flat(value: &Value) -> String {
    match value {
        Value::Null | Value::Items(_) | Value::Rows(_) => String::new(),
        Value::Flag(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::List(list) => list.join(","),
    }
}

/// The next hop field of MP_REACH_NLRI.
pub(super) fn next_hops(octets: &[u8], safi: u8) -> Vec<String> {
    let v4 = |octets: [u8; 4]| Ipv4Addr::from(octets).to_string();
    let v6 = |octets: [u8; 16]| Ipv6Addr::from(octets).to_string();
    let mut reader = Reader::new(octets);
    let mut distinguisher = None;
    // RFC 4364 §4.3.2, RFC 4659 §3.2: a distinguisher (of zeros) before each address.
    if matches!(safi, 128 | 129 | 134) && matches!(octets.len(), 12 | 24 | 48) {
        distinguisher = reader.array::<8>().filter(|octets| *octets != [0; 8]).map(community::route_distinguisher);
    }
    let mut hops: Vec<String> = distinguisher.into_iter().collect();
    match reader.len() {
        0 => {}
        4 => hops.extend(reader.array().map(v4)),
        16 => hops.extend(reader.array().map(v6)),
        32 => {
            hops.extend(reader.array().map(v6));
            hops.extend(reader.array().map(v6));
        }
        40 => {
            hops.extend(reader.array().map(v6));
            let _zeros = reader.array::<8>();
            hops.extend(reader.array().map(v6));
        }
        _ => hops.push(hex(reader.rest())),
    }
    hops
}

/// "ipv6 unicast, next hop 2001:db8::1"
pub(super) fn reach_text(afi: u16, safi: u8, hops: &[String]) -> String {
    let family = family::name(afi, safi);
    if hops.is_empty() { family } else { format!("{family}, next hop {}", hops.join(" ")) }
}
