use super::*;
use crate::cli::paint::Paint;
use crate::cli::{explain, routes};
use crate::status::{Explanation, Route, Step, rfc3339};

fn sample() -> Status {
    serde_json::from_str(include_str!("../../../proto-tests/status.json")).unwrap()
}

fn screen(colour: bool) -> Screen {
    Screen { now: rfc3339::parse("2026-11-21T23:12:00Z").unwrap(), paint: Paint::new(colour) }
}

#[test]
fn one_screen() {
    assert_eq!(
        render(&sample(), screen(false)),
        "\
anycaster 0.1.0, AS 65010, router id 10.0.0.11, up 3h 12m
configuration /etc/anycaster/config.toml (cbf29ce484222325), current, loaded 3h 11m ago

NEIGHBOR  ADDRESS              AS  STATE        FOR     IPV4  IPV6  FLAPS  LAST ERROR
tor-a     10.0.0.1          65001  Established  3h 11m     1     1      0
tor-b     2001:db8:ffff::2      -  Idle         12s        0     0      3  tor-b offers AS 65009, configured 65001
old       10.0.0.9          65001  disabled     3h 12m     0     0      0

SERVICE  STATE    WEIGHT  ANNOUNCED  CHECKS UP
dns      partial     100     1 of 2     1 of 3
we\"b     drained       0     0 of 1          -

failed  hook down  dns  exit 1: no such pager  1m 59s ago
held  192.0.2.53/32     dns   not-listening: no socket for udp/53  for 3s
kept  2001:db8::53/128  dns   deprefer: check upstream is down     for 2m 0s
held  2001:db8::53/128  dns   to tor-b: no-session                 for 12s
held  2001:db8::53/128  dns   to old: no-session                   for 3h 12m
held  192.0.2.80/32     we\"b  drained: weight 0                    for 3h 12m
"
    );
}

#[test]
fn colour_changes_nothing_but_colour() {
    let coloured = render(&sample(), screen(true));
    assert!(coloured.contains("\u{1b}[32mEstablished\u{1b}[0m"), "{coloured}");
    let bare =
        ["1", "31", "32", "33", "0"].iter().fold(coloured, |text, code| text.replace(&format!("\u{1b}[{code}m"), ""));
    assert_eq!(bare, render(&sample(), screen(false)));
}

#[test]
fn empty_is_said() {
    let status = Status { neighbors: Vec::new(), services: Vec::new(), ..sample() };
    let text = render(&status, screen(false));
    let (_, tables) = text.split_once("\n\n").unwrap();
    assert_eq!(tables, "no neighbors are configured\n\nno services are configured\n\nnothing is held or kept\n");
    assert_eq!(exit_code(&status), 0);
}

#[test]
fn exit_codes() {
    let well = || {
        let mut status = sample();
        status.neighbors.retain(|neighbor| neighbor.name != "tor-b");
        status.services.remove(0);
        status
    };
    assert_eq!(exit_code(&well()), 0, "drained and disabled are as they should be");
    assert_eq!(exit_code(&sample()), 1);
    let edit = |edit: &dyn Fn(&mut Status)| {
        let mut status = well();
        edit(&mut status);
        exit_code(&status)
    };
    let reason = |word: &str| Some(Reason { reason: word.into(), detail: String::new(), since: String::new() });
    assert_eq!(edit(&|status| status.services[0].prefixes[0].held = reason("stopping")), 1);
    assert_eq!(edit(&|status| status.services[0].prefixes[0].held = reason("disabled")), 0);
    assert_eq!(edit(&|status| status.services[0].prefixes[0].kept = reason("grace")), 0, "held wins");
    assert_eq!(
        edit(&|status| {
            status.services[0].prefixes[0].held = None;
            status.services[0].prefixes[0].kept = reason("grace");
        }),
        1
    );
    let to_neighbor = |name: &'static str, held: &'static str| {
        edit(&|status| {
            let prefix = &mut status.services[0].prefixes[0];
            prefix.held = None;
            prefix.neighbors[0].name = name.to_owned();
            prefix.neighbors[0].held = Some(held.to_owned());
        })
    };
    assert_eq!(to_neighbor("tor-a", "no-next-hop"), 1);
    assert_eq!(to_neighbor("tor-a", "not-selected"), 0, "the service does not name it");
    assert_eq!(to_neighbor("old", "no-session"), 0, "the neighbor is disabled");
    assert_eq!(edit(&|status| status.neighbors[0].state = "Active".into()), 1);
}

#[test]
fn neighbors_in_full() {
    let text = neighbors::render(&sample().neighbors, screen(false));
    let (_, facts) = text.split_once("\n\n").unwrap();
    assert_eq!(
        facts,
        "tor-a: hold time 9 s; ipv4-unicast, ipv6-unicast, route-refresh; 4 prefixes received and not used; \
         2 malformed UPDATEs\n"
    );
}

#[test]
fn services_in_full() {
    assert_eq!(
        services::render(&sample().services, screen(false)),
        "\
SERVICE  STATE    WEIGHT  ANNOUNCED  CHECKS UP
dns      partial     100     1 of 2     1 of 3
we\"b     drained       0     0 of 1          -

dns
  192.0.2.53/32     held  not-listening: no socket for udp/53 (for 3s)
  2001:db8::53/128  kept  deprefer: check upstream is down (for 2m 0s)
  check query     192.0.2.53  up       for 3h 11m  NOERROR in 1 ms
  check upstream  10.9.0.1    down     for 2m 0s   connection refused
  check upstream  10.9.0.2    unknown  for 3h 12m
  hook up    has not run
  hook down  failed       1m 59s ago  3 failures  exit 1: no such pager

we\"b
  192.0.2.80/32  held  drained: weight 0 (for 3h 12m)
"
    );
}

#[test]
fn routes_as_told() {
    let routes: Vec<Route> = serde_json::from_value(serde_json::json!([
        {"prefix": "192.0.2.53/32", "neighbor": "tor-a", "next_hop": "10.0.0.11", "as_path": [65010, 65010],
         "med": 50, "communities": ["65000:100", "no-export"], "large_communities": ["65000:1:2"],
         "bandwidth": 1_250_000_000, "since": "2026-11-21T23:11:00Z"},
        {"prefix": "2001:db8::53/128", "neighbor": "tor-a", "next_hop": "2001:db8::b", "as_path": [],
         "med": null, "communities": [], "large_communities": [], "bandwidth": null, "since": "?"},
    ]))
    .unwrap();
    assert_eq!(
        routes::render(&routes, screen(false)),
        "\
PREFIX            NEIGHBOR  NEXT HOP     AS PATH      MED  BANDWIDTH  FOR    COMMUNITIES
192.0.2.53/32     tor-a     10.0.0.11    65010 65010   50     10Gbit  1m 0s  65000:100 no-export 65000:1:2
2001:db8::53/128  tor-a     2001:db8::b  -              -          -  ?
"
    );
    assert_eq!(routes::render(&[], screen(false)), "no neighbor has been told any route\n");
}

#[test]
fn the_whole_chain() {
    let held: Explanation = serde_json::from_value(serde_json::json!({
        "prefix": "192.0.2.53/32", "service": "dns", "announced": false,
        "steps": [
            {"step": "enabled", "ok": true, "detail": "", "since": null},
            {"step": "address", "ok": true, "detail": "192.0.2.53 is on lo", "since": "2026-11-21T20:00:00Z"},
            {"step": "listener", "ok": false, "detail": "no socket for udp/53", "since": "2026-11-21T23:11:57Z"},
            {"step": "checks", "ok": true, "detail": "query up", "since": "2026-11-21T20:00:03Z"},
        ],
        "neighbors": [
            {"name": "tor-a", "announced": false, "since": "2026-11-21T23:11:57Z", "held": "not-listening"},
        ],
    }))
    .unwrap();
    let mut told = held.clone();
    told.prefix = "2001:db8::53/128".into();
    told.announced = true;
    told.steps.truncate(1);
    told.neighbors[0].announced = true;
    told.neighbors[0].held = None;
    let both = explain::Explained::Many(vec![held.clone(), told.clone()]);
    assert_eq!(
        explain::render(&both, screen(false)),
        "\
192.0.2.53/32 of service dns: NOT announced: listener
  ok      enabled
  ok      address         192.0.2.53 is on lo   since 2026-11-21T20:00:00Z (3h 12m ago)
  NOT ok  listener        no socket for udp/53  since 2026-11-21T23:11:57Z (3s ago)
  ok      checks          query up              since 2026-11-21T20:00:03Z (3h 11m ago)
  NOT ok  neighbor tor-a  held: not-listening   since 2026-11-21T23:11:57Z (3s ago)

2001:db8::53/128 of service dns: announced
  ok  enabled
  ok  neighbor tor-a  announced  since 2026-11-21T23:11:57Z (3s ago)
"
    );
    assert_eq!(explain::exit_code(&both), 1);
    assert_eq!(explain::exit_code(&explain::Explained::One(Box::new(told))), 0);
    assert_eq!(explain::exit_code(&explain::Explained::One(Box::new(held))), 1);
}

/// What is kept for a while stands in the chain before what holds; only the latter is the reason.
#[test]
fn the_headline_names_the_step_that_decided() {
    let step = |step: &str, since: Option<&str>, ok| Step {
        step: step.into(),
        ok,
        detail: String::new(),
        since: since.map(str::to_owned),
    };
    let since = "2026-11-21T23:11:00.000Z";
    let mut explanation = Explanation {
        prefix: "192.0.2.53/32".into(),
        service: "dns".into(),
        announced: false,
        steps: vec![step("facts", None, false), step("checks", Some(since), false), step("start-hold", None, true)],
        neighbors: vec![],
    };
    let headline = |explanation: &Explanation| {
        let text = explain::render(&explain::Explained::One(Box::new(explanation.clone())), screen(false));
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(headline(&explanation), "192.0.2.53/32 of service dns: NOT announced: checks");
    explanation.steps.truncate(1);
    explanation.neighbors = vec![PrefixNeighbor {
        name: "tor-a".into(),
        announced: false,
        since: since.into(),
        held: Some("no-session".into()),
    }];
    assert_eq!(headline(&explanation), "192.0.2.53/32 of service dns: NOT announced: no neighbor could be told");
}
