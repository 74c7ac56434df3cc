//! Every shipped example loads; every bad one prints exactly its `.err`; no text at all makes the loader panic.
//!
//! `BLESS=1` writes the `.err` files anew.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test reads its examples from disk, and fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

use anycaster::cli::check;
use anycaster::config::{Loaded, Report, Source, load, load_pmtud};
use anycaster::io::files::read_sources;
use proptest::prelude::*;

#[path = "config/defaults.rs"]
mod defaults;
#[path = "config/pmtud.rs"]
mod pmtud;
#[path = "config/tor.rs"]
mod tor;

/// The files in a folder with this extension, in name order.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    paths.sort();
    paths
}

fn load_path(path: &Path) -> Result<Loaded, Report> {
    load(&read_sources(path).unwrap())
}

fn load_text(text: &str) -> Result<Loaded, Report> {
    load(&[Source { path: PathBuf::from("config.toml"), text: text.to_owned() }])
}

/// Compares with what the file says, or writes it.
fn same_as_file(path: &Path, text: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, text).unwrap();
    } else if fs::read_to_string(path).unwrap_or_default() != text {
        wrong.push(format!("{} differs; now:\n{text}", path.display()));
    }
}

#[test]
fn every_shipped_example_loads_without_a_warning() {
    let mut seen = Vec::new();
    for path in files("config", "toml") {
        let loaded = load_path(&path).unwrap_or_else(|report| panic!("{}", report.render(false)));
        if !path.ends_with("reference.toml") {
            assert_eq!(loaded.warnings.render(false), "", "{}", path.display());
        }
        seen.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["dns.toml", "dual-tor.toml", "minimal.toml", "pmtud.toml", "reference.toml", "web.toml"]);
}

#[test]
fn every_bad_example_prints_exactly_its_diagnostics() {
    let mut wrong = Vec::new();
    let mut count = 0;
    let folders = fs::read_dir("config/bad").unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.is_dir()).map(|path| path.join("config.toml"));
    for path in files("config/bad", "toml").into_iter().chain(folders) {
        let report = load_path(&path).map(|loaded| loaded.config).expect_err(path.to_str().unwrap());
        assert!(report.has_errors(), "{}", path.display());
        let err = match path.ends_with("config.toml") {
            true => path.parent().unwrap().with_extension("err"),
            false => path.with_extension("err"),
        };
        same_as_file(&err, &report.render(false), &mut wrong);
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(files("config/bad", "err").len(), count, "an .err without its .toml");
}

#[test]
fn no_file_at_all_is_an_error() {
    let report = load(&[]).unwrap_err();
    let places: Vec<_> = report.diagnostics().into_iter().map(|d| (d.file, d.message)).collect();
    let expected = ["[router] is missing", "there is no neighbor", "there is no service: nothing will be announced"];
    assert_eq!(places, expected.map(|message| (None, message.to_owned())));
    assert!(report.render(false).ends_with("\n2 errors, 1 warning\n"));
}

#[test]
fn warnings_are_not_errors() {
    let text = r#"
[router]
asn = 65010
bandwidth = "100Gbit"

[neighbor-defaults]
hold-time = "90s"

[neighbors.tor-a]
address = "10.0.0.1"
asn = 65001
families = ["ipv4"]

[neighbors.tor-b]
address = "10.0.0.2"
asn = 65001
families = ["ipv4"]

[services.dns]
prefixes = ["192.0.2.53", "2001:db8::53"]
"#;
    let warnings = load_text(text).unwrap().warnings.render(false);
    let expected = r#"warning: neither BFD nor a hold time of 9 s or less
 --> config.toml:7:13
  |
7 | hold-time = "90s"
  |             ^^^^^ a dead host stays announced for 90 s

warning: bandwidth above 34 Gbit/s
  --> config.toml:19:11
   |
19 | [services.dns]
   |           ^^^ 100 Gbit/s are announced for "dns"
   |
   = help: FRR 8 wraps at 2^32 bytes a second; all members count the same with any smaller number

warning: service "dns" has no check and no listener
  --> config.toml:19:11
   |
19 | [services.dns]
   |           ^^^ the address alone decides

warning: 2001:db8::53/128 is announced to nobody
  --> config.toml:20:27
   |
20 | prefixes = ["192.0.2.53", "2001:db8::53"]
   |                           ^^^^^^^^^^^^^^ no neighbor of this service has its family

4 warnings
"#;
    assert_eq!(warnings, expected);
}

const OWNERS: &str = r#"
[router]
asn = 65010
bandwidth = "10Gbit"

[neighbors.tor-a]
address = "10.0.0.1"
asn = 65001
communities = ["65000:1", "no-export"]
med = 5
prepend = 1

[neighbors.tor-b]
address = "10.0.0.2"
asn = 65001
enabled = false

[neighbors.spine]
address = "10.0.0.3"
asn = "internal"
link-bandwidth = "off"
next-hop = "10.0.0.9"

[neighbors.edge]
address = "10.0.0.4"
asn = "external"
local-asn = 65020
families = ["ipv4"]
link-bandwidth = "non-transitive"

[services.dns]
prefixes = ["2001:db8::53", "192.0.2.53"]
neighbors = ["tor-a", "spine"]
weight = 15
communities = ["65000:2", "65000:1"]
large-communities = ["65010:0:1"]
med = 10
prepend = 1
origin = "incomplete"
binding.listen = ["udp/53"]

[services.net]
prefixes = ["192.0.2.0/24", "192.0.2.128/25"]
binding.listen = ["tcp/80"]

[services.off]
prefixes = ["198.51.100.1"]
enabled = false
binding.listen = ["tcp/80"]

[services.six]
prefixes = ["2001:db8::6"]
neighbors = ["edge"]
weight = 0
binding.listen = ["tcp/80"]
"#;

#[test]
fn the_table_says_who_owns_what_and_who_is_told() {
    let config = load_text(OWNERS).unwrap_or_else(|r| panic!("{}", r.render(false))).config;
    let expected = "\
PREFIX            SERVICE  NEIGHBORS                  ATTRIBUTES
192.0.2.0/24      net      tor-a                      as-path 65010 65010, med 5, communities 65000:1 no-export, bandwidth 10Gbit
                           tor-b                      neighbor disabled
                           spine                      local-preference 100, as-path empty, next-hop 10.0.0.9
                           edge                       as-path 65020, bandwidth 10Gbit non-transitive
192.0.2.53/32     dns      tor-a                      as-path 65010 65010 65010, origin incomplete, med 5, communities 65000:1 65000:2 no-export, large-communities 65010:0:1, bandwidth 1.5Gbit
                           spine                      local-preference 100, as-path empty, origin incomplete, med 10, communities 65000:1 65000:2, large-communities 65010:0:1, next-hop 10.0.0.9
192.0.2.128/25    net      tor-a                      as-path 65010 65010, med 5, communities 65000:1 no-export, bandwidth 10Gbit
                           tor-b                      neighbor disabled
                           spine                      local-preference 100, as-path empty, next-hop 10.0.0.9
                           edge                       as-path 65020, bandwidth 10Gbit non-transitive
198.51.100.1/32   off      tor-a, tor-b, spine, edge  service disabled
2001:db8::6/128   six      -                          announced to nobody
2001:db8::53/128  dns      tor-a                      as-path 65010 65010 65010, origin incomplete, med 5, communities 65000:1 65000:2 no-export, large-communities 65010:0:1, bandwidth 1.5Gbit
                           spine                      local-preference 100, as-path empty, origin incomplete, med 10, communities 65000:1 65000:2, large-communities 65010:0:1

192.0.2.53/32 of dns lies in 192.0.2.0/24 of net: dns owns its addresses
";
    assert_eq!(check::render(&config), expected);
}

#[test]
fn json_says_who_owns_what() {
    let config = load_text(OWNERS).unwrap().config;
    let json: serde_json::Value = serde_json::from_str(&check::json(Some(&config), &[])).unwrap();
    assert_eq!(json["hash"], format!("{:016x}", config.hash));
    assert_eq!(json["diagnostics"], serde_json::json!([]));
    let prefixes = json["prefixes"].as_array().unwrap();
    let owners: Vec<_> = prefixes.iter().map(|p| (&p["prefix"], &p["service"])).collect();
    let expected = serde_json::json!([
        ["192.0.2.0/24", "net"],
        ["192.0.2.53/32", "dns"],
        ["192.0.2.128/25", "net"],
        ["198.51.100.1/32", "off"],
        ["2001:db8::6/128", "six"],
        ["2001:db8::53/128", "dns"],
    ]);
    assert_eq!(serde_json::json!(owners), expected);
    let expected = serde_json::json!({
        "prefix": "192.0.2.53/32",
        "service": "dns",
        "enabled": true,
        "weight": 15,
        "within": { "prefix": "192.0.2.0/24", "service": "net" },
        "neighbors": [
            {
                "name": "tor-a", "enabled": true, "next_hop": null,
                "as_path": [65010, 65010, 65010], "origin": "incomplete", "med": 5,
                "local_preference": null,
                "communities": ["65000:1", "65000:2", "65535:65281"],
                "large_communities": ["65010:0:1"], "bandwidth": 187_500_000,
            },
            {
                "name": "spine", "enabled": true, "next_hop": "10.0.0.9",
                "as_path": [], "origin": "incomplete", "med": 10,
                "local_preference": 100,
                "communities": ["65000:1", "65000:2"],
                "large_communities": ["65010:0:1"], "bandwidth": null,
            },
        ],
    });
    assert_eq!(prefixes[1], expected);
}

/// Columns count characters; what is said of a whole file stands at its beginning.
#[test]
fn json_says_every_problem_with_its_place() {
    let text = "[router]\nasn = 65010\nlisten = \"ä\"\nlog = { \"ä\" = \"ä\" } # é\n";
    let report = load_text(text).unwrap_err();
    let json: serde_json::Value = serde_json::from_str(&check::json(None, &report.diagnostics())).unwrap();
    let expected = serde_json::json!({
        "hash": null,
        "prefixes": [],
        "diagnostics": [
            {
                "severity": "error", "file": "config.toml", "line": 1, "column": 1,
                "end": { "line": 1, "column": 1 }, "message": "there is no neighbor",
                "help": "at least: [neighbors.tor-a] with address and asn",
            },
            {
                "severity": "warning", "file": "config.toml", "line": 1, "column": 1,
                "end": { "line": 1, "column": 1 },
                "message": "there is no service: nothing will be announced", "help": null,
            },
            {
                "severity": "error", "file": "config.toml", "line": 3, "column": 1,
                "end": { "line": 3, "column": 7 },
                "message": "`listen` is not supported yet", "help": null,
            },
            {
                "severity": "error", "file": "config.toml", "line": 4, "column": 9,
                "end": { "line": 4, "column": 12 },
                "message": "unknown key `ä` in [router.log]", "help": "known keys: format, level",
            },
        ],
    });
    assert_eq!(json, expected);
}

#[test]
fn check_ends_with_0_or_2() {
    let minimal = check::outcome(Path::new("config/minimal.toml"), false, false);
    let expected = check::Outcome {
        code: 0,
        output: "PREFIX         SERVICE  NEIGHBORS  ATTRIBUTES\n\
                 192.0.2.53/32  dns      tor        as-path 65010\n"
            .to_owned(),
        errors: String::new(),
    };
    assert_eq!(minimal, expected);

    let bad = check::outcome(Path::new("config/bad/weight.toml"), false, false);
    let errors = fs::read_to_string("config/bad/weight.err").unwrap();
    assert_eq!(bad, check::Outcome { code: 2, output: String::new(), errors });

    let absent = Path::new("config/absent.toml");
    let why = "cannot read config/absent.toml: No such file or directory (os error 2)";
    let errors = format!("error: {why}\n");
    assert_eq!(check::outcome(absent, false, true), check::Outcome { code: 2, output: String::new(), errors });
    let outcome = check::outcome(absent, true, true);
    let json: serde_json::Value = serde_json::from_str(&outcome.output).unwrap();
    assert_eq!((outcome.code, outcome.errors.as_str()), (2, ""));
    assert_eq!(json["diagnostics"][0]["message"], why);
}

#[test]
fn files_are_read_in_name_order_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("config.toml");
    fs::write(&main, "main").unwrap();
    let texts = |main: &Path| read_sources(main).map(|sources| sources.into_iter().map(|s| s.text).collect::<Vec<_>>());
    assert_eq!(texts(&main), Ok(vec!["main".to_owned()]), "conf.d may be absent");
    let parts = folder.path().join("conf.d");
    fs::create_dir(&parts).unwrap();
    for name in ["20-b.toml", "10-a.toml", "9.toml", ".hidden.toml", "note.txt", "b.toml~"] {
        fs::write(parts.join(name), name).unwrap();
    }
    let expected = ["main", "10-a.toml", "20-b.toml", "9.toml"].map(str::to_owned).to_vec();
    assert_eq!(texts(&main), Ok(expected));

    let bad = parts.join("bad.toml");
    fs::write(&bad, b"[router]\nasn = \xff\n").unwrap();
    assert_eq!(texts(&main), Err(format!("cannot read {}: not UTF-8 in line 2", bad.display())));
    fs::remove_file(&bad).unwrap();
    fs::create_dir(&bad).unwrap();
    assert_eq!(texts(&main), Err(format!("cannot read {}: not a file", bad.display())));
}

/// Whatever the texts are: a value, or problems with places that exist, and something to print.
fn survives(texts: &[&str]) -> Result<(), TestCaseError> {
    let source =
        |(i, text): (usize, &&str)| Source { path: PathBuf::from(format!("{i}.toml")), text: (*text).to_owned() };
    let sources: Vec<Source> = texts.iter().enumerate().map(source).collect();
    match load_pmtud(&sources) {
        Ok(loaded) => prop_assert!(!loaded.warnings.has_errors()),
        Err(report) => prop_assert!(report.has_errors() && !report.render(false).is_empty()),
    }
    let report = match load(&sources) {
        Ok(loaded) => {
            prop_assert!(!loaded.warnings.has_errors());
            let json = check::json(Some(&loaded.config), &loaded.warnings.diagnostics());
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
            prop_assert!(check::render(&loaded.config).starts_with("PREFIX"));
            loaded.warnings
        }
        Err(report) => {
            prop_assert!(report.has_errors());
            report
        }
    };
    prop_assert_eq!(report.render(false).is_empty(), report.is_empty());
    prop_assert_eq!(report.render(true).is_empty(), report.is_empty());
    for diagnostic in report.diagnostics() {
        let (Some(file), Some(line)) = (diagnostic.file, diagnostic.line) else { continue };
        let source = sources.iter().find(|s| s.path.to_str() == Some(&file)).unwrap();
        prop_assert!(line >= 1 && line <= source.text.matches('\n').count() + 1);
    }
    Ok(())
}

fn examples() -> Vec<String> {
    let bad = ["many", "syntax", "types"].map(|name| format!("config/bad/{name}.toml").into());
    let paths = files("config", "toml").into_iter().chain(bad);
    paths.map(|path: PathBuf| fs::read_to_string(path).unwrap()).collect()
}

/// The nearest character boundary at or before `index`.
fn boundary(text: &str, index: prop::sample::Index) -> usize {
    let index = index.index(text.len() + 1);
    (0..=index).rev().find(|i| text.is_char_boundary(*i)).unwrap()
}

#[rustfmt::skip]
const TOKENS: [&str; 50] = [
    "[router]\n", "[services.a]\n", "[[services.a.checks]]\n", "[neighbors.a]\n", "[neighbor-defaults]\n", "\n", "\r\n",
    " ", "=", "[", "]", "{", "}", ",", ".", "\"", "'''", "\"\"\"", "#", "asn", "prefixes", "name", "type", "\"tcp\"",
    "hold-time", "\"1h\"", "1", "-9", "0x", "1e9", "inf", "true", "\"192.0.2.0/24\"", "\"::/0\"", "\t", "é", "\u{0}",
    "\u{202e}", "\u{1f600}", "\\u12", "address = \"10.0.0.1\"\n", "asn = 65010\n", "[\n", "prefixes = [\"10.0.0.0/8\"]\n",
    "[pmtud]\n", "interfaces = [\"eth0\"]\n", "mode = \"broadcast\"\n", "\"5/s\"", "keys", "members",
];

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", other in any::<String>()) {
        survives(&[&text])?;
        survives(&[&text, &other])?;
    }

    #[test]
    fn no_words_make_it_panic(
        words in prop::collection::vec(prop::sample::select(&TOKENS[..]), 0..60)
    ) {
        survives(&[&words.concat()])?;
    }

    #[test]
    fn no_mutation_of_an_example_makes_it_panic(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        length in 0usize..40,
        word in prop::sample::select(&TOKENS[..]),
        split in any::<prop::sample::Index>(),
    ) {
        let examples = examples();
        let text = which.get(&examples);
        let start = boundary(text, at);
        let mut after = start + length..=text.len();
        let end = after.find(|i| text.is_char_boundary(*i)).unwrap_or(text.len());
        // A stretch replaced by a word; a file cut off; a file in two parts, and in two parts in the wrong order.
        survives(&[&format!("{}{word}{}", &text[..start], &text[end..])])?;
        let (first, second) = text.split_at(boundary(text, split));
        survives(&[first])?;
        survives(&[first, second])?;
        survives(&[second, first])?;
    }
}

/// execve(2) refuses a longer string, so that such a check could never pass.
#[test]
fn a_service_has_no_more_prefixes_than_a_program_can_be_told() {
    let text = |count: u32, health: &str| {
        let prefix = |n: u32| format!("\"100.{}.{}.{}\"", 64 + (n >> 16), (n >> 8) & 255, n & 255);
        let prefixes = (0..count).map(prefix).collect::<Vec<_>>().join(",");
        format!(
            "[router]\nasn = 65010\n[neighbors.tor]\naddress = \"10.0.0.1\"\nasn = 65001\n[services.many]\n\
             prefixes = [{prefixes}]\nbinding = {{ listen = [\"udp/53\"] }}\n{health}"
        )
    };
    let load = |count, health| {
        let sources = [Source { path: "many.toml".into(), text: text(count, health) }];
        load(&sources).map(|_| ()).map_err(|report| report.diagnostics().into_iter().map(|d| d.message).collect())
    };
    let hooks = "health.hooks = { up = [\"/bin/true\"] }\n";
    let refused: Vec<String> = vec!["service \"many\" has more prefixes than a program can be told".to_owned()];
    assert_eq!([load(7000, hooks), load(9000, hooks), load(9000, "")], [Ok(()), Err(refused), Ok(())]);
}
