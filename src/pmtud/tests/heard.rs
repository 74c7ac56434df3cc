//! Each word for what a member sent.

use super::*;

const SENDER: &str = MEMBERS[0];

fn member(address: &str, keys: &[&[u8]], first_sequence: u64) -> Relay {
    let mut config = config();
    if let PmtudMode::Relay(relay) = &mut config.mode {
        relay.address = ip(address);
    }
    let keys = keys.iter().map(|key| Key::new(key).unwrap()).collect();
    Relay::new(at(0), Settings { config, keys, seed: 2, first_sequence })
}

fn from(relay: &mut Relay, packet: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    relay.datagram(packet, &mut out);
    out
}

/// What a datagram of a member with our key, about this error, becomes here.
fn heard(relay: &mut Relay, error: &Error, owner: Owner, local: bool) -> Heard {
    let datagram = from(&mut member(SENDER, &[SECRET], 1), &error.octets());
    hear(relay, at(1000), SENDER, &datagram, owner, local)
}

#[test]
fn what_is_needed_to_inject() {
    for error in Error::both() {
        for (owner, local, expected) in [
            (Owner::Here, true, Heard::Injected),
            (Owner::Unknown, true, Heard::Injected),
            (Owner::Elsewhere, true, Heard::NotOwned),
            (Owner::Here, false, Heard::NotLocal),
            (Owner::Elsewhere, false, Heard::NotLocal),
        ] {
            assert_eq!(heard(&mut relay(), &error, owner, local), expected, "{owner:?} {local}");
        }
        let mut dry = relay_with(Pmtud { dry_run: true, ..config() }, &[SECRET]);
        assert_eq!(heard(&mut dry, &error, Owner::Here, true), Heard::DryRun);
    }
}

#[test]
fn the_packet_is_handed_on_as_it_came() {
    let (mut relay, error) = (relay(), Error { padding: 5, ..Error::ipv4() });
    let (packet, mut padded) = (Error::ipv4().octets(), Vec::new());
    member(SENDER, &[SECRET], 1).datagram(&error.octets(), &mut padded);
    let injection = relay.hear(at(1000), ip(SENDER), &padded).unwrap();
    assert_eq!((injection.packet, injection.flow.client), (&packet[..], ip("198.51.100.7")));
    assert!(relay.admit(at(1000), &injection, Owner::Here, true));
    relay.injected(false);
    assert_eq!(relay.totals().heard(Heard::SendError), 1);
    assert_eq!(relay.totals().heard.iter().sum::<u64>(), 1);
}

#[test]
fn what_we_would_not_send_we_do_not_take() {
    for (what, error) in [
        ("mtu", Error { mtu: 500, ..Error::ipv4() }),
        ("protocol", Error { protocol: 17, ..Error::ipv4() }),
        ("not ours", Error { service: ip("192.0.2.54"), ..Error::ipv4() }),
        ("loop", Error { router: ip(MEMBERS[1]), ..Error::ipv4() }),
        ("loop", Error { router: ip(OURS), ..Error::ipv4() }),
        ("long", Error { transport: 600, ..Error::ipv4() }),
        ("fragment", Error { outer_fragment: 1, ..Error::ipv6() }),
        ("short", Error { transport: 7, ..Error::ipv6() }),
        ("nowhere", Error { to: ip("127.0.0.1"), service: ip("127.0.0.1"), ..Error::ipv4() }),
        ("multicast", Error { to: ip("ff02::1"), service: ip("ff02::1"), ..Error::ipv6() }),
    ] {
        assert_eq!(heard(&mut relay(), &error, Owner::Here, true), Heard::Refused, "{what}");
    }
    let mut broken = Error::ipv4().octets();
    broken[50] ^= 1;
    let datagram = from(&mut member(SENDER, &[SECRET], 1), &broken);
    assert_eq!(hear(&mut relay(), at(1000), SENDER, &datagram, Owner::Here, true), Heard::Refused);
}

/// What is announced here may just have been withdrawn, and the uplink of the other member may be wider than ours.
#[test]
fn what_depends_on_the_place_is_judged_at_the_place() {
    let mut withdrawn = [relay(), relay()];
    withdrawn.iter_mut().for_each(|relay| relay.set_announced("192.0.2.53/32".parse().unwrap(), false));
    let error = Error { mtu: 4000, quoted_length: 9000, ..Error::ipv4() };
    assert_eq!(heard(&mut withdrawn[0], &error, Owner::Here, true), Heard::Injected);
    let to_itself = Error { client: error.service, ..error.clone() };
    assert_eq!(heard(&mut withdrawn[1], &to_itself, Owner::Here, true), Heard::Refused);
    let configured = Pmtud { prefixes: Some(vec!["192.0.2.0/24".parse().unwrap()]), ..config() };
    assert_eq!(heard(&mut relay_with(configured.clone(), &[SECRET]), &error, Owner::Here, true), Heard::Injected);
    assert_eq!(heard(&mut relay_with(configured, &[SECRET]), &Error::ipv6(), Owner::Here, true), Heard::Refused);
}

#[test]
fn only_members_and_only_as_themselves() {
    let packet = Error::ipv4().octets();
    let datagram = from(&mut member(SENDER, &[SECRET], 1), &packet);
    let stranger = from(&mut member("10.9.0.9", &[SECRET], 1), &packet);
    let mut relay = relay();
    for (from, datagram, expected) in [
        ("10.9.0.9", &stranger, Heard::NotMember),
        (MEMBERS[1], &datagram, Heard::NotMember),
        (SENDER, &stranger, Heard::NotMember),
        (OURS, &datagram, Heard::NotMember),
        // A socket of both families names it so.
        ("::ffff:10.9.0.2", &datagram, Heard::Injected),
        (SENDER, &datagram, Heard::Replay),
    ] {
        assert_eq!(hear(&mut relay, at(1000), from, datagram, Owner::Here, true), expected, "{from}");
    }
    relay.set_members(&[ip(MEMBERS[1])]);
    assert_eq!(hear(&mut relay, at(1000), SENDER, &datagram, Owner::Here, true), Heard::NotMember);
    assert_eq!(hear(&mut relay, at(1000), SENDER, &datagram[1..], Owner::Here, true), Heard::Malformed);
    // Gone between two questions.
    relay.set_members(&[ip(SENDER)]);
    let datagram = from(&mut member(SENDER, &[SECRET], 2), &packet);
    let injection = relay.hear(at(1000), ip(SENDER), &datagram).unwrap();
    relay.set_members(&[]);
    assert!(!relay.admit(at(1000), &injection, Owner::Here, true));
    assert_eq!(relay.totals().heard(Heard::NotMember), 6);
}

#[test]
fn two_keys_during_a_rotation() {
    let (old, new, packet): (&[u8], &[u8], _) = (SECRET, b"the secret that comes after it\n", Error::ipv4().octets());
    let judge = |ours: &[&[u8]], theirs: &[&[u8]]| {
        let datagram = from(&mut member(SENDER, theirs, 1), &packet);
        hear(&mut relay_with(config(), ours), at(1000), SENDER, &datagram, Owner::Here, true)
    };
    // First everybody learns the new one, then everybody signs with it, then the old one goes.
    assert_eq!(judge(&[old], &[old, new]), Heard::Injected);
    assert_eq!(judge(&[old, new], &[new, old]), Heard::Injected);
    assert_eq!(judge(&[new, old], &[old, new]), Heard::Injected);
    assert_eq!(judge(&[new], &[new, old]), Heard::Injected);
    assert_eq!(judge(&[new], &[old, new]), Heard::BadKey);
    // Insecure is only whoever has no key, and then it can tell nobody's.
    assert_eq!(judge(&[], &[]), Heard::Injected);
    assert_eq!(judge(&[new], &[]), Heard::BadKey);
    assert_eq!(judge(&[], &[new]), Heard::BadKey);
}

#[test]
fn a_number_is_good_once_and_only_where_it_was_signed() {
    let (mut relay, mut sender) = (relay(), member(SENDER, &[SECRET], 7));
    let mut errors = (0..).map(|n| Error { client: ip(&format!("198.51.100.{n}")), ..Error::ipv4() }.octets());
    let mut datagrams: Vec<Vec<u8>> = errors.by_ref().take(3).map(|error| from(&mut sender, &error)).collect();
    let mut judge = |datagram: &[u8]| hear(&mut relay, at(1000), SENDER, datagram, Owner::Here, true);
    datagrams.swap(0, 1);
    assert!(datagrams.iter().all(|datagram| judge(datagram) == Heard::Injected));
    assert!(datagrams.iter().all(|datagram| judge(datagram) == Heard::Replay));
    // A forged number does not move the window.
    let mut forged = datagrams[2].clone();
    forged[26..34].fill(0xFF);
    assert_eq!(judge(&forged), Heard::BadKey);
    assert_eq!(judge(&from(&mut sender, &errors.next().unwrap())), Heard::Injected);
    // Started again, later: wall time went on. And earlier: what it sends looks like what it sent.
    assert_eq!(judge(&from(&mut member(SENDER, &[SECRET], 1 << 60), &errors.next().unwrap())), Heard::Injected);
    assert_eq!(judge(&from(&mut sender, &errors.next().unwrap())), Heard::Replay);

    let (mut relay, mut last) = (relay_with(config(), &[]), member(SENDER, &[], u64::MAX));
    for error in errors.take(3) {
        let datagram = from(&mut last, &error);
        assert_eq!(hear(&mut relay, at(1000), SENDER, &datagram, Owner::Here, true), Heard::Injected);
        // Nothing was signed, so nothing is proved by a number.
        assert_eq!(hear(&mut relay, at(1000), SENDER, &datagram, Owner::Here, true), Heard::Injected);
    }
}

#[test]
fn a_member_has_half_and_all_have_the_total() {
    let limits = PmtudLimits { total: Rate { per_second: 100 }, ..config().limits };
    let mut relay = relay_with(Pmtud { limits, ..config() }, &[SECRET]);
    relay.set_members(&["10.9.0.2", "10.9.0.3", "10.9.0.4"].map(ip));
    for (address, expected) in [("10.9.0.2", 50), ("10.9.0.3", 50), ("10.9.0.4", 0)] {
        let mut sender = member(address, &[SECRET], 1);
        let mut injected = 0;
        for n in 0..200u32 {
            let client = std::net::Ipv4Addr::from(0xC633_6400 + n).into();
            let datagram = from(&mut sender, &Error { client, ..Error::ipv4() }.octets());
            let heard = hear(&mut relay, at(1000), address, &datagram, Owner::Here, true);
            assert!(matches!(heard, Heard::Injected | Heard::Limited), "{heard:?}");
            injected += u32::from(heard == Heard::Injected);
        }
        assert_eq!(injected, expected, "{address}");
    }
    // One flow from all of them.
    let mut relay = self::relay();
    let mut sender = member(SENDER, &[SECRET], 1);
    let mut all = (0..20).map(|_| {
        let datagram = from(&mut sender, &Error::ipv4().octets());
        // What is not here costs nothing.
        let elsewhere = from(&mut sender, &Error::ipv4().octets());
        let _ = relay.hear(at(1000), ip(SENDER), &elsewhere).map(|i| relay.admit(at(1000), &i, Owner::Elsewhere, true));
        hear(&mut relay, at(1000), SENDER, &datagram, Owner::Here, true)
    });
    assert_eq!(all.by_ref().filter(|heard| *heard == Heard::Injected).count(), 10);
    // And then the kernel is not even asked.
    let datagram = from(&mut sender, &Error::ipv4().octets());
    assert_eq!(relay.hear(at(1000), ip(SENDER), &datagram), None);
}

#[test]
fn datagrams_are_numbered_and_appended() {
    let (mut sender, packet) = (member(SENDER, &[SECRET], 41), Error::ipv6().octets());
    let mut out = b"before".to_vec();
    sender.datagram(&packet, &mut out);
    assert_eq!((&out[..10], &out[6 + 26..6 + 34]), (&b"beforeACPM"[..], &41u64.to_be_bytes()[..]));
    assert_eq!(from(&mut sender, &packet)[26..34], 42u64.to_be_bytes());
    assert_eq!(out.len(), 6 + 34 + packet.len() + 16);
}
