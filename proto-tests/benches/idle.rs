//! What the daemon costs while nothing happens: two sessions, ten TCP checks a second; then the same while tens of
//! thousands of foreign TCP connections close every second on the host.
//!
//! `cargo bench --bench idle -- [--seconds N] [--rate CONNECTIONS]`; needs root.

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

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lab::bgp::Open;
use lab::daemon::Daemon;
use lab::fake::FakeNeighbor;
use lab::namespace::{Namespace, link};
use lab::{millis, seconds};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str, default: u64| {
        let value = arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
        value.map_or(default, |word| word.parse().unwrap_or_else(|_| panic!("{name} NUMBER")))
    };
    let (length, rate) = (seconds(option("--seconds", 60)), option("--rate", 50_000));
    if lab::ready(&[]) {
        measure(length, rate);
    }
}

fn measure(length: Duration, rate: u64) {
    let host = Namespace::new("host");
    let router = Namespace::new("tor");
    for number in ["1", "2"] {
        let [ours, theirs] = ["2", "1"].map(|end| format!("10.97.{number}.{end}/30"));
        let [ours6, theirs6] = ["2", "1"].map(|end| format!("fd97:{number}::{end}/64"));
        let (eth, h) = (format!("eth{number}"), format!("h{number}"));
        link((&host, &eth, &[&ours, &ours6]), (&router, &h, &[&theirs, &theirs6]));
    }
    host.add_address("lo", "192.0.2.53/32");
    host.add_address("lo", "2001:db8::53/128");
    accept_and_close(&host, "192.0.2.53:8080");
    accept_and_close(&host, "[2001:db8::53]:8080");
    let routers = ["10.97.1.1", "10.97.2.1"].map(|address| FakeNeighbor::listen(&router, address));
    let daemon = Daemon::start(&host, &configuration());
    let sessions = routers.each_ref().map(|router| router.establish(&Open::default()));
    for session in &sessions {
        session.keep_alive(seconds(2));
        let announced: usize = session.initial_updates().iter().map(|update| update.announced.len()).sum();
        // Held until the checks have passed, unless they have already
        let late: usize =
            if announced == 0 { (0..2).map(|_| session.update().1.announced.len()).sum() } else { announced };
        assert!(late > 0, "nothing is announced");
    }
    std::thread::sleep(seconds(3));

    stretch("idle, 2 sessions, 10 TCP checks a second", &daemon, length, || 0);
    let stop = AtomicBool::new(false);
    let closed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| flood(&host, rate / 2, &stop, &closed));
        }
        std::thread::sleep(seconds(1));
        stretch("the same beside foreign connections", &daemon, length, || closed.load(Ordering::Relaxed));
        stop.store(true, Ordering::Relaxed);
    });
    for name in ["tor-1", "tor-2"] {
        let neighbor = daemon.neighbor(name);
        assert_eq!((&neighbor["state"], &neighbor["last_error"]), (&"Established".into(), &serde_json::Value::Null));
    }
}

fn configuration() -> String {
    let mut text = "[router]\nasn = 65010\n".to_owned();
    for number in 1..=2 {
        let _ = write!(text, "[neighbors.tor-{number}]\naddress = \"10.97.{number}.1\"\nasn = 65001\n");
    }
    text.push_str("[services.web]\nprefixes = [\"192.0.2.53\", \"2001:db8::53\"]\n[services.web.binding]\nlisten = [\"tcp/8080\"]\n");
    // Five checks of two addresses each, once a second
    for number in 1..=5 {
        let _ = write!(text, "[[services.web.checks]]\nname = \"tcp-{number}\"\ntype = \"tcp\"\nport = 8080\n");
    }
    text
}

fn stretch(what: &str, daemon: &Daemon, length: Duration, closed: impl Fn() -> u64) {
    let resyncs = || daemon.metric("anycaster_netlink_resyncs_total").expect("netlink_resyncs_total");
    let before = (daemon.processor_time(), resyncs(), closed());
    let start = Instant::now();
    std::thread::sleep(length);
    let took = start.elapsed().as_secs_f64();
    let used = (daemon.processor_time() - before.0).as_secs_f64();
    println!("{what}, {took:.0} s");
    println!("  resident memory     {:>8.1} MB", daemon.resident() as f64 / 1e6);
    println!("  processor time      {:>8.2} s a minute", used * 60.0 / took);
    println!("  connections closed  {:>8.0} a second", (closed() - before.2) as f64 / took);
    println!("  netlink resyncs     {:>8} before, {} after", before.1, resyncs());
}

/// What the checks connect to.
fn accept_and_close(host: &Namespace, address: &str) {
    let listener = host.within(|| TcpListener::bind(address)).expect("bind");
    std::thread::spawn(move || while listener.accept().is_ok() {});
}

/// Connects and closes with a reset, `rate` times a second as far as the machine can; every closing is two sockets.
fn flood(host: &Namespace, rate: u64, stop: &AtomicBool, closed: &AtomicU64) {
    let listener = host.within(|| TcpListener::bind("127.0.0.1:0")).expect("bind");
    let address: SocketAddr = listener.local_addr().expect("an address");
    host.within(|| {
        let start = Instant::now();
        let mut done = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..50 {
                let Ok(stream) = TcpStream::connect(address) else { continue };
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                drop(stream);
                drop(listener.accept());
                done += 1;
                closed.fetch_add(1, Ordering::Relaxed);
            }
            let due = Duration::from_secs_f64(done as f64 / rate as f64);
            if due > start.elapsed() {
                std::thread::sleep((due - start.elapsed()).min(millis(10)));
            }
        }
    });
}
