//! Entries as text: a line for each, details below it, what is wrong marked with `!!`.
//!
//! ```text
//!   frame     seconds  from > to  #connection  KIND  headline
//!                      label  value
//!                      !! octet N: what is wrong; what the RFCs answer
//! ```

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::super::paint::{Ink, Paint, printable};
use crate::bgp::wire::Notification;
use crate::decode::{Entry, Fault, Field, Item, Kind, Reply, Totals, Value};
use crate::status::rfc3339;

const INDENT: usize = 21;

/// Lists of prefixes go on in the next line from here on.
const WIDTH: usize = 110;

pub(super) fn heading(path: &Path, format: &str, first: Option<u64>) -> String {
    let from = first.map_or_else(String::new, |first| format!(", from {}", moment(first)));
    format!("{}: {format}{from}\n", printable(&path.display().to_string()))
}

/// RFC 3339 with as many digits as captures have.
pub(super) fn moment(nanoseconds: u64) -> String {
    let whole = rfc3339::format(Duration::from_secs(nanoseconds / 1_000_000_000));
    let seconds = whole.strip_suffix(".000Z").unwrap_or(&whole);
    format!("{seconds}.{:09}Z", nanoseconds % 1_000_000_000)
}

pub(super) fn entry(entry: &Entry, first: Option<u64>, paint: Paint) -> String {
    let said = &entry.said;
    let mut out = format!("{:>6} {:>13}  ", entry.frame, relative(entry.at, first));
    if said.kind != Kind::Connection
        && let (Some(from), Some(to)) = (&entry.from, &entry.to)
    {
        let _ = write!(out, "{} > {}  ", from.address, to.address);
    }
    if let Some(connection) = entry.connection {
        let _ = write!(out, "#{connection}  ");
    }
    if !entry.vlans.is_empty() {
        let tags: Vec<String> = entry.vlans.iter().map(u16::to_string).collect();
        let _ = write!(out, "vlan {}  ", tags.join("."));
    }
    let ink = match said.kind {
        _ if !said.faults.is_empty() => Ink::Bad,
        Kind::Notification => Ink::Warn,
        Kind::Connection | Kind::Note | Kind::Keepalive => Ink::Plain,
        Kind::Open
        | Kind::Update
        | Kind::RouteRefresh
        | Kind::UnknownBgp
        | Kind::Bfd
        | Kind::PacketTooBig
        | Kind::Rib
        | Kind::Peers
        | Kind::State => Ink::Bold,
    };
    out += &paint.text(ink, said.kind.name());
    if !said.headline.is_empty() {
        let _ = write!(out, "  {}", said.headline);
    }
    out.push('\n');
    fields(&said.fields, INDENT, &mut out);
    for fault in &said.faults {
        let _ = writeln!(out, "{:INDENT$}{}", "", paint.text(Ink::Bad, &wrong(fault)));
    }
    out
}

/// Seconds since the first frame. Merged captures may go back in time.
fn relative(at: Option<u64>, first: Option<u64>) -> String {
    let Some((at, first)) = at.zip(first) else { return "-".to_owned() };
    let sign = if at < first { "-" } else { "" };
    let span = at.abs_diff(first);
    format!("{sign}{}.{:06}", span / 1_000_000_000, span / 1000 % 1_000_000)
}

fn fields(fields: &[Field], indent: usize, out: &mut String) {
    for field in fields {
        let Some(label) = field.label else { continue };
        match &field.value {
            Value::Items(items) => items.iter().for_each(|item| self::item(item, indent, out)),
            Value::Rows(rows) => {
                for row in rows {
                    let _ = writeln!(out, "{:indent$}{}", "", row.headline);
                    self::fields(&row.fields, indent + 2, out);
                }
            }
            Value::Null | Value::Flag(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                line(label, "", &field.value, indent, out);
            }
        }
    }
}

fn item(item: &Item, indent: usize, out: &mut String) {
    line(&item.name, item.remark, &item.value, indent, out);
}

fn line(label: &str, remark: &str, value: &Value, indent: usize, out: &mut String) {
    let mut text = format!("{:indent$}{label}", "");
    if !remark.is_empty() {
        let _ = write!(text, " ({remark})");
    }
    match value {
        Value::Null | Value::Items(_) | Value::Rows(_) => {}
        Value::Flag(flag) => words(&mut text, indent, &[flag.to_string()], out),
        Value::Number(number) => words(&mut text, indent, &[number.to_string()], out),
        Value::Text(value) => words(&mut text, indent, std::slice::from_ref(value), out),
        Value::List(list) => words(&mut text, indent, list, out),
    }
    out.push_str(text.trim_end());
    out.push('\n');
}

/// Behind the label, and further in where they need more lines.
fn words(text: &mut String, indent: usize, words: &[String], out: &mut String) {
    let comma = words.len() > 1 && words.iter().any(|word| word.contains(' '));
    let mut column = text.chars().count();
    let labeled = column > indent;
    for (index, word) in words.iter().enumerate() {
        let width = word.chars().count();
        if index > 0 && column + width > WIDTH {
            out.push_str(text.trim_end());
            out.push('\n');
            *text = " ".repeat(indent + 4);
            column = indent + 4;
        } else if index > 0 || labeled {
            text.push_str(if index == 0 { "  " } else { " " });
            column += 2;
        }
        text.push_str(word);
        column += width;
        if comma && index + 1 < words.len() {
            text.push(',');
        }
    }
}

fn wrong(fault: &Fault) -> String {
    let place = fault.at.map_or_else(String::new, |at| format!("octet {at}: "));
    let answer = match &fault.reply {
        Reply::Reset(reply) => format!("; answer: NOTIFICATION {}", notification(reply)),
        Reply::Withdraw(None) => "; RFC 7606: treat as withdraw".to_owned(),
        Reply::Withdraw(Some(reply)) => {
            format!("; RFC 7606: treat as withdraw (RFC 4271: NOTIFICATION {})", notification(reply))
        }
        Reply::Discard => "; RFC 7606: discard the attribute".to_owned(),
        Reply::Silence => String::new(),
    };
    format!("!! {place}{}{answer}", fault.what)
}

fn notification(reply: &Notification) -> String {
    let mut text = format!("{}/{} {reply}", reply.code, reply.subcode);
    if !reply.data.is_empty() {
        let _ = write!(text, ", data {}", super::json::hex(&reply.data, 32));
    }
    text
}

/// The last line.
pub(super) fn summary(totals: &Totals) -> String {
    let messages: u64 = totals.messages.iter().map(|(_, count)| count).sum();
    let kinds: Vec<String> = totals.messages.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
    let mut text = format!("{}, {}", plural(totals.frames, "frame"), plural(messages, "message"));
    if !kinds.is_empty() {
        let _ = write!(text, ": {}", kinds.join(", "));
    }
    if totals.malformed > 0 {
        let _ = write!(text, "; {} malformed", totals.malformed);
    }
    text + "\n"
}

fn plural(count: u64, what: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {what}{end}")
}
