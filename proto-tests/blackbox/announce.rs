//! What goes out: whole tables packed full, their ends marked, nothing twice, and the packets that carry it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::lab::bgp::{Family, NOTIFICATION, Open, Update};
use crate::lab::fake::{Connection, Event};
use crate::lab::service::Listening;
use crate::lab::{millis, seconds};
use crate::scene::{EAGER, PREFIXES, Scene, WEB, alone, namespaces, ready};

fn texts(prefixes: &[&str]) -> Vec<String> {
    prefixes.iter().map(|prefix| (*prefix).to_owned()).collect()
}

#[test]
fn a_new_session_hears_all_routes_then_end_of_rib_of_both_families_then_nothing() {
    if !ready() {
        return;
    }
    let tables = format!(
        "{WEB}med = 20\nprepend = 2\ncommunities = [\"65000:100\", \"graceful-shutdown\"]\nlarge-communities = [\"65000:1:2\"]\n"
    );
    let scene = Scene::new(EAGER, &tables);
    let connection = scene.tor.establish(&Open::default());
    let updates = connection.initial_updates();
    let route = |prefix: &str, next_hop: &str| Update {
        announced: texts(&[prefix]),
        next_hop: Some(next_hop.parse().expect("an address")),
        attributes: [
            (1, vec![0]),
            (2, vec![2, 3, 0, 0, 0xFD, 0xF2, 0, 0, 0xFD, 0xF2, 0, 0, 0xFD, 0xF2]),
            (4, vec![0, 0, 0, 20]),
            (8, vec![0xFD, 0xE8, 0, 100, 0xFF, 0xFF, 0, 0]),
            (32, vec![0, 0, 0xFD, 0xE8, 0, 0, 0, 1, 0, 0, 0, 2]),
        ]
        .into(),
        ..Update::default()
    };
    let end = |family| Update { end_of_rib: Some(family), ..Update::default() };
    let ipv4 = [route(PREFIXES[0], "10.97.1.2"), end(Family::Ipv4)];
    let ipv6 = [route(PREFIXES[1], "fd97:1::2"), end(Family::Ipv6)];
    // The families may come in either order, and one after the other or mixed; each ends after its own routes.
    for wanted in [ipv4, ipv6] {
        let of_family: Vec<_> = updates.iter().filter(|update| wanted.contains(update)).collect();
        assert_eq!(of_family, wanted.iter().collect::<Vec<_>>(), "all: {updates:#?}");
    }
    assert_eq!(updates.len(), 4, "{updates:#?}");
    assert_eq!(connection.collect(seconds(3)), [], "nothing changed");
    scene.finish();
}

/// Length of each UPDATE, and all prefixes.
fn sizes(connection: &Connection) -> (Vec<usize>, Vec<String>) {
    let (mut lengths, mut prefixes, mut ends) = (Vec::new(), Vec::new(), 0);
    while ends < 2 {
        let Event::Message { kind, body } = connection.event() else { panic!("closed") };
        assert_eq!(kind, 2);
        let update = Update::decode(&body);
        ends += usize::from(update.end_of_rib.is_some());
        if !update.announced.is_empty() {
            lengths.push(body.len() + 19);
        }
        prefixes.extend(update.announced);
    }
    (lengths, prefixes)
}

#[test]
fn updates_are_packed_full() {
    if !ready() {
        return;
    }
    let (host, router) = namespaces();
    host.run("ip route add local 198.18.0.0/16 dev lo");
    host.run("ip route add local 2001:db8:1::/48 dev lo");
    let ipv4 = (0..2000).map(|n| format!("198.18.{}.{}/32", n / 256, n % 256));
    let ipv6 = (1..=2000).map(|n| format!("2001:db8:1::{n:x}/128"));
    let all: BTreeSet<String> = ipv4.chain(ipv6).collect();
    let quoted: Vec<String> = all.iter().map(|prefix| format!("{prefix:?}")).collect();
    let tables = format!("[services.many]\nprefixes = [{}]\n", quoted.join(", "));
    let scene = Scene::in_namespaces(host, router, EAGER, &tables);
    let connection = scene.tor.establish(&Open::default());
    let (lengths, prefixes) = sizes(&connection);
    assert_eq!(prefixes.len(), all.len(), "each prefix once");
    assert_eq!(prefixes.into_iter().collect::<BTreeSet<_>>(), all);
    assert!(lengths.iter().all(|length| *length <= 4096), "{lengths:?}");
    // 5 and 17 octets a prefix: 2000 fill 3 and 9 messages, and all but the last of each kind have no room for more.
    let not_full = lengths.iter().filter(|length| **length + 17 <= 4096).count();
    assert!(lengths.len() == 12 && not_full <= 2, "{lengths:?}");

    // All gone at once is packed as well.
    scene.host.run("ip route del local 198.18.0.0/16 dev lo");
    let (mut messages, mut withdrawn) = (0, 0);
    while withdrawn < 2000 {
        let (_, update) = connection.update();
        assert_eq!(update.announced, Vec::<String>::new());
        withdrawn += update.withdrawn.len();
        messages += 1;
    }
    assert!(messages <= 4, "2000 withdraws in {messages} messages");
    assert_eq!(scene.witness().collect(millis(300)).len(), messages, "the other router heard the same");
    scene.finish();
}

#[test]
fn exactly_the_prefix_that_lost_its_listener_is_withdrawn() {
    if !ready() {
        return;
    }
    let (host, router) = namespaces();
    let listening = Listening::on(&host, &["192.0.2.53"], 53);
    let listening6 = Listening::on(&host, &["2001:db8::53"], 53);
    let tables = format!("{WEB}[services.web.binding]\nlisten = [\"tcp/53\"]\n");
    let scene = Scene::in_namespaces(host, router, EAGER, &tables);
    let connection = scene.tor.establish(&Open::default());
    assert_eq!(connection.initial_updates().len(), 4);
    for (sockets, prefix) in [(listening, PREFIXES[0]), (listening6, PREFIXES[1])] {
        drop(sockets);
        let start = Instant::now();
        for connection in [&connection, scene.witness()] {
            let (at, update) = connection.update();
            assert_eq!(update, Update { withdrawn: texts(&[prefix]), ..Update::default() });
            assert!(at.duration_since(start) < millis(250), "{prefix} after {:?}", at.duration_since(start));
        }
    }
    let _back = Listening::on(&scene.host, &["192.0.2.53"], 53);
    for connection in [&connection, scene.witness()] {
        assert_eq!(connection.update().1.announced, texts(&PREFIXES[..1]));
    }
    scene.finish();
}

#[test]
fn stop_is_withdraw_then_settle_then_cease_with_a_text() {
    if !ready() {
        return;
    }
    let mut scene = Scene::new(EAGER, &format!("{WEB}[drain]\nwithdraw-settle = \"1s\"\n"));
    let connection = scene.tor.establish(&Open::default());
    connection.initial_updates();
    let start = Instant::now();
    scene.daemon.signal(Signal::SIGTERM);
    for connection in [&connection, scene.witness()] {
        let mut withdrawn = Vec::new();
        while withdrawn.len() < 2 {
            let (at, update) = connection.update();
            assert!(at.duration_since(start) < millis(500), "{:?}", at.duration_since(start));
            withdrawn.extend(update.withdrawn);
        }
        withdrawn.sort();
        assert_eq!(withdrawn, PREFIXES);
    }
    for connection in [&connection, scene.witness()] {
        let (at, event) = connection.next(seconds(5)).expect("a Cease");
        let Event::Message { kind: NOTIFICATION, body } = event else { panic!("{event:?} where a Cease was due") };
        assert_eq!(body[..2], [6, 2]);
        let (length, text) = body[2..].split_first().expect("a text (RFC 9003)");
        assert_eq!(usize::from(*length), text.len());
        assert!(!std::str::from_utf8(text).expect("UTF-8").is_empty());
        let after = at.duration_since(start);
        assert!(after >= millis(950) && after < millis(2500), "withdraw-settle is 1 s, Cease after {after:?}");
        assert_eq!(connection.event(), Event::Closed);
    }
    let ended = scene.daemon.wait(seconds(5));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
}

#[test]
fn a_second_sigterm_stops_at_once() {
    if !ready() {
        return;
    }
    let mut scene = Scene::new(EAGER, &format!("{WEB}[drain]\nwithdraw-settle = \"20s\"\n"));
    scene.daemon.signal(Signal::SIGTERM);
    std::thread::sleep(millis(300));
    assert!(scene.daemon.running(), "withdraw-settle is 20 s:\n{}", scene.daemon.log());
    scene.daemon.signal(Signal::SIGTERM);
    let ended = scene.daemon.wait(seconds(3));
    assert!(ended.code.is_some(), "{ended:?}");
}

#[test]
fn packets_to_a_connected_neighbor_have_ttl_255_and_dscp_cs6() {
    // "… IP (tos 0xc0, ttl 255, id …" · "… IP6 (class 0xc0, flowlabel 0x…, hlim 255, …"
    for (address, words) in [("10.97.1.1", ["tos 0xc0,", "ttl 255,"]), ("fd97:1::1", ["class 0xc0,", "hlim 255,"])] {
        if !crate::lab::ready(&["tcpdump"]) {
            return;
        }
        let (host, router) = namespaces();
        let mut tcpdump = Command::new("tcpdump");
        let filter = format!("tcp and dst host {address} and dst port 179");
        tcpdump.args(["-i", "h1", "-n", "-v", "-l", "-c", "6", &filter]);
        let mut tcpdump = router.spawn(tcpdump.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let mut said = String::new();
        BufReader::new(tcpdump.stderr()).read_line(&mut said).expect("tcpdump listens");
        let lines = BufReader::new(tcpdump.stdout()).lines();
        let own = "asn = 65010\nid = \"10.97.1.2\"";
        let (_daemon, tor) = alone(&host, &router, own, address, WEB);
        let connection = tor.establish(&Open::default());
        connection.initial_updates();
        connection.close();
        // The SYN, the OPEN and what follows
        let headers = lines.map_while(Result::ok).filter(|line| line.contains("IP (") || line.contains("IP6 ("));
        let headers: Vec<String> = headers.take(6).collect();
        assert_eq!(headers.len(), 6, "{said}");
        for header in headers {
            assert!(words.iter().all(|word| header.contains(word)), "{header}");
        }
    }
}
