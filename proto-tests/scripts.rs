//! Whole conversations with one neighbor, as texts in `scripts/` that a network engineer reads.
//!
//! The author's lines begin with a time and one of the words below; every other line is what the session did, and the
//! file is compared whole with what it does now. `BLESS=1` writes that down. Comments are lines that begin with `#`, and
//! what follows two blanks and a `#`.
//!
//! ```text
//! with  hold=9 retry=5                            settings that differ from the defaults, see `play.rs`
//! +0.0  we    start | stop TEXT                   the operator
//! +0.0  we    announce PREFIX… | withdraw PREFIX… | send eor [FAMILY] | mark FAMILY begin|end      the routes
//! +0.0  peer  accept | refuse | unreachable | close | reset                                        TCP
//! +0.0  peer  stall | take OCTETS                 it reads nothing from here on; it reads this much after all
//! +0.0  peer  OPEN as=65001 hold=90 id=10.0.0.1 [version=4] [caps=none | caps=ipv4,refresh,as4,hostname:03746f7200…]
//! +0.0  peer  KEEPALIVE | EOR [FAMILY] | REFRESH FAMILY [SUBTYPE]
//! +0.0  peer  NOTIFICATION 6/2 [TEXT | data=HEX] | bytes HEX
//! +0.0  end                                       of the script, later than everything of interest
//! ```
//!
//! Without `caps=` an OPEN has what a plain router offers; each `caps=` is one optional parameter.
//!
//! The folders `frr`, `bird`, `gobgp` and `openbgpd` hold conversations with real routers: each is a scenario of
//! `scenarios/`, with what that router said to it. Played like all others, they need no router; as root, where the
//! router is installed, it is asked again and must still say the same. `RECORD=1` writes that down, `SCENARIO=NAME` asks
//! for one only, and a scenario's `# not ROUTER: why` leaves that router out. Their lines have more words, which make the
//! router speak and mean nothing to the session:
//!
//! ```text
//! +0.0  tor   shutdown TEXT | reset | refresh | forget       what its operator does to this neighbor
//! +0.0  await TEXT…                               read what it says until each word was part of a line, or that it has
//!                                                 said all of `ipv4-routes` or `ipv6-routes`, or that we are `up`; ends
//!                                                 also when the connection is `over`
//! +0.0  await table PREFIX…                       until its table has these routes of ours
//! +0.0  table PREFIX…                             what that table has of all our routes
//! +0.0  raw   MESSAGE                             octets on the session's connection that the session knows nothing of
//! +0.0  we    fall silent                         what the session says from here on does not reach the router
//! +0.0  we    dial again                          a second connection, with the same OPEN
//! +0.0  await again                               all that comes back on that one
//! +0.0  again MESSAGE | close                     and what it was
//! ```
//!
//! The times are the author's: what was recorded has its order, not its duration. KEEPALIVEs of an established session
//! are left out.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    unreachable_pub,
    reason = "a test reads its own files, whether to bless them, and stops at a script it does not understand; it uses a part of the laboratory"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::coverage::Seen;
use crate::play::Play;

#[path = "lab/mod.rs"]
mod lab;

#[path = "scripts/coverage.rs"]
mod coverage;
#[path = "scripts/play.rs"]
mod play;
#[path = "scripts/record.rs"]
mod record;
#[path = "scripts/routers.rs"]
mod routers;
#[path = "scripts/tor.rs"]
mod tor;
#[path = "scripts/words.rs"]
mod words;

/// In the order of their names: our own first, then each router's.
fn scripts() -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for router in ["", "bird", "frr", "gobgp", "openbgpd"] {
        paths.extend(texts(&folder().join(router)));
    }
    paths
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("proto-tests/scripts")
}

fn texts(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "txt")).collect();
    paths.sort();
    paths
}

#[test]
fn every_script_is_what_the_session_does() {
    let paths = scripts();
    assert!(paths.len() >= 40, "{} scripts in {}", paths.len(), folder().display());
    let mut differing = Vec::new();
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let played = Play::whole(&script).text;
        if played == script {
            continue;
        }
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, played).unwrap();
        } else {
            differing.push(format!("{}\n{}", path.display(), difference(&script, &played)));
        }
    }
    assert!(differing.is_empty(), "BLESS=1 accepts this:\n{}", differing.join("\n"));
}

#[test]
fn the_scripts_show_every_state_with_every_event_and_every_notification() {
    let mut all = Seen::default();
    for path in texts(&folder()) {
        all.add(Play::whole(&std::fs::read_to_string(&path).unwrap()).seen);
    }
    let missing = all.missing();
    assert!(missing.is_empty(), "{} that no script shows:\n{}", missing.len(), missing.join("\n"));
}

/// The first line that differs, with what follows it on both sides.
fn difference(script: &str, played: &str) -> String {
    let same = script.lines().zip(played.lines()).take_while(|(a, b)| a == b).count();
    let rest = |text: &str, mark: &str| {
        text.lines().skip(same).take(8).fold(String::new(), |mut all, line| {
            let _ = writeln!(all, "{mark} {line}");
            all
        })
    };
    format!("{}{}", rest(script, "-"), rest(played, "+"))
}
