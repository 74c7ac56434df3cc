//! Every shipped example loads; every bad one prints exactly its `.err`; no text at all makes the loader panic.
//!
//! `BLESS=1` writes the `.err` files and the ownership tables anew.

#![allow(clippy::disallowed_methods, reason = "a test reads its examples from disk")]

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anycaster::bgp::wire::{Asn, Origin};
use anycaster::cli::check;
use anycaster::config::{
    Binding, Check, CheckKind, Config, ExecCheck, Families, Health, HttpCheck, LinkBandwidthMode,
    Listen, Loaded, Log, LogFormat, LogLevel, Metrics, Neighbor, NextHopPolicy, PeerAsn, Policy,
    Protocol, Quorum, Report, Router, Service, Source, Target, TcpCheck, Tls, WhenDown, load,
};
use anycaster::io::files::read_sources;
use proptest::prelude::*;

/// The files in a folder with this extension, in name order.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
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
    assert_eq!(seen, ["dns.toml", "dual-tor.toml", "minimal.toml", "reference.toml", "web.toml"]);
}

#[test]
fn every_bad_example_prints_exactly_its_diagnostics() {
    let mut wrong = Vec::new();
    let mut count = 0;
    let folders = fs::read_dir("config/bad").unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.is_dir()).map(|path| path.join("config.toml"));
    for path in files("config/bad", "toml").into_iter().chain(folders) {
        let report =
            load_path(&path).map(|loaded| loaded.config).expect_err(path.to_str().unwrap());
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
