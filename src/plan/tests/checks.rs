//! How checks add up.

use super::*;

#[test]
fn checks_add_up_by_quorum_address_by_address() {
    use Quorum::{All, Any};
    let two = Quorum::AtLeast(NonZeroU8::new(2).unwrap());
    let (unproven, unhealthy) = (Err(Held::Unproven), Err(Held::Unhealthy));
    // One word an address, one letter a check: two that count, then one that deprefers.
    let table: [(Quorum, &[&str], Standing); 21] = [
        (All, &["+++"], Ok(None)),
        (All, &["+u+"], unproven),
        (All, &["-u+"], unhealthy),
        (All, &["+-+"], unhealthy),
        (All, &["++u"], unproven),
        (All, &["++-"], Ok(Some(Kept::Deprefer))),
        (All, &["+--"], unhealthy),
        (All, &["--u"], unhealthy),
        (Any, &["+-+"], Ok(None)),
        (Any, &["+u+"], Ok(None)),
        (Any, &["+uu"], unproven),
        (Any, &["-u+"], unproven),
        (Any, &["--+"], unhealthy),
        (Any, &["-+-"], Ok(Some(Kept::Deprefer))),
        (two, &["+++"], Ok(None)),
        (two, &["+u+"], unproven),
        (two, &["+-+"], unhealthy),
        (All, &["+++", "+++"], Ok(None)),
        (All, &["+++", "+-+"], unhealthy),
        (All, &["++-", "+++"], Ok(Some(Kept::Deprefer))),
        (Any, &["+-+", "-++"], Ok(None)),
    ];
    for (quorum, words, result) in table {
        let case = Case::with(|case| {
            case.service.checks = vec![counting(), counting(), depreferring()];
            case.service.health.quorum = quorum;
            case.verdicts(words);
        });
        assert_eq!(case.result(), result, "{quorum:?} {words:?}");
        let kept = Case::with(|it| {
            *it = case.clone();
            it.service.health.when_down = WhenDown::Deprefer;
        });
        let softened = if result == unhealthy { Ok(Some(Kept::Deprefer)) } else { result };
        assert_eq!(kept.result(), softened, "when-down = deprefer: {quorum:?} {words:?}");
    }
    // What fails decides, with or without the others' verdicts; where it only deprefers, those are waited for.
    let both = |when_down| {
        Case::with(|case| {
            case.service.checks = vec![counting()];
            case.service.health.when_down = when_down;
            case.verdicts(&["-", "u"]);
        })
        .result()
    };
    assert_eq!([both(WhenDown::Withdraw), both(WhenDown::Deprefer)], [unhealthy, unproven]);
}

#[test]
fn a_quorum_of_nothing_is_met_and_more_than_there_are_means_all() {
    let quorum = |quorum, word: &str| {
        Case::with(|case| {
            case.service.health.quorum = quorum;
            case.service.checks = if word.len() == 1 { vec![depreferring()] } else { vec![counting(), counting()] };
            case.verdicts(&[word]);
        })
        .result()
    };
    let nine = Quorum::AtLeast(NonZeroU8::new(9).unwrap());
    for any in [Quorum::All, Quorum::Any, nine] {
        assert_eq!([quorum(any, "+"), quorum(any, "-")], [Ok(None), Ok(Some(Kept::Deprefer))], "{any:?}");
        assert_eq!(quorum(any, "u"), Err(Held::Unproven), "nothing is announced before its verdict");
    }
    assert_eq!([quorum(nine, "++"), quorum(nine, "+-")], [Ok(None), Err(Held::Unhealthy)]);
}

#[test]
fn without_an_address_only_fixed_targets_can_be_asked() {
    let route = |target| {
        let case = Case::with(|case| {
            case.prefix = net("203.0.113.0/24");
            case.facts = facts(&[(2, "10.0.0.1")], &[(1, "203.0.113.0/24")]);
            case.service.checks = vec![check(WhenDown::Withdraw, target)];
            case.verdicts = vec![];
        });
        let judged = case.judge();
        (judged.result, judged.detail)
    };
    let words = "c: no address of the prefix is on this host: it needs a target";
    assert_eq!(route(Target::Service), (Err(Held::Unproven), words.into()));
    assert_eq!(route(Target::Address(ip("10.9.9.9"))), (Err(Held::Unproven), "c on 10.9.9.9: said".into()));
    let fixed = Case::with(|case| {
        case.service.checks = vec![check(WhenDown::Withdraw, Target::Address(ip("10.9.9.9")))];
        case.verdicts = vec![(ip("10.9.9.9"), vec![Verdict::Up])];
    });
    assert_eq!(fixed.result(), Ok(None));
}

#[test]
fn a_detail_names_a_few_of_many_checks() {
    let case = Case::with(|case| {
        case.service.checks = vec![counting(); 200];
        case.verdicts(&[&"-".repeat(200)]);
    });
    let four = ["c on 192.0.2.1: said"; 4].join(", ");
    assert_eq!(case.judge().detail, format!("0 of 200 needed: {four} and 196 more"));
}

#[test]
fn an_address_that_joins_announced_ones_waits_without_taking_them() {
    let joined = |words: &[&str], ready_since| {
        Case::with(|case| {
            case.service.checks = vec![counting()];
            case.verdicts(words);
            case.ready_since = ready_since;
        })
        .result()
    };
    assert_eq!(joined(&["+", "u"], None), Err(Held::Unproven));
    assert_eq!(joined(&["+", "u"], Some(at(1))), Ok(Some(Kept::Unknown)));
    assert_eq!(joined(&["u", "u"], Some(at(1))), Err(Held::Unproven), "nobody vouches");
    assert_eq!(joined(&["+", "-", "u"], Some(at(1))), Err(Held::Unhealthy));
}

/// CONTRACT: the words in JSON, logs and metrics, in this order.
#[test]
fn reasons_have_the_words_of_the_contract() {
    let held = "disabled drained stopping depends-on unknown no-address not-listening unproven unhealthy start-hold";
    assert_eq!(Held::ALL.map(Held::name).join(" "), held);
    assert!(Held::ALL.is_sorted(), "the first that applies is said");
    let kept = [Kept::Deprefer, Kept::Grace, Kept::Unknown];
    assert_eq!((kept.map(Kept::name).join(" "), kept.is_sorted()), ("deprefer grace unknown".to_owned(), true));
}

#[test]
fn of_many_healthy_addresses_four_are_named() {
    let words = |count: u8| {
        let case = Case::with(|case| {
            case.prefix = net("192.0.2.0/24");
            let all: Vec<String> = (1..=count).map(|n| format!("192.0.2.{n}")).collect();
            case.facts = facts(&all.iter().map(|text| (1, text.as_str())).collect::<Vec<_>>(), &[]);
            case.service.prefixes = vec![case.prefix];
            case.service.checks = vec![counting()];
            case.verdicts = all.iter().map(|text| (ip(text), vec![Verdict::Up])).collect();
        });
        case.ask(steps).into_iter().find(|step| step.name == "checks").unwrap().detail
    };
    assert_eq!(words(4).matches("192.0.2.").count(), 4);
    assert!(!words(4).contains("more"), "{}", words(4));
    assert!(words(5).ends_with("; and 1 more") && words(7).ends_with("; and 3 more"), "{}", words(7));
    assert_eq!(words(7).matches("192.0.2.").count(), 4);
}

/// Only what stands in the way is named: the failing of several, and those without a verdict that is still needed.
#[test]
fn a_detail_names_the_checks_that_decide() {
    let detail = |words: &str, quorum| {
        let case = Case::with(|case| {
            case.service.checks = vec![counting(), counting(), depreferring()];
            for (check, name) in case.service.checks.iter_mut().zip(["one", "two", "shared"]) {
                check.name = name.into();
            }
            case.service.health.quorum = quorum;
            case.verdicts(&[words]);
        });
        let names = |detail: String| ["one", "two", "shared"].map(|name| detail.contains(name));
        names(case.ask(steps).into_iter().find(|step| step.name == "checks").unwrap().detail)
    };
    for (words, quorum, named) in [
        ("+-+", Quorum::All, [false, true, false]),
        ("--+", Quorum::All, [true, true, false]),
        ("++-", Quorum::All, [false, false, true]),
        ("+u+", Quorum::All, [false, true, false]),
        ("+uu", Quorum::All, [false, true, true]),
        ("+uu", Quorum::Any, [false, false, true]),
        ("++u", Quorum::All, [false, false, true]),
    ] {
        assert_eq!(detail(words, quorum), named, "{words}");
    }
}
