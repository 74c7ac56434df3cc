use super::*;

const CODEC: Codec = Codec { four_octet_asn: true, extended_message: false, extended_next_hop: false, internal: false };

fn plain(path: &[u32]) -> Attributes {
    Attributes {
        origin: Origin::Igp,
        as_path: path.iter().map(|asn| Asn::new(*asn).unwrap()).collect(),
        med: None,
        local_preference: None,
        communities: vec![],
        large_communities: vec![],
        link_bandwidth: None,
    }
}

fn announced(attributes: &Attributes, next_hop: &str, prefixes: &[&str], codec: &Codec) -> String {
    let prefixes: Vec<IpNet> = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    let mut out = BytesMut::new();
    announce(attributes, next_hop.parse().unwrap(), &prefixes, codec, &mut out);
    hex(&out)
}

/// Behind the marker.
fn hex(out: &[u8]) -> String {
    assert_eq!(&out[..16], &[0xFF; 16]);
    out[16..].iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn announcements_octet_by_octet() {
    use super::super::{Community, LargeCommunity};
    let all = Attributes {
        med: Some(7),
        local_preference: Some(200),
        communities: vec![Community(0xFFFF_0000)],
        large_communities: vec![LargeCommunity { global: 1, local1: 2, local2: 3 }],
        link_bandwidth: Some(LinkBandwidth { asn: 65001, bytes_per_second: 1_250_000_000, transitive: true }),
        ..plain(&[65001])
    };
    let four = Attributes {
        link_bandwidth: Some(LinkBandwidth { asn: 4_200_000_001, bytes_per_second: 0, transitive: false }),
        ..plain(&[4_200_000_001, 65002])
    };
    let old = Codec { four_octet_asn: false, ..CODEC };
    let internal = Codec { internal: true, ..CODEC };
    let table = [
        (
            announced(&plain(&[65001]), "192.0.2.9", &["198.51.100.1/32"], &CODEC),
            "0030 02 0000 0014 40010100 400206 02010000fde9 400304c0000209 20c6336401",
        ),
        (
            // host bits go out cleared
            announced(&plain(&[]), "192.0.2.9", &["198.51.100.1/23"], &internal),
            "0030 02 0000 0015 40010100 400200 400304c0000209 40050400000064 17c63364",
        ),
        (
            announced(&all, "192.0.2.9", &["0.0.0.0/0"], &CODEC),
            "0054 02 0000 003c 40010100 400206 02010000fde9 400304c0000209 80040400000007 c00804ffff0000 \
             c010080004fde94e9502f9 c0200c000000010000000200000003 00",
        ),
        (
            announced(&four, "192.0.2.9", &["10.0.0.0/8"], &old),
            "0045 02 0000 002c 40010100 400206 02025ba0fdea 400304c0000209 c0100840045ba000000000 \
             c0110a0202fa56ea010000fdea 080a",
        ),
        (
            announced(&plain(&[65001]), "2001:db8::9", &["2001:db8:5::/48"], &CODEC),
            "0043 02 0000 002c 800e1c 000201 10 20010db8000000000000000000000009 00 3020010db80005 \
             40010100 400206 02010000fde9",
        ),
        (
            announced(&plain(&[65001]), "fe80::9", &["10.0.0.0/8"], &CODEC),
            "003e 02 0000 0027 800e17 000101 10 fe800000000000000000000000000009 00 080a 40010100 400206 02010000fde9",
        ),
        (
            announced(&plain(&[65001]), "192.0.2.9", &["2000::/4"], &CODEC),
            "003e 02 0000 0027 800e17 000201 10 00000000000000000000ffffc0000209 00 0420 40010100 400206 02010000fde9",
        ),
    ];
    for (found, expected) in table {
        assert_eq!(found, expected.replace(' ', ""));
    }
}

#[test]
fn withdrawals_and_end_of_rib_octet_by_octet() {
    let withdrawn = |prefix: &str, multiprotocol| {
        let mut out = BytesMut::new();
        withdraw(&[prefix.parse().unwrap()], multiprotocol, &mut out);
        hex(&out)
    };
    let end = |family| {
        let mut out = BytesMut::new();
        end_of_rib(family, &mut out);
        hex(&out)
    };
    let table = [
        (withdrawn("198.51.100.1/32", false), "001c 02 0005 20c6336401 0000"),
        (withdrawn("198.51.100.1/32", true), "0022 02 0000 000b 800f08 000101 20c6336401"),
        (withdrawn("2001:db8::/32", false), "0022 02 0000 000b 800f08 000201 2020010db8"),
        (end(Family::Ipv4), "0017 02 0000 0000"),
        (end(Family::Ipv6), "001d 02 0000 0006 800f03 000201"),
    ];
    for (found, expected) in table {
        assert_eq!(found, expected.replace(' ', ""));
    }
}

/// 64 of the service and 64 of the neighbor (the configuration's bound), and graceful-shutdown.
#[test]
fn all_communities_that_can_be_configured_go_out() {
    use super::super::{Community, LargeCommunity};
    let most = Attributes {
        communities: (0..129).map(Community).collect(),
        large_communities: (0..128).map(|global| LargeCommunity { global, local1: 0, local2: 0 }).collect(),
        ..plain(&[65001])
    };
    let hex = announced(&most, "192.0.2.9", &["10.0.0.0/8"], &CODEC);
    assert!(hex.contains(&format!("d008{:04x}", 129 * 4)), "all communities, extended length");
    assert!(hex.contains(&format!("d020{:04x}", 128 * 12)), "all large communities, extended length");
}

/// Out of bounds is cut, never looped over: even the largest attributes leave room for a prefix.
#[test]
fn silly_sizes_are_bounded() {
    use super::super::{Community, LargeCommunity};
    let silly = Attributes {
        med: Some(1),
        local_preference: Some(1),
        communities: (0..100_000).map(Community).collect(),
        large_communities: (0..100_000).map(|global| LargeCommunity { global, local1: 0, local2: 0 }).collect(),
        link_bandwidth: Some(LinkBandwidth { asn: 1, bytes_per_second: u64::MAX, transitive: true }),
        ..plain(&[4_200_000_000; 70_000])
    };
    let prefixes: Vec<IpNet> = ["2001:db8::1/128".parse().unwrap(), "2001:db8::2/128".parse().unwrap()].to_vec();
    let codec = Codec { four_octet_asn: false, internal: true, ..CODEC };
    let mut out = BytesMut::new();
    announce(&silly, "2001:db8::9".parse().unwrap(), &prefixes, &codec, &mut out);
    let mut found = Vec::new();
    while let Some(frame) = frame::frame(&mut out, MAX_MESSAGE).unwrap() {
        let update = super::super::update::decode(&frame.body, &codec).unwrap();
        assert_eq!(update.malformed, []);
        found.extend(update.announced);
    }
    assert_eq!((found, out.len()), (prefixes, 0));
}

/// What the bound at the top of the module adds up is what the largest attributes take.
#[test]
fn the_largest_attributes_leave_room_for_a_prefix() {
    use super::super::{Community, LargeCommunity};
    let largest = Attributes {
        med: Some(7),
        communities: (0..200).map(Community).collect(),
        large_communities: (0..200).map(|n| LargeCommunity { global: n, local1: 0, local2: 0 }).collect(),
        link_bandwidth: Some(LinkBandwidth { asn: 65001, bytes_per_second: 1, transitive: true }),
        ..plain(&[4_200_000_001; 300])
    };
    let (old, v4) = (Codec { four_octet_asn: false, ..CODEC }, "192.0.2.9".parse().unwrap());
    let length = |codec| {
        let mut encoded = BytesMut::new();
        path_attributes(&largest, Some(v4), codec, &mut encoded);
        encoded.len()
    };
    // LOCAL_PREF is for internal neighbors; every other attribute is there.
    assert_eq!(length(&old), LARGEST_ATTRIBUTES - 7);
    assert_eq!(length(&Codec { internal: true, ..old }), LARGEST_ATTRIBUTES);
    for next_hop in ["192.0.2.9", "2001:db8::9"] {
        let mut out = BytesMut::new();
        let prefixes = ["2001:db8::1/128".parse().unwrap(), "2001:db8::2/128".parse().unwrap()];
        announce(&largest, next_hop.parse().unwrap(), &prefixes, &old, &mut out);
        assert!(out.len() > 2000 && out.len() <= 2 * MAX_MESSAGE, "{}", out.len());
    }
}
