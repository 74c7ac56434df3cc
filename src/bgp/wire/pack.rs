//! UPDATEs of ours: many prefixes with the same attributes, packed full.

use std::net::{IpAddr, Ipv4Addr};

use bytes::{BufMut, BytesMut};
use ipnet::IpNet;

use super::attributes::{EXTENDED_LENGTH, OPTIONAL, TRANSITIVE, kind, segment};
use super::frame::{self, HEADER};
use super::writer::{message, with_length};
use super::{AS_TRANS, Asn, Attributes, Codec, Family, LinkBandwidth, MAX_MESSAGE, Origin, nlri};

/// The path's bound: one segment (RFC 4271 §4.3). A longer one goes out cut at its end; the configuration cannot say one.
pub const MAX_AS_PATH: usize = 255;
/// What [`announce`] sends of [`Attributes::communities`]: 64 of the service, 64 of the neighbor, graceful-shutdown.
pub const MAX_COMMUNITIES: usize = 129;
/// What [`announce`] sends of [`Attributes::large_communities`]: 64 of the service, 64 of the neighbor.
pub const MAX_LARGE_COMMUNITIES: usize = 128;

/// Attribute header with a two-octet length.
const LONG_HEADER: usize = 4;
/// AFI, SAFI, next hop length, next hop, reserved.
const REACH_HEADER: usize = 2 + 1 + 1 + 16 + 1;
/// Header and the two length fields of an UPDATE.
const UPDATE_HEADER: usize = HEADER + 2 + 2;
/// The largest attributes of ours: ORIGIN, AS_PATH and AS4_PATH, NEXT_HOP, MED, LOCAL_PREF, and the three kinds of communities.
const LARGEST_ATTRIBUTES: usize = 4
    + (LONG_HEADER + 2 + 2 * MAX_AS_PATH)
    + (LONG_HEADER + 2 + 4 * MAX_AS_PATH)
    + 3 * 7
    + (LONG_HEADER + 4 * MAX_COMMUNITIES)
    + (3 + 8)
    + (LONG_HEADER + 12 * MAX_LARGE_COMMUNITIES);
// Whatever the attributes, there is room for a prefix: packing always moves on.
const _: () = assert!(UPDATE_HEADER + LARGEST_ATTRIBUTES + LONG_HEADER + REACH_HEADER + nlri::LONGEST <= MAX_MESSAGE);

/// Without LOCAL_PREF an internal neighbor may call the UPDATE malformed (RFC 4271 §5.1.5); this is what everyone assumes.
const DEFAULT_LOCAL_PREFERENCE: u32 = 100;

/// As few UPDATEs as hold `prefixes`, appended to `out`. IPv4 prefixes with an IPv4 next hop go the classic way, all others in
/// MP_REACH_NLRI; an IPv6 prefix with an IPv4 next hop gets it IPv4-mapped.
pub fn announce(attributes: &Attributes, next_hop: IpAddr, prefixes: &[IpNet], codec: &Codec, out: &mut BytesMut) {
    for family in Family::ALL {
        let classic = (family == Family::Ipv4).then_some(next_hop).filter(IpAddr::is_ipv4);
        let mut encoded = BytesMut::new();
        path_attributes(attributes, classic, codec, &mut encoded);
        let room = MAX_MESSAGE - announce_overhead(encoded.len(), classic.is_some());
        if classic.is_some() {
            pack(family, prefixes, room, |nlri| {
                update(out, &[], |out| out.put_slice(&encoded), nlri);
            });
        } else {
            pack(family, prefixes, room, |nlri| {
                // RFC 7606 §5.1: MP_REACH_NLRI is the first.
                let attributes = |out: &mut BytesMut| {
                    attribute(out, OPTIONAL, kind::MP_REACH, |out| reach(family, next_hop, nlri, out));
                    out.put_slice(&encoded);
                };
                update(out, &[], attributes, &[]);
            });
        }
    }
}

const fn announce_overhead(attributes: usize, classic: bool) -> usize {
    UPDATE_HEADER + attributes + if classic { 0 } else { LONG_HEADER + REACH_HEADER }
}

/// What an announcement, or a withdraw where `attributes` is `None`, takes beside its prefixes, at most.
pub fn overhead(attributes: Option<&Attributes>, multiprotocol: bool, codec: &Codec) -> usize {
    match attributes {
        None => UPDATE_HEADER + if multiprotocol { LONG_HEADER + 3 } else { 0 },
        Some(attributes) => {
            let mut encoded = BytesMut::new();
            let classic = (!multiprotocol).then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            path_attributes(attributes, classic, codec, &mut encoded);
            announce_overhead(encoded.len(), !multiprotocol)
        }
    }
}

/// What a prefix takes.
pub fn prefix_length(prefix: &IpNet) -> usize {
    nlri::length(prefix)
}

/// As few UPDATEs as withdraw `prefixes`, appended to `out`. `multiprotocol`: these IPv4 routes were announced in
/// MP_REACH_NLRI (RFC 8950); IPv6 ones always are.
pub fn withdraw(prefixes: &[IpNet], multiprotocol: bool, out: &mut BytesMut) {
    for family in Family::ALL {
        if family == Family::Ipv4 && !multiprotocol {
            pack(family, prefixes, MAX_MESSAGE - UPDATE_HEADER, |nlri| update(out, nlri, |_| {}, &[]));
        } else {
            pack(family, prefixes, MAX_MESSAGE - UPDATE_HEADER - LONG_HEADER - 3, |nlri| {
                update(out, &[], |out| unreach(family, nlri, out), &[]);
            });
        }
    }
}

/// RFC 4724 §2
pub fn end_of_rib(family: Family, out: &mut BytesMut) {
    match family {
        Family::Ipv4 => update(out, &[], |_| {}, &[]),
        Family::Ipv6 => update(out, &[], |out| unreach(family, &[], out), &[]),
    }
}

/// Hands out the family's prefixes in lots of at most `room` octets.
fn pack(family: Family, prefixes: &[IpNet], room: usize, mut lot: impl FnMut(&[u8])) {
    let mut nlri = BytesMut::with_capacity(room);
    for prefix in prefixes.iter().filter(|prefix| Family::of(prefix) == family) {
        if nlri.len() + nlri::length(prefix) > room {
            lot(&nlri);
            nlri.clear();
        }
        nlri::write(prefix, &mut nlri);
    }
    if !nlri.is_empty() {
        lot(&nlri);
    }
}

fn update(out: &mut BytesMut, withdrawn: &[u8], attributes: impl FnOnce(&mut BytesMut), nlri: &[u8]) {
    message(out, frame::kind::UPDATE, |out| {
        with_length(out, None, |out| out.put_slice(withdrawn));
        with_length(out, None, attributes);
        out.put_slice(nlri);
    });
}

/// The extended length only where one octet is too short for it.
fn attribute(out: &mut BytesMut, flags: u8, kind: u8, value: impl FnOnce(&mut BytesMut)) {
    let mut body = BytesMut::new();
    value(&mut body);
    match u8::try_from(body.len()) {
        Ok(length) => out.put_slice(&[flags, kind, length]),
        Err(_) => {
            out.put_slice(&[flags | EXTENDED_LENGTH, kind]);
            return with_length(out, None, |out| out.put_slice(&body));
        }
    }
    out.put_slice(&body);
}

fn reach(family: Family, next_hop: IpAddr, nlri: &[u8], out: &mut BytesMut) {
    let (afi, safi) = family.numbers();
    out.put_u16(afi);
    out.put_u8(safi);
    let next_hop = match next_hop {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    out.put_u8(16);
    out.put_slice(&next_hop.octets());
    out.put_u8(0);
    out.put_slice(nlri);
}

fn unreach(family: Family, nlri: &[u8], out: &mut BytesMut) {
    attribute(out, OPTIONAL, kind::MP_UNREACH, |out| {
        let (afi, safi) = family.numbers();
        out.put_u16(afi);
        out.put_u8(safi);
        out.put_slice(nlri);
    });
}

/// All but the multiprotocol ones, ascending by type (RFC 4271 §5).
fn path_attributes(attributes: &Attributes, next_hop: Option<IpAddr>, codec: &Codec, out: &mut BytesMut) {
    const BOTH: u8 = OPTIONAL | TRANSITIVE;
    let origin = match attributes.origin {
        Origin::Igp => 0,
        Origin::Egp => 1,
        Origin::Incomplete => 2,
    };
    attribute(out, TRANSITIVE, kind::ORIGIN, |out| out.put_u8(origin));
    let path = attributes.as_path.get(..MAX_AS_PATH).unwrap_or(&attributes.as_path);
    attribute(out, TRANSITIVE, kind::AS_PATH, |out| as_path(path, codec.four_octet_asn, out));
    if let Some(IpAddr::V4(address)) = next_hop {
        attribute(out, TRANSITIVE, kind::NEXT_HOP, |out| out.put_slice(&address.octets()));
    }
    if let Some(med) = attributes.med {
        attribute(out, OPTIONAL, kind::MED, |out| out.put_u32(med));
    }
    // RFC 4271 §5.1.5: to internal neighbors always, to others never.
    if codec.internal {
        let preference = attributes.local_preference.unwrap_or(DEFAULT_LOCAL_PREFERENCE);
        attribute(out, TRANSITIVE, kind::LOCAL_PREF, |out| out.put_u32(preference));
    }
    if !attributes.communities.is_empty() {
        attribute(out, BOTH, kind::COMMUNITIES, |out| {
            attributes.communities.iter().take(MAX_COMMUNITIES).for_each(|community| out.put_u32(community.0));
        });
    }
    if let Some(bandwidth) = attributes.link_bandwidth {
        attribute(out, BOTH, kind::EXTENDED_COMMUNITIES, |out| link_bandwidth(bandwidth, out));
    }
    // RFC 6793 §4.2.2
    if !codec.four_octet_asn && path.iter().any(|asn| u16::try_from(asn.get()).is_err()) {
        attribute(out, BOTH, kind::AS4_PATH, |out| as_path(path, true, out));
    }
    if !attributes.large_communities.is_empty() {
        attribute(out, BOTH, kind::LARGE_COMMUNITIES, |out| {
            for community in attributes.large_communities.iter().take(MAX_LARGE_COMMUNITIES) {
                out.put_u32(community.global);
                out.put_u32(community.local1);
                out.put_u32(community.local2);
            }
        });
    }
}

/// One AS_SEQUENCE of a path already cut to [`MAX_AS_PATH`]; none where the path is empty.
fn as_path(path: &[Asn], four_octets: bool, out: &mut BytesMut) {
    if path.is_empty() {
        return;
    }
    out.put_u8(segment::AS_SEQUENCE);
    out.put_u8(u8::try_from(path.len()).unwrap_or(u8::MAX));
    for asn in path {
        if four_octets {
            out.put_u32(asn.get());
        } else {
            out.put_u16(u16::try_from(asn.get()).unwrap_or(AS_TRANS));
        }
    }
}

/// RFC 10005: a two-octet AS specific extended community of subtype 4.
fn link_bandwidth(bandwidth: LinkBandwidth, out: &mut BytesMut) {
    out.put_u8(if bandwidth.transitive { 0x00 } else { 0x40 });
    out.put_u8(0x04);
    out.put_u16(u16::try_from(bandwidth.asn).unwrap_or(AS_TRANS));
    out.put_f32(bandwidth.bytes_per_second as f32);
}

#[cfg(test)]
mod tests;
