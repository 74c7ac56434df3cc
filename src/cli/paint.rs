//! Colours, times and text that is safe to show.

use std::borrow::Cow;
use std::time::Duration;

use super::ask::Screen;
use crate::status::rfc3339;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ink {
    Plain,
    Bold,
    Good,
    Warn,
    Bad,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Paint {
    colour: bool,
}

impl Paint {
    pub(super) const fn new(colour: bool) -> Self {
        Self { colour }
    }

    pub(super) fn text<'a>(self, ink: Ink, text: &'a str) -> Cow<'a, str> {
        let code = match ink {
            Ink::Plain => return Cow::Borrowed(text),
            Ink::Bold => "1",
            Ink::Good => "32",
            Ink::Warn => "33",
            Ink::Bad => "31",
        };
        if !self.colour || text.is_empty() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(format!("\u{1b}[{code}m{text}\u{1b}[0m"))
    }
}

/// Without control characters: a peer's shutdown text or a check's output must not drive the terminal.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// "12s", "3m 4s", "2h 5m", "9d 1h": two units are enough to act on.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

/// How long ago; the text itself where it is no time. A moment in the future (a clock was set) is now.
pub(super) fn age(since: &str, screen: Screen) -> String {
    match rfc3339::parse(since) {
        Some(since) => span(screen.now.saturating_sub(since)),
        None => printable(since).into_owned(),
    }
}

/// Seconds out of JSON, which may be anything.
pub(super) fn seconds(seconds: f64) -> String {
    span(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (3599, "59m 59s"),
            (3600, "1h 0m"),
            (86_399, "23h 59m"),
            (90_000, "1d 1h"),
            (4_000_000, "46d 7h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(seconds(-1.0), "0s");
        assert_eq!(seconds(f64::NAN), "0s");
        assert_eq!(seconds(f64::INFINITY), "0s");
    }

    #[test]
    fn a_peer_cannot_drive_the_terminal() {
        assert_eq!(printable("bye\u{1b}[2J\n\u{9b}31m"), "bye?[2J??31m");
        assert_eq!(printable("Grüße"), "Grüße");
    }
}
