//! Checks of each kind of service in the real daemon: up, hung, and well again.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::lab::bgp::Open;
use crate::lab::daemon::Daemon;
use crate::lab::namespace::{Namespace, Process};
use crate::lab::{Scratch, ready, seconds, wait_equal, wait_for};
use crate::scene::{PREFIXES, alone, namespaces};

const TABLES: &str = r#"
[services.web]
prefixes = ["192.0.2.53", "2001:db8::53"]
[[services.web.checks]]
name = "dns"
type = "dns"
query = "www.example.test"
expect = ["192.0.2.1"]
COMMON
[[services.web.checks]]
name = "dns-tcp"
type = "dns"
query = "absent.example.test"
expect = ["NXDOMAIN"]
transport = "tcp"
COMMON
[[services.web.checks]]
name = "udp"
type = "udp"
port = 53
send = "\u0012\u0034\u0001\u0000\u0000\u0001\u0000\u0000\u0000\u0000\u0000\u0000\u0003www\u0007example\u0004test\u0000\u0000\u0001\u0000\u0001"
expect = "example"
COMMON
[[services.web.checks]]
name = "unix"
type = "unix"
path = "FOLDER/admin.sock"
send = "show info\n"
expect = "Name: HAProxy"
COMMON
[[services.web.checks]]
name = "grpc"
type = "grpc"
port = 50051
COMMON
"#;

const COMMON: &str = "interval = \"400ms\"\ntimeout = \"300ms\"\njitter = \"0%\"";

fn start(host: &Namespace, program: &str, words: &str) -> Process {
    let mut command = Command::new(program);
    command.args(words.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null());
    host.spawn(&mut command)
}

/// The checks that are not up, with what they say: once where both addresses say the same.
fn not_up(daemon: &Daemon) -> Vec<(String, String)> {
    let service = daemon.service("web");
    let checks = service["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), 10, "five checks on two addresses: {checks:?}");
    let text = |check: &serde_json::Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let mut bad: Vec<_> =
        checks.iter().filter(|c| c["state"] != "up").map(|c| (text(c, "name"), text(c, "detail"))).collect();
    bad.sort();
    bad.dedup();
    bad
}

#[test]
fn each_kind_of_check_follows_its_server() {
    let python_grpc = Path::new("/usr/lib/python3/dist-packages/grpc/__init__.py");
    if !ready(&["dnsmasq", "haproxy", "python3"]) || !(python_grpc.exists() || ready(&["python3-grpcio"])) {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path().display().to_string();
    scratch.write("server", "SERVING");
    let config = format!("global\n  stats socket {folder}/admin.sock mode 600 level user\n");
    let config = scratch.write("haproxy.cfg", &config);
    let (host, router) = namespaces();
    let dnsmasq = "--keep-in-foreground --conf-file=/dev/null --pid-file= --user=root --no-resolv --no-hosts \
                   --bind-interfaces --listen-address=192.0.2.53,2001:db8::53 --local=/test/ \
                   --log-facility=/dev/null --host-record=www.example.test,192.0.2.1";
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/proto-tests/lab/health-server.py");
    let health = format!("{script} {folder} 192.0.2.53:50051 [2001:db8::53]:50051");
    let servers = [
        start(&host, "/usr/sbin/dnsmasq", dnsmasq),
        start(&host, "/usr/sbin/haproxy", &format!("-db -f {}", config.display())),
        start(&host, "/usr/bin/python3", &health),
    ];
    let tables = TABLES.replace("COMMON", COMMON).replace("FOLDER", &folder);
    let (daemon, tor) = alone(&host, &router, "asn = 65010", "10.97.1.1", &tables);
    let connection = tor.establish(&Open::default());
    connection.initial_updates();
    wait_for("all checks to be up", seconds(20), || match not_up(&daemon) {
        bad if bad.is_empty() => Ok(()),
        bad => Err(format!("{bad:?}")),
    });
    wait_equal("announced", seconds(5), &[None, None], || PREFIXES.map(|prefix| daemon.held(prefix)));
    let connected = "connected, but no answer within 300ms";
    let sent = "sent, but no answer within 300ms";
    let bad = |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    for (server, wanted) in servers.iter().zip([
        bad(&[("dns", sent), ("dns-tcp", connected), ("udp", sent)]),
        bad(&[("unix", connected)]),
        bad(&[("grpc", connected)]),
    ]) {
        server.signal(Signal::SIGSTOP);
        wait_equal("the checks of a hung server", seconds(10), &wanted, || not_up(&daemon));
        let unhealthy = Some("unhealthy".to_owned());
        let held = [unhealthy.clone(), unhealthy];
        wait_equal("held", seconds(5), &held, || PREFIXES.map(|prefix| daemon.held(prefix)));
        server.signal(Signal::SIGCONT);
        wait_equal("all checks well again", seconds(10), &Vec::new(), || not_up(&daemon));
        wait_equal("announced", seconds(5), &[None, None], || PREFIXES.map(|prefix| daemon.held(prefix)));
    }
    scratch.write("server", "NOT_SERVING");
    let wanted = bad(&[("grpc", "NOT_SERVING")]);
    wait_equal("a server that says it is not well", seconds(10), &wanted, || not_up(&daemon));
}
