//! Checks as they are run, against servers and programs that are right, wrong, slow and hostile.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a test talks to real sockets and programs")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anycaster::config::{Check, Target};
use anycaster::engine::{Input, Outcome, ProbeId};
use anycaster::io::checks::{ProbeRequest, Runner};
use tokio::sync::mpsc;

#[path = "checks/configured.rs"]
mod configured;
#[path = "checks/dns.rs"]
mod dns;
#[path = "checks/exec.rs"]
mod exec;
#[path = "checks/file.rs"]
mod file;
#[path = "checks/grpc.rs"]
mod grpc;
#[path = "checks/http.rs"]
mod http;
#[path = "checks/servers.rs"]
mod servers;
#[path = "checks/systemd.rs"]
mod systemd;
#[path = "checks/tcp.rs"]
mod tcp;
#[path = "checks/udp.rs"]
mod udp;
#[path = "checks/unix.rs"]
mod unix;

pub(crate) const V4: &str = "127.0.0.1";
pub(crate) const V6: &str = "::1";
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);

/// A runner with the engine's end of its results.
pub(crate) struct Bench {
    pub(crate) runner: Runner,
    results: mpsc::Receiver<Input>,
}

impl Bench {
    pub(crate) fn new(checks: Vec<Check>) -> Self {
        let (inputs, results) = mpsc::channel(4096);
        Self { runner: Runner::new(&configured::configured(checks), inputs).unwrap(), results }
    }

    pub(crate) fn ask(&self, check: usize, address: IpAddr, run: u64) -> ProbeId {
        let probe = ProbeId { service: 0, check, address, run };
        let [state, reason] = ["up", "unhealthy"].map(str::to_owned);
        self.runner.probe(ProbeRequest { probe, state, reason }).unwrap();
        probe
    }

    pub(crate) fn next(&mut self) -> (ProbeId, Outcome, Duration) {
        match self.results.blocking_recv() {
            Some(Input::Probed { probe, outcome, took }) => (probe, outcome, took),
            other => panic!("{other:?}"),
        }
    }

    /// Asked once, answered once: within its timeout and a little.
    pub(crate) fn once(&mut self, address: &str) -> (Outcome, Duration) {
        let asked = self.ask(0, address.parse().unwrap(), 1);
        let (probe, outcome, took) = self.next();
        assert_eq!(probe, asked);
        (outcome, took)
    }
}

pub(crate) fn once(check: Check, address: &str) -> Outcome {
    let mut bench = Bench::new(vec![check]);
    let (outcome, _) = bench.once(address);
    std::thread::sleep(Duration::from_millis(10));
    assert!(bench.results.try_recv().is_err(), "one result for one run");
    outcome
}

/// Listens on `address`; every connection gets a thread that does `serve`.
pub(crate) fn server(address: &str, serve: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Writes for as long as the other side reads.
pub(crate) fn flood(mut stream: impl Write, first: &[u8], then: &[u8]) {
    let _cut_off = stream.write_all(first).and_then(|()| {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            stream.write_all(then)?;
        }
        Ok(())
    });
}

/// Keeps the connection open and says nothing.
pub(crate) fn hang(stream: TcpStream) {
    std::thread::sleep(Duration::from_secs(10));
    drop(stream);
}

pub(crate) fn pass(detail: &str) -> Outcome {
    Outcome::Pass { detail: detail.to_owned() }
}

pub(crate) fn fail(detail: &str) -> Outcome {
    Outcome::Fail { detail: detail.to_owned() }
}

pub(crate) fn timed_out(detail: &str) -> Outcome {
    Outcome::TimedOut { detail: detail.to_owned() }
}

/// A port on which nobody listens.
pub(crate) fn nobody(address: &str) -> u16 {
    TcpListener::bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap().local_addr().unwrap().port()
}

/// In a network namespace where the kernel has two ports to pick from; `work` is told one of them. Nothing listens.
pub(crate) fn alone_with_two_ports(work: fn(u16)) {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("SKIPPED: a network namespace needs root");
        return;
    }
    let alone = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.unwrap().success());
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40001").unwrap();
        work(40_000);
    });
    alone.join().unwrap();
}

pub(crate) fn check_of(target: Target, kind: anycaster::config::CheckKind) -> Check {
    configured::check(target, TIMEOUT, kind)
}
