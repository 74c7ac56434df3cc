//! FRR as top-of-rack router: zebra and bgpd by hand in a namespace, asked through vtysh.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::namespace::{Namespace, Process};
use super::router::{Path, Peer, Router, Session};
use super::{Scratch, find_program, seconds, wait_for};

pub struct Frr {
    // Before the namespace: the order of fields is the order of dropping.
    bgpd: Process,
    _others: Vec<Process>,
    namespace: Namespace,
    scratch: Scratch,
}

impl Frr {
    pub fn start(namespace: Namespace, asn: u32, peers: &[Peer]) -> Self {
        let frr = Self::with_config(namespace, &configuration(asn, peers));
        frr.wait_for_neighbors(peers);
        frr
    }

    /// The text is a whole frr.conf: vtysh gives each daemon its lines.
    pub fn with_config(namespace: Namespace, text: &str) -> Self {
        let scratch = Scratch::new();
        let owned = Command::new("chown").arg("frr:frr").arg(scratch.path()).status();
        assert!(owned.is_ok_and(|status| status.success()), "chown frr:frr");
        for name in ["zebra", "staticd", "bgpd"] {
            let text = format!("hostname tor\nlog file {}/{name}.log\n", scratch.path().display());
            scratch.write(&format!("{name}.conf"), &text);
        }
        let config = scratch.write("frr.conf", text);
        let zebra = start_daemon(&namespace, &scratch, "zebra");
        wait_for("zebra's socket", seconds(15), || {
            if scratch.file("zserv.api").exists() { Ok(()) } else { Err("not there".to_owned()) }
        });
        let staticd = start_daemon(&namespace, &scratch, "staticd");
        let bgpd = start_daemon(&namespace, &scratch, "bgpd");
        let mut frr = Self { bgpd, _others: vec![staticd, zebra], namespace, scratch };
        wait_for("bgpd and staticd to answer", seconds(15), || {
            let running = frr.bgpd.running();
            assert!(running, "bgpd: {:?}", std::fs::read_to_string(frr.scratch.file("bgpd.said")));
            let said = frr.vtysh("show daemons");
            if said.contains("bgpd") && said.contains("staticd") { Ok(()) } else { Err(said) }
        });
        let mut vtysh = Command::new("vtysh");
        vtysh.arg("--vty_socket").arg(frr.scratch.path()).arg("-f").arg(config).stdin(Stdio::null());
        let output = vtysh.output().expect("vtysh");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success() && !said.contains('%'), "FRR does not take its configuration: {said}");
        frr
    }

    fn wait_for_neighbors(&self, peers: &[Peer]) {
        wait_for("bgpd to know its neighbors", seconds(15), || {
            let said = self.vtysh("show bgp neighbors json");
            let known = serde_json::from_str::<Value>(&said).map_err(|error| format!("{error}: {said}"))?;
            if peers.iter().all(|peer| known[&peer.address].is_object()) { Ok(()) } else { Err(said) }
        });
    }

    pub fn vtysh(&self, command: &str) -> String {
        self.vtysh_lines(&[command])
    }

    /// One after the other, each in the mode that the one before has led to.
    pub fn vtysh_lines<T: AsRef<str>>(&self, lines: &[T]) -> String {
        let mut vtysh = Command::new("vtysh");
        vtysh.arg("--vty_socket").arg(self.scratch.path());
        for line in lines {
            vtysh.args(["-c", line.as_ref()]);
        }
        let output = vtysh.stdin(Stdio::null()).output().expect("vtysh");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn json(&self, command: &str) -> Value {
        let said = self.vtysh(command);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{command}: {error}: {said}"))
    }

    fn neighbor(&self, neighbor: &str) -> Value {
        self.json(&format!("show bgp neighbors {neighbor} json"))[neighbor].clone()
    }
}

fn start_daemon(namespace: &Namespace, scratch: &Scratch, name: &str) -> Process {
    let folder = scratch.path();
    let mut command = Command::new(find_program(name).expect("FRR is not installed"));
    command.arg("-z").arg(scratch.file("zserv.api")).arg("--vty_socket").arg(folder).args(["-P", "0"]);
    command.arg("-f").arg(scratch.file(&format!("{name}.conf")));
    command.arg("-i").arg(scratch.file(&format!("{name}.pid")));
    let said = std::fs::File::create(scratch.file(&format!("{name}.said"))).expect("a file");
    namespace.spawn(command.stdout(Stdio::null()).stderr(said))
}

fn configuration(asn: u32, peers: &[Peer]) -> String {
    let mut text = format!(
        "router bgp {asn}\n bgp router-id 10.97.0.1\n \
         no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n bgp bestpath as-path multipath-relax\n"
    );
    for Peer { address, asn, .. } in peers {
        let _ = write!(
            text,
            " neighbor {address} remote-as {asn}\n neighbor {address} timers 3 9\n neighbor {address} timers connect 1\n \
             neighbor {address} passive\n neighbor {address} capability extended-nexthop\n"
        );
    }
    for (family, paths) in [("ipv4", "maximum-paths 64"), ("ipv6", "maximum-paths 64")] {
        let _ = writeln!(text, " address-family {family} unicast\n  {paths}\n  maximum-paths ibgp 64");
        for Peer { address, .. } in peers {
            let _ = writeln!(text, "  neighbor {address} activate");
        }
        text.push_str(" exit-address-family\n");
    }
    text
}

impl Router for Frr {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn paths(&self, prefix: &str) -> Vec<Path> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let shown = self.json(&format!("show bgp {family} unicast {prefix} json"));
        let mut paths: Vec<Path> = shown["paths"].as_array().into_iter().flatten().map(path).collect();
        paths.sort_by(|a, b| a.from.cmp(&b.from));
        paths
    }

    fn session(&self, neighbor: &str) -> Session {
        let shown = self.neighbor(neighbor);
        Session {
            established: shown["bgpState"] == "Established",
            times_established: shown["connectionsEstablished"].as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0),
        }
    }

    fn hold_time(&self, neighbor: &str) -> u64 {
        self.neighbor(neighbor)["bgpTimerHoldTimeMsecs"].as_u64().expect("a hold time") / 1000
    }

    fn negotiated(&self, neighbor: &str) -> Vec<String> {
        let shown = &self.neighbor(neighbor)["neighborCapabilities"];
        let families = &shown["multiprotocolExtensions"];
        let both = |value: &Value| value == "advertisedAndReceived" || value["advertisedAndReceived"] == true;
        let names = [
            ("ipv4-unicast", both(&families["ipv4Unicast"])),
            ("ipv6-unicast", both(&families["ipv6Unicast"])),
            // "advertisedAndReceivedNew" is RFC 2918; the old one is a vendor's own from before it.
            (
                "route-refresh",
                shown["routeRefresh"].as_str().is_some_and(|text| text.starts_with("advertisedAndReceived")),
            ),
            ("extended-next-hop", both(&shown["extendedNexthop"])),
            ("extended-message", both(&shown["extendedMessage"])),
            ("four-octet-as", both(&shown["4byteAs"])),
            ("enhanced-route-refresh", both(&shown["enhancedRouteRefresh"])),
        ];
        let mut names: Vec<String> =
            names.into_iter().filter(|&(_, both)| both).map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names
    }

    fn refresh(&self, neighbor: &str) {
        for family in ["ipv4", "ipv6"] {
            self.vtysh(&format!("clear bgp {family} unicast {neighbor} soft in"));
        }
    }

    fn updates(&self, neighbor: &str) -> u64 {
        self.neighbor(neighbor)["messageStats"]["updatesRecv"].as_u64().expect("a counter")
    }

    fn last_error(&self, neighbor: &str) -> String {
        let shown = self.neighbor(neighbor);
        let words = ["lastNotificationReason", "lastShutdownDescription"];
        words.map(|key| shown[key].as_str().unwrap_or_default().to_owned()).join(" ")
    }

    fn describe(&self, neighbor: &str) -> String {
        self.vtysh(&format!("show bgp neighbors {neighbor}"))
    }
}

fn path(shown: &Value) -> Path {
    let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    let words = |value: &Value| -> Vec<String> {
        let text = value["string"].as_str().unwrap_or_default();
        text.split_whitespace().map(|word| word.replace("graceful-shutdown", "65535:0")).collect()
    };
    let from = shown["peer"]["peerId"].as_str().unwrap_or_default().to_owned();
    // "LB:65201:1250000000 (10.000 Gbps)"
    let bandwidth = words(&shown["extendedCommunity"]).into_iter().find_map(|word| {
        let (_, bytes) = word.strip_prefix("LB:")?.split_once(':')?;
        bytes.parse().ok()
    });
    let as_path = shown["aspath"]["string"].as_str().unwrap_or_default();
    let hops = shown["nexthops"].as_array().into_iter().flatten();
    let global = hops.into_iter().find(|hop| hop["scope"] != "link-local");
    Path {
        from,
        as_path: as_path.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
        origin: shown["origin"].as_str().unwrap_or_default().replace("incomplete", "Incomplete"),
        next_hop: global.and_then(|hop| hop["ip"].as_str()).unwrap_or_default().to_owned(),
        med: number(&shown["metric"]),
        local_preference: number(&shown["locPrf"]),
        communities: words(&shown["community"]),
        large_communities: words(&shown["largeCommunity"]),
        bandwidth,
    }
}
