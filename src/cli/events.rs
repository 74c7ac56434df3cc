//! `anycaster events`: what changed, and why.

use std::time::Duration;

use super::ask::{Daemon, Screen, fail};
use super::paint::{Ink, printable};
use crate::io::{clock, terminal};
use crate::status::{Event, rfc3339};

/// Nobody reads faster, and four questions a second cost the daemon nothing.
const PAUSE: Duration = Duration::from_millis(250);

/// The exit code: 0, also where nothing has happened; 2 where the daemon does not answer, or is gone.
pub(super) fn events(daemon: &Daemon, since: Option<Duration>, follow: bool) -> u8 {
    let (mut events, body) = match daemon.ask::<Vec<Event>>("/events") {
        Ok(answer) => answer,
        Err(why) => return fail(&why),
    };
    let mut last = events.last().map_or(0, |event| event.id);
    if let Some(since) = since {
        let from = clock::since_1970().saturating_sub(since);
        events.retain(|event| rfc3339::parse(&event.at).is_none_or(|at| at >= from));
    }
    if !follow {
        match (daemon.json, since) {
            (true, None) => terminal::print(&body),
            (true, Some(_)) => terminal::print(array(&events).as_bytes()),
            (false, _) => terminal::print(lines(&events, Screen::now()).as_bytes()),
        };
        return 0;
    }
    loop {
        let text = if daemon.json { json_lines(&events) } else { lines(&events, Screen::now()) };
        if !terminal::print(text.as_bytes()) {
            return 0;
        }
        clock::sleep(PAUSE);
        let newer: Vec<Event> = match daemon.ask(&format!("/events?after={last}")) {
            Ok((newer, _)) => newer,
            Err(why) => return fail(&why),
        };
        if let (Some(first), true) = (newer.first(), last > 0) {
            match first.id.checked_sub(last + 1) {
                Some(0) => {}
                Some(lost) => terminal::complain(&format!("{lost} events came too fast and are only in the log")),
                None => terminal::complain("the daemon was started anew"),
            }
        }
        last = newer.last().map_or(last, |event| event.id);
        events = newer;
    }
}

fn array(events: &[Event]) -> String {
    serde_json::to_string(events).unwrap_or_default() + "\n"
}

/// One object a line: what programs read from a stream.
fn json_lines(events: &[Event]) -> String {
    let line = |event: &Event| serde_json::to_string(event).unwrap_or_default() + "\n";
    events.iter().map(line).collect()
}

/// The widths are fixed, so that what follows stands below what was there.
fn lines(events: &[Event], screen: Screen) -> String {
    events.iter().map(|event| line(event, screen)).collect()
}

fn line(event: &Event, screen: Screen) -> String {
    let subject = [&event.service, &event.prefix, &event.neighbor].into_iter().flatten();
    let subject: Vec<&str> = subject.map(String::as_str).collect();
    let change = match (event.from.as_str(), event.to.as_str()) {
        ("", to) => to.to_owned(),
        (from, to) => format!("{from} -> {to}"),
    };
    let why: Vec<&str> = [event.reason.as_str(), event.detail.as_str()].into_iter().filter(|w| !w.is_empty()).collect();
    let plain = format!("{:<24}  {:<7}  {:<32}  ", event.at, event.kind, subject.join(" "));
    let painted = screen.paint.text(ink(event), &change).into_owned();
    let gap = " ".repeat(18_usize.saturating_sub(change.chars().count()));
    let line = format!("{}{painted}{gap}  {}", printable(&plain), printable(&why.join(": ")));
    line.trim_end().to_owned() + "\n"
}

fn ink(event: &Event) -> Ink {
    match event.to.as_str() {
        "up" | "announced" | "ok" => Ink::Good,
        "kept" | "unknown" => Ink::Warn,
        _ => Ink::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::super::paint::Paint;
    use super::*;

    fn event(kind: &str, from: &str, to: &str, reason: &str, detail: &str) -> Event {
        let at = "2026-11-22T02:12:05.123Z".to_owned();
        let (service, prefix) = (Some("dns".to_owned()), (kind == "prefix").then(|| "192.0.2.53/32".to_owned()));
        let [kind, from, to, reason, detail] = [kind, from, to, reason, detail].map(str::to_owned);
        Event { id: 1, at, kind, service, prefix, neighbor: None, from, to, reason, detail }
    }

    #[test]
    fn a_line_says_when_what_and_why() {
        let events = [
            event("prefix", "announced", "held", "not-listening", "nothing listens: udp/53 on 192.0.2.53"),
            event("hook", "", "failed", "down", "exit 1: no\u{1b}[2J"),
            event("prefix", "held", "announced", "", ""),
        ];
        let screen = Screen { now: Duration::ZERO, paint: Paint::new(false) };
        let expected = "\
2026-11-22T02:12:05.123Z  prefix   dns 192.0.2.53/32                 announced -> held   not-listening: nothing listens: udp/53 on 192.0.2.53
2026-11-22T02:12:05.123Z  hook     dns                               failed              down: exit 1: no?[2J
2026-11-22T02:12:05.123Z  prefix   dns 192.0.2.53/32                 held -> announced
";
        assert_eq!(lines(&events, screen), expected);
    }

    #[test]
    fn colour_does_not_move_columns() {
        let held = [event("prefix", "announced", "held", "drained", "weight = 0")];
        let screen = |colour| Screen { now: Duration::ZERO, paint: Paint::new(colour) };
        let painted = lines(&held, screen(true));
        assert_eq!(painted.replace("\u{1b}[31m", "").replace("\u{1b}[0m", ""), lines(&held, screen(false)));
        assert_ne!(painted, lines(&held, screen(false)));
    }
}
