//! A gRPC check: one call of `grpc.health.v1.Health/Check`, on a connection of its own.
//!
//! One unary call is a request with a frame of five octets and a message in front of nothing else: made by hand here,
//! on hyper's HTTP/2.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use super::http::{authority, bracketed};
use super::tls::Secured;
use super::{Bad, Phase, Progress, dial, words};
use crate::config::GrpcCheck;
use message::{health, request, status, text};

mod message;

/// A health message has two octets.
const MOST_BODY: usize = 4096;

/// For headers and trailers, as hyper counts them.
const MOST_HEAD: u32 = 16 * 1024;

/// What a server may send before it is read: the least that RFC 9113 §6.9.2 starts with.
const WINDOW: u32 = 65_535;

/// A gRPC check with everything parsed.
pub(super) struct Grpc {
    port: u16,
    message: Bytes,
    /// `None`: the address asked.
    host: Option<String>,
    tls: Option<Secured>,
}

impl Grpc {
    pub(super) fn new(check: &GrpcCheck) -> Result<Self, String> {
        let name = check.tls.as_ref().and_then(|tls| tls.server_name.clone());
        Ok(Self {
            port: check.port,
            message: request(&check.service).into(),
            host: name.map(|name| name.parse().map_or(name, bracketed)),
            tls: check.tls.as_ref().map(|tls| Secured::new(tls, "h2")).transpose()?,
        })
    }

    pub(super) async fn run(&self, from: Option<IpAddr>, to: IpAddr, progress: &Progress) -> Result<String, Bad> {
        let request = self.request(to).map_err(|error| Bad::Fail(words::clean(&error.to_string())))?;
        let stream = dial::connect(from, SocketAddr::new(to, self.port)).await?;
        let Some(tls) = &self.tls else { return exchange(request, stream, progress).await };
        progress.reached(Phase::Tls);
        let stream = tls.handshake(stream, to).await?;
        // RFC 9113 §3.2: over TLS, HTTP/2 is what both sides agreed on, or it is not spoken.
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => exchange(request, stream, progress).await,
            Some(_) | None => Err(Bad::Fail("the server does not offer HTTP/2 (ALPN h2)".to_owned())),
        }
    }

    fn request(&self, to: IpAddr) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let host = self.host.clone().unwrap_or_else(|| bracketed(to));
        let uri = Uri::builder()
            .scheme(if self.tls.is_some() { "https" } else { "http" })
            .authority(authority(&host, self.port, self.tls.is_some()))
            .path_and_query("/grpc.health.v1.Health/Check");
        let mut request = Request::new(Full::new(self.message.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.build()?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        let agent = HeaderValue::from_static(concat!("anycaster/", env!("CARGO_PKG_VERSION")));
        headers.insert(USER_AGENT, agent);
        Ok(request)
    }
}

/// hyper wants tasks of its own for an HTTP/2 connection. They belong to the run: at its end, or at the timeout, the
/// set is dropped, and they with it. Weak, because each of them holds one of these.
#[derive(Clone)]
struct Tasks(Weak<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        if let Some(tasks) = self.0.upgrade() {
            tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
        }
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    request: Request<Full<Bytes>>,
    stream: S,
    progress: &Progress,
) -> Result<String, Bad> {
    progress.reached(Phase::Answer);
    let tasks = Arc::new(Mutex::new(JoinSet::new()));
    let mut builder = http2::Builder::new(Tasks(Arc::downgrade(&tasks)));
    builder.max_header_list_size(MOST_HEAD).initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let answer = async { judge(sender.send_request(request).await.map_err(failed)?).await };
    tokio::pin!(answer);
    tokio::select! {
        biased;
        verdict = &mut answer => verdict,
        // It passes requests on; what ended it stands in `answer`, too.
        _ = connection => answer.await,
    }
}

async fn judge(response: Response<Incoming>) -> Result<String, Bad> {
    let (head, body) = response.into_parts();
    let is_grpc = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if head.status != StatusCode::OK || !is_grpc {
        return Err(Bad::Fail(format!("HTTP {}, not a gRPC answer", head.status.as_u16())));
    }
    // Where there is nothing to say but a failure, it stands in the headers, and there are no trailers.
    if let Some(failure) = failure(&head.headers) {
        return Err(failure);
    }
    let (message, trailers) = read(body).await?;
    match failure(&trailers) {
        Some(failure) => Err(failure),
        None if !trailers.contains_key("grpc-status") => Err(Bad::Fail("answer without grpc-status".to_owned())),
        None => health(&message),
    }
}

/// What `grpc-status` says, where it is there and not 0.
fn failure(headers: &HeaderMap) -> Option<Bad> {
    let code = headers.get("grpc-status").filter(|code| code.as_bytes() != b"0")?;
    let said = headers.get("grpc-message").map_or_else(String::new, |said| text(said.as_bytes()));
    let name = status(&String::from_utf8_lossy(code.as_bytes()));
    let gap = if said.is_empty() { "" } else { ": " };
    Some(Bad::Fail(words::clean(&format!("gRPC status {name}{gap}{said}"))))
}

async fn read(mut body: Incoming) -> Result<(Vec<u8>, HeaderMap), Bad> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame.map_err(failed)?.into_data() {
            Ok(data) => whole.extend(data),
            Err(frame) => return Ok((whole, frame.into_trailers().unwrap_or_default())),
        }
        if whole.len() > MOST_BODY {
            return Err(Bad::Fail(format!("not a health answer: longer than {MOST_BODY} octets")));
        }
    }
    Ok((whole, HeaderMap::new()))
}

fn failed(error: hyper::Error) -> Bad {
    Bad::Fail(words::http2(&error))
}
