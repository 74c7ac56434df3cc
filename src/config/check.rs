//! `[[services.NAME.checks]]`

use std::collections::BTreeMap;
use std::num::NonZeroU8;
use std::time::Duration;

use super::neighbor::twice;
use super::report::{At, Fault, Report};
use super::service::WHEN_DOWN;
use super::tree::{Keys, Table, Value};
use super::values;
use super::{Check, CheckKind, ExecCheck, HttpCheck, Target, TcpCheck, Tls, WhenDown};

const COMMON: [&str; 10] =
    ["name", "type", "interval", "timeout", "fast-interval", "jitter", "rise", "fall", "on-fail", "target"];
const LATER: [&str; 1] = ["weight-from"];

pub(super) const TCP: Keys = Keys { shared: &COMMON, now: &["port", "send", "expect"], later: &LATER };
const HTTP: Keys = Keys {
    shared: &COMMON,
    now: &["port", "path", "method", "headers", "expect-status", "expect-body"],
    later: &LATER,
};
pub(super) const HTTPS: Keys = Keys {
    shared: &COMMON,
    now: &[
        "port",
        "path",
        "method",
        "headers",
        "expect-status",
        "expect-body",
        "server-name",
        "ca-file",
        "insecure",
    ],
    later: &LATER,
};
pub(super) const EXEC: Keys = Keys { shared: &COMMON, now: &["command", "user", "env"], later: &LATER };

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
    ],
    later: &[
        "weight-from",
        "query",
        "record",
        "transport",
        "service",
        "tls",
        "max-age",
        "exists",
        "unit",
        "ttl",
    ],
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Tcp,
    Http,
    Https,
    Exec,
}

const TYPES: [(&str, Type); 4] =
    [("tcp", Type::Tcp), ("http", Type::Http), ("https", Type::Https), ("exec", Type::Exec)];
const TYPES_LATER: [&str; 7] = ["dns", "grpc", "udp", "unix", "file", "systemd", "push"];

/// Set for every command by the daemon itself.
const OUR_ENVIRONMENT: [&str; 5] = ["SERVICE", "ADDRESS", "STATE", "REASON", "PREFIXES"];

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
    let kind = table.need("type", report, check_type);
    match kind {
        Some(kind) => table.check(kind.keys(), &kind.others(), report),
        // The type is wrong or missing: a key of any type may be meant.
        None => table.check(&ANY, &[], report),
    }
    let timing = timing(table, report);
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
        }
    }

    /// Keys of the other types: known, but not here.
    fn others(self) -> Vec<(&'static str, String)> {
        let word = |kind| TYPES.iter().find(|(_, known)| *known == kind).map_or("", |(word, _)| *word);
        let mut others = Vec::new();
        for (of, kind) in TYPES.iter().filter(|(_, kind)| *kind != self) {
            for key in kind.keys().now.iter() {
                others.push((*key, format!("to {} checks, but to {of} checks", word(self))));
            }
        }
        others
    }
}

fn check_type(value: &Value<'_>) -> Result<Type, Fault> {
    match value.text()? {
        text if TYPES_LATER.contains(&text) => {
            let fault = Fault::new(format!("checks of type {text:?} are not supported yet"), "known, but not part of this version");
            Err(fault.help("supported: tcp, http, https, exec"))
        }
        _ => values::word(value, &TYPES),
    }
}

struct Timing {
    interval: Duration,
    timeout: Duration,
    fast_interval: Option<Duration>,
    jitter: u8,
}

fn timing(table: &Table<'_>, report: &mut Report) -> Timing {
    let interval = table.read("interval", report, pace).unwrap_or(Duration::from_secs(1));
    let fast_interval = table.read("fast-interval", report, pace);
    let timeout_read = table.read("timeout", report, |v| match values::duration(v)? {
        span if span.is_zero() => Err(Fault::new("a timeout of nothing", "no check could ever pass")),
        span => Ok(span),
    });
    let timeout = timeout_read.unwrap_or(Duration::from_millis(500));
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
    let jitter = table.read("jitter", report, jitter).unwrap_or(10);
    Timing { interval, timeout, fast_interval, jitter }
}

/// Below 10 ms a host would be busy with checking itself.
fn pace(value: &Value<'_>) -> Result<Duration, Fault> {
    match values::duration(value)? {
        span if span < Duration::from_millis(10) => Err(Fault::new("interval too short", "at least \"10ms\"")),
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

fn http(table: &Table<'_>, tls: Option<Tls>, report: &mut Report) -> Option<CheckKind> {
    let port = table.read("port", report, values::port).unwrap_or(if tls.is_some() { 443 } else { 80 });
    let path = table.read("path", report, request_path).unwrap_or_else(|| "/".to_owned());
    let method = table.read("method", report, method).unwrap_or_else(|| "GET".to_owned());
    let headers = headers(table, report);
    let statuses = table.list("expect-status", report, |v| values::small::<u16>(v, 100, 599));
    if table.get("expect-status").and_then(|entry| entry.value.items().ok()).is_some_and(|items| items.is_empty()) {
        let fault = Fault::new("no status would pass", "should be like [200, 204]");
        report.push(fault.at(&table.at("expect-status")));
    }
    let expect_status = statuses.map(|list| list.into_iter().map(|(_, status)| status).collect());
    let expect_body = table.read("expect-body", report, expression);
    if expect_body.is_some() && method == "HEAD" {
        let fault = Fault::new("an answer to HEAD has no body", "can never match");
        report.push(fault.at(&table.at("expect-body")));
    }
    Some(CheckKind::Http(Box::new(HttpCheck {
        port,
        path,
        method,
        headers,
        expect_status: expect_status.unwrap_or_else(|| vec![200]),
        expect_body,
        tls,
    })))
}

fn request_path(value: &Value<'_>) -> Result<String, Fault> {
    let text = value.text()?;
    if !text.starts_with('/') {
        return Err(Fault::new(format!("not a path: {text:?}"), "should start with /"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(Fault::new(format!("not a path: {text:?}"), "percent-encode spaces, # and what is not ASCII"));
    }
    Ok(text.to_owned())
}

/// RFC 9110 §5.6.2: what methods and header names are made of.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn method(value: &Value<'_>) -> Result<String, Fault> {
    let text = value.text()?;
    if !is_token(text) || text == "CONNECT" {
        return Err(Fault::new(format!("not a method for a check: {text:?}"), "should be like \"GET\" or \"HEAD\""));
    }
    if text.bytes().any(|b| b.is_ascii_lowercase()) {
        let meant = text.to_ascii_uppercase();
        return Err(Fault::new("methods are written in capitals", format!("did you mean {meant:?}?")));
    }
    Ok(text.to_owned())
}

fn headers(table: &Table<'_>, report: &mut Report) -> Vec<(String, String)> {
    let Some(headers) = table.table("headers", report) else { return Vec::new() };
    let mut read = Vec::new();
    for entry in headers.entries() {
        if !is_token(entry.key) {
            let fault = Fault::new(format!("not the name of a header: {:?}", entry.key), "letters, digits and -");
            report.push(fault.at(&entry.at));
        }
        let value = headers.read(entry.key, report, |v| match v.text()? {
            // RFC 9110 §5.5
            text if text.bytes().all(|b| b == b'\t' || b == b' ' || b.is_ascii_graphic()) => Ok(text.to_owned()),
            text => Err(Fault::new(format!("not the value of a header: {text:?}"), "printable ASCII only")),
        });
        read.extend(value.map(|value| (entry.key.to_owned(), value)));
    }
    read
}

fn expression(value: &Value<'_>) -> Result<String, Fault> {
    let text = value.text()?;
    match regex::Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or("").trim();
            Err(Fault::new("not a regular expression", why.strip_prefix("error: ").unwrap_or(why)))
        }
    }
}

fn tls(table: &Table<'_>, report: &mut Report) -> Tls {
    let server_name = table.read("server-name", report, |v| {
        let text = v.text()?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
        if text.len() > 253 || !(text.split('.').all(label) || text.parse::<std::net::IpAddr>().is_ok()) {
            return Err(Fault::new(format!("not the name of a server: {text:?}"), "should be like \"www.example.net\""));
        }
        Ok(text.to_owned())
    });
    let ca_file = table.read("ca-file", report, values::path);
    let insecure = table.read("insecure", report, Value::boolean).unwrap_or(false);
    if let (true, Some(_)) = (insecure, &ca_file) {
        let fault = Fault::new("insecure = true does not look at ca-file", "one of them has to go");
        report.push(fault.at(&table.at("insecure")).also(&table.at("ca-file"), "never used"));
    }
    Tls { server_name, ca_file, insecure }
}

fn exec(table: &Table<'_>, report: &mut Report) -> Option<CheckKind> {
    let command = table.need("command", report, command);
    let user = table.read("user", report, values::account);
    let env = environment(table, report);
    Some(CheckKind::Exec(ExecCheck { command: command?, user, env }))
}

/// One argv, never empty.
fn command(value: &Value<'_>) -> Result<Vec<String>, Fault> {
    if let Ok(text) = value.text() {
        let words: Vec<&str> = text.split_whitespace().collect();
        return Err(Fault::new("a command is a list of arguments", format!("did you mean {words:?}?"))
            .help("no shell is involved; for one: [\"/bin/sh\", \"-c\", \"...\"]"));
    }
    let mut argv = Vec::new();
    for item in value.items()? {
        let text = item.text()?;
        if text.contains('\0') {
            return Err(Fault::new("an argument cannot hold a zero byte", ""));
        }
        argv.push(text.to_owned());
    }
    match argv.first().map(String::as_str) {
        None | Some("") => Err(Fault::new("no command", "should be like [\"/usr/lib/check\", \"argument\"]")),
        Some(_) => Ok(argv),
    }
}

fn environment(table: &Table<'_>, report: &mut Report) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let Some(table) = table.table("env", report) else { return env };
    for entry in table.entries() {
        if entry.key.is_empty() || entry.key.contains(['=', '\0']) {
            let fault = Fault::new(format!("not the name of a variable: {:?}", entry.key), "no = in it");
            report.push(fault.at(&entry.at));
        }
        if OUR_ENVIRONMENT.contains(&entry.key) {
            let fault = Fault::new(format!("{} is set by anycaster", entry.key), "choose another name");
            report.push(fault.at(&entry.at));
        }
        let value = table.read(entry.key, report, |v| match v.text()? {
            text if text.contains('\0') => Err(Fault::new("a variable cannot hold a zero byte", "")),
            text => Ok(text.to_owned()),
        });
        env.extend(value.map(|value| (entry.key.to_owned(), value)));
    }
    env
}
