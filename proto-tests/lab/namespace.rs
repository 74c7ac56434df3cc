//! Network namespaces, the links between them, and processes inside them.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{millis, seconds, wait_for};

pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A fresh one with `lo` up. The name is unique to this process.
    pub fn new(label: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("interop-{}-{}-{label}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        command(&["ip", "netns", "add", &name]);
        let namespace = Self { name };
        // Links that come later inherit these: nothing here waits for duplicate address detection.
        namespace.sysctl("net/ipv6/conf/default/accept_dad", "0");
        namespace.sysctl("net/ipv6/conf/default/dad_transmits", "0");
        namespace.run("ip link set lo up");
        namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread of its own inside: sockets and processes made there stay there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
                nix::sched::setns(&file, CloneFlags::CLONE_NEWNET).expect("setns");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Words parted by blanks; panics with what the command said where it fails.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let output = self.output(line);
        assert!(output.status.success(), "{line} in {}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn output(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().expect("an empty command"));
        command.args(words).stdin(Stdio::null());
        self.within(|| command.output()).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    pub fn spawn(&self, command: &mut Command) -> Process {
        let what = format!("{command:?}");
        let child = self.within(|| command.stdin(Stdio::null()).spawn());
        Process { child: child.unwrap_or_else(|error| panic!("{what}: {error}")), ended: None }
    }

    pub fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/{key}");
        self.within(|| std::fs::write(&path, value)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    pub fn add_address(&self, device: &str, address: &str) {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        self.run(&format!("ip address add {address} dev {device} {nodad}"));
    }

    pub fn remove_address(&self, device: &str, address: &str) {
        self.run(&format!("ip address del {address} dev {device}"));
    }

    /// All on `device`, without their lengths.
    pub fn addresses(&self, device: &str) -> Vec<String> {
        let shown = self.run(&format!("ip -json address show dev {device}"));
        let links: serde_json::Value = serde_json::from_str(&shown).expect("ip -json");
        let entries = links[0]["addr_info"].as_array().into_iter().flatten();
        entries.filter_map(|entry| entry["local"].as_str().map(str::to_owned)).collect()
    }

    pub fn has_address(&self, device: &str, address: &str) -> bool {
        self.addresses(device).iter().any(|there| there == address)
    }

    pub fn link_local(&self, device: &str) -> String {
        wait_for("a link-local address", seconds(5), || {
            let addresses = self.addresses(device);
            let found = addresses.iter().find(|address| address.starts_with("fe80:")).cloned();
            found.ok_or_else(|| format!("{device} has {addresses:?}"))
        })
    }

    /// The gateways of the kernel's route for a host prefix, sorted; empty where there is no route.
    pub fn next_hops(&self, prefix: &str) -> Vec<String> {
        let family = if prefix.contains(':') { "-6" } else { "-4" };
        let shown = self.run(&format!("ip {family} -json route show {prefix}"));
        let routes: Vec<serde_json::Value> = serde_json::from_str(&shown).unwrap_or_default();
        let mut gateways: Vec<String> = routes.iter().flat_map(gateways_of).collect();
        gateways.sort();
        gateways
    }
}

/// One route may hold several next hops; an IPv4 route over IPv6 holds them under "via".
fn gateways_of(route: &serde_json::Value) -> Vec<String> {
    let hop = |value: &serde_json::Value| {
        let gateway = value["gateway"].as_str().or_else(|| value["via"]["host"].as_str());
        gateway.map(str::to_owned)
    };
    match route["nexthops"].as_array() {
        Some(hops) => hops.iter().filter_map(hop).collect(),
        None => hop(route).into_iter().collect(),
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "delete", &self.name]).status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("namespace {} is left behind", self.name);
        }
    }
}

/// A veth pair, both ends up, each end with its addresses.
pub fn link(left: (&Namespace, &str, &[&str]), right: (&Namespace, &str, &[&str])) {
    let (a, a_device, _) = left;
    let (b, b_device, _) = right;
    command(&[
        "ip", "link", "add", a_device, "netns", &a.name, "type", "veth", "peer", "name", b_device, "netns", &b.name,
    ]);
    for (namespace, device, addresses) in [left, right] {
        namespace.run(&format!("ip link set {device} up"));
        for address in addresses {
            namespace.add_address(device, address);
        }
    }
}

#[track_caller]
fn command(words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A child that does not outlive its owner.
pub struct Process {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&mut self) -> std::process::ChildStdout {
        self.child.stdout.take().expect("stdout was not piped")
    }

    pub fn stderr(&mut self) -> std::process::ChildStderr {
        self.child.stderr.take().expect("stderr was not piped")
    }

    pub fn signal(&self, signal: Signal) {
        // Not reaped yet where `ended` is None: the number cannot be another process's.
        assert!(self.ended.is_none(), "the process has ended before: {:?}", self.ended);
        kill(Pid::from_raw(self.id().cast_signed()), signal).expect("kill");
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }

    pub fn running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("wait");
        }
        self.ended.is_none()
    }

    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        while self.running() && start.elapsed() < within {
            std::thread::sleep(millis(2));
        }
        self.ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
