//! How fast a route leaves: kill -9 of a listening service to the first octet of the withdraw at the router, beside the
//! kernel's own notice of the same closing socket; and how fast it returns.
//!
//! `cargo bench --bench reaction -- [--rounds N]`; needs root.

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

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use lab::bgp::Open;
use lab::daemon::Daemon;
use lab::fake::{Connection, FakeNeighbor};
use lab::namespace::{Namespace, Process, link};
use lab::{millis, seconds};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::signal::Signal;

const SERVICE: &str = "192.0.2.53:8080";
const PREFIX: &str = "192.0.2.53/32";

/// SKNLGRP_INET_TCP_DESTROY of linux/sock_diag.h
const TCP_DESTROY: u32 = 1;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == "--serve") {
        return serve();
    }
    let rounds = arguments.iter().position(|word| word == "--rounds").and_then(|at| arguments.get(at + 1));
    let rounds = rounds.map_or(60, |word| word.parse().expect("--rounds N"));
    if lab::ready(&[]) {
        measure(rounds);
    }
}

/// The service: says when it listens, keeps every connection, and is killed.
fn serve() {
    let listener = TcpListener::bind(SERVICE).expect("bind");
    println!("listening");
    std::io::stdout().flush().expect("flush");
    let mut kept = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        kept.push(stream);
    }
}

fn measure(rounds: usize) {
    let host = Namespace::new("host");
    let router = Namespace::new("tor");
    link((&host, "eth0", &["10.97.1.2/30"]), (&router, "h1", &["10.97.1.1/30"]));
    host.add_address("lo", PREFIX);
    let tor = FakeNeighbor::listen(&router, "10.97.1.1");
    let daemon = Daemon::start(
        &host,
        "[router]\nasn = 65010\n[neighbors.tor]\naddress = \"10.97.1.1\"\nasn = 65001\nhold-time = \"90s\"\n
         [services.web]\nprefixes = [\"192.0.2.53\"]\n[services.web.binding]\nlisten = [\"tcp/8080\"]\n",
    );
    let session = tor.establish(&Open::default());
    session.keep_alive(seconds(20));
    session.initial_updates();
    let notices = watch_kernel(&host);

    for held in [0, 1000] {
        let rounds = if held == 0 { rounds } else { rounds / 2 };
        let results: Vec<Round> = (0..rounds).map(|_| round(&host, &session, &notices, held)).collect();
        report(held, &results);
    }
    assert_eq!(daemon.neighbor_state("tor"), "Established");
}

struct Round {
    notice: Duration,
    withdraw: Duration,
    announce: Duration,
}

fn round(host: &Namespace, session: &Connection, notices: &Receiver<Instant>, held: usize) -> Round {
    let (mut service, listening) = start_service(host);
    let (announced, update) = session.update();
    assert_eq!(update.announced, [PREFIX]);
    let clients: Vec<TcpStream> =
        host.within(|| (0..held).map(|_| TcpStream::connect(SERVICE).expect("connect")).collect());
    std::thread::sleep(millis(50));
    while notices.try_recv().is_ok() {}

    let killed = Instant::now();
    service.signal(Signal::SIGKILL);
    let (withdrawn, update) = session.update();
    assert_eq!(update.withdrawn, [PREFIX]);
    let noticed = notices.recv_timeout(seconds(2)).expect("the kernel said nothing");
    service.kill();
    drop(clients);
    std::thread::sleep(millis(50));
    Round {
        notice: noticed - killed,
        withdraw: withdrawn - killed,
        announce: announced.saturating_duration_since(listening),
    }
}

/// And the moment after its listen().
fn start_service(host: &Namespace) -> (Process, Instant) {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    let mut service = host.spawn(command.arg("--serve").stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(service.stdout()).read_line(&mut line).expect("a line");
    (service, Instant::now())
}

/// When the kernel reported the closing of the service's listener.
fn watch_kernel(host: &Namespace) -> Receiver<Instant> {
    let socket = host.within(|| {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG).expect("a netlink socket");
        socket.bind(&SocketAddr::new(0, 0)).expect("bind");
        socket.add_membership(TCP_DESTROY).expect("the destroy group");
        socket.set_rx_buf_sz(8 << 20).expect("a large buffer");
        socket
    });
    let (sender, notices) = channel();
    std::thread::spawn(move || {
        let mut buffer = Vec::with_capacity(65536);
        loop {
            buffer.clear();
            // An overrun is an error that goes away by itself.
            if socket.recv(&mut buffer, 0).is_err() {
                continue;
            }
            let at = Instant::now();
            // struct inet_diag_msg behind 16 octets of header: source port at 4, destination port at 6, both big-endian
            let ports = buffer.get(20..24);
            if ports == Some(&[0x1F, 0x90, 0, 0]) && sender.send(at).is_err() {
                return;
            }
        }
    });
    notices
}

fn report(held: usize, results: &[Round]) {
    println!("{} rounds, {held} client connections held", results.len());
    let column = |name: &str, pick: fn(&Round) -> Duration| {
        let mut values: Vec<Duration> = results.iter().map(pick).collect();
        values.sort();
        // Nearest rank
        let at = |share: usize| values[(values.len() * share).div_ceil(100).saturating_sub(1)];
        println!(
            "  {name:<32} median {:>10.1?}  p99 {:>10.1?}  min {:>10.1?}  max {:>10.1?}",
            at(50),
            at(99),
            at(0),
            at(100)
        );
        at(50)
    };
    let notice = column("kill -9 -> kernel's own notice", |round| round.notice);
    let withdraw = column("kill -9 -> withdraw at the router", |round| round.withdraw);
    column("listening -> announce", |round| round.announce);
    println!("  withdraw / notice, medians: {:.1}", withdraw.as_secs_f64() / notice.as_secs_f64());
}
