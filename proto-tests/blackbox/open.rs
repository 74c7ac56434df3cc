//! OPENs that cannot be accepted, each with its NOTIFICATION (RFC 4271 §6.2) and its line in `neighbors`.

use crate::lab::bgp::{Open, keepalive};
use crate::lab::{seconds, wait_equal, wait_for};
use crate::scene::{EAGER, Scene, WEB, ready};

/// Answers the daemon's OPEN with these octets; returns the NOTIFICATION.
#[track_caller]
fn answer(scene: &Scene, open: &[u8]) -> (u8, u8, Vec<u8>) {
    let (mut connection, _) = scene.tor.accept_open();
    connection.send(open);
    connection.expect_notification()
}

#[test]
fn our_own_open_says_who_we_are_and_what_we_can() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let (_connection, open) = scene.tor.accept_open();
    assert_eq!((open.version, open.asn, open.hold, open.id), (4, 65010, 90, [10, 97, 1, 2].into()));
    let mut codes: Vec<u8> = open.capabilities.iter().map(|(code, _)| *code).collect();
    codes.dedup();
    // Multiprotocol, route refresh, extended next hop, extended messages, 4-octet AS, enhanced route refresh
    for code in [1, 2, 6, 65, 70] {
        assert!(codes.contains(&code), "capability {code} is missing from {codes:?}");
    }
    let families: Vec<_> =
        open.capabilities.iter().filter(|(code, _)| *code == 1).map(|(_, value)| &value[..]).collect();
    assert_eq!(families, [[0, 1, 0, 1], [0, 2, 0, 1]]);
    scene.finish();
}

#[test]
fn a_wrong_as_is_refused_and_both_numbers_are_said() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let (code, subcode, _) = answer(&scene, &Open { asn: 65009, ..Open::default() }.encode());
    assert_eq!((code, subcode), (2, 2));
    wait_for("the reason in neighbors", seconds(2), || {
        let said = scene.daemon.last_error("tor-a");
        if said.contains("offers AS 65009, configured 65001") { Ok(()) } else { Err(said) }
    });
    // A 4-octet one is read from its capability, not from the AS_TRANS in front.
    let (code, subcode, _) = answer(&scene, &Open { asn: 4_200_000_009, ..Open::default() }.encode());
    assert_eq!((code, subcode), (2, 2));
    wait_for("the real number in neighbors", seconds(2), || {
        let said = scene.daemon.last_error("tor-a");
        if said.contains("offers AS 4200000009, configured 65001") { Ok(()) } else { Err(said) }
    });
    scene.finish();
}

#[test]
fn each_bad_field_of_an_open_has_its_subcode() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let good = Open::default;
    let cases = [
        ("version 3", Open { version: 3, ..good() }.encode(), (2, 1, vec![0, 4])),
        ("version 5", Open { version: 5, ..good() }.encode(), (2, 1, vec![0, 4])),
        ("identifier 0.0.0.0", Open { id: [0, 0, 0, 0].into(), ..good() }.encode(), (2, 3, vec![])),
        ("hold time 1 s", Open { hold: 1, ..good() }.encode(), (2, 6, vec![])),
        ("hold time 2 s", Open { hold: 2, ..good() }.encode(), (2, 6, vec![])),
        ("hold time 0 where min-hold-time is 3 s", Open { hold: 0, ..good() }.encode(), (2, 6, vec![])),
        ("optional parameter 1", good().encode_with(&[1, 2, 0, 0]), (2, 4, vec![])),
        ("optional parameter 99", good().encode_with(&[99, 1, 0]), (2, 4, vec![])),
    ];
    for (what, bytes, (code, subcode, data)) in cases {
        let said = answer(&scene, &bytes);
        assert_eq!((said.0, said.1), (code, subcode), "{what}");
        if !data.is_empty() {
            assert_eq!(said.2, data, "{what}");
        }
        wait_for("a reason in neighbors", seconds(2), || {
            let error = scene.daemon.last_error("tor-a");
            if error.is_empty() { Err("last_error is null".to_owned()) } else { Ok(()) }
        });
    }
    scene.finish();
}

#[test]
fn a_hold_time_below_the_configured_least_is_refused() {
    if !ready() {
        return;
    }
    let scene = Scene::new(&format!("{EAGER}min-hold-time = \"30s\"\n"), WEB);
    let (code, subcode, _) = answer(&scene, &Open { hold: 29, ..Open::default() }.encode());
    assert_eq!((code, subcode), (2, 6));
    let connection = scene.tor.establish(&Open { hold: 30, ..Open::default() });
    connection.initial_updates();
    assert_eq!(scene.daemon.neighbor("tor-a")["hold_time"].as_u64(), Some(30));
    scene.finish();
}

#[test]
fn a_hold_time_of_zero_is_accepted_where_allowed_and_then_there_are_no_keepalives() {
    if !ready() {
        return;
    }
    let keys = EAGER.replace("hold-time = \"90s\"", "hold-time = \"3s\"\nmin-hold-time = \"0s\"");
    let scene = Scene::new(&keys, WEB);
    let connection = scene.tor.establish(&Open { hold: 0, ..Open::default() });
    connection.initial_updates();
    // Longer than the hold time we offered and than three of its KEEPALIVEs.
    assert_eq!(connection.next(seconds(4)), None);
    assert_eq!(scene.daemon.neighbor_state("tor-a"), "Established");
    scene.finish();
}

#[test]
fn what_looks_odd_but_is_right_is_accepted() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let unknown = |mut open: Open| {
        open.capabilities.extend([(9, vec![1]), (73, vec![0; 40]), (239, vec![])]);
        open
    };
    let cases = [
        ("an identifier from class D (RFC 6286)", Open { id: [224, 0, 0, 1].into(), ..Open::default() }.encode(), 2),
        ("capabilities that nobody knows (RFC 5492)", unknown(Open::default()).encode(), 2),
        ("no optional parameters at all: IPv4 only", Open::default().encode_with(&[]), 1),
    ];
    for (what, bytes, families) in cases {
        let (mut connection, _) = scene.tor.accept_open();
        connection.send(&bytes);
        connection.expect_keepalive();
        connection.send(&keepalive());
        let mut announced = Vec::new();
        for _ in 0..families * 2 {
            announced.extend(connection.update().1.announced);
        }
        announced.sort();
        assert_eq!(announced, crate::scene::PREFIXES[..families], "{what}");
        wait_equal(what, seconds(2), &"Established".to_owned(), || scene.daemon.neighbor_state("tor-a"));
    }
    scene.finish();
}
