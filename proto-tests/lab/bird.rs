//! BIRD as top-of-rack router, asked through birdc.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::namespace::{Namespace, Process};
use super::router::{Path, Peer, Router, Session};
use super::{Scratch, seconds, wait_for};

pub struct Bird {
    _process: Process,
    namespace: Namespace,
    socket: PathBuf,
    peers: Vec<Peer>,
    scratch: Scratch,
}

impl Bird {
    pub fn start(namespace: Namespace, asn: u32, peers: &[Peer]) -> Self {
        Self::with_config(namespace, &configuration(asn, peers), peers)
    }

    /// The `interface` of a peer is the name of its protocol in the text.
    pub fn with_config(namespace: Namespace, text: &str, peers: &[Peer]) -> Self {
        let scratch = Scratch::new();
        let log = format!("log \"{}/bird.log\" all;\ndebug protocols {{ states }};\n", scratch.path().display());
        let config = scratch.write("bird.conf", &(log + text));
        let socket = scratch.file("bird.ctl");
        let mut command = Command::new("bird");
        command.arg("-f").arg("-c").arg(config).arg("-s").arg(&socket).arg("-P").arg(scratch.file("bird.pid"));
        let process = namespace.spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
        let bird = Self { _process: process, namespace, socket, peers: peers.to_vec(), scratch };
        wait_for("BIRD to run", seconds(10), || {
            let said = bird.birdc("show status");
            if said.contains("Daemon is up and running") { Ok(()) } else { Err(said) }
        });
        bird
    }

    pub fn birdc(&self, command: &str) -> String {
        let mut birdc = Command::new("birdc");
        birdc.arg("-s").arg(&self.socket).args(command.split(' ')).stdin(Stdio::null());
        String::from_utf8_lossy(&birdc.output().expect("birdc").stdout).into_owned()
    }

    /// Changes its configuration, and returns what birdc says to that.
    pub fn reconfigure(&self, change: impl FnOnce(&str) -> String) -> String {
        let text = std::fs::read_to_string(self.scratch.file("bird.conf")).expect("BIRD's configuration");
        self.scratch.write("bird.conf", &change(&text));
        self.birdc("configure")
    }

    /// Protocols are called after the router's interface.
    fn protocol(&self, neighbor: &str) -> &str {
        let peer = self.peers.iter().find(|peer| peer.address == neighbor);
        &peer.unwrap_or_else(|| panic!("no neighbor {neighbor}")).interface
    }
}

fn configuration(asn: u32, peers: &[Peer]) -> String {
    let mut text = format!(
        "router id 10.97.0.1;
protocol device {{}}
protocol direct {{ ipv4; ipv6; }}
protocol kernel k4 {{ merge paths yes limit 64; ipv4 {{ import none; export where source = RTS_BGP; }}; }}
protocol kernel k6 {{ merge paths yes limit 64; ipv6 {{ import none; export where source = RTS_BGP; }}; }}
filter from_host {{
  if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
  accept;
}}
template bgp HOST {{
  local as {asn}; passive yes; hold time 9; enable route refresh yes; enable extended messages yes;
  ipv4 {{ import filter from_host; export none; extended next hop yes; }};
  ipv6 {{ import filter from_host; export none; }};
}}
"
    );
    for Peer { interface, local, address, asn } in peers {
        let _ = writeln!(
            text,
            "protocol bgp {interface} from HOST {{ neighbor {address} as {asn}; source address {local}; }}"
        );
    }
    text
}

impl Router for Bird {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn paths(&self, prefix: &str) -> Vec<Path> {
        let shown = self.birdc(&format!("show route all for {prefix}"));
        let mut paths: Vec<Path> = Vec::new();
        for line in shown.lines() {
            // "192.0.2.53/32  unicast [h1 2026-11-21 …] * (100) [AS65201i]"; further paths have no prefix in front
            if let Some((_, rest)) = line.split_once("unicast [") {
                let protocol = rest.split(' ').next().unwrap_or_default();
                let peer = self.peers.iter().find(|peer| peer.interface == protocol);
                let exact = line.starts_with(' ') || line.starts_with('\t') || line.starts_with(prefix);
                if let (Some(peer), true) = (peer, exact) {
                    paths.push(Path { from: peer.address.clone(), ..Path::default() });
                }
            } else if let (Some(path), Some((key, value))) = (paths.last_mut(), line.trim().split_once(": ")) {
                attribute(path, key, value);
            }
        }
        paths.sort_by(|a, b| a.from.cmp(&b.from));
        paths
    }

    fn session(&self, neighbor: &str) -> Session {
        let shown = self.birdc(&format!("show protocols {}", self.protocol(neighbor)));
        let established = shown.contains("Established");
        let log = std::fs::read_to_string(self.scratch.file("bird.log")).expect("BIRD's log");
        let came_up = format!("{}: State changed to up", self.protocol(neighbor));
        Session { established, times_established: log.matches(&came_up).count() }
    }

    fn hold_time(&self, neighbor: &str) -> u64 {
        // "Hold timer: 7.345/9"
        let shown = self.describe(neighbor);
        let line = shown.lines().find_map(|line| line.trim().strip_prefix("Hold timer:"));
        let line = line.unwrap_or_else(|| panic!("no hold timer: {shown}"));
        line.rsplit('/').next().and_then(|word| word.trim().parse().ok()).expect("a hold time")
    }

    fn negotiated(&self, neighbor: &str) -> Vec<String> {
        // Two indented lists, "Local capabilities" and "Neighbor capabilities".
        let shown = self.describe(neighbor);
        let (local, remote) = shown.split_once("Neighbor capabilities").unwrap_or_default();
        let (_, local) = local.split_once("Local capabilities").unwrap_or_default();
        let lines = |text: &str| -> Vec<String> {
            let families = |line: &str| line.trim().strip_prefix("AF announced: ").map(str::to_owned);
            let families: Vec<String> = text.lines().filter_map(families).collect();
            let families = families.iter().flat_map(|line| line.split(' ')).map(|family| format!("{family}-unicast"));
            let names = [
                ("Route refresh", "route-refresh"),
                ("Extended next hop", "extended-next-hop"),
                ("Extended message", "extended-message"),
                ("4-octet AS numbers", "four-octet-as"),
                ("Enhanced refresh", "enhanced-route-refresh"),
            ];
            let said = |words: &str| text.lines().any(|line| line.trim() == words);
            let names = names.iter().filter(|(words, _)| said(words)).map(|(_, name)| (*name).to_owned());
            families.chain(names).collect()
        };
        let (local, remote) = (lines(local), lines(remote));
        let mut both: Vec<String> = local.into_iter().filter(|name| remote.contains(name)).collect();
        both.sort();
        both
    }

    fn refresh(&self, neighbor: &str) {
        self.birdc(&format!("reload in {}", self.protocol(neighbor)));
    }

    fn updates(&self, neighbor: &str) -> u64 {
        // One line of "Import updates: 2 0 0 0 2" for each family: routes, not messages.
        let shown = self.describe(neighbor);
        let lines = shown.lines().filter_map(|line| line.trim().strip_prefix("Import updates:"));
        lines.filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok()).sum()
    }

    fn last_error(&self, neighbor: &str) -> String {
        let shown = self.describe(neighbor);
        let line = shown.lines().find_map(|line| line.trim().strip_prefix("Last error:"));
        line.unwrap_or_default().trim().to_owned()
    }

    fn describe(&self, neighbor: &str) -> String {
        self.birdc(&format!("show protocols all {}", self.protocol(neighbor)))
    }
}

fn attribute(path: &mut Path, key: &str, value: &str) {
    let pairs = || -> Vec<String> {
        value.split(") (").map(|pair| pair.trim_matches(['(', ')']).replace(", ", ":").replace(',', ":")).collect()
    };
    match key {
        "BGP.origin" => path.origin = value.to_owned(),
        "BGP.as_path" => path.as_path = value.split(' ').filter_map(|word| word.parse().ok()).collect(),
        "BGP.next_hop" => path.next_hop = value.split(' ').next().unwrap_or_default().to_owned(),
        "BGP.med" => path.med = value.parse().ok(),
        "BGP.local_pref" => path.local_preference = value.parse().ok(),
        "BGP.community" => path.communities = pairs(),
        "BGP.large_community" => path.large_communities = pairs(),
        "BGP.ext_community" => path.bandwidth = pairs().iter().find_map(|pair| bandwidth(pair)),
        _ => {}
    }
}

/// "unknown 0x4:65201:1299082024": type 0x00 or 0x40 and subtype 0x04, AS, IEEE float.
fn bandwidth(pair: &str) -> Option<u64> {
    let mut words = pair.strip_prefix("unknown 0x")?.split(':');
    let is_bandwidth = ["4", "4004"].contains(&words.next()?);
    let bits = words.nth(1)?.parse().ok()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole bytes per second are meant")]
    is_bandwidth.then(|| f32::from_bits(bits) as u64)
}
