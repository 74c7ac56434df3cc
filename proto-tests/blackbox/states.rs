//! Messages that do not belong in the state they come in (RFC 6608), and the ends of sessions.

use crate::lab::bgp::{self, Open, keepalive, notification};
use crate::lab::fake::Event;
use crate::lab::{millis, seconds, wait_for};
use crate::scene::{EAGER, Scene, WEB, ready};

#[test]
fn a_message_in_the_wrong_state_is_a_state_machine_error_that_names_its_type() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let update = bgp::update(&[], &[], &[]);
    let refresh = bgp::route_refresh(bgp::Family::Ipv4, 0);

    for (what, bytes, kind) in
        [("KEEPALIVE", keepalive(), 4), ("UPDATE", update.clone(), 2), ("ROUTE-REFRESH", refresh.clone(), 5)]
    {
        let (mut connection, _) = scene.tor.accept_open();
        connection.send(&bytes);
        assert_eq!(connection.expect_notification(), (5, 1, vec![kind]), "{what} in OpenSent");
    }
    for (what, bytes, kind) in
        [("UPDATE", update, 2), ("ROUTE-REFRESH", refresh, 5), ("OPEN", Open::default().encode(), 1)]
    {
        let (mut connection, _) = scene.tor.accept_open();
        connection.send(&Open::default().encode());
        connection.expect_keepalive();
        connection.send(&bytes);
        assert_eq!(connection.expect_notification(), (5, 2, vec![kind]), "{what} in OpenConfirm");
    }
    let mut connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    connection.send(&Open::default().encode());
    assert_eq!(connection.expect_notification(), (5, 3, vec![1]), "OPEN in Established");
    scene.finish();
}

#[test]
fn a_notification_is_never_answered_with_one() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    // Also with codes that do not exist, and with data that means nothing.
    for (code, subcode, data) in
        [(6, 2, &b"\x03bye"[..]), (6, 4, &[]), (3, 1, &[1, 2, 3]), (99, 99, &[0; 100]), (0, 0, &[])]
    {
        let bytes = notification(code, subcode, data);
        let (mut connection, _) = scene.tor.accept_open();
        connection.send(&bytes);
        assert_eq!(connection.event(), Event::Closed, "{code}/{subcode} in OpenSent");

        let mut connection = scene.tor.establish(&Open::default());
        connection.initial_updates();
        connection.send(&bytes);
        assert_eq!(connection.event(), Event::Closed, "{code}/{subcode} in Established");
    }
    scene.finish();
}

#[test]
fn the_text_of_an_administrative_shutdown_is_shown() {
    if !ready() {
        return;
    }
    let scene = Scene::new("hold-time = \"90s\"\nconnect-retry = \"30s\"\n", WEB);
    let mut connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    let text = "upgrade of tor-a, ticket 4711";
    let data = [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    connection.send(&notification(6, 2, &data));
    assert_eq!(connection.event(), Event::Closed);
    wait_for("the text in neighbors", seconds(2), || {
        let said = scene.daemon.last_error("tor-a");
        if said.contains(text) { Ok(()) } else { Err(said) }
    });
    scene.finish();
}

#[test]
fn silence_for_the_hold_time_ends_the_session_with_4_0() {
    if !ready() {
        return;
    }
    let keys = EAGER.replace("90s", "3s");
    let scene = Scene::new(&keys, WEB);
    let connection = scene.tor.establish(&Open::default());
    let start = std::time::Instant::now();
    assert_eq!(connection.expect_notification(), (4, 0, vec![]));
    let took = start.elapsed();
    assert!(took > millis(2800) && took < millis(4000), "hold time 3 s, ended after {took:?}");
    scene.finish();
}

#[test]
fn keepalives_come_in_time_and_hold_the_session() {
    if !ready() {
        return;
    }
    let scene = Scene::new(&EAGER.replace("90s", "3s"), WEB);
    let connection = scene.tor.establish(&Open::default());
    connection.keep_alive(millis(700));
    connection.initial_updates();
    let start = std::time::Instant::now();
    let mut last = start;
    while start.elapsed() < seconds(4) {
        let (at, event) = connection.next(seconds(2)).expect("a KEEPALIVE within two thirds of the hold time");
        assert_eq!(event, Event::Message { kind: bgp::KEEPALIVE, body: vec![] });
        let gap = at.duration_since(last);
        // RFC 4271 §4.4: never more than one a second; §10: jitter shortens by a quarter at most, of a third of 3 s.
        assert!(gap < millis(1300), "{gap:?} between KEEPALIVEs");
        last = at;
    }
    scene.finish();
}
