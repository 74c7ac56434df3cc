//! How fast errors are relayed, beside the shortest C loop that does the same without a thought (`pmtud-loop.c`), with the
//! same frames in the same run: what is forwarded at 400,000 a second, the most that goes out, processor time, latency; and
//! memory under a flood from ten million sources.
//!
//! ```text
//!   generator, processor 0 --- g0 ====veth==== eth0 --- anycaster pmtud, or the C loop; processor 1
//!   frames and copies are counted at eth0; what comes to g0 is dropped before its IP stack
//! ```
//!
//! `cargo bench --bench pmtud -- [--quick] [--seconds N]`; needs root, two processors and cc.

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

#[path = "../pmtud/crafted.rs"]
mod crafted;
#[path = "../pmtud/fleet.rs"]
mod fleet;
#[path = "../pmtud/wires.rs"]
mod wires;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, IoSlice};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crafted::{Error, checksum};
use fleet::{Relay, address};
use lab::namespace::{Namespace, Process, link};
use lab::{Scratch, ready, seconds, wait_for};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{LinkAddr, MsgFlags, MultiHeaders, sendmmsg};
use nix::unistd::Pid;
use wires::Wire;

/// What FACTS on the machine of the measurements gave as the field's own numbers; the bars of the issue.
const OFFERED: u64 = 400_000;
const SOURCES: u64 = 60_000;
const BATCH: usize = 128;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let quick = arguments.iter().any(|word| word == "--quick");
    let length = arguments.iter().position(|word| word == "--seconds").and_then(|at| arguments.get(at + 1));
    let length = length.map_or(if quick { 2 } else { 5 }, |word| word.parse().expect("--seconds N"));
    if !ready(&["cc", "taskset", "nft"]) {
        return;
    }
    let bench = Bench::new(seconds(length));
    pin();
    bench.throughput();
    bench.latency(if quick { 2000 } else { 10_000 });
    bench.memory(if quick { 1_000_000 } else { 10_000_000 });
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Anycaster,
    Loop,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Broadcast,
    /// To so many members.
    Datagrams(usize),
}

impl Way {
    const fn copies(self) -> u64 {
        match self {
            Self::Broadcast => 1,
            Self::Datagrams(members) => members as u64,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Broadcast => "broadcast".to_owned(),
            Self::Datagrams(members) => format!("relay to {members}"),
        }
    }
}

struct Bench {
    generator: Namespace,
    host: Namespace,
    length: Duration,
    scratch: Scratch,
    compiled: PathBuf,
}

/// One engine under one load.
struct Row {
    offered: f64,
    out: f64,
    share: f64,
    processor: f64,
}

impl Bench {
    fn new(length: Duration) -> Self {
        let (generator, host) = (Namespace::new("generator"), Namespace::new("host"));
        link((&generator, "g0", &[]), (&host, "eth0", &["10.98.0.11/24"]));
        host.add_address("lo", "192.0.2.53/32");
        let mac = Wire::open(&generator, "g0").mac.map(|octet| format!("{octet:02x}")).join(":");
        for member in 1..=3 {
            host.run(&format!("ip neigh add {} lladdr {mac} dev eth0 nud permanent", fleet::ip(member)));
        }
        generator.run("nft add table netdev sink");
        generator.run("nft add chain netdev sink in { type filter hook ingress device g0 priority 0 ; policy drop ; }");
        let scratch = Scratch::new();
        let compiled = scratch.file("pmtud-loop");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto-tests/benches/pmtud-loop.c");
        let done = Command::new("cc").args(["-O2", "-o"]).arg(&compiled).arg(source).status().expect("cc");
        assert!(done.success(), "cc: {done}");
        Self { generator, host, length, scratch, compiled }
    }

    fn start(&self, engine: Engine, way: Way, protocols: &str, limits: &str) -> Running {
        let pinned = ["taskset", "-c", "1"];
        match engine {
            Engine::Anycaster => {
                let table = match way {
                    Way::Broadcast => "mode = \"broadcast\"\n".to_owned(),
                    Way::Datagrams(members) => {
                        let list: Vec<String> =
                            (0..=members).map(|member| format!("\"{}\"", fleet::ip(member))).collect();
                        format!("address = \"{}\"\nkeys = [\"KEY\"]\nmembers = [{}]\n", fleet::ip(0), list.join(", "))
                    }
                };
                let table = format!("{table}{}protocols = [\"{protocols}\"]\n{limits}", fleet::COMMON);
                let mut relay = Relay::spawn(&self.host, &table, &pinned);
                relay.ready();
                Running::Anycaster(relay)
            }
            Engine::Loop => {
                let mut command = Command::new(pinned[0]);
                command.args(&pinned[1..]).arg(&self.compiled).arg("eth0").stdout(Stdio::piped());
                if let Way::Datagrams(members) = way {
                    command.arg("5141").args((1..=members).map(fleet::ip));
                }
                let mut process = self.host.spawn(&mut command);
                let mut line = String::new();
                BufReader::new(process.stdout()).read_line(&mut line).expect("a line");
                Running::Loop(process)
            }
        }
    }

    /// Frames in and out at the host's end.
    fn counted(&self) -> (u64, u64) {
        let shown = self.host.run("ip -json -stats link show dev eth0");
        let links: serde_json::Value = serde_json::from_str(&shown).expect("ip -json");
        let packets = |which: &str| links[0]["stats64"][which]["packets"].as_u64().expect("a counter");
        (packets("rx"), packets("tx"))
    }

    /// `rate` frames a second for a while, or as many as go.
    fn load(&self, engine: Engine, way: Way, protocol: &str, rate: Option<u64>) -> Row {
        let running = self.start(engine, way, protocol, LIMITS);
        let mut frames = Frames::new(self, protocol);
        // Until all memory is there and the first errors have passed
        generate(&mut frames, Some(20_000), Duration::from_millis(200));
        let (before, began) = (self.counted(), running.processor());
        generate(&mut frames, rate, self.length);
        let after = wait_for("the queue to empty", seconds(20), || {
            let first = self.counted();
            std::thread::sleep(Duration::from_millis(50));
            if self.counted() == first { Ok(first) } else { Err("still sending".to_owned()) }
        });
        assert!(after.1 > before.1 + 10, "nothing goes out");
        let processor = (running.processor() - began).as_secs_f64();
        let (frames, out) = ((after.0 - before.0) as f64, (after.1 - before.1) as f64);
        let took = self.length.as_secs_f64();
        Row {
            offered: frames / took,
            out: out / took,
            share: out / (frames * way.copies() as f64),
            processor: processor / out * 100_000.0,
        }
    }

    fn throughput(&self) {
        println!("{:<16} {:<10} {:>12} {:>12} {:>9} {:>14}", "", "", "in/s", "out/s", "forwarded", "CPU-s per 100k");
        let ways = [Way::Broadcast, Way::Datagrams(1), Way::Datagrams(3)];
        for (what, rate) in [("400,000 a second", Some(OFFERED)), ("all that goes in", None)] {
            println!("{what}");
            for way in ways {
                let [ours, theirs] =
                    [Engine::Anycaster, Engine::Loop].map(|engine| self.load(engine, way, "tcp", rate));
                for (name, row) in [("anycaster", &ours), ("C loop", &theirs)] {
                    println!(
                        "  {:<14} {name:<10} {:>12.0} {:>12.0} {:>8.2}% {:>14.4}",
                        way.name(),
                        row.offered,
                        row.out,
                        row.share * 100.0,
                        row.processor
                    );
                }
                println!(
                    "  {:<14} {:<10} {:>12} {:>12.2} {:>9} {:>14.2}",
                    "",
                    "ratio",
                    "",
                    ours.out / theirs.out,
                    "",
                    ours.processor / theirs.processor
                );
            }
        }
        // The kernel is asked for sockets of TCP and UDP; for SCTP it has no such question.
        let way = Way::Datagrams(1);
        let [asked, unasked] =
            ["tcp", "sctp"].map(|protocol| self.load(Engine::Anycaster, way, protocol, Some(OFFERED)));
        println!(
            "whose socket it is, asked of the kernel: {:.4} of {:.4} CPU-s per 100k",
            asked.processor - unasked.processor,
            asked.processor
        );
    }

    /// A thousand a second, from before sendto() to the kernel's time stamp at the far end.
    fn latency(&self, count: usize) {
        println!("latency at 1000 a second, {count} errors");
        for way in [Way::Broadcast, Way::Datagrams(1), Way::Datagrams(3)] {
            for (name, engine) in [("anycaster", Engine::Anycaster), ("C loop", Engine::Loop)] {
                let _running = self.start(engine, way, "tcp", LIMITS);
                let mut values = delays(self, engine, way, count);
                let lost = count - values.len();
                assert!(!values.is_empty(), "{name}: nothing came out");
                values.sort();
                // Nearest rank
                let at = |share: usize| values[(values.len() * share).div_ceil(100).saturating_sub(1)];
                println!(
                    "  {:<14} {name:<10} p50 {:>9.1?}  p99 {:>9.1?}  max {:>9.1?}  lost {lost}",
                    way.name(),
                    at(50),
                    at(99),
                    at(100)
                );
            }
        }
    }

    /// Each error from another router about another client, with the limits as they come.
    fn memory(&self, count: u64) {
        let running = self.start(Engine::Anycaster, Way::Datagrams(3), "tcp", "");
        let Running::Anycaster(relay) = &running else { panic!("another engine") };
        let mut frames = Frames::new(self, "tcp");
        frames.sources = u64::MAX;
        let before = (relay.resident(), self.counted());
        let (start, mut said) = (Instant::now(), String::new());
        for part in 1..=10 {
            while frames.made < count / 10 * part {
                frames.send();
            }
            let _ = write!(said, " {:.1}", relay.resident() as f64 / 1e6);
        }
        let (took, after) = (start.elapsed().as_secs_f64(), self.counted());
        println!("{count} errors, each from another source, default limits, {took:.1} s");
        println!("  resident before {:.1} MB, then after each tenth{said} MB", before.0 as f64 / 1e6);
        println!("  out {:.0} a second of at most 3 x 5000", (after.1 - before.1.1) as f64 / took);
        println!("  verdicts {:?}", relay.packets());
    }
}

const LIMITS: &str =
    "limits = { flow = \"10000000/s\", router = \"10000000/s\", prefix = \"10000000/s\", total = \"10000000/s\" }\n";

enum Running {
    Anycaster(Relay),
    Loop(Process),
}

impl Running {
    /// User and system time so far.
    fn processor(&self) -> Duration {
        let id = match self {
            Self::Anycaster(relay) => relay.id(),
            Self::Loop(process) => process.id(),
        };
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("/proc");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("stat").split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<u64>().expect("ticks");
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }
}

/// Frames of 70 octets, no two alike: another client in each, and one router after the other.
struct Frames {
    wire: Wire,
    sources: u64,
    made: u64,
    frames: Vec<Vec<u8>>,
    headers: MultiHeaders<LinkAddr>,
}

impl Frames {
    fn new(bench: &Bench, protocol: &str) -> Self {
        let wire = Wire::open(&bench.generator, "g0");
        let to = Wire::open(&bench.host, "eth0").mac;
        let mut error = Error::new(address("10.0.0.0"), address("192.0.2.53"), address("11.0.0.0"), 40_000, 1400);
        error.quote.protocol = if protocol == "sctp" { crafted::SCTP } else { crafted::TCP };
        // As [`set`] has it
        error.quote.sequence = !0x0B00_0000;
        let frame = crafted::frame(to, wire.mac, &error.packet());
        assert_eq!(frame.len(), 70);
        let headers = MultiHeaders::preallocate(BATCH, None);
        Self { wire, sources: SOURCES, made: 0, frames: vec![frame; BATCH], headers }
    }

    fn next(&mut self) -> usize {
        let at = usize::try_from(self.made % BATCH as u64).expect("small");
        set(&mut self.frames[at], self.made, self.sources);
        self.made += 1;
        at
    }

    /// A whole batch.
    fn send(&mut self) {
        for _ in 0..BATCH {
            self.next();
        }
        let slices: Vec<[IoSlice<'_>; 1]> = self.frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
        let to = [None; BATCH];
        let socket = self.wire.socket().as_raw_fd();
        let mut done = 0;
        while done < BATCH {
            let rest = &slices[done..];
            match sendmmsg(socket, &mut self.headers, rest, &to[done..], [], MsgFlags::empty()) {
                Ok(sent) => done += sent.count(),
                Err(nix::errno::Errno::ENOBUFS) => {}
                Err(error) => panic!("sendmmsg: {error}"),
            }
        }
    }
}

/// Client and source by number. What the client adds to the message's checksum the quoted sequence number takes away.
fn set(frame: &mut [u8], number: u64, sources: u64) {
    let client = 0x0B00_0000 + u32::try_from(number % 0x6000_0000).expect("31 bits");
    frame[58..62].copy_from_slice(&client.to_be_bytes());
    frame[66..70].copy_from_slice(&(!client).to_be_bytes());
    // The checksum of the quoted header is not looked at by anybody.
    let source = 0x1600_0000 + u32::try_from(number % sources % 0x1000_0000).expect("28 bits");
    frame[26..30].copy_from_slice(&source.to_be_bytes());
    frame[24..26].fill(0);
    let sum = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum);
}

fn generate(frames: &mut Frames, rate: Option<u64>, length: Duration) {
    let (start, first) = (Instant::now(), frames.made);
    while start.elapsed() < length {
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64((frames.made - first) as f64 / rate as f64);
            while start.elapsed() < due {
                std::hint::spin_loop();
            }
        }
        frames.send();
    }
}

/// The calling thread, to the generator's processor.
fn pin() {
    let mut processors = CpuSet::new();
    processors.set(0).expect("processor 0");
    sched_setaffinity(Pid::from_raw(0), &processors).expect("affinity");
}

/// Of each error whose first copy came.
fn delays(bench: &Bench, engine: Engine, way: Way, count: usize) -> Vec<Duration> {
    let mut frames = Frames::new(bench, "tcp");
    let stamps = wires::Stamps::new(&bench.generator, "g0", move |frame| {
        // The client's address, in a frame or behind the headers of a datagram
        let at = match (way, engine) {
            (Way::Broadcast, _) => 58,
            (Way::Datagrams(_), Engine::Anycaster) => 58 + 28 + 34,
            (Way::Datagrams(_), Engine::Loop) => 58 + 28,
        };
        let client = u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?);
        client.checked_sub(0x0B00_0000).map(|number| number as usize)
    });
    let mut sent = Vec::new();
    let start = Instant::now();
    for number in 0..count {
        let due = Duration::from_micros(number as u64 * 1000);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let at = frames.next();
        sent.push(wires::now());
        frames.wire.send(&frames.frames[at]);
    }
    std::thread::sleep(Duration::from_millis(200));
    let first = stamps.first();
    let pairs = sent.iter().enumerate().filter_map(|(number, sent)| Some((first.get(&number)?, sent)));
    pairs.map(|(came, sent)| came.saturating_sub(*sent)).collect()
}
