//! `PUT /services/SERVICE/checks/CHECK/push`: the one page that takes a body.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Body;
use serde::{Deserialize, Serialize};

use super::answer::{decode, hint};
use super::{Push, Request};
use crate::engine::NotPushed;
use crate::io::checks::words;

/// A detail is one line of a status table: what is longer was meant for somebody else.
const MOST: usize = 4096;

/// From the end of the header; a client on this host needs microseconds.
const BODY_TIME: Duration = Duration::from_secs(2);

/// Most addresses that an answer names.
const SHOWN: usize = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    ok: bool,
    detail: Option<String>,
    address: Option<IpAddr>,
}

#[derive(Serialize)]
pub(super) struct Counted {
    addresses: Vec<IpAddr>,
}

/// The names of the service and of the check, where the path is this page's.
pub(super) fn subject(path: &str) -> Option<(String, String)> {
    let (service, check) = path.strip_prefix("/services/")?.strip_suffix("/push")?.split_once("/checks/")?;
    let name = |encoded: &str| decode(encoded).filter(|name| !name.is_empty() && !encoded.contains('/'));
    Some((name(service)?, name(check)?))
}

/// The error is a sentence.
pub(super) async fn request<B>((service, check): (String, String), body: B) -> Result<Request, String>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let body = std::pin::pin!(Limited::new(body, MOST).collect());
    let bytes = match tokio::time::timeout(BODY_TIME, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(format!("a push has at most {MOST} octets")),
        Ok(Err(error)) => return Err(format!("the body cannot be read: {error}")),
        Err(_) => return Err(format!("the body did not come within {} s", BODY_TIME.as_secs())),
    };
    let said: Said = serde_json::from_slice(&bytes)
        .map_err(|error| format!("not a push: {}; it is like {{\"ok\":true}}", words::clean(&error.to_string())))?;
    let detail = words::clean(said.detail.as_deref().unwrap_or_default());
    let detail = match (detail.is_empty(), said.ok) {
        (false, _) => detail,
        (true, true) => "pushed: ok".to_owned(),
        (true, false) => "pushed: not ok".to_owned(),
    };
    Ok(Request::Push(Push { service, check, address: said.address, pass: said.ok, detail }))
}

/// What came of it.
pub(super) fn said(request: &Request, result: Result<Vec<IpAddr>, NotPushed>) -> Result<Counted, (StatusCode, String)> {
    let Request::Push(Push { service, check, address, .. }) = request else {
        return Err((StatusCode::INTERNAL_SERVER_ERROR, "an answer to another question".to_owned()));
    };
    result.map(|addresses| Counted { addresses }).map_err(|why| match why {
        NotPushed::NoService { known } => {
            (StatusCode::NOT_FOUND, format!("there is no service {service}; {}", hint(service, &known)))
        }
        NotPushed::NoCheck { known } => {
            (StatusCode::NOT_FOUND, format!("service {service} has no check {check}; {}", hint(check, &known)))
        }
        NotPushed::AnotherType => {
            let text = format!("check {check} of service {service} is not of type push: the daemon runs it");
            (StatusCode::CONFLICT, text)
        }
        NotPushed::NoAddress { here } => {
            let asked = address.map_or_else(String::new, |address| address.to_string());
            let text = format!("check {check} of service {service} has no address {asked} here; {}", list(&here));
            (StatusCode::BAD_REQUEST, text)
        }
    })
}

fn list(here: &[IpAddr]) -> String {
    let names: Vec<String> = here.iter().take(SHOWN).map(ToString::to_string).collect();
    match here.len().checked_sub(SHOWN) {
        _ if here.is_empty() => "it has none now".to_owned(),
        None | Some(0) => format!("it has {}", names.join(", ")),
        Some(more) => format!("it has {} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_from_the_path() {
        let two = |service: &str, check: &str| Some((service.to_owned(), check.to_owned()));
        for (path, expected) in [
            ("/services/dns/checks/outside/push", two("dns", "outside")),
            ("/services/checks/checks/checks/push", two("checks", "checks")),
            ("/services/d%6Es/checks/out%2Fside/push", two("dns", "out/side")),
            ("/services/dns/checks//push", None),
            ("/services//checks/outside/push", None),
            ("/services/dns/checks/out/side/push", None),
            ("/services/dns/x/checks/outside/push", None),
            ("/services/dns/checks/outside/push/", None),
            ("/services/dns/checks/outside", None),
            ("/services/%ff/checks/outside/push", None),
            ("/services", None),
        ] {
            assert_eq!(subject(path), expected, "{path}");
        }
    }

    #[test]
    fn few_addresses_are_named() {
        let here: Vec<IpAddr> = (1..=6).map(|last| IpAddr::from([192, 0, 2, last])).collect();
        assert_eq!(list(&[]), "it has none now");
        assert_eq!(list(&here[..1]), "it has 192.0.2.1");
        assert_eq!(list(&here[..4]), "it has 192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4");
        assert_eq!(list(&here), "it has 192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4 and 2 more");
    }
}
