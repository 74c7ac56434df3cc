//! Any octets as captured and as heard from a member: raw, and with lengths, checksums and signature mended, so that what
//! stands behind them is reached too. What is believed is about our own packet, once, and a member believes the same.
#![no_main]

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::Duration;

use anycaster::Time;
use anycaster::config::{Members, MinMtu, Pmtud, PmtudLimits, PmtudMode, PmtudRelay, Rate};
use anycaster::pmtud::{Candidate, Key, Owner, Relay, Settings};
use libfuzzer_sys::fuzz_target;

#[path = "pmtud/mend.rs"]
mod mend;

const OURS: &str = "10.9.0.1";
const THEIRS: &str = "10.9.0.2";

thread_local! {
    static WORLD: RefCell<(Relay, Relay, Time)> =
        RefCell::new((relay(OURS, THEIRS), relay(THEIRS, OURS), Time::default()));
}

fuzz_target!(|input: &[u8]| WORLD.with_borrow_mut(|(ours, theirs, now)| {
    // Longer than anything is remembered: each input is the first.
    *now = *now + Duration::from_secs(100);
    one(ours, theirs, *now, input);
}));

fn one(ours: &mut Relay, theirs: &mut Relay, now: Time, input: &[u8]) {
    let before = theirs.totals().heard.iter().sum::<u64>();
    assert_eq!(theirs.hear(now, ip(OURS), input), None, "nobody signed it");
    captured(ours, now, input);
    let mut mended = input.to_vec();
    mend::mend(&mut mended);
    let candidate = captured(ours, now, &mended);

    let mut datagram = Vec::new();
    ours.datagram(&mended, &mut datagram);
    let heard = theirs.hear(now, ip(OURS), &datagram);
    // What was said is judged there like here, but for the MTU of the uplink and what is announced: never more strictly.
    if let Some(candidate) = candidate {
        let injection = heard.expect("believed here");
        assert_eq!((injection.flow, injection.packet), (candidate.flow, &mended[..candidate.length]));
    }
    if let Some(injection) = heard {
        assert!(theirs.admit(now, &injection, Owner::Here, true));
        theirs.injected(true);
    }
    assert_eq!(theirs.hear(now, ip(OURS), &datagram), None, "twice");
    // Without the signature: what stands around the packet is mended by what reads it.
    datagram.truncate(datagram.len().saturating_sub(16));
    let _ = theirs.hear(now, ip(OURS), &datagram);
    assert_eq!(theirs.totals().heard.iter().sum::<u64>(), before + 4);
}

fn captured(relay: &mut Relay, now: Time, packet: &[u8]) -> Option<Candidate> {
    let before = counted(relay);
    let candidate = relay.examine(now, 0, packet);
    assert_eq!(counted(relay) - before, u64::from(candidate.is_none()));
    let candidate = candidate?;
    let (service, destination): (IpAddr, IpAddr) = if packet[0] >> 4 == 4 {
        (ip("192.0.2.53"), <[u8; 4]>::try_from(&packet[16..20]).unwrap().into())
    } else {
        (ip("2001:db8::53"), <[u8; 16]>::try_from(&packet[24..40]).unwrap().into())
    };
    assert_eq!((candidate.flow.service, destination), (service, service));
    assert!(candidate.length <= packet.len());
    if relay.decide(now, 0, &candidate, Owner::Elsewhere) {
        relay.sent(0, &candidate, 1);
    }
    assert_eq!(relay.examine(now, 0, packet), None, "twice");
    Some(candidate)
}

fn counted(relay: &Relay) -> u64 {
    relay.totals().uplinks[0].verdicts.iter().flatten().sum()
}

fn relay(own: &str, other: &str) -> Relay {
    let rate = |per_second| Rate { per_second };
    let config = Pmtud {
        interfaces: vec!["eth0".into()],
        mode: PmtudMode::Relay(PmtudRelay {
            address: ip(own),
            port: 5141,
            members: Members::List(vec![ip(other)]),
            keys: vec![],
            insecure: false,
        }),
        prefixes: None,
        protocols: vec![6, 17, 132],
        ports: vec![],
        min_mtu: MinMtu { ipv4: 552, ipv6: 1280 },
        dry_run: false,
        dedup: Duration::from_millis(100),
        limits: PmtudLimits { flow: rate(5), router: rate(200), prefix: rate(1000), total: rate(5000) },
    };
    let keys = vec![Key::new(b"sixteen octets and more").unwrap()];
    let mut relay = Relay::new(Time::default(), Settings { config, keys, seed: 1, first_sequence: 1 });
    relay.set_uplink(0, Some(1500));
    for prefix in ["192.0.2.53/32", "2001:db8::53/128"] {
        relay.set_announced(prefix.parse().unwrap(), true);
    }
    relay.set_members(&[ip(other)]);
    relay
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}
