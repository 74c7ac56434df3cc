//! The daemon as a process: what signals do to it, and what it costs while nothing happens.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these tests drive a process, and fail on whatever they did not expect"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon with one neighbor that nobody is, and one service whose address is not here.
struct Daemon {
    child: Child,
    lines: Receiver<String>,
    folder: TempDir,
}

impl Daemon {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path().join("control.sock");
        let config = folder.path().join("config.toml");
        let text = format!(
            r#"
[router]
asn = 65010
id = "192.0.2.254"
control = "{}"
http = "off"
[neighbors.tor]
address = "127.0.0.1"
port = 9
asn = 65001
[services.dns]
prefixes = ["192.0.2.53"]
binding = {{ listen = ["tcp/53"] }}
[[services.dns.checks]]
name = "outside"
type = "push"
ttl = "2s"
target = "192.0.2.53"
"#,
            control.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_anycaster"));
        command.args(["run", "-c"]).arg(&config).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let daemon = Self { child, lines, folder };
        daemon.line("session");
        daemon
    }

    fn line(&self, word: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("no line with {word:?}: {error}"));
            if line.contains(word) {
                return line;
            }
        }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = UnixStream::connect(self.folder.path().join("control.sock")).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// Of its one check: state and detail.
    fn check(&self) -> (String, String) {
        let answer = self.ask("GET", "/services", "");
        let services: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let word = |key: &str| services[0]["checks"][0][key].as_str().unwrap().to_owned();
        (word("state"), word("detail"))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_hangup_is_answered_and_survived_and_a_termination_ends_with_success() {
    let mut daemon = Daemon::start();
    daemon.signal(Signal::SIGHUP);
    assert!(
        daemon
            .line("SIGHUP")
            .ends_with("WARN  SIGHUP: reload is not supported yet; restart to read the configuration again")
    );
    // It still listens to people.
    let socket = daemon.folder.path().join("control.sock");
    let status = Command::new(env!("CARGO_BIN_EXE_anycaster"))
        .args(["status", "--json", "--socket"])
        .arg(&socket)
        .output()
        .unwrap();
    assert_eq!(status.status.code(), Some(1), "one prefix is held: {}", String::from_utf8_lossy(&status.stderr));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), Some(0));
    assert!(!Path::new(&socket).exists());
}

#[test]
fn a_dead_mans_switch_is_held_by_pushes_and_falls_without_them() {
    let daemon = Daemon::start();
    let push = || daemon.ask("PUT", "/services/dns/checks/outside/push", r#"{"ok":true,"detail":"seen from afar"}"#);
    let deadline = Instant::now() + PATIENCE;
    while daemon.check() != ("up".to_owned(), "seen from afar".to_owned()) {
        assert!(push().ends_with("\r\n\r\n{\"addresses\":[\"192.0.2.53\"]}\n"));
        assert!(Instant::now() < deadline, "{:?}", daemon.check());
    }
    while daemon.check() != ("down".to_owned(), "no push for 2s".to_owned()) {
        std::thread::sleep(Duration::from_millis(20));
        assert!(Instant::now() < deadline, "{:?}", daemon.check());
    }
    let metrics = daemon.ask("GET", "/metrics", "");
    let timeouts = "anycaster_check_timeouts_total{service=\"dns\",check=\"outside\"} ";
    let counted = metrics.lines().find_map(|line| line.strip_prefix(timeouts)).unwrap().parse::<u32>().unwrap();
    assert!(counted > 0, "{metrics}");
}

#[test]
fn it_may_open_as_many_descriptors_as_the_system_allows() {
    let daemon = Daemon::start();
    let limits = daemon.proc("limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [.., soft, hard, _] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
    assert_eq!(soft, hard);
}

/// Nothing is bound here and nobody answers: all that is left is a dial each five seconds and a read each thirty.
#[test]
fn it_sleeps_while_nothing_happens() {
    let daemon = Daemon::start();
    let turns = || -> u64 {
        let status = daemon.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse().unwrap()
    };
    std::thread::sleep(Duration::from_millis(500));
    let (before, start) = (turns(), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let rate = (turns() - before) as f64 / start.elapsed().as_secs_f64();
    println!("{rate} wake-ups a second");
    assert!(rate < 20.0, "{rate} wake-ups of the engine's thread a second");
}
