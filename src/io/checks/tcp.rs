//! A TCP check: connect; say something; hear something.

use std::net::{IpAddr, SocketAddr};

use socket2::Socket;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Bad, Phase, Progress, dial, words};
use crate::config::TcpCheck;

/// A banner or an answer fits; what a server sends beyond it is not looked at.
const MOST_READ: usize = 64 * 1024;

/// All that a check without `send` and `expect` asks for.
pub(super) fn connected(socket: Socket) -> Result<String, Bad> {
    drop(socket);
    Ok("connected".to_owned())
}

/// The rest of a connect that was not over at once.
pub(super) async fn finish(socket: Socket) -> Result<String, Bad> {
    dial::wait(socket).await.map(|_closed| "connected".to_owned())
}

pub(super) async fn run(
    check: &TcpCheck,
    from: Option<IpAddr>,
    to: IpAddr,
    progress: &Progress,
) -> Result<String, Bad> {
    let stream = dial::connect(from, SocketAddr::new(to, check.port)).await?;
    talk(check.send.as_deref(), check.expect.as_deref(), stream, progress).await
}

/// On a connection of any kind.
pub(super) async fn talk(
    send: Option<&str>,
    expect: Option<&str>,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    progress: &Progress,
) -> Result<String, Bad> {
    progress.reached(Phase::Answer);
    if let Some(send) = send {
        stream.write_all(send.as_bytes()).await.map_err(|e| Bad::Fail(words::io(&e)))?;
    }
    match expect {
        None => Ok("connected".to_owned()),
        Some(expect) => hear(&mut stream, expect.as_bytes()).await,
    }
}

async fn hear(stream: &mut (impl AsyncRead + Unpin), expect: &[u8]) -> Result<String, Bad> {
    let mut heard = Vec::new();
    while heard.len() < MOST_READ {
        let before = heard.len();
        let read = (&mut *stream).take((MOST_READ - before) as u64).read_buf(&mut heard).await;
        if read.map_err(|e| Bad::Fail(words::io(&e)))? == 0 {
            return Err(Bad::Fail(match before {
                0 => "connection closed without an answer".to_owned(),
                _ => format!("not the expected answer: {}", first_line(&heard)),
            }));
        }
        if find(&heard, before, expect) {
            return Ok("answered as expected".to_owned());
        }
    }
    Err(Bad::Fail(format!("not the expected answer in {} KiB", MOST_READ / 1024)))
}

/// Is `needle` in `heard`? What was looked through before the byte `before` is not looked through again.
pub(super) fn find(heard: &[u8], before: usize, needle: &[u8]) -> bool {
    let from = before.saturating_sub(needle.len().saturating_sub(1));
    let fresh = heard.get(from..).unwrap_or_default();
    needle.is_empty() || fresh.windows(needle.len()).any(|window| window == needle)
}

pub(super) fn first_line(heard: &[u8]) -> String {
    let line = heard.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    words::clean(&String::from_utf8_lossy(line.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needle_is_found_wherever_the_reads_are_cut() {
        let text = b"220 mail.example ESMTP\r\n";
        for needle in [&b"220"[..], b"ESMTP\r\n", b"e", b"220 mail.example ESMTP\r\n", b""] {
            for cut in 0..text.len() {
                let found = find(&text[..cut], 0, needle) || find(text, cut, needle);
                assert!(found, "{needle:?} cut at {cut}");
            }
        }
        for absent in [&b"221"[..], b"ESMTPS", b"220 mail.example ESMTP\r\n!"] {
            assert!(!find(text, 0, absent));
        }
    }
}
