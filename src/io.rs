//! Every system call lies here; nothing here decides.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the boundary: clocks, sockets, files and processes are used here and nowhere else"
)]

pub mod admin;
mod alarm;
mod bpf;
pub mod capture;
pub mod checks;
pub mod client;
pub mod clock;
mod daemon;
mod descriptors;
mod disable_files;
pub mod files;
mod hooks;
pub mod listeners;
pub mod log;
pub mod netlink;
pub mod notify;
mod packet;
pub mod pmtud;
mod rights;
pub mod sockopt;
pub mod tcp;
pub mod terminal;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::{self, Loaded, Report};
use crate::engine::Engine;

/// `anycaster run`: the daemon, in the foreground, until it is told to stop. The result is the exit code.
pub fn run(config_path: &Path) -> u8 {
    let Some(loaded) = load(config_path) else { return 2 };
    match serve(loaded) {
        Ok(()) => 0,
        Err(problem) => {
            terminal::complain(&problem);
            2
        }
    }
}

/// Every error goes to standard error; warnings alone are the log's.
fn load(path: &Path) -> Option<Loaded> {
    let sources = files::read_sources(path).map_err(|problem| terminal::complain(&problem)).ok()?;
    let complain = |report: Report| terminal::complain(report.render(terminal::error_colour()).trim_end());
    config::load(&sources).map_err(complain).ok()
}

fn log_warnings(warnings: &Report) {
    for warning in warnings.diagnostics() {
        let place = warning.file.zip(warning.line).map(|(file, line)| format!("{file}:{line}: ")).unwrap_or_default();
        tracing::warn!("{place}{}", warning.message);
    }
}

/// Everything that can be refused is refused before anything is announced; the error is one sentence.
fn serve(Loaded { config, warnings }: Loaded) -> Result<(), String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    rights::suffice(&config)?;
    let keys = pmtud::read_keys(config.pmtud.as_ref())?;
    descriptors::raise_limit().map_err(|e| say(&e))?;
    let router = &config.router;
    let admin =
        admin::Admin::bind(&router.control, router.control_group.as_deref(), router.http).map_err(|e| say(&e))?;
    let _log = log::start(&router.log).map_err(|error| format!("logging cannot start: {error}"))?;
    log_warnings(&warnings);
    let pmtud = pmtud::start(&config, keys)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| say(&e))?;
    let (queries_in, queries) = mpsc::channel(admin::QUERIES);
    let _admin = admin::Serving::start(admin, queries_in).map_err(|e| say(&e))?;
    let result = runtime.block_on(async {
        let (facts_in, facts) = mpsc::channel(daemon::FACTS);
        let (received_in, received) = mpsc::channel(daemon::RECEIVED);
        let (results_in, results) = mpsc::channel(daemon::RESULTS);
        let counters = Arc::new(netlink::Counters::default());
        let _disable_files = disable_files::watch(&config, facts_in.clone()).map_err(|e| say(&e))?;
        let daemon = daemon::Daemon {
            hooks: hooks::Hooks::start(&config, &results_in).map_err(|e| say(&e))?,
            runner: checks::Runner::new(&config, results_in).map_err(|e| say(&e))?,
            listeners: listeners::Listeners::open(Arc::clone(&counters)).map_err(|e| say(&e))?,
            netlink: netlink::Netlink::start(facts_in, Arc::clone(&counters)).map_err(|e| say(&e))?,
            netlink_counters: counters,
            connections: tcp::Connections::new(received_in),
            notify: notify::Notify::start().map_err(|e| say(&e))?,
            pmtud,
            engine: Engine::new(clock::now(), config, clock::seed()),
            facts,
            received,
            results,
            queries,
            started_at: clock::since_1970(),
            probe_errors: 0,
            waits: 0,
            alarm: alarm::Alarm::new().map_err(|e| say(&e))?,
        };
        daemon.run().await.map_err(|e| say(&e))
    });
    // It must not wait for a netlink request that hangs.
    runtime.shutdown_background();
    result
}
