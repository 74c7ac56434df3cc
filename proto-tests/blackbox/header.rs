//! Message headers that are wrong (RFC 4271 §6.1), before and after the session is up.

use crate::lab::bgp::{Open, keepalive, message};
use crate::scene::{EAGER, Scene, WEB, ready};

struct Case {
    what: &'static str,
    bytes: Vec<u8>,
    answer: (u8, u8, Vec<u8>),
}

fn header(length: u16, kind: u8) -> Vec<u8> {
    [&[0xFF; 16][..], &length.to_be_bytes(), &[kind]].concat()
}

fn cases() -> Vec<Case> {
    let case = |what, bytes, subcode, data: &[u8]| Case { what, bytes, answer: (1, subcode, data.to_vec()) };
    let mut bad_marker = keepalive();
    bad_marker[15] = 0xFE;
    vec![
        case("a marker that is not all ones", bad_marker, 1, &[]),
        case("length 0", header(0, 4), 2, &[0, 0]),
        case("length 18", header(18, 4), 2, &[0, 18]),
        case("length 4097", header(4097, 2), 2, &[0x10, 0x01]),
        case("length 65535", header(65535, 2), 2, &[0xFF, 0xFF]),
        case("a KEEPALIVE of 20 octets", message(4, &[0]), 2, &[0, 20]),
        case("an OPEN of 28 octets", message(1, &[0; 9]), 2, &[0, 28]),
        case("an UPDATE of 22 octets", message(2, &[0; 3]), 2, &[0, 22]),
        case("type 0", message(0, &[]), 3, &[0]),
        case("type 6", message(6, &[1, 2, 3]), 3, &[6]),
        case("type 255", message(255, &[]), 3, &[255]),
        case("HTTP", b"GET / HTTP/1.1\r\nHost: example.net\r\n\r\n".to_vec(), 1, &[]),
        case("zeros", vec![0; 64], 1, &[]),
        case("SSH", b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n".to_vec(), 1, &[]),
    ]
}

#[test]
fn a_bad_header_before_any_open_has_its_notification() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    for Case { what, bytes, answer } in cases() {
        let (mut connection, _) = scene.tor.accept_open();
        connection.send(&bytes);
        let said = connection.expect_notification();
        assert_eq!((said.0, said.1), (answer.0, answer.1), "{what}");
        assert!(answer.2.is_empty() || answer.2 == said.2, "{what}: data {:?}, want {:?}", said.2, answer.2);
    }
    scene.finish();
}

#[test]
fn a_bad_header_on_a_session_that_is_up_has_its_notification() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    for Case { what, bytes, answer } in cases() {
        let mut connection = scene.tor.establish(&Open::default());
        connection.initial_updates();
        connection.send(&bytes);
        let said = connection.expect_notification();
        assert_eq!((said.0, said.1), (answer.0, answer.1), "{what}");
        assert!(answer.2.is_empty() || answer.2 == said.2, "{what}: data {:?}, want {:?}", said.2, answer.2);
    }
    scene.finish();
}

#[test]
fn a_bad_header_is_answered_however_its_octets_are_cut() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let (mut connection, _) = scene.tor.accept_open();
    for byte in message(7, &[]) {
        connection.send(&[byte]);
    }
    assert_eq!(connection.expect_notification(), (1, 3, vec![7]));
    scene.finish();
}

#[test]
fn octets_that_nobody_can_read_are_named_for_what_they_are() {
    if !ready() {
        return;
    }
    let scene = Scene::new("hold-time = \"90s\"\nidle-hold = \"30s\"\n", WEB);
    let (mut connection, _) = scene.tor.accept_open();
    connection.send(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n");
    assert_eq!(connection.expect_notification().0, 1);
    let said = scene.daemon.last_error("tor-a");
    assert!(said.contains("marker"), "{said:?}");
    scene.finish();
}
