//! Addresses, local routes and interfaces as facts.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anycaster::engine::Input;
use anycaster::facts::{Address, Fact, Interface, LocalRoute, Snapshot};
use anycaster::io::netlink::{Counters, Netlink};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::{in_namespace, ip};

struct Bench {
    netlink: Netlink,
    inputs: mpsc::Receiver<Input>,
    counters: Arc<Counters>,
}

impl Bench {
    /// Started, with the first snapshot taken.
    async fn new() -> (Self, Snapshot) {
        let (sender, inputs) = mpsc::channel(16);
        let counters = Arc::new(Counters::default());
        let netlink = Netlink::start(sender, Arc::clone(&counters)).unwrap();
        let mut bench = Self { netlink, inputs, counters };
        let first = bench.snapshot().await;
        (bench, first)
    }

    async fn next(&mut self) -> Input {
        timeout(Duration::from_secs(5), self.inputs.recv()).await.expect("an input in time").unwrap()
    }

    async fn fact(&mut self) -> Fact {
        match self.next().await {
            Input::Fact(fact) => fact,
            other => panic!("{other:?}"),
        }
    }

    /// The next snapshot; reads that were interrupted may come before it.
    async fn snapshot(&mut self) -> Snapshot {
        loop {
            if let Fact::Snapshot(snapshot) = self.fact().await {
                return snapshot;
            }
        }
    }

    /// What is said until it is quiet for a while.
    async fn quiet(&mut self) -> Vec<Input> {
        let mut said = Vec::new();
        while let Ok(Some(input)) = timeout(Duration::from_millis(200), self.inputs.recv()).await {
            said.push(input);
        }
        said
    }

    fn resyncs(&self) -> u64 {
        self.counters.resyncs.load(Ordering::Relaxed)
    }
}

fn address(interface: u32, text: &str, length: u8, usable: bool) -> Address {
    Address { interface, address: text.parse().unwrap(), length, usable }
}

fn has_address(address: Address, present: bool) -> Input {
    Input::Fact(Fact::Address { address, present })
}

fn has_route(interface: u32, prefix: &str, present: bool) -> Input {
    let route = LocalRoute { interface, prefix: prefix.parse().unwrap() };
    Input::Fact(Fact::LocalRoute { route, present })
}

fn lo() -> Interface {
    Interface { index: 1, name: "lo".to_owned(), loopback: true }
}

#[test]
fn the_first_snapshot_is_the_whole_host() {
    in_namespace(|| async {
        ip("address add 192.0.2.1/32 dev lo");
        ip("route add local 2001:db8:1::/48 dev lo");
        let (_bench, first) = Bench::new().await;
        assert_eq!(first.interfaces, [lo()]);
        let mut addresses = first.addresses.clone();
        addresses.sort();
        let expected =
            [address(1, "127.0.0.1", 8, true), address(1, "192.0.2.1", 32, true), address(1, "::1", 128, true)];
        assert_eq!(addresses, expected);
        let routes: Vec<String> = first.routes.iter().map(|route| route.prefix.to_string()).collect();
        let expected = ["127.0.0.0/8", "127.0.0.1/32", "192.0.2.1/32", "::1/128", "2001:db8:1::/48"];
        assert_eq!(routes, expected);
    });
}

#[test]
fn addresses_come_and_go() {
    in_namespace(|| async {
        let (mut bench, _) = Bench::new().await;
        for (text, length) in [("192.0.2.1", 32), ("2001:db8::1", 128)] {
            let route = format!("{text}/{length}");
            let there = address(1, text, length, true);
            for (verb, present) in [("add", true), ("del", false)] {
                ip(&format!("address {verb} {route} dev lo"));
                let mut said = bench.quiet().await;
                // The order of address and route is the kernel's affair, and differs by family and verb. IPv6 says an
                // address twice: even on lo it is tentative for a moment.
                said.sort_by_key(|input| matches!(input, Input::Fact(Fact::LocalRoute { .. })));
                let mut expected = vec![has_address(there, present), has_route(1, &route, present)];
                if present && length == 128 {
                    expected.insert(0, has_address(Address { usable: false, ..there }, true));
                }
                assert_eq!(said, expected, "{verb} {text}");
            }
        }
        assert_eq!(bench.resyncs(), 0);
    });
}

#[test]
fn a_tentative_address_is_not_usable_until_duplicate_detection_is_over() {
    in_namespace(|| async {
        ip("link add va type veth peer name vb");
        ip("link set va up");
        ip("link set vb up");
        sleep(Duration::from_millis(200)).await;
        let (mut bench, first) = Bench::new().await;
        let index = first.interfaces.iter().find(|found| found.name == "va").unwrap().index;
        bench.quiet().await;
        ip("address add 2001:db8::5/64 dev va");
        let ours = |input: &Input| match input {
            Input::Fact(Fact::Address { address, present }) => {
                (address.address == "2001:db8::5".parse::<IpAddr>().unwrap()).then_some((*address, *present))
            }
            _ => None,
        };
        let mut said = Vec::new();
        while said.len() < 2 {
            said.extend(ours(&bench.next().await));
        }
        let expected =
            [(address(index, "2001:db8::5", 64, false), true), (address(index, "2001:db8::5", 64, true), true)];
        assert_eq!(said, expected);
    });
}

#[test]
fn a_deleted_interface_is_read_again_because_its_routes_go_silently() {
    in_namespace(|| async {
        ip("link add va type veth peer name vb");
        ip("link set va up");
        ip("route add local 198.51.100.0/24 dev va");
        let (mut bench, first) = Bench::new().await;
        let ours =
            |snapshot: &Snapshot| snapshot.routes.iter().any(|route| route.prefix.to_string() == "198.51.100.0/24");
        assert!(ours(&first));
        let index = first.interfaces.iter().find(|found| found.name == "va").unwrap().index;
        bench.quiet().await;
        ip("link del va");
        let gone = Fact::Interface { index, name: None, loopback: false };
        while bench.fact().await != gone {}
        let snapshot = bench.snapshot().await;
        assert!(!ours(&snapshot));
        assert_eq!(snapshot.interfaces, [lo()]);
        assert_eq!(bench.resyncs(), 0);
    });
}

#[test]
fn managed_addresses_are_put_and_taken_and_twice_is_success() {
    in_namespace(|| async {
        let (mut bench, _) = Bench::new().await;
        for (text, length) in [("192.0.2.9", 32), ("2001:db8::9", 128)] {
            let route = format!("{text}/{length}");
            let there = address(1, text, length, true);
            for (present, changes) in [(true, true), (true, false), (false, true), (false, false)] {
                bench.netlink.manage(text.parse().unwrap(), present);
                let mut said = bench.quiet().await;
                said.sort_by_key(|input| matches!(input, Input::Fact(Fact::LocalRoute { .. })));
                // NODAD: never tentative.
                let expected = [has_address(there, present), has_route(1, &route, present)];
                assert_eq!(said, if changes { expected.to_vec() } else { Vec::new() }, "{text} {present}");
            }
        }
    });
}

#[test]
fn a_managed_address_that_cannot_be_put_is_told_in_the_words_of_the_kernel() {
    in_namespace(|| async {
        std::fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1").unwrap();
        let (mut bench, _) = Bench::new().await;
        bench.quiet().await;
        let address = "2001:db8::9".parse().unwrap();
        bench.netlink.manage(address, true);
        let detail = "Permission denied (os error 13)".to_owned();
        assert_eq!(bench.next().await, Input::ManageFailed { address, detail });
    });
}

/// Commands for `ip -batch`, which makes them faster than we read.
fn batch(lines: impl Iterator<Item = String>) {
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let text: String = lines.collect();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn fifty_thousand_routes_of_other_tables_never_reach_us() {
    in_namespace(|| async {
        let (mut bench, _) = Bench::new().await;
        bench.quiet().await;
        let before = cpu();
        batch(
            (0..50_000)
                .map(|i| format!("route add 10.{}.{}.{}/32 dev lo table main\n", i >> 16, (i >> 8) & 255, i & 255)),
        );
        assert_eq!(bench.quiet().await, []);
        assert_eq!(bench.resyncs(), 0);
        println!("50,000 routes of other tables: {:?} of our processor time", cpu() - before);
    });
}

#[test]
fn lost_events_are_made_good_by_a_read() {
    in_namespace(|| async {
        let (mut bench, _) = Bench::new().await;
        bench.quiet().await;
        // The runtime stands still meanwhile, so the events overrun the buffer.
        batch(
            (0..60_000).map(|i| format!("route add local 10.{}.{}.{}/32 dev lo\n", i >> 16, (i >> 8) & 255, i & 255)),
        );
        let snapshot = bench.snapshot().await;
        assert!(bench.resyncs() >= 1);
        let ours = snapshot.routes.iter().filter(|route| route.prefix.to_string().starts_with("10."));
        assert_eq!(ours.count(), 60_000);
    });
}

/// Processor time of this thread.
fn cpu() -> Duration {
    let now = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap();
    Duration::from(now)
}

#[test]
fn a_watch_that_ended_says_so() {
    in_namespace(|| async {
        let (Bench { mut netlink, inputs, .. }, _) = Bench::new().await;
        let still = timeout(Duration::from_millis(100), netlink.ended()).await;
        assert!(still.is_err(), "it ended by itself");
        drop(inputs);
        ip("address add 192.0.2.77/32 dev lo");
        timeout(Duration::from_secs(5), netlink.ended()).await.unwrap();
    });
}
