//! Writes the seed corpus, one file for each message of ours:
//! `cargo run --manifest-path proto-tests/fuzz/Cargo.toml --example seeds`

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anycaster::bgp::wire::{
    self, Asn, Attributes, Capabilities, Codec, Community, Family, LargeCommunity, LinkBandwidth, Notification, Open,
    Origin,
};
use bytes::BytesMut;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/bgp");
    for (name, octets) in messages() {
        std::fs::write(folder.join(&name), &octets)?;
        // The target also takes a type and a body, where mutations need not mind the marker.
        std::fs::write(folder.join(format!("{name}-body")), &octets[18..])?;
    }
    Ok(())
}

fn messages() -> Vec<(String, Vec<u8>)> {
    let capabilities = Capabilities {
        families: Family::ALL.to_vec(),
        multiprotocol: true,
        route_refresh: true,
        extended_next_hop: true,
        extended_message: true,
        four_octet_asn: Some(4_200_000_001),
        enhanced_route_refresh: true,
        unknown: vec![],
    };
    let open = Open { version: 4, asn: 4_200_000_001, hold_time: 9, id: Ipv4Addr::new(192, 0, 2, 1), capabilities };
    let mut messages = vec![
        ("open".to_owned(), wire::open(&open).to_vec()),
        ("keepalive".to_owned(), wire::keepalive().to_vec()),
        ("notification".to_owned(), wire::notification(&Notification::administrative_shutdown("seed")).to_vec()),
        ("route-refresh".to_owned(), wire::route_refresh(Family::Ipv6, 1).to_vec()),
    ];
    for (name, four_octet_asn, internal) in [("new", true, false), ("old", false, false), ("internal", true, true)] {
        let codec = Codec { four_octet_asn, extended_message: false, extended_next_hop: true, internal };
        let routes = [
            ("v4", "192.0.2.9", "198.51.100.1/32"),
            ("v6", "2001:db8::9", "2001:db8::/48"),
            ("v4-over-v6", "fe80::9", "0.0.0.0/0"),
        ];
        for (family, next_hop, prefix) in routes {
            let mut out = BytesMut::new();
            let next_hop: IpAddr = next_hop.parse().expect("an address");
            wire::announce(&attributes(), next_hop, &[prefix.parse().expect("a prefix")], &codec, &mut out);
            messages.push((format!("announce-{family}-{name}"), out.to_vec()));
        }
    }
    for family in Family::ALL {
        let mut out = BytesMut::new();
        wire::end_of_rib(family, &mut out);
        messages.push((format!("end-of-rib-{}", family.name()), out.to_vec()));
    }
    for (name, prefix, multiprotocol) in
        [("v4", "198.51.100.1/32", false), ("v4-mp", "198.51.100.0/24", true), ("v6", "::/0", true)]
    {
        let mut out = BytesMut::new();
        wire::withdraw(&[prefix.parse().expect("a prefix")], multiprotocol, &mut out);
        messages.push((format!("withdraw-{name}"), out.to_vec()));
    }
    messages
}

fn attributes() -> Attributes {
    Attributes {
        origin: Origin::Igp,
        as_path: [4_200_000_001, 65001].into_iter().filter_map(Asn::new).collect(),
        med: Some(1),
        local_preference: Some(100),
        communities: vec![Community::GRACEFUL_SHUTDOWN],
        large_communities: vec![LargeCommunity { global: 65001, local1: 1, local2: 2 }],
        link_bandwidth: Some(LinkBandwidth { asn: 65001, bytes_per_second: 1_250_000_000, transitive: true }),
    }
}
