//! The daemon as a process: what signals, files and pushes do to it, and what it costs while nothing happens.

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
        Self::checking("")
    }

    /// With checks; FOLDER in them stands for a folder of its own.
    fn checking(checks: &str) -> Self {
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
{}"#,
            control.display(),
            checks.replace("FOLDER", folder.path().to_str().unwrap())
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

    /// Of each check: state and detail.
    fn checks(&self) -> Vec<(String, String)> {
        let answer = self.ask("GET", "/services", "");
        let services: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let word = |check: &serde_json::Value, key: &str| check[key].as_str().unwrap().to_owned();
        let checks = services[0]["checks"].as_array().unwrap().iter();
        checks.map(|check| (word(check, "state"), word(check, "detail"))).collect()
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
    let check = "name = \"outside\"\ntype = \"push\"\nttl = \"2s\"\ntarget = \"192.0.2.53\"";
    let daemon = Daemon::checking(&format!("[[services.dns.checks]]\n{check}\n"));
    let push = || daemon.ask("PUT", "/services/dns/checks/outside/push", r#"{"ok":true,"detail":"seen from afar"}"#);
    let deadline = Instant::now() + PATIENCE;
    while daemon.checks() != [("up".to_owned(), "seen from afar".to_owned())] {
        assert!(push().ends_with("\r\n\r\n{\"addresses\":[\"192.0.2.53\"]}\n"));
        assert!(Instant::now() < deadline, "{:?}", daemon.checks());
    }
    while daemon.checks() != [("down".to_owned(), "no push for 2s".to_owned())] {
        std::thread::sleep(Duration::from_millis(20));
        assert!(Instant::now() < deadline, "{:?}", daemon.checks());
    }
    let metrics = daemon.ask("GET", "/metrics", "");
    let timeouts = "anycaster_check_timeouts_total{service=\"dns\",check=\"outside\"} ";
    let counted = metrics.lines().find_map(|line| line.strip_prefix(timeouts)).unwrap().parse::<u32>().unwrap();
    assert!(counted > 0, "{metrics}");
}

#[test]
fn a_file_that_comes_goes_and_grows_old_moves_its_checks() {
    let common = "type = \"file\"\npath = \"FOLDER/loaded\"\ninterval = \"100ms\"\ntimeout = \"100ms\"\n";
    let check = |name: &str, rest: &str| {
        format!("[[services.dns.checks]]\nname = \"{name}\"\n{common}target = \"192.0.2.53\"\n{rest}\n")
    };
    let checks = [check("there", ""), check("absent", "exists = false"), check("young", "max-age = \"1h\"")].concat();
    let daemon = Daemon::checking(&checks);
    let path = daemon.folder.path().join("loaded");
    let deadline = Instant::now() + PATIENCE;
    let wait_for = |words: [(&str, &str); 3]| {
        let expected = words.map(|(state, detail)| (state.to_owned(), detail.to_owned()));
        while daemon.checks() != expected {
            std::thread::sleep(Duration::from_millis(20));
            assert!(Instant::now() < deadline, "{:?}, not {words:?}", daemon.checks());
        }
    };
    let (no, there) = ("no such file", "it is there");
    wait_for([("down", no), ("up", no), ("down", no)]);
    let file = fs::File::create(&path).unwrap();
    let now = std::time::SystemTime::now();
    // So that its age is the same for a while.
    file.set_modified(now + Duration::from_secs(600)).unwrap();
    wait_for([("up", there), ("down", there), ("up", "0 ms old")]);
    file.set_modified(now + Duration::from_secs(9000)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !daemon.checks()[2].1.starts_with("from the future: changed in 8") || daemon.checks()[2].0 != "down" {
        assert!(Instant::now() < deadline, "{:?}", daemon.checks());
    }
    fs::remove_file(&path).unwrap();
    wait_for([("down", no), ("up", no), ("down", no)]);
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
