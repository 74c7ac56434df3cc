//! Each verdict, its limits, and which of two faults is named.

use super::*;

/// What one error alone becomes, in a relay that has seen nothing.
fn verdict(packet: &[u8]) -> Verdict {
    capture(&mut relay(), at(1000), packet, Owner::Elsewhere)
}

fn with(mut error: Error, change: impl FnOnce(&mut Error)) -> Error {
    change(&mut error);
    error
}

#[test]
fn a_good_one_is_relayed() {
    for error in Error::both() {
        assert_eq!(verdict(&error.octets()), Verdict::Relayed, "{error:?}");
    }
}

/// One change to a good error of each family, and what it is called then.
#[test]
fn each_fault_by_its_name() {
    use Verdict::*;
    type Change = fn(&mut Error);
    let v4: &[(&str, Change, Verdict)] = &[
        ("mtu 552", |e| e.mtu = 552, Relayed),
        ("mtu 551", |e| e.mtu = 551, Mtu),
        ("mtu 0", |e| e.mtu = 0, Mtu),
        ("mtu of the uplink", |e| (e.mtu, e.quoted_length) = (1500, 9000), Mtu),
        ("just below the uplink's", |e| (e.mtu, e.quoted_length) = (1499, 9000), Relayed),
        ("as long as what it quotes", |e| e.quoted_length = 1400, Mtu),
        ("one octet too long", |e| e.quoted_length = 1401, Relayed),
        ("7 octets", |e| e.transport = 7, Short),
        ("9 octets", |e| e.transport = 9, Relayed),
        ("20 octets", |e| e.transport = 20, Relayed),
        ("sctp", |e| e.protocol = 132, Relayed),
        ("udp", |e| e.protocol = 17, Protocol),
        ("icmp", |e| e.protocol = 1, Protocol),
        ("not the destination", |e| e.service = ip("192.0.2.54"), NotOurs),
        ("both elsewhere", |e| (e.service, e.to) = (ip("192.0.2.54"), ip("192.0.2.54")), NotAnnounced),
        ("to ourselves", |e| e.client = ip("192.0.2.53"), NotOurs),
        ("client 0/8", |e| e.client = ip("0.0.0.1"), Malformed),
        ("client on loopback", |e| e.client = ip("127.0.0.1"), Malformed),
        ("client multicast", |e| e.client = ip("224.0.0.1"), Malformed),
        ("client broadcast", |e| e.client = ip("255.255.255.255"), Malformed),
        ("from a member", |e| e.router = ip(MEMBERS[1]), Loop),
        ("from us", |e| e.router = ip(OURS), Loop),
        ("from the service", |e| e.router = ip("192.0.2.53"), Loop),
        ("from nowhere", |e| e.router = ip("0.0.0.0"), Malformed),
        ("from loopback", |e| e.router = ip("127.0.0.1"), Malformed),
        ("from multicast", |e| e.router = ip("239.0.0.1"), Malformed),
        ("options", |e| e.outer_options = vec![1; 40], Relayed),
        ("quoted options", |e| e.quoted_options = vec![1; 40], Relayed),
        ("quoted options, 7 octets", |e| (e.quoted_options, e.transport) = (vec![1; 4], 7), Short),
        ("outer DF", |e| e.outer_fragment = 0x4000, Relayed),
        ("outer MF", |e| e.outer_fragment = 0x2000, Fragment),
        ("outer offset", |e| e.outer_fragment = 1, Fragment),
        ("quoted offset", |e| e.quoted_fragment = 0x4001, Fragment),
        ("quoted first fragment", |e| e.quoted_fragment = 0x6000, Relayed),
        ("quoted without DF", |e| e.quoted_fragment = 0, Malformed),
        ("padding", |e| e.padding = 18, Relayed),
        ("RFC 4884", |e| (e.length_octet, e.transport) = (32, 128), Relayed),
        ("576 octets", |e| e.transport = 576 - 48, Relayed),
        ("577 octets", |e| e.transport = 577 - 48, Long),
        ("576 octets and padding", |e| (e.transport, e.padding) = (576 - 48, 4), Relayed),
        ("type 11", |e| e.kind = (11, 4), Malformed),
        ("code 3", |e| e.kind = (3, 3), Malformed),
        ("quoted shorter than its header", |e| e.quoted_length = 19, Malformed),
    ];
    // A header of 8 octets that names the next, or 255: whatever comes.
    const LAST: [u8; 8] = [255, 0, 0, 0, 0, 0, 0, 0];
    let v6: &[(&str, Change, Verdict)] = &[
        ("mtu 1280", |e| e.mtu = 1280, Relayed),
        ("mtu 1279", |e| e.mtu = 1279, Mtu),
        ("mtu 0", |e| e.mtu = 0, Mtu),
        ("mtu 2^32 - 1", |e| e.mtu = u32::MAX, Mtu),
        ("mtu of the uplink", |e| (e.mtu, e.quoted_length) = (1500, 9000), Mtu),
        ("just below the uplink's", |e| (e.mtu, e.quoted_length) = (1499, 9000), Relayed),
        ("as long as what it quotes", |e| e.quoted_length = 1400, Mtu),
        ("one octet too long", |e| e.quoted_length = 1401, Relayed),
        ("7 octets", |e| e.transport = 7, Short),
        ("9 octets", |e| e.transport = 9, Relayed),
        ("sctp", |e| e.protocol = 132, Relayed),
        ("udp", |e| e.protocol = 17, Protocol),
        ("no next header", |e| e.protocol = 59, Protocol),
        ("esp", |e| e.protocol = 50, Protocol),
        ("not the destination", |e| e.service = ip("2001:db8::54"), NotOurs),
        ("both elsewhere", |e| (e.service, e.to) = (ip("2001:db8::54"), ip("2001:db8::54")), NotAnnounced),
        ("to ourselves", |e| e.client = ip("2001:db8::53"), NotOurs),
        ("client nobody", |e| e.client = ip("::"), Malformed),
        ("client on loopback", |e| e.client = ip("::1"), Malformed),
        ("client multicast", |e| e.client = ip("ff02::1"), Malformed),
        ("client IPv4", |e| e.client = ip("::ffff:198.51.100.7"), Malformed),
        ("from the service", |e| e.router = ip("2001:db8::53"), Loop),
        ("from nowhere", |e| e.router = ip("::"), Malformed),
        ("from multicast", |e| e.router = ip("ff02::1"), Malformed),
        ("from a member, in disguise", |e| e.router = ip("::ffff:10.9.0.2"), Malformed),
        ("from the router next to us", |e| e.router = ip("fe80::1"), Relayed),
        ("hop by hop", |e| e.outer_options = LAST.to_vec(), Relayed),
        ("routed, arrived", |e| (e.outer_next, e.outer_options) = (43, LAST.to_vec()), Relayed),
        ("routed, on its way", |e| (e.outer_next, e.outer_options) = (43, vec![255, 0, 0, 1, 0, 0, 0, 0]), Malformed),
        (
            "8 headers",
            |e| (e.outer_next, e.outer_options) = (60, [&[60, 0, 0, 0, 0, 0, 0, 0].repeat(7), &LAST[..]].concat()),
            Relayed,
        ),
        (
            "9 headers",
            |e| (e.outer_next, e.outer_options) = (60, [&[60, 0, 0, 0, 0, 0, 0, 0].repeat(8), &LAST[..]].concat()),
            Malformed,
        ),
        (
            "a header longer than the packet",
            |e| (e.outer_next, e.outer_options) = (60, vec![58, 200, 0, 0, 0, 0, 0, 0]),
            Malformed,
        ),
        (
            "hop by hop, second",
            |e| (e.outer_next, e.outer_options) = (60, [&[0, 0, 0, 0, 0, 0, 0, 0], &LAST[..]].concat()),
            Malformed,
        ),
        ("a header of 16", |e| e.outer_options = [&[255, 1, 1, 12][..], &[0; 12]].concat(), Relayed),
        ("atomic fragment", |e| e.outer_options = vec![44, 0, 0, 0, 0, 0, 0, 0, 58, 0, 0, 0, 0, 0, 0, 1], Relayed),
        ("first fragment", |e| e.outer_fragment = 1, Fragment),
        ("other fragment", |e| e.outer_fragment = 8, Fragment),
        ("quoted options", |e| e.quoted_options = LAST.to_vec(), Relayed),
        ("quoted options, 7 octets", |e| (e.quoted_options, e.transport) = (LAST.to_vec(), 7), Short),
        (
            "quoted, 8 headers",
            |e| (e.quoted_next, e.quoted_options) = (60, [&[60, 0, 0, 0, 0, 0, 0, 0].repeat(7), &LAST[..]].concat()),
            Relayed,
        ),
        (
            "quoted, 9 headers",
            |e| (e.quoted_next, e.quoted_options) = (60, [&[60, 0, 0, 0, 0, 0, 0, 0].repeat(8), &LAST[..]].concat()),
            Malformed,
        ),
        ("quoted, a header cut", |e| (e.quoted_next, e.quoted_options) = (60, vec![6, 9, 0, 0, 0, 0, 0, 0]), Short),
        ("quoted first fragment", |e| e.quoted_fragment = 1, Relayed),
        ("quoted other fragment", |e| e.quoted_fragment = 8, Fragment),
        ("padding", |e| e.padding = 18, Relayed),
        ("any code", |e| e.kind = (2, 7), Relayed),
        ("type 1", |e| e.kind = (1, 0), Malformed),
        ("1280 octets", |e| e.transport = 1280 - 88, Relayed),
        ("1281 octets", |e| e.transport = 1281 - 88, Long),
    ];
    for (family, cases) in Error::both().into_iter().zip([v4, v6]) {
        for (what, change, expected) in cases {
            let error = with(family.clone(), change);
            assert_eq!(verdict(&error.octets()), *expected, "{what}: {error:?}");
        }
    }
}

/// Octets that no writer of errors would write.
#[test]
fn broken_octets() {
    for (error, places) in Error::both().into_iter().zip([
        &[
            (0, 0x35, Verdict::Malformed), // version 3
            (0, 0x44, Verdict::Malformed), // a header of 16 octets
            (0, 0x4F, Verdict::Malformed), // one that ends in the quoted packet, where no 3/4 is
            (3, 20, Verdict::Malformed),   // no error
            (3, 27, Verdict::Malformed),   // half an error
            (3, 28, Verdict::Checksum),    // an error of other octets
            (3, 57, Verdict::Malformed),   // more than is there
            (9, 6, Verdict::Malformed),    // not ICMP
            (8, 9, Verdict::Checksum),     // only the IP header is wrong
            (22, 1, Verdict::Checksum),
            (55, 1, Verdict::Checksum), // the last octet
        ][..],
        &[
            (0, 0x40, Verdict::Malformed),
            (5, 0, Verdict::Malformed),  // jumbo
            (5, 7, Verdict::Malformed),  // half an error
            (5, 57, Verdict::Malformed), // more than is there
            (5, 55, Verdict::Checksum),
            (6, 59, Verdict::Malformed), // nothing behind it
            (6, 6, Verdict::Malformed),
            (7, 1, Verdict::Relayed), // a hop limit is in no checksum
            (42, 1, Verdict::Checksum),
            (95, 1, Verdict::Checksum),
        ],
    ]) {
        let good = error.octets();
        for (place, octet, expected) in places {
            let mut broken = good.clone();
            broken[*place] = *octet;
            assert_eq!(verdict(&broken), *expected, "octet {place} is {octet:#x}");
        }
        for length in 0..good.len() {
            assert_eq!(verdict(&good[..length]), Verdict::Malformed, "{length} octets");
        }
        // What it quotes, cut anywhere and told truly: never believed before its eighth octet.
        let icmp = if good[0] >> 4 == 4 { 28 } else { 48 };
        for length in icmp..good.len() {
            let mut cut = good[..length].to_vec();
            packet::mend(&mut cut);
            assert_eq!(verdict(&cut), Verdict::Short, "{length} octets");
        }
        let mut other = good.clone();
        other[icmp] ^= 0xF0;
        packet::mend(&mut other);
        assert_eq!(verdict(&other), Verdict::Malformed, "quotes another version");
    }
    assert_eq!(verdict(&with(Error::ipv4(), |e| e.quoted_length = 27).octets()), Verdict::Short);
    assert_eq!(verdict(&with(Error::ipv6(), |e| e.quoted_length = 47).octets()), Verdict::Short);
}

/// The faults in the order in which they are looked for: with all of them, the first is named; without it, the next.
#[test]
fn the_first_that_applies() {
    use Verdict::*;
    type Mend = fn(&mut Error);
    let everything = with(Error::ipv4(), |e| {
        *e = Error { transport: 600, router: ip(OURS), to: ip("192.0.2.99"), client: ip("127.0.0.1"), ..e.clone() };
        (e.mtu, e.protocol, e.ports.0, e.outer_fragment, e.quoted_fragment) = (1, 17, 1, 0x2000, 0x4001);
    });
    let mends: [(Verdict, Mend); 10] = [
        (Fragment, |e| e.outer_fragment = 0),
        (Long, |e| e.transport = 7),
        (Loop, |e| e.router = ip("10.1.1.1")),
        (NotAnnounced, |e| e.to = ip("192.0.2.53")),
        (Fragment, |e| e.quoted_fragment = 0x4000),
        (Short, |e| (e.transport, e.service) = (8, ip("192.0.2.1"))),
        (NotOurs, |e| e.service = ip("192.0.2.53")),
        (Malformed, |e| e.client = ip("198.51.100.7")),
        (Protocol, |e| e.protocol = 6),
        (Port, |e| e.ports.0 = 443),
    ];
    let judge = |error: &Error, broken: bool| {
        let mut relay = relay_with(Pmtud { ports: vec![53, 443], ..config() }, &[SECRET]);
        let mut packet = error.octets();
        packet[22] ^= u8::from(broken);
        capture(&mut relay, at(1000), &packet, Owner::Elsewhere)
    };
    let mut error = everything;
    for (place, (expected, mend)) in mends.into_iter().enumerate() {
        assert_eq!(judge(&error, false), expected, "fault {place}");
        // A wrong checksum comes behind the addresses and before all that it covers.
        assert_eq!(judge(&error, true), if place < 4 { expected } else { Checksum }, "fault {place}");
        mend(&mut error);
    }
    assert_eq!(judge(&error, false), Mtu);
    error.mtu = 1400;
    assert_eq!(judge(&error, false), Relayed);
}

#[test]
fn ports_protocols_and_prefixes_as_configured() {
    let mut relay = relay_with(Pmtud { ports: vec![53, 443], protocols: vec![17], ..config() }, &[SECRET]);
    for (port, protocol, expected) in
        [(443, 17, Verdict::Relayed), (444, 17, Verdict::Port), (53, 6, Verdict::Protocol), (53, 17, Verdict::Relayed)]
    {
        let packet = with(Error::ipv4(), |e| (e.ports.0, e.protocol) = (port, protocol)).octets();
        assert_eq!(capture(&mut relay, at(1000), &packet, Owner::Unknown), expected, "{port} {protocol}");
    }
    let mut relay = relay_with(Pmtud { prefixes: Some(vec!["192.0.2.0/24".parse().unwrap()]), ..config() }, &[SECRET]);
    let other = with(Error::ipv4(), |e| (e.to, e.service) = (ip("192.0.2.1"), ip("192.0.2.1")));
    let mut judge = |error: &Error| capture(&mut relay, at(1000), &error.octets(), Owner::Elsewhere);
    assert_eq!([judge(&other), judge(&Error::ipv6())], [Verdict::Relayed, Verdict::NotAnnounced]);
    let other = with(other, |e| e.client = ip("192.0.2.200"));
    assert_eq!(judge(&other), Verdict::NotOurs);
}

#[test]
fn a_prefix_is_announced_or_not_right_now() {
    let mut relay = relay();
    let (packet, prefix) = (Error::ipv4().octets(), "192.0.2.53/32".parse().unwrap());
    relay.set_announced(prefix, false);
    assert_eq!(capture(&mut relay, at(1000), &packet, Owner::Elsewhere), Verdict::NotAnnounced);
    relay.set_announced(prefix, true);
    let candidate = relay.examine(at(1000), UPLINK, &packet).unwrap();
    relay.set_announced(prefix, false);
    assert!(!relay.decide(at(1000), UPLINK, &candidate, Owner::Elsewhere));
    assert_eq!(relay.totals().uplinks[UPLINK].count(Family::Ipv4, Verdict::NotAnnounced), 2);
}

#[test]
fn an_uplink_without_an_mtu_judges_none() {
    let mut relay = relay();
    let packet = with(Error::ipv4(), |e| (e.mtu, e.quoted_length) = (4000, 9000)).octets();
    assert_eq!(capture(&mut relay, at(1000), &packet, Owner::Elsewhere), Verdict::Mtu);
    relay.set_uplink(UPLINK, None);
    relay.set_uplink(7, Some(1));
    assert_eq!(capture(&mut relay, at(1000), &packet, Owner::Elsewhere), Verdict::Relayed);
    // From an interface that nobody configured: judged, and in no book.
    assert!(relay.examine(at(2000), 7, &packet[1..]).is_none());
}

#[test]
fn what_io_is_told() {
    let mut relay = relay();
    let error = with(Error::ipv6(), |e| e.padding = 9);
    let candidate = relay.examine(at(1000), UPLINK, &error.octets()).unwrap();
    let flow = Flow {
        service: ip("2001:db8::53"),
        client: ip("2001:db8:2::7"),
        protocol: 6,
        service_port: 443,
        client_port: 50_000,
    };
    assert_eq!((candidate.flow, candidate.length), (flow, 96));
}

#[test]
fn once_within_dedup() {
    let mut relay = relay();
    for error in Error::both() {
        let mut judge = |now, packet: &Error| capture(&mut relay, at(now), &packet.octets(), Owner::Elsewhere);
        assert_eq!(judge(1000, &error), Verdict::Relayed);
        assert_eq!(judge(1099, &error), Verdict::Duplicate);
        // Another MTU, another port, another router that says the same.
        assert_eq!(judge(1099, &with(error.clone(), |e| e.mtu -= 1)), Verdict::Relayed);
        assert_eq!(judge(1099, &with(error.clone(), |e| e.ports.1 += 1)), Verdict::Relayed);
        let router = if error.router.is_ipv4() { "10.7.7.7" } else { "2001:db8:7::7" };
        assert_eq!(judge(1099, &with(error.clone(), |e| e.router = ip(router))), Verdict::Duplicate);
        assert_eq!(judge(1100, &error), Verdict::Relayed);
    }
}

#[test]
fn udp_may_not_change_its_mind() {
    let mut relay = relay_with(Pmtud { protocols: vec![6, 17], ..config() }, &[SECRET]);
    let udp = with(Error::ipv4(), |e| e.protocol = 17);
    assert_eq!(capture(&mut relay, at(1000), &udp.octets(), Owner::Unknown), Verdict::Relayed);
    let other = with(udp, |e| e.mtu = 1300);
    assert_eq!(capture(&mut relay, at(1000), &other.octets(), Owner::Unknown), Verdict::Duplicate);
}

#[test]
fn what_is_owned_is_known_and_what_failed_is_forgotten() {
    let mut relay = relay();
    let packet = Error::ipv4().octets();
    assert_eq!(capture(&mut relay, at(1000), &packet, Owner::Here), Verdict::Owned);
    assert_eq!(capture(&mut relay, at(1050), &packet, Owner::Here), Verdict::Duplicate);
    let candidate = relay.examine(at(1100), UPLINK, &packet).unwrap();
    assert!(relay.decide(at(1100), UPLINK, &candidate, Owner::Elsewhere));
    // Examined before it was decided: two of one batch.
    assert!(!relay.decide(at(1100), UPLINK, &candidate, Owner::Elsewhere));
    relay.sent(UPLINK, &candidate, 0);
    assert_eq!(capture(&mut relay, at(1100), &packet, Owner::Elsewhere), Verdict::Relayed);
    let count = |verdict| relay.totals().uplinks[UPLINK].count(Family::Ipv4, verdict);
    let counted = [Verdict::Owned, Verdict::Duplicate, Verdict::SendError, Verdict::Relayed].map(count);
    assert_eq!(counted, [1, 2, 1, 1]);
    assert_eq!(relay.totals().mtus, [(Family::Ipv4, 1400, 4)]);
}

#[test]
fn without_members_and_in_a_dry_run() {
    let mut relay = relay();
    let packet = Error::ipv4().octets();
    relay.set_members(&[ip(OURS)]);
    assert_eq!(capture(&mut relay, at(1000), &packet, Owner::Elsewhere), Verdict::NoMember);
    // Not yet told to anybody.
    relay.set_members(&MEMBERS.map(ip));
    assert_eq!(capture(&mut relay, at(1000), &packet, Owner::Elsewhere), Verdict::Relayed);
    relay.copied(1, true);
    relay.copied(1, false);
    relay.copied(2, true);
    let members: Vec<_> = relay.totals().members.iter().map(|m| (m.address, m.relayed, m.send_errors)).collect();
    assert_eq!(members, [(ip(MEMBERS[0]), 0, 0), (ip(MEMBERS[1]), 1, 1)]);
    relay.injected(false);
    relay.injected(true);
    relay.set_members(&[]);
    assert_eq!(relay.totals().send_errors, 2, "also of a member that has left");

    let mut dry = relay_with(Pmtud { dry_run: true, ..config() }, &[SECRET]);
    let verdicts = [1000, 1001].map(|now| capture(&mut dry, at(now), &packet, Owner::Elsewhere));
    assert_eq!(verdicts, [Verdict::DryRun, Verdict::Duplicate]);
}

#[test]
fn broadcast_needs_no_member_and_hears_nothing() {
    let mut relay = relay_with(Pmtud { mode: PmtudMode::Broadcast, ..config() }, &[]);
    assert_eq!(relay.members().len(), 0);
    assert_eq!(capture(&mut relay, at(1000), &Error::ipv4().octets(), Owner::Elsewhere), Verdict::Relayed);
    assert_eq!(relay.totals().send_errors, 0);
    let candidate = relay.examine(at(2000), UPLINK, &Error::ipv4().octets()).unwrap();
    relay.sent(UPLINK, &candidate, 0);
    assert_eq!(relay.totals().send_errors, 1, "one frame");
    let mut out = Vec::new();
    relay.datagram(&Error::ipv4().octets(), &mut out);
    assert!(out.is_empty());
    let mut sender = relay_with(config(), &[]);
    sender.datagram(&Error::ipv4().octets(), &mut out);
    assert_eq!(hear(&mut relay, at(1000), OURS, &out, Owner::Here, true), Heard::NotMember);
}
