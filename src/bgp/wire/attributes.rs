//! One received path attribute: is it well formed, and if not, how bad is that (RFC 4271 §6.3 as RFC 7606 §7 revised it).

use std::net::Ipv4Addr;

use super::notification::code::update as subcode;
use super::{Codec, Disposition, Reader};

pub(super) const OPTIONAL: u8 = 0x80;
pub(super) const TRANSITIVE: u8 = 0x40;
pub(super) const EXTENDED_LENGTH: u8 = 0x10;

pub(super) mod kind {
    pub(in crate::bgp::wire) const ORIGIN: u8 = 1;
    pub(in crate::bgp::wire) const AS_PATH: u8 = 2;
    pub(in crate::bgp::wire) const NEXT_HOP: u8 = 3;
    pub(in crate::bgp::wire) const MED: u8 = 4;
    pub(in crate::bgp::wire) const LOCAL_PREF: u8 = 5;
    pub(in crate::bgp::wire) const ATOMIC_AGGREGATE: u8 = 6;
    pub(in crate::bgp::wire) const AGGREGATOR: u8 = 7;
    pub(in crate::bgp::wire) const COMMUNITIES: u8 = 8;
    pub(in crate::bgp::wire) const ORIGINATOR_ID: u8 = 9;
    pub(in crate::bgp::wire) const CLUSTER_LIST: u8 = 10;
    pub(in crate::bgp::wire) const MP_REACH: u8 = 14;
    pub(in crate::bgp::wire) const MP_UNREACH: u8 = 15;
    pub(in crate::bgp::wire) const EXTENDED_COMMUNITIES: u8 = 16;
    pub(in crate::bgp::wire) const AS4_PATH: u8 = 17;
    pub(in crate::bgp::wire) const AS4_AGGREGATOR: u8 = 18;
    pub(in crate::bgp::wire) const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
    pub(in crate::bgp::wire) const LARGE_COMMUNITIES: u8 = 32;
    pub(in crate::bgp::wire) const ONLY_TO_CUSTOMER: u8 = 35;
}

pub(super) mod segment {
    pub(in crate::bgp::wire) const AS_SET: u8 = 1;
    pub(in crate::bgp::wire) const AS_SEQUENCE: u8 = 2;
    pub(in crate::bgp::wire) const CONFED_SEQUENCE: u8 = 3;
    pub(in crate::bgp::wire) const CONFED_SET: u8 = 4;
}

/// What is wrong with one attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub(super) disposition: Disposition,
    /// Of the NOTIFICATION, where RFC 7606 §5.2 leaves no other way.
    pub(super) subcode: u8,
    pub(super) why: &'static str,
}

const fn withdraw(subcode: u8, why: &'static str) -> Fault {
    Fault { disposition: Disposition::TreatAsWithdraw, subcode, why }
}

const fn discard(why: &'static str) -> Fault {
    Fault { disposition: Disposition::AttributeDiscard, subcode: subcode::OPTIONAL_ATTRIBUTE, why }
}

/// Optional and Transitive as the attribute's specification has them; `None`: not known here.
pub(super) const fn specified_flags(kind: u8) -> Option<u8> {
    Some(match kind {
        kind::ORIGIN | kind::AS_PATH | kind::NEXT_HOP | kind::LOCAL_PREF | kind::ATOMIC_AGGREGATE => TRANSITIVE,
        kind::MED | kind::ORIGINATOR_ID | kind::CLUSTER_LIST | kind::MP_REACH | kind::MP_UNREACH => OPTIONAL,
        kind::AGGREGATOR
        | kind::COMMUNITIES
        | kind::EXTENDED_COMMUNITIES
        | kind::AS4_PATH
        | kind::AS4_AGGREGATOR
        | kind::IPV6_EXTENDED_COMMUNITIES
        | kind::LARGE_COMMUNITIES
        | kind::ONLY_TO_CUSTOMER => OPTIONAL | TRANSITIVE,
        _ => return None,
    })
}

/// Unknown kinds are never at fault here, MP_REACH_NLRI and MP_UNREACH_NLRI only for their flags.
pub(super) fn check(kind: u8, flags: u8, value: &[u8], codec: &Codec) -> Result<(), Fault> {
    // RFC 7606 §3 (c)
    if specified_flags(kind).is_some_and(|specified| flags & (OPTIONAL | TRANSITIVE) != specified) {
        return Err(withdraw(subcode::ATTRIBUTE_FLAGS, "wrong attribute flags"));
    }
    match kind {
        kind::ORIGIN => origin(value),
        kind::AS_PATH => as_path(value, codec),
        kind::NEXT_HOP => next_hop(value),
        kind::MED => exactly(4, value),
        kind::ONLY_TO_CUSTOMER => exactly(4, value),
        // RFC 7606 §7.5, §7.9, §7.10: not an external neighbor's to say.
        kind::LOCAL_PREF | kind::ORIGINATOR_ID | kind::CLUSTER_LIST if !codec.internal => {
            Err(discard("not expected from an external neighbor"))
        }
        kind::LOCAL_PREF | kind::ORIGINATOR_ID => exactly(4, value),
        kind::CLUSTER_LIST => multiple(4, value),
        kind::ATOMIC_AGGREGATE => value.is_empty().then_some(()).ok_or(discard("length is not 0")),
        kind::AGGREGATOR => aggregator(value, codec.four_octet_asn),
        kind::COMMUNITIES => multiple(4, value),
        kind::EXTENDED_COMMUNITIES => multiple(8, value),
        kind::IPV6_EXTENDED_COMMUNITIES => multiple(20, value),
        // RFC 8092 §6
        kind::LARGE_COMMUNITIES => multiple(12, value),
        // RFC 6793 §6
        kind::AS4_PATH | kind::AS4_AGGREGATOR if codec.four_octet_asn => {
            Err(discard("not expected from a speaker of four-octet AS numbers"))
        }
        kind::AS4_PATH => as4_path(value),
        kind::AS4_AGGREGATOR => aggregator(value, true),
        _ => Ok(()),
    }
}

fn exactly(length: usize, value: &[u8]) -> Result<(), Fault> {
    (value.len() == length).then_some(()).ok_or(withdraw(subcode::ATTRIBUTE_LENGTH, "wrong length"))
}

/// RFC 7606 §7.8: a multiple of the element's size, and not zero.
fn multiple(size: usize, value: &[u8]) -> Result<(), Fault> {
    let whole = !value.is_empty() && value.len().is_multiple_of(size);
    whole.then_some(()).ok_or(withdraw(subcode::ATTRIBUTE_LENGTH, "length is not a multiple of its elements"))
}

fn origin(value: &[u8]) -> Result<(), Fault> {
    match value {
        [0..=2] => Ok(()),
        [_] => Err(withdraw(subcode::INVALID_ORIGIN, "undefined origin")),
        _ => Err(withdraw(subcode::ATTRIBUTE_LENGTH, "wrong length")),
    }
}

/// RFC 4271 §6.3: syntactically correct is a valid IP host address.
fn next_hop(value: &[u8]) -> Result<(), Fault> {
    let octets = <[u8; 4]>::try_from(value).map_err(|_| withdraw(subcode::ATTRIBUTE_LENGTH, "wrong length"))?;
    let address = Ipv4Addr::from(octets);
    let [first, ..] = octets;
    if first == 0 || first >= 224 || address.is_loopback() {
        return Err(withdraw(subcode::INVALID_NEXT_HOP, "next hop is no host address"));
    }
    Ok(())
}

/// RFC 7606 §7.7; RFC 7607 §2 for AS 0.
fn aggregator(value: &[u8], four_octets: bool) -> Result<(), Fault> {
    let mut reader = Reader::new(value);
    let asn = asn(&mut reader, four_octets);
    if reader.len() != 4 {
        return Err(discard("wrong length"));
    }
    match asn {
        Some(0) => Err(discard("AS number 0")),
        Some(_) => Ok(()),
        None => Err(discard("wrong length")),
    }
}

fn asn(reader: &mut Reader<'_>, four_octets: bool) -> Option<u32> {
    if four_octets { reader.u32() } else { reader.u16().map(u32::from) }
}

fn as_path(value: &[u8], codec: &Codec) -> Result<(), Fault> {
    let malformed = |why| withdraw(subcode::MALFORMED_AS_PATH, why);
    let segments = segments(value, codec.four_octet_asn).map_err(malformed)?;
    // RFC 5065 §5
    if segments.confederation && !codec.internal {
        return Err(malformed("confederation segment from an external neighbor"));
    }
    // RFC 9774 §3
    if segments.set {
        return Err(malformed("AS_SET or AS_CONFED_SET"));
    }
    // RFC 4271 §6.3: an external neighbor's AS is the leftmost, so there is one.
    if value.is_empty() && !codec.internal {
        return Err(malformed("empty from an external neighbor"));
    }
    Ok(())
}

/// RFC 6793 §6: malformed, it is discarded; confederation segments in it are, too. Not so a set: RFC 9774 §3.
fn as4_path(value: &[u8]) -> Result<(), Fault> {
    match segments(value, true) {
        Ok(_) if value.is_empty() => Err(discard("no segment")),
        Ok(segments) if segments.set => Err(withdraw(subcode::MALFORMED_AS_PATH, "AS_SET or AS_CONFED_SET")),
        Ok(segments) if segments.confederation => Err(discard("confederation segment in AS4_PATH")),
        Ok(_) => Ok(()),
        Err(why) => Err(discard(why)),
    }
}

/// What segments a well-formed path has, besides AS_SEQUENCE.
#[derive(Default)]
struct Segments {
    confederation: bool,
    set: bool,
}

/// RFC 7606 §7.2. `Err`: what is wrong.
fn segments(value: &[u8], four_octets: bool) -> Result<Segments, &'static str> {
    let mut reader = Reader::new(value);
    let mut found = Segments::default();
    while !reader.is_empty() {
        let (Some(kind), Some(count)) = (reader.u8(), reader.u8()) else {
            return Err("octet left behind the segments");
        };
        match kind {
            segment::AS_SEQUENCE => {}
            segment::AS_SET => found.set = true,
            segment::CONFED_SEQUENCE => found.confederation = true,
            segment::CONFED_SET => found = Segments { confederation: true, set: true },
            _ => return Err("unrecognized segment type"),
        }
        if count == 0 {
            return Err("empty segment");
        }
        for _ in 0..count {
            // RFC 7607 §2
            match asn(&mut reader, four_octets) {
                Some(0) => return Err("AS number 0"),
                Some(_) => {}
                None => return Err("segment longer than the attribute"),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
