//! Where records go, and how they look there.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;

use serde_json::Value;
use tracing::Level;

use super::record::{EVENT, Record};
use crate::config::LogFormat;
use crate::status::rfc3339;

const JOURNAL: &str = "/run/systemd/journal/socket";

#[derive(Debug)]
pub(super) enum Sink {
    Text { colour: bool },
    Json,
    Journal(UnixDatagram),
}

impl Sink {
    /// The second value: why it is not what was asked for.
    pub(super) fn open(format: LogFormat, colour: bool) -> (Self, Option<String>) {
        match format {
            LogFormat::Text => (Self::Text { colour }, None),
            LogFormat::Json => (Self::Json, None),
            LogFormat::Journald => match journal() {
                Ok(socket) => (Self::Journal(socket), None),
                Err(error) => {
                    let regret = format!("no journal answers on {JOURNAL} ({error}): logging text to standard error");
                    (Self::Text { colour }, Some(regret))
                }
            },
        }
    }

    /// What cannot be written is lost: there is nowhere left to say so.
    pub(super) fn write(&self, record: &Record) {
        let _ = match self {
            Self::Text { colour } => std::io::stderr().write_all(text(record, *colour).as_bytes()),
            Self::Json => std::io::stderr().write_all(json(record).as_bytes()),
            Self::Journal(socket) => socket.send(&journald(record)).map(drop),
        };
    }
}

fn journal() -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(JOURNAL)?;
    Ok(socket)
}

/// `2026-11-21T23:07:00.123Z WARN  prefix announced -> held service=dns reason=not-listening`
pub(super) fn text(record: &Record, colour: bool) -> String {
    let (name, code) = match record.level {
        Level::ERROR => ("ERROR", 31),
        Level::WARN => ("WARN ", 33),
        Level::INFO => ("INFO ", 32),
        Level::DEBUG => ("DEBUG", 34),
        Level::TRACE => ("TRACE", 35),
    };
    let at = rfc3339::format(record.at);
    let message = one_line(&record.message);
    let mut line =
        if colour { format!("{at} \u{1b}[{code}m{name}\u{1b}[0m {message}") } else { format!("{at} {name} {message}") };
    for (field, value) in &record.fields {
        let said = record.target == EVENT && ["kind", "from", "to"].contains(field);
        if !said {
            // Writing to a String does not fail.
            let _ = write!(line, " {field}={}", word(value));
        }
    }
    line.push('\n');
    line
}

/// Quoted only where a reader could not tell where it ends.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let plain = |letter: char| !letter.is_whitespace() && !letter.is_control() && letter != '"';
            if text.chars().all(plain) { text.clone() } else { format!("{text:?}") }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Neither a line break nor an escape sequence: a peer's text must not look like a line of ours.
fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|letter| {
            let plain = (!letter.is_control()).then_some(letter);
            plain.into_iter().chain(letter.escape_debug().filter(move |_| plain.is_none()))
        })
        .collect()
}

/// One object a line: at, level, target, message, then the fields.
pub(super) fn json(record: &Record) -> String {
    let known = [
        ("at", rfc3339::format(record.at)),
        ("level", record.level.as_str().to_ascii_lowercase()),
        ("target", record.target.clone()),
        ("message", record.message.clone()),
    ];
    let known = known.into_iter().map(|(name, text)| (name, Value::String(text)));
    let members: Vec<String> = known
        .chain(record.fields.iter().cloned())
        .map(|(name, value)| format!("{}:{value}", Value::String(name.to_owned())))
        .collect();
    format!("{{{}}}\n", members.join(","))
}

/// The journal's native protocol: NAME=value lines, or NAME, length and bytes where the value has a line break.
pub(super) fn journald(record: &Record) -> Vec<u8> {
    let priority = match record.level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    };
    let mut bytes = Vec::new();
    // The message as text has it: `journalctl` shows nothing else.
    let line = text(record, false);
    let message = line.trim_end().splitn(3, ' ').nth(2).unwrap_or_default().trim_start();
    field(&mut bytes, "MESSAGE", message);
    field(&mut bytes, "PRIORITY", priority);
    field(&mut bytes, "SYSLOG_IDENTIFIER", "anycaster");
    field(&mut bytes, "TARGET", &record.target);
    for (name, value) in &record.fields {
        // A name may hold capitals, digits and underscores.
        let name: String = name
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' })
            .collect();
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        field(&mut bytes, &format!("ANYCASTER_{name}"), &value);
    }
    bytes
}

fn field(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&u64::try_from(value.len()).unwrap_or(0).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}
