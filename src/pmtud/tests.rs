//! The machine as `io` drives it.

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::Time;
use crate::config::{Members, MinMtu, Pmtud, PmtudLimits, PmtudMode, PmtudRelay, Rate};
use totals::Family;

mod aimed;
mod flood;
mod foreign;
mod heard;
mod packet;
mod properties;
mod verdicts;

use packet::Error;

const OURS: &str = "10.9.0.1";
const MEMBERS: [&str; 2] = ["10.9.0.2", "10.9.0.3"];
const SECRET: &[u8] = b"the secret of the whole fleet";
const UPLINK: usize = 1;

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn at(milliseconds: u64) -> Time {
    Time::default() + Duration::from_millis(milliseconds)
}

fn config() -> Pmtud {
    let rate = |per_second| Rate { per_second };
    Pmtud {
        interfaces: vec!["e0".into(), "e1".into()],
        mode: PmtudMode::Relay(PmtudRelay {
            address: ip(OURS),
            port: 5141,
            members: Members::List(MEMBERS.iter().map(|member| ip(member)).collect()),
            keys: vec![],
            insecure: false,
        }),
        prefixes: None,
        protocols: vec![6, 132],
        ports: vec![],
        min_mtu: MinMtu { ipv4: 552, ipv6: 1280 },
        dry_run: false,
        dedup: Duration::from_millis(100),
        limits: PmtudLimits { flow: rate(5), router: rate(200), prefix: rate(1000), total: rate(5000) },
    }
}

/// Both service prefixes announced, both uplinks there, two other members.
fn relay_with(config: Pmtud, keys: &[&[u8]]) -> Relay {
    let keys = keys.iter().map(|key| Key::new(key).unwrap()).collect();
    let mut relay = Relay::new(at(0), Settings { config, keys, seed: 1, first_sequence: 1_000_000 });
    relay.set_uplink(UPLINK, Some(1500));
    for prefix in ["192.0.2.53/32", "2001:db8::53/128"] {
        relay.set_announced(prefix.parse().unwrap(), true);
    }
    relay.set_members(&MEMBERS.map(ip));
    relay
}

fn relay() -> Relay {
    relay_with(config(), &[SECRET])
}

/// As `io` does it, where every send succeeds: the one verdict that is counted.
fn capture(relay: &mut Relay, now: Time, packet: &[u8], owner: Owner) -> Verdict {
    let before = relay.totals().clone();
    if let Some(candidate) = relay.examine(now, UPLINK, packet)
        && relay.decide(now, UPLINK, &candidate, owner)
    {
        let copies = relay.members().len().max(1);
        relay.sent(UPLINK, &candidate, copies);
    }
    let counted = |family: Family, verdict| {
        relay.totals().uplinks[UPLINK].count(family, verdict) - before.uplinks[UPLINK].count(family, verdict)
    };
    let mut verdicts = vec![];
    for family in [Family::Ipv4, Family::Ipv6] {
        verdicts.extend(Verdict::ALL.into_iter().flat_map(|verdict| vec![verdict; counted(family, verdict) as usize]));
    }
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    assert_eq!(relay.totals().uplinks[0], before.uplinks[0]);
    verdicts[0]
}

/// The one word of what became of a datagram.
fn hear(relay: &mut Relay, now: Time, from: &str, datagram: &[u8], owner: Owner, local: bool) -> Heard {
    let before = relay.totals().heard;
    if let Some(injection) = relay.hear(now, ip(from), datagram)
        && relay.admit(now, &injection, owner, local)
    {
        relay.injected(true);
    }
    let heard: Vec<Heard> =
        Heard::ALL.into_iter().filter(|heard| relay.totals().heard[heard.index()] != before[heard.index()]).collect();
    assert_eq!(relay.totals().heard.iter().sum::<u64>(), before.iter().sum::<u64>() + 1);
    heard[0]
}
