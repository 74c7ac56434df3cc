//! The captures of pcaps/, made by our own lab from routers of others: what they mean stands beside them, in NAME.txt, as
//! `decode` prints it. `BLESS=1` writes those anew; then they are read, and compared with what another decoder says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unreachable_pub,
    reason = "a test ends where it fails, reads captures and runs programs"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anycaster::bgp::wire::{self, Codec, Family, MAX_EXTENDED_MESSAGE, Message};
use anycaster::cli::decode::{Options, exit_code, whole};
use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::Value;

#[path = "pcaps/opinions.rs"]
mod opinions;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps")
}

/// Name and octets, in the order of names.
fn captures(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let kinds = ["pcap", "pcapng", "mrt"];
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| kinds.iter().any(|kind| extension == *kind)));
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

fn options(json: bool) -> Options {
    Options { ports: Vec::new(), json, colour: false }
}

/// The objects that `--json` prints.
fn objects(name: &str, octets: &[u8]) -> Vec<Value> {
    let (text, _) = whole(Path::new(name), octets, &options(true));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn captures_mean_what_is_written_beside_them() {
    let bless = std::env::var_os("BLESS").is_some();
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let mut wrong = Vec::new();
    for (name, octets) in captures(&folder()) {
        assert!(readme.contains(&format!("`{name}`")), "pcaps/README.md says nothing of {name}");
        let (text, totals) = whole(Path::new(&name), &octets, &options(false));
        assert!(!totals.damaged && totals.unreadable.is_none(), "{name}: {totals:?}");
        // Something is malformed where a neighbor was to be answered with a NOTIFICATION, and where ExaBGP says to an
        // external neighbor what is for internal ones.
        let malformed = name.starts_with("notifications-") || name == "frr-exabgp.pcap";
        assert_eq!(exit_code(&totals), u8::from(malformed), "{name}");
        let beside = folder().join(format!("{name}.txt"));
        if bless {
            std::fs::write(&beside, &text).unwrap();
        } else if std::fs::read_to_string(&beside).unwrap_or_default() != text {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "not what is written beside them: {wrong:?}");
}

/// They are read by people and by every clone of the repository.
#[test]
fn captures_are_small() {
    let size: usize = captures(&folder()).iter().map(|(_, octets)| octets.len()).sum();
    assert!(size > 0 && size < 300_000, "{size} octets of captures");
}

/// However the file arrives, and wherever it ends.
#[test]
fn pieces_make_the_same_and_cuts_do_not_panic() {
    for (name, octets) in captures(&folder()) {
        let whole_text = whole(Path::new(&name), &octets, &options(false)).0;
        let mut decoder = anycaster::decode::Decoder::new(&[]);
        let mut count = 0;
        for piece in octets.chunks(11) {
            decoder.feed(piece);
            count += std::iter::from_fn(|| decoder.poll()).count();
        }
        decoder.end();
        count += std::iter::from_fn(|| decoder.poll()).count();
        let shown = |line: &&str| line.as_bytes().get(5).is_some_and(u8::is_ascii_digit);
        assert_eq!(whole_text.lines().filter(shown).count(), count, "{name}");
        for end in (0..octets.len()).step_by(octets.len() / 25 + 1) {
            drop(whole(Path::new(&name), &octets[..end], &options(end % 2 == 0)));
        }
    }
}

/// Those of others, among them deliberately broken ones: no panic, and what is damaged is not passed over.
#[test]
fn captures_from_elsewhere_do_not_panic() {
    let there = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures");
    if !there.is_dir() {
        return eprintln!("SKIPPED captures_from_elsewhere_do_not_panic: no captures at {}", there.display());
    }
    let captures = captures(&there);
    let mut messages = 0;
    for (name, octets) in &captures {
        for json in [false, true] {
            let (text, totals) = whole(Path::new(name), octets, &options(json));
            messages += totals.messages.iter().map(|(_, count)| count).sum::<u64>();
            assert!(totals.frames > 0 || totals.unreadable.is_some(), "{name}: {text}");
            if name.contains("malformed") {
                assert_eq!(exit_code(&totals), 1, "{name}");
            }
        }
    }
    assert!(messages > 100, "{messages} messages in {} captures", captures.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_octets_are_read_without_panic(octets in proptest::collection::vec(any::<u8>(), 0..600), header in 0..6usize) {
        let pcap = [0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 1, 0, 0, 0];
        let frame = [0, 0, 0, 0, 0, 0, 0, 0, 0x90, 0, 0, 0, 0x90, 0, 0, 0];
        let head: Vec<u8> = match header {
            0 => vec![],
            1 => pcap.to_vec(),
            2 => [&pcap[..20], &[101, 0, 0, 0], &frame].concat(),
            3 => vec![0x0A, 0x0D, 0x0D, 0x0A, 28, 0, 0, 0, 0x4D, 0x3C, 0x2B, 0x1A],
            4 => vec![0, 0, 0, 0, 0, 16, 0, 4, 0, 0, 0, 200],
            _ => vec![0, 0, 0, 0, 0, 13, 0, 2, 0, 0, 0, 200],
        };
        for json in [false, true] {
            drop(whole(Path::new("any"), &[&head[..], &octets].concat(), &options(json)));
        }
    }

    /// Real captures with a few octets changed: deeper than any octets get.
    #[test]
    fn damaged_captures_are_read_without_panic(which in any::<usize>(), changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..20)) {
        thread_local! { static ALL: Vec<(String, Vec<u8>)> = captures(&folder()); }
        let (name, mut octets) = ALL.with(|all| all[which % all.len()].clone());
        octets.truncate(8000);
        for (at, octet) in changes {
            let at = at % octets.len();
            octets[at] = octet;
        }
        drop(whole(Path::new(&name), &octets, &options(true)));
    }
}

/// As a user calls it.
#[test]
fn exit_codes_and_standard_input() {
    let run = |arguments: &[&str], input: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anycaster"));
        command.args(arguments).stdin(input.map_or_else(Stdio::null, |path| std::fs::File::open(path).unwrap().into()));
        let output = command.output().unwrap();
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let path = |name: &str| folder().join(name).to_str().unwrap().to_owned();
    let good = path("too-big.pcap");
    let (code, text, errors) = run(&["decode", &good], None);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(text.ends_with("messages: 2 TOO BIG\n"), "{text}");
    let (code, piped, _) = run(&["decode", "-"], Some(Path::new(&good)));
    assert_eq!((code, piped.lines().skip(1).collect::<Vec<_>>()), (0, text.lines().skip(1).collect()));
    assert_eq!(run(&["decode", &path("notifications-frr.pcap")], None).0, 1);
    let (code, text, errors) = run(&["decode", &path("make")], None);
    assert_eq!((code, text.as_str()), (2, ""));
    assert!(errors.ends_with("make: it is neither pcap nor pcapng nor MRT\n"), "{errors}");
    assert_eq!(run(&["decode", "/nowhere"], None).0, 2);
    assert_eq!(run(&["decode"], None).0, 2);
    let (code, text, _) = run(&["decode", "--json", "--port", "1790", &good], None);
    assert_eq!(code, 0);
    let types: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].clone()).collect();
    assert_eq!(types, ["packet-too-big", "packet-too-big"]);
}
