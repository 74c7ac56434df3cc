//! `[[services.NAME.checks]]`

use std::num::NonZeroU8;
use std::time::Duration;

use super::neighbor::twice;
use super::report::{At, Fault, Report};
use super::service::WHEN_DOWN;
use super::tree::{Keys, Table, Value};
use super::values;
use super::{Check, CheckKind, Target, TcpCheck, UdpCheck, UnixCheck, WhenDown};
use dns::dns;
pub(super) use exec::command;
use exec::exec;
use file::file;
use grpc::grpc;
use http::{http, tls};
use push::push;
use systemd::systemd;

pub use dns::{DnsCheck, Record, response_code};
pub use file::{FileCheck, Look};
pub use grpc::GrpcCheck;

mod dns;
mod exec;
mod file;
mod grpc;
mod http;
mod push;
mod systemd;

const COMMON: [&str; 10] =
    ["name", "type", "interval", "timeout", "fast-interval", "jitter", "rise", "fall", "on-fail", "target"];
const LATER: [&str; 1] = ["weight-from"];
/// Of a check that runs nothing.
const UNTIMED: [&str; 6] = ["name", "type", "rise", "fall", "on-fail", "target"];

pub(super) const TCP: Keys = Keys { shared: &COMMON, now: &["port", "send", "expect"], later: &LATER };
const HTTP: Keys = Keys {
    shared: &COMMON,
    now: &["port", "path", "method", "headers", "expect-status", "expect-body"],
    later: &LATER,
};
pub(super) const HTTPS: Keys = Keys {
    shared: &COMMON,
    now: &["port", "path", "method", "headers", "expect-status", "expect-body", "server-name", "ca-file", "insecure"],
    later: &LATER,
};
pub(super) const EXEC: Keys = Keys { shared: &COMMON, now: &["command", "user", "env"], later: &LATER };
pub(super) const FILE: Keys = Keys { shared: &COMMON, now: &["path", "max-age", "exists"], later: &LATER };
pub(super) const SYSTEMD: Keys = Keys { shared: &COMMON, now: &["unit"], later: &LATER };
pub(super) const PUSH: Keys = Keys { shared: &UNTIMED, now: &["ttl"], later: &LATER };

const UDP: Keys = Keys { shared: &COMMON, now: &["port", "send", "expect"], later: &LATER };
const UNIX: Keys = Keys { shared: &COMMON, now: &["path", "send", "expect"], later: &LATER };
const DNS: Keys = Keys { shared: &COMMON, now: &["port", "query", "record", "expect", "transport"], later: &LATER };
const GRPC: Keys =
    Keys { shared: &COMMON, now: &["port", "service", "tls", "server-name", "ca-file", "insecure"], later: &LATER };

const ANY: Keys = Keys {
    shared: &COMMON,
    now: &[
        "port",
        "send",
        "expect",
        "path",
        "method",
        "headers",
        "expect-status",
        "expect-body",
        "server-name",
        "ca-file",
        "insecure",
        "command",
        "user",
        "env",
        "query",
        "record",
        "transport",
        "max-age",
        "exists",
        "unit",
        "ttl",
        "service",
        "tls",
    ],
    later: &LATER,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Tcp,
    Http,
    Https,
    Exec,
    Udp,
    Unix,
    Dns,
    Grpc,
    File,
    Systemd,
    Push,
}

const TYPES: [(&str, Type); 11] = [
    ("tcp", Type::Tcp),
    ("http", Type::Http),
    ("https", Type::Https),
    ("exec", Type::Exec),
    ("udp", Type::Udp),
    ("unix", Type::Unix),
    ("dns", Type::Dns),
    ("grpc", Type::Grpc),
    ("file", Type::File),
    ("systemd", Type::Systemd),
    ("push", Type::Push),
];

pub(super) struct CheckRead {
    /// Where certificates are not verified.
    pub(super) insecure_at: Option<At>,
    /// `None` where a required part could not be read.
    pub(super) check: Option<Check>,
}

pub(super) fn checks(service: &Table<'_>, report: &mut Report) -> Vec<CheckRead> {
    let tables = service.tables("checks", report);
    let named = |table: &Table<'_>| {
        let entry = table.get("name")?;
        Some((entry.value.at.clone(), entry.value.text().ok()?.to_owned()))
    };
    let names: Vec<(At, String)> = tables.iter().filter_map(named).collect();
    twice(&names, |name| format!("check {name:?}"), report);
    tables.iter().map(|table| check(table, report)).collect()
}

fn check(table: &Table<'_>, report: &mut Report) -> CheckRead {
    let name = table.need("name", report, |v| {
        let text = v.text()?;
        values::name(text).map(|()| text.to_owned())
    });
    let kind = table.need("type", report, |v| values::word(v, &TYPES));
    match kind {
        Some(kind) => table.check(kind.keys(), &kind.others(), report),
        // The type is wrong or missing: a key of any type may be meant.
        None => table.check(&ANY, &[], report),
    }
    let timing = match kind {
        Some(Type::Push) => Timing::default(),
        Some(_) | None => timing(table, report),
    };
    let rise = table.read("rise", report, times);
    let fall = table.read("fall", report, times);
    let on_fail = table.read("on-fail", report, |v| values::word(v, &WHEN_DOWN)).unwrap_or(WhenDown::Withdraw);
    let target = table.read("target", report, target).unwrap_or(Target::Service);
    let mut insecure_at = None;
    let kind = kind.and_then(|kind| match kind {
        Type::Tcp => tcp(table, report),
        Type::Http => http(table, None, report),
        Type::Https => {
            let tls = tls(table, report);
            insecure_at = tls.insecure.then(|| table.at("insecure"));
            http(table, Some(tls), report)
        }
        Type::Exec => exec(table, report),
        Type::Udp => udp(table, report),
        Type::Unix => unix(table, report),
        Type::Dns => dns(table, report),
        Type::File => file(table, report),
        Type::Systemd => systemd(table, report),
        Type::Push => push(table, report),
        Type::Grpc => {
            let tls = grpc::tls(table, report);
            insecure_at = tls.as_ref().is_some_and(|tls| tls.insecure).then(|| table.at("insecure"));
            grpc(table, tls, report)
        }
    });
    let check = name.zip(kind).map(|(name, kind)| Check {
        name,
        interval: timing.interval,
        timeout: timing.timeout,
        fast_interval: timing.fast_interval,
        jitter: timing.jitter,
        rise: rise.unwrap_or(TWO),
        fall: fall.unwrap_or(TWO),
        on_fail,
        target,
        kind,
    });
    CheckRead { insecure_at, check }
}

const TWO: NonZeroU8 = NonZeroU8::MIN.saturating_add(1);

impl Type {
    fn keys(self) -> &'static Keys {
        match self {
            Self::Tcp => &TCP,
            Self::Http => &HTTP,
            Self::Https => &HTTPS,
            Self::Exec => &EXEC,
            Self::Udp => &UDP,
            Self::Unix => &UNIX,
            Self::Dns => &DNS,
            Self::File => &FILE,
            Self::Systemd => &SYSTEMD,
            Self::Push => &PUSH,
            Self::Grpc => &GRPC,
        }
    }

    /// Keys of the other types: known, but not here.
    fn others(self) -> Vec<(&'static str, String)> {
        let word = |kind| TYPES.iter().find(|(_, known)| *known == kind).map_or("", |(word, _)| *word);
        let mut others = Vec::new();
        for key in COMMON.iter().filter(|key| !self.keys().shared.contains(key)) {
            others.push((*key, format!("to {} checks, which run nothing and wait", word(self))));
        }
        for (of, kind) in TYPES.iter().filter(|(_, kind)| *kind != self) {
            for key in kind.keys().now.iter() {
                others.push((*key, format!("to {} checks, but to {of} checks", word(self))));
            }
        }
        others
    }
}

struct Timing {
    interval: Duration,
    timeout: Duration,
    fast_interval: Option<Duration>,
    jitter: u8,
}

impl Default for Timing {
    fn default() -> Self {
        let (interval, timeout) = (Duration::from_secs(1), Duration::from_millis(500));
        Self { interval, timeout, fast_interval: None, jitter: 10 }
    }
}

fn timing(table: &Table<'_>, report: &mut Report) -> Timing {
    let defaults = Timing::default();
    let interval = table.read("interval", report, |v| pace(v, "interval")).unwrap_or(defaults.interval);
    let fast_interval = table.read("fast-interval", report, |v| pace(v, "interval"));
    let timeout_read = table.read("timeout", report, |v| match values::duration(v)? {
        span if span.is_zero() => Err(Fault::new("a timeout of nothing", "no check could ever pass")),
        span => Ok(span),
    });
    let timeout = timeout_read.unwrap_or(defaults.timeout);
    if timeout > interval && (timeout_read.is_some() || table.get("timeout").is_none()) {
        let (long, short) = (values::written(timeout), values::written(interval));
        let fault = Fault::new("timeout is longer than interval", format!("a check of {long} every {short}"));
        let fault = fault.help(format!("timeout is {long}, interval is {short}: runs would overlap"));
        let key = if table.get("timeout").is_some() { "timeout" } else { "interval" };
        report.push(fault.at(&table.at(key)));
    }
    if let Some(fast) = fast_interval.filter(|fast| *fast > interval) {
        let label = format!("{} is above {}", values::written(fast), values::written(interval));
        report.push(Fault::new("fast-interval is longer than interval", label).at(&table.at("fast-interval")));
    }
    let jitter = table.read("jitter", report, jitter).unwrap_or(defaults.jitter);
    Timing { interval, timeout, fast_interval, jitter }
}

/// Below 10 ms a host would be busy with checking itself.
fn pace(value: &Value<'_>, what: &str) -> Result<Duration, Fault> {
    match values::duration(value)? {
        span if span < Duration::from_millis(10) => Err(Fault::new(format!("{what} too short"), "at least \"10ms\"")),
        span => Ok(span),
    }
}

/// "10%"
fn jitter(value: &Value<'_>) -> Result<u8, Fault> {
    if let Some(number) = value.bare_number() {
        return Err(Fault::new("jitter is a part of the interval", format!("did you mean \"{number}%\"?")));
    }
    let text = value.text()?;
    let number = text.strip_suffix('%').filter(|number| number.bytes().all(|b| b.is_ascii_digit()));
    let percent = number.and_then(|number| number.parse::<u8>().ok()).filter(|percent| *percent <= 100);
    percent.ok_or_else(|| Fault::new(format!("not a jitter: {text:?}"), "should be \"0%\" to \"100%\""))
}

fn times(value: &Value<'_>) -> Result<NonZeroU8, Fault> {
    let number = values::small::<u8>(value, 1, u8::MAX)?;
    NonZeroU8::new(number).ok_or_else(|| Fault::new("number out of range", "should be 1 to 255"))
}

fn target(value: &Value<'_>) -> Result<Target, Fault> {
    if value.text()? == "service" {
        return Ok(Target::Service);
    }
    values::address(value)
        .map(Target::Address)
        .map_err(|fault| fault.help("or \"service\": each address of the service, from that address"))
}

fn plain_text(value: &Value<'_>) -> Result<String, Fault> {
    match value.text()? {
        "" => Err(Fault::new("an empty text", "leave the key out instead")),
        text => Ok(text.to_owned()),
    }
}

fn tcp(table: &Table<'_>, report: &mut Report) -> Option<CheckKind> {
    let send = table.read("send", report, plain_text);
    let expect = table.read("expect", report, plain_text);
    let port = table.need("port", report, values::port)?;
    Some(CheckKind::Tcp(TcpCheck { port, send, expect }))
}

fn udp(table: &Table<'_>, report: &mut Report) -> Option<CheckKind> {
    let send = table.read("send", report, plain_text);
    let expect = table.read("expect", report, plain_text);
    let port = table.need("port", report, values::port)?;
    Some(CheckKind::Udp(UdpCheck { port, send, expect }))
}

/// unix(7): `sun_path` has 108 bytes, the last of them a zero.
const LONGEST_SOCKET: usize = 107;

fn unix(table: &Table<'_>, report: &mut Report) -> Option<CheckKind> {
    let send = table.read("send", report, plain_text);
    let expect = table.read("expect", report, plain_text);
    let path = table.need("path", report, |v| match values::path(v)? {
        path if path.as_os_str().len() > LONGEST_SOCKET => {
            let length = path.as_os_str().len();
            Err(Fault::new(format!("the path of a socket has at most {LONGEST_SOCKET} bytes"), format!("has {length}")))
        }
        path => Ok(path),
    })?;
    Some(CheckKind::Unix(UnixCheck { path, send, expect }))
}
