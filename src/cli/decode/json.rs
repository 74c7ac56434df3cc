//! Entries as JSON: one object a line, members in a stable order.

use std::fmt::Write;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::text::moment;
use crate::decode::{Endpoint, Entry, Fault, Field, Item, Reply, Row, Value};

pub(super) fn line(entry: &Entry, first: Option<u64>) -> String {
    serde_json::to_string(&Line { entry, first }).unwrap_or_default() + "\n"
}

struct Line<'a> {
    entry: &'a Entry,
    first: Option<u64>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Entry { frame, at, from, to, connection, vlans, said } = self.entry;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("frame", frame)?;
        map.serialize_entry("at", &at.map(moment))?;
        map.serialize_entry("relative", &at.zip(self.first).map(|(at, first)| relative(at, first)))?;
        for (name, port, end) in [("from", "from_port", from), ("to", "to_port", to)] {
            map.serialize_entry(name, &end.map(|end| end.address))?;
            map.serialize_entry(port, &end.and_then(|Endpoint { port, .. }| port))?;
        }
        map.serialize_entry("connection", connection)?;
        map.serialize_entry("vlans", vlans)?;
        map.serialize_entry("type", said.kind.json())?;
        map.serialize_entry("length", &said.length)?;
        map.serialize_entry("summary", &said.headline)?;
        members(&mut map, &said.fields)?;
        map.serialize_entry("errors", &said.faults.iter().map(Wrong).collect::<Vec<_>>())?;
        map.end()
    }
}

fn relative(at: u64, first: u64) -> f64 {
    let span = std::time::Duration::from_nanos(at.abs_diff(first)).as_secs_f64();
    if at < first { -span } else { span }
}

fn members<M: SerializeMap>(map: &mut M, fields: &[Field]) -> Result<(), M::Error> {
    fields.iter().try_for_each(|field| map.serialize_entry(field.key, &Shown(&field.value)))
}

struct Shown<'a>(&'a Value);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_none(),
            Value::Flag(flag) => serializer.serialize_bool(*flag),
            Value::Number(number) => serializer.serialize_u64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(list) => list.serialize(serializer),
            Value::Items(items) => sequence(serializer, items.iter().map(One)),
            Value::Rows(rows) => sequence(serializer, rows.iter().map(Members)),
        }
    }
}

fn sequence<S: Serializer>(serializer: S, all: impl ExactSizeIterator<Item: Serialize>) -> Result<S::Ok, S::Error> {
    let mut sequence = serializer.serialize_seq(Some(all.len()))?;
    for one in all {
        sequence.serialize_element(&one)?;
    }
    sequence.end()
}

struct One<'a>(&'a Item);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Item { code, name, value, remark } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", code)?;
        map.serialize_entry("name", name)?;
        map.serialize_entry("value", &Shown(value))?;
        if !remark.is_empty() {
            map.serialize_entry("remark", remark)?;
        }
        map.end()
    }
}

struct Members<'a>(&'a Row);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        members(&mut map, &self.0.fields)?;
        map.end()
    }
}

struct Wrong<'a>(&'a Fault);

impl Serialize for Wrong<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Fault { at, what, reply } = self.0;
        let (action, notification) = match reply {
            Reply::Reset(notification) => ("reset", Some(notification)),
            Reply::Withdraw(notification) => ("treat-as-withdraw", notification.as_ref()),
            Reply::Discard => ("attribute-discard", None),
            Reply::Silence => ("none", None),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("at", at)?;
        map.serialize_entry("what", what)?;
        map.serialize_entry("action", action)?;
        map.serialize_entry("code", &notification.map(|notification| notification.code))?;
        map.serialize_entry("subcode", &notification.map(|notification| notification.subcode))?;
        map.serialize_entry("data", &notification.map(|notification| hex(&notification.data, usize::MAX)))?;
        map.end()
    }
}

pub(super) fn hex(octets: &[u8], shown: usize) -> String {
    let mut text = String::new();
    for octet in octets.iter().take(shown) {
        let _ = write!(text, "{octet:02x}");
    }
    if octets.len() > shown {
        text.push('…');
    }
    text
}
