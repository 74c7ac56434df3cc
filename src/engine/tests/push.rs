//! Checks that wait to be told.

use std::net::IpAddr;
use std::time::Duration;

use super::bench::{Bench, at, ip, probes};
use super::world::{LO, on};
use super::{check, service};
use crate::Time;
use crate::config::{CheckKind, PushCheck, Target};
use crate::engine::checks::InstanceKey;
use crate::engine::{Clock, Input, NotPushed, Pushable};
use crate::plan::{Held, Kept};

const TTL: Duration = Duration::from_secs(30);

/// One service with two addresses, one push check (rise 2, fall 2) and nothing else that moves.
fn bench(change: impl FnOnce(&mut crate::config::Check)) -> Bench {
    Bench::new(|config| {
        config.neighbors.iter_mut().for_each(|neighbor| neighbor.enabled = false);
        config.router.id = Some("10.0.0.10".parse().unwrap());
        config.services = vec![service("dns", &["192.0.2.1/32", "192.0.2.2/32"], &[])];
        let mut outside = check("outside");
        outside.kind = CheckKind::Push(PushCheck { ttl: TTL });
        change(&mut outside);
        config.services[0].checks = vec![outside];
    })
}

fn read(bench: &mut Bench) {
    let outputs = bench.read(&["192.0.2.1", "192.0.2.2"].map(|text| on(LO, ip(text))));
    assert_eq!(probes(&outputs), [], "nothing is run");
}

/// Through the door, as the daemon does it.
fn push(bench: &mut Bench, address: Option<&str>, pass: bool) {
    let address = address.map(ip);
    let Pushable { service, check, .. } = bench.engine.pushable("dns", "outside", address).unwrap();
    let detail = if pass { "seen" } else { "not seen" }.to_owned();
    let outputs = bench.input(Input::Pushed { service, check, address, pass, detail });
    assert_eq!(probes(&outputs), []);
}

type Standing = Result<Option<Kept>, Held>;

fn standings(bench: &Bench) -> [Standing; 2] {
    let both = [bench.standing(0), bench.standing(1)];
    assert_eq!(bench.engine.recompute(bench.now), both, "incremental == full");
    both
}

fn tick(bench: &mut Bench, millis: u64) -> [Standing; 2] {
    bench.now = at(millis);
    bench.input(Input::Tick);
    standings(bench)
}

/// Of each address: state and detail.
fn shown(bench: &Bench) -> Vec<(IpAddr, String, String)> {
    let clock = Clock { now: bench.now, wall: Duration::from_secs(1000) };
    let checks = bench.engine.services(clock).remove(0).checks;
    checks.into_iter().map(|check| (check.address, check.state, check.detail)).collect()
}

const UP: Standing = Ok(None);
const DOWN: Standing = Err(Held::Unhealthy);
const UNPROVEN: Standing = Err(Held::Unproven);

#[test]
fn a_push_is_one_result_by_rise_and_fall() {
    let mut bench = bench(|_| ());
    read(&mut bench);
    assert_eq!(standings(&bench), [UNPROVEN; 2]);
    push(&mut bench, None, true);
    assert_eq!(standings(&bench), [UNPROVEN; 2], "the first up needs rise too");
    push(&mut bench, Some("192.0.2.2"), true);
    assert_eq!(standings(&bench), [UNPROVEN, UP]);
    push(&mut bench, None, true);
    assert_eq!(standings(&bench), [UP; 2]);
    push(&mut bench, Some("192.0.2.1"), false);
    assert_eq!(standings(&bench), [UP; 2], "fall is 2");
    push(&mut bench, Some("192.0.2.1"), false);
    assert_eq!(standings(&bench), [DOWN, UP]);
    let row = |address: &str, state: &str, detail: &str| (ip(address), state.to_owned(), detail.to_owned());
    assert_eq!(shown(&bench), [row("192.0.2.1", "down", "not seen"), row("192.0.2.2", "up", "seen")]);
    assert_eq!(bench.engine.check_counters.len(), 0, "no run, no duration, no timeout");
}

/// A step is short: what one does not reach, the next one does, and nobody is told before all have heard.
#[test]
fn a_push_for_many_addresses_takes_several_steps() {
    for per_prefix in [true, false] {
        let prefixes: Vec<String> = (0..600).map(|n| format!("198.51.{}.{}/32", n / 250, n % 250)).collect();
        let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
        let mut bench = Bench::new(|config| {
            let mut outside = check("outside");
            outside.kind = CheckKind::Push(PushCheck { ttl: TTL });
            outside.rise = 1.try_into().unwrap();
            config.services = vec![service("dns", &prefixes, &[])];
            config.services[0].checks = vec![outside];
            config.services[0].health.per_prefix = per_prefix;
        });
        let all: Vec<_> = prefixes.iter().map(|text| on(LO, ip(text.trim_end_matches("/32")))).collect();
        bench.read(&all);
        let settle = |bench: &mut Bench| {
            let mut steps = 1;
            while bench.engine.deadline() <= bench.now {
                bench.input(Input::Tick);
                steps += 1;
                assert!(steps < 100, "never done");
            }
            let up = (0..600).filter(|row| bench.standing(*row) == UP).count();
            (steps, up)
        };
        assert_eq!(settle(&mut bench).1, 0);
        let up = |bench: &Bench| bench.engine.checks.values().filter(|check| check.last.is_some()).count();
        push(&mut bench, None, true);
        push(&mut bench, Some("198.51.0.0"), false);
        assert_eq!((up(&bench), bench.engine.is_hearing()), (500, true));
        let (steps, announced) = settle(&mut bench);
        assert!(steps > 1);
        assert_eq!((up(&bench), announced, bench.engine.is_hearing()), (600, 600, false), "in the order they came");
        let of_first = InstanceKey { service: 0, check: 0, address: ip("198.51.0.0") };
        assert_eq!(bench.engine.checks[&of_first].detail, "not seen");
    }
}

#[test]
fn silence_is_down_at_once_and_counted_once() {
    let mut bench = bench(|check| check.fall = 200.try_into().unwrap());
    read(&mut bench);
    push(&mut bench, None, true);
    bench.now = at(10_000);
    push(&mut bench, None, true);
    assert_eq!(standings(&bench), [UP; 2]);
    assert_eq!(tick(&mut bench, 39_999), [UP; 2]);
    bench.now = at(39_999);
    push(&mut bench, Some("192.0.2.2"), false);
    assert_eq!(bench.engine.deadline(), at(40_000));
    assert_eq!(tick(&mut bench, 40_000), [DOWN, UP], "any push counts against silence, and fall is not asked");
    assert_eq!(tick(&mut bench, 69_999), [DOWN; 2]);
    let row = |address: &str| (ip(address), "down".to_owned(), "no push for 30s".to_owned());
    assert_eq!(shown(&bench), [row("192.0.2.1"), row("192.0.2.2")]);
    let timeouts = |bench: &Bench| bench.engine.counters().checks[0].timeouts;
    assert_eq!(timeouts(&bench), 2);
    assert_eq!((tick(&mut bench, 10_000_000), timeouts(&bench)), ([DOWN; 2], 2));
    assert_eq!(bench.engine.schedule.next(), Time::MAX, "nothing is waited for any more");
    let clock = Clock { now: bench.now, wall: Duration::from_secs(10_000) };
    let last = bench.engine.services(clock)[0].checks[0].last.clone();
    assert_eq!(last.as_deref(), Some("1970-01-01T00:00:10.000Z"), "of the last push");
    push(&mut bench, None, true);
    assert_eq!(standings(&bench), [DOWN; 2], "back up by rise");
    push(&mut bench, None, true);
    assert_eq!(standings(&bench), [UP; 2]);
    assert_eq!(bench.engine.schedule.next(), bench.now + TTL);
}

#[test]
fn who_never_spoke_is_down_after_the_first_ttl() {
    let mut bench = bench(|_| ());
    bench.now = at(5_000);
    read(&mut bench);
    assert_eq!(shown(&bench)[0].2, "no push yet");
    assert_eq!(tick(&mut bench, 34_999), [UNPROVEN; 2]);
    assert_eq!(tick(&mut bench, 35_000), [DOWN; 2]);
}

#[test]
fn an_address_that_comes_back_starts_anew() {
    let mut bench = bench(|check| check.rise = 1.try_into().unwrap());
    read(&mut bench);
    push(&mut bench, None, true);
    assert_eq!(standings(&bench), [UP; 2]);
    bench.address("192.0.2.1", false);
    assert_eq!(standings(&bench), [Err(Held::NoAddress), UP]);
    bench.now = at(20_000);
    bench.address("192.0.2.1", true);
    assert_eq!(standings(&bench), [UNPROVEN, UP]);
    assert_eq!(tick(&mut bench, 30_000), [UNPROVEN, DOWN], "its own ttl began when it came");
    assert_eq!(tick(&mut bench, 50_000), [DOWN; 2]);
}

#[test]
fn one_target_is_one_address_and_waits_from_the_start() {
    let mut bench = bench(|check| {
        check.target = Target::Address(ip("10.9.9.9"));
        check.rise = 1.try_into().unwrap();
    });
    let outcome = |bench: &Bench, address| bench.engine.pushable("dns", "outside", address);
    let there = Pushable { service: 0, check: 0, addresses: vec![ip("10.9.9.9")] };
    assert_eq!(outcome(&bench, None), Ok(there.clone()));
    assert_eq!(outcome(&bench, Some(ip("10.9.9.9"))), Ok(there));
    let elsewhere = Err(NotPushed::NoAddress { here: vec![ip("10.9.9.9")] });
    assert_eq!(outcome(&bench, Some(ip("192.0.2.1"))), elsewhere);
    bench.now = at(20_000);
    read(&mut bench);
    assert_eq!(tick(&mut bench, 29_999), [UNPROVEN; 2]);
    assert_eq!(tick(&mut bench, 30_000), [DOWN; 2]);
    push(&mut bench, None, true);
    assert_eq!(standings(&bench), [UP; 2]);
}

#[test]
fn a_push_needs_a_service_a_check_a_type_and_an_address() {
    let mut bench = bench(|_| ());
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let ask = |bench: &Bench, service, check, address: Option<&str>| {
        bench.engine.pushable(service, check, address.map(ip)).map(|found| found.addresses)
    };
    assert_eq!(ask(&bench, "dns", "outside", None), Ok(vec![]), "no address is here yet");
    assert_eq!(ask(&bench, "dns", "outside", Some("192.0.2.1")), Err(NotPushed::NoAddress { here: vec![] }));
    read(&mut bench);
    let both = vec![ip("192.0.2.1"), ip("192.0.2.2")];
    assert_eq!(ask(&bench, "dns", "outside", None), Ok(both.clone()));
    assert_eq!(ask(&bench, "dns", "outside", Some("192.0.2.2")), Ok(vec![ip("192.0.2.2")]));
    assert_eq!(ask(&bench, "dns", "outside", Some("192.0.2.3")), Err(NotPushed::NoAddress { here: both }));
    assert_eq!(ask(&bench, "dsn", "outside", None), Err(NotPushed::NoService { known: names(&["dns"]) }));
    assert_eq!(ask(&bench, "dns", "inside", None), Err(NotPushed::NoCheck { known: names(&["outside"]) }));
    let run = Bench::new(|config| config.services[0].checks = vec![check("alive")]);
    assert_eq!(ask(&run, "one", "alive", None), Err(NotPushed::AnotherType));
    // And what goes around the door is not heard.
    let mut run = run;
    run.read(&[on(LO, ip("192.0.2.1"))]);
    for _ in 0..2 {
        let detail = String::new();
        run.input(Input::Pushed { service: 0, check: 0, address: None, pass: true, detail });
    }
    assert_eq!(run.standing(0), UNPROVEN);
    for (service, check) in [(9, 0), (0, 9)] {
        run.input(Input::Pushed { service, check, address: None, pass: true, detail: String::new() });
    }
}
