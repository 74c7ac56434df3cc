//! Floods: what goes out stays below its limit, what is right passes all the same, and memory stays what it was.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::crafted::{Error, frame};
use crate::fleet::{self, COMMON, PORT, Relay, SERVICE, Segment, address, ip, legitimate};
use crate::lab::{millis, ready, seconds, stays_equal, wait_for};
use crate::wires::Sniffer;

fn long_or(length: Duration, long: Duration) -> Duration {
    if std::env::var_os("ANYCASTER_LONG").is_some() { long } else { length }
}

/// Each from another router about another connection.
fn invented(number: u32) -> Error {
    let router = IpAddr::V4(Ipv4Addr::from(0x1600_0000 + number));
    let client = IpAddr::V4(Ipv4Addr::from(0x3000_0000 + number));
    Error::new(router, address(SERVICE), client, 40_000, 1400)
}

const LIMITED: &str =
    "limits = { flow = \"1000000/s\", router = \"1000000/s\", prefix = \"1000000/s\", total = \"100/s\" }\n";

/// A relay with two others in its list, and the datagrams to the first of them.
fn limited() -> (Segment, Relay, Sniffer) {
    let segment = Segment::new(2);
    let copies = Sniffer::new(&segment.members[1], "eth0", |seen| !seen.outgoing && seen.datagram(PORT).is_some());
    let list = format!("address = \"{}\"\nmembers = [\"{}\", \"10.98.0.1\"]\n", ip(0), ip(1));
    let relay = Relay::start(&segment.members[0], &format!("{list}keys = [\"KEY\"]\n{COMMON}{LIMITED}"));
    (segment, relay, copies)
}

#[test]
fn what_goes_out_stays_below_its_limit() {
    if !ready(&[]) {
        return;
    }
    let (segment, mut relay, copies) = limited();
    // The router is a member too here, so that its namespace sees the other half of the copies.
    let second = Sniffer::new(&segment.router, "eth0", |seen| !seen.outgoing && seen.datagram(PORT).is_some());
    // Few enough to come again and again: what repeats is believed when limits run short.
    let frames: Vec<Vec<u8>> =
        (0..5000).map(|n| frame(segment.macs[0], segment.wire.mac, &invented(n).packet())).collect();
    let start = Instant::now();
    while start.elapsed() < long_or(seconds(2), seconds(30)) {
        for frame in &frames {
            segment.wire.send(frame);
        }
    }
    // Until nothing comes any more
    let counts = || (copies.count(), second.count());
    wait_for("the flood to end", seconds(10), || {
        let before = relay.packets();
        std::thread::sleep(millis(300));
        if relay.packets() == before { Ok(()) } else { Err(format!("{before:?}")) }
    });
    let (took, after) = (start.elapsed().as_secs_f64(), counts());
    let bound = (100.0 * took) as usize + 100;
    eprintln!("{took:.1} s: {after:?} copies of at most {bound} each; {:?}", relay.packets());
    assert!(after.0 <= bound && after.1 <= bound, "{after:?} copies in {took} s, each may have {bound}");
    // The limit is used, too: a flood of what repeats is not silence.
    assert!(after.0 >= 100, "{after:?}");
    stays_equal("copies after the flood", millis(500), &after, counts);
    assert!(relay.running(), "it has ended:\n{}", relay.log());
}

#[test]
fn what_comes_again_passes_through_a_flood_of_the_invented() {
    if !ready(&[]) {
        return;
    }
    let (segment, mut relay, copies) = limited();
    // Of another router: the nearest is a member.
    let elsewhere = |n| Error { router: address("10.99.0.1"), ..legitimate(4, n) };
    let right: Vec<Vec<u8>> = (0..10).map(|n| elsewhere(n).packet()).collect();
    let (start, mut number, mut rounds) = (Instant::now(), 0, 0_u32);
    // A sender that hangs tries again after 200 ms, 400 ms, …
    for pause in [200, 400, 800, 100].map(millis) {
        // The buckets are half empty before the first of them comes.
        let until = start.elapsed() + pause;
        while start.elapsed() < until {
            for _ in 0..100 {
                segment.send(0, &invented(number).packet());
                number += 1;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        for packet in &right {
            segment.send(0, packet);
        }
        rounds += 1;
    }
    wait_for("each right one", seconds(10), || {
        let all = copies.all();
        let arrived = |wanted: &Vec<u8>| {
            all.iter().any(|seen| super::datagrams::packet(seen.datagram(PORT).expect("kept as such").1) == wanted)
        };
        let missing = right.iter().filter(|packet| !arrived(packet)).count();
        if missing == 0 {
            Ok(())
        } else {
            Err(format!("{missing} missing after {rounds} rounds; {:?}", relay.packets()))
        }
    });
    assert!(relay.packets().get("limited").is_some_and(|limited| *limited > 1000), "{:?}", relay.packets());
    assert!(relay.running(), "it has ended:\n{}", relay.log());
}

/// All memory that strangers can fill is 8 MiB, allocated at the start though not touched; the rest is what the allocator
/// and the reading of the metrics themselves need.
const TABLES: u64 = 8 << 20;
const SLACK: u64 = 2 << 20;

#[test]
fn memory_stays_what_it_was_in_a_flood_from_many_sources() {
    if !ready(&[]) {
        return;
    }
    let segment = Segment::new(2);
    // With the limits as they come, and with none: each fills other tables.
    for (limits, default) in [("", true), (fleet::OPEN, false)] {
        let list = format!("address = \"{}\"\nmembers = [\"{}\"]\nkeys = [\"KEY\"]\n{COMMON}{limits}", ip(0), ip(1));
        let mut relay = Relay::start(&segment.members[0], &list);
        let before = relay.resident();
        let count = if std::env::var_os("ANYCASTER_LONG").is_some() { 3_000_000 } else { 80_000 };
        let mut most = before;
        for number in 0..count {
            segment.send(0, &invented(number).packet());
            if number.is_multiple_of(10_000) {
                most = most.max(relay.resident());
            }
        }
        wait_for("the flood to end", seconds(30), || {
            let before = relay.packets();
            std::thread::sleep(millis(300));
            if relay.packets() == before { Ok(()) } else { Err(format!("{before:?}")) }
        });
        most = most.max(relay.resident());
        let verdicts = relay.packets();
        eprintln!("resident {before} to {most}; {verdicts:?}");
        assert!(most <= before + TABLES + SLACK, "resident memory from {before} to {most}");
        let which = if default { "limited" } else { "relayed" };
        assert!(verdicts.get(which).is_some_and(|seen| *seen > u64::from(count) / 10), "{verdicts:?}");
        assert!(relay.running(), "it has ended:\n{}", relay.log());
    }
}
