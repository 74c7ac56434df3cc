//! OpenBGPD as top-of-rack router, asked through `bgpctl -j`. On Linux it installs no routes: best and ecmp paths of its
//! RIB are the answer.

use std::fmt::Write as _;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::namespace::{Namespace, Process};
use super::router::{Path, Peer, Router, Session};
use super::{Scratch, seconds, wait_for};

/// Not the bgpd of FRR.
pub const PROGRAM: &str = "/usr/sbin/bgpd";

pub struct OpenBgpd {
    // Before the namespace: the order of fields is the order of dropping.
    process: Process,
    namespace: Namespace,
    scratch: Scratch,
}

impl OpenBgpd {
    pub fn start(namespace: Namespace, asn: u32, peers: &[Peer]) -> Self {
        Self::with_config(namespace, &configuration(asn, peers))
    }

    /// The text without the line of its control socket.
    pub fn with_config(namespace: Namespace, text: &str) -> Self {
        let scratch = Scratch::new();
        let neighbors = text.matches("remote-as").count();
        let text = format!("socket \"{}\"\n{text}", scratch.file("bgpd.sock").display());
        let config = scratch.write("bgpd.conf", &text);
        // It refuses a file that others may read.
        std::fs::set_permissions(&config, Permissions::from_mode(0o600)).expect("chmod");
        // The home of its user, where its children are locked in; with systemd the unit makes it.
        std::fs::create_dir_all("/run/openbgpd").expect("/run/openbgpd");
        let log = File::create(scratch.file("log")).expect("a file");
        let mut command = Command::new(PROGRAM);
        command.args(["-d", "-v", "-f"]).arg(config).stdout(Stdio::null()).stderr(log);
        let mut process = namespace.spawn(&mut command);
        wait_for("OpenBGPD to know its neighbors", seconds(15), || {
            let log = std::fs::read_to_string(scratch.file("log")).expect("OpenBGPD's log");
            assert!(process.running(), "bgpd has ended: {log}");
            let said = bgpctl(&scratch, "-j show neighbor");
            let known: Value = serde_json::from_str(&said).unwrap_or_default();
            let ready = known["neighbors"].as_array().map_or(0, Vec::len) == neighbors;
            if ready && log.contains("RDE soft reconfiguration done") { Ok(()) } else { Err(format!("{said}\n{log}")) }
        });
        Self { process, namespace, scratch }
    }

    pub fn bgpctl(&self, command: &str) -> String {
        bgpctl(&self.scratch, command)
    }

    /// The same, where a word may have blanks in it.
    pub fn bgpctl_words(&self, words: &[&str]) -> String {
        bgpctl_words(&self.scratch, words)
    }

    /// Changes its configuration, and returns what bgpctl says to that.
    pub fn reconfigure(&self, change: impl FnOnce(&str) -> String) -> String {
        let text = std::fs::read_to_string(self.scratch.file("bgpd.conf")).expect("OpenBGPD's configuration");
        self.scratch.write("bgpd.conf", &change(&text));
        self.bgpctl("reload")
    }

    fn json(&self, command: &str) -> Value {
        let said = self.bgpctl(&format!("-j {command}"));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{command}: {error}: {said}"))
    }

    fn neighbor(&self, neighbor: &str) -> Value {
        self.json(&format!("show neighbor {neighbor}"))["neighbors"][0].clone()
    }

    fn rib(&self, prefix: &str) -> Vec<Value> {
        self.json(&format!("show rib detail {prefix}"))["rib"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for OpenBgpd {
    /// SIGTERM, not SIGKILL: it ends its three children and waits for them.
    fn drop(&mut self) {
        if self.process.running() {
            self.process.signal(Signal::SIGTERM);
            let _ = self.process.wait(seconds(3));
        }
    }
}

fn bgpctl(scratch: &Scratch, command: &str) -> String {
    bgpctl_words(scratch, &command.split(' ').collect::<Vec<_>>())
}

fn bgpctl_words(scratch: &Scratch, words: &[&str]) -> String {
    let mut bgpctl = Command::new("bgpctl");
    bgpctl.arg("-s").arg(scratch.file("bgpd.sock")).args(words).stdin(Stdio::null());
    String::from_utf8_lossy(&bgpctl.output().expect("bgpctl").stdout).into_owned()
}

fn configuration(asn: u32, peers: &[Peer]) -> String {
    let mut text = format!("AS {asn}\nrouter-id 10.97.0.1\nfib-update no\nrde evaluate all\nholdtime 9\n");
    for Peer { local, .. } in peers {
        let _ = writeln!(text, "listen on {local}");
    }
    text.push_str(
        "group \"hosts\" {\nannounce IPv4 unicast\nannounce IPv6 unicast\nannounce enhanced refresh yes\npassive\n",
    );
    for Peer { address, asn, .. } in peers {
        let _ = writeln!(text, "neighbor {address} {{ remote-as {asn} }}");
    }
    text.push_str(
        "}\nallow from group \"hosts\"\nmatch from group \"hosts\" community GRACEFUL_SHUTDOWN set { localpref 0 }\n",
    );
    text
}

impl Router for OpenBgpd {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn paths(&self, prefix: &str) -> Vec<Path> {
        let mut paths: Vec<Path> = self.rib(prefix).iter().map(path).collect();
        paths.sort_by(|a, b| a.from.cmp(&b.from));
        paths
    }

    fn next_hops(&self, prefix: &str) -> Vec<String> {
        let rib = self.rib(prefix);
        let used = rib.iter().filter(|shown| shown["best"] == true || shown["ecmp"] == true);
        let mut hops: Vec<String> = used.map(|shown| path(shown).next_hop).collect();
        hops.sort();
        hops
    }

    fn session(&self, neighbor: &str) -> Session {
        let established = self.neighbor(neighbor)["state"] == "Established";
        let log = std::fs::read_to_string(self.scratch.file("log")).expect("OpenBGPD's log");
        let came_up = format!("neighbor {neighbor}: state change OpenConfirm -> Established");
        Session { established, times_established: log.matches(&came_up).count() }
    }

    fn hold_time(&self, neighbor: &str) -> u64 {
        self.neighbor(neighbor)["session"]["holdtime"].as_u64().expect("a hold time")
    }

    fn negotiated(&self, neighbor: &str) -> Vec<String> {
        let shown = &self.neighbor(neighbor)["session"]["capabilities"];
        let families = shown["multiprotocol"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut names: Vec<String> = families.map(|name| name.to_lowercase().replace(' ', "-")).collect();
        let others = [
            ("as4byte", "four-octet-as"),
            ("refresh", "route-refresh"),
            ("enhanced_refresh", "enhanced-route-refresh"),
        ];
        names.extend(others.iter().filter(|(key, _)| shown[*key] == true).map(|(_, name)| (*name).to_owned()));
        names.sort();
        names
    }

    fn refresh(&self, neighbor: &str) {
        self.bgpctl(&format!("neighbor {neighbor} refresh"));
    }

    fn updates(&self, neighbor: &str) -> u64 {
        self.neighbor(neighbor)["stats"]["message"]["received"]["updates"].as_u64().expect("a counter")
    }

    fn last_error(&self, neighbor: &str) -> String {
        // Its word for Cease/Administrative Shutdown
        self.describe(neighbor).replace("administratively down", "Administrative Shutdown")
    }

    fn describe(&self, neighbor: &str) -> String {
        self.bgpctl(&format!("show neighbor {neighbor}"))
    }
}

fn path(shown: &Value) -> Path {
    let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    let words = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let by_number = |word: String| match word.as_str() {
        "GRACEFUL_SHUTDOWN" => "65535:0".to_owned(),
        "NO_EXPORT" => "65535:65281".to_owned(),
        _ => word,
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // "[4] 65201:1309999865": subtype, AS, IEEE float; or, of type 0x40, all eight octets: "[4] 0x4004…"
    let bandwidth = words(&shown["extended_communities"]).into_iter().find_map(|word| {
        let value = word.strip_prefix("[4] ")?;
        let bits = match value.strip_prefix("0x4004") {
            Some(octets) => u32::from_str_radix(octets.get(4..)?, 16).ok()?,
            None => value.split_once(':')?.1.parse().ok()?,
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole bytes per second are meant")]
        Some(f32::from_bits(bits) as u64)
    });
    Path {
        from: text(&shown["neighbor"]["remote_addr"]),
        as_path: text(&shown["aspath"]).split_whitespace().filter_map(|word| word.parse().ok()).collect(),
        origin: text(&shown["origin"]).replace("incomplete", "Incomplete"),
        next_hop: text(&shown["exit_nexthop"]),
        // It prints 0 where there is none.
        med: number(&shown["metric"]).filter(|&metric| metric != 0),
        local_preference: number(&shown["localpref"]),
        communities: words(&shown["communities"]).into_iter().map(by_number).collect(),
        large_communities: words(&shown["large_communities"]),
        bandwidth,
    }
}
