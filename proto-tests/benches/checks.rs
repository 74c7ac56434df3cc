//! What does a check cost? A thousand TCP checks a second, beside a bare loop that connects and closes as often.
//!
//! CPU of the whole process (user and system), with the listener in another one. `cargo bench --bench checks`; the bar
//! is a ratio of 2. Both are paced by the same loop, and take turns so that a busy machine disturbs both.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark stands outside of the core")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anycaster::config::{CheckKind, Target, TcpCheck};
use anycaster::engine::{Input, Outcome, ProbeId};
use anycaster::io::checks::{ProbeRequest, Runner};
use configured::{check, configured};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

#[path = "../checks/configured.rs"]
mod configured;

const RATE: u32 = 1000;
const ROUNDS: u32 = 5;
const ROUND: Duration = Duration::from_secs(2);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--listen") {
        return listen();
    }
    let mut listener =
        Command::new(std::env::current_exe()?).arg("--listen").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut port = String::new();
    BufReader::new(listener.stdout.take().ok_or("no pipe")?).read_line(&mut port)?;
    let measured = measure(port.trim().parse()?);
    listener.kill()?;
    listener.wait()?;
    let (bare, checks) = measured?;
    let seconds = (ROUND * ROUNDS).as_secs_f64();
    let ratio = checks.as_secs_f64() / bare.as_secs_f64();
    for (name, cpu) in [("bare connect and close", bare), ("checks", checks)] {
        let each = cpu.as_secs_f64() * 1e6 / (f64::from(RATE) * seconds);
        println!("{name:<24} {RATE}/s for {seconds} s: {:.3} s CPU, {each:.1} us each", cpu.as_secs_f64());
    }
    println!("ratio {ratio:.2} (bar: 2.00)");
    Ok(if ratio <= 2.0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The other process: accepts and closes until it is killed.
fn listen() -> Result<ExitCode, Box<dyn Error>> {
    let listener = TcpListener::bind((HERE, 0))?;
    println!("{}", listener.local_addr()?.port());
    loop {
        drop(listener.accept()?);
    }
}

fn measure(port: u16) -> Result<(Duration, Duration), Box<dyn Error>> {
    let (inputs, mut results) = mpsc::channel(4096);
    let tcp = CheckKind::Tcp(TcpCheck { port, send: None, expect: None });
    let config = configured(vec![check(Target::Service, Duration::from_millis(500), tcp)]);
    let runner = Runner::new(&config, inputs)?;
    let to = SocketAddr::new(HERE, port);
    let (mut bare, mut checks) = (Duration::ZERO, Duration::ZERO);
    let mut passed = 0;
    for _ in 0..ROUNDS {
        bare += paced(|_| {
            drop(TcpStream::connect(to)?);
            Ok(())
        })?;
        checks += paced(|run| {
            let probe = ProbeId { service: 0, check: 0, address: HERE, run };
            let empty = String::new;
            runner.probe(ProbeRequest { probe, state: empty(), reason: empty() })?;
            // As the engine does: what came is taken at the next wake.
            while let Ok(input) = results.try_recv() {
                passed += u32::from(matches!(input, Input::Probed { outcome: Outcome::Pass { .. }, .. }));
            }
            Ok(())
        })?;
    }
    std::thread::sleep(Duration::from_millis(100));
    while let Ok(input) = results.try_recv() {
        passed += u32::from(matches!(input, Input::Probed { outcome: Outcome::Pass { .. }, .. }));
    }
    let asked = RATE * ROUNDS * ROUND.as_secs() as u32;
    if passed == asked { Ok((bare, checks)) } else { Err(format!("{passed} of {asked} checks passed").into()) }
}

/// Does `one` at [`RATE`] for one [`ROUND`]; the CPU time of the process meanwhile.
fn paced(mut one: impl FnMut(u64) -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let (before, start) = (cpu()?, Instant::now());
    for run in 0..RATE * ROUND.as_secs() as u32 {
        one(run.into())?;
        let next = start + Duration::from_secs(1) * (run + 1) / RATE;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(cpu()? - before)
}

/// What getrusage(2) sums up, in nanoseconds instead of microseconds.
fn cpu() -> Result<Duration, Box<dyn Error>> {
    let spent = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    Ok(Duration::from_nanos(spent.num_nanoseconds().try_into()?))
}
