//! What http and https checks ask for and expect.

use crate::config::report::{Fault, Report};
use crate::config::tree::{Table, Value};
use crate::config::values;
use crate::config::{CheckKind, HttpCheck, Tls};

pub(super) fn http(table: &Table<'_>, tls: Option<Tls>, report: &mut Report) -> Option<CheckKind> {
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

pub(super) fn tls(table: &Table<'_>, report: &mut Report) -> Tls {
    let server_name = table.read("server-name", report, |v| {
        let text = v.text()?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
        if text.len() > 253 || !(text.split('.').all(label) || text.parse::<std::net::IpAddr>().is_ok()) {
            return Err(Fault::new(
                format!("not the name of a server: {text:?}"),
                "should be like \"www.example.net\"",
            ));
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
