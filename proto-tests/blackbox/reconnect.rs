//! Pauses between connections, and neighbors that do not do their part.

use std::io::Read as _;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::lab::bgp::{Open, keepalive, notification};
use crate::lab::fake::{Event, FakeNeighbor};
use crate::lab::{millis, seconds, wait_for};
use crate::scene::{EAGER, Scene, WEB, namespaces, ready};

/// Answers the daemon's OPEN with "wrong AS"; when the connection came, and when it had ended.
fn refuse(tor: &FakeNeighbor) -> (Instant, Instant) {
    let (mut connection, _) = tor.accept_open();
    connection.send(&notification(2, 2, &[]));
    assert_eq!(connection.event(), Event::Closed);
    (connection.arrived, Instant::now())
}

/// RFC 4271 §10: jitter may shorten by a quarter; lengthening by as much, and 200 ms of a busy machine, pass.
#[track_caller]
fn assert_about(what: &str, got: &[Duration], wanted: &[u64]) {
    let near =
        |(got, wanted): (&Duration, &u64)| *got >= millis(wanted * 3 / 4 - 10) && *got <= millis(wanted * 5 / 4 + 200);
    let all_near = got.len() == wanted.len() && got.iter().zip(wanted).all(near);
    assert!(all_near, "{what}: {got:?}, want about {wanted:?} ms");
}

#[test]
fn after_protocol_errors_the_pause_doubles_up_to_its_end() {
    if !ready() {
        return;
    }
    let keys = "hold-time = \"90s\"\nconnect-retry = \"10s\"\nidle-hold = \"200ms\"\nidle-hold-max = \"1s\"\n";
    let scene = Scene::new(keys, WEB);
    let turns: Vec<_> = (0..6).map(|_| refuse(&scene.tor)).collect();
    let pauses: Vec<_> = turns.windows(2).map(|pair| pair[1].0 - pair[0].1).collect();
    assert_about("idle hold", &pauses, &[200, 400, 800, 1000, 1000]);
    assert!(!scene.daemon.last_error("tor-a").is_empty(), "nothing in neighbors");
    scene.finish();
}

#[test]
fn after_a_closed_connection_the_pause_stays_the_same() {
    if !ready() {
        return;
    }
    let scene = Scene::new("hold-time = \"90s\"\nconnect-retry = \"400ms\"\nidle-hold = \"20s\"\n", WEB);
    let mut pauses = Vec::new();
    let mut ended = None;
    while pauses.len() < 4 {
        let (arrived, stream) = scene.tor.arrival(seconds(5)).expect("a connection");
        pauses.extend(ended.map(|ended| arrived.duration_since(ended)));
        stream.shutdown(Shutdown::Both).expect("shutdown");
        drop(stream);
        ended = Some(Instant::now());
    }
    assert_about("connect-retry", &pauses, &[400; 4]);
    scene.finish();
}

#[test]
fn a_cease_waits_connect_retry_and_too_many_prefixes_wait_longest() {
    if !ready() {
        return;
    }
    let keys = "hold-time = \"90s\"\nconnect-retry = \"300ms\"\nidle-hold = \"1s\"\nidle-hold-max = \"2s\"\n";
    let scene = Scene::new(keys, WEB);
    for (subcode, pause) in [(2, 300), (4, 300), (1, 2000), (6, 300)] {
        let mut connection = scene.tor.establish(&Open::default());
        connection.initial_updates();
        connection.send(&notification(6, subcode, &[]));
        connection.event();
        let ended = Instant::now();
        let (arrived, stream) = scene.tor.arrival(seconds(5)).expect("a connection");
        assert_about(&format!("after Cease/{subcode}"), &[arrived.duration_since(ended)], &[pause]);
        // Its own pause follows; the next turn of the loop has a connection after that.
        drop(stream);
    }
    scene.finish();
}

#[test]
fn a_session_that_stood_starts_the_doubling_anew() {
    if !ready() {
        return;
    }
    let keys = "hold-time = \"90s\"\nconnect-retry = \"10s\"\nidle-hold = \"200ms\"\nidle-hold-max = \"2s\"\n";
    let scene = Scene::new(keys, WEB);
    for _ in 0..3 {
        refuse(&scene.tor);
    }
    // 200, 400, 800 ms have passed; this one stands.
    let mut connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    std::thread::sleep(millis(2500));
    connection.send(&notification(3, 1, &[]));
    connection.event();
    let ended = Instant::now();
    let (arrived, _stream) = scene.tor.arrival(seconds(8)).expect("a connection");
    assert_about("after a session longer than idle-hold-max", &[arrived.duration_since(ended)], &[200]);
    scene.finish();
}

#[test]
fn a_connection_that_never_speaks_is_left_waiting_and_said_to_be() {
    if !ready() {
        return;
    }
    let scene = Scene::new(EAGER, WEB);
    let (connection, _) = scene.tor.accept_open();
    assert_eq!(connection.next(seconds(3)), None, "nothing more to say before the other OPEN");
    assert_eq!(scene.daemon.neighbor_state("tor-a"), "OpenSent");
    assert!(scene.tor.arrival(millis(1)).is_none(), "a second connection");
    // It may still speak, and then all is well.
    let mut connection = connection;
    connection.send(&Open::default().encode());
    connection.expect_keepalive();
    connection.send(&keepalive());
    connection.initial_updates();
    scene.finish();
}

#[test]
fn a_neighbor_that_is_not_there_costs_nothing_and_is_named() {
    if !ready() {
        return;
    }
    let (host, router) = namespaces();
    // No ARP answer either: connect() hangs.
    router.run("ip link set h1 arp off");
    let scene = Scene::in_namespaces(host, router, "hold-time = \"90s\"\nconnect-retry = \"500ms\"\n", WEB);
    let before = scene.daemon.processor_time();
    std::thread::sleep(seconds(2));
    let used = scene.daemon.processor_time() - before;
    assert!(used < millis(200), "{used:?} of processor time in 2 s");
    let state = scene.daemon.neighbor_state("tor-a");
    assert!(["Idle", "Connect", "Active"].contains(&&*state), "{state}");
    let held = &scene.daemon.service("web")["prefixes"][0]["neighbors"];
    assert_eq!(held[0]["held"], "no-session", "{held}");
    scene.finish();
}

#[test]
fn a_neighbor_that_never_reads_is_dropped_by_the_send_hold_timer() {
    if !ready() {
        return;
    }
    let (host, router) = namespaces();
    host.sysctl("net/ipv4/tcp_wmem", "4096 4096 8192");
    host.run("ip route add local 2001:db8:1::/48 dev lo");
    let tor = FakeNeighbor::listen_narrow(&router, "10.97.1.1");
    let prefixes: Vec<String> = (0..6000).map(|n| format!("\"2001:db8:1::{n:x}\"")).collect();
    let tables = format!("[services.many]\nprefixes = [{}]\n", prefixes.join(", "));
    let keys = "hold-time = \"90s\"\nconnect-retry = \"30s\"\nidle-hold = \"30s\"\nsend-hold-time = \"2s\"\n";
    let scene = Scene::with_tor(host, router, tor, keys, &tables);
    let (_, mut stream) = scene.tor.arrival(seconds(5)).expect("a connection");
    let start = Instant::now();
    stream.set_read_timeout(Some(seconds(5))).expect("timeout");
    read_message(&mut stream);
    let answers = [Open::default().encode(), keepalive()].concat();
    std::io::Write::write_all(&mut stream, &answers).expect("write");
    wait_for("Established", seconds(2), || {
        let state = scene.daemon.neighbor_state("tor-a");
        if state == "Established" { Ok(()) } else { Err(state) }
    });
    wait_for("the send hold timer", seconds(6), || {
        let said = scene.daemon.last_error("tor-a");
        if said.to_lowercase().contains("send hold") { Ok(()) } else { Err(said) }
    });
    assert!(start.elapsed() >= millis(1900), "send-hold-time is 2 s, ended after {:?}", start.elapsed());
    assert_ne!(scene.daemon.neighbor_state("tor-a"), "Established");
    scene.finish();
}

fn read_message(stream: &mut std::net::TcpStream) {
    let mut header = [0; 19];
    stream.read_exact(&mut header).expect("a header");
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[16], header[17]])) - 19];
    stream.read_exact(&mut body).expect("a body");
}
