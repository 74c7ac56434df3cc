//! Limits under any schedule, and what a flood of made-up errors does to those who really wait.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::dice::Dice;

/// An error that nobody could tell from a real one: another router, client and port each time.
fn made_up(dice: &mut Dice) -> Vec<u8> {
    let [low, high] = [dice.roll(), dice.roll()];
    let address = |bits: u64| Ipv4Addr::from(0x1000_0000 | bits as u32 & 0x0FFF_FFFF).into();
    Error { router: address(low), client: address(high), ports: (443, (low >> 40) as u16), ..Error::ipv4() }.octets()
}

/// A hundred times the limit in made-up errors, and fifty connections that really hang.
fn flooded(limits: PmtudLimits, flood_a_second: u64) -> Vec<u64> {
    const REAL: u64 = 50;
    let total = u64::from(limits.total.per_second);
    let prefix = u64::from(limits.prefix.per_second);
    let mut relay = relay_with(Pmtud { limits, ..config() }, &[SECRET]);
    let mut dice = Dice::new(7);
    let (mut passed, begin) = (vec![None; REAL as usize], |flow| 1000 + flow * 3);
    // They begin when the flood has had a second to empty all buckets.
    let mut due: BTreeSet<(u64, u64)> = (0..REAL).map(|flow| (begin(flow), flow)).collect();
    let mut sent = 0;
    for step in 0..3_200 {
        let now = at(1000 + step);
        for _ in 0..flood_a_second / 1000 {
            let packet = made_up(&mut dice);
            if let Some(candidate) = relay.examine(now, UPLINK, &packet) {
                sent += u64::from(relay.decide(now, UPLINK, &candidate, Owner::Elsewhere));
            }
        }
        while let Some((moment, flow)) = due.pop_first() {
            if moment > step {
                due.insert((moment, flow));
                break;
            }
            due.insert((step + 200 + dice.below(200), flow));
            let client = Ipv4Addr::from(0xC633_6400 + flow as u32).into();
            let packet = Error { client, ..Error::ipv4() }.octets();
            if let Some(candidate) = relay.examine(now, UPLINK, &packet)
                && relay.decide(now, UPLINK, &candidate, Owner::Elsewhere)
            {
                sent += 1;
                passed[flow as usize].get_or_insert(step - begin(flow));
            }
        }
        let most = |rate: u64| rate + rate * (step + 1) / 1000;
        assert!(sent <= most(total.min(prefix)), "{sent} by {step} ms");
    }
    // The flood got what was left over, so the limits were what held it.
    assert!(sent > 2 * total.min(prefix), "{sent}");
    passed.into_iter().map(|waited| waited.expect("each of them gets through")).collect()
}

#[test]
fn who_really_hangs_gets_through_a_flood() {
    // Through the total of the host, and through that of one prefix; the router's limit is none to sources made up.
    let rate = |per_second| Rate { per_second };
    let limits = PmtudLimits { prefix: rate(5000), total: rate(300), ..config().limits };
    let waited = flooded(limits, 30_000);
    assert!(waited.iter().all(|waited| *waited <= 2000), "{waited:?}");
    let waited = flooded(PmtudLimits { prefix: rate(300), total: rate(5000), ..limits }, 30_000);
    assert!(waited.iter().all(|waited| *waited <= 2000), "{waited:?}");
    // All but a few at their second complaint.
    assert!(waited.iter().filter(|waited| **waited <= 400).count() >= 48, "{waited:?}");
}

/// Whoever repeats what it made up is no longer told apart, and is limited like everybody.
#[test]
fn a_flood_that_repeats_is_still_limited() {
    let mut relay = relay();
    let packets: Vec<Vec<u8>> = (0..5_000).map(|seed| made_up(&mut Dice::new(seed))).collect();
    let mut sent = 0;
    for round in 0..20 {
        let now = at(1000 + round * 150);
        for packet in &packets {
            if let Some(candidate) = relay.examine(now, UPLINK, packet) {
                sent += u64::from(relay.decide(now, UPLINK, &candidate, Owner::Elsewhere));
            }
        }
        assert!(sent <= 1000 + round * 150, "{sent}");
    }
    assert!(sent > 3000, "{sent}");
}

/// What would be limited anyway is limited before anybody asks the kernel for it.
#[test]
fn the_kernel_is_not_asked_for_what_is_limited() {
    let mut relay = relay();
    let asked = |relay: &mut Relay, packet: &[u8]| {
        let candidate = relay.examine(at(1000), UPLINK, packet);
        candidate.map(|candidate| relay.decide(at(1000), UPLINK, &candidate, Owner::Elsewhere))
    };
    // One flow, from as many connections: the upper half of its ten, and the lower half is for what repeats.
    let flow: Vec<Option<bool>> =
        (0..12u16).map(|port| asked(&mut relay, &Error { ports: (443, port), ..Error::ipv4() }.octets())).collect();
    assert_eq!(flow, [vec![Some(true); 6], vec![None; 6]].concat());
    // Another MTU is another flow, as the router behind the first one says it.
    assert_eq!(asked(&mut relay, &Error { mtu: 1399, ..Error::ipv4() }.octets()), Some(true));
    // Made-up ones: the upper half of the prefix's 1000, and the lower half is not for them.
    let mut dice = Dice::new(3);
    let flood: Vec<Option<bool>> = (0..1000).map(|_| asked(&mut relay, &made_up(&mut dice))).collect();
    let (passed, refused) = flood.split_at(494);
    assert!(passed.iter().all(|passed| *passed == Some(true)), "{passed:?}");
    assert!(refused.iter().all(Option::is_none), "{refused:?}");
}

/// As above, where all are examined before the first is decided.
#[test]
fn a_batch_cannot_take_what_is_kept_for_those_that_repeat() {
    let (mut relay, mut dice) = (relay(), Dice::new(3));
    let packets: Vec<Vec<u8>> = (0..1000).map(|_| made_up(&mut dice)).collect();
    let batch = |relay: &mut Relay, now, packets: &[Vec<u8>]| {
        let candidates: Vec<Candidate> =
            packets.iter().filter_map(|packet| relay.examine(now, UPLINK, packet)).collect();
        candidates.iter().filter(|candidate| relay.decide(now, UPLINK, candidate, Owner::Elsewhere)).count()
    };
    assert_eq!(batch(&mut relay, at(1000), &packets), 501);
    // Those that were refused were seen, and now they repeat: 501 came before, 150 ms are 150 tokens more.
    assert_eq!(batch(&mut relay, at(1150), &packets[501..]), 499);
}

/// More flows than the table holds, each of them alone below its limit: the sum holds, and half of it is kept for those
/// that come again.
#[test]
fn full_tables_let_nothing_past_the_total() {
    let rate = |per_second| Rate { per_second };
    let limits = PmtudLimits { flow: rate(1), router: rate(1), prefix: rate(100_000), total: rate(100_000) };
    let mut relay = relay_with(Pmtud { limits, ..config() }, &[SECRET]);
    let (mut dice, mut sent) = (Dice::new(9), 0);
    for millisecond in 0..200 {
        for _ in 0..400 {
            if let Some(candidate) = relay.examine(at(1000 + millisecond), UPLINK, &made_up(&mut dice)) {
                sent += u64::from(relay.decide(at(1000 + millisecond), UPLINK, &candidate, Owner::Elsewhere));
            }
        }
        assert!(sent <= 50_001 + 100 * millisecond, "{sent} by {millisecond} ms");
    }
    assert!(sent > 68_000, "{sent}");
}

/// One of few clients, routers and MTUs after another, at any pace: each limit by its own count.
#[derive(Clone, Copy, Debug)]
struct Step {
    gap: u64,
    client: u8,
    router: u8,
    port: u8,
    mtu: u8,
    ipv6: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..30u64, 0..6u8, 0..4u8, any::<u8>(), 0..3u8, any::<bool>());
    let step = step.prop_map(|(gap, client, router, port, mtu, ipv6)| Step { gap, client, router, port, mtu, ipv6 });
    prop::collection::vec(step, 1..400)
}

fn error(step: Step) -> Error {
    let (client, router) = (step.client, step.router);
    let error = if step.ipv6 {
        // Two of one /48 are one.
        Error {
            client: ip(&format!("2001:db8:2::{client}")),
            router: ip(&format!("2001:db8:{}:{}::1", 10 + router / 2, router)),
            ..Error::ipv6()
        }
    } else {
        Error {
            client: ip(&format!("198.51.100.{client}")),
            router: ip(&format!("10.1.{}.{}", router / 2, router)),
            ..Error::ipv4()
        }
    };
    Error { ports: (443, u16::from(step.port)), mtu: 1400 + u32::from(step.mtu), ..error }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_schedule_is_above_any_limit(steps in steps()) {
        let rate = |per_second| Rate { per_second };
        let limits = PmtudLimits { flow: rate(5), router: rate(8), prefix: rate(40), total: rate(60) };
        let mut relay = relay_with(Pmtud { limits, ..config() }, &[SECRET]);
        let mut now = 1000;
        // When each was sent, by all that it is limited by.
        let mut sent: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for step in steps {
            now += step.gap;
            let error = error(step);
            let family = if step.ipv6 { 6 } else { 4 };
            let same = format!("{family} {} {} {}", step.client, step.port, step.mtu);
            let verdict = capture(&mut relay, at(now), &error.octets(), Owner::Elsewhere);
            let duplicate = last.get(&same).is_some_and(|last| now - last < 100);
            prop_assert_eq!(verdict == Verdict::Duplicate, duplicate, "{}", same);
            if verdict != Verdict::Relayed {
                prop_assert!(matches!(verdict, Verdict::Duplicate | Verdict::Limited));
                continue;
            }
            last.insert(same, now);
            let client = step.client;
            for (what, rate, seconds) in [
                (format!("flow {family} {client} {}", step.mtu), 5, 2),
                (format!("router {family} {}", step.router / 2), 8, 2),
                (format!("prefix {family}"), 40, 1),
                ("total".into(), 60, 1),
            ] {
                let moments = sent.entry(what.clone()).or_default();
                moments.push(now);
                // From each earlier one on.
                for (place, since) in moments.iter().enumerate() {
                    let most = rate * seconds + rate * (now - since) / 1000;
                    let count = (moments.len() - place) as u64;
                    prop_assert!(count <= most, "{}: {} within {} ms", what, count, now - since);
                }
            }
        }
    }
}
