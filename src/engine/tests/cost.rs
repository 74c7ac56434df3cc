//! No step is long, however many prefixes there are.

use std::num::NonZeroU8;
use std::time::Duration;

use super::bench::at;
use super::world::{ETH0, LO, on};
use super::{SECOND, check, config, service};
use crate::Time;
use crate::config::{CheckKind, Config, Protocol, PushCheck, Service};
use crate::engine::{Engine, Input, Outcome, Output};
use crate::facts::{Fact, Interface, Snapshot};

fn many(services: u32, prefixes: u32, per_prefix: bool) -> Vec<Service> {
    let of = |number: u32| {
        let mut service = service(&format!("s{number}"), &[], &[(Protocol::Tcp, 80)]);
        let address = |n: u32| std::net::Ipv4Addr::from(0xC600_0000 + number * prefixes + n);
        service.prefixes = (0..prefixes).map(|n| std::net::IpAddr::V4(address(n)).into()).collect();
        service.checks = vec![check("alive")];
        service.health.per_prefix = per_prefix;
        service
    };
    (0..services).map(of).collect()
}

/// The longest step, and the number of steps until nothing is due.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this test measures")]
fn settle(engine: &mut Engine, now: Time, input: Input) -> (Duration, u32, Vec<Output>) {
    let (mut longest, mut steps, mut outputs) = (Duration::ZERO, 0, Vec::new());
    let mut input = Some(input);
    while let Some(next) = input.take() {
        let start = std::time::Instant::now();
        engine.handle(now, next);
        longest = longest.max(start.elapsed());
        steps += 1;
        outputs.extend(std::iter::from_fn(|| engine.poll()));
        input = (engine.deadline() <= now).then_some(Input::Tick);
        assert!(steps < 10_000, "never done");
    }
    (longest, steps, outputs)
}

fn figures(what: &str, services: Vec<Service>) -> Vec<(String, Duration)> {
    let config = Config { services, ..config() };
    let addresses = config.services.iter().flat_map(|service| &service.prefixes).map(|prefix| on(LO, prefix.addr()));
    let addresses: Vec<_> = addresses.chain([on(ETH0, "10.0.0.10".parse().unwrap())]).collect();
    let lo = Interface { index: LO, name: "lo".into(), loopback: true };
    let snapshot = || {
        Input::Fact(Fact::Snapshot(Snapshot {
            interfaces: vec![lo.clone()],
            addresses: addresses.clone(),
            routes: vec![],
        }))
    };
    let mut engine = Engine::new(at(0), config, 1);
    let mut seen = Vec::new();
    let mut note =
        |step: &str, (longest, _, _): &(Duration, u32, Vec<Output>)| seen.push((format!("{what}: {step}"), *longest));
    let first = settle(&mut engine, at(1), snapshot());
    note("first read", &first);
    let probes =
        first.2.iter().filter_map(|output| if let Output::Probe { probe } = output { Some(*probe) } else { None });
    for output in &first.2 {
        if let Output::Ask { watch } = output {
            engine.handle(at(2), Input::Fact(Fact::Listener { watch: *watch, listening: Some(true) }));
        }
    }
    let mut worst = (Duration::ZERO, 0, vec![]);
    for probe in probes.collect::<Vec<_>>() {
        let outcome = Outcome::Pass { detail: "ok".into() };
        worst = worst.max_by_time(settle(&mut engine, at(3), Input::Probed { probe, outcome, took: Duration::ZERO }));
    }
    note("one result", &worst);
    note("second later", &settle(&mut engine, at(1200), Input::Tick));
    note("same read again", &settle(&mut engine, at(1300), snapshot()));
    note("a read fails", &settle(&mut engine, at(1400), Input::Fact(Fact::ReadFailed { detail: String::new() })));
    let one = Input::Fact(Fact::Address { address: addresses[0], present: false });
    note("one address goes", &settle(&mut engine, at(1500), one));
    note("stop", &settle(&mut engine, at(1600), Input::Stop));
    seen
}

/// One push for the whole of a service.
fn pushes(per_prefix: bool) -> Vec<(String, Duration)> {
    let mut services = many(1, 10_000, per_prefix);
    services[0].checks[0].kind = CheckKind::Push(PushCheck { ttl: 30 * SECOND });
    services[0].checks[0].rise = NonZeroU8::MIN;
    services[0].binding.listen.clear();
    let config = Config { services, ..config() };
    let addresses = config.services[0].prefixes.iter().map(|prefix| on(LO, prefix.addr())).collect();
    let interfaces = vec![Interface { index: LO, name: "lo".into(), loopback: true }];
    let mut engine = Engine::new(at(0), config, 1);
    let snapshot = Snapshot { interfaces, addresses, routes: vec![] };
    settle(&mut engine, at(1), Input::Fact(Fact::Snapshot(snapshot)));
    let detail = "seen".to_owned();
    let push = Input::Pushed { service: 0, check: 0, address: None, pass: true, detail };
    let (pushed, _, _) = settle(&mut engine, at(2), push);
    let (silent, _, _) = settle(&mut engine, at(60_000), Input::Tick);
    let named = |step: &str, longest| (format!("a push check, per-prefix = {per_prefix}: {step}"), longest);
    assert_eq!(engine.service_state(0).name(), "down");
    vec![named("a push", pushed), named("silence", silent)]
}

trait Longer {
    fn max_by_time(self, other: Self) -> Self;
}

impl Longer for (Duration, u32, Vec<Output>) {
    fn max_by_time(self, other: Self) -> Self {
        if self.0 < other.0 { other } else { self }
    }
}

#[test]
#[ignore = "measures wall time: run alone, in release, on an idle machine"]
fn steps_of_ten_thousand_prefixes_are_short() {
    let all = [
        figures("one service", many(1, 10_000, true)),
        figures("a thousand services", many(1000, 10, true)),
        figures("one service, per-prefix = false", many(1, 10_000, false)),
        pushes(true),
        pushes(false),
    ];
    for (what, longest) in all.iter().flatten() {
        println!("{what}: {longest:?}");
        let allowed = if what.contains("read") { SECOND / 2 } else { SECOND / 20 };
        assert!(*longest < allowed, "{what}: {longest:?}");
    }
}
