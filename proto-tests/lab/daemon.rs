//! The daemon as its users have it: a process, a file, a control socket, signals and an exit code.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::namespace::{Namespace, Process};
use super::{Scratch, millis, seconds, wait_for};

pub struct Daemon {
    process: Process,
    config: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    notify: UnixDatagram,
    scratch: Scratch,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// `None`: by a signal.
    pub code: Option<i32>,
    pub took: Duration,
    pub said: String,
}

/// The binary under test; `ANYCASTER_BINARY` names another build of it.
pub fn binary() -> PathBuf {
    std::env::var_os("ANYCASTER_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_anycaster").into(), PathBuf::from)
}

impl Daemon {
    /// Runs it and waits until its control socket answers.
    pub fn start(namespace: &Namespace, config: &str) -> Self {
        let mut daemon = Self::spawn(namespace, config, &[]);
        wait_for("the daemon to answer on its control socket", seconds(10), || {
            assert!(daemon.process.running(), "the daemon has ended:\n{}", daemon.log());
            daemon.try_get("/status").map(|_| ()).map_err(|why| format!("{why}; it said:\n{}", daemon.log()))
        });
        daemon
    }

    /// Only runs it. `wrapper` stands before it on the command line.
    pub fn spawn(namespace: &Namespace, config: &str, wrapper: &[&str]) -> Self {
        let scratch = Scratch::new();
        let text = complete(config, &scratch, &scratch.file("control.sock"));
        Self::spawn_command(namespace, scratch, "run", &text, wrapper, &[])
    }

    /// `anycaster pmtud` with a socket of its own; only runs it.
    pub fn spawn_pmtud(namespace: &Namespace, config: &str, wrapper: &[&str]) -> Self {
        let scratch = Scratch::new();
        let socket = scratch.file("control.sock").display().to_string();
        Self::spawn_command(namespace, scratch, "pmtud", config, wrapper, &["--socket", &socket])
    }

    /// `anycaster pmtud`, as far as it answers on its control socket.
    pub fn start_pmtud(namespace: &Namespace, config: &str) -> Self {
        let mut daemon = Self::spawn_pmtud(namespace, config, &[]);
        wait_for("the relay to answer on its control socket", seconds(10), || {
            assert!(daemon.process.running(), "the relay has ended:\n{}", daemon.log());
            daemon.try_get("/status").map(|_| ()).map_err(|why| format!("{why}; it said:\n{}", daemon.log()))
        });
        daemon
    }

    fn spawn_command(
        namespace: &Namespace,
        scratch: Scratch,
        verb: &str,
        text: &str,
        wrapper: &[&str],
        options: &[&str],
    ) -> Self {
        let socket = scratch.file("control.sock");
        let path = scratch.write("config.toml", text);
        let log = scratch.file("log");
        let notify = UnixDatagram::bind(scratch.file("notify")).expect("notify socket");
        notify.set_nonblocking(true).expect("nonblocking");
        let output = File::create(&log).expect("log");
        let mut words: Vec<PathBuf> = wrapper.iter().map(PathBuf::from).collect();
        words.push(binary());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args([verb, "-c"]).arg(&path).args(options);
        command.env("NOTIFY_SOCKET", scratch.file("notify")).env("NO_COLOR", "1").env_remove("RUST_LOG");
        command.stdout(output.try_clone().expect("dup")).stderr(output);
        let process = namespace.spawn(&mut command);
        Self { process, config: path, socket, log, notify, scratch }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    pub fn running(&mut self) -> bool {
        self.process.running()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Datagrams of sd_notify that have come since the last call, one line each.
    pub fn notified(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let mut lines = Vec::new();
        while let Ok(length) = self.notify.recv(&mut buffer) {
            lines.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
        }
        lines
    }

    /// Status code and body.
    pub fn try_get(&self, path: &str) -> Result<(u16, String), String> {
        try_get(&self.socket, path)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let (code, body) = self.try_get(path).unwrap_or_else(|why| panic!("{why}; it said:\n{}", self.log()));
        assert_eq!(code, 200, "GET {path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("GET {path}: {error}: {body}"))
    }

    pub fn neighbor(&self, name: &str) -> Value {
        let neighbors = self.get("/neighbors");
        let found = neighbors.as_array().and_then(|list| list.iter().find(|entry| entry["name"] == name));
        found.unwrap_or_else(|| panic!("no neighbor {name} in {neighbors}")).clone()
    }

    pub fn neighbor_state(&self, name: &str) -> String {
        self.neighbor(name)["state"].as_str().unwrap_or_default().to_owned()
    }

    pub fn last_error(&self, name: &str) -> String {
        self.neighbor(name)["last_error"].as_str().unwrap_or_default().to_owned()
    }

    pub fn service(&self, name: &str) -> Value {
        let services = self.get("/services");
        let found = services.as_array().and_then(|list| list.iter().find(|entry| entry["name"] == name));
        found.unwrap_or_else(|| panic!("no service {name} in {services}")).clone()
    }

    /// Why a prefix is not announced; `None`: it may be.
    pub fn held(&self, prefix: &str) -> Option<String> {
        self.reason(prefix, "held")
    }

    pub fn kept(&self, prefix: &str) -> Option<String> {
        self.reason(prefix, "kept")
    }

    fn reason(&self, prefix: &str, which: &str) -> Option<String> {
        let status = self.get("/status");
        let services = status["services"].as_array().expect("services");
        let mut prefixes = services.iter().flat_map(|service| service["prefixes"].as_array().expect("prefixes"));
        let entry = prefixes.find(|entry| entry["prefix"] == prefix);
        let entry = entry.unwrap_or_else(|| panic!("no prefix {prefix} in {status}"));
        entry[which]["reason"].as_str().map(str::to_owned)
    }

    /// The value of the one sample whose line starts with `sample` (name and labels).
    pub fn metric(&self, sample: &str) -> Option<f64> {
        let (_, text) = self.try_get("/metrics").unwrap_or_else(|why| panic!("{why}"));
        let line = text.lines().find(|line| line.strip_prefix(sample).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> Ended {
        let start = Instant::now();
        let status = self.process.wait(within);
        let status = status.unwrap_or_else(|| panic!("still running after {within:?}:\n{}", self.log()));
        Ended { code: status.code(), took: start.elapsed(), said: self.log() }
    }

    /// SIGTERM; then how it ended.
    pub fn stop(&mut self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.wait(seconds(12))
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("/proc");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// User and system time used so far.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("/proc");
        // The command's name may hold blanks; after its ')' come the fields from the third on.
        let fields: Vec<&str> = stat.rsplit(')').next().expect("stat").split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<u64>().expect("ticks");
        millis((ticks(11) + ticks(12)) * 10)
    }
}

/// Adds what only the laboratory knows to the `[router]` table, which must be the first.
fn complete(config: &str, scratch: &Scratch, socket: &Path) -> String {
    let lines =
        format!("[router]\ncontrol = \"{}\"\nstate-dir = \"{}\"\n", socket.display(), scratch.file("state").display());
    assert!(config.trim_start().starts_with("[router]"), "the configuration of a test starts with [router]");
    config.replacen("[router]\n", &lines, 1)
}

/// A question to a control socket: status code and body.
pub fn try_get(socket: &Path, path: &str) -> Result<(u16, String), String> {
    let talk = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(seconds(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: anycaster\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = talk().map_err(|error| format!("GET {path}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("GET {path}: not HTTP: {answer:?}"))?;
    let code = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Ok((code.ok_or_else(|| format!("GET {path}: no status: {head:?}"))?, body))
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

/// Any other command of the binary, to its end.
pub fn command(namespace: &Namespace, arguments: &[&str]) -> Ended {
    let mut command = Command::new(binary());
    command.args(arguments).env("NO_COLOR", "1");
    let start = Instant::now();
    let output = namespace.within(|| command.output()).expect("the binary does not run");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ended { code: output.status.code(), took: start.elapsed(), said }
}
