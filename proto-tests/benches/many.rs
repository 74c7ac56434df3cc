//! Ten thousand TCP checks, each on an address of its own, every ten seconds: what the whole daemon costs, and how late
//! the latest run is. Beside it a bare process that connects and closes as often.
//!
//! `cargo bench --bench many -- [--seconds N]`; needs root. A run is due one interval after the start of the one before it (jitter
//! is 0 here), so the listener sees the lateness; what it is late itself is counted too, as the bare loop shows. Once with starts spread over the
//! interval, as jitter spreads them, and once with all at the same moment, as after a start of the host.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a bench drives real processes and clocks, and uses a part of the laboratory"
)]

#[path = "../lab/mod.rs"]
mod lab;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use lab::daemon::Daemon;
use lab::namespace::Namespace;
use lab::{millis, seconds, wait_for};
use socket2::{Domain, Socket, Type};

const SERVICES: u8 = 100;
/// Of each service; a /25 holds them.
const ADDRESSES: u8 = 100;
const CHECKS: u32 = 10_000;
const INTERVAL: Duration = Duration::from_secs(10);
const PORT: u16 = 8080;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str, default: u64| {
        let value = arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
        value.map_or(default, |word| word.parse().unwrap_or_else(|_| panic!("{name} NUMBER")))
    };
    if arguments.iter().any(|word| word == "--bare") {
        return bare();
    }
    let length = seconds(option("--seconds", 40));
    if !lab::ready(&[]) {
        return;
    }
    let bare = bare_loop(length);
    bare.print(&format!("bare connect and close, {CHECKS} every {INTERVAL:?}, for {length:?}"));
    for (what, spread) in [("spread over the interval", true), ("all at the same moment", false)] {
        let checks = measure(length, spread);
        checks.print(&format!("{CHECKS} TCP checks every {INTERVAL:?}, {what}, for {length:?}"));
        println!("  ratio            {:>8.2} times the processor time of the bare loop", checks.cpu / bare.cpu);
    }
}

struct Figures {
    /// Seconds a minute.
    cpu: f64,
    resident: u64,
    /// Of each run, ordered.
    late: Vec<Duration>,
}

impl Figures {
    fn print(&self, what: &str) {
        let late = |part: f64| self.late[((self.late.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
        println!("{what}");
        println!("  processor time   {:>8.2} s a minute", self.cpu);
        println!("  resident memory  {:>8.1} MB", self.resident as f64 / 1e6);
        println!("  late at worst    {:>8.2} ms, of {} runs", late(1.0), self.late.len());
        println!("  late, 999/1000   {:>8.2} ms; half {:.2} ms", late(0.999), late(0.5));
    }
}

/// Who connected, and when.
struct Runs {
    receiver: Receiver<(IpAddr, Instant)>,
    starts: HashMap<IpAddr, Vec<Instant>>,
}

impl Runs {
    /// Accepts whatever comes.
    fn hear(host: &Namespace) -> Self {
        // Ten thousand at the same moment wait here for a thread that has not been given the processor yet.
        host.sysctl("net/core/somaxconn", "65535");
        let socket = host.within(|| Socket::new(Domain::IPV4, Type::STREAM, None)).expect("socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into()).expect("bind");
        socket.listen(65_535).expect("listen");
        let listener = TcpListener::from(socket);
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            while let Ok((_, peer)) = listener.accept() {
                if sender.send((peer.ip(), Instant::now())).is_err() {
                    return;
                }
            }
        });
        Self { receiver, starts: HashMap::new() }
    }

    fn wait_for_all(&mut self) {
        wait_for("every check to run", seconds(60), || match self.count() {
            here if here == CHECKS as usize => Ok(()),
            here => Err(format!("{here} have")),
        });
    }

    fn count(&mut self) -> usize {
        for (address, at) in self.receiver.try_iter() {
            self.starts.entry(address).or_default().push(at);
        }
        self.starts.len()
    }

    /// Of all since `start`.
    fn late(mut self, start: Instant, length: Duration) -> Vec<Duration> {
        self.count();
        let gaps = self.starts.values().flat_map(|times| times.windows(2)).filter(|pair| pair[1] >= start);
        let mut late: Vec<Duration> = gaps.map(|pair| (pair[1] - pair[0]).saturating_sub(INTERVAL)).collect();
        late.sort();
        // One round may still be under way at either end.
        let due = u64::from(CHECKS) * (length.as_secs() / INTERVAL.as_secs() - 1);
        assert!(late.len() as u64 >= due, "{} runs of {due}", late.len());
        late
    }
}

fn address(service: u8, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 64, service, number)
}

fn measure(length: Duration, spread: bool) -> Figures {
    let host = Namespace::new("many");
    let mut runs = Runs::hear(&host);
    let routes = |host: &Namespace, service| host.run(&format!("ip route add local 10.64.{service}.0/25 dev lo"));
    if !spread {
        (0..SERVICES).for_each(|service| drop(routes(&host, service)));
    }
    let daemon = Daemon::start(&host, &configuration());
    if spread {
        let start = Instant::now();
        for service in 0..SERVICES {
            routes(&host, service);
            let next = start + INTERVAL * u32::from(service + 1) / u32::from(SERVICES);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
    runs.wait_for_all();
    let (before, start) = (daemon.processor_time(), Instant::now());
    std::thread::sleep(length);
    let used = daemon.processor_time() - before;
    let cpu = used.as_secs_f64() * 60.0 / start.elapsed().as_secs_f64();
    let up = daemon.get("/services");
    let up = up.as_array().expect("services").iter().flat_map(|service| service["checks"].as_array().expect("checks"));
    let up = up.filter(|check| check["state"] == "up").count();
    assert_eq!(up, CHECKS as usize, "checks up");
    Figures { cpu, resident: daemon.resident(), late: runs.late(start, length) }
}

fn configuration() -> String {
    let mut text = "[router]\nasn = 65010\nid = \"10.97.1.2\"\nhttp = \"off\"\n".to_owned();
    text.push_str("[neighbors.tor]\naddress = \"10.97.1.1\"\nasn = 65001\n");
    for service in 0..SERVICES {
        let prefixes: Vec<String> = (0..ADDRESSES).map(|number| format!("\"{}\"", address(service, number))).collect();
        let _ = write!(
            text,
            "[services.s{service}]\nprefixes = [{}]\n[[services.s{service}.checks]]\nname = \"alive\"\ntype = \"tcp\"\n\
             port = {PORT}\ninterval = \"{}s\"\njitter = \"0%\"\n",
            prefixes.join(", "),
            INTERVAL.as_secs()
        );
    }
    text
}

fn bare_loop(length: Duration) -> Figures {
    let host = Namespace::new("bare");
    let mut runs = Runs::hear(&host);
    host.run("ip route add local 10.64.0.0/16 dev lo");
    let mut command = Command::new(std::env::current_exe().expect("our own name"));
    let process = host.spawn(command.arg("--bare"));
    let proc = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", process.id())).expect("/proc");
    let used = || {
        let stat = proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("stat").split_whitespace().collect();
        millis(fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum::<u64>() * 10)
    };
    runs.wait_for_all();
    let (before, start) = (used(), Instant::now());
    std::thread::sleep(length);
    let cpu = (used() - before).as_secs_f64() * 60.0 / start.elapsed().as_secs_f64();
    let pages = proc("statm").split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).expect("statm");
    Figures { cpu, resident: pages * 4096, late: runs.late(start, length) }
}

/// Connects as the checks do, and nothing else.
fn bare() {
    let start = Instant::now();
    for run in 0_u32.. {
        let index = run % CHECKS;
        let here = address((index / u32::from(ADDRESSES)) as u8, (index % u32::from(ADDRESSES)) as u8);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        socket.set_linger(Some(Duration::ZERO)).expect("linger");
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true).expect("option");
        socket.bind(&SocketAddr::new(here.into(), 0).into()).expect("bind");
        socket.connect(&SocketAddr::new(here.into(), PORT).into()).expect("connect");
        drop(socket);
        let next = start + INTERVAL / CHECKS * (run + 1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
