//! What an operator reads about a check: short, printable, in plain words.
//!
//! Most of it comes from the service being checked, or from a program run for it, and ends in logs, terminals, JSON
//! and metrics: it is taken as hostile.

use std::io;

use nix::errno::Errno;
use rustls::CertificateError;

/// Fits a line of a status table; what is longer is not read by anyone.
const LONGEST: usize = 200;

/// One line of at most [`LONGEST`] characters without anything that moves a cursor or hides text.
pub(in crate::io) fn clean(text: &str) -> String {
    let mut line = String::new();
    let words = text.split(|c: char| c.is_whitespace() || hidden(c)).filter(|w| !w.is_empty());
    let mut length = 0;
    for word in words {
        let gap = usize::from(length > 0);
        let room = LONGEST.saturating_sub(length + gap);
        if room == 0 {
            break;
        }
        if gap == 1 {
            line.push(' ');
        }
        length += gap + word.chars().take(room).count();
        line.extend(word.chars().take(room));
    }
    line
}

/// Control characters, and those that reorder, join or hide their neighbours (bidi and zero width).
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{e0000}'..='\u{e0fff}')
}

/// The kernel's words (without the number), or what TLS found wrong.
pub(super) fn io(error: &io::Error) -> String {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls_error(tls);
    }
    match error.raw_os_error() {
        Some(number) => lower(Errno::from_raw(number).desc()),
        None => clean(&error.to_string()),
    }
}

fn lower(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_lowercase().chain(rest).collect())
}

/// hyper's errors, down to the socket or TLS error that caused them.
pub(super) fn http(error: &hyper::Error) -> String {
    if error.is_parse_too_large() {
        return "the head of the HTTP answer is too long".to_owned();
    }
    if error.is_parse() {
        return "not an HTTP answer".to_owned();
    }
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let cut = cause.is_some_and(|cause| cause.kind() == io::ErrorKind::UnexpectedEof);
    if cut || error.is_incomplete_message() {
        return "connection closed before the answer was complete".to_owned();
    }
    cause.map_or_else(|| clean(&error.to_string()), io)
}

/// The same for HTTP/2. What h2 says is text to us: who found what wrong, and with what.
pub(super) fn http2(error: &hyper::Error) -> String {
    let closed = "connection closed without an answer in HTTP/2".to_owned();
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let mut said = error.to_string();
    for cause in causes {
        match cause.downcast_ref::<io::Error>() {
            // Its own words for these, without the number of an error.
            Some(of_socket) if of_socket.raw_os_error().is_none() => return closed,
            Some(of_socket) => return io(of_socket),
            None => said = cause.to_string(),
        }
    }
    let (who, what) = said.split_once(": ").unwrap_or((&said, ""));
    match who {
        _ if error.is_canceled() || error.is_closed() => closed,
        "connection error detected" => clean(&format!("not an answer in HTTP/2: {what}")),
        "connection error received" => clean(&format!("the server ended the HTTP/2 connection: {what}")),
        "stream error received" => clean(&format!("the server broke off the call: {what}")),
        _ => clean(&format!("HTTP/2: {said}")),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "not our enum, and open: what operators meet has words of its own")]
fn tls_error(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate(error),
        rustls::Error::AlertReceived(alert) => clean(&format!("TLS alert from the server: {alert:?}")),
        rustls::Error::InvalidMessage(_) => "not a TLS answer".to_owned(),
        other => clean(&format!("TLS: {other}")),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "as above")]
fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => "certificate signed by an unknown authority".to_owned(),
        CertificateError::NotValidForName => "certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, .. } => {
            clean(&format!("certificate is not for {}", expected.to_str()))
        }
        CertificateError::Other(why) => clean(&format!("certificate refused: {}", why.0)),
        other => clean(&format!("certificate refused: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_one_short_printable_line() {
        for (hostile, line) in [
            ("", ""),
            ("  two \r\n\t lines\n", "two lines"),
            ("\x1b[2J\x07wiped\0", "[2J wiped"),
            ("\u{202e}txt.exe\u{200b} \u{9b}31m", "txt.exe 31m"),
            ("größer als 日本", "größer als 日本"),
        ] {
            assert_eq!(clean(hostile), line);
        }
        assert_eq!(clean(&"é".repeat(500)), "é".repeat(200));
        assert_eq!(clean(&"ab ".repeat(500)).chars().count(), 200);
        assert_eq!(clean(&format!("{} x", "y".repeat(199))), "y".repeat(199));
    }

    #[test]
    fn errors_of_the_kernel_carry_no_numbers() {
        assert_eq!(io(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(io(&io::Error::from_raw_os_error(13)), "permission denied");
    }
}
