//! Durations as they are written: in the file and on the command line.

use std::time::Duration;

use super::report::Fault;

/// A year: beyond it a number was mistyped.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// "500ms" "10s" "2m" "1h"; the error is one sentence.
pub fn duration(text: &str) -> Result<Duration, String> {
    parse(text).map_err(|Fault { label, .. }| label)
}

pub(super) fn parse(text: &str) -> Result<Duration, Fault> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits).unwrap_or(("", text));
    let wrong = |label: &str| {
        Fault::new(format!("not a duration: {text:?}"), label)
            .help("durations look like \"500ms\", \"10s\", \"2m\", \"1h\"")
    };
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if !number.is_empty() => return Err(wrong(&format!("no unit: did you mean \"{number}s\"?"))),
        _ => return Err(wrong("should be a whole number and ms, s, m or h")),
    };
    let span = number.parse::<u64>().ok().and_then(|n| n.checked_mul(milliseconds)).map(Duration::from_millis);
    match span {
        Some(span) if span <= LONGEST => Ok(span),
        Some(_) => Err(wrong("longer than a year")),
        None if number.is_empty() => Err(wrong("should be a whole number and ms, s, m or h")),
        None => Err(wrong("longer than a year")),
    }
}

/// How a duration is written in the file.
pub(crate) fn written(span: Duration) -> String {
    let milliseconds = span.as_millis();
    match (milliseconds % 1_000, milliseconds / 1_000) {
        (0, 0) => "0s".to_owned(),
        (0, seconds) if seconds % 3_600 == 0 => format!("{}h", seconds / 3_600),
        (0, seconds) if seconds % 60 == 0 => format!("{}m", seconds / 60),
        (0, seconds) => format!("{seconds}s"),
        (_, _) => format!("{milliseconds}ms"),
    }
}
