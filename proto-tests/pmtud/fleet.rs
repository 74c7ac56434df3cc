//! A segment with a router and members on it, and the relay of each member as a process.
//!
//! ```text
//!   router .1          member .11        member .12   …        each in a namespace of its own;
//!      eth0               eth0              eth0                the service addresses are on lo of every member
//!       |                  |                 |
//!       +------ br0 of the segment: h0, h11, h12, … ------+     10.98.0.0/24, fd98::/64
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::crafted::{Error, Mac};
use crate::lab::daemon::{Ended, binary};
use crate::lab::namespace::{Namespace, Process, link};
use crate::lab::{Scratch, seconds, wait_for};
use crate::wires::Wire;

pub const PORT: u16 = 5141;
pub const SERVICE: &str = "192.0.2.53";
pub const SERVICE6: &str = "2001:db8::53";

pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub struct Segment {
    pub bridge: Namespace,
    pub router: Namespace,
    pub members: Vec<Namespace>,
    /// The router's device: where errors come from.
    pub wire: Wire,
    pub macs: Vec<Mac>,
}

impl Segment {
    pub fn new(members: usize) -> Self {
        let bridge = Namespace::new("segment");
        // With br_netfilter the bridge would look into packets, and drop some of those that are wrong.
        for family in ["ip", "ip6"] {
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{family}tables");
            bridge.within(|| fs::metadata(&path).is_ok().then(|| fs::write(&path, "0").expect("br_netfilter")));
        }
        bridge.run("ip link add br0 type bridge mcast_snooping 0");
        bridge.run("ip link set br0 mtu 9000 up");
        let attach = |label: &str, number: usize| {
            let namespace = Namespace::new(label);
            let port = format!("h{number}");
            link((&namespace, "wire0", &[]), (&bridge, &port, &[]));
            bridge.run(&format!("ip link set {port} mtu 9000 master br0"));
            namespace.run("ip link set wire0 mtu 9000");
            // A veth drops what is longer than its MTU; a macvlan on it does not, as little as many a network card does.
            // Only the macvlan is spoken to.
            namespace.sysctl("net/ipv4/conf/all/arp_ignore", "1");
            namespace.sysctl("net/ipv6/conf/wire0/disable_ipv6", "1");
            namespace.run("ip link add eth0 link wire0 type macvlan mode private");
            namespace.run("ip link set eth0 mtu 1500 up");
            // Else an interface that went down would come back without its IPv6 addresses.
            namespace.sysctl("net/ipv6/conf/eth0/keep_addr_on_down", "1");
            namespace.add_address("eth0", &format!("10.98.0.{number}/24"));
            namespace.add_address("eth0", &format!("fd98::{number}/64"));
            namespace.run("ip route add default via 10.98.0.1");
            namespace.run("ip -6 route add default via fd98::1");
            namespace
        };
        let router = Namespace::new("router");
        link((&router, "eth0", &["10.98.0.1/24", "fd98::1/64"]), (&bridge, "h1", &[]));
        bridge.run("ip link set h1 mtu 9000 master br0");
        router.run("ip link set eth0 mtu 9000");
        let members: Vec<Namespace> = (0..members).map(|index| attach("member", 11 + index)).collect();
        for member in &members {
            member.add_address("lo", &format!("{SERVICE}/32"));
            member.add_address("lo", &format!("{SERVICE6}/128"));
        }
        let wire = Wire::open(&router, "eth0");
        let macs = members.iter().map(|member| Wire::open(member, "eth0").mac).collect();
        Self { bridge, router, members, wire, macs }
    }

    /// What the router would say to the member: nothing else is on the way.
    pub fn frame(&self, member: usize, packet: &[u8]) -> Vec<u8> {
        crate::crafted::frame(self.macs[member], self.wire.mac, packet)
    }

    #[track_caller]
    pub fn send(&self, member: usize, packet: &[u8]) {
        self.wire.send(&self.frame(member, packet));
    }
}

pub fn ip(member: usize) -> String {
    format!("10.98.0.{}", 11 + member)
}

pub fn ip6(member: usize) -> String {
    format!("fd98::{}", 11 + member)
}

/// A right error of the router about a connection of the service, each number another one.
pub fn legitimate(family: u8, number: u32) -> Error {
    let port = u16::try_from(1024 + number % 60_000).expect("a port");
    let [third, fourth] = u16::try_from(number / 60_000 + number % 50_000).expect("few").to_be_bytes();
    match family {
        4 => {
            let client = address(&format!("198.18.{third}.{fourth}"));
            Error::new(address("10.98.0.1"), address(SERVICE), client, port, 1400)
        }
        _ => {
            let client = address(&format!("2001:db8:c{third:x}:{fourth:x}::9"));
            Error::new(address("fd98::1"), address(SERVICE6), client, port, 1400)
        }
    }
}

/// A table without surprises: every limit out of the way, the key of [`Relay::start`].
pub fn table(member: usize, fleet: usize) -> String {
    let members: Vec<String> = (0..fleet).map(|member| format!("\"{}\"", ip(member))).collect();
    format!("address = \"{}\"\nmembers = [{}]\nkeys = [\"KEY\"]\n{COMMON}{OPEN}", ip(member), members.join(", "))
}

/// 192.0.2.54 is no address of any member.
pub const COMMON: &str = "interfaces = [\"eth0\"]\nprefixes = [\"192.0.2.53\", \"192.0.2.54\", \"2001:db8::53\"]\n";
pub const OPEN: &str =
    "limits = { flow = \"1000000/s\", router = \"1000000/s\", prefix = \"1000000/s\", total = \"1000000/s\" }\n";

/// Of the file "KEY" stands for.
pub const SECRET: &[u8] = b"a secret of the tests, 32 octets";

/// `anycaster pmtud` as a process.
pub struct Relay {
    process: Process,
    socket: PathBuf,
    log: PathBuf,
    scratch: Scratch,
}

impl Relay {
    /// And waits until it relays.
    #[track_caller]
    pub fn start(namespace: &Namespace, table: &str) -> Self {
        let mut relay = Self::spawn(namespace, table, &[]);
        relay.ready();
        relay
    }

    /// It captures, and knows the members.
    #[track_caller]
    pub fn ready(&mut self) {
        wait_for("the relay to be ready", seconds(10), || {
            assert!(self.process.running(), "the relay has ended:\n{}", self.log());
            let status = self.try_status().map_err(|why| format!("{why}; it said:\n{}", self.log()))?;
            let interfaces = status["interfaces"].as_array().into_iter().flatten();
            let captures = interfaces.filter(|interface| interface["mtu"].is_u64()).count() > 0;
            let members =
                status["mode"] != "relay" || status["members"].as_array().is_some_and(|list| !list.is_empty());
            if captures && members { Ok(()) } else { Err(status.to_string()) }
        });
    }

    /// What `/status` says of the relay.
    pub fn try_status(&self) -> Result<serde_json::Value, String> {
        let (code, body) = crate::lab::daemon::try_get(&self.socket, "/status")?;
        let status: serde_json::Value =
            serde_json::from_str(&body).map_err(|error| format!("{code}: {error}: {body}"))?;
        Ok(status["pmtud"].clone())
    }

    /// Only runs it. `wrapper` stands before it on the command line; "KEY" in the table is the path of a file with the
    /// secret, "KEYn" of another one, "DIR" the folder.
    pub fn spawn(namespace: &Namespace, table: &str, wrapper: &[&str]) -> Self {
        let scratch = Scratch::new();
        let relay = Self::prepared(&scratch, table);
        let (process, socket, log) = Self::run(namespace, &scratch, &relay, wrapper);
        Self { process, socket, log, scratch }
    }

    /// Everything is there but the process: for [`Relay::restart`].
    pub fn stopped(namespace: &Namespace, table: &str) -> Self {
        let mut relay = Self::spawn(namespace, table, &[]);
        relay.process.kill();
        relay
    }

    /// The same file again, as a service manager would after it has ended.
    pub fn restart(&mut self, namespace: &Namespace) {
        self.process.kill();
        let config = self.scratch.file("config.toml");
        let (process, socket, log) = Self::run(namespace, &self.scratch, &config, &[]);
        (self.process, self.socket, self.log) = (process, socket, log);
    }

    fn prepared(scratch: &Scratch, table: &str) -> PathBuf {
        for number in 1..=4 {
            let secret = [SECRET, number.to_string().as_bytes()].concat();
            private(&scratch.file(&format!("key-{number}")), &secret);
        }
        private(&scratch.file("key"), SECRET);
        let folder = scratch.path().display().to_string();
        let mut text = table.replace("DIR", &folder);
        for number in 1..=4 {
            text = text.replace(&format!("KEY{number}"), &format!("{folder}/key-{number}"));
        }
        scratch.write("config.toml", &format!("[pmtud]\n{}", text.replace("KEY", &format!("{folder}/key"))))
    }

    fn run(namespace: &Namespace, scratch: &Scratch, config: &Path, wrapper: &[&str]) -> (Process, PathBuf, PathBuf) {
        let (socket, log) = (scratch.file("control.sock"), scratch.file("log"));
        let output = File::create(&log).expect("log");
        let mut words: Vec<PathBuf> = wrapper.iter().map(PathBuf::from).collect();
        words.push(binary());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["pmtud", "-c"]).arg(config).arg("--socket").arg(&socket);
        command.env("NO_COLOR", "1").env_remove("RUST_LOG");
        command.stdout(output.try_clone().expect("dup")).stderr(output);
        (namespace.spawn(&mut command), socket, log)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn running(&mut self) -> bool {
        self.process.running()
    }

    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn try_metrics(&self) -> Result<String, String> {
        let (code, body) = crate::lab::daemon::try_get(&self.socket, "/metrics")?;
        if code == 200 { Ok(body) } else { Err(format!("/metrics: {code} {body}")) }
    }

    /// The samples of one metric: the labels as written, and the value.
    #[track_caller]
    fn samples(&self, metric: &str) -> Vec<(String, u64)> {
        let text = self.try_metrics().unwrap_or_else(|why| panic!("{why}; it said:\n{}", self.log()));
        let lines = text.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
        let parted = lines.filter_map(|line| line.split_once("} "));
        parted.map(|(labels, value)| (labels.to_owned(), value.parse::<f64>().expect("a number") as u64)).collect()
    }

    #[track_caller]
    fn by(&self, metric: &str, label: &str) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (labels, value) in self.samples(metric) {
            let found = labels.split(',').find_map(|part| part.strip_prefix(label)?.strip_prefix("=\""));
            let found = found.unwrap_or_else(|| panic!("no {label} in {labels}")).trim_end_matches('"');
            *sums.entry(found.to_owned()).or_default() += value;
        }
        sums.retain(|_, value| *value > 0);
        sums
    }

    /// Captured errors by verdict, without zeros.
    #[track_caller]
    pub fn packets(&self) -> BTreeMap<String, u64> {
        self.by("anycaster_pmtud_packets_total", "verdict")
    }

    /// Datagrams of members by verdict, without zeros.
    #[track_caller]
    pub fn received(&self) -> BTreeMap<String, u64> {
        self.by("anycaster_pmtud_relay_received_total", "verdict")
    }

    #[track_caller]
    pub fn relayed(&self) -> BTreeMap<String, u64> {
        self.by("anycaster_pmtud_relayed_total", "member")
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("/proc");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).expect("a number") * 1024
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// How it ended, by itself.
    #[track_caller]
    pub fn ended(&mut self) -> Ended {
        let start = std::time::Instant::now();
        let status = self.process.wait(seconds(10));
        let status = status.unwrap_or_else(|| panic!("still running:\n{}", self.log()));
        Ended { code: status.code(), took: start.elapsed(), said: self.log() }
    }
}

/// A file that only its owner reads.
pub fn private(path: &Path, content: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, content).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
}
