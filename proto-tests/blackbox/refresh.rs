//! Routes asked for again (RFC 2918, RFC 7313).

use crate::lab::bgp::{Family, Open, ROUTE_REFRESH, Update, message, route_refresh};
use crate::lab::fake::{Connection, Event};
use crate::lab::{millis, seconds, wait_for};
use crate::scene::{EAGER, PREFIXES, Scene, WEB, ready};

/// What the daemon sends within 500 ms: prefixes, and demarcations as "begin" and "end".
fn answer(connection: &Connection) -> Vec<String> {
    let mut words = Vec::new();
    for event in connection.collect(millis(500)) {
        match event {
            Event::Message { kind: 2, body } => words.extend(Update::decode(&body).announced),
            Event::Message { kind: ROUTE_REFRESH, body } => {
                words.push(format!("{} {}", ["request", "begin", "end"][usize::from(body[2])], body[1]));
            }
            other @ (Event::Message { .. } | Event::Closed | Event::Garbage(_)) => {
                panic!("{other:?} in answer to a ROUTE-REFRESH")
            }
        }
    }
    words
}

#[test]
fn a_refresh_is_answered_with_all_routes_of_that_family_and_no_other() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let mut connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    for (family, prefix) in [(Family::Ipv4, PREFIXES[0]), (Family::Ipv6, PREFIXES[1])] {
        connection.send(&route_refresh(family, 0));
        assert_eq!(answer(&connection), [prefix], "{family:?}");
    }
    // Families that we do not speak are ignored (RFC 2918 §4): IPv4 multicast, VPNv4.
    connection.send(&message(ROUTE_REFRESH, &[0, 1, 0, 2]));
    connection.send(&message(ROUTE_REFRESH, &[0, 1, 0, 128]));
    assert_eq!(answer(&connection), Vec::<String>::new());
    assert_eq!(scene.daemon.neighbor_state("tor-a"), "Established");
    scene.finish();
}

#[test]
fn an_enhanced_refresh_stands_between_its_marks() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let mut open = Open::default();
    open.capabilities.push((70, vec![]));
    let mut connection = scene.tor.establish(&open);
    connection.initial_updates();
    for (family, prefix) in [(Family::Ipv4, PREFIXES[0]), (Family::Ipv6, PREFIXES[1])] {
        connection.send(&route_refresh(family, 0));
        let number = family as u8;
        assert_eq!(answer(&connection), [format!("begin {number}"), prefix.to_owned(), format!("end {number}")]);
    }
    // Marks of the peer and subtypes that nobody knows ask for nothing (RFC 7313 §5).
    for subtype in [1, 2, 77] {
        connection.send(&route_refresh(Family::Ipv4, subtype));
    }
    assert_eq!(answer(&connection), Vec::<String>::new());
    // A wrong length is an error of its own: 7/1 with the whole message as data.
    let wrong = message(ROUTE_REFRESH, &[0, 1, 0, 1, 9]);
    connection.send(&wrong);
    assert_eq!(connection.expect_notification(), (7, 1, wrong));
    scene.finish();
}

#[test]
fn refreshes_by_the_thousand_are_answered_and_the_last_one_whole() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let mut connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    let flood: Vec<u8> = (0..5000).flat_map(|_| route_refresh(Family::Ipv4, 0)).collect();
    connection.send(&flood);
    wait_for("the flood to end", seconds(10), || {
        let count = connection.collect(millis(300)).len();
        if count == 0 { Ok(()) } else { Err(format!("{count} messages in the last 300 ms")) }
    });
    connection.send(&route_refresh(Family::Ipv6, 0));
    assert_eq!(answer(&connection), [PREFIXES[1]]);
    assert_eq!(scene.daemon.neighbor_state("tor-a"), "Established");
    scene.finish();
}
