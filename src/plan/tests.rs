//! The rules, one table each.

mod bound;
mod checks;
mod routes;

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::bgp::wire::Origin;
use crate::config::{
    Binding, Check, CheckKind, Health, Hooks, Listen, Policy, Protocol, Quorum, Target, TcpCheck, WhenDown,
};
use crate::facts::{Address, Cause, Interface, LocalRoute, Snapshot, Watch};
use crate::health::Verdict;

const SECOND: Duration = Duration::from_secs(1);

type Mend = fn(&mut Case);
type Standing = Result<Option<Kept>, Held>;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

fn service() -> Service {
    Service {
        name: "s".into(),
        prefixes: vec![net("192.0.2.1/32")],
        enabled: true,
        neighbors: vec![0],
        weight: 100,
        bandwidth: None,
        policy: Policy::default(),
        local_preference: 100,
        origin: Origin::Igp,
        depends_on: vec![],
        binding: Binding { interface: None, manage: false, listen: vec![], grace: Duration::ZERO },
        health: Health {
            quorum: Quorum::All,
            per_prefix: true,
            start_hold: Duration::ZERO,
            when_down: WhenDown::Withdraw,
            disable_file: None,
            hooks: Hooks::default(),
        },
        checks: vec![],
    }
}

fn check(on_fail: WhenDown, target: Target) -> Check {
    Check {
        name: "c".into(),
        interval: SECOND,
        timeout: SECOND,
        fast_interval: None,
        jitter: 0,
        rise: NonZeroU8::MIN,
        fall: NonZeroU8::MIN,
        on_fail,
        target,
        kind: CheckKind::Tcp(TcpCheck { port: 1, send: None, expect: None }),
    }
}

fn counting() -> Check {
    check(WhenDown::Withdraw, Target::Service)
}

fn depreferring() -> Check {
    check(WhenDown::Deprefer, Target::Service)
}

/// A world in which everything is well; each test breaks some of it.
#[derive(Clone, Debug)]
struct Case {
    service: Service,
    prefix: IpNet,
    facts: Facts,
    /// Addresses whose checks count, and the verdicts there by check.
    verdicts: Vec<(IpAddr, Vec<Verdict>)>,
    disable_file: DisableFile,
    stopping: bool,
    missing: Option<&'static str>,
    ready_since: Option<Time>,
    served: bool,
    now: Time,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            service: service(),
            prefix: net("192.0.2.1/32"),
            facts: facts(&[(1, "192.0.2.1")], &[]),
            verdicts: vec![(ip("192.0.2.1"), vec![])],
            disable_file: DisableFile { exists: Some(false), stale: false },
            stopping: false,
            missing: None,
            ready_since: None,
            served: false,
            now: at(100),
        }
    }
}

/// Interfaces 1 = lo, 2 = eth0.
fn facts(addresses: &[(u32, &str)], routes: &[(u32, &str)]) -> Facts {
    let on = |(interface, text): &(u32, &str)| {
        let address = ip(text);
        Address { interface: *interface, address, length: IpNet::from(address).prefix_len(), usable: true }
    };
    let interface = |(index, name): (u32, &str)| Interface { index, name: name.into(), loopback: index == 1 };
    let mut facts = Facts::default();
    facts.snapshot(Snapshot {
        interfaces: [(1, "lo"), (2, "eth0")].map(interface).into(),
        addresses: addresses.iter().map(on).collect(),
        routes: routes
            .iter()
            .map(|(interface, prefix)| LocalRoute { interface: *interface, prefix: net(prefix) })
            .collect(),
    });
    facts
}

impl Case {
    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut case = Self::default();
        change(&mut case);
        case
    }

    fn ask<T>(&self, ask: impl Fn(&Question<'_>) -> T) -> T {
        let bound = Bound::find(&self.prefix, &[], self.service.binding.interface.as_deref(), &self.facts);
        let verdict = |index: usize, address: IpAddr| {
            let of = self.verdicts.iter().find(|(known, _)| *known == address);
            (of.and_then(|(_, verdicts)| verdicts.get(index)).copied().unwrap_or_default(), "said")
        };
        let addresses: Vec<IpAddr> = self.verdicts.iter().map(|(address, _)| *address).collect();
        ask(&Question {
            service: &self.service,
            prefix: &self.prefix,
            bound: &bound,
            standings: &Standings::of(&self.service, &addresses, verdict),
            facts: &self.facts,
            disable_file: self.disable_file,
            stopping: self.stopping,
            missing: self.missing,
            ready_since: self.ready_since,
            served: self.served,
            now: self.now,
        })
    }

    fn judge(&self) -> Judged {
        self.ask(judge)
    }

    fn result(&self) -> Result<Option<Kept>, Held> {
        self.judge().result
    }

    /// `u` unknown, `+` up, `-` down: one letter a check.
    fn verdicts(&mut self, words: &[&str]) {
        let verdict = |letter| match letter {
            '+' => Verdict::Up,
            '-' => Verdict::Down,
            _ => Verdict::Unknown,
        };
        let addresses = (1..).map(|last| ip(&format!("192.0.2.{last}")));
        self.verdicts =
            addresses.zip(words).map(|(address, word)| (address, word.chars().map(verdict).collect())).collect();
    }

    fn listen(&mut self, address: Option<&str>, answers: &[(u64, Option<bool>, Cause)]) {
        let address = address.map(ip);
        self.service.binding.listen = vec![Listen { protocol: Protocol::Tcp, port: 80, address }];
        let watch = Watch { protocol: Protocol::Tcp, address: address.unwrap_or(self.prefix.addr()), port: 80 };
        for (second, listening, cause) in answers {
            self.facts.set_listener(at(*second), watch, *listening, *cause);
        }
    }
}

#[test]
fn well_is_announced() {
    assert_eq!(
        Case::default().judge(),
        Judged { result: Ok(None), detail: String::new(), until: Time::MAX, ready_since: Some(at(100)), serves: true }
    );
}

/// Everything is wrong at once; mending the first thing in the order of the contract shows the next.
#[test]
fn the_reason_is_the_first_that_applies() {
    let mut case = Case::with(|case| {
        case.service.enabled = false;
        case.service.weight = 0;
        case.service.health.disable_file = Some("/off".into());
        case.disable_file = DisableFile::default();
        case.stopping = true;
        case.missing = Some("resolver");
        case.facts = Facts::default();
        case.service.checks = vec![counting()];
        case.service.health.start_hold = 10 * SECOND;
        case.verdicts(&["u"]);
    });
    let mends: [(Held, Mend); 10] = [
        (Held::Disabled, |case| case.service.enabled = true),
        (Held::Drained, |case| case.service.weight = 1),
        (Held::Stopping, |case| case.stopping = false),
        (Held::DependsOn, |case| case.missing = None),
        (Held::Unknown, |case| {
            case.disable_file.exists = Some(false);
            case.facts = facts(&[(2, "10.0.0.1")], &[]);
        }),
        (Held::NoAddress, |case| {
            case.facts = facts(&[(1, "192.0.2.1")], &[]);
            case.listen(None, &[(1, Some(false), Cause::Read)]);
        }),
        (Held::NotListening, |case| case.listen(None, &[(2, Some(true), Cause::Read)])),
        (Held::Unproven, |case| case.verdicts(&["-"])),
        (Held::Unhealthy, |case| case.verdicts(&["+"])),
        (Held::StartHold, |case| case.ready_since = Some(at(90))),
    ];
    assert_eq!(mends.map(|(held, _)| held), Held::ALL);
    for (held, mend) in mends {
        assert_eq!(case.result(), Err(held));
        mend(&mut case);
    }
    assert_eq!(case.result(), Ok(None));
}

#[test]
fn an_unknown_listener_comes_before_an_absent_one() {
    let mut case = Case::default();
    case.listen(None, &[(1, Some(false), Cause::Read)]);
    assert_eq!(case.result(), Err(Held::NotListening));
    case.service.binding.listen.push(Listen { protocol: Protocol::Udp, port: 53, address: None });
    assert_eq!(case.result(), Err(Held::Unknown));
}

#[test]
fn a_disable_file_drains_and_what_is_not_known_of_it_changes_nothing() {
    let table = [
        (None, false, Err(Held::Unknown)),
        (None, true, Err(Held::Unknown)),
        (Some(false), false, Ok(None)),
        (Some(false), true, Ok(Some(Kept::Unknown))),
        (Some(true), false, Err(Held::Drained)),
        (Some(true), true, Err(Held::Drained)),
    ];
    for (exists, stale, result) in table {
        let mut case = Case::with(|case| case.disable_file = DisableFile { exists, stale });
        assert_eq!(case.result(), Ok(None), "no disable-file configured");
        case.service.health.disable_file = Some("/off".into());
        assert_eq!(case.result(), result, "{exists:?} stale {stale}");
    }
}

#[test]
fn grace_bridges_a_gap_and_only_a_gap() {
    let (read, notice) = (Cause::Read, Cause::Notice);
    let gap = [(90, Some(true), read), (95, Some(false), notice)];
    let table = [
        ("never there", vec![(99, Some(false), read)], 10, 100, Err(Held::NotListening), Time::MAX),
        ("a gap", gap.to_vec(), 10, 100, Ok(Some(Kept::Grace)), at(105)),
        ("its last moment", gap.to_vec(), 5, 99, Ok(Some(Kept::Grace)), at(100)),
        ("over", gap.to_vec(), 5, 100, Err(Held::NotListening), Time::MAX),
        ("no grace", gap.to_vec(), 0, 95, Err(Held::NotListening), Time::MAX),
        ("one read of two", vec![(90, Some(true), read), (95, Some(false), read)], 0, 100, Ok(None), Time::MAX),
        ("cannot be asked", vec![(90, Some(true), read), (95, None, read)], 0, 100, Ok(Some(Kept::Unknown)), Time::MAX),
        ("never answered", vec![(95, None, read)], 10, 100, Err(Held::Unknown), Time::MAX),
    ];
    for (what, answers, grace, now, result, until) in table {
        let mut case = Case::with(|case| case.now = at(now));
        case.service.binding.grace = Duration::from_secs(grace);
        case.listen(None, &answers);
        let judged = case.judge();
        assert_eq!((judged.result, judged.until), (result, until), "{what}");
        case.listen(Some("127.0.0.1"), &answers);
        assert_eq!(case.result(), result, "{what}, at a fixed address");
    }
}

#[test]
fn start_hold_counts_from_when_all_was_well() {
    let hold = |ready_since| {
        let case = Case::with(|case| {
            case.service.health.start_hold = 10 * SECOND;
            case.ready_since = ready_since;
        });
        let judged = case.judge();
        (judged.result, judged.until, judged.ready_since)
    };
    assert_eq!(hold(None), (Err(Held::StartHold), at(110), Some(at(100))));
    assert_eq!(hold(Some(at(91))), (Err(Held::StartHold), at(101), Some(at(91))));
    assert_eq!(hold(Some(at(90))), (Ok(None), Time::MAX, Some(at(90))));
    let ill = Case::with(|case| {
        case.service.health.start_hold = 10 * SECOND;
        case.service.checks = vec![counting()];
        case.verdicts(&["-"]);
        case.ready_since = Some(at(1));
    });
    assert_eq!((ill.judge().result, ill.judge().ready_since), (Err(Held::Unhealthy), None), "it waits anew");
}

#[test]
fn the_least_kept_reason_is_said() {
    let mut case = Case::with(|case| {
        case.facts.read_failed();
        case.service.binding.grace = 10 * SECOND;
        case.listen(None, &[(90, Some(true), Cause::Read), (95, Some(false), Cause::Notice)]);
        case.service.checks = vec![depreferring()];
        case.verdicts(&["-"]);
    });
    assert_eq!(case.result(), Ok(Some(Kept::Deprefer)));
    case.verdicts(&["+"]);
    assert_eq!(case.result(), Ok(Some(Kept::Grace)));
    case.listen(None, &[(96, Some(true), Cause::Read)]);
    assert_eq!(case.result(), Ok(Some(Kept::Unknown)));
}

prop_compose! {
    fn any_case()(
        flags in any::<[bool; 7]>(),
        exists in any::<Option<bool>>(),
        place in 0..3_u8,
        listener in 0..5_u8,
        verdicts in prop::collection::vec("[u+-]{2}", 1..3),
        (ready, served) in any::<(Option<u8>, bool)>(),
        quorum in prop_oneof![Just(Quorum::All), Just(Quorum::Any)],
    ) -> Case {
        let [enabled, stopping, waits, stale_file, stale_read, hold, soft] = flags;
        Case::with(|case| {
            case.service.enabled = enabled;
            case.service.checks = vec![counting(), depreferring()];
            case.service.health.quorum = quorum;
            case.service.health.disable_file = Some("/off".into());
            case.service.health.start_hold = if hold { 10 * SECOND } else { Duration::ZERO };
            case.service.health.when_down = if soft { WhenDown::Deprefer } else { WhenDown::Withdraw };
            case.service.binding.grace = 3 * SECOND;
            case.disable_file = DisableFile { exists, stale: stale_file };
            case.stopping = stopping;
            case.missing = waits.then_some("resolver");
            case.facts = match place {
                0 => Facts::default(),
                1 => facts(&[(1, "10.0.0.1")], &[]),
                _ => facts(&[(1, "192.0.2.1")], &[]),
            };
            if stale_read {
                case.facts.read_failed();
            }
            let there = (90, Some(true), Cause::Read);
            match listener {
                0 => case.listen(None, &[]),
                1 => case.listen(None, &[(90, Some(false), Cause::Read)]),
                2 => case.listen(None, &[there, (98, Some(false), Cause::Notice)]),
                3 => case.listen(None, &[there, (98, None, Cause::Read)]),
                _ => case.listen(None, &[there]),
            }
            case.verdicts(&verdicts.iter().map(String::as_str).collect::<Vec<_>>());
            (case.ready_since, case.served) = (ready.map(|second| at(second.min(100).into())), served);
        })
    }
}

proptest! {
    /// `explain` and the wire cannot disagree: the decision follows from the steps that are shown.
    #[test]
    fn the_decision_is_what_the_steps_say(case in any_case()) {
        let (judged, steps) = (case.judge(), case.ask(steps));
        let held = steps.iter().filter_map(|step| step.result.err()).min();
        let kept = steps.iter().filter_map(|step| step.result.ok().flatten()).min();
        prop_assert_eq!(judged.result, held.map_or(Ok(kept), Err));
        let deciding = steps.iter().find(|step| step.result == judged.result);
        if judged.result != Ok(None) {
            prop_assert_eq!(Some(&judged.detail), deciding.map(|step| &step.detail));
        }
        prop_assert_eq!(judged.ready_since.is_some(), matches!(judged.result, Ok(_) | Err(Held::StartHold)));
        prop_assert!(judged.until > case.now, "a deadline that has passed would be asked about for ever");
        // Judged again with what it remembers, nothing changes: a recomputation agrees.
        let again = Case { ready_since: judged.ready_since, served: judged.serves, ..case };
        if judged.ready_since.is_none() || again.ready_since == Some(again.now) || judged.result.is_ok() {
            prop_assert_eq!(again.judge(), judged);
        }
    }
}
