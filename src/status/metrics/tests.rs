use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::status::{CheckCounters, HookCounters, NeighborCounters};

fn sample() -> Snapshot {
    let mut durations = Histogram::default();
    durations.observe(Duration::from_micros(700));
    durations.observe(Duration::from_secs(2));
    let mut withdraw_latency = Histogram::default();
    withdraw_latency.observe(Duration::from_micros(60));
    let check = |service: &str, check: &str, timeouts, durations| CheckCounters {
        service: service.to_owned(),
        check: check.to_owned(),
        timeouts,
        durations,
    };
    Snapshot {
        status: serde_json::from_str(include_str!("../../../proto-tests/status.json")).unwrap(),
        counters: Counters {
            started_at: 1_795_290_900.5,
            neighbors: vec![NeighborCounters {
                name: "tor-a".to_owned(),
                sent: Messages { open: 1, update: 5, keepalive: 3840, ..Messages::default() },
                received: Messages { open: 1, keepalive: 3839, route_refresh: 1, ..Messages::default() },
            }],
            checks: vec![check("dns", "query", 1, durations)],
            hooks: vec![HookCounters { service: "dns".to_owned(), hook: "down".to_owned(), failures: 3 }],
            announce_latency: Histogram::default(),
            withdraw_latency,
            send_errors: BTreeMap::from([("connect".to_owned(), 2), ("netlink".to_owned(), 0)]),
            netlink_resyncs: 1,
        },
        max_prefixes: 1000,
    }
}

/// The lines of these families only: the rest is in `the_whole_text`.
fn lines(text: &str, name: &str) -> Vec<String> {
    text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
}

#[test]
fn the_whole_text() {
    assert_eq!(render(sample()), include_str!("expected.txt"));
}

#[test]
fn beyond_max_prefixes_services_are_counted() {
    let mut snapshot = sample();
    snapshot.max_prefixes = 2;
    let second = snapshot.status.services[0].prefixes[0].clone();
    snapshot.status.services[0].prefixes.push(second);
    let text = render(snapshot);
    assert_eq!(
        lines(&text, "anycaster_prefix_"),
        [
            "anycaster_prefix_announced{service=\"dns\",neighbor=\"tor-a\"} 1",
            "anycaster_prefix_announced{service=\"dns\",neighbor=\"tor-b\"} 0",
            "anycaster_prefix_announced{service=\"dns\",neighbor=\"old\"} 0",
            "anycaster_prefix_announced{service=\"we\\\"b\",neighbor=\"tor-a\"} 0",
            "anycaster_prefix_held{service=\"dns\",reason=\"not-listening\"} 2",
            "anycaster_prefix_held{service=\"we\\\"b\",reason=\"drained\"} 1",
            "anycaster_prefix_kept{service=\"dns\",reason=\"deprefer\"} 1",
        ]
    );
    check(&text);
}

#[test]
fn the_text_is_openmetrics() {
    check(&render(sample()));
    let mut odd = sample();
    odd.status.version = "1\n2\\\"".to_owned();
    odd.status.config.hash = "not a number".to_owned();
    odd.status.config.loaded_at = String::new();
    check(&render(odd));
    let none = Snapshot { counters: Counters::default(), ..sample() };
    check(&render(none));
}

/// What a scraper insists on: each family declared once and not interleaved, no series twice, labels quoted and
/// escaped, values that are numbers, cumulative buckets, the end marked.
fn check(text: &str) {
    let body = text.strip_suffix("# EOF\n").expect("ends with EOF");
    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut buckets) = ("", (String::new(), 0.0));
    for line in body.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            family = declared.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} declared twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (name, labels, value) = sample_line(line);
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} under {family}"));
        assert!(["", "_total", "_info", "_sum", "_count", "_bucket"].contains(&suffix), "{line}");
        assert!(series.insert((name.to_owned(), labels.clone())), "twice: {line}");
        if suffix == "_bucket" {
            let rest: Vec<_> = labels.iter().filter(|(label, _)| label != "le").collect();
            let key = format!("{rest:?}");
            assert!(buckets.0 != key || buckets.1 <= value, "not cumulative: {line}");
            buckets = (key, value);
        }
    }
    assert!(families.len() > 15);
}

fn sample_line(line: &str) -> (&str, Vec<(String, String)>, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.trim_start_matches(',').split_once("=\"").unwrap();
            let (mut value, mut letters) = (String::new(), after.char_indices());
            let close = loop {
                match letters.next().expect("a closing quote") {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match letters.next().unwrap().1 {
                        'n' => '\n',
                        letter @ ('\\' | '"') => letter,
                        other => panic!("escape \\{other} in {line}"),
                    }),
                    (_, letter) => value.push(letter),
                }
            };
            labels.push((label.to_owned(), value));
            rest = &after[close + 1..];
        }
        rest = rest.strip_prefix('}').unwrap();
    }
    (name, labels, rest.strip_prefix(' ').unwrap().parse().unwrap())
}
