//! What grpc checks ask.

use crate::config::report::{Fault, Report};
use crate::config::tree::{Table, Value};
use crate::config::values;
use crate::config::{CheckKind, Tls};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrpcCheck {
    pub port: u16,
    /// Of grpc.health.v1; empty: the server as a whole.
    pub service: String,
    pub tls: Option<Tls>,
}

pub(super) fn grpc(table: &Table<'_>, tls: Option<Tls>, report: &mut Report) -> Option<CheckKind> {
    let service = table.read("service", report, service).unwrap_or_default();
    let port = table.need("port", report, values::port)?;
    Some(CheckKind::Grpc(Box::new(GrpcCheck { port, service, tls })))
}

/// Any text may be the name of a service; what no server has is a mistake in this file.
fn service(value: &Value<'_>) -> Result<String, Fault> {
    let text = value.text()?;
    let wrong = |label: &str| Err(Fault::new(format!("not the name of a service: {text:?}"), label));
    match text {
        _ if !text.bytes().all(|b| b.is_ascii_graphic()) => wrong("should be like \"example.v1.Search\""),
        _ if text.len() > 255 => wrong("longer than 255 octets"),
        _ => Ok(text.to_owned()),
    }
}

/// `None`: without TLS, and then its keys do not belong here.
pub(super) fn tls(table: &Table<'_>, report: &mut Report) -> Option<Tls> {
    let read = super::tls(table, report);
    if table.read("tls", report, Value::boolean).unwrap_or(false) {
        return Some(read);
    }
    for entry in ["server-name", "ca-file", "insecure"].into_iter().filter_map(|key| table.get(key)) {
        let fault = Fault::new(format!("`{}` is for checks with tls = true", entry.key), "not used here");
        report.push(fault.at(&entry.at));
    }
    None
}
