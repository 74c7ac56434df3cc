//! UPDATEs that are wrong: what RFC 7606 lets pass, and what must still end the session.

use serde_json::json;

use crate::lab::bgp::{Open, UPDATE, attribute, message, update};
use crate::lab::fake::Connection;
use crate::lab::{seconds, wait_equal};
use crate::scene::{EAGER, Scene, WEB, ready};

const TRANSITIVE: u8 = 0x40;
const OPTIONAL: u8 = 0x80;
const BOTH: u8 = 0xC0;

/// 203.0.113.0/24
const NLRI: [u8; 4] = [24, 203, 0, 113];

fn origin() -> Vec<u8> {
    attribute(TRANSITIVE, 1, &[0])
}

fn as_path() -> Vec<u8> {
    attribute(TRANSITIVE, 2, &[2, 1, 0, 0, 0xFD, 0xE9])
}

fn next_hop() -> Vec<u8> {
    attribute(TRANSITIVE, 3, &[10, 97, 1, 1])
}

fn good() -> Vec<u8> {
    [origin(), as_path(), next_hop()].concat()
}

/// The three mandatory attributes, and this one more.
fn with(extra: Vec<u8>) -> Vec<u8> {
    [good(), extra].concat()
}

/// RFC 7606 §7: each is treated as withdraw, or the attribute is discarded; the session goes on.
fn survivable() -> Vec<(&'static str, Vec<u8>)> {
    let announcing = |what, attributes: Vec<u8>| (what, update(&[], &attributes, &NLRI));
    let cut_short = [origin(), as_path(), vec![TRANSITIVE, 3, 40, 10, 97, 1, 1]].concat();
    vec![
        announcing("ORIGIN 3", [attribute(TRANSITIVE, 1, &[3]), as_path(), next_hop()].concat()),
        announcing("ORIGIN of 2 octets", [attribute(TRANSITIVE, 1, &[0, 0]), as_path(), next_hop()].concat()),
        announcing("ORIGIN called optional", [attribute(OPTIONAL, 1, &[0]), as_path(), next_hop()].concat()),
        announcing("no ORIGIN", [as_path(), next_hop()].concat()),
        announcing("no AS_PATH", [origin(), next_hop()].concat()),
        announcing("no NEXT_HOP", [origin(), as_path()].concat()),
        announcing(
            "AS_PATH segment of type 9",
            [origin(), attribute(TRANSITIVE, 2, &[9, 1, 0, 0, 0, 1]), next_hop()].concat(),
        ),
        announcing("AS_PATH segment of no AS", [origin(), attribute(TRANSITIVE, 2, &[2, 0]), next_hop()].concat()),
        announcing(
            "AS_PATH longer than it is",
            [origin(), attribute(TRANSITIVE, 2, &[2, 3, 0, 0, 0, 1]), next_hop()].concat(),
        ),
        announcing(
            "AS_PATH with one octet over",
            [origin(), attribute(TRANSITIVE, 2, &[2, 1, 0, 0, 0, 1, 2]), next_hop()].concat(),
        ),
        announcing("NEXT_HOP of 3 octets", [origin(), as_path(), attribute(TRANSITIVE, 3, &[10, 97, 1])].concat()),
        announcing("MULTI_EXIT_DISC of 3 octets", with(attribute(OPTIONAL, 4, &[0, 0, 1]))),
        announcing("ATOMIC_AGGREGATE of 1 octet", with(attribute(TRANSITIVE, 6, &[0]))),
        announcing("AGGREGATOR of 5 octets", with(attribute(BOTH, 7, &[0, 0, 1, 10, 0]))),
        announcing("COMMUNITIES of 3 octets", with(attribute(BOTH, 8, &[0, 1, 2]))),
        announcing("EXTENDED COMMUNITIES of 7 octets", with(attribute(BOTH, 16, &[0; 7]))),
        announcing("LARGE_COMMUNITY of 11 octets", with(attribute(BOTH, 32, &[0; 11]))),
        announcing("ORIGIN twice", with(origin())),
        announcing("an attribute that runs past the end", cut_short),
        announcing("one octet where an attribute should be", with(vec![TRANSITIVE])),
    ]
}

#[test]
fn an_attribute_error_is_counted_and_costs_no_session() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let mut connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    for (index, (what, bytes)) in survivable().into_iter().enumerate() {
        connection.send(&bytes);
        wait_equal(&format!("{what} to be counted"), seconds(2), &json!(index + 1), || {
            scene.daemon.neighbor("tor-a")["malformed_updates"].clone()
        });
    }
    // ATOMIC_AGGREGATE, AGGREGATOR and the second ORIGIN are only discarded: their prefixes count.
    still_works(&scene, &mut connection, 4);
    scene.finish();
}

#[test]
fn what_is_only_unusual_is_not_even_counted() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let mut connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    let reach = [&[0, 2, 1, 16][..], &[0x20; 16], &[0], &[32, 0x20, 0x01, 0x0D, 0xB8]].concat();
    for bytes in [
        update(&[], &[], &[]),
        // A withdraw of what never was
        update(&NLRI, &[], &[]),
        // An optional attribute that nobody knows: alone, beside others, and of extended length
        update(&[], &attribute(BOTH, 99, &[1, 2, 3]), &[]),
        update(&[], &with(attribute(BOTH, 99, &[0; 300])), &NLRI),
        // End-of-RIB and a route of the other family
        update(&[], &attribute(OPTIONAL, 15, &[0, 2, 1]), &[]),
        update(&[], &[origin(), as_path(), attribute(OPTIONAL, 14, &reach)].concat(), &[]),
    ] {
        connection.send(&bytes);
    }
    still_works(&scene, &mut connection, 2);
    assert_eq!(scene.daemon.neighbor("tor-a")["malformed_updates"], json!(0));
    scene.finish();
}

/// One more good UPDATE is read and counted, which makes `total` announced IPv4 prefixes, and nothing was said meanwhile.
#[track_caller]
fn still_works(scene: &Scene, connection: &mut Connection, total: u64) {
    connection.send(&update(&[], &good(), &[24, 198, 51, 100]));
    wait_equal("the good UPDATE to be counted", seconds(5), &json!(total), || {
        scene.daemon.neighbor("tor-a")["received"]["ipv4"].clone()
    });
    assert_eq!(connection.collect(crate::lab::millis(100)), []);
    assert_eq!(scene.daemon.neighbor_state("tor-a"), "Established");
}

#[test]
fn what_cannot_be_read_at_all_ends_the_session() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let reach = |value: &[u8]| attribute(OPTIONAL, 14, value);
    let good6 = [&[0, 2, 1, 16][..], &[0x20; 16], &[0], &[32, 0x20, 0x01, 0x0D, 0xB8]].concat();
    let unreach = attribute(OPTIONAL, 15, &[0, 2, 1, 32, 0x20, 0x01, 0x0D, 0xB8]);
    // The second number is None where the RFCs leave the choice.
    let cases = [
        ("withdrawn routes longer than the message", message(UPDATE, &[0, 9, 0, 0]), Some(1)),
        ("attributes longer than the message", message(UPDATE, &[0, 0, 0, 9, 1]), Some(1)),
        ("a prefix of 33 bits", update(&[], &good(), &[33, 203, 0, 113, 1, 1]), Some(10)),
        ("a prefix cut short", update(&[], &good(), &[24, 203, 0]), Some(10)),
        ("a withdrawn prefix of 33 bits", update(&[33, 1, 2, 3, 4, 5], &[], &[]), None),
        (
            "MP_REACH_NLRI twice",
            update(&[], &[origin(), as_path(), reach(&good6), reach(&good6)].concat(), &[]),
            Some(1),
        ),
        ("MP_UNREACH_NLRI twice", update(&[], &[unreach.clone(), unreach].concat(), &[]), Some(1)),
        ("MP_REACH_NLRI of 2 octets", update(&[], &[origin(), as_path(), reach(&[0, 2])].concat(), &[]), None),
        (
            "MP_REACH_NLRI with a prefix of 129 bits",
            {
                let value = [&[0, 2, 1, 16][..], &[0x20; 16], &[0, 129], &[0; 17]].concat();
                update(&[], &[origin(), as_path(), reach(&value)].concat(), &[])
            },
            None,
        ),
    ];
    for (what, bytes, subcode) in cases {
        let mut connection = scene.tor.establish(&Open::default());
        connection.initial_updates();
        connection.send(&bytes);
        let said = connection.expect_notification();
        assert_eq!((said.0, subcode.unwrap_or(said.1)), (3, said.1), "{what}");
    }
    scene.finish();
}

#[test]
fn long_messages_are_accepted_once_both_sides_offered_them() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let mut open = Open::default();
    open.capabilities.push((6, vec![]));
    let mut connection = scene.tor.establish(&open);
    connection.initial_updates();
    // 10,000 prefixes in one UPDATE of more than 40,000 octets, then one of the very longest
    let many: Vec<u8> = (0..10_000_u16).flat_map(|n| [[24, 100].as_slice(), &n.to_be_bytes()].concat()).collect();
    connection.send(&update(&[], &good(), &many));
    wait_equal("10,000 prefixes", seconds(3), &json!(10_000), || {
        scene.daemon.neighbor("tor-a")["received"]["ipv4"].clone()
    });
    let filler = vec![0; 65535 - 19 - 4 - good().len() - 4 - NLRI.len()];
    let longest = update(&[], &with(attribute(BOTH, 99, &filler)), &NLRI);
    assert_eq!(longest.len(), 65535);
    connection.send(&longest);
    still_works(&scene, &mut connection, 10_002);
    // RFC 8654 §4: not for OPEN and KEEPALIVE
    connection.send(&message(4, &[0; 5000]));
    let length = u16::try_from(5019).expect("short").to_be_bytes();
    assert_eq!(connection.expect_notification(), (1, 2, length.to_vec()));
    scene.finish();
}

#[test]
fn a_flood_of_updates_is_read_to_the_end() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let mut connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    let mut flood = Vec::new();
    for n in 0..50_000_u16 {
        let prefix = [[24, 100].as_slice(), &n.to_be_bytes()].concat();
        flood.extend(if n % 2 == 0 { update(&[], &good(), &prefix) } else { update(&prefix, &[], &[]) });
    }
    let before = scene.daemon.resident();
    connection.send(&flood);
    let (code, _) = scene.daemon.try_get("/healthz").expect("an answer in the middle of it");
    assert_eq!(code, 200);
    still_works(&scene, &mut connection, 25_001);
    let grown = scene.daemon.resident().saturating_sub(before);
    assert!(grown < 32 << 20, "received routes are not kept, but memory grew by {grown} octets");
    scene.finish();
}
