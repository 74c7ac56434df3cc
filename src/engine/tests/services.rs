//! Services that need each other, the programs that follow them, and the list of what happened.

use std::time::Duration;

use super::bench::{Bench, at, ip, probes};
use super::world::{LO, on};
use super::{SECOND, check, service};
use crate::config::{Config, Hooks};
use crate::engine::{Clock, Engine, Event, EventKind, Explained, Hook, Input, Output};
use crate::facts::Fact;
use crate::plan::{Held, Kept};

/// web needs api, api needs dns; the file names them in this order.
fn chain(config: &mut Config) {
    config.services = vec![
        service("web", &["192.0.2.80/32"], &[]),
        service("api", &["192.0.2.81/32", "192.0.2.82/32"], &[]),
        service("dns", &["192.0.2.53/32"], &[]),
    ];
    config.services[0].depends_on = vec![1];
    config.services[1].depends_on = vec![2];
}

const ALL: [&str; 4] = ["192.0.2.80", "192.0.2.81", "192.0.2.82", "192.0.2.53"];

fn read_all(bench: &mut Bench) -> Vec<Output> {
    bench.read(&ALL.map(|text| on(LO, ip(text))))
}

fn standing(bench: &Bench) -> Vec<Result<Option<Kept>, Held>> {
    let standing: Vec<_> = (0..bench.engine.rows.len()).map(|row| bench.standing(row)).collect();
    assert_eq!(standing, bench.engine.recompute(bench.now), "incremental == full");
    standing
}

fn states(bench: &Bench) -> Vec<&'static str> {
    (0..bench.engine.config.services.len()).map(|index| bench.engine.service_state(index).name()).collect()
}

const UP: Result<Option<Kept>, Held> = Ok(None);
const WAITS: Result<Option<Kept>, Held> = Err(Held::DependsOn);

#[test]
fn what_is_needed_takes_along_what_needs_it_and_brings_it_back() {
    let mut bench = Bench::new(chain);
    read_all(&mut bench);
    assert_eq!((standing(&bench), states(&bench)), (vec![UP; 4], vec!["up"; 3]));
    bench.address("192.0.2.53", false);
    assert_eq!(standing(&bench), [WAITS, WAITS, WAITS, Err(Held::NoAddress)]);
    assert_eq!(states(&bench), ["down"; 3]);
    bench.address("192.0.2.53", true);
    assert_eq!(standing(&bench), [UP; 4]);
}

#[test]
fn a_service_of_which_something_is_left_is_not_down() {
    let mut bench = Bench::new(chain);
    read_all(&mut bench);
    bench.address("192.0.2.81", false);
    assert_eq!(standing(&bench), [UP, Err(Held::NoAddress), UP, UP]);
    assert_eq!(states(&bench), ["up", "partial", "up"]);
    bench.address("192.0.2.82", false);
    assert_eq!(standing(&bench), [WAITS, Err(Held::NoAddress), Err(Held::NoAddress), UP]);
}

/// Traffic is led away from a drained service; it still answers those on the host who need it.
#[test]
fn a_drained_service_is_not_down() {
    let mut bench = Bench::new(|config| {
        chain(config);
        config.services[2].health.disable_file = Some("/off".into());
    });
    read_all(&mut bench);
    assert_eq!(states(&bench), ["starting"; 3]);
    bench.fact(Fact::DisableFile { service: 2, exists: Some(true) });
    assert_eq!(standing(&bench), [UP, UP, UP, Err(Held::Drained)]);
    assert_eq!(states(&bench), ["up", "up", "drained"]);
    bench.address("192.0.2.53", false);
    assert_eq!(standing(&bench), [WAITS, WAITS, WAITS, Err(Held::Drained)], "drained, and gone as well");
}

#[test]
fn a_disabled_service_is_down_and_a_depreferred_one_is_not() {
    let mut bench = Bench::new(|config| {
        chain(config);
        config.services[2].enabled = false;
    });
    read_all(&mut bench);
    assert_eq!(standing(&bench), [WAITS, WAITS, WAITS, Err(Held::Disabled)]);
    assert_eq!(states(&bench), ["down", "down", "disabled"]);

    let mut bench = Bench::new(|config| {
        chain(config);
        config.services[2].checks = vec![check("alive")];
        config.services[2].health.when_down = crate::config::WhenDown::Deprefer;
    });
    let outputs = read_all(&mut bench);
    assert_eq!((standing(&bench)[0], states(&bench)), (WAITS, vec!["starting"; 3]));
    fail_all(&mut bench, outputs);
    assert_eq!(standing(&bench), [UP, UP, UP, Ok(Some(Kept::Deprefer))]);
}

fn fail_all(bench: &mut Bench, mut outputs: Vec<Output>) {
    for _ in 0..4 {
        for probe in probes(&outputs) {
            outputs.extend(bench.probed(probe, false));
        }
        bench.now = bench.engine.deadline().max(bench.now);
        outputs = bench.input(Input::Tick);
    }
}

#[test]
fn start_hold_is_waited_for_one_after_the_other() {
    let mut bench = Bench::new(|config| {
        chain(config);
        config.services.iter_mut().for_each(|service| service.health.start_hold = 2 * SECOND);
    });
    read_all(&mut bench);
    let mut up_at = Vec::new();
    while up_at.len() < 3 {
        bench.now = bench.engine.deadline();
        bench.input(Input::Tick);
        let up = standing(&bench).iter().filter(|standing| **standing == UP).count();
        if up > 0 && up_at.last().is_none_or(|(before, _)| *before != up) {
            up_at.push((up, bench.now));
        }
        assert!(bench.now < at(60_000));
    }
    assert_eq!(up_at, [(1, at(2000)), (3, at(4000)), (4, at(6000))]);
}

/// To be announced it waits; those on the host who need it had it all the time.
#[test]
fn a_drain_that_ends_takes_nothing_from_those_who_need_the_service() {
    let mut bench = Bench::new(|config| {
        chain(config);
        config.services[2].health.disable_file = Some("/off".into());
        config.services[2].health.start_hold = 2 * SECOND;
    });
    bench.fact(Fact::DisableFile { service: 2, exists: Some(true) });
    read_all(&mut bench);
    assert_eq!(standing(&bench), [UP, UP, UP, Err(Held::Drained)]);
    bench.fact(Fact::DisableFile { service: 2, exists: Some(false) });
    assert_eq!(standing(&bench), [UP, UP, UP, Err(Held::StartHold)]);
    bench.address("192.0.2.53", false);
    bench.address("192.0.2.53", true);
    assert_eq!(standing(&bench), [WAITS, WAITS, WAITS, Err(Held::StartHold)], "it was gone meanwhile");
}

/// As with one that is announced: what came beside it takes nothing away before it is known.
#[test]
fn an_address_that_comes_to_a_drained_service_takes_nothing_from_those_who_need_it() {
    let mut bench = Bench::new(|config| {
        config.services = vec![
            service("web", &["192.0.2.80/32"], &[]),
            service("dns", &["198.51.100.0/24"], &[(crate::config::Protocol::Tcp, 80)]),
        ];
        config.services[0].depends_on = vec![1];
        config.services[1].weight = 0;
    });
    bench.read(&["192.0.2.80", "198.51.100.1"].map(|text| on(LO, ip(text))));
    bench.listener("198.51.100.1", Some(true));
    assert_eq!(standing(&bench), [UP, Err(Held::Drained)]);
    bench.address("198.51.100.2", true);
    assert_eq!(standing(&bench), [UP, Err(Held::Drained)]);
    bench.listener("198.51.100.2", Some(false));
    assert_eq!(standing(&bench), [WAITS, Err(Held::Drained)]);
}

/// Diamonds upon diamonds: the way down is looked through once, not once for each path.
#[test]
fn many_paths_to_one_need_cost_no_more_than_one() {
    let mut bench = Bench::new(|config| {
        let name = |number: usize| format!("s{number}");
        config.services = (0..60).map(|n| service(&name(n), &[&format!("192.0.2.{n}/32")], &[])).collect();
        for level in 0..29 {
            for side in 0..2 {
                config.services[2 * level + side].depends_on = vec![2 * level + 2, 2 * level + 3];
            }
        }
        for last in 58..60 {
            config.services[last].checks = vec![check("alive")];
        }
    });
    let all: Vec<_> = (0..60).map(|n| on(LO, ip(&format!("192.0.2.{n}")))).collect();
    bench.read(&all);
    assert_eq!(states(&bench), ["starting"; 60]);
}

fn hooked(config: &mut Config) {
    chain(config);
    let argv = |word: &str| Some(vec!["/bin/echo".to_owned(), word.to_owned()]);
    config.services[0].health.hooks = Hooks { up: argv("up"), down: argv("down"), drain: argv("drain") };
    config.services[0].health.disable_file = Some("/off".into());
}

fn hooks(outputs: &[Output]) -> Vec<Hook> {
    let hook = |output: &Output| if let Output::Hook { service: 0, hook } = output { Some(*hook) } else { None };
    outputs.iter().filter_map(hook).collect()
}

#[test]
fn hooks_follow_what_changed_and_nothing_else() {
    let drained = |exists| Input::Fact(Fact::DisableFile { service: 0, exists: Some(exists) });
    let address = |text: &str, present| Input::Fact(Fact::Address { address: on(LO, ip(text)), present });
    let mut bench = Bench::new(hooked);
    assert_eq!(hooks(&read_all(&mut bench)), [], "the disable file has not been looked at: nothing is known yet");
    for (input, expected, why) in [
        (drained(false), vec![Hook::Up], "comes up"),
        (drained(false), vec![], "nothing new"),
        (address("192.0.2.81", false), vec![], "what it needs is partial"),
        (address("192.0.2.80", false), vec![Hook::Down], "goes down"),
        (drained(true), vec![Hook::Drain], "drained while down"),
        (drained(false), vec![Hook::Down], "no drain any more"),
        (address("192.0.2.53", false), vec![], "down for one reason more"),
        (address("192.0.2.80", true), vec![], "still waits"),
        (address("192.0.2.53", true), vec![Hook::Up], "all is there again"),
        (Input::Stop, vec![], "a stop is not a service going down"),
    ] {
        assert_eq!(hooks(&bench.input(input)), expected, "{why}");
    }
}

#[test]
fn a_service_that_is_found_down_says_so_and_one_that_starts_anew_has_gone_down() {
    let mut bench = Bench::new(|config| {
        hooked(config);
        config.services[0].health.disable_file = None;
        config.services[0].checks = vec![check("alive")];
    });
    let own: Vec<_> = ALL[1..].iter().map(|text| on(LO, ip(text))).collect();
    assert_eq!(hooks(&bench.read(&own)), [Hook::Down]);
    let outputs = bench.address("192.0.2.80", true);
    assert_eq!(hooks(&outputs), [], "unproven is not up");
    bench.pass_all(outputs, 3 * SECOND);
    assert_eq!(standing(&bench)[0], UP);
    assert_eq!(hooks(&bench.address("192.0.2.80", false)), [Hook::Down]);
}

#[test]
fn what_waits_after_a_drain_or_is_only_found_out_in_part_has_not_gone_down() {
    let mut bench = Bench::new(|config| {
        hooked(config);
        config.services[0].health.start_hold = 2 * SECOND;
    });
    let drained =
        |bench: &mut Bench, exists| hooks(&bench.fact(Fact::DisableFile { service: 0, exists: Some(exists) }));
    read_all(&mut bench);
    assert_eq!(drained(&mut bench, true), [Hook::Drain]);
    assert_eq!((drained(&mut bench, false), states(&bench)[0]), (vec![], "starting"));
    bench.now = at(3000);
    assert_eq!(hooks(&bench.input(Input::Tick)), [Hook::Up]);

    let mut bench = Bench::new(|config| {
        hooked(config);
        config.services[0].health.disable_file = None;
        config.services[0].prefixes.push("192.0.2.180/32".parse().unwrap());
        config.services[0].checks = vec![check("alive")];
    });
    let outputs = read_all(&mut bench);
    assert_eq!(hooks(&outputs), [], "one is not here, of the other nothing is known");
    let probe = probes(&outputs)[0];
    bench.probed(probe, true);
    bench.now = at(2000);
    let outputs = bench.input(Input::Tick);
    assert_eq!(hooks(&bench.probed(probes(&outputs)[0], true)), [Hook::Up]);
}

/// Its own prefixes stand as before: what they wait for is what changed.
#[test]
fn a_service_goes_down_with_what_it_waits_for() {
    let mut bench = Bench::new(|config| {
        hooked(config);
        config.services[2].checks = vec![check("alive")];
        config.services[2].checks[0].fall = 1.try_into().unwrap();
    });
    let outputs = read_all(&mut bench);
    let mut ran = Vec::new();
    for exists in [true, false] {
        ran.extend(hooks(&bench.fact(Fact::DisableFile { service: 0, exists: Some(exists) })));
    }
    assert_eq!((ran, states(&bench)), (vec![Hook::Drain], vec!["starting"; 3]));
    assert_eq!(hooks(&bench.probed(probes(&outputs)[0], false)), [Hook::Down]);
    assert_eq!(states(&bench), ["down"; 3]);
}

/// A neighbor that hears nothing yet delays no hook; one that is told is told first.
#[test]
fn a_hook_comes_after_all_that_the_routers_are_told() {
    let mut bench = Bench::new(hooked);
    read_all(&mut bench);
    bench.fact(Fact::DisableFile { service: 0, exists: Some(false) });
    let outputs = bench.address("192.0.2.80", false);
    let (hook, send) = (
        outputs.iter().position(|output| matches!(output, Output::Hook { .. })),
        outputs.iter().rposition(|output| matches!(output, Output::Send { .. })),
    );
    assert!(hook.is_some() && send < hook, "{outputs:?}");
}

#[test]
fn how_a_hook_ended_is_counted_shown_and_said() {
    let mut bench = Bench::new(hooked);
    read_all(&mut bench);
    let ended = |result| Input::HookEnded { service: 0, hook: Hook::Down, result };
    bench.input(ended(Err("exit 1".to_owned())));
    bench.now = at(5000);
    let mut said = bench.input(ended(Err("exit 2".to_owned())));
    said.retain(|output| matches!(output, Output::Event(_)));
    let event = Event {
        kind: EventKind::Hook,
        service: Some("web".to_owned()),
        to: "failed".to_owned(),
        reason: "down".to_owned(),
        detail: "exit 2".to_owned(),
        ..Event::default()
    };
    assert_eq!(said, [Output::Event(event)]);
    let views = bench.engine.services(clock(&bench)).swap_remove(0).hooks;
    let view = |view: &crate::status::Hook| (view.hook.clone(), view.last.clone(), view.ok, view.failures);
    let last = Some("1970-01-01T00:01:40.000Z".to_owned());
    let expected = [("up", None, None, 0), ("down", last, Some(false), 2), ("drain", None, None, 0)];
    assert_eq!(views.iter().map(view).collect::<Vec<_>>(), expected.map(|(n, l, ok, f)| (n.to_owned(), l, ok, f)));
    let failures: Vec<u64> = bench.engine.counters().hooks.iter().map(|hook| hook.failures).collect();
    assert_eq!(failures, [0, 2, 0]);
    bench.input(Input::HookEnded { service: 99, hook: Hook::Up, result: Ok(String::new()) });
}

/// A hundred seconds after 1970.
fn clock(bench: &Bench) -> Clock {
    Clock { now: bench.now, wall: Duration::from_secs(100) }
}

#[test]
fn explain_says_what_is_waited_for() {
    let mut bench = Bench::new(chain);
    read_all(&mut bench);
    bench.address("192.0.2.53", false);
    let Explained::Prefix(explained) = bench.engine.explain(clock(&bench), "192.0.2.80/32") else { panic!() };
    let not_ok: Vec<_> = explained.steps.iter().filter(|step| !step.ok).map(|s| (&*s.step, &*s.detail)).collect();
    assert_eq!((explained.announced, not_ok), (false, vec![("depends-on", "waits for api")]));
    bench.address("192.0.2.53", true);
    let steps = |bench: &Bench, prefix: &str| match bench.engine.explain(clock(bench), prefix) {
        Explained::Prefix(explained) => {
            explained.steps.iter().filter(|step| step.step == "depends-on").map(|step| step.ok).collect()
        }
        Explained::Service(_) | Explained::Unknown(_) => vec![],
    };
    assert_eq!(steps(&bench, "192.0.2.80/32"), [true]);
    assert_eq!(steps(&bench, "192.0.2.53/32"), Vec::<bool>::new(), "it needs nothing");
}

#[test]
fn events_are_numbered_bounded_and_come_with_their_time() {
    let mut bench = Bench::new(chain);
    read_all(&mut bench);
    let before = bench.engine.events(clock(&bench), None);
    let ids: Vec<u64> = before.iter().map(|event| event.id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>());
    bench.now = at(5000);
    bench.address("192.0.2.80", false);
    let new = bench.engine.events(clock(&bench), ids.last().copied());
    let [event] = new.as_slice() else { panic!("{new:?}") };
    let said = [&event.at, &event.kind, &event.from, &event.to, &event.reason].map(String::as_str);
    assert_eq!(said, ["1970-01-01T00:01:40.000Z", "prefix", "announced", "held", "no-address"]);
    let at_of = |engine: &Engine| engine.events(clock(&bench), None)[0].at.clone();
    assert_eq!(at_of(&bench.engine), "1970-01-01T00:01:35.000Z");

    for _ in 0..1500 {
        bench.address("192.0.2.80", true);
        bench.address("192.0.2.80", false);
    }
    let all = bench.engine.events(clock(&bench), None);
    let last = all.last().unwrap().id;
    assert_eq!((all.len(), all[0].id), (2048, last - 2047));
    assert_eq!(bench.engine.events(clock(&bench), Some(last)), []);
    assert_eq!(bench.engine.events(clock(&bench), Some(last + 1)).len(), 2048, "from before a restart");
}
