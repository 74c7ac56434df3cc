//! config/tor/ says of each file whether it is tested, and each file for a router has what an operator needs.

use std::collections::BTreeMap;
use std::fs;

use crate::load_path;

const POINTS: [&str; 9] = [
    "ecmp",
    "prefix filter",
    "maximum-prefix",
    "rfc 8212",
    "link bandwidth",
    "graceful shutdown",
    "bfd",
    "last resort",
    "resilient hashing",
];

fn text(name: &str) -> String {
    fs::read_to_string(format!("config/tor/{name}")).unwrap()
}

/// File and state, as the table of the README has them.
fn listed() -> BTreeMap<String, String> {
    let readme = text("README.md");
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), (*cells.get(3)?).to_owned()))
    };
    let rows: Vec<_> = readme.lines().filter_map(row).collect();
    let table: BTreeMap<_, _> = rows.iter().cloned().collect();
    assert_eq!(table.len(), rows.len(), "a file stands twice in the table");
    table
}

#[test]
fn every_file_for_a_router_is_listed_as_tested_or_untested_and_says_the_same() {
    let entries = fs::read_dir("config/tor").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = entries.filter(|name| name != "README.md").collect();
    // A tested file is one that the tests with real routers start.
    let tests = fs::read_to_string("proto-tests/interop/tor.rs").unwrap();
    let state = |name: &String| {
        let untested = text(name).lines().next().unwrap().contains("untested");
        let started = tests.contains(&format!("shipped(\"{name}\")"));
        assert_ne!(untested, started, "{name}: says untested: {untested}; a test starts it: {started}");
        (name.clone(), if untested { "untested" } else { "tested" }.to_owned())
    };
    assert_eq!(listed(), names.iter().map(state).collect());
}

#[test]
fn every_file_for_a_router_speaks_of_every_point() {
    for name in listed().keys().filter(|name| *name != "server.toml") {
        // Comments are broken into lines.
        let text = text(name).to_lowercase().replace("\n! ", " ").replace("\n# ", " ");
        let missing: Vec<_> = POINTS.iter().filter(|point| !text.contains(**point)).collect();
        assert_eq!(missing, Vec::<&&str>::new(), "{name}");
    }
}

#[test]
fn the_servers_side_loads_without_a_warning() {
    let loaded =
        load_path("config/tor/server.toml".as_ref()).unwrap_or_else(|report| panic!("{}", report.render(false)));
    assert_eq!(loaded.warnings.render(false), "");
}
