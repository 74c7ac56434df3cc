//! The command line's side of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// More than the daemon lets itself take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Room for a hundred thousand routes; whoever answers with more is not our daemon.
const ANSWER: usize = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no anycaster answers on {0}: is the daemon running? (start it with `anycaster run`)")]
    Nobody(PathBuf),
    #[error("cannot reach the anycaster on {path}: {error}")]
    Unreachable { path: PathBuf, error: io::Error },
    #[error("the anycaster on {0} has not answered for {secs} s", secs = PATIENCE.as_secs())]
    Silent(PathBuf),
    #[error("what answers on {path} does not speak as anycaster does: {error}")]
    Garbled { path: PathBuf, error: String },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

/// `path` is already percent-encoded.
pub fn get(socket: &Path, path: &str) -> Result<Answer, ClientError> {
    let unreachable = |error| ClientError::Unreachable { path: socket.to_owned(), error };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unreachable)?;
    runtime.block_on(async {
        let answer = tokio::time::timeout(PATIENCE, exchange(socket, path)).await;
        answer.unwrap_or_else(|_| Err(ClientError::Silent(socket.to_owned())))
    })
}

async fn exchange(socket: &Path, path: &str) -> Result<Answer, ClientError> {
    let garbled =
        |error: &dyn std::fmt::Display| ClientError::Garbled { path: socket.to_owned(), error: error.to_string() };
    let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        let path = socket.to_owned();
        if nobody.contains(&error.kind()) {
            ClientError::Nobody(path)
        } else {
            ClientError::Unreachable { path, error }
        }
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| garbled(&error))?;
    let request = hyper::Request::get(path)
        .header(HOST, "anycaster")
        .body(Empty::<Bytes>::new())
        .map_err(|error| garbled(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| garbled(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER).collect().await;
        Ok(Answer { status, body: body.map_err(|error| garbled(&error))?.to_bytes() })
    };
    tokio::pin!(exchange);
    let mut connection = std::pin::pin!(connection);
    let mut open = true;
    loop {
        tokio::select! {
            answer = &mut exchange => return answer,
            // What ends the connection ends the exchange, with a better reason.
            _ = &mut connection, if open => open = false,
        }
    }
}
