//! A question to the running daemon, and its answer on the screen.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::paint::Paint;
use crate::io::{client, clock, terminal};

pub(super) struct Daemon {
    pub(super) socket: PathBuf,
    pub(super) json: bool,
}

/// What a rendering depends on besides its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    /// Wall time since 1970.
    pub(super) now: Duration,
    pub(super) paint: Paint,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Daemon {
    pub(super) fn show<T: DeserializeOwned>(
        &self,
        path: &str,
        render: impl Fn(&T, Screen) -> String,
        exit_code: impl Fn(&T) -> u8,
    ) -> u8 {
        let (value, body) = match self.ask(path) {
            Ok(answer) => answer,
            Err(why) => return fail(&why),
        };
        if self.json {
            terminal::print(&body);
        } else {
            terminal::print(render(&value, Screen::now()).as_bytes());
        }
        exit_code(&value)
    }

    /// The answer as a value and as it came; the error is one sentence.
    pub(super) fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Bytes), String> {
        let answer = client::get(&self.socket, path).map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(match serde_json::from_slice::<Refusal>(&answer.body) {
                Ok(refusal) => refusal.error,
                Err(_) => format!("the daemon answers {} to {path}", answer.status),
            });
        }
        match serde_json::from_slice(&answer.body) {
            Ok(value) => Ok((value, answer.body)),
            Err(error) => Err(format!("the daemon's answer is not understood ({error}): is it another version?")),
        }
    }
}

impl Screen {
    pub(super) fn now() -> Self {
        Self { now: clock::since_1970(), paint: Paint::new(terminal::colour()) }
    }
}

pub(super) fn fail(text: &str) -> u8 {
    // The daemon's words may quote a peer.
    terminal::complain(&super::paint::printable(text));
    2
}

/// Percent-encoding for a path (RFC 3986 §3.3), '/' left as it is.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
