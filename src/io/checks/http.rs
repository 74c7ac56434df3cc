//! An HTTP(S) check: one request on a connection of its own; status, and body where asked for.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use regex::bytes::Regex;
use tokio::io::{AsyncRead, AsyncWrite};

use super::tls::Secured;
use super::{Bad, Phase, Progress, dial, words};
use crate::config::HttpCheck;

/// A head is a few hundred bytes; a server that sends more than this is broken or hostile.
const MOST_HEAD: usize = 64 * 1024;

/// Health pages are small: the expression sees so much of the body, and no more is read.
const MOST_BODY: usize = 256 * 1024;

/// An HTTP check with everything parsed.
pub(super) struct Http {
    port: u16,
    method: Method,
    path: Uri,
    headers: HeaderMap,
    /// `None`: the address asked.
    host: Option<HeaderValue>,
    expect_status: Vec<u16>,
    expect_body: Option<Regex>,
    tls: Option<Secured>,
}

impl Http {
    pub(super) fn new(check: &HttpCheck) -> Result<Self, String> {
        let (mut headers, mut host) = (HeaderMap::new(), None);
        for (name, value) in &check.headers {
            let key = HeaderName::try_from(name).map_err(|_| format!("{name:?} is not a header name"))?;
            let value = HeaderValue::try_from(value).map_err(|_| format!("header {name:?} has a bad value"))?;
            if key == HOST {
                host = Some(value);
            } else {
                headers.append(key, value);
            }
        }
        let agent = HeaderValue::from_static(concat!("anycaster/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(agent);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let (None, Some(name)) = (&host, check.tls.as_ref().and_then(|tls| tls.server_name.as_ref())) {
            let name = name.parse().map_or_else(|_| name.clone(), bracketed);
            let name = authority(&name, check.port, check.tls.is_some());
            host = Some(HeaderValue::try_from(&name).map_err(|_| format!("{name:?} is not a host name"))?);
        }
        let method = Method::try_from(check.method.as_str());
        Ok(Self {
            port: check.port,
            method: method.map_err(|_| format!("{:?} is not a method", check.method))?,
            path: Uri::try_from(&check.path).map_err(|_| format!("{:?} is not a path", check.path))?,
            headers,
            host,
            expect_status: check.expect_status.clone(),
            expect_body: check.expect_body.as_deref().map(Regex::new).transpose().map_err(|e| e.to_string())?,
            tls: check.tls.as_ref().map(|tls| Secured::new(tls, "http/1.1")).transpose()?,
        })
    }

    pub(super) async fn run(&self, from: Option<IpAddr>, to: IpAddr, progress: &Progress) -> Result<String, Bad> {
        let request = self.request(to)?;
        let stream = dial::connect(from, SocketAddr::new(to, self.port)).await?;
        match &self.tls {
            None => self.exchange(request, stream, progress).await,
            Some(tls) => {
                progress.reached(Phase::Tls);
                let stream = tls.handshake(stream, to).await?;
                self.exchange(request, stream, progress).await
            }
        }
    }

    fn request(&self, to: IpAddr) -> Result<Request<Empty<Bytes>>, Bad> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        let host = match &self.host {
            Some(host) => host.clone(),
            None => HeaderValue::try_from(authority(&bracketed(to), self.port, self.tls.is_some()))
                .map_err(|error| Bad::Fail(words::clean(&error.to_string())))?,
        };
        request.headers_mut().insert(HOST, host);
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        Ok(request)
    }

    /// The connection lives in this future: dropping it, at the end or at the timeout, closes the socket.
    async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        request: Request<Empty<Bytes>>,
        stream: S,
        progress: &Progress,
    ) -> Result<String, Bad> {
        progress.reached(Phase::Answer);
        let handshake = http1::Builder::new().max_buf_size(MOST_HEAD).handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(failed)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            self.judge(response).await
        };
        tokio::pin!(answer);
        tokio::select! {
            biased;
            verdict = &mut answer => verdict,
            // Read to its end: what it says stands in `answer`, too.
            _ = connection => answer.await,
        }
    }

    async fn judge(&self, response: Response<Incoming>) -> Result<String, Bad> {
        let status = response.status().as_u16();
        if !self.expect_status.contains(&status) {
            return Err(Bad::Fail(format!("HTTP {status}, expected {}", list(&self.expect_status))));
        }
        let Some(regex) = &self.expect_body else { return Ok(format!("HTTP {status}")) };
        let body = read(response.into_body()).await?;
        if regex.is_match(&body) {
            Ok(format!("HTTP {status}, body matches"))
        } else {
            Err(Bad::Fail(format!("HTTP {status}, body does not match")))
        }
    }
}

/// The whole body, or its first [`MOST_BODY`] bytes.
async fn read(mut body: Incoming) -> Result<Vec<u8>, Bad> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(failed)?.into_data() {
            whole.extend(data.iter().take(MOST_BODY - whole.len()));
        }
        if whole.len() >= MOST_BODY {
            break;
        }
    }
    Ok(whole)
}

fn failed(error: hyper::Error) -> Bad {
    Bad::Fail(words::http(&error))
}

fn list(statuses: &[u16]) -> String {
    words::clean(&statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "))
}

pub(super) fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// RFC 9110 §4.2: the port stands only where it is not the scheme's own.
pub(super) fn authority(host: &str, port: u16, tls: bool) -> String {
    if port == if tls { 443 } else { 80 } { host.to_owned() } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_header_names_a_port_only_where_it_must() {
        let v6 = bracketed("2001:db8::53".parse().unwrap());
        for (host, port, tls, header) in [
            ("192.0.2.1", 80, false, "192.0.2.1"),
            ("192.0.2.1", 443, false, "192.0.2.1:443"),
            ("a.example", 443, true, "a.example"),
            ("a.example", 80, true, "a.example:80"),
            (v6.as_str(), 80, false, "[2001:db8::53]"),
            (v6.as_str(), 8080, false, "[2001:db8::53]:8080"),
        ] {
            assert_eq!(authority(host, port, tls), header);
        }
    }

    #[test]
    fn expected_statuses_read_as_a_list() {
        assert_eq!(list(&[200]), "200");
        assert_eq!(list(&[200, 204, 301]), "200 or 204 or 301");
    }
}
