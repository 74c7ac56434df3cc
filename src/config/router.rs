//! `[router]`, `[metrics]` and `[drain]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::report::{At, Fault, Report};
use super::tree::{Keys, Table, Value};
use super::values;
use super::{Log, LogFormat, LogLevel, Metrics, Router};
use crate::bgp::wire::Asn;

pub(super) const ROUTER: Keys = Keys {
    shared: &[],
    now: &["asn", "id", "bandwidth", "state-dir", "control", "control-group", "http", "log"],
    later: &["listen", "start"],
};
pub(super) const LOG: Keys = Keys { shared: &[], now: &["format", "level"], later: &[] };
pub(super) const METRICS: Keys = Keys { shared: &[], now: &["max-prefixes"], later: &[] };
pub(super) const DRAIN: Keys =
    Keys { shared: &[], now: &["withdraw-settle"], later: &["steps", "quiet", "min-wait", "grace"] };

const FORMATS: [(&str, LogFormat); 3] =
    [("text", LogFormat::Text), ("json", LogFormat::Json), ("journald", LogFormat::Journald)];
const LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

/// What `[router]` says, and where.
pub(super) struct RouterRead {
    pub(super) at: At,
    pub(super) id_at: At,
    pub(super) id_given: bool,
    /// `None` where the AS number could not be read.
    pub(super) router: Option<Router>,
}

pub(super) fn router(root: &Table<'_>, report: &mut Report) -> RouterRead {
    let Some(table) = root.table("router", report) else {
        if root.get("router").is_none() {
            let fault = Fault::new("[router] is missing", "").help("at least: [router] asn = 65010");
            report.push(fault.at(&root.at).missing());
        }
        return RouterRead { at: root.at.clone(), id_at: root.at.clone(), id_given: true, router: None };
    };
    table.check(&ROUTER, &[], report);
    let asn: Option<Asn> = table.need("asn", report, values::asn);
    let id: Option<Ipv4Addr> = table.read("id", report, values::router_id);
    let bandwidth = table.read("bandwidth", report, values::bandwidth);
    let state_dir = table.read("state-dir", report, values::path);
    let control = table.read("control", report, socket_path);
    let control_group = table.read("control-group", report, values::account);
    let http = table.read("http", report, values::http);
    let log = log(&table, report);
    let build = |asn| Router {
        asn,
        id,
        bandwidth,
        state_dir: state_dir.unwrap_or_else(|| PathBuf::from("/var/lib/anycaster")),
        control: control.unwrap_or_else(|| PathBuf::from("/run/anycaster/control.sock")),
        control_group,
        http: http.unwrap_or(Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9179))),
        log,
    };
    RouterRead {
        at: table.at.clone(),
        id_at: table.at("id"),
        id_given: table.get("id").is_some(),
        router: asn.map(build),
    }
}

fn log(router: &Table<'_>, report: &mut Report) -> Log {
    let mut log = Log { format: LogFormat::Text, level: LogLevel::Info };
    if let Some(table) = router.table("log", report) {
        table.check(&LOG, &[], report);
        log.format = table.read("format", report, |v| values::word(v, &FORMATS)).unwrap_or(log.format);
        log.level = table.read("level", report, |v| values::word(v, &LEVELS)).unwrap_or(log.level);
    }
    log
}

/// sockaddr_un holds 108 bytes, the last of them zero (unix(7)).
fn socket_path(value: &Value<'_>) -> Result<PathBuf, Fault> {
    let path = values::path(value)?;
    if path.as_os_str().len() > 107 {
        return Err(Fault::new("path too long for a socket", "at most 107 bytes"));
    }
    Ok(path)
}

pub(super) fn metrics(root: &Table<'_>, report: &mut Report) -> Metrics {
    let mut max_prefixes = 1000;
    if let Some(table) = root.table("metrics", report) {
        table.check(&METRICS, &[], report);
        // A million series is more than any scraper takes.
        let read = table.read("max-prefixes", report, |v| values::small::<u32>(v, 0, 1_000_000));
        max_prefixes = read.and_then(|n| usize::try_from(n).ok()).unwrap_or(max_prefixes);
    }
    Metrics { max_prefixes }
}

pub(super) fn withdraw_settle(root: &Table<'_>, report: &mut Report) -> Duration {
    let mut settle = Duration::from_secs(3);
    if let Some(table) = root.table("drain", report) {
        table.check(&DRAIN, &[], report);
        settle = table.read("withdraw-settle", report, values::duration).unwrap_or(settle);
    }
    settle
}
