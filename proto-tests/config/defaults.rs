//! What a file does not say, and that what it says is heard.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anycaster::bgp::wire::{Asn, Origin};
use anycaster::config::{
    Binding, Check, CheckKind, Config, DnsCheck, ExecCheck, Families, FileCheck, GrpcCheck, Health, Hooks, HttpCheck,
    LinkBandwidthMode, Listen, Log, LogFormat, LogLevel, Look, Metrics, Neighbor, NextHopPolicy, PeerAsn, Policy,
    Protocol, PushCheck, Quorum, Record, Router, Service, SystemdCheck, Target, TcpCheck, Tls, UdpCheck, UnixCheck,
    WhenDown,
};

use crate::{load_path, load_text};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn asn(number: u32) -> Asn {
    Asn::new(number).unwrap()
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// What CONTRACT says of keys that are not in the file.
fn default_router() -> Router {
    Router {
        asn: asn(65010),
        id: None,
        bandwidth: None,
        state_dir: PathBuf::from("/var/lib/anycaster"),
        control: PathBuf::from("/run/anycaster/control.sock"),
        control_group: None,
        http: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9179)),
        log: Log { format: LogFormat::Text, level: LogLevel::Info },
    }
}

fn default_neighbor(name: &str, address: &str, peer: u32) -> Neighbor {
    Neighbor {
        name: name.to_owned(),
        address: ip(address),
        asn: PeerAsn::Is(asn(peer)),
        enabled: true,
        port: 179,
        local_asn: None,
        families: Families { ipv4: true, ipv6: true },
        hold_time: 9,
        min_hold_time: 3,
        connect_retry: millis(5_000),
        idle_hold: millis(1_000),
        idle_hold_max: millis(60_000),
        send_hold_time: None,
        link_bandwidth: LinkBandwidthMode::Transitive,
        policy: Policy::default(),
        next_hop: NextHopPolicy::default(),
    }
}

fn default_service(name: &str, prefixes: &[&str]) -> Service {
    Service {
        name: name.to_owned(),
        prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        enabled: true,
        neighbors: vec![0],
        weight: 100,
        bandwidth: None,
        policy: Policy::default(),
        local_preference: 100,
        origin: Origin::Igp,
        depends_on: vec![],
        binding: Binding { interface: None, manage: false, listen: vec![], grace: Duration::ZERO },
        health: Health {
            quorum: Quorum::All,
            per_prefix: true,
            start_hold: Duration::ZERO,
            when_down: WhenDown::Withdraw,
            disable_file: None,
            hooks: Hooks::default(),
        },
        checks: vec![],
    }
}

fn default_check(name: &str, kind: CheckKind) -> Check {
    Check {
        name: name.to_owned(),
        interval: millis(1_000),
        timeout: millis(500),
        fast_interval: None,
        jitter: 10,
        rise: 2.try_into().unwrap(),
        fall: 2.try_into().unwrap(),
        on_fail: WhenDown::Withdraw,
        target: Target::Service,
        kind,
    }
}

fn default_http(port: u16, tls: Option<Tls>) -> CheckKind {
    CheckKind::Http(Box::new(HttpCheck {
        port,
        path: "/".to_owned(),
        method: "GET".to_owned(),
        headers: vec![],
        expect_status: vec![200],
        expect_body: None,
        tls,
    }))
}

#[test]
fn minimal_stands_at_the_defaults() {
    let path = Path::new("config/minimal.toml");
    let config = load_path(path).unwrap().config;
    let listen = |protocol| Listen { protocol, port: 53, address: None };
    let mut service = default_service("dns", &["192.0.2.53/32"]);
    service.binding.listen = vec![listen(Protocol::Udp), listen(Protocol::Tcp)];
    let expected = Config {
        path: path.to_owned(),
        hash: config.hash,
        router: default_router(),
        neighbors: vec![default_neighbor("tor", "10.0.0.1", 65001)],
        services: vec![service],
        withdraw_settle: millis(3_000),
        metrics: Metrics { max_prefixes: 1000 },
        pmtud: None,
    };
    assert_eq!(config, expected);
}

#[test]
fn the_reference_says_nothing_but_defaults() {
    let path = Path::new("config/reference.toml");
    let loaded = load_path(path).unwrap();
    let mut service = default_service("dns", &["192.0.2.53/32", "2001:db8::53/128"]);
    let tls = Tls { server_name: None, ca_file: None, insecure: false };
    service.checks = vec![
        default_check("tcp", CheckKind::Tcp(TcpCheck { port: 53, send: None, expect: None })),
        default_check("http", default_http(80, None)),
        default_check("https", default_http(443, Some(tls))),
        default_check(
            "exec",
            CheckKind::Exec(ExecCheck {
                command: vec!["/usr/lib/anycaster/check-dns".to_owned()],
                user: None,
                env: BTreeMap::new(),
            }),
        ),
        default_check("udp", CheckKind::Udp(UdpCheck { port: 53, send: None, expect: None })),
        default_check(
            "unix",
            CheckKind::Unix(UnixCheck { path: PathBuf::from("/run/haproxy/admin.sock"), send: None, expect: None }),
        ),
        default_check(
            "dns",
            CheckKind::Dns(Box::new(DnsCheck {
                port: 53,
                query: "example.net".to_owned(),
                record: Record::A,
                codes: vec![0],
                answers: vec![],
                transport: Protocol::Udp,
            })),
        ),
        default_check("file", CheckKind::File(FileCheck { path: "/run/dns/zones-loaded".into(), look: Look::There })),
        default_check("systemd", CheckKind::Systemd(SystemdCheck { unit: "unbound.service".to_owned() })),
        default_check("push", CheckKind::Push(PushCheck { ttl: millis(30_000) })),
        default_check("grpc", CheckKind::Grpc(Box::new(GrpcCheck { port: 50051, service: String::new(), tls: None }))),
    ];
    let expected = Config {
        path: path.to_owned(),
        hash: loaded.config.hash,
        router: default_router(),
        neighbors: vec![default_neighbor("tor-a", "10.0.0.1", 65001)],
        services: vec![service],
        withdraw_settle: millis(3_000),
        metrics: Metrics { max_prefixes: 1000 },
        pmtud: Some(super::pmtud::reference()),
    };
    assert_eq!(loaded.config, expected);
    assert!(loaded.warnings.is_empty());
}

const BASE: &str = r#"
[router]
asn = 65010
bandwidth = "10Gbit"
#router
[neighbors.tor-a]
address = "10.0.0.1"
asn = 65001
min-hold-time = "0s"
#neighbor
[neighbors.tor-b]
address = "10.0.0.2"
asn = 65001
[services.dns]
prefixes = ["192.0.2.53"]
#service
[services.dns.binding]
#binding
[services.dns.health]
#health
[[services.dns.checks]]
name = "a"
type = "tcp"
port = 53
#tcp
[[services.dns.checks]]
name = "b"
type = "http"
#http
[[services.dns.checks]]
name = "c"
type = "https"
#https
[[services.dns.checks]]
name = "d"
type = "exec"
command = ["/bin/true"]
#exec
[[services.dns.checks]]
name = "e"
type = "udp"
port = 53
#udp
[[services.dns.checks]]
name = "f"
type = "unix"
path = "/a"
#unix
[[services.dns.checks]]
name = "g"
type = "dns"
query = "a.example"
#dns
[[services.dns.checks]]
name = "h"
type = "file"
path = "/a"
#file
[[services.dns.checks]]
name = "i"
type = "systemd"
unit = "a"
#systemd
[[services.dns.checks]]
name = "j"
type = "push"
ttl = "1s"
#push
[[services.dns.checks]]
name = "k"
type = "grpc"
port = 1
#grpc
[[services.dns.checks]]
name = "l"
type = "grpc"
port = 1
tls = true
#grpcs
"#;

#[test]
fn units_have_a_suffix() {
    for (written, unit) in [
        ("unbound", "unbound.service"),
        ("unbound.service", "unbound.service"),
        ("unbound.conf", "unbound.conf.service"),
        ("srv-zones.mount", "srv-zones.mount"),
        ("unbound@1", "unbound@1.service"),
        ("unbound@a@b.socket", "unbound@a@b.socket"),
        (r"dev-disk-by\x2duuid-1.swap", r"dev-disk-by\x2duuid-1.swap"),
    ] {
        let text = BASE.replace("unit = \"a\"", &format!("unit = '{written}'"));
        let mut config = load_text(&text).unwrap_or_else(|r| panic!("{}", r.render(false))).config;
        let kind = config.services.remove(0).checks.remove(8).kind;
        assert_eq!(kind, CheckKind::Systemd(SystemdCheck { unit: unit.to_owned() }));
    }
}

/// Never parsed and ignored: each key, at something else than its default, makes another configuration.
#[test]
fn every_key_is_heard() {
    let mut base = load_text(BASE).unwrap_or_else(|r| panic!("{}", r.render(false))).config;
    base.hash = 0;
    for (table, lines) in [
        (
            "router",
            r#"id = "10.0.0.11" | state-dir = "/a" | control = "/a" | control-group = "a" | http = "off"
            http = "[::1]:80" | log = { format = "json" } | log.format = "journald" | log.level = "trace""#,
        ),
        (
            "neighbor",
            r#"enabled = false | port = 1179 | local-asn = 65020 | families = ["ipv6"] | hold-time = "6s"
            hold-time = "0s" | connect-retry = "0ms" | idle-hold = "0ms" | idle-hold-max = "61s" | idle-hold-max = "0ms"
            send-hold-time = "1s" | link-bandwidth = "off" | link-bandwidth = "non-transitive"
            communities = ["no-export"] | large-communities = ["1:2:3"] | med = 0 | prepend = 10
            next-hop = "10.0.0.9" | next-hop = "2001:db8::9""#,
        ),
        (
            "service",
            r#"enabled = false | neighbors = ["tor-b"] | weight = 0 | bandwidth = "1.5Gbit"
            communities = ["65000:1"] | large-communities = ["1:2:3"] | med = 7 | prepend = 1
            local-preference = 0 | origin = "egp" | origin = "incomplete""#,
        ),
        ("binding", r#"interface = "lo" | manage = true | listen = ["tcp/443@127.0.0.1"] | grace = "1ms""#),
        (
            "health",
            r#"quorum = "any" | quorum = 4 | per-prefix = false | start-hold = "1s"
            when-down = "deprefer" | disable-file = "/a""#,
        ),
        (
            "tcp",
            r#"interval = "2s" | timeout = "1s" | fast-interval = "100ms" | jitter = "0%" | rise = 1
            fall = 255 | on-fail = "deprefer" | target = "10.0.0.5" | send = "a" | expect = "b""#,
        ),
        (
            "http",
            r#"port = 8080 | path = "/a?b" | method = "HEAD" | headers = { Host = "a" }
            expect-status = [204, 599] | expect-body = "^ok$""#,
        ),
        ("https", r#"port = 8443 | server-name = "a.example" | ca-file = "/a" | insecure = true"#),
        ("exec", r#"user = "nobody" | env = { A = "1" }"#),
        ("udp", r#"send = "a" | expect = "b""#),
        ("unix", r#"send = "a" | expect = "b""#),
        (
            "dns",
            r#"port = 5353 | record = "AAAA" | expect = ["NXDOMAIN"] | expect = ["192.0.2.1"] | transport = "tcp""#,
        ),
        ("file", r#"max-age = "1ms" | exists = false | interval = "2s""#),
        ("systemd", r#"timeout = "400ms" | target = "10.0.0.5""#),
        ("push", r#"rise = 1 | fall = 1 | on-fail = "deprefer" | target = "10.0.0.5""#),
        ("grpc", r#"service = "a.B" | tls = true"#),
        ("grpcs", r#"server-name = "a.example" | ca-file = "/a" | insecure = true"#),
    ] {
        for line in lines.split(['|', '\n']).map(str::trim) {
            let text = BASE.replace(&format!("#{table}\n"), &format!("{line}\n"));
            let mut config = load_text(&text).unwrap_or_else(|r| panic!("{}", r.render(false))).config;
            config.hash = 0;
            assert_ne!(config, base, "{table}: {line}");
        }
    }
    for end in ["[drain]\nwithdraw-settle = \"0s\"", "[metrics]\nmax-prefixes = 0", "[neighbor-defaults]\nport = 180"] {
        let mut config = load_text(&format!("{BASE}{end}\n")).unwrap().config;
        config.hash = 0;
        assert_ne!(config, base, "{end}");
    }
}
