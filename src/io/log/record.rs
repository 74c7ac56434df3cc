//! One log record as plain data, out of what `tracing` hands over.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::Queue;
use crate::io::clock;

/// The target of engine events: their message already says kind, from and to.
pub(super) const EVENT: &str = "anycaster::event";

/// Bytes of one value: a check's output or a peer's text must not fill the queue with a megabyte.
const VALUE: usize = 4096;

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Record {
    /// Since 1970.
    pub(super) at: Duration,
    pub(super) level: Level,
    pub(super) target: String,
    pub(super) message: String,
    /// In the order of the call.
    pub(super) fields: Vec<(&'static str, Value)>,
}

impl Record {
    pub(super) fn lost(at: Duration, count: u64) -> Self {
        Self {
            at,
            level: Level::WARN,
            target: module_path!().to_owned(),
            message: "log records dropped, nobody read fast enough".to_owned(),
            fields: vec![("dropped", count.into())],
        }
    }
}

#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) queue: Queue,
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut record = Record {
            at: clock::since_1970(),
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut Fields(&mut record));
        self.queue.push(record);
    }
}

struct Fields<'a>(&'a mut Record);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        // Records that came by way of the `log` crate carry their origin as fields.
        match (field.name(), value) {
            ("message", Value::String(text)) => self.0.message = text,
            ("log.target", Value::String(text)) => self.0.target = text,
            ("log.module_path" | "log.file" | "log.line", _) => {}
            (_, Value::String(text)) if text.is_empty() => {}
            (name, value) => self.0.fields.push((name, value)),
        }
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, bounded(value).into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, bounded(&format!("{value:?}")).into());
    }
}

fn bounded(text: &str) -> String {
    if text.len() <= VALUE {
        return text.to_owned();
    }
    let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= VALUE).last();
    format!("{}...", text.get(..end.unwrap_or(0)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_between_letters() {
        assert_eq!(bounded("short"), "short");
        let long = "é".repeat(VALUE);
        assert_eq!(bounded(&long), format!("{}...", "é".repeat(VALUE / 2)));
    }
}
