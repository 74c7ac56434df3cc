//! Four members that all hear each other, each with the same service: one error in, and each copy on the wire is counted.
//! Never more than one to each other member, or one frame to all, whatever restarts, flaps, forwards or is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::fleet::{self, COMMON, OPEN, PORT, Relay, SERVICE, SERVICE6, Segment, legitimate};
use crate::lab::{millis, ready, seconds, stays_equal, wait_equal, wait_for};
use crate::wires::{Seen, Sniffer};

const MEMBERS: usize = 4;

/// How long the wire must stay as it is for a storm to be ruled out: a copy of a copy would be there within a millisecond.
fn quiet() -> Duration {
    if std::env::var_os("ANYCASTER_LONG").is_some() { seconds(10) } else { millis(1000) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Relay,
    Broadcast,
}

/// What members put on the wire: relayed datagrams and errors, each counted where it enters the segment.
struct Storm {
    mode: Mode,
    segment: Segment,
    relays: Vec<Relay>,
    /// At the bridge's port of each member.
    ports: Vec<Sniffer>,
    sent: u32,
}

impl Storm {
    fn new(mode: Mode) -> Self {
        let segment = Segment::new(MEMBERS);
        let ports = (0..MEMBERS).map(|member| {
            let port = format!("h{}", 11 + member);
            Sniffer::new(&segment.bridge, &port, |seen| !seen.outgoing && is_copy(seen))
        });
        let ports = ports.collect();
        let relays =
            segment.members.iter().enumerate().map(|(member, namespace)| Relay::start(namespace, &table(mode, member)));
        let relays = relays.collect();
        Self { mode, segment, relays, ports, sent: 0 }
    }

    /// One right error to this member, of either family in turn.
    fn error(&mut self, member: usize) {
        let family = if self.sent.is_multiple_of(2) { 4 } else { 6 };
        self.segment.send(member, &legitimate(family, self.sent).packet());
        self.sent += 1;
    }

    /// What each member has put on the wire.
    fn copies(&self) -> Vec<usize> {
        self.ports.iter().map(Sniffer::count).collect()
    }

    /// Of one error.
    const fn each(&self) -> usize {
        match self.mode {
            Mode::Relay => MEMBERS - 1,
            Mode::Broadcast => 1,
        }
    }

    #[track_caller]
    fn settled(&self, what: &str, wanted: &[usize]) {
        wait_equal(what, seconds(10), &wanted.to_vec(), || self.copies());
        stays_equal(what, quiet(), &wanted.to_vec(), || self.copies());
    }

    /// By member: those that got a datagram each.
    fn destinations(&self, member: usize) -> BTreeMap<u8, usize> {
        let mut all = BTreeMap::new();
        for seen in self.ports[member].all() {
            let (to, _) = seen.datagram(PORT).expect("a datagram");
            *all.entry(to[3]).or_default() += 1;
        }
        all
    }

    #[track_caller]
    fn all_run(&mut self) {
        for relay in &mut self.relays {
            assert!(relay.running(), "it has ended:\n{}", relay.log());
        }
    }
}

fn table(mode: Mode, member: usize) -> String {
    match mode {
        Mode::Relay => fleet::table(member, MEMBERS),
        Mode::Broadcast => format!("mode = \"broadcast\"\n{COMMON}{OPEN}"),
    }
}

fn is_copy(seen: &Seen) -> bool {
    seen.datagram(PORT).is_some() || seen.error().is_some()
}

fn each_mode(test: impl Fn(Mode)) {
    if ready(&[]) {
        test(Mode::Relay);
        test(Mode::Broadcast);
    }
}

#[test]
fn one_error_in_and_no_more_out_than_there_are_others() {
    each_mode(|mode| {
        let mut storm = Storm::new(mode);
        let mut wanted = vec![0; MEMBERS];
        for (member, expected) in (0..MEMBERS).zip([1, 2, 2, 2]) {
            for _ in 0..expected {
                storm.error(member);
            }
            wanted[member] = expected * storm.each();
        }
        storm.settled("copies on the wire", &wanted);
        if mode == Mode::Relay {
            let others: BTreeMap<u8, usize> = [(12, 1), (13, 1), (14, 1)].into();
            assert_eq!(storm.destinations(0), others);
        } else {
            for seen in storm.ports.iter().flat_map(Sniffer::all) {
                assert_eq!(seen.to(), [0xFF; 6]);
            }
        }
        storm.all_run();
    });
}

#[test]
fn no_more_while_one_restarts_again_and_again() {
    each_mode(|mode| {
        let mut storm = Storm::new(mode);
        for round in 0..6 {
            for _ in 0..10 {
                storm.error(0);
                std::thread::sleep(millis(3));
            }
            if round % 2 == 0 {
                storm.relays[3].signal(Signal::SIGTERM);
                storm.relays[3].ended();
            }
            storm.relays[3].restart(&storm.segment.members[3]);
        }
        storm.relays[3].ready();
        storm.error(0);
        // Also to the one that is not there: nobody knows that, and its kernel's answers are nothing to the others.
        let wanted = 61 * storm.each();
        storm.settled("copies on the wire", &[wanted, 0, 0, 0]);
        if mode == Mode::Relay {
            let others: BTreeMap<u8, usize> = [(12, 61), (13, 61), (14, 61)].into();
            assert_eq!(storm.destinations(0), others);
        }
        storm.all_run();
    });
}

#[test]
fn no_more_while_interfaces_flap() {
    each_mode(|mode| {
        let mut storm = Storm::new(mode);
        for round in 0..8 {
            let flapping = &storm.segment.members[round % MEMBERS];
            let device = if round % 2 == 0 { "eth0" } else { "wire0" };
            flapping.run(&format!("ip link set {device} down"));
            for member in 0..MEMBERS {
                storm.error(member);
            }
            storm.segment.members[round % MEMBERS].run(&format!("ip link set {device} up"));
            for member in 0..MEMBERS {
                storm.error(member);
            }
        }
        // Some are lost with the link, so there is no number to be reached, only one that is not exceeded.
        let most = 16 * storm.each();
        // What waits for its neighbor to be found again leaves a second later; a storm never ends.
        let copies = wait_for("the wire to be quiet", seconds(20), || {
            let before = storm.copies();
            std::thread::sleep(millis(1500));
            let now = storm.copies();
            if now == before { Ok(now) } else { Err(format!("{before:?}, then {now:?}")) }
        });
        assert!(copies.iter().all(|count| *count <= most), "{copies:?} of at most {most} each");
        assert!(copies.iter().all(|count| *count > 0), "{copies:?}");
        stays_equal("copies on the wire", quiet(), &copies, || storm.copies());
        storm.all_run();
    });
}

#[test]
fn no_more_with_a_host_that_forwards_or_has_lost_the_service() {
    each_mode(|mode| {
        let mut storm = Storm::new(mode);
        for namespace in &storm.segment.members[2..] {
            for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
                namespace.sysctl(key, "1");
            }
        }
        // Its default route leads back to the router: what it would inject for an address that is not its own leaves again.
        storm.segment.members[3].remove_address("lo", &format!("{SERVICE}/32"));
        storm.segment.members[3].remove_address("lo", &format!("{SERVICE6}/128"));
        storm.segment.members[3].run("ip -6 route add default via fd98::1 metric 1");
        for _ in 0..20 {
            storm.error(0);
        }
        let wanted = 20 * storm.each();
        storm.settled("copies on the wire", &[wanted, 0, 0, 0]);
        if mode == Mode::Relay {
            wait_equal("all of them refused", seconds(5), &Some(20), || {
                storm.relays[3].received().get("not-local").copied()
            });
        }
        storm.all_run();
    });
}
