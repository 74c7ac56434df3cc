//! Any text: a configuration, or problems that can be printed. A form feed begins another file of conf.d.

#![no_main]

use std::path::PathBuf;

use anycaster::cli::check;
use anycaster::config::{Source, load, load_pmtud};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let source = |(i, text): (usize, &str)| Source { path: PathBuf::from(format!("{i}.toml")), text: text.to_owned() };
    let sources: Vec<Source> = text.split('\u{c}').enumerate().map(source).collect();
    match load_pmtud(&sources) {
        Ok(loaded) => assert!(!loaded.warnings.has_errors()),
        Err(report) => assert!(report.has_errors() && !report.render(false).is_empty()),
    }
    match load(&sources) {
        Ok(loaded) => {
            assert!(!loaded.warnings.has_errors());
            assert!(check::render(&loaded.config).starts_with("PREFIX"));
            let _ = check::json(Some(&loaded.config), &loaded.warnings.diagnostics());
            let _ = loaded.warnings.render(false);
        }
        Err(report) => {
            assert!(report.has_errors());
            assert!(!report.render(true).is_empty());
            let _ = check::json(None, &report.diagnostics());
        }
    }
});
