//! What the four routers really say, compared with what is written down: a router's new version shows here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::lab;
use crate::lab::namespace::{Namespace, link};
use crate::record::Recorder;
use crate::tor::{self, Table, Tor};
use crate::{difference, folder, texts};

#[test]
fn frr_says_what_it_said() {
    says_what_it_said("frr", &["zebra", "bgpd", "vtysh"], tor::frr);
}

#[test]
fn bird_says_what_it_said() {
    says_what_it_said("bird", &["bird", "birdc"], tor::bird);
}

#[test]
fn gobgp_says_what_it_said() {
    says_what_it_said("gobgp", &["gobgpd", "gobgp"], tor::gobgp);
}

#[test]
fn openbgpd_says_what_it_said() {
    says_what_it_said("openbgpd", &["bgpctl"], tor::openbgpd);
}

/// By name.
type Texts = BTreeMap<String, String>;

/// Compares with what is in the folder of that name, or writes it down.
fn says_what_it_said<T: Tor>(name: &str, programs: &[&str], start: impl Fn(Namespace, usize) -> T) {
    if !lab::ready(programs) {
        return;
    }
    let folder = folder().join(name);
    let path = |scenario: &str| folder.join(format!("{scenario}.txt"));
    let then = |scenario: &str| std::fs::read_to_string(path(scenario)).unwrap_or_default();
    let scenarios = scenarios(name);
    let recording = std::env::var_os("RECORD").is_some();
    let (mut now, random) = converse(&start, &scenarios, recording);
    let differs = |scenario: &str, now: &str| comparable(&then(scenario), random) != comparable(now, random);
    now.retain(|scenario, now| differs(scenario, now));
    if !recording && !now.is_empty() {
        // Forty at once are a load under which FRR drops a connection now and then. Who says something else when asked
        // alone means it.
        let again = scenarios.into_iter().filter(|(scenario, _)| now.contains_key(scenario)).collect();
        (now, _) = converse(&start, &again, true);
        now.retain(|scenario, now| differs(scenario, now));
    }
    if recording {
        std::fs::create_dir_all(&folder).unwrap();
        now.iter().for_each(|(scenario, now)| std::fs::write(path(scenario), now).unwrap());
        now.clear();
    }
    let differing: Vec<String> = now
        .iter()
        .map(|(scenario, now)| format!("{}\n{}", path(scenario).display(), difference(&then(scenario), now)))
        .collect();
    assert!(differing.is_empty(), "RECORD=1 accepts this:\n{}", differing.join("\n"));
}

#[test]
fn every_recorded_conversation_has_its_scenario() {
    for name in ["frr", "bird", "gobgp", "openbgpd"] {
        let recorded: BTreeSet<PathBuf> = texts(&folder().join(name)).into_iter().collect();
        let wanted: BTreeSet<PathBuf> =
            all(name).keys().map(|scenario| folder().join(name).join(format!("{scenario}.txt"))).collect();
        assert_eq!(recorded, wanted, "{name}: RECORD=1 writes what is missing");
    }
}

fn scenarios(router: &str) -> Texts {
    let only = std::env::var("SCENARIO").ok();
    all(router).into_iter().filter(|(scenario, _)| only.as_ref().is_none_or(|only| only == scenario)).collect()
}

fn all(router: &str) -> Texts {
    let without = format!("# not {router}:");
    texts(&folder().join("scenarios"))
        .iter()
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap()))
        .filter(|(_, text)| !text.contains(&without))
        .collect()
}

/// These scenarios with one router, all at once or each alone; and after which words it says random octets.
fn converse<T: Tor>(
    start: impl Fn(Namespace, usize) -> T,
    scenarios: &Texts,
    alone: bool,
) -> (Texts, &'static [&'static str]) {
    let (host, router) = (Namespace::new("host"), Namespace::new("tor"));
    let addresses: Vec<String> = (1..=scenarios.len()).map(|number| format!("{}/24", tor::address(number))).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).chain(["10.0.0.10/24", "fd00::10/64"]).collect();
    // A link-local address of our choice: routers say it in their next hops.
    router.sysctl("net/ipv6/conf/default/addr_gen_mode", "1");
    let own = [&format!("{}/24", tor::ROUTER), "fd00::1/64", "fe80::1/64"];
    link((&host, "eth0", &addresses), (&router, "h0", &own));
    let tor = &start(router, scenarios.len());
    let (version, host, table) = (tor.version(), &host, &Table::new(tor));
    // Those in which the operator acts come first and one after the other: BIRD enables again what was disabled when it
    // reads another's configuration, and GoBGP keeps an operator waiting while it has much to do.
    let (acting, rest) = scenarios.iter().zip(1..).partition::<Vec<_>, _>(|((_, text), _)| text.contains(" tor   "));
    let rest = if alone { rest.into_iter().map(|one| vec![one]).collect() } else { vec![rest] };
    let mut recorded = Texts::new();
    for wave in acting.into_iter().map(|one| vec![one]).chain(rest) {
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for ((scenario, text), number) in wave {
                threads.push((scenario, scope.spawn(move || Recorder::record(tor, table, host, number, text))));
            }
            for (scenario, thread) in threads {
                let text = thread.join().unwrap_or_else(|_| "+0.0 went wrong, see above\n".to_owned());
                recorded.insert(String::clone(scenario), format!("# {version}, in the scenario of that name\n{text}"));
            }
        });
    }
    // Or it did not survive this: then all that is recorded is worth nothing.
    table.routes_of(1);
    (recorded, tor.random())
}

/// Without the line of the version, and without the octets that follow these words.
fn comparable(text: &str, random: &[&str]) -> String {
    let mut text: String = text.lines().skip(1).fold(String::new(), |all, line| all + line + "\n");
    for words in random {
        let mut parts = text.split(words);
        let first = parts.next().unwrap_or_default().to_owned();
        let rest = parts.map(|part| part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
        text = rest.fold(first, |all, part| all + words + part);
    }
    text
}
