//! GoBGP as top-of-rack router, asked through `gobgp -j`. It installs no routes: its multipath set is the answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::namespace::{Namespace, Process};
use super::router::{Path, Peer, Router, Session};
use super::{Scratch, seconds, wait_for};

pub struct GoBgp {
    // Before the namespace: the order of fields is the order of dropping.
    _monitor: Process,
    _process: Process,
    namespace: Namespace,
    scratch: Scratch,
}

impl GoBgp {
    pub fn start(namespace: Namespace, asn: u32, peers: &[Peer]) -> Self {
        Self::with_config(namespace, &configuration(asn, peers))
    }

    pub fn with_config(namespace: Namespace, text: &str) -> Self {
        let scratch = Scratch::new();
        let config = scratch.write("gobgpd.toml", text);
        let log = File::create(scratch.file("gobgpd.log")).expect("a file");
        let mut command = Command::new("gobgpd");
        // Its API is a TCP port; on the namespace's own loopback it is nobody else's.
        command.args(["--api-hosts", "127.0.0.1:50051", "--pprof-disable", "--log-plain", "-f"]).arg(config);
        let mut process = namespace.spawn(command.stdout(log.try_clone().expect("dup")).stderr(log));
        wait_for("GoBGP to know its neighbors", seconds(15), || {
            let log = std::fs::read_to_string(scratch.file("gobgpd.log")).expect("GoBGP's log");
            assert!(process.running(), "gobgpd has ended: {log}");
            let said = gobgp(&namespace, "-j neighbor");
            let known = serde_json::from_str::<Value>(&said).ok().and_then(|value| value.as_array().map(Vec::len));
            if known == Some(text.matches("neighbor-address").count()) { Ok(()) } else { Err(format!("{said}\n{log}")) }
        });
        // The RIB marks one best path. The other paths of a multipath set are only named in the events of its changes.
        let events = File::create(scratch.file("events")).expect("a file");
        let mut command = Command::new("gobgp");
        command.args(["-j", "monitor", "global", "rib", "--current"]);
        let monitor = namespace.spawn(command.stdout(events).stderr(Stdio::null()));
        Self { _monitor: monitor, _process: process, namespace, scratch }
    }

    fn json(&self, command: &str) -> Value {
        let said = self.gobgp(&format!("-j {command}"));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{command}: {error}: {said}"))
    }

    pub fn gobgp(&self, command: &str) -> String {
        gobgp(&self.namespace, command)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.file("gobgpd.log")).expect("GoBGP's log")
    }

    /// What the log says of one neighbor.
    fn log_of(&self, neighbor: &str) -> Vec<String> {
        let key = format!(" Key={neighbor} ");
        self.log().lines().filter(|line| line.contains(&key)).map(str::to_owned).collect()
    }
}

fn gobgp(namespace: &Namespace, command: &str) -> String {
    String::from_utf8_lossy(&namespace.output(&format!("gobgp {command}")).stdout).into_owned()
}

fn configuration(asn: u32, peers: &[Peer]) -> String {
    let mut text = format!(
        "[global.config]\nas = {asn}\nrouter-id = \"10.97.0.1\"\n[global.use-multiple-paths.config]\nenabled = true\n"
    );
    for Peer { address, asn, .. } in peers {
        let _ = write!(
            text,
            "[[neighbors]]
             [neighbors.config]\nneighbor-address = \"{address}\"\npeer-as = {asn}
             [neighbors.transport.config]\npassive-mode = true
             [neighbors.timers.config]\nhold-time = 9\nidle-hold-time-after-reset = 1\n"
        );
        for family in ["ipv4-unicast", "ipv6-unicast"] {
            let _ =
                write!(text, "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\"\n");
        }
    }
    text
}

impl Router for GoBgp {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn paths(&self, prefix: &str) -> Vec<Path> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let shown = self.json(&format!("global rib -a {family}"));
        let mut paths: Vec<Path> = shown[prefix].as_array().into_iter().flatten().map(path).collect();
        paths.sort_by(|a, b| a.from.cmp(&b.from));
        paths
    }

    fn next_hops(&self, prefix: &str) -> Vec<String> {
        let events = std::fs::read_to_string(self.scratch.file("events")).expect("GoBGP's events");
        let mut sets: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // One line an event: the whole multipath set, after the change, of each prefix in it. The last may be half written.
        for event in events.lines().filter_map(|line| serde_json::from_str::<Vec<Value>>(line).ok()) {
            let mut changed: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for shown in event {
                let prefix = shown["nlri"]["prefix"].as_str().unwrap_or_default();
                let set = changed.entry(prefix.to_owned()).or_default();
                if shown["withdrawal"] != true {
                    set.push(path(&shown).next_hop);
                }
            }
            sets.append(&mut changed);
        }
        let mut hops = sets.remove(prefix).unwrap_or_default();
        hops.sort();
        hops
    }

    fn session(&self, neighbor: &str) -> Session {
        let shown = self.json(&format!("neighbor {neighbor}"));
        // ESTABLISHED of its API
        let established = shown["state"]["session_state"] == 6;
        let ups = self.log_of(neighbor).iter().filter(|line| line.contains("msg=\"Peer Up\"")).count();
        Session { established, times_established: ups }
    }

    fn hold_time(&self, neighbor: &str) -> u64 {
        let shown = self.json(&format!("neighbor {neighbor}"));
        shown["timers"]["state"]["negotiated_hold_time"].as_u64().expect("a hold time")
    }

    fn negotiated(&self, neighbor: &str) -> Vec<String> {
        let shown = self.describe(neighbor);
        let both = |line: &str| line.trim().strip_suffix("advertised and received").map(|name| name.trim().to_owned());
        let names = shown.lines().filter_map(both).map(|name| match name.trim_end_matches(':') {
            "4-octet-as" => "four-octet-as".to_owned(),
            "extended-nexthop" => "extended-next-hop".to_owned(),
            other => other.to_owned(),
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    fn refresh(&self, neighbor: &str) {
        for family in ["ipv4", "ipv6"] {
            self.gobgp(&format!("neighbor {neighbor} softresetin -a {family}"));
        }
    }

    fn updates(&self, neighbor: &str) -> u64 {
        let shown = self.json(&format!("neighbor {neighbor}"));
        shown["state"]["messages"]["received"]["update"].as_u64().unwrap_or(0)
    }

    fn last_error(&self, neighbor: &str) -> String {
        // 'msg="Peer Down" … Reason="notification-received code 6(cease) subcode 2(administrative shutdown)"'; the
        // shutdown text of RFC 9003 stands in a line before it.
        let log = self.log_of(neighbor);
        let last = |word: &str| log.iter().rev().find(|line| line.contains(word)).cloned().unwrap_or_default();
        format!("{} {}", last("msg=\"Peer Down\""), last("Communicated-Reason="))
    }

    fn describe(&self, neighbor: &str) -> String {
        format!("{}{}", self.gobgp(&format!("neighbor {neighbor}")), self.log())
    }
}

/// Attributes are objects with the number of their type.
fn path(shown: &Value) -> Path {
    let attributes = shown["attrs"].as_array().cloned().unwrap_or_default();
    let attribute = |number: u64| attributes.iter().find(|value| value["type"] == number).unwrap_or(&Value::Null);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    let hop = [14, 3].into_iter().find_map(|kind| attribute(kind)["nexthop"].as_str());
    let segments = list(&attribute(2)["as_paths"]);
    let communities = list(&attribute(8)["communities"]);
    let large = list(&attribute(32)["value"]);
    let extended = list(&attribute(16)["value"]);
    Path {
        from: shown["neighbor-ip"].as_str().unwrap_or_default().to_owned(),
        as_path: segments.iter().flat_map(|segment| list(&segment["asns"])).filter_map(|asn| number(&asn)).collect(),
        // Left out of its JSON where it is 0
        origin: match attribute(1)["value"].as_u64() {
            None | Some(0) => "IGP",
            Some(1) => "EGP",
            Some(_) => "Incomplete",
        }
        .to_owned(),
        next_hop: hop.unwrap_or_default().to_owned(),
        med: number(&attribute(4)["metric"]),
        local_preference: number(&attribute(5)["value"]),
        communities: communities.iter().filter_map(number).map(|n| format!("{}:{}", n >> 16, n & 0xffff)).collect(),
        large_communities: large
            .iter()
            .map(|value| format!("{}:{}:{}", value["ASN"], value["LocalData1"], value["LocalData2"]))
            .collect(),
        bandwidth: extended.iter().find_map(|value| value["bandwidth"].as_u64()),
    }
}
