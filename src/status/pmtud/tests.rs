use std::time::Duration;

use super::*;
use crate::config::{Members, MinMtu, PmtudLimits, PmtudMode, PmtudRelay, Rate};
use crate::pmtud::totals::Member;

fn config(mode: PmtudMode) -> config::Pmtud {
    let rate = Rate { per_second: 1 };
    config::Pmtud {
        interfaces: vec!["eth0".to_owned(), "eth1".to_owned()],
        mode,
        prefixes: None,
        protocols: vec![6],
        ports: vec![],
        min_mtu: MinMtu { ipv4: 552, ipv6: 1280 },
        dry_run: false,
        dedup: Duration::ZERO,
        limits: PmtudLimits { flow: rate, router: rate, prefix: rate, total: rate },
    }
}

fn relay() -> config::Pmtud {
    config(PmtudMode::Relay(PmtudRelay {
        address: "10.0.0.11".parse().unwrap(),
        port: 5141,
        members: Members::List(vec![]),
        keys: vec![],
        insecure: true,
    }))
}

fn set(uplink: &mut Uplink, family: usize, verdict: Verdict, count: u64) {
    let index = Verdict::ALL.iter().position(|known| *known == verdict).unwrap();
    uplink.verdicts[family][index] = count;
}

fn heard(counts: &[(Heard, u64)]) -> [u64; 11] {
    Heard::ALL.map(|heard| counts.iter().find(|(of, _)| *of == heard).map_or(0, |(_, count)| *count))
}

fn map(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn totals() -> Totals {
    let mut uplinks = vec![Uplink::default(), Uplink::default()];
    set(&mut uplinks[0], 0, Verdict::Relayed, 3);
    set(&mut uplinks[0], 1, Verdict::Relayed, 4);
    set(&mut uplinks[0], 1, Verdict::SendError, 1);
    set(&mut uplinks[1], 0, Verdict::NotAnnounced, 5);
    let member =
        |address: &str, relayed, send_errors| Member { address: address.parse().unwrap(), relayed, send_errors };
    Totals {
        uplinks,
        heard: heard(&[(Heard::Injected, 3), (Heard::NotOwned, 6), (Heard::BadKey, 50), (Heard::SendError, 7)]),
        members: vec![member("10.0.0.12", 7, 0), member("10.0.0.13", 5, 2)],
        mtus: vec![(Family::Ipv4, 1400, 3), (Family::Ipv6, 1280, 4)],
        unjudged: 0,
        other_mtus: [0, 2],
        send_errors: 9,
    }
}

#[test]
fn everything_that_was_counted_is_shown() {
    let view = Pmtud::new(&relay(), &totals(), &[Some(1500)]);
    let member =
        |address: &str, relayed, send_errors| PmtudMember { address: address.parse().unwrap(), relayed, send_errors };
    let expected = Pmtud {
        enabled: true,
        mode: Some("relay".to_owned()),
        dry_run: false,
        interfaces: vec![
            PmtudInterface {
                name: "eth0".to_owned(),
                mtu: Some(1500),
                packets: BTreeMap::from([
                    ("ipv4".to_owned(), map(&[("relayed", 3)])),
                    ("ipv6".to_owned(), map(&[("relayed", 4), ("send-error", 1)])),
                ]),
            },
            PmtudInterface {
                name: "eth1".to_owned(),
                mtu: None,
                packets: BTreeMap::from([("ipv4".to_owned(), map(&[("not-announced", 5)]))]),
            },
        ],
        members: vec![member("10.0.0.12", 7, 0), member("10.0.0.13", 5, 2)],
        packets: map(&[("relayed", 7), ("send-error", 1), ("not-announced", 5)]),
        received: map(&[("injected", 3), ("not-owned", 6), ("bad-key", 50), ("send-error", 7)]),
        mtus: BTreeMap::from([
            ("ipv4".to_owned(), map(&[("1400", 3)])),
            ("ipv6".to_owned(), map(&[("1280", 4), ("other", 2)])),
        ]),
        useful: Some(0.625),
        members_error: None,
        advice: vec![],
        host: PmtudHost::default(),
    };
    assert_eq!(view, expected);
    let text = serde_json::to_string(&view).unwrap();
    assert_eq!(serde_json::from_str::<Pmtud>(&text).unwrap(), view);
}

/// Without tcp_diag, and for SCTP, every member injects: that is no success.
#[test]
fn what_nobody_could_judge_is_not_useful() {
    for (injected, unjudged, not_owned, useful) in [(10, 10, 0, None), (10, 4, 0, Some(1.0)), (7, 4, 1, Some(0.75))] {
        let mut totals = Totals { unjudged, ..Totals::default() };
        totals.heard[Heard::Injected.index()] = injected;
        totals.heard[Heard::NotOwned.index()] = not_owned;
        assert_eq!(Pmtud::new(&relay(), &totals, &[]).useful, useful, "{injected} {unjudged}");
    }
}

/// Before the first batch of its thread there is not even a place for what it counts.
#[test]
fn a_relay_that_has_just_begun() {
    let view = Pmtud::new(&config(PmtudMode::Broadcast), &Totals::default(), &[]);
    assert_eq!((view.mode.as_deref(), view.useful, view.interfaces.len()), (Some("broadcast"), None, 2));
    assert!(view.packets.is_empty() && view.interfaces.iter().all(|i| i.packets.is_empty() && i.mtu.is_none()));
}

#[test]
fn explain_says_where_errors_go_and_is_always_ok() {
    let explanation = |announced| Explanation {
        prefix: "192.0.2.53/32".to_owned(),
        service: "dns".to_owned(),
        announced,
        steps: vec![],
        neighbors: vec![],
    };
    let member = PmtudMember { address: "10.0.0.12".parse().unwrap(), relayed: 0, send_errors: 0 };
    let with = |members: usize| Pmtud {
        members: vec![member.clone(); members],
        ..Pmtud::new(&relay(), &Totals::default(), &[])
    };
    let broadcast = Pmtud { mode: Some("broadcast".to_owned()), ..with(0) };
    let prefix = |text: &str| vec![text.parse::<IpNet>().unwrap()];
    let here = prefix("192.0.2.0/24");
    let elsewhere = prefix("198.51.100.0/24");
    for (pmtud, prefixes, announced, expected) in [
        (with(3), None, true, "relayed to 3 members"),
        (with(1), None, true, "relayed to 1 member"),
        (Pmtud { dry_run: true, ..with(3) }, None, true, "relayed to 3 members, but for dry-run = true"),
        (with(0), None, true, "stay here: there is no other member"),
        (broadcast, None, true, "sent on to the whole segment"),
        (with(3), None, false, "stay here: it is not announced"),
        (with(3), Some(&here), false, "relayed to 3 members"),
        (with(3), Some(&elsewhere), true, "stay here: it is in none of pmtud.prefixes"),
    ] {
        let step = pmtud.step(prefixes.map(Vec::as_slice), &explanation(announced)).unwrap();
        let detail = step.detail.replace("errors for it are ", "").replace("errors for it ", "");
        assert_eq!((detail.as_str(), step.ok, step.since), (expected, true, None));
    }
    assert_eq!(Pmtud::default().step(None, &explanation(true)), None);
}
