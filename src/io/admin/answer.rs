//! One request, one answer.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use ipnet::IpNet;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::peer::Rights;
use super::{Query, Reply, Request, push};
use crate::status::metrics;
use crate::status::nearest::nearest;

/// How long the engine may take: it makes no step over 2 ms, so after a thousand of them something is wrong.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PAGES: &str = "/status /neighbors /services /routes /events /metrics /healthz /readyz /explain/PREFIX \
                     /explain/SERVICE and PUT /services/SERVICE/checks/CHECK/push";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Door {
    Control(Rights),
    Tcp,
}

pub(super) async fn answer<B>(
    asked: hyper::Request<B>,
    door: Door,
    queries: &mpsc::Sender<Query>,
) -> Response<Full<Bytes>>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let (asked, body) = asked.into_parts();
    let (method, path) = (asked.method, asked.uri.path());
    if method != Method::GET && door == Door::Control(Rights::Read) {
        let text = "you may only read: root, the daemon's own user and router.control-group may do more";
        return refused(StatusCode::FORBIDDEN, text);
    }
    let request = match push::subject(path) {
        Some(_) if method != Method::PUT => return not_allowed(path, "PUT"),
        Some(_) if door == Door::Tcp => {
            return refused(StatusCode::FORBIDDEN, "this address only reads: push through the control socket");
        }
        Some(subject) => push::request(subject, body).await.map_err(|text| (StatusCode::BAD_REQUEST, text)),
        None => request(path, asked.uri.query()),
    };
    let request = match request {
        Ok(Request::Push(push)) => Request::Push(push),
        Ok(_) if method != Method::GET => return not_allowed(path, "GET"),
        Ok(request) => request,
        Err((status, text)) => return refused(status, &text),
    };
    match tokio::time::timeout(PATIENCE, ask(request.clone(), queries)).await {
        Ok(Some(reply)) => render(&request, reply),
        Ok(None) => refused(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping"),
        Err(_) => {
            let text = format!("the engine has not answered for {} s", PATIENCE.as_secs());
            refused(StatusCode::SERVICE_UNAVAILABLE, &text)
        }
    }
}

fn not_allowed(path: &str, only: &'static str) -> Response<Full<Bytes>> {
    let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, &format!("{path}: {only} only"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(only));
    response
}

/// `None`: the loop is gone.
async fn ask(request: Request, queries: &mpsc::Sender<Query>) -> Option<Reply> {
    let (reply, answer) = oneshot::channel();
    queries.send(Query { request, reply }).await.ok()?;
    answer.await.ok()
}

fn request(path: &str, query: Option<&str>) -> Result<Request, (StatusCode, String)> {
    match path {
        "/status" => Ok(Request::Status),
        "/neighbors" => Ok(Request::Neighbors),
        "/services" => Ok(Request::Services),
        "/routes" => Ok(Request::Routes),
        "/events" => {
            after(query).map(|after| Request::Events { after }).map_err(|text| (StatusCode::BAD_REQUEST, text))
        }
        "/metrics" => Ok(Request::Metrics),
        "/healthz" => Ok(Request::Health),
        "/readyz" => Ok(Request::Ready),
        other => match other.strip_prefix("/explain/") {
            Some(subject) if !subject.is_empty() => {
                subject_of(subject).map(Request::Explain).map_err(|text| (StatusCode::BAD_REQUEST, text))
            }
            Some(_) | None => Err((StatusCode::NOT_FOUND, format!("no page {other:?}; there are {PAGES}"))),
        },
    }
}

/// `?after=ID`
fn after(query: Option<&str>) -> Result<Option<u64>, String> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(None) };
    let id = query.strip_prefix("after=").and_then(|id| id.parse().ok());
    id.map(Some).ok_or_else(|| format!("{query:?} is not understood: after=ID gives the events after that one"))
}

/// A prefix the way the engine names it, or what must be a service.
fn subject_of(encoded: &str) -> Result<String, String> {
    let text = decode(encoded).ok_or_else(|| format!("{encoded:?} is not percent-encoded UTF-8"))?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address).to_string());
    }
    match text.parse::<IpNet>() {
        Ok(prefix) if prefix != prefix.trunc() => {
            Err(format!("{prefix} has host bits set: {} is meant?", prefix.trunc()))
        }
        Ok(prefix) => Ok(prefix.to_string()),
        Err(_) => Ok(text),
    }
}

/// RFC 3986 §2.1; `None` for a percent sign without two hexadecimal digits, and for what is not UTF-8.
pub(super) fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = tail else { return None };
        let (high, low) = (char::from(*high).to_digit(16)?, char::from(*low).to_digit(16)?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

fn render(request: &Request, reply: Reply) -> Response<Full<Bytes>> {
    match reply {
        Reply::Status(status) => json(StatusCode::OK, &status),
        Reply::Neighbors(neighbors) => json(StatusCode::OK, &neighbors),
        Reply::Services(services) => json(StatusCode::OK, &services),
        Reply::Routes(routes) => json(StatusCode::OK, &routes),
        Reply::Events(events) => json(StatusCode::OK, &events),
        Reply::Explanation(explanation) => json(StatusCode::OK, &explanation),
        Reply::Explanations(explanations) => json(StatusCode::OK, &explanations),
        Reply::Healthy => json(StatusCode::OK, &serde_json::json!({ "healthy": true })),
        Reply::Ready(readiness) => {
            let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            json(status, &readiness)
        }
        Reply::Metrics(snapshot) => {
            let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
            response(StatusCode::OK, kind, metrics::render(*snapshot).into())
        }
        Reply::Pushed(result) => match push::said(request, result) {
            Ok(body) => json(StatusCode::OK, &body),
            Err((status, text)) => refused(status, &text),
        },
        Reply::Unknown { known } => {
            let asked = match request {
                Request::Explain(subject) => subject.as_str(),
                Request::Status
                | Request::Neighbors
                | Request::Services
                | Request::Routes
                | Request::Events { .. }
                | Request::Metrics
                | Request::Health
                | Request::Ready
                | Request::Push(_) => "",
            };
            let text = format!("no service announces {asked} and none has that name; {}", hint(asked, &known));
            refused(StatusCode::NOT_FOUND, &text)
        }
    }
}

pub(super) fn hint(asked: &str, known: &[String]) -> String {
    match nearest(asked, known).as_slice() {
        [] => "`anycaster services` lists what there is".to_owned(),
        near => format!("nearest: {}", near.join(", ")),
    }
}

fn refused(status: StatusCode, error: &str) -> Response<Full<Bytes>> {
    json(status, &serde_json::json!({ "error": error }))
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(mut body) => {
            // For the person with curl.
            body.push(b'\n');
            response(status, JSON, body.into())
        }
        Err(error) => {
            let text = format!("{{\"error\":\"not serialisable: {}\"}}\n", error.line());
            response(StatusCode::INTERNAL_SERVER_ERROR, JSON, text.into())
        }
    }
}

fn response(status: StatusCode, kind: HeaderValue, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_decoding() {
        for (encoded, decoded) in [
            ("dns", Some("dns")),
            ("a%20b%2Fc", Some("a b/c")),
            ("%c3%A9", Some("é")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(decode(encoded).as_deref(), decoded, "{encoded}");
        }
    }

    #[test]
    fn pages() {
        let explain = |subject: &str| Ok(Request::Explain(subject.to_owned()));
        for (path, expected) in [
            ("/status", Ok(Request::Status)),
            ("/readyz", Ok(Request::Ready)),
            ("/events", Ok(Request::Events { after: None })),
            ("/events?after=7", Ok(Request::Events { after: Some(7) })),
            ("/events?after=-7", Err(StatusCode::BAD_REQUEST)),
            ("/events?since=1h", Err(StatusCode::BAD_REQUEST)),
            ("/explain/192.0.2.53", explain("192.0.2.53/32")),
            ("/explain/192.0.2.0/24", explain("192.0.2.0/24")),
            ("/explain/192.0.2.0%2f24", explain("192.0.2.0/24")),
            ("/explain/2001:DB8:0::53", explain("2001:db8::53/128")),
            ("/explain/dns", explain("dns")),
            ("/explain/192.0.2.53/24", Err(StatusCode::BAD_REQUEST)),
            ("/explain/%ff", Err(StatusCode::BAD_REQUEST)),
            ("/explain/", Err(StatusCode::NOT_FOUND)),
            ("/explain", Err(StatusCode::NOT_FOUND)),
            ("/", Err(StatusCode::NOT_FOUND)),
            ("/status/", Err(StatusCode::NOT_FOUND)),
        ] {
            let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
            assert_eq!(request(path, query).map_err(|(status, _)| status), expected, "{path}");
        }
    }
}
