//! The log as a process has it: standard error is a pipe, and perhaps nobody reads it. And the service manager, which
//! knows a process by its environment too.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a test starts programs and stops where something is not as it must be"
)]

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anycaster::Time;
use anycaster::config::{Log, LogFormat, LogLevel};
use anycaster::engine::{Event, EventKind};
use anycaster::io::log;
use anycaster::io::notify::Notify;

fn withdrawn(number: usize) -> Event {
    Event {
        kind: EventKind::Prefix,
        service: Some("dns".to_owned()),
        prefix: Some(format!("192.0.2.{number}/32")),
        neighbor: None,
        from: "announced".to_owned(),
        to: "held".to_owned(),
        reason: "not-listening".to_owned(),
        detail: "no socket".to_owned(),
    }
}

/// This test program again, as a process that only logs.
fn child(format: &str, events: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "logs_and_ends", "--ignored", "--nocapture"])
        .env("LOG_TEST_FORMAT", format)
        .env("LOG_TEST_EVENTS", events.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the child of the other tests"]
fn logs_and_ends() {
    let format = match std::env::var("LOG_TEST_FORMAT").as_deref() {
        Ok("json") => LogFormat::Json,
        Ok("journald") => LogFormat::Journald,
        Ok(_) | Err(_) => LogFormat::Text,
    };
    let events = std::env::var("LOG_TEST_EVENTS").map_or(1, |events| events.parse().unwrap());
    let guard = log::start(&Log { format, level: LogLevel::Info }).unwrap();
    tracing::debug!(target: "anycaster", "not at this level");
    tracing::info!(target: "somebody_else", "of no interest");
    for number in 0..events {
        log::event(&withdrawn(number));
    }
    drop(guard);
}

fn stderr(mut child: Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    text
}

#[test]
fn lines_come_out_whole_and_all() {
    let text = stderr(child("text", 3));
    let lines: Vec<&str> = text.lines().filter_map(|line| line.split_once("Z ")).map(|(_, line)| line).collect();
    let line = |number| {
        format!(
            "WARN  prefix announced -> held service=dns prefix=192.0.2.{number}/32 reason=not-listening \
             detail=\"no socket\""
        )
    };
    assert_eq!(lines, [line(0), line(1), line(2)]);
}

#[test]
fn json_lines_hold_the_reason() {
    let text = stderr(child("json", 1));
    let line = text.lines().find(|line| line.starts_with('{')).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(value.as_object_mut().unwrap().remove("at").is_some());
    assert_eq!(
        value,
        serde_json::json!({
            "level": "warn", "target": "anycaster::event", "message": "prefix announced -> held", "kind": "prefix",
            "service": "dns", "prefix": "192.0.2.0/32", "from": "announced", "to": "held", "reason": "not-listening",
            "detail": "no socket",
        })
    );
}

#[test]
fn without_a_journal_text_and_a_sentence() {
    if std::path::Path::new("/run/systemd/journal/socket").exists() {
        eprintln!("SKIPPED: there is a journal here");
        return;
    }
    let text = stderr(child("journald", 1));
    assert!(text.contains("no journal answers on /run/systemd/journal/socket"), "{text}");
    assert!(text.contains("logging text to standard error"), "{text}");
    assert!(text.contains("prefix announced -> held"), "{text}");
}

#[test]
fn a_pipe_that_nobody_reads_delays_nothing() {
    // 20,000 lines of 120 bytes: far more than a pipe and the queue hold.
    let mut child = child("text", 20_000);
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(10), "the logging process hangs");
        std::thread::sleep(Duration::from_millis(20));
    }
    let text = stderr(child);
    assert!(text.contains("192.0.2.0/32") && !text.contains("192.0.2.19999/32"));
}

#[test]
fn what_was_dropped_is_said() {
    let child = child("text", 20_000);
    // Long enough that the queue is full, short enough that the flush at the end still finds a reader.
    std::thread::sleep(Duration::from_millis(100));
    let text = stderr(child);
    let written = text.lines().filter(|line| line.contains("prefix announced")).count();
    let dropped: usize = text
        .lines()
        .filter(|line| line.contains("log records dropped"))
        .map(|line| line.rsplit_once("dropped=").unwrap().1.parse::<usize>().unwrap())
        .sum();
    assert!(dropped > 0, "nothing was dropped: the test shows nothing");
    assert_eq!(written + dropped, 20_000);
}

#[test]
#[ignore = "the child of the_service_manager_is_told"]
fn notifies() {
    let mut notify = Notify::start().unwrap();
    let second = |n: u64| Time::from_nanos(n * 1_000_000_000);
    notify.ready();
    for seconds in [100, 101, 102, 105, 106] {
        notify.watchdog(second(seconds));
    }
    assert_eq!(notify.deadline(), Some(second(110)));
    notify.stopping();
    // Until the parent has read it all.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn the_service_manager_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "notifies", "--ignored", "--nocapture"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "10000000")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let received = || {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(bytes.get(..length).unwrap()).into_owned()
    };
    let all: Vec<String> = (0..4).map(|_| received()).collect();
    assert_eq!(all, ["READY=1\n", "WATCHDOG=1\n", "WATCHDOG=1\n", "STOPPING=1\n"]);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
