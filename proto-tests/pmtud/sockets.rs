//! Capture, relay, injection and everything that may go wrong with their sockets.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use anycaster::config::{Members, PmtudMode};
use anycaster::io::pmtud::Relaying;
use anycaster::pmtud::{Heard, Verdict};
use socket2::{Domain, Socket, Type};

use crate::lab::namespace::Namespace;
use crate::lab::{ready, seconds, stays_equal, wait_equal, wait_for};
use crate::rig::{CLIENT, PORT, Rig, Running, SERVICE, Tap, frame, too_big, too_big_of, unicast};

/// The relays of all members.
fn start_all(rig: &Rig) -> Vec<Running> {
    (1..=rig.members.len()).map(|n| rig.start(n, |_| ())).collect()
}

fn broadcast(config: &mut anycaster::config::Pmtud) {
    config.mode = PmtudMode::Broadcast;
}

/// A client behind a link of 1400 octets fetches much from the service on member 2; whatever the router has to say about it
/// goes to member 1. `relays`: all members relay. True: everything arrived.
fn fetches(family: u8, relays: bool) -> bool {
    const MUCH: usize = 300_000;
    let rig = Rig::new(3);
    let place = usize::from(family == 6);
    let (service, narrow) = (SERVICE[place], Namespace::new("client"));
    let (client, gateway) = (["10.1.0.2", "fd01::2"][place], ["10.1.0.1", "fd01::1"][place]);
    let length = [24, 64][place];
    let ends = (format!("{client}/{length}"), format!("{gateway}/{length}"));
    crate::lab::namespace::link((&narrow, "e0", &[&ends.0]), (&rig.router, "narrow", &[&ends.1]));
    rig.router.run("ip link set narrow mtu 1400");
    narrow.run(&format!("ip -{family} route add default via {gateway}"));
    rig.router.run(&format!("ip -{family} route add {service} via {}", unicast(2, family)));
    rig.router.run(&format!("ip -{family} route add {service} via {} table 100", unicast(1, family)));
    rig.router.run(&format!("ip -{family} rule add ipproto {} table 100", ["icmp", "ipv6-icmp"][place]));
    let running = if relays { start_all(&rig) } else { Vec::new() };

    let address = SocketAddr::new(service.parse().unwrap(), 80);
    let listener = rig.member(2).within(|| std::net::TcpListener::bind(address).unwrap());
    let mut reader = narrow.within(|| std::net::TcpStream::connect(address).unwrap());
    let (mut writer, _) = listener.accept().unwrap();
    // Not closed: its path MTU is asked for.
    let writing = std::thread::spawn(move || (writer.write_all(&vec![7; MUCH]), writer));
    reader.set_read_timeout(Some(if relays { seconds(20) } else { seconds(2) })).unwrap();
    let mut arrived = vec![0; MUCH];
    let done = reader.read_exact(&mut arrived).is_ok();
    if relays {
        let [first, second, third] = &running[..] else { panic!() };
        assert!(done);
        let _open = writing.join().unwrap();
        let pmtu = rig.member(2).run("ss -Htin sport = :80");
        assert!(pmtu.contains("pmtu:1400"), "{pmtu}");
        assert!(first.count(Verdict::Relayed) > 0 && second.heard(Heard::Injected) > 0, "{:?}", second.0.totals());
        wait_for("the third", seconds(5), || {
            let totals = third.0.totals();
            if third.heard(Heard::NotOwned) > 0 { Ok(()) } else { Err(format!("{totals:?}")) }
        });
        assert_eq!((third.heard(Heard::Injected), second.everything(), third.everything()), (0, 0, 0));
    }
    done
}

#[test]
fn a_connection_behind_a_narrow_link_stalls_without_the_relay_and_not_with_it() {
    if ready(&["ss"]) {
        for family in [4, 6] {
            assert!(!fetches(family, false), "family {family}: the error must reach the wrong member");
            assert!(fetches(family, true), "family {family}");
        }
    }
}

#[test]
fn errors_for_this_host_are_relayed_with_and_without_tags_and_no_others() {
    if !ready(&[]) {
        return;
    }
    let rig = Rig::new(3);
    let running = start_all(&rig);
    let tags: [&[u8]; 3] = [&[], &[0x81, 0, 0, 7], &[0x88, 0xa8, 0, 9, 0x81, 0, 0, 3]];
    let mut sent = 0;
    for family in [4, 6] {
        for tags in tags {
            sent += 1;
            rig.send(1, &frame(1, tags, &too_big(family, sent)));
            running[0].wait(Verdict::Relayed, sent.into());
            running[1].wait_heard(Heard::NotOwned, sent.into());
            running[2].wait_heard(Heard::NotOwned, sent.into());
        }
        // Padding is not part of the packet.
        sent += 1;
        rig.send(1, &[&frame(1, &[], &too_big(family, sent))[..], &[0; 30]].concat());
        running[0].wait(Verdict::Relayed, sent.into());
    }
    let before = running[0].everything();
    for to in [[0xff; 6], [2, 0, 0, 0, 0, 5], [1, 0, 0x5e, 0, 0, 1]] {
        let mut frame = frame(1, &[], &too_big(4, 99));
        frame[..6].copy_from_slice(&to);
        rig.send(1, &frame);
    }
    let mut leaving = frame(1, &[], &too_big(4, 99));
    leaving[..6].copy_from_slice(&[2, 0, 0, 0, 0, 0x11]);
    rig.member(1).within(|| Tap::open("e0").send(&leaving));
    // Our own MAC address from outside: it went round.
    let mut round = frame(1, &[], &too_big(4, 99));
    round[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    rig.send(1, &round);
    running[0].wait(Verdict::Loop, 1);
    assert_eq!(running[0].everything(), before + 1);
    let members = running[0].0.totals().members;
    let sums: Vec<_> = members.iter().map(|it| (it.address.to_string(), it.relayed, it.send_errors)).collect();
    assert_eq!(sums, [(unicast(2, 4), 8, 0), (unicast(3, 4), 8, 0)]);
}

#[test]
fn an_error_is_injected_only_for_an_address_of_this_host() {
    if !ready(&[]) {
        return;
    }
    let rig = Rig::new(2);
    rig.member(2).remove_address("lo", "192.0.2.1/32");
    let running = start_all(&rig);
    let tap = rig.router.within(|| Tap::open("e2"));
    rig.send(1, &frame(1, &[], &too_big(4, 1)));
    running[1].wait_heard(Heard::NotLocal, 1);
    let left = tap.passed().into_iter().filter(|frame| frame.get(23) == Some(&1)).count();
    assert_eq!(left, 0, "ICMP left member 2");
}

#[test]
fn interfaces_come_and_go_and_change() {
    if !ready(&[]) {
        return;
    }
    let rig = Rig::new(2);
    rig.router.run("ip link del e1");
    let first = rig.start(1, |config| config.interfaces.push("e1".to_owned()));
    let second = rig.start(2, |_| ());
    assert_eq!((second.0.mtus(), first.0.mtus()), (vec![Some(1500)], vec![None, None]));
    for round in 1..=3 {
        rig.plug(1);
        wait_equal("it comes", seconds(5), &vec![Some(1500), None], || first.0.mtus());
        // A link carries nothing until a moment after it is there.
        let arrives = |verdict| {
            let before = first.count(verdict);
            wait_for("an error to arrive", seconds(10), || {
                rig.send(1, &frame(1, &[], &too_big(4, round)));
                std::thread::sleep(Duration::from_millis(10));
                if first.count(verdict) > before { Ok(()) } else { Err(format!("{:?}", first.0.totals())) }
            });
        };
        arrives(Verdict::Relayed);
        rig.member(1).run("ip link set e0 mtu 1300");
        wait_equal("its MTU changes", seconds(5), &vec![Some(1300), None], || first.0.mtus());
        arrives(Verdict::Mtu);
        for state in ["down", "up"] {
            rig.member(1).run(&format!("ip link set e0 {state}"));
        }
        arrives(Verdict::Mtu);
        if round % 2 == 0 {
            rig.member(1).run("ip link set e0 down");
            rig.member(1).run("ip link set e0 name e9");
            wait_equal("another name", seconds(5), &vec![None, None], || first.0.mtus());
            rig.member(1).run("ip link del e9");
        } else {
            rig.router.run("ip link del e1");
            wait_equal("it goes", seconds(5), &vec![None, None], || first.0.mtus());
        }
    }
}

#[test]
fn an_own_address_that_comes_late_and_goes_is_no_end() {
    if !ready(&[]) {
        return;
    }
    for (family, address) in [(4, "10.0.1.77"), (6, "fd00:1::77")] {
        let rig = Rig::new(2);
        let members = Members::List(vec![address.parse().unwrap(), unicast(2, family).parse().unwrap()]);
        let change = |own: &str, config: &mut anycaster::config::Pmtud| {
            let PmtudMode::Relay(relay) = &mut config.mode else { panic!() };
            (relay.address, relay.members) = (own.parse().unwrap(), members.clone());
        };
        let first = rig.start(1, |config| change(address, config));
        let second = rig.start(2, |config| change(&unicast(2, family), config));
        let mut round = 0;
        let mut while_away = || {
            rig.send(1, &frame(1, &[], &too_big(4, 1)));
            round += 1;
            // Linux sends IPv6 from an address that is not there.
            first.wait(if family == 4 { Verdict::SendError } else { Verdict::Relayed }, round);
        };
        while_away();
        for round in 1..=2 {
            let address = format!("{address}/{}", if family == 4 { 24 } else { 64 });
            rig.member(1).add_address("e0", &address);
            rig.send(2, &frame(2, &[], &too_big(6, 1)));
            first.wait_heard(Heard::NotOwned, round);
            if family == 4 {
                rig.send(1, &frame(1, &[], &too_big(4, 1)));
                first.wait(Verdict::Relayed, round);
                second.wait_heard(Heard::NotOwned, round);
            }
            rig.member(1).remove_address("e0", &address);
            while_away();
        }
    }
}

#[test]
fn what_cannot_be_sent_is_counted_and_the_rest_goes_on() {
    if !ready(&["nft"]) {
        return;
    }
    let rig = Rig::new(3);
    let running = start_all(&rig);
    let one = rig.member(1);
    let counts = || running[0].0.totals().members.iter().map(|it| (it.relayed, it.send_errors)).collect::<Vec<_>>();
    let send = |n: u16| rig.send(1, &frame(1, &[], &too_big(4, n)));
    send(1);
    running[0].wait(Verdict::Relayed, 1);
    // EPERM for one of two, then for both.
    one.run("nft add table ip t");
    one.run("nft add chain ip t out { type filter hook output priority 0 ; }");
    one.run("nft add rule ip t out udp dport 5141 ip daddr 10.0.2.2 drop");
    send(2);
    running[0].wait(Verdict::Relayed, 2);
    assert_eq!(counts(), [(1, 1), (2, 0)]);
    one.run("nft add rule ip t out udp dport 5141 drop");
    send(3);
    running[0].wait(Verdict::SendError, 1);
    assert_eq!(counts(), [(1, 2), (2, 1)]);
    one.run("nft delete table ip t");
    // ENETUNREACH, EACCES, EHOSTUNREACH
    for (n, kind) in ["unreachable", "prohibit", "blackhole"].into_iter().enumerate() {
        one.run(&format!("ip route add {kind} 10.0.2.2"));
        send(4);
        running[0].wait(Verdict::Relayed, 3 + u64::try_from(n).unwrap());
        one.run(&format!("ip route del {kind} 10.0.2.2"));
    }
    assert_eq!(counts(), [(1, 5), (5, 1)]);
    send(5);
    running[0].wait(Verdict::Relayed, 6);
    assert_eq!(counts(), [(2, 5), (6, 1)]);
    // The injection is refused, and counted there.
    let two = rig.member(2);
    let _listener = two.within(|| std::net::TcpListener::bind("192.0.2.1:80").unwrap());
    let stream = two.within(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_freebind_v4(true).unwrap();
        socket
    });
    drop(stream);
    two.run("nft add table ip t");
    two.run("nft add chain ip t out { type filter hook output priority 0 ; }");
    two.run("nft add rule ip t out icmp type destination-unreachable drop");
    rig.router.run("ip route add 192.0.2.1 via 10.0.2.2");
    let client = rig.router.within(|| connect(CLIENT[0], "192.0.2.1:80"));
    let port = client.local_addr().unwrap().as_socket().unwrap().port();
    send(port);
    running[1].wait_heard(Heard::SendError, 1);
    two.run("nft delete table ip t");
    send(port);
    running[1].wait_heard(Heard::Injected, 1);
}

fn connect(from: &str, to: &str) -> Socket {
    let from = SocketAddr::new(from.parse::<IpAddr>().unwrap(), 0);
    let socket = Socket::new(Domain::for_address(from), Type::STREAM, None).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.parse::<SocketAddr>().unwrap().into()).unwrap();
    socket
}

#[test]
fn broadcast_sends_the_frame_again_to_everybody_once() {
    if !ready(&[]) {
        return;
    }
    let rig = Rig::new(1);
    let running = rig.start(1, broadcast);
    let tap = rig.router.within(|| Tap::open("e1"));
    let mut relayed = 0;
    for family in [4, 6] {
        for tags in [&[][..], &[0x81, 0, 0x20, 7], &[0x88, 0xa8, 0, 9, 0x81, 0, 0, 3]] {
            relayed += 1;
            let packet = too_big(family, 1);
            rig.send(1, &[&frame(1, tags, &packet)[..], &[0; 8]].concat());
            running.wait(Verdict::Relayed, relayed);
            let mut expected = frame(1, tags, &packet);
            expected[..6].copy_from_slice(&[0xff; 6]);
            expected[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
            // A tag outside is taken out again before we see it.
            let outer = tags.len().min(4);
            expected.drain(12..12 + outer);
            let copies: Vec<_> = tap.passed().into_iter().filter(|frame| frame[..6] == [0xff; 6]).collect();
            assert_eq!(copies, [expected]);
        }
    }
    // Another member's broadcast is not sent again.
    let mut copy = frame(1, &[], &too_big(4, 1));
    copy[..6].copy_from_slice(&[0xff; 6]);
    rig.send(1, &copy);
    stays_equal("nothing", Duration::from_millis(200), &relayed, || running.everything());
}

#[test]
fn broadcast_errors_are_counted() {
    if !ready(&[]) {
        return;
    }
    let rig = Rig::new(1);
    let running = rig.start(1, broadcast);
    rig.member(1).run("ip link set e0 mtu 560");
    wait_equal("the uplink", seconds(5), &vec![Some(560)], || running.0.mtus());
    let send = |length: usize| {
        let packet = too_big_of(4, 1, 552, &vec![7; length - 56]);
        assert_eq!(packet.len(), length);
        rig.send(1, &frame(1, &[], &packet));
    };
    send(560);
    running.wait(Verdict::Relayed, 1);
    // A link lets frames in that are a VLAN tag too long to be sent: EMSGSIZE.
    send(564);
    running.wait(Verdict::SendError, 1);
    send(560);
    running.wait(Verdict::Relayed, 2);
}

#[test]
fn dropped_it_ends_and_its_port_is_free() {
    if !ready(&[]) {
        return;
    }
    let rig = Rig::new(1);
    let bind = || rig.member(1).within(|| UdpSocket::bind((unicast(1, 4), PORT)));
    let config = rig.config(1);
    let start = || rig.member(1).within(|| Relaying::start(&config, Vec::new()));
    // The programs that other tests start hold a copy of our sockets until they have executed.
    for _ in 0..20 {
        let running = wait_for("the port", seconds(5), start);
        assert!(bind().is_err());
        drop(running);
        wait_for("the port", seconds(5), || bind().map_err(|error| error.to_string()));
    }
    let taken = wait_for("the port", seconds(5), || bind().map_err(|error| error.to_string()));
    let error = start().map(|_| ());
    let sentence = "[pmtud] port = 5141: another program receives UDP on 10.0.1.2 port 5141";
    assert_eq!(error, Err(sentence.to_owned()));
    drop(taken);
}

/// Runs itself again without the capability.
#[test]
fn without_its_capability_it_says_so() {
    const SAID: &str = "[pmtud] needs CAP_NET_RAW to capture ICMP errors and to inject them";
    if !ready(&["setpriv"]) {
        return;
    }
    if std::env::var_os("WITHOUT_NET_RAW").is_some() {
        for change in [broadcast, |config: &mut anycaster::config::Pmtud| {
            let PmtudMode::Relay(relay) = &mut config.mode else { panic!() };
            relay.address = "127.0.0.1".parse().unwrap();
        }] {
            let rig = Rig { router: Namespace::new("alone"), members: Vec::new() };
            let mut config = rig.config(1);
            change(&mut config);
            let error = rig.router.within(|| Relaying::start(&config, Vec::new()).map(|_| ()));
            assert_eq!(error, Err(SAID.to_owned()));
        }
        return;
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-net_raw", "--inh-caps", "-net_raw"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "sockets::without_its_capability_it_says_so", "--nocapture"]);
    let output = command.env("WITHOUT_NET_RAW", "1").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed") && !said.contains("SKIPPED"), "{said}");
}
