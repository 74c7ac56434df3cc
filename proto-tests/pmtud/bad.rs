//! What is wrong around the relay: its file, its keys, its rights, its members, its interfaces. One clear sentence each where
//! it cannot start; a counter, and never an exit, where it runs.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;

use crate::crafted::SCTP;
use crate::fleet::{self, COMMON, OPEN, PORT, Relay, Segment, address, ip, legitimate};
use crate::lab::{millis, ready, seconds, stays_equal, wait_equal, wait_for};
use crate::wires::Sniffer;

fn counts<const N: usize>(list: [(&str, u64); N]) -> BTreeMap<String, u64> {
    list.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

fn members(list: &[&str]) -> String {
    let quoted: Vec<String> = list.iter().map(|member| format!("\"{member}\"")).collect();
    format!("address = \"{}\"\nmembers = [{}]\n", ip(0), quoted.join(", "))
}

/// Says exactly one thing, on one line, and ends with this code.
#[track_caller]
fn refused(segment: &Segment, table: &str, wrapper: &[&str], sentence: &str) {
    refused_with(Relay::spawn(&segment.members[0], table, wrapper), sentence);
}

#[track_caller]
fn refused_with(mut relay: Relay, sentence: &str) {
    let ended = relay.ended();
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(ended.said.contains(sentence), "said {:?}, not {sentence:?}", ended.said);
}

#[test]
fn what_cannot_start_says_why_in_one_sentence() {
    if !ready(&["setpriv"]) {
        return;
    }
    let segment = Segment::new(1);
    let list = members(&["10.98.0.12"]);
    refused(&segment, &format!("{list}{COMMON}"), &[], "keys");
    refused(&segment, &format!("{list}{COMMON}keys = []\n"), &[], "keys");
    refused(&segment, &format!("{list}{COMMON}keys = [\"DIR/none\"]\n"), &[], "No such file");
    let keyed = format!("{list}{COMMON}keys = [\"KEY\"]\n");
    let one_line = |relay: &mut Relay| {
        let ended = relay.ended();
        assert_eq!(ended.said.trim_end().lines().count(), 1, "more than a line: {:?}", ended.said);
        ended
    };

    let mut relay = Relay::stopped(&segment.members[0], &keyed);
    std::fs::set_permissions(relay.scratch().file("key"), std::fs::Permissions::from_mode(0o640)).expect("chmod");
    relay.restart(&segment.members[0]);
    let ended = one_line(&mut relay);
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(ended.said.contains("readable by others") && ended.said.contains("chmod 600"), "{:?}", ended.said);

    let without = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"];
    let mut relay = Relay::spawn(&segment.members[0], &keyed, &without);
    let ended = one_line(&mut relay);
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert!(ended.said.contains("CAP_NET_RAW"), "{:?}", ended.said);
    let broadcast = format!("mode = \"broadcast\"\n{COMMON}");
    refused(&segment, &broadcast, &without, "CAP_NET_RAW");

    // Where another program has the port already
    let taken = segment.members[0].within(|| std::net::UdpSocket::bind((ip(0), PORT)).expect("bind"));
    refused(&segment, &keyed, &[], "5141");
    drop(taken);
    refused(&segment, &format!("{list}keys = [\"KEY\"]\ninterfaces = [\"eth0\"]\n"), &[], "prefixes");
}

#[test]
fn insecure_is_without_keys_and_only_where_it_is_said() {
    if !ready(&[]) {
        return;
    }
    let segment = Segment::new(2);
    let copies = Sniffer::new(&segment.members[1], "eth0", |seen| !seen.outgoing && seen.datagram(PORT).is_some());
    let lo = Sniffer::new(&segment.members[1], "lo", |seen| !seen.outgoing && seen.error().is_some());
    let open = |member| {
        let list = format!("address = \"{}\"\nmembers = [\"{}\", \"{}\"]\n", ip(member), ip(0), ip(1));
        Relay::start(&segment.members[member], &format!("{list}{COMMON}insecure = true\n"))
    };
    let relays = [open(0), open(1)];
    let mut error = legitimate(4, 1);
    error.quote.protocol = SCTP;
    segment.send(0, &error.packet());
    wait_equal("injected at the other", seconds(5), &1, || lo.count());
    let seen = copies.all();
    let (_, datagram) = seen[0].datagram(PORT).expect("kept as such");
    assert_eq!(&datagram[..10], b"ACPM\x01\x01\0\0\0\0", "there is no key in it");
    assert_eq!(datagram[34..], error.packet(), "and no HMAC behind it");
    assert_eq!(relays[1].received(), counts([("injected", 1)]));
}

#[test]
fn our_own_address_twice_the_same_and_one_that_nobody_has() {
    if !ready(&[]) {
        return;
    }
    let segment = Segment::new(2);
    let port = Sniffer::new(&segment.bridge, "h11", |seen| !seen.outgoing && seen.datagram(PORT).is_some());
    // 10.98.0.99 answers no ARP; 203.0.113.1 is behind a router that does not forward.
    let list = members(&["10.98.0.11", "10.98.0.12", "10.98.0.12", "10.98.0.99", "10.98.0.11", "203.0.113.1"]);
    let mut relay = Relay::start(&segment.members[0], &format!("{list}{COMMON}{OPEN}keys = [\"KEY\"]\n"));
    let status = relay.try_status().expect("a status");
    let listed: Vec<&str> =
        status["members"].as_array().expect("members").iter().filter_map(|member| member["address"].as_str()).collect();
    assert_eq!(listed, ["10.98.0.12", "10.98.0.99", "203.0.113.1"]);
    for n in 0..50 {
        segment.send(0, &legitimate(4, n).packet());
    }
    let to =
        |last: [u8; 4]| port.all().iter().filter(|seen| seen.datagram(PORT).is_some_and(|(to, _)| to == last)).count();
    wait_equal("all copies to the one that is there", seconds(5), &50, || to([10, 98, 0, 12]));
    wait_equal("errors", seconds(5), &counts([("relayed", 50)]), || relay.packets());
    // The kernel finds out after three seconds that nobody is there, and says so of the next ones.
    assert!(relay.running(), "it has ended:\n{}", relay.log());
}

/// A relay to one member, and what the kernel does to what it sends.
fn broken_sending(what: &str, break_it: impl Fn(&Segment), mend: impl Fn(&Segment), counted: bool) {
    let segment = Segment::new(2);
    let copies = Sniffer::new(&segment.members[1], "eth0", |seen| !seen.outgoing && seen.datagram(PORT).is_some());
    let table = format!("{}{COMMON}{OPEN}keys = [\"KEY\"]\n", members(&["10.98.0.12"]));
    // The errors come in elsewhere, so that the way out can be broken alone.
    crate::lab::namespace::link((&segment.members[0], "up0", &[]), (&segment.router, "down0", &[]));
    let table = table.replace("\"eth0\"", "\"up0\"");
    let mut relay = Relay::start(&segment.members[0], &table);
    let wire = crate::wires::Wire::open(&segment.router, "down0");
    let to = crate::wires::Wire::open(&segment.members[0], "up0").mac;
    let send = |n| wire.send(&crate::crafted::frame(to, wire.mac, &legitimate(4, n).packet()));
    send(0);
    wait_equal("the first copy", seconds(5), &1, || copies.count());
    break_it(&segment);
    (1..=20).for_each(&send);
    if counted {
        let wanted = counts([("relayed", 1), ("send-error", 20)]);
        wait_equal(&format!("{what}: verdicts"), seconds(5), &wanted, || relay.packets());
        let status = relay.try_status().expect("a status");
        assert_eq!(status["members"][0]["send_errors"], 20, "{what}: {status}");
    } else {
        wait_equal(&format!("{what}: all seen"), seconds(5), &21, || relay.packets().values().sum::<u64>());
    }
    assert_eq!(copies.count(), 1, "{what}: sent all the same");
    mend(&segment);
    // The neighbor may have to be found again: until then the kernel keeps a few and drops the others.
    let mut n = 21;
    wait_for(&format!("{what}: copies again"), seconds(10), || {
        send(n);
        n += 1;
        std::thread::sleep(millis(20));
        if copies.count() > 1 { Ok(()) } else { Err(format!("{:?}", relay.packets())) }
    });
    assert!(relay.running(), "{what}: it has ended:\n{}", relay.log());
}

#[test]
fn a_send_error_is_a_counter_and_never_an_exit() {
    if !ready(&["nft"]) {
        return;
    }
    let host = |segment: &Segment, line: &str| {
        segment.members[0].run(line);
    };
    broken_sending(
        "EPERM",
        |segment| {
            host(segment, "nft add table ip no");
            host(segment, "nft add chain ip no out { type filter hook output priority 0 ; }");
            host(segment, "nft add rule ip no out udp dport 5141 drop");
        },
        |segment| host(segment, "nft delete table ip no"),
        true,
    );
    broken_sending(
        "ENETUNREACH",
        |segment| {
            host(segment, "ip route del default");
            host(segment, "ip route del 10.98.0.0/24");
        },
        |segment| host(segment, "ip route add 10.98.0.0/24 dev eth0"),
        true,
    );
    broken_sending(
        "the way out is down",
        |segment| host(segment, "ip link set eth0 down"),
        |segment| host(segment, "ip link set eth0 up"),
        true,
    );
    broken_sending(
        "our address is gone",
        |segment| host(segment, "ip address del 10.98.0.11/24 dev eth0"),
        |segment| host(segment, "ip address add 10.98.0.11/24 dev eth0"),
        true,
    );
}

#[test]
fn broadcast_that_the_device_does_not_take() {
    if !ready(&[]) {
        return;
    }
    let segment = Segment::new(1);
    let mut relay = Relay::start(&segment.members[0], &format!("mode = \"broadcast\"\n{COMMON}{OPEN}"));
    let port = Sniffer::new(&segment.bridge, "h11", |seen| !seen.outgoing && seen.error().is_some());
    // An error of 576 octets about an MTU of 556 on an interface of 560: right, and too long to go out again (EMSGSIZE).
    segment.members[0].run("ip link set eth0 mtu 560");
    wait_equal("the new MTU", seconds(5), &serde_json::json!(560), || {
        relay.try_status().expect("a status")["interfaces"][0]["mtu"].clone()
    });
    for n in 0..20 {
        let mut error = legitimate(4, n);
        error.mtu = 556;
        error.quote.kept = 576 - 48;
        segment.send(0, &error.packet());
    }
    wait_equal("verdicts", seconds(5), &counts([("send-error", 20)]), || relay.packets());
    assert_eq!(port.count(), 0);
    // One that fits goes out.
    let mut error = legitimate(4, 100);
    error.mtu = 556;
    segment.send(0, &error.packet());
    wait_equal("one frame", seconds(5), &1, || port.count());
    assert!(relay.running(), "it has ended:\n{}", relay.log());
}

#[test]
fn an_interface_that_comes_later_goes_and_comes_again() {
    if !ready(&[]) {
        return;
    }
    let segment = Segment::new(2);
    let copies = Sniffer::new(&segment.members[1], "eth0", |seen| !seen.outgoing && seen.datagram(PORT).is_some());
    let common = COMMON.replace("[\"eth0\"]", "[\"later0\", \"never0\"]");
    let table = format!("{}{common}{OPEN}keys = [\"KEY\"]\n", members(&["10.98.0.12"]));
    let mut relay = Relay::spawn(&segment.members[0], &table, &[]);
    wait_for("the daemon to answer", seconds(10), || relay.try_status());
    wait_for("a word about it", seconds(5), || {
        let log = relay.log();
        if log.contains("later0") && log.contains("never0") { Ok(()) } else { Err(log) }
    });
    for round in 0..3 {
        crate::lab::namespace::link((&segment.members[0], "later0", &[]), (&segment.router, "away0", &[]));
        let wire = crate::wires::Wire::open(&segment.router, "away0");
        let to = crate::wires::Wire::open(&segment.members[0], "later0").mac;
        wait_equal("the daemon to see it", seconds(5), &serde_json::json!(1500), || {
            relay.try_status().expect("a status")["interfaces"][0]["mtu"].clone()
        });
        for n in 0..10 {
            wire.send(&crate::crafted::frame(to, wire.mac, &legitimate(4, round * 10 + n).packet()));
        }
        wait_equal("copies", seconds(5), &((round as usize + 1) * 10), || copies.count());
        segment.router.run("ip link del away0");
        wait_equal("the daemon to see it go", seconds(5), &serde_json::Value::Null, || {
            relay.try_status().expect("a status")["interfaces"][0]["mtu"].clone()
        });
    }
    assert!(relay.running(), "it has ended:\n{}", relay.log());
}

/// One key, then both with the old one first, then with the new one first, then the new one alone: member after member,
/// and no error is lost on the way.
#[test]
fn keys_are_changed_through_a_whole_fleet() {
    if !ready(&[]) {
        return;
    }
    let segment = Segment::new(3);
    let lo: Vec<Sniffer> = (0..3)
        .map(|member| Sniffer::new(&segment.members[member], "lo", |seen| !seen.outgoing && seen.error().is_some()))
        .collect();
    let table = |member: usize, keys: &str| fleet::table(member, 3).replace("[\"KEY\"]", keys);
    let steps = ["[\"KEY1\"]", "[\"KEY1\", \"KEY2\"]", "[\"KEY2\", \"KEY1\"]", "[\"KEY2\"]"];
    let mut relays: Vec<Relay> =
        (0..3).map(|member| Relay::start(&segment.members[member], &table(member, steps[0]))).collect();
    let (mut sent, mut wanted) = (0, vec![0; 3]);
    for keys in &steps[1..] {
        for (changed, relay) in relays.iter_mut().enumerate() {
            // As a service manager does it: stop, and start with the new file.
            relay.signal(Signal::SIGTERM);
            assert_eq!(relay.ended().code, Some(0));
            *relay = Relay::start(&segment.members[changed], &table(changed, keys));
            for member in 0..3 {
                let mut error = legitimate(4, sent);
                error.quote.protocol = SCTP;
                segment.send(member, &error.packet());
                sent += 1;
                (0..3).filter(|other| *other != member).for_each(|other| wanted[other] += 1);
            }
            wait_equal(&format!("injected, {keys} at {changed}"), seconds(5), &wanted, || {
                lo.iter().map(Sniffer::count).collect()
            });
        }
    }
    // And the old key is worth nothing any more.
    drop(relays.remove(0));
    let _old = Relay::start(&segment.members[0], &table(0, steps[0]));
    segment.send(0, &legitimate(4, sent).packet());
    for relay in &relays {
        wait_equal("refused", seconds(5), &Some(1), || relay.received().get("bad-key").copied());
    }
    stays_equal("injected", millis(200), &wanted, || lo.iter().map(Sniffer::count).collect());
}

#[test]
fn a_restarted_member_is_no_replay() {
    if !ready(&[]) {
        return;
    }
    let segment = Segment::new(2);
    let lo = Sniffer::new(&segment.members[1], "lo", |seen| !seen.outgoing && seen.error().is_some());
    let mut first = Relay::start(&segment.members[0], &fleet::table(0, 2));
    let second = Relay::start(&segment.members[1], &fleet::table(1, 2));
    for round in 0..4_u32 {
        for n in 0..50 {
            let mut error = legitimate(4, round * 50 + n);
            error.quote.protocol = SCTP;
            segment.send(0, &error.packet());
        }
        wait_equal("injected", seconds(5), &((round as usize + 1) * 50), || lo.count());
        first.restart(&segment.members[0]);
        first.ready();
    }
    assert_eq!(second.received(), counts([("injected", 200)]));
}

#[test]
fn a_list_of_members_that_is_rewritten() {
    if !ready(&[]) {
        return;
    }
    let segment = Segment::new(3);
    let copies: Vec<Sniffer> = [1, 2]
        .map(|member| {
            Sniffer::new(&segment.members[member], "eth0", |seen| !seen.outgoing && seen.datagram(PORT).is_some())
        })
        .into();
    let head = format!("address = \"{}\"\nmembers-file = \"DIR/members\"\n{COMMON}{OPEN}keys = [\"KEY\"]\n", ip(0));
    let mut relay = Relay::stopped(&segment.members[0], &head);
    let file = relay.scratch().file("members");
    std::fs::write(&file, "# all of us\n10.98.0.11\n10.98.0.12\n").expect("write");
    relay.restart(&segment.members[0]);
    relay.ready();
    let (mut n, mut wanted) = (0, [0, 0]);
    let mut send = |to: [usize; 2]| {
        segment.send(0, &legitimate(4, n).packet());
        n += 1;
        wanted = [wanted[0] + to[0], wanted[1] + to[1]];
        wait_equal("copies", seconds(5), &wanted, || [copies[0].count(), copies[1].count()]);
    };
    let listed = |relay: &Relay, want: &[&str]| {
        wait_equal("the list", seconds(10), &want.iter().map(ToString::to_string).collect::<Vec<_>>(), || {
            let status = relay.try_status().expect("a status");
            let members = status["members"].as_array().cloned().unwrap_or_default();
            members.iter().filter_map(|member| Some(member["address"].as_str()?.to_owned())).collect()
        });
    };
    send([1, 0]);
    // In place, then as an editor does it, then broken, then gone: the last good one stays.
    std::fs::write(&file, "10.98.0.12\n10.98.0.13\n").expect("write");
    listed(&relay, &["10.98.0.12", "10.98.0.13"]);
    send([1, 1]);
    let beside = relay.scratch().file("members.new");
    std::fs::write(&beside, "10.98.0.13 # the other has left\n").expect("write");
    std::fs::rename(&beside, &file).expect("rename");
    listed(&relay, &["10.98.0.13"]);
    send([0, 1]);
    std::fs::write(&file, "10.98.0.12\nnot an address\n").expect("write");
    wait_for("the trouble to be said", seconds(10), || {
        let status = relay.try_status().expect("a status");
        if status["members_error"].is_string() { Ok(()) } else { Err(status.to_string()) }
    });
    send([0, 1]);
    std::fs::remove_file(&file).expect("remove");
    send([0, 1]);
    std::fs::write(&file, "10.98.0.12\n10.98.0.13\n").expect("write");
    listed(&relay, &["10.98.0.12", "10.98.0.13"]);
    send([1, 1]);
    assert!(address("10.98.0.12").is_ipv4() && relay.running(), "it has ended:\n{}", relay.log());
    stays_equal("no other copies", millis(300), &[wanted[0], wanted[1]], || [copies[0].count(), copies[1].count()]);
}
