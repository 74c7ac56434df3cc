//! What people see of the relay: the command of its own, what it refuses and how, members that change, and what
//! `run` and the command line say of it. No error is relayed here.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::lab::daemon::{Daemon, command};
use crate::lab::namespace::Namespace;
use crate::lab::{Scratch, ready, seconds, wait_equal, wait_for};

const SECRET: &str = "0123456789abcdef0123456789abcdef\n";

/// A host with one uplink, which leads nowhere, and a key.
struct Host {
    namespace: Namespace,
    scratch: Scratch,
    key: PathBuf,
}

impl Host {
    fn new(label: &str) -> Self {
        let namespace = Namespace::new(label);
        namespace.run("ip link add e0 type veth peer name p0");
        namespace.run("ip link set e0 up");
        namespace.run("ip link set p0 up");
        namespace.add_address("e0", "10.0.0.11/24");
        let scratch = Scratch::new();
        let key = scratch.write("key", SECRET);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        Self { namespace, scratch, key }
    }

    fn table(&self, members: &str) -> String {
        format!(
            "[pmtud]\ninterfaces = [\"e0\"]\naddress = \"10.0.0.11\"\nkeys = [{:?}]\n\
             prefixes = [\"192.0.2.53\", \"2001:db8::53\"]\n{members}\n",
            self.key
        )
    }
}

const MEMBERS: &str = "members = [\"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\"]";

fn members(status: &Value) -> Vec<String> {
    let all = status["pmtud"]["members"].as_array().unwrap();
    all.iter().map(|member| member["address"].as_str().unwrap().to_owned()).collect()
}

/// Ends with 2 and one sentence that holds `expected`.
#[track_caller]
fn refused(mut daemon: Daemon, expected: &str) {
    let ended = daemon.wait(seconds(10));
    assert_eq!((ended.code, ended.said.trim().lines().count()), (Some(2), 1), "{}", ended.said);
    assert!(ended.said.contains(expected), "{} does not say {expected:?}", ended.said);
}

#[test]
fn alone_it_is_seen_through_the_usual_doors_and_stops_with_0() {
    if !ready(&[]) {
        return;
    }
    let host = Host::new("alone");
    let mut daemon = Daemon::start_pmtud(&host.namespace, &format!("[router]\nnonsense = 1\n{}", host.table(MEMBERS)));
    wait_equal(
        "members other than ourselves",
        seconds(5),
        &vec!["10.0.0.12".to_owned(), "10.0.0.13".to_owned()],
        || members(&daemon.get("/status")),
    );
    let status = daemon.get("/status");
    assert_eq!((&status["router"], &status["neighbors"], &status["services"]), (&Value::Null, &json!([]), &json!([])));
    let pmtud = &status["pmtud"];
    assert_eq!((&pmtud["enabled"], &pmtud["mode"]), (&json!(true), &json!("relay")));
    wait_for("the uplink's MTU", seconds(5), || match &daemon.get("/status")["pmtud"]["interfaces"] {
        one if *one == json!([{ "name": "e0", "mtu": 1500, "packets": {} }]) => Ok(()),
        other => Err(other.to_string()),
    });
    assert_eq!(daemon.get("/healthz"), json!({ "healthy": true }));
    assert_eq!(daemon.get("/readyz")["ready"], true);
    assert_eq!(daemon.get("/neighbors"), json!([]));
    let (code, _) = daemon.try_get("/explain/192.0.2.53").unwrap();
    assert_eq!(code, 404);
    let verdict = "anycaster_pmtud_packets_total{interface=\"e0\",family=\"ipv4\",verdict=\"relayed\"}";
    assert_eq!(daemon.metric(verdict), Some(0.0));
    assert_eq!(daemon.metric("anycaster_pmtud_relayed_total{member=\"10.0.0.12\"}"), Some(0.0));
    assert_eq!(daemon.metric("anycaster_send_errors_total{where=\"pmtud\"}"), Some(0.0));
    assert!(daemon.metric("anycaster_pmtud_host_icmp_errors_total{family=\"ipv4\"}").is_some());
    assert!(daemon.metric("anycaster_pmtud_host_out_of_window_total").is_some());

    let socket = daemon.socket().display().to_string();
    let shown = command(&host.namespace, &["status", "--socket", &socket]);
    assert_eq!(shown.code, Some(0), "{}", shown.said);
    let first = shown.said.lines().next().unwrap();
    assert!(first.starts_with("anycaster ") && first.contains(", pmtud alone, up "), "{}", shown.said);
    assert!(shown.said.contains("\npmtud relay on e0 (MTU 1500)\n  errors"), "{}", shown.said);

    // The same over TCP, which nobody else has in this namespace.
    let over_tcp = host.namespace.within(|| {
        let mut stream = std::net::TcpStream::connect("127.0.0.1:9179").unwrap();
        std::io::Write::write_all(&mut stream, b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        std::io::read_to_string(&mut stream).unwrap()
    });
    assert!(over_tcp.starts_with("HTTP/1.1 200 "), "{over_tcp}");

    wait_for("READY", seconds(5), || {
        let said = daemon.notified();
        if said.iter().any(|line| line == "READY=1") { Ok(()) } else { Err(format!("{said:?}")) }
    });
    for signal in [Signal::SIGHUP, Signal::SIGUSR2] {
        daemon.signal(signal);
        wait_for("a word about the signal", seconds(5), || match daemon.log() {
            log if log.contains(signal.as_str()) => Ok(()),
            log => Err(log),
        });
    }
    assert!(daemon.running());
    let ended = daemon.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(daemon.notified().contains(&"STOPPING=1".to_owned()));
    assert!(!daemon.socket().exists());
    // The port is free again.
    host.namespace.within(|| UdpSocket::bind("10.0.0.11:5141")).unwrap();
}

#[test]
fn sigint_stops_it_too() {
    if !ready(&[]) {
        return;
    }
    let host = Host::new("int");
    let mut daemon = Daemon::start_pmtud(&host.namespace, &host.table(MEMBERS));
    daemon.signal(Signal::SIGINT);
    assert_eq!(daemon.wait(seconds(10)).code, Some(0));
}

#[test]
fn what_cannot_be_is_refused_with_one_sentence() {
    if !ready(&["setpriv"]) {
        return;
    }
    let host = Host::new("refused");
    let spawn = |text: &str| Daemon::spawn_pmtud(&host.namespace, text, &[]);
    let whole = host.table(MEMBERS);

    let report = spawn(&whole.replace("e0", "lo")).wait(seconds(10));
    assert_eq!(report.code, Some(2));
    assert!(report.said.starts_with("error: errors do not come in on \"lo\"\n"), "{}", report.said);

    fs::set_permissions(&host.key, fs::Permissions::from_mode(0o644)).unwrap();
    refused(spawn(&whole), "(pmtud.keys) is readable by others: chmod 600 it");
    fs::set_permissions(&host.key, fs::Permissions::from_mode(0o600)).unwrap();
    refused(spawn(&whole.replace("/key\"", "/absent\"")), "/absent: No such file or directory");

    let no_raw = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw", "--"];
    refused(Daemon::spawn_pmtud(&host.namespace, &whole, &no_raw), "CAP_NET_RAW");

    let taken = host.namespace.within(|| UdpSocket::bind("10.0.0.11:5141")).unwrap();
    refused(spawn(&whole), "5141");
    drop(taken);

    // Somebody wanted that socket, by name.
    let other = host.scratch.file("other.sock");
    let _listener = UnixListener::bind(&other).unwrap();
    let config = host.scratch.write("config.toml", &whole);
    let arguments = ["pmtud", "-c", config.to_str().unwrap(), "--socket", other.to_str().unwrap()];
    let ended = command(&host.namespace, &arguments);
    assert_eq!((ended.code, ended.said.trim().lines().count()), (Some(2), 1), "{}", ended.said);
    assert!(ended.said.contains("another anycaster answers on "), "{}", ended.said);
    let ended = command(&host.namespace, &["pmtud", "--json"]);
    assert_eq!((ended.code, ended.said.trim()), (Some(2), "`pmtud` has no option --json"));
}

/// Packets matter more than being seen.
#[test]
fn doors_that_others_have_are_a_warning() {
    if !ready(&["unshare", "mount", "sh"]) {
        return;
    }
    let host = Host::new("doors");
    let http = host.namespace.within(|| TcpListener::bind("127.0.0.1:9179")).unwrap();
    let mut daemon = Daemon::start_pmtud(&host.namespace, &host.table(MEMBERS));
    let log = daemon.log();
    assert!(log.contains("WARN") && log.contains("cannot listen on 127.0.0.1:9179"), "{log}");
    assert_eq!(daemon.stop().code, Some(0));
    drop(http);

    // The default path, in a /run of its own where it cannot be made.
    let config = host.scratch.write("config.toml", &host.table(MEMBERS));
    let binary = crate::lab::daemon::binary();
    let script = format!(
        "mount -t tmpfs none /run && touch /run/anycaster && exec {} pmtud -c {}",
        binary.display(),
        config.display()
    );
    let log = host.scratch.file("log");
    let output = fs::File::create(&log).unwrap();
    let mut words = std::process::Command::new("unshare");
    words.args(["--mount", "sh", "-c", &script]).stdout(output.try_clone().unwrap()).stderr(output);
    let mut process = host.namespace.spawn(&mut words);
    let said = || fs::read_to_string(&log).unwrap();
    wait_for(
        "the relay to run",
        seconds(10),
        || if said().contains("pmtud runs on e0") { Ok(()) } else { Err(said()) },
    );
    host.namespace.within(|| std::net::TcpStream::connect("127.0.0.1:9179")).unwrap();
    let said = said();
    assert!(said.contains("cannot make the control socket /run/anycaster/control.sock"), "{said}");
    assert!(process.running());
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait(seconds(10)).unwrap().code(), Some(0));
}

#[test]
fn the_file_of_members_is_followed_and_a_broken_one_keeps_the_last() {
    if !ready(&[]) {
        return;
    }
    let host = Host::new("members");
    let file = host.scratch.file("members");
    let daemon = Daemon::start_pmtud(&host.namespace, &host.table(&format!("members-file = {file:?}")));
    let error = || daemon.get("/status")["pmtud"]["members_error"].as_str().map(str::to_owned);
    let now = || members(&daemon.get("/status"));
    wait_for("a missing file to be said", seconds(10), || {
        error().filter(|error| error.contains("No such file")).ok_or_else(|| "no members_error".to_owned())
    });
    assert!(now().is_empty());

    fs::write(&file, "10.0.0.11\n10.0.0.12 # rack 1\n10.0.0.13\n2001:db8::13\n").unwrap();
    let two = vec!["10.0.0.12".to_owned(), "10.0.0.13".to_owned()];
    wait_equal("the members of the file", seconds(10), &two, now);
    wait_equal("nothing wrong", seconds(10), &None, error);

    fs::write(&file, "10.0.0.14\n10.0.0.\n").unwrap();
    wait_for("the broken line to be said", seconds(10), || {
        error().filter(|error| error.contains("line 2")).ok_or_else(|| "no members_error".to_owned())
    });
    assert_eq!(now(), two, "the last list goes on");

    fs::write(&file, "10.0.0.14\n").unwrap();
    wait_equal("the new member", seconds(10), &vec!["10.0.0.14".to_owned()], now);
    assert_eq!(error(), None);
    let said = daemon.log();
    assert_eq!(said.matches("line 2").count(), 1, "said once: {said}");
}

fn speaker(around: &str) -> String {
    format!(
        "[router]\nasn = 65010\nhttp = \"off\"\n[neighbors.tor]\naddress = \"10.0.0.1\"\nasn = 65001\n\
         [services.dns]\nprefixes = [\"192.0.2.53\"]\n{around}"
    )
}

#[test]
fn run_shows_the_relay_and_explains_it() {
    if !ready(&[]) {
        return;
    }
    let host = Host::new("run");
    let table = host.table(MEMBERS).replace("prefixes = ", "# prefixes = ");
    let daemon = Daemon::start(&host.namespace, &speaker(&table));
    wait_equal("two members", seconds(5), &2, || members(&daemon.get("/status")).len());
    let explanation = daemon.get("/explain/192.0.2.53");
    let step = explanation["steps"].as_array().unwrap().last().unwrap();
    let detail = "errors for it stay here: it is not announced";
    assert_eq!(*step, json!({ "step": "pmtud", "ok": true, "detail": detail, "since": null }));
    assert_eq!(daemon.metric("anycaster_send_errors_total{where=\"pmtud\"}"), Some(0.0));
    let socket = daemon.socket().display().to_string();
    let shown = command(&host.namespace, &["status", "--socket", &socket]);
    assert!(shown.said.contains("\npmtud relay on e0 (MTU 1500)\n"), "{}", shown.said);
    let explained = command(&host.namespace, &["explain", "192.0.2.53", "--socket", &socket]);
    assert_eq!(explained.code, Some(1), "held, whatever the relay does: {}", explained.said);
    assert!(explained.said.starts_with("192.0.2.53/32 of service dns: NOT announced: address\n"), "{}", explained.said);
    assert!(explained.said.contains(detail), "{}", explained.said);
}

#[test]
fn run_without_the_table_counts_only_the_host() {
    if !ready(&[]) {
        return;
    }
    let host = Host::new("without");
    let daemon = Daemon::start(&host.namespace, &speaker(""));
    let status = daemon.get("/status");
    assert_eq!((&status["pmtud"]["enabled"], &status["pmtud"]["advice"]), (&json!(false), &json!([])));
    assert!(status["pmtud"]["host"]["ipv4_errors"].is_u64(), "{status}");
    let steps = daemon.get("/explain/192.0.2.53")["steps"].clone();
    assert!(steps.as_array().unwrap().iter().all(|step| step["step"] != "pmtud"), "{steps}");
    assert_eq!(daemon.metric("anycaster_send_errors_total{where=\"pmtud\"}"), None);
}

#[test]
fn run_refuses_a_key_before_anything_starts() {
    if !ready(&[]) {
        return;
    }
    let host = Host::new("key");
    fs::set_permissions(&host.key, fs::Permissions::from_mode(0o640)).unwrap();
    let daemon = Daemon::spawn(&host.namespace, &speaker(&host.table(MEMBERS)), &[]);
    let socket = daemon.socket().to_owned();
    refused(daemon, "(pmtud.keys) is readable by others: chmod 600 it");
    assert!(!socket.exists());
}
