//! Two decoders that others wrote, bgpkit-parser and routecore, on every message we send.

#![allow(clippy::wildcard_enum_match_arm, reason = "their enums, of which we send a few variants")]

use std::net::IpAddr;

use anycaster::bgp::wire::{
    AS_TRANS, Asn, Attributes, Codec, Community, Family, LargeCommunity, LinkBandwidth, MAX_MESSAGE, Notification,
    Open, Origin,
};
use bgpkit_parser::models::{
    AsPathSegment, AsnLength, AttributeValue, BgpMessage, BgpUpdateMessage, CapabilityValue,
    Community as BgpkitCommunity, ExtendedCommunity, NextHopAddress, Origin as BgpkitOrigin, ParamValue,
};
use bytes::Bytes;
use ipnet::IpNet;
use routecore::bgp::message::{Message as RoutecoreMessage, SessionConfig};

fn bgpkit(octets: &[u8], four_octets: bool) -> BgpMessage {
    let width = if four_octets { AsnLength::Bits32 } else { AsnLength::Bits16 };
    let mut input = Bytes::copy_from_slice(octets);
    let message = bgpkit_parser::parser::bgp::parse_bgp_message(&mut input, false, &width).unwrap();
    assert_eq!(input.len(), 0);
    message
}

fn routecore(octets: &[u8], four_octets: bool) -> RoutecoreMessage<Vec<u8>> {
    let config = if four_octets { SessionConfig::modern() } else { SessionConfig::legacy() };
    RoutecoreMessage::from_octets(octets.to_vec(), Some(&config)).unwrap()
}

fn each(octets: &[u8]) -> Vec<Vec<u8>> {
    let messages = super::frames(octets, MAX_MESSAGE).unwrap();
    let mut rest = octets;
    let mut take = |length: usize| {
        let (message, behind) = rest.split_at(length);
        rest = behind;
        message.to_vec()
    };
    messages.iter().map(|frame| take(frame.body.len() + 19)).collect()
}

fn update(octets: &[u8], four_octets: bool) -> BgpUpdateMessage {
    let BgpMessage::Update(update) = bgpkit(octets, four_octets) else { panic!("not an UPDATE") };
    assert_eq!(update.attributes.validation_warnings(), []);
    update
}

pub fn agree_on_open(octets: &[u8], ours: &Open) {
    let BgpMessage::Open(theirs) = bgpkit(octets, true) else { panic!("not an OPEN") };
    let short = u16::try_from(ours.asn).unwrap_or(AS_TRANS);
    assert_eq!(
        (theirs.version, u32::from(theirs.asn), theirs.hold_time, theirs.bgp_identifier),
        (4, u32::from(short), ours.hold_time, ours.id)
    );
    let mut codes = Vec::new();
    for parameter in theirs.opt_params {
        let ParamValue::Capacities(capabilities) = parameter.param_value else { panic!("not capabilities") };
        for capability in capabilities {
            codes.push(u8::from(capability.ty));
            if let CapabilityValue::FourOctetAs(value) = capability.value {
                assert_eq!(Some(value.asn), ours.capabilities.four_octet_asn);
            }
        }
    }
    let with = &ours.capabilities;
    let mut expected = vec![1; with.families.len()];
    let rest = [
        (with.route_refresh, 2),
        (with.extended_next_hop, 5),
        (with.extended_message, 6),
        (with.four_octet_asn.is_some(), 65),
        (with.enhanced_route_refresh, 70),
    ];
    expected.extend(rest.iter().filter(|(on, _)| *on).map(|(_, code)| *code));
    assert_eq!(codes, expected);

    let RoutecoreMessage::Open(theirs) = routecore(octets, true) else { panic!("not an OPEN") };
    assert_eq!((theirs.holdtime(), theirs.identifier()), (ours.hold_time, &ours.id.octets()[..]));
    assert_eq!(u32::from(theirs.my_asn()), ours.asn);
    assert_eq!(theirs.multiprotocol_ids().count(), with.families.len());
}

pub fn agree_on_notification(octets: &[u8], ours: &Notification) {
    let BgpMessage::Notification(theirs) = bgpkit(octets, true) else { panic!("not a NOTIFICATION") };
    assert_eq!((theirs.error.get_codes(), &theirs.data), ((ours.code, ours.subcode), &ours.data));
}

pub fn agree_on_keepalive(octets: &[u8]) {
    assert_eq!(bgpkit(octets, true), BgpMessage::KeepAlive);
    assert!(matches!(routecore(octets, true), RoutecoreMessage::Keepalive(_)));
}

pub fn agree_on_route_refresh(octets: &[u8], family: Family, subtype: u8) {
    let BgpMessage::RouteRefresh(theirs) = bgpkit(octets, true) else { panic!("not a ROUTE-REFRESH") };
    assert_eq!(((theirs.afi, theirs.safi), theirs.subtype, theirs.data), (family.numbers(), subtype, vec![]));
}

pub fn agree_on_end_of_rib(octets: &[u8]) {
    assert!(update(octets, true).is_end_of_rib());
    let RoutecoreMessage::Update(theirs) = routecore(octets, true) else { panic!("not an UPDATE") };
    assert!(theirs.is_eor().unwrap().is_some());
}

pub fn agree_on_withdrawals(octets: &[u8], nets: &[IpNet]) {
    let mut found = Vec::new();
    let mut texts = Vec::new();
    for octets in each(octets) {
        let theirs = update(&octets, true);
        found.extend(theirs.withdrawn_prefixes.iter().map(|prefix| prefix.prefix));
        found.extend(
            theirs.attributes.get_unreachable_nlri().iter().flat_map(|nlri| &nlri.prefixes).map(|prefix| prefix.prefix),
        );
        let RoutecoreMessage::Update(theirs) = routecore(&octets, true) else { panic!("not an UPDATE") };
        texts.extend(theirs.withdrawals_vec().unwrap().iter().map(ToString::to_string));
    }
    assert_eq!(found, nets);
    assert_eq!(texts, nets.iter().map(ToString::to_string).collect::<Vec<_>>());
}

pub fn agree_on_announcements(octets: &[u8], ours: &Attributes, next_hop: IpAddr, nets: &[IpNet], codec: &Codec) {
    let mapped = match (next_hop, &nets[0]) {
        (IpAddr::V4(address), IpNet::V6(_)) => IpAddr::V6(address.to_ipv6_mapped()),
        _ => next_hop,
    };
    let expected = Attributes {
        local_preference: codec.internal.then(|| ours.local_preference.unwrap_or(100)),
        link_bandwidth: ours.link_bandwidth.map(as_sent),
        ..ours.clone()
    };
    let mut found = Vec::new();
    for octets in each(octets) {
        let theirs = update(&octets, codec.four_octet_asn);
        assert_eq!((understood(&theirs), next_hop_of(&theirs)), (expected.clone(), mapped));
        found.extend(theirs.announced_prefixes.iter().map(|prefix| prefix.prefix));
        found.extend(
            theirs.attributes.get_reachable_nlri().iter().flat_map(|nlri| &nlri.prefixes).map(|prefix| prefix.prefix),
        );
    }
    assert_eq!(found, nets);

    // routecore 0.7 knows no IPv6 next hop of an IPv4 prefix (RFC 8950).
    if mapped.is_ipv6() && matches!(nets[0], IpNet::V4(_)) {
        return;
    }
    let mut texts = Vec::new();
    for octets in each(octets) {
        let RoutecoreMessage::Update(theirs) = routecore(&octets, codec.four_octet_asn) else {
            panic!("not an UPDATE")
        };
        texts.extend(theirs.announcements_vec().unwrap().iter().map(ToString::to_string));
        assert_eq!(theirs.multi_exit_disc().unwrap().map(|med| med.0), expected.med);
        assert_eq!(theirs.local_pref().unwrap().map(|preference| preference.0), expected.local_preference);
        assert_eq!(theirs.communities().unwrap().map_or(0, Iterator::count), expected.communities.len());
        assert_eq!(theirs.large_communities().unwrap().map_or(0, Iterator::count), expected.large_communities.len());
    }
    assert_eq!(texts, nets.iter().map(ToString::to_string).collect::<Vec<_>>());
}

/// As a float carries it.
fn as_sent(ours: LinkBandwidth) -> LinkBandwidth {
    let asn = u32::from(u16::try_from(ours.asn).unwrap_or(AS_TRANS));
    LinkBandwidth { asn, bytes_per_second: ours.bytes_per_second as f32 as u64, ..ours }
}

fn next_hop_of(update: &BgpUpdateMessage) -> IpAddr {
    let multiprotocol = update.attributes.get_reachable_nlri().map(|nlri| match nlri.next_hop.unwrap() {
        NextHopAddress::Ipv4(address) => IpAddr::V4(address),
        NextHopAddress::Ipv6(address) => IpAddr::V6(address),
        other => panic!("{other:?}"),
    });
    let classic = update.attributes.next_hop();
    assert_ne!(classic.is_some(), multiprotocol.is_some());
    classic.or(multiprotocol).unwrap()
}

/// Their attributes as one of ours, to compare whole.
fn understood(update: &BgpUpdateMessage) -> Attributes {
    let mut found = Attributes {
        origin: Origin::Igp,
        as_path: vec![],
        med: update.attributes.multi_exit_discriminator(),
        local_preference: update.attributes.local_preference(),
        communities: vec![],
        large_communities: vec![],
        link_bandwidth: None,
    };
    let path = update.attributes.effective_as_path().unwrap();
    for segment in path.iter_segments() {
        let AsPathSegment::AsSequence(asns) = segment else { panic!("{segment:?}") };
        found.as_path.extend(asns.iter().map(|asn| Asn::new(u32::from(*asn)).unwrap()));
    }
    for attribute in &update.attributes {
        match attribute {
            AttributeValue::Origin(origin) => {
                found.origin = match origin {
                    BgpkitOrigin::IGP => Origin::Igp,
                    BgpkitOrigin::EGP => Origin::Egp,
                    BgpkitOrigin::INCOMPLETE => Origin::Incomplete,
                };
            }
            AttributeValue::Communities(communities) => {
                found.communities = communities.iter().map(|community| Community(number(*community))).collect();
            }
            AttributeValue::LargeCommunities(communities) => {
                let ours = communities.iter().map(|theirs| {
                    let [local1, local2] = theirs.local_data;
                    LargeCommunity { global: theirs.global_admin, local1, local2 }
                });
                found.large_communities = ours.collect();
            }
            AttributeValue::ExtendedCommunities(communities) => {
                let [ExtendedCommunity::LinkBandwidth(theirs)] = communities[..] else { panic!("{communities:?}") };
                found.link_bandwidth = Some(LinkBandwidth {
                    asn: u32::from(theirs.global_admin),
                    bytes_per_second: theirs.bandwidth as u64,
                    transitive: theirs.transitive,
                });
            }
            _ => {}
        }
    }
    found
}

fn number(community: BgpkitCommunity) -> u32 {
    match community {
        BgpkitCommunity::NoExport => 0xFFFF_FF01,
        BgpkitCommunity::NoAdvertise => 0xFFFF_FF02,
        BgpkitCommunity::NoExportSubConfed => 0xFFFF_FF03,
        BgpkitCommunity::Custom(asn, value) => u32::from(asn) << 16 | u32::from(value),
    }
}
