//! Ten thousand inputs that nobody should send, while right ones pass: the process lives, nothing of them goes out or in,
//! each is counted once under a reason that fits, and every right error reaches both members octet by octet.
//!
//! ```text
//!   router --- hostile frames, right errors ---> member 0: the relay under test ---> member 1: a socket, for the counting
//!          --- forged and replayed datagrams --> (and its lo, where it injects)  \--> member 2: a relay, and its lo
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::UdpSocket;

use crate::crafted::{SCTP, TCP, tagged};
use crate::fleet::{self, PORT, Relay, Segment, ip, legitimate};
use crate::lab::{ready, seconds, wait_equal, wait_for};
use crate::wires::{Seen, Sniffer};

mod datagrams;
mod floods;
mod frames;

/// Inputs of one kind.
pub struct Class {
    name: String,
    inputs: Vec<Input>,
    /// Those that fit; the sum of them is what was counted.
    verdicts: &'static [&'static str],
}

pub struct Input {
    frame: Vec<u8>,
    /// False: the kernel keeps it from the relay, so nothing is counted.
    counted: bool,
}

impl Class {
    fn new(name: &str, family: u8, inputs: impl IntoIterator<Item = Input>, verdicts: &'static [&'static str]) -> Self {
        Self { name: format!("{name}, IPv{family}"), inputs: inputs.into_iter().collect(), verdicts }
    }

    fn counted(&self) -> u64 {
        self.inputs.iter().filter(|input| input.counted).count() as u64
    }
}

/// A relay under test, the two members that it relays to, and the books: what was sent, and what became of it.
struct Scene {
    segment: Segment,
    tested: Relay,
    other: Relay,
    /// Nobody reads it; without it the kernel of member 1 would answer each copy with an error.
    _silent: UdpSocket,
    /// Datagrams to member 1, and errors that were injected at members 0 and 2.
    copies: Sniffer,
    injected: [Sniffer; 2],
    originals: Vec<Vec<u8>>,
    distinct: HashSet<Vec<u8>>,
    sent: usize,
    packets: BTreeMap<String, u64>,
    received: BTreeMap<String, u64>,
}

impl Scene {
    fn new() -> Self {
        let segment = Segment::new(3);
        let silent = segment.members[1].within(|| UdpSocket::bind((ip(1), PORT)).expect("bind"));
        let copies = Sniffer::new(&segment.members[1], "eth0", |seen| !seen.outgoing && seen.datagram(PORT).is_some());
        let injected = [0, 2].map(|member| {
            Sniffer::new(&segment.members[member], "lo", |seen| !seen.outgoing && seen.packet().is_some_and(is_icmp))
        });
        // Long enough that the same again within this test is a duplicate, however slow the machine
        let tested = Relay::start(&segment.members[0], &format!("{}dedup = \"10s\"\n", fleet::table(0, 3)));
        let other = Relay::start(&segment.members[2], &fleet::table(2, 3));
        let (packets, received) = (BTreeMap::new(), BTreeMap::new());
        let (originals, distinct) = (Vec::new(), HashSet::new());
        Self {
            segment,
            tested,
            other,
            _silent: silent,
            copies,
            injected,
            originals,
            distinct,
            sent: 0,
            packets,
            received,
        }
    }

    /// The hostile, and a right one after each fifty.
    fn play(&mut self, class: &Class) {
        for inputs in class.inputs.chunks(50) {
            for input in inputs {
                self.segment.wire.send(&input.frame);
                self.distinct.insert(input.frame.clone());
                self.sent += 1;
            }
            self.right();
        }
    }

    /// A right error of the router to the relay under test: of either family, with and without options and extension
    /// headers, and sometimes with a VLAN tag.
    fn right(&mut self) {
        let number = u32::try_from(self.originals.len()).expect("few");
        let mut error = legitimate(if number.is_multiple_of(2) { 4 } else { 6 }, number);
        // Whether a socket has the flow the kernel says of TCP only: at the others, errors about SCTP are injected.
        error.quote.protocol = if number % 4 < 2 { TCP } else { SCTP };
        let words = number as usize / 2 % 11;
        if number.is_multiple_of(2) {
            error.options = vec![1; 4 * words];
            error.quote.options = vec![1; 4 * (10 - words)];
        } else {
            error.chain = vec![(60, vec![0; 6]); words.min(8)];
            error.quote.chain = vec![(60, vec![0; 6]); (10 - words).min(8)];
        }
        let packet = error.packet();
        let frame = self.segment.frame(0, &packet);
        match number % 8 {
            5 => self.segment.wire.send(&tagged(&frame, &[(0x8100, 100)])),
            6 => self.segment.wire.send(&tagged(&frame, &[(0x88A8, 200), (0x8100, 100)])),
            _ => self.segment.wire.send(&frame),
        }
        self.originals.push(packet);
    }

    /// What was counted since the last time is exactly this class and the right ones.
    #[track_caller]
    fn settle(&mut self, class: &Class) {
        let mut rights = self.originals.len() as u64;
        rights -= self.packets.get("relayed").copied().unwrap_or(0);
        let wanted = class.counted() + rights;
        let now = wait_for(&format!("{}: {wanted} verdicts", class.name), seconds(10), || {
            let now = self.tested.packets();
            let since = difference(&now, &self.packets);
            if since.values().sum::<u64>() == wanted { Ok(now) } else { Err(format!("{since:?}")) }
        });
        let mut since = difference(&now, &self.packets);
        assert_eq!(since.remove("relayed").unwrap_or(0), rights, "{}: relayed; {since:?}", class.name);
        let strange: BTreeSet<&String> = since.keys().filter(|key| !class.verdicts.contains(&key.as_str())).collect();
        assert!(strange.is_empty(), "{}: {since:?}, but only {:?} fit", class.name, class.verdicts);
        self.packets = now;
        eprintln!("{:>5} {}: {since:?}", class.inputs.len(), class.name);
    }

    /// The same for datagrams to the relay's port, none of which is to be injected.
    #[track_caller]
    fn settle_received(&mut self, class: &Class) {
        let wanted = class.counted();
        let now = wait_for(&format!("{}: {wanted} verdicts", class.name), seconds(10), || {
            let now = self.tested.received();
            let since = difference(&now, &self.received);
            if since.values().sum::<u64>() == wanted { Ok(now) } else { Err(format!("{since:?}")) }
        });
        let since = difference(&now, &self.received);
        let strange: BTreeSet<&String> = since.keys().filter(|key| !class.verdicts.contains(&key.as_str())).collect();
        assert!(strange.is_empty(), "{}: {since:?}, but only {:?} fit", class.name, class.verdicts);
        self.received = now;
        eprintln!("{:>5} {}: {since:?}", class.inputs.len(), class.name);
    }

    /// Every right error, once, at both members (in at the second, where a socket may be), and nothing else anywhere.
    #[track_caller]
    fn compare(&self, pid: u32) {
        let originals: HashMap<&[u8], usize> = tally(self.originals.iter().map(Vec::as_slice));
        assert_eq!(originals.len(), self.originals.len(), "the right ones differ from each other");
        let datagrams = wait_for("all copies at member 1", seconds(10), || {
            let from_tested: Vec<Seen> =
                self.copies.all().into_iter().filter(|seen| source(seen) == [10, 98, 0, 11]).collect();
            if from_tested.len() >= originals.len() {
                Ok(from_tested)
            } else {
                Err(format!("{} of {}", from_tested.len(), originals.len()))
            }
        });
        let inside = datagrams.iter().map(|seen| datagrams::packet(seen.datagram(PORT).expect("kept as such").1));
        assert_same("copies at member 1", &tally(inside), &originals);
        let about_sctp = |(number, _): &(usize, &Vec<u8>)| number % 4 >= 2;
        let wanted = tally(self.originals.iter().enumerate().filter(about_sctp).map(|(_, packet)| packet.as_slice()));
        wait_for("those about SCTP on the lo of member 2", seconds(10), || {
            let there = self.injected[1].count();
            if there >= wanted.len() { Ok(()) } else { Err(format!("{there} of {}", wanted.len())) }
        });
        let seen = self.injected[1].all();
        assert_same("injected at member 2", &tally(seen.iter().filter_map(Seen::packet)), &wanted);
        let heard = BTreeMap::from([
            ("injected".to_owned(), wanted.len() as u64),
            ("not-owned".to_owned(), (originals.len() - wanted.len()) as u64),
        ]);
        wait_equal("what member 2 heard", seconds(5), &heard, || self.other.received());
        assert_eq!(self.tested.id(), pid, "the process is another one");
    }
}

fn is_icmp(packet: &[u8]) -> bool {
    match packet.first().map(|first| first >> 4) {
        Some(4) => packet.get(9) == Some(&1),
        Some(6) => packet.get(6).is_some_and(|next| [0, 43, 44, 58, 60].contains(next)),
        _ => false,
    }
}

fn source(seen: &Seen) -> [u8; 4] {
    seen.frame[26..30].try_into().expect("four octets")
}

fn tally<'a>(all: impl Iterator<Item = &'a [u8]>) -> HashMap<&'a [u8], usize> {
    let mut tally = HashMap::new();
    for one in all {
        *tally.entry(one).or_default() += 1;
    }
    tally
}

#[track_caller]
fn assert_same(what: &str, got: &HashMap<&[u8], usize>, wanted: &HashMap<&[u8], usize>) {
    let other = |left: &HashMap<&[u8], usize>, right: &HashMap<&[u8], usize>| -> Vec<String> {
        let only = left.iter().filter(|(packet, times)| right.get(*packet) != Some(*times));
        only.map(|(packet, times)| format!("{times} x {packet:02x?}")).take(3).collect()
    };
    assert!(got == wanted, "{what}: should not be {:?}; missing {:?}", other(got, wanted), other(wanted, got));
}

fn difference(now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = now.iter().map(|(key, value)| (key.clone(), value - before.get(key).copied().unwrap_or(0)));
    grown.filter(|(_, value)| *value > 0).collect()
}

#[test]
fn ten_thousand_hostile_inputs_and_every_right_one_passes() {
    if !ready(&[]) {
        return;
    }
    let mut scene = Scene::new();
    let pid = scene.tested.id();
    let way = frames::Way { to: scene.segment.macs[0], from: scene.segment.wire.mac };
    for class in frames::classes(&way) {
        scene.play(&class);
        scene.settle(&class);
    }
    let newest = scene.originals.iter().rev().take(50);
    let again = newest.map(|packet| way.rejected(packet)).collect::<Vec<_>>();
    let class = Class::new("what was just relayed", 4, again, &["duplicate"]);
    scene.play(&class);
    scene.settle(&class);
    scene.compare(pid);
    datagrams::play(&mut scene);
    scene.compare(pid);
    assert!(scene.tested.running(), "it has ended:\n{}", scene.tested.log());
    assert!(scene.other.running(), "the other has ended:\n{}", scene.other.log());
    assert!(scene.distinct.len() >= 10_000, "only {} distinct inputs", scene.distinct.len());
}
