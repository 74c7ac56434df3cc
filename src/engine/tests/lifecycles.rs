//! What comes, goes and comes back: addresses, answers, sessions. Each of these was a bug, or could be one.

use std::time::Duration;

use super::bench::{Bench, at, ip, probes, wanted, watch};
use super::world::{ETH0, LO, World, on};
use super::{SECOND, check, config, service, well};
use crate::Time;
use crate::bgp::wire::Family;
use crate::config::Protocol;
use crate::engine::{Input, Output};
use crate::facts::{Fact, Snapshot};
use crate::plan::{Held, Kept};

#[test]
fn a_result_from_before_the_address_went_does_not_count_when_it_is_back() {
    let mut bench = Bench::new(|config| {
        config.services[0].checks = vec![check("alive")];
        config.services[0].checks[0].rise = 1.try_into().unwrap();
    });
    let old = probes(&bench.read(&[on(LO, ip("192.0.2.1"))]));
    bench.address("192.0.2.1", false);
    let new = probes(&bench.address("192.0.2.1", true));
    assert_ne!(old, new);
    bench.probed(old[0], true);
    assert_eq!(bench.standing(0), Err(Held::Unproven));
    bench.probed(new[0], true);
    assert_eq!(bench.standing(0), Ok(None));
}

#[test]
fn a_new_address_in_a_wide_prefix_takes_nothing_away() {
    let mut bench = Bench::new(|config| {
        config.services = vec![service("wide", &["192.0.2.0/24"], &[(Protocol::Tcp, 80)])];
        config.services[0].checks = vec![check("alive")];
    });
    let outputs = bench.read(&[on(LO, ip("192.0.2.1"))]);
    bench.listener("192.0.2.1", Some(true));
    bench.pass_all(outputs, 3 * SECOND);
    assert_eq!((bench.standing(0), wanted(&bench)), (Ok(None), vec![true]));

    let outputs = bench.address("192.0.2.2", true);
    assert_eq!((bench.standing(0), wanted(&bench)), (Ok(Some(Kept::Unknown)), vec![true]), "asked, not answered");
    bench.listener("192.0.2.2", Some(true));
    assert_eq!(bench.standing(0), Ok(Some(Kept::Unknown)), "no verdict yet");
    bench.pass_all(outputs, 3 * SECOND);
    assert_eq!(bench.standing(0), Ok(None));

    (0..2).for_each(|_| _ = bench.listener("192.0.2.2", Some(false)));
    assert_eq!(bench.standing(0), Err(Held::NotListening), "an answer counts");
}

#[test]
fn addresses_that_are_all_new_are_not_announced_on_the_word_of_old_ones() {
    let mut bench = Bench::new(|config| {
        config.services = vec![service("wide", &["192.0.2.0/24"], &[])];
        config.services[0].checks = vec![check("alive")];
    });
    let outputs = bench.read(&[on(LO, ip("192.0.2.1"))]);
    bench.pass_all(outputs, 3 * SECOND);
    bench.read(&[on(LO, ip("192.0.2.1"))]);
    bench.read(&[]);
    assert_eq!(bench.standing(0), Ok(None), "one read without it");
    bench.read(&[on(LO, ip("192.0.2.2"))]);
    assert_eq!(bench.standing(0), Err(Held::Unproven));
}

#[test]
fn with_per_prefix_false_a_new_address_of_a_sibling_waits_alone() {
    let mut bench = Bench::new(|config| {
        config.services = vec![service("both", &["192.0.2.1/32", "192.0.2.2/32"], &[])];
        config.services[0].checks = vec![check("alive")];
        config.services[0].health.per_prefix = false;
    });
    let outputs = bench.read(&[on(LO, ip("192.0.2.1"))]);
    bench.pass_all(outputs, 3 * SECOND);
    assert_eq!(wanted(&bench), [true, false]);
    let outputs = bench.address("192.0.2.2", true);
    assert_eq!(wanted(&bench), [true, false]);
    bench.pass_all(outputs, 3 * SECOND);
    assert_eq!(wanted(&bench), [true, true]);
    // One that fails takes both.
    let key = *bench.engine.checks.keys().next_back().unwrap();
    for _ in 0..2 {
        bench.now = bench.now + 2 * SECOND;
        let due = probes(&bench.input(Input::Tick));
        for probe in due {
            bench.probed(probe, probe.address != key.address);
        }
    }
    assert_eq!(wanted(&bench), [false, false]);
    // And what fails no longer counts once its address is gone.
    bench.address("192.0.2.2", false);
    assert_eq!(wanted(&bench), [true, false]);
}

#[test]
fn a_read_without_any_address_is_a_read_that_failed() {
    let mut bench = Bench::new(|_| ());
    bench.fact(Fact::Snapshot(Snapshot::default()));
    assert_eq!(bench.standing(0), Err(Held::Unknown));
    bench.read(&[on(LO, ip("192.0.2.1"))]);
    assert_eq!(bench.standing(0), Ok(None));
    for _ in 0..5 {
        bench.fact(Fact::Snapshot(Snapshot::default()));
        assert_eq!(bench.standing(0), Ok(Some(Kept::Unknown)));
    }
    bench.read(&[on(LO, ip("192.0.2.1"))]);
    assert_eq!(bench.standing(0), Ok(None));
}

#[test]
fn a_listener_question_without_an_answer_is_asked_again() {
    let mut bench = Bench::new(|config| {
        config.router.id = Some("10.0.0.10".parse().unwrap());
        config.neighbors.iter_mut().for_each(|neighbor| neighbor.enabled = false);
        config.services = vec![service("web", &["192.0.2.1/32"], &[(Protocol::Tcp, 80)])];
    });
    let asked = |outputs: &[Output]| outputs.contains(&Output::Ask { watch: watch("192.0.2.1") });
    assert!(asked(&bench.read(&[on(LO, ip("192.0.2.1"))])));
    let wait = |bench: &mut Bench| {
        let before = bench.now;
        bench.now = bench.engine.schedule.next();
        assert!(asked(&bench.input(Input::Tick)));
        bench.now.since(before)
    };
    // Never answered; answered "cannot be asked"; absent; there; doubted.
    assert_eq!(wait(&mut bench), SECOND);
    bench.listener("192.0.2.1", None);
    assert_eq!(wait(&mut bench), Duration::from_millis(20));
    bench.listener("192.0.2.1", Some(false));
    assert_eq!(wait(&mut bench), Duration::from_millis(20));
    bench.listener("192.0.2.1", Some(true));
    assert_eq!(wait(&mut bench), SECOND);
    bench.listener("192.0.2.1", Some(false));
    assert_eq!(bench.standing(0), Ok(None), "doubted");
    assert_eq!(wait(&mut bench), Duration::from_millis(20));
    bench.listener("192.0.2.1", None);
    assert_eq!(bench.standing(0), Ok(Some(Kept::Unknown)));
    assert_eq!(wait(&mut bench), Duration::from_millis(20));
    bench.listener("192.0.2.1", Some(false));
    assert_eq!(bench.standing(0), Err(Held::NotListening), "two reads that agree");
    assert_eq!(bench.address("192.0.2.1", false).last(), Some(&Output::Watch { watches: vec![] }));
    assert_eq!(bench.engine.schedule.next(), Time::MAX);
    assert!(bench.listener("192.0.2.1", Some(true)).is_empty(), "nobody asks any more");
}

#[test]
fn grace_after_a_gap_and_start_hold_after_it() {
    let mut bench = Bench::new(|config| {
        config.services = vec![service("web", &["192.0.2.1/32"], &[(Protocol::Tcp, 80)])];
        config.services[0].binding.grace = 2 * SECOND;
        config.services[0].health.start_hold = 10 * SECOND;
    });
    bench.read(&[on(LO, ip("192.0.2.1"))]);
    bench.listener("192.0.2.1", Some(true));
    assert_eq!(bench.standing(0), Err(Held::StartHold));
    bench.now = at(5_000);
    bench.listener("192.0.2.1", Some(true));
    bench.listener("192.0.2.1", Some(false));
    bench.now = at(6_500);
    bench.listener("192.0.2.1", Some(true));
    bench.now = at(9_999);
    bench.input(Input::Tick);
    assert_eq!(bench.standing(0), Err(Held::StartHold));
    bench.now = at(10_000);
    bench.input(Input::Tick);
    assert_eq!(bench.standing(0), Ok(None), "a gap shorter than grace does not start the wait anew");
    bench.listener("192.0.2.1", Some(true));
    bench.listener("192.0.2.1", Some(false));
    assert_eq!(bench.standing(0), Ok(Some(Kept::Grace)));
    bench.now = at(12_000);
    bench.input(Input::Tick);
    assert_eq!(bench.standing(0), Err(Held::NotListening));
    bench.listener("192.0.2.1", Some(true));
    assert_eq!(bench.standing(0), Err(Held::StartHold), "coming up again");
}

#[test]
fn a_disable_file_never_looked_at_holds_and_stopping_comes_first() {
    let mut bench = Bench::new(|config| config.services[0].health.disable_file = Some("/run/off".into()));
    bench.read(&[on(LO, ip("192.0.2.1"))]);
    assert_eq!(bench.standing(0), Err(Held::Unknown));
    bench.fact(Fact::DisableFile { service: 0, exists: None });
    assert_eq!(bench.standing(0), Err(Held::Unknown));
    bench.input(Input::Stop);
    assert_eq!(bench.standing(0), Err(Held::Stopping));
}

#[test]
fn a_check_that_never_answers_is_down_and_runs_on() {
    let mut bench = Bench::new(|config| config.services[0].checks = vec![check("alive")]);
    let first = probes(&bench.read(&[on(LO, ip("192.0.2.1"))]));
    bench.pass_all(first.iter().map(|probe| Output::Probe { probe: *probe }).collect(), 3 * SECOND);
    assert_eq!(bench.standing(0), Ok(None));
    let (silent, mut runs) = (bench.now, 0);
    while bench.standing(0) == Ok(None) {
        bench.now = bench.engine.schedule.next();
        runs += probes(&bench.input(Input::Tick)).len();
    }
    assert_eq!(bench.standing(0), Err(Held::Unhealthy));
    assert!(bench.now.since(silent) < 5 * SECOND && runs >= 2, "{runs} runs");
    assert_eq!(bench.engine.check_counters[&(0, 0)].timeouts, 2);
}

#[test]
fn one_fixed_target_is_asked_once_for_all_prefixes_and_from_the_start() {
    let mut bench = Bench::new(|config| {
        config.services = vec![service("many", &["192.0.2.1/32", "192.0.2.2/32", "198.51.100.0/24"], &[])];
        config.services[0].checks = vec![check("backend")];
        config.services[0].checks[0].target = crate::config::Target::Address(ip("10.9.9.9"));
    });
    assert_eq!(bench.engine.checks.len(), 1);
    let mut outputs: Vec<Output> = std::iter::from_fn(|| bench.engine.poll()).collect();
    assert_eq!(probes(&outputs).len(), 1);
    outputs.extend(bench.read(&["192.0.2.1", "192.0.2.2", "198.51.100.7"].map(|text| on(LO, ip(text)))));
    bench.pass_all(outputs, 3 * SECOND);
    assert_eq!(wanted(&bench), [true, true, true]);
    bench.address("192.0.2.2", false);
    assert_eq!(wanted(&bench), [true, false, true]);
    bench.address("192.0.2.2", true);
    assert_eq!(wanted(&bench), [true, true, true], "its verdict is known");
}

#[test]
fn an_interface_that_is_renamed_moves_what_is_bound_to_it() {
    let mut bench = Bench::new(|config| config.services[0].binding.interface = Some("svc0".into()));
    bench.read(&[on(9, ip("192.0.2.1"))]);
    assert_eq!(bench.standing(0), Err(Held::NoAddress));
    let named = |name: &str| Fact::Interface { index: 9, name: Some(name.into()), loopback: false };
    bench.fact(named("other0"));
    assert_eq!(bench.standing(0), Err(Held::NoAddress));
    bench.fact(named("svc0"));
    assert_eq!(bench.standing(0), Ok(None));
    bench.fact(named("other1"));
    assert_eq!(bench.standing(0), Err(Held::NoAddress));
}

#[test]
fn a_router_id_is_looked_for_until_there_is_a_good_one() {
    let mut bench = Bench::new(|_| ());
    let asks = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::FindSource { .. }));
    let dials = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::Dial { .. }));
    let to = "10.0.0.1".parse().unwrap();
    let early = bench.input(Input::Source { to, address: Some("10.0.0.10".parse().unwrap()) });
    assert!(!dials(&early), "addresses are not known yet");
    assert!(asks(&bench.read(&[on(LO, ip("192.0.2.1")), on(LO, ip("10.255.0.1"))])));
    for (source, words) in [
        (None, "no route to 10.0.0.1"),
        (Some("10.255.0.1"), "on a loopback interface"),
        (Some("192.0.2.1"), "loopback"),
    ] {
        let address = source.map(|text| text.parse().unwrap());
        assert!(!dials(&bench.input(Input::Source { to, address })));
        let clock = crate::engine::Clock { now: bench.now, wall: Duration::ZERO };
        let said = bench.engine.neighbors(clock)[0].last_error.clone().unwrap();
        assert!(said.contains(words), "{said}");
        bench.now = bench.engine.deadline();
        assert!(asks(&bench.input(Input::Tick)));
    }
    bench.address("192.0.2.1", false);
    bench.fact(Fact::Address { address: on(ETH0, ip("192.0.2.1")), present: true });
    assert!(!dials(&bench.input(Input::Source { to, address: Some("192.0.2.1".parse().unwrap()) })), "a service's");
    assert!(dials(&bench.input(Input::Source { to, address: Some("10.0.0.10".parse().unwrap()) })));
    assert!(bench.engine.schedule.next() > bench.now + 10 * SECOND, "found: no more asking");
}

#[test]
fn managed_addresses_that_are_lost_are_put_back_with_the_next_read() {
    let mut bench = Bench::new(|config| config.services[0].binding.manage = true);
    let manage =
        |outputs: &[Output], present: bool| outputs.contains(&Output::Manage { address: ip("192.0.2.1"), present });
    let first: Vec<Output> = std::iter::from_fn(|| bench.engine.poll()).collect();
    assert!(manage(&first, true), "before the first read");
    assert!(!manage(&bench.read(&[on(LO, ip("192.0.2.1"))]), true));
    bench.address("192.0.2.1", false);
    assert!(manage(&bench.read(&[]), true));
    bench.address("192.0.2.1", true);
    let goodbye = bench.input(Input::Stop);
    assert!(manage(&goodbye, false), "nothing was announced: nothing to wait for");
    assert!(!goodbye.contains(&Output::Exit));
    assert!(!manage(&bench.read(&[]), true), "not while leaving");
    assert_eq!(bench.address("192.0.2.1", false).last(), Some(&Output::Exit));
}

#[test]
fn stopping_twice_or_before_anything_is_known_ends_at_once() {
    let mut bench = Bench::new(|_| ());
    assert_eq!(bench.input(Input::Stop).last(), Some(&Output::Exit));
    let mut config = config();
    config.services[0].binding.manage = true;
    let mut world = World::new(config, 8);
    world.boot();
    world.run(10 * SECOND);
    assert!(world.addresses.contains(&ip("192.0.2.80")));
    world.input(Input::Stop);
    assert!(!world.exited);
    world.input(Input::Stop);
    world.run(SECOND / 4);
    assert!(world.exited);
    assert!(world.routers.iter().all(|router| router.notifications == [(6, 2)]), "they still hear why");
    assert!(!world.addresses.contains(&ip("192.0.2.80")), "nothing is left behind");
}

#[test]
fn a_third_signal_waits_for_nothing() {
    let mut world = well(8);
    world.routers[0].silent = true;
    world.input(Input::Stop);
    world.input(Input::Stop);
    assert!(!world.exited);
    world.input(Input::Stop);
    assert!(world.exited);
}

#[test]
fn a_peer_that_does_not_read_cannot_hold_up_a_stop() {
    let mut world = well(9);
    world.routers[0].silent = true;
    world.input(Input::Stop);
    world.run(3 * SECOND);
    assert!(world.routers[1].table.is_empty() && !world.exited);
    world.run(4 * SECOND);
    assert!(world.exited);
}

#[test]
fn latency_is_measured_for_changes_and_for_nothing_else() {
    let mut world = well(10);
    let count = |world: &World| {
        let counters = world.engine.counters();
        (counters.announce_latency.count(), counters.withdraw_latency.count())
    };
    let start = count(&world);
    world.set_listening(Protocol::Tcp, 53, false);
    world.run(SECOND);
    world.set_listening(Protocol::Tcp, 53, true);
    world.run(SECOND);
    let changed = count(&world);
    assert_eq!((changed.0 - start.0, changed.1 - start.1), (4, 4), "two prefixes, two routers");
    world.run(600 * SECOND);
    world.routers.iter_mut().for_each(|router| router.refresh(Family::Ipv4));
    world.run(SECOND);
    assert_eq!(count(&world), changed, "a refresh is no change");
    world.set_address(ip("fd00::10"), false);
    world.run(SECOND);
    world.set_address(ip("fd00::10"), true);
    world.run(SECOND);
    assert_eq!(count(&world), changed, "a next hop that came late is not a slow daemon");
    world.cut_connections();
    world.run(30 * SECOND);
    assert_eq!(count(&world), changed, "a new session is no change");
    world.assert_routers_have_the_plan();
}

#[test]
fn a_next_hop_that_goes_takes_its_family_and_brings_it_back() {
    let mut world = well(11);
    let v6 = |world: &World| {
        world.routers.iter().map(|r| r.table.keys().filter(|n| n.addr().is_ipv6()).count()).collect::<Vec<_>>()
    };
    assert_eq!(v6(&world), [1, 1]);
    world.set_address(ip("fd00::10"), false);
    world.run(SECOND);
    assert_eq!(v6(&world), [0, 0]);
    let clock = crate::engine::Clock { now: world.now, wall: Duration::ZERO };
    let shown = world.engine.services(clock).into_iter().flat_map(|service| service.prefixes);
    let shown = shown.into_iter().find(|prefix| prefix.prefix == "2001:db8::80/128").unwrap();
    assert_eq!(shown.neighbors[0].held.as_deref(), Some("no-next-hop"));
    world.set_address(ip("fd00::10"), true);
    world.run(SECOND);
    assert_eq!(v6(&world), [1, 1]);
    assert!(world.routers.iter().all(|router| router.sessions == 1));
}

#[test]
fn disabled_neighbors_are_left_alone_and_disabled_services_do_nothing() {
    let mut bench = Bench::new(|config| {
        config.router.id = Some("10.0.0.10".parse().unwrap());
        config.neighbors[1].enabled = false;
        config.services[0].enabled = false;
        config.services[0].binding.manage = true;
        config.services[0].checks = vec![check("alive")];
    });
    let mut outputs: Vec<Output> = std::iter::from_fn(|| bench.engine.poll()).collect();
    outputs.extend(bench.read(&[on(LO, ip("192.0.2.1"))]));
    let dials = outputs.iter().filter(|output| matches!(output, Output::Dial { .. })).count();
    let others = |output: &&Output| matches!(output, Output::Probe { .. } | Output::Manage { .. } | Output::Ask { .. });
    assert_eq!((dials, outputs.iter().filter(others).count()), (1, 0));
    assert_eq!(bench.standing(0), Err(Held::Disabled));
    let clock = crate::engine::Clock { now: bench.now, wall: Duration::from_secs(1_000) };
    assert_eq!(
        bench.engine.neighbors(clock)[1].since,
        "1970-01-01T00:16:40.000Z",
        "when we started, not when the host did"
    );
}
