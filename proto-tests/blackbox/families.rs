//! Routes of one family over a session of the other, and peers that know less than we do.

use std::net::IpAddr;

use crate::lab::bgp::{Open, Update, modern};
use crate::lab::seconds;
use crate::lab::wait_equal;
use crate::scene::{PREFIXES, WEB, alone, namespaces, ready};

const OWN: &str = "asn = 65010\nid = \"10.97.1.2\"";

/// The next hop of each prefix, in the order of [`PREFIXES`].
fn next_hops(updates: &[Update]) -> [Option<IpAddr>; 2] {
    PREFIXES.map(|prefix| {
        let update = updates.iter().find(|update| update.announced.iter().any(|announced| announced == prefix));
        update.and_then(|update| update.next_hop)
    })
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("an address"))
}

/// RFC 8950: IPv4 unicast with an IPv6 next hop.
fn with_extended_next_hop() -> Open {
    let capabilities = [modern(), vec![(5, vec![0, 1, 0, 1, 0, 2])]].concat();
    Open { capabilities, ..Open::default() }
}

#[test]
fn over_ipv6_ipv4_routes_have_the_ipv6_next_hop_where_both_sides_offered_it() {
    if !ready() {
        return;
    }
    let (host, router) = namespaces();
    let (_daemon, tor) = alone(&host, &router, OWN, "fd97:1::1", WEB);
    let connection = tor.establish(&with_extended_next_hop());
    assert_eq!(next_hops(&connection.initial_updates()), [address("fd97:1::2"), address("fd97:1::2")]);
}

#[test]
fn over_ipv6_ipv4_routes_have_the_interfaces_ipv4_address_where_they_did_not() {
    if !ready() {
        return;
    }
    let (host, router) = namespaces();
    let (_daemon, tor) = alone(&host, &router, OWN, "fd97:1::1", WEB);
    let connection = tor.establish(&Open::default());
    assert_eq!(next_hops(&connection.initial_updates()), [address("10.97.1.2"), address("fd97:1::2")]);
}

#[test]
fn a_route_without_a_next_hop_is_held_for_that_neighbor_and_says_so() {
    if !ready() {
        return;
    }
    for (gone, held, tor_address) in [("10.97.1.2/30", 0, "fd97:1::1"), ("fd97:1::2/64", 1, "10.97.1.1")] {
        let (host, router) = namespaces();
        host.remove_address("eth1", gone);
        let (daemon, tor) = alone(&host, &router, OWN, tor_address, WEB);
        let connection = tor.establish(&Open::default());
        let hops = next_hops(&connection.initial_updates());
        assert_eq!(hops.map(|hop| hop.is_none()), [held == 0, held == 1], "{hops:?} without {gone}");
        let reason = || daemon.service("web")["prefixes"][held]["neighbors"][0]["held"].clone();
        wait_equal("the reason", seconds(2), &"no-next-hop".into(), reason);
    }
}

#[test]
fn a_family_that_the_peer_does_not_speak_is_held_and_says_so() {
    if !ready() {
        return;
    }
    let (host, router) = namespaces();
    let (daemon, tor) = alone(&host, &router, OWN, "10.97.1.1", WEB);
    let only_ipv4 = Open { capabilities: vec![(1, vec![0, 1, 0, 1])], ..Open::default() };
    let connection = tor.establish(&only_ipv4);
    // Routes and one End-of-RIB
    let updates = [connection.update().1, connection.update().1];
    assert_eq!(next_hops(&updates), [address("10.97.1.2"), None]);
    let reason = || daemon.service("web")["prefixes"][1]["neighbors"][0]["held"].clone();
    wait_equal("the reason", seconds(2), &"family-not-negotiated".into(), reason);
}

#[test]
fn a_peer_with_two_octet_as_numbers_hears_as_trans_and_as4_path() {
    if !ready() {
        return;
    }
    let (host, router) = namespaces();
    let (_daemon, tor) = alone(&host, &router, "asn = 4200000001", "10.97.1.1", WEB);
    let (mut connection, open) = tor.accept_open();
    assert_eq!(open.asn, 4_200_000_001, "capability 65");
    // Multiprotocol for IPv4 and IPv6 as the only capabilities
    connection.send(&Open::default().encode_with(&[2, 12, 1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1]));
    connection.expect_keepalive();
    connection.send(&crate::lab::bgp::keepalive());
    let updates = connection.initial_updates();
    let announcing: Vec<_> = updates.iter().filter(|update| !update.announced.is_empty()).collect();
    assert_eq!(announcing.len(), 2);
    for update in announcing {
        assert_eq!(update.attributes.get(&2), Some(&vec![2, 1, 0x5B, 0xA0]), "AS_PATH");
        assert_eq!(update.attributes.get(&17), Some(&vec![2, 1, 0xFA, 0x56, 0xEA, 0x01]), "AS4_PATH");
    }
}
