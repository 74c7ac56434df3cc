//! Writes the seed corpus, one file for each message of ours:
//! `cargo run --manifest-path proto-tests/fuzz/Cargo.toml --example seeds`

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anycaster::bgp::wire::{
    self, Asn, Attributes, Capabilities, Codec, Community, Family, LargeCommunity, LinkBandwidth, Notification, Open,
    Origin,
};
use bytes::BytesMut;

#[path = "../fuzz_targets/pmtud/mend.rs"]
mod mend;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    std::fs::create_dir_all(corpus.join("pmtud"))?;
    for (name, packet) in errors() {
        std::fs::write(corpus.join("pmtud").join(name), packet)?;
    }
    let folder = corpus.join("bgp");
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

/// Errors about packets of the services of the target, as it takes them: lengths and checksums are mended there too.
fn errors() -> Vec<(&'static str, Vec<u8>)> {
    let ipv4 = |options: &[u8], protocol, from: [u8; 4], to: [u8; 4], behind: &[u8]| {
        let length = u8::try_from(0x45 + options.len() / 4).expect("at most 40 octets");
        let mut packet = vec![length, 0, 5, 220, 0, 0, 0x40, 0, 63, protocol, 0, 0];
        [&from[..], &to, options, behind].iter().for_each(|part| packet.extend_from_slice(part));
        packet
    };
    let ipv6 = |next, from: &str, to: &str, behind: &[u8]| {
        let address = |text: &str| text.parse::<std::net::Ipv6Addr>().expect("an address").octets();
        let mut packet = vec![0x60, 0, 0, 0, 5, 180, next, 63];
        [&address(from)[..], &address(to), behind].iter().for_each(|part| packet.extend_from_slice(part));
        packet
    };
    let ports = [1, 187, 195, 80, 0, 0, 0, 1];
    let (service, client, router) = ([192, 0, 2, 53], [198, 51, 100, 7], [10, 1, 1, 1]);
    let error4 = |options: &[u8], length: u8, quoted: &[u8]| {
        let icmp = [&[3, 4, 0, 0, 0, length, 5, 120][..], quoted].concat();
        ipv4(options, 1, router, service, &icmp)
    };
    let error6 = |chain: &[u8], next, quoted: &[u8]| {
        let icmp = [chain, &[2, 0, 0, 0, 0, 0, 5, 120], quoted].concat();
        ipv6(next, "2001:db8:1::1", "2001:db8::53", &icmp)
    };
    let quoted4 = |options: &[u8], protocol| ipv4(options, protocol, service, client, &ports);
    let quoted6 = |chain: &[u8], next| ipv6(next, "2001:db8::53", "2001:db8:2::7", &[chain, &ports].concat());
    let mut long = quoted4(&[], 6);
    long.resize(128, 0);
    long.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 0, 0, 0, 1]);
    let mut errors = vec![
        ("ipv4-tcp", error4(&[], 0, &quoted4(&[], 6))),
        ("ipv4-sctp-options", error4(&[1; 4], 0, &quoted4(&[1; 8], 132))),
        ("ipv4-udp", error4(&[], 0, &quoted4(&[], 17))),
        ("ipv4-extended", error4(&[], 32, &long)),
        ("ipv6-tcp", error6(&[], 58, &quoted6(&[], 6))),
        ("ipv6-hop-by-hop", error6(&[58, 0, 5, 2, 0, 0, 1, 0], 0, &quoted6(&[6, 0, 0, 0, 0, 0, 0, 9], 44))),
        ("ipv6-routing", error6(&[60, 0, 0, 0, 0, 0, 0, 0, 58, 0, 1, 4, 0, 0, 0, 0], 43, &quoted6(&[], 132))),
    ];
    errors.iter_mut().for_each(|(_, packet)| mend::mend(packet));
    errors
}
