//! Messages against everything but our own opinion: arbitrary octets, the way there and back, and two foreign decoders.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test ends where it fails, and reads the captures it is given"
)]

use std::net::{IpAddr, Ipv4Addr};

use anycaster::bgp::wire::{
    self, Asn, Attributes, Capabilities, Codec, Community, Family, Frame, LargeCommunity, LinkBandwidth,
    MAX_EXTENDED_MESSAGE, MAX_MESSAGE, Message, Notification, Open, Origin, RouteRefresh, Update,
};
use bytes::{Bytes, BytesMut};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

#[path = "wire/captures.rs"]
mod captures;
#[path = "wire/foreign.rs"]
mod foreign;

fn codecs() -> impl Strategy<Value = Codec> {
    any::<[bool; 4]>().prop_map(|[four_octet_asn, extended_message, extended_next_hop, internal]| Codec {
        four_octet_asn,
        extended_message,
        extended_next_hop,
        internal,
    })
}

fn asns() -> impl Strategy<Value = Asn> {
    prop_oneof![1..=65535u32, 65536..=u32::MAX].prop_map(|asn| Asn::new(asn).unwrap())
}

fn link_bandwidths() -> impl Strategy<Value = LinkBandwidth> {
    (any::<u32>(), any::<u64>(), any::<bool>()).prop_map(|(asn, bytes_per_second, transitive)| LinkBandwidth {
        asn,
        bytes_per_second,
        transitive,
    })
}

fn large_communities() -> impl Strategy<Value = LargeCommunity> {
    any::<[u32; 3]>().prop_map(|[global, local1, local2]| LargeCommunity { global, local1, local2 })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    (
        prop_oneof![Just(Origin::Igp), Just(Origin::Egp), Just(Origin::Incomplete)],
        prop_oneof![8 => vec(asns(), 1..5), 1 => vec(asns(), 200..=wire::MAX_AS_PATH)],
        any::<Option<u32>>(),
        any::<Option<u32>>(),
        prop_oneof![8 => btree_set(any::<u32>(), 0..4), 1 => btree_set(any::<u32>(), 0..=wire::MAX_COMMUNITIES)],
        prop_oneof![8 => btree_set(large_communities(), 0..3), 1 => btree_set(large_communities(), 0..=wire::MAX_LARGE_COMMUNITIES)],
        proptest::option::of(link_bandwidths()),
    )
        .prop_map(|(origin, as_path, med, local_preference, communities, large, link_bandwidth)| Attributes {
            origin,
            as_path,
            med,
            local_preference,
            communities: communities.into_iter().map(Community).collect(),
            large_communities: large.into_iter().collect(),
            link_bandwidth,
        })
}

/// From /1 on: bgpkit-parser takes a leading default route for add-path.
fn prefixes(family: Family, count: std::ops::Range<usize>) -> BoxedStrategy<Vec<IpNet>> {
    match family {
        Family::Ipv4 => {
            let net = (any::<u32>(), 1..=32u8)
                .prop_map(|(bits, length)| IpNet::V4(Ipv4Net::new(Ipv4Addr::from_bits(bits), length).unwrap().trunc()));
            vec(net, count).boxed()
        }
        Family::Ipv6 => {
            let net = (any::<u128>(), 1..=128u8)
                .prop_map(|(bits, length)| IpNet::V6(Ipv6Net::new(bits.into(), length).unwrap().trunc()));
            vec(net, count).boxed()
        }
    }
}

fn one_family(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<IpNet>> {
    prop_oneof![prefixes(Family::Ipv4, count.clone()), prefixes(Family::Ipv6, count)]
}

/// What a router has: a host address of either kind.
fn next_hops() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (1..=126u32, 0..1u32 << 24).prop_map(|(a, b)| IpAddr::from((a << 24 | b).to_be_bytes() as [u8; 4])),
        any::<u128>().prop_map(|b| IpAddr::from(b.to_be_bytes()))
    ]
}

fn frames(octets: &[u8], limit: usize) -> Result<Vec<Frame>, Notification> {
    let mut buffer = BytesMut::from(octets);
    let mut frames = Vec::new();
    while let Some(frame) = wire::frame(&mut buffer, limit)? {
        frames.push(frame);
    }
    assert_eq!(buffer.len(), 0, "octets left behind the last message");
    Ok(frames)
}

fn message(octets: &[u8], codec: &Codec) -> Message {
    let frames = frames(octets, MAX_MESSAGE).unwrap();
    assert_eq!(frames.len(), 1);
    wire::decode(&frames[0], codec).unwrap()
}

fn updates(octets: &[u8], codec: &Codec) -> Vec<Update> {
    let decode = |frame: Frame| match wire::decode(&frame, codec).unwrap() {
        Message::Update(update) => update,
        other @ (Message::Open(_) | Message::Notification(_) | Message::Keepalive | Message::RouteRefresh(_)) => {
            panic!("{other:?}")
        }
    };
    frames(octets, MAX_MESSAGE).unwrap().into_iter().map(decode).collect()
}

const CODEC: Codec = Codec { four_octet_asn: true, extended_message: false, extended_next_hop: true, internal: false };

/// One UPDATE with lengths that fit, so that arbitrary octets reach the attributes.
fn framed_update(withdrawn: &[u8], attributes: &[(u8, u8, Vec<u8>)], nlri: &[u8]) -> Frame {
    let mut section = Vec::new();
    for (flags, kind, value) in attributes {
        section.extend([flags & !0x10, *kind, u8::try_from(value.len()).unwrap()]);
        section.extend(value);
    }
    let length = |octets: &[u8]| u16::try_from(octets.len()).unwrap().to_be_bytes();
    let body = [&length(withdrawn)[..], withdrawn, &length(&section), &section, nlri].concat();
    Frame { kind: 2, body: Bytes::from(body) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_are_a_message_or_a_notification(octets in vec(any::<u8>(), 0..600), kind in 0..7u8, codec in codecs()) {
        // Behind a good marker, and framed by force.
        let mut stream = BytesMut::from(&[&[0xFF; 16], &octets[..]].concat()[..]);
        while let Ok(Some(frame)) = wire::frame(&mut stream, MAX_EXTENDED_MESSAGE) {
            prop_assert!((1..=5).contains(&frame.kind));
        }
        let frame = Frame { kind, body: Bytes::from(octets) };
        if let Err(reply) = wire::decode(&frame, &codec) {
            prop_assert!((1..=7).contains(&reply.code), "{reply:?}");
            prop_assert_eq!(message(&wire::notification(&reply), &codec), Message::Notification(reply));
        }
    }

    /// RFC 7606's promise: treated as withdrawn, nothing is announced, and nothing that was named is forgotten.
    #[test]
    fn any_attributes_are_survived(
        attributes in vec((any::<u8>(), 0..40u8, vec(any::<u8>(), 0..40)), 0..8),
        nlri in prefixes(Family::Ipv4, 0..4),
        codec in codecs(),
    ) {
        let mut field = BytesMut::new();
        wire::withdraw(&nlri, false, &mut field);
        let nlri_octets = if nlri.is_empty() { Bytes::new() } else { field.split_off(21).split_to(field_length(&nlri)).freeze() };
        match wire::decode(&framed_update(&[], &attributes, &nlri_octets), &codec) {
            Ok(Message::Update(update)) => {
                let withdrawn = update.malformed.iter().any(|m| m.disposition == wire::Disposition::TreatAsWithdraw);
                let (named, silent) =
                    if withdrawn { (update.withdrawn, update.announced) } else { (update.announced, vec![]) };
                prop_assert_eq!(silent, vec![]);
                prop_assert!(nlri.iter().all(|prefix| named.contains(prefix)));
            }
            Ok(other) => panic!("{other:?}"),
            Err(reply) => prop_assert_eq!(reply.code, 3),
        }
    }

    #[test]
    fn announcements_come_back(attributes in attributes(), next_hop in next_hops(), nets in one_family(1..300), codec in codecs()) {
        let codec = Codec { extended_next_hop: true, ..codec };
        let mut out = BytesMut::new();
        wire::announce(&attributes, next_hop, &nets, &codec, &mut out);
        let updates = updates(&out, &codec);
        prop_assert!(updates.iter().all(|update| update.malformed.is_empty() && update.withdrawn.is_empty() && update.end_of_rib.is_none()));
        prop_assert_eq!(updates.into_iter().flat_map(|update| update.announced).collect::<Vec<_>>(), nets);
    }

    #[test]
    fn withdrawals_come_back(nets in one_family(1..2000), multiprotocol in any::<bool>(), codec in codecs()) {
        let mut out = BytesMut::new();
        wire::withdraw(&nets, multiprotocol, &mut out);
        let updates = updates(&out, &codec);
        prop_assert!(updates.iter().all(|update| update.malformed.is_empty() && update.announced.is_empty() && update.end_of_rib.is_none()));
        prop_assert_eq!(updates.into_iter().flat_map(|update| update.withdrawn).collect::<Vec<_>>(), nets);
    }

    #[test]
    fn opens_come_back(asn in asns(), hold_time in any::<u16>(), id in 1..=u32::MAX, bits in any::<[bool; 7]>()) {
        let [v4, v6, route_refresh, extended_next_hop, extended_message, four, enhanced_route_refresh] = bits;
        let four = four || asn.get() > 65535;
        let families: Vec<Family> = [(v4, Family::Ipv4), (v6, Family::Ipv6)].iter().filter(|(on, _)| *on).map(|(_, f)| *f).collect();
        let capabilities = Capabilities {
            multiprotocol: !families.is_empty(),
            families,
            route_refresh,
            extended_next_hop,
            extended_message,
            four_octet_asn: four.then_some(asn.get()),
            enhanced_route_refresh,
            unknown: vec![],
        };
        let open = Open { version: 4, asn: asn.get(), hold_time, id: Ipv4Addr::from_bits(id), capabilities };
        let octets = wire::open(&open);
        prop_assert_eq!(message(&octets, &CODEC), Message::Open(open.clone()));
        foreign::agree_on_open(&octets, &open);
    }

    #[test]
    fn notifications_come_back(code: u8, subcode: u8, data in vec(any::<u8>(), 0..5000)) {
        let sent = Notification::new(code, subcode, data);
        let octets = wire::notification(&sent);
        let kept = sent.data.iter().copied().take(MAX_MESSAGE - 21).collect::<Vec<_>>();
        let expected = Notification::new(code, subcode, kept);
        prop_assert_eq!(message(&octets, &CODEC), Message::Notification(expected.clone()));
        foreign::agree_on_notification(&octets, &expected);
        let _ = sent.to_string();
    }

    #[test]
    fn foreign_decoders_agree_on_announcements(attributes in attributes(), next_hop in next_hops(), nets in one_family(1..100), codec in codecs()) {
        let codec = Codec { extended_next_hop: true, ..codec };
        let mut out = BytesMut::new();
        wire::announce(&attributes, next_hop, &nets, &codec, &mut out);
        foreign::agree_on_announcements(&out, &attributes, next_hop, &nets, &codec);
    }

    #[test]
    fn foreign_decoders_agree_on_withdrawals(nets in one_family(1..1000), multiprotocol in any::<bool>()) {
        let mut out = BytesMut::new();
        wire::withdraw(&nets, multiprotocol, &mut out);
        foreign::agree_on_withdrawals(&out, &nets);
    }

    /// Each but the last is full to within one prefix.
    #[test]
    fn updates_are_packed_full(attributes in attributes(), next_hop in next_hops(), nets in one_family(500..3000), codec in codecs()) {
        let mut out = BytesMut::new();
        wire::announce(&attributes, next_hop, &nets, &codec, &mut out);
        let lengths = |out: &[u8]| frames(out, MAX_MESSAGE).unwrap().iter().map(|frame| frame.body.len() + 19).collect::<Vec<_>>();
        let full = |lengths: Vec<usize>| lengths.split_last().is_some_and(|(_, others)| others.iter().all(|length| *length > MAX_MESSAGE - 17));
        prop_assert!(full(lengths(&out)));
        out.clear();
        wire::withdraw(&nets, false, &mut out);
        prop_assert!(full(lengths(&out)));
    }
}

fn field_length(nets: &[IpNet]) -> usize {
    nets.iter().map(|net| 1 + usize::from(net.prefix_len()).div_ceil(8)).sum()
}

/// Host routes by the ten thousand, as an anycast host has them: within one percent of what the format allows.
#[test]
fn ten_thousand_host_routes_cost_what_they_must() {
    let attributes = Attributes {
        origin: Origin::Igp,
        as_path: vec![Asn::new(65001).unwrap()],
        med: None,
        local_preference: None,
        communities: vec![Community(0xFDE8_0064)],
        large_communities: vec![],
        link_bandwidth: None,
    };
    let v4: Vec<IpNet> =
        (0..10_000).map(|host| IpNet::from(IpAddr::from(Ipv4Addr::from_bits(0x0A00_0000 | host)))).collect();
    let v6: Vec<IpNet> =
        (0..10_000u128).map(|host| IpNet::from(IpAddr::from((0x2001_0db8 << 96 | host).to_be_bytes()))).collect();
    // Header, two lengths, ORIGIN, AS_PATH, COMMUNITIES; then NEXT_HOP or MP_REACH_NLRI's own.
    let common = 23 + 4 + 9 + 7;
    for (nets, next_hop, overhead) in [(v4, "192.0.2.9", common + 7), (v6, "2001:db8::9", common + 25)] {
        let mut out = BytesMut::new();
        wire::announce(&attributes, next_hop.parse().unwrap(), &nets, &CODEC, &mut out);
        let octets = field_length(&nets);
        let ideal = octets + octets.div_ceil(MAX_MESSAGE - overhead) * overhead;
        assert!(out.len() >= ideal && out.len() * 100 <= ideal * 101, "{} of {ideal}", out.len());
    }
}

#[test]
fn the_messages_without_content() {
    assert_eq!(message(&wire::keepalive(), &CODEC), Message::Keepalive);
    foreign::agree_on_keepalive(&wire::keepalive());
    for family in Family::ALL {
        for subtype in 0..=2 {
            let octets = wire::route_refresh(family, subtype);
            assert_eq!(message(&octets, &CODEC), Message::RouteRefresh(RouteRefresh { family: Some(family), subtype }));
            foreign::agree_on_route_refresh(&octets, family, subtype);
        }
        let mut out = BytesMut::new();
        wire::end_of_rib(family, &mut out);
        assert_eq!(updates(&out, &CODEC), [Update { end_of_rib: Some(family), ..Update::default() }]);
        foreign::agree_on_end_of_rib(&out);
    }
    let mut out = BytesMut::new();
    wire::withdraw(&["192.0.2.1/32".parse().unwrap()], false, &mut out);
    assert_eq!(out.len(), 28);
}
