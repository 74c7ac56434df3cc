//! Frames that a router, or somebody who can write frames, may send to an uplink; none is to be relayed.

use std::net::IpAddr;

use super::{Class, Input};
use crate::crafted::{self, BROADCAST, Error, Mac, Numbers, SCTP, TCP, UDP, checksum, icmp_checksum};
use crate::fleet::{address, legitimate};

/// Every reason that a frame can be rejected for by what it says alone.
const ANY: &[&str] = &[
    "not-announced",
    "not-ours",
    "protocol",
    "port",
    "short",
    "checksum",
    "fragment",
    "malformed",
    "mtu",
    "long",
    "loop",
];

/// Where the frames go and come from.
pub struct Way {
    pub to: Mac,
    pub from: Mac,
}

pub fn classes(way: &Way) -> Vec<Class> {
    let mut all = Vec::new();
    for family in [4, 6] {
        all.extend([
            flips(way, family),
            header(way, family),
            truncated(way, family),
            noise(way, family),
            wrong_sums(way, family),
            lengths(way, family),
            fragments(way, family),
            quoted_fragments(way, family),
            not_ours(way, family),
            not_a_service(way, family),
            ours(way, family),
            protocols(way, family),
            short(way, family),
            absurd(way, family),
            long(way, family, 1500, &["long"]),
            // Beyond what is read of a frame, it is one whose end is missing.
            long(way, family, 6000, &["long", "malformed"]),
            elsewhere(way, family),
            other_messages(way, family),
        ]);
    }
    all.extend([options(way), chains(way)]);
    all
}

impl Way {
    fn frame(&self, packet: &[u8]) -> Vec<u8> {
        crafted::frame(self.to, self.from, packet)
    }

    pub fn rejected(&self, packet: &[u8]) -> Input {
        Input { frame: self.frame(packet), counted: true }
    }

    /// The kernel's filter keeps it from the relay.
    fn filtered(&self, packet: &[u8]) -> Input {
        Input { frame: self.frame(packet), counted: false }
    }
}

const fn header_length(family: u8) -> usize {
    if family == 4 { 20 } else { 40 }
}

/// Each of another connection; the numbers are apart from those of the right errors in between.
fn errors(family: u8, class: u32, count: u32) -> impl Iterator<Item = Error> {
    (0..count).map(move |n| legitimate(family, 1_000_000 * class + n))
}

/// One bit of the ICMP message, which its checksum cannot miss.
fn flips(way: &Way, family: u8) -> Class {
    let mut numbers = Numbers(u64::from(family));
    let inputs = errors(family, 1, 600).map(|error| {
        let mut packet = error.packet();
        // Behind type and code, which the filter looks at
        let from = header_length(family) + 2;
        let at = from + numbers.below(packet.len() - from);
        packet[at] ^= 1 << numbers.below(8);
        way.rejected(&packet)
    });
    Class::new("one bit of the message", family, inputs, ANY)
}

/// One bit of the IP header that changes whom it is from or for.
fn header(way: &Way, family: u8) -> Class {
    let mut numbers = Numbers(u64::from(family) + 10);
    let inputs = errors(family, 2, 300).map(|error| {
        let mut packet = error.packet();
        let (start, length) = if family == 4 { (12, 8) } else { (8, 32) };
        packet[start + numbers.below(length)] ^= 1 << numbers.below(8);
        // IPv4: the header's own checksum is right again
        if family == 4 && numbers.below(2) == 0 {
            sum_header(&mut packet);
        }
        way.rejected(&packet)
    });
    // A flipped source is nobody's fault in IPv4 where the header's checksum is right: that one is not sent.
    let inputs: Vec<Input> = inputs.filter(|input| family == 6 || bad_header(input) || source_intact(input)).collect();
    Class::new("one bit of the addresses", family, inputs, ANY)
}

fn bad_header(input: &Input) -> bool {
    let mut header = input.frame[14..34].to_vec();
    let said = [header[10], header[11]];
    header[10..12].fill(0);
    checksum(&header) != said
}

fn source_intact(input: &Input) -> bool {
    input.frame[26..30] == [10, 98, 0, 1]
}

fn sum_header(packet: &mut [u8]) {
    let length = usize::from(packet[0] & 0xF) * 4;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..length.clamp(20, packet.len())]);
    packet[10..12].copy_from_slice(&sum);
}

/// The frame ends early.
fn truncated(way: &Way, family: u8) -> Class {
    let inputs = errors(family, 3, 300).enumerate().map(|(n, error)| {
        let mut packet = error.packet();
        packet.truncate(n % packet.len());
        // The filter looks at the type and code.
        let counted = packet.len() >= header_length(family) + if family == 4 { 2 } else { 1 };
        Input { frame: way.frame_of(family, &packet), counted }
    });
    Class::new("cut off", family, inputs, ANY)
}

impl Way {
    /// For a packet that may be too short to tell its family.
    fn frame_of(&self, family: u8, packet: &[u8]) -> Vec<u8> {
        let kind: [u8; 2] = if family == 4 { [0x08, 0x00] } else { [0x86, 0xDD] };
        [&self.to[..], &self.from, &kind, packet].concat()
    }
}

/// Right up to type and code, and then anything; half of it with a right checksum.
fn noise(way: &Way, family: u8) -> Class {
    let mut numbers = Numbers(u64::from(family) + 20);
    let inputs = errors(family, 4, 800).map(|error| {
        let kind: &[u8] = if family == 4 { &[3, 4] } else { &[2, 0] };
        let length = 6 + numbers.below(200);
        let message = [kind, &numbers.octets(length)].concat();
        let sound = numbers.below(2) == 0;
        way.rejected(&with_message(&error, message, sound))
    });
    Class::new("noise", family, inputs, ANY)
}

/// The IP header of this error before another message.
fn with_message(error: &Error, mut message: Vec<u8>, sound: bool) -> Vec<u8> {
    if sound {
        let sum = icmp_checksum(error.router, error.destination, &message);
        message[2..4].copy_from_slice(&sum);
    }
    match (error.router, error.destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            crafted::ipv4(from, to, 1, u16::try_from(20 + message.len()).expect("a length"), 0, &[], &message)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            crafted::ipv6(from, to, 58, u16::try_from(message.len()).expect("a length"), &message)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("two families in one packet"),
    }
}

fn wrong_sums(way: &Way, family: u8) -> Class {
    let mut numbers = Numbers(u64::from(family) + 30);
    let inputs = errors(family, 5, 300).map(|error| {
        let mut packet = error.packet();
        let at = header_length(family) + 2;
        let right = [packet[at], packet[at + 1]];
        while [packet[at], packet[at + 1]] == right {
            packet.splice(at..at + 2, numbers.octets(2));
        }
        way.rejected(&packet)
    });
    Class::new("wrong checksum", family, inputs, &["checksum"])
}

/// The IP header says more than there is, or less than it needs.
fn lengths(way: &Way, family: u8) -> Class {
    let mut numbers = Numbers(u64::from(family) + 40);
    let inputs = errors(family, 6, 300).enumerate().map(|(n, error)| {
        let mut packet = error.packet();
        let there = packet.len();
        if family == 4 {
            let said = match n % 3 {
                0 => numbers.below(28),
                1 => there + 1 + numbers.below(500),
                _ => 65_535 - numbers.below(500),
            };
            packet[2..4].copy_from_slice(&u16::try_from(said).expect("a length").to_be_bytes());
            sum_header(&mut packet);
        } else {
            let said = if n % 2 == 0 { numbers.below(8) } else { there - 39 + numbers.below(60_000) };
            packet[4..6].copy_from_slice(&u16::try_from(said).expect("a length").to_be_bytes());
        }
        way.rejected(&packet)
    });
    Class::new("lengths", family, inputs, &["malformed"])
}

/// Of the error itself.
fn fragments(way: &Way, family: u8) -> Class {
    let inputs = errors(family, 7, 200).enumerate().map(|(n, mut error)| {
        let n = u16::try_from(n).expect("few");
        error.fragment = Some(match (family, n % 2) {
            // More Fragments; then an offset
            (4, 0) => 0x2000,
            (4, _) => 1 + n,
            (_, 0) => 1,
            (_, _) => (1 + n) << 3,
        });
        // A fragment that is not the first has no type and code where the filter looks.
        if n % 2 == 1 { way.filtered(&error.packet()) } else { way.rejected(&error.packet()) }
    });
    Class::new("fragments", family, inputs, &["fragment"])
}

fn quoted_fragments(way: &Way, family: u8) -> Class {
    let inputs = errors(family, 8, 200).zip(0_u16..).map(|(mut error, n)| {
        error.quote.fragment = Some(if family == 4 { 1 + n } else { (1 + n) << 3 });
        way.rejected(&error.packet())
    });
    Class::new("quoted fragments", family, inputs, &["fragment"])
}

/// About somebody else's packet: what a host with one of the service's addresses never sent.
fn not_ours(way: &Way, family: u8) -> Class {
    let mut numbers = Numbers(u64::from(family) + 50);
    let inputs = errors(family, 9, 300).map(|mut error| {
        error.quote.service = if family == 4 {
            IpAddr::from([11, numbers.below(256) as u8, numbers.below(256) as u8, 1 + numbers.below(250) as u8])
        } else {
            address(&format!("2001:db8:ffff::{:x}", numbers.below(65_536)))
        };
        way.rejected(&error.packet())
    });
    Class::new("another source quoted", family, inputs, &["not-ours"])
}

/// About this host's own packets: right, and of no interest to others.
fn not_a_service(way: &Way, family: u8) -> Class {
    let inputs = errors(family, 10, 300).enumerate().map(|(n, mut error)| {
        let text = match (family, n % 2) {
            (4, 0) => "10.98.0.11".to_owned(),
            (4, _) => format!("192.0.2.{}", 100 + n % 100),
            (_, 0) => "fd98::11".to_owned(),
            (_, _) => format!("2001:db8::54:{n:x}"),
        };
        error.destination = address(&text);
        error.quote.service = error.destination;
        way.rejected(&error.packet())
    });
    Class::new("not a service", family, inputs, &["not-announced"])
}

/// From a member, or from a service: it went round, or somebody wants us to think so.
fn ours(way: &Way, family: u8) -> Class {
    // Members are known by their IPv4 addresses here.
    let v4 = ["10.98.0.11", "10.98.0.12", "10.98.0.13", "192.0.2.53", "192.0.2.54"];
    let sources = if family == 4 { &v4[..] } else { &["2001:db8::53"] };
    let inputs = errors(family, 19, 150).enumerate().map(|(n, mut error)| {
        error.router = address(sources[n % sources.len()]);
        way.rejected(&error.packet())
    });
    Class::new("from one of us", family, inputs, &["loop"])
}

fn protocols(way: &Way, family: u8) -> Class {
    // In IPv6 some of these numbers are headers, after which something else would come.
    let chained = [0, 43, 44, 50, 51, 59, 60, 135, 139, 140];
    let usual: Vec<u8> = (0..=255)
        .filter(|number| ![TCP, SCTP].contains(number) && (family == 4 || !chained.contains(number)))
        .collect();
    let inputs = errors(family, 11, 400).enumerate().map(|(n, mut error)| {
        error.quote.protocol = if n % 4 == 0 { UDP } else { usual[n % usual.len()] };
        way.rejected(&error.packet())
    });
    Class::new("other protocols", family, inputs, &["protocol"])
}

/// 0 to 7 octets behind the quoted IP header, and quoted headers that are cut off themselves.
fn short(way: &Way, family: u8) -> Class {
    let inputs = errors(family, 12, 400).enumerate().map(|(n, mut error)| {
        error.quote.kept = n % 8;
        let mut packet = error.packet();
        if n % 4 == 3 {
            let message = header_length(family);
            let keep = 8 + (n / 4) % header_length(family);
            let message = packet[message..message + keep].to_vec();
            packet = with_message(&error, message, true);
        }
        way.rejected(&packet)
    });
    Class::new("short quotes", family, inputs, &["short", "malformed"])
}

fn absurd(way: &Way, family: u8) -> Class {
    let inputs = errors(family, 13, 480).enumerate().map(|(n, mut error)| {
        let small: &[u32] = if family == 4 {
            &[0, 1, 67, 68, 551, 1500, 1501, 9000, 65_534, 65_535]
        } else {
            &[0, 1, 68, 1279, 1500, 1501, 9000, 65_535, 65_536, 0x7FFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FFFF]
        };
        match n % 3 {
            // Not below what it quotes
            0 => {
                error.quote.total = 1300 + u16::try_from(n % 100).expect("few");
                error.mtu = u32::from(error.quote.total) + u32::from(n % 2 == 0);
            }
            _ => error.mtu = small[(n / 3) % small.len()],
        }
        way.rejected(&error.packet())
    });
    Class::new("absurd MTUs", family, inputs, &["mtu"])
}

/// Longer than an error may be, or than the device's MTU.
fn long(way: &Way, family: u8, longest: usize, verdicts: &'static [&'static str]) -> Class {
    let mut numbers = Numbers(u64::from(family) + 60);
    let bound = if family == 4 { 576 } else { 1280 };
    let inputs = errors(family, 14 + u32::from(longest > 1500) * 10, 200).enumerate().map(|(n, mut error)| {
        let least = bound - 2 * header_length(family) - 8 + 1;
        error.quote.kept = least + if n == 0 { 0 } else { numbers.below(longest - bound) };
        error.quote.total = 9000;
        way.rejected(&error.packet())
    });
    Class::new(&format!("up to {longest} octets"), family, inputs, verdicts)
}

/// For everybody, for a group, for another host: a right packet in a frame that is not for this host alone.
fn elsewhere(way: &Way, family: u8) -> Class {
    let mut numbers = Numbers(u64::from(family) + 70);
    let inputs = errors(family, 15, 300).enumerate().map(|(n, error)| {
        let to: Mac = match n % 3 {
            0 => BROADCAST,
            1 => [0x33, 0x33, 0, 0, 0, 1],
            _ => [2, 0, 0, 0, 0, numbers.below(200) as u8],
        };
        Input { frame: crafted::frame(to, way.from, &error.packet()), counted: false }
    });
    Class::new("not for this host", family, inputs, &[])
}

/// Right but for type or code; the kernel's filter looks at those.
fn other_messages(way: &Way, family: u8) -> Class {
    let inputs = errors(family, 16, 300).enumerate().map(|(n, error)| {
        let packet = error.packet();
        let mut message = packet[header_length(family)..].to_vec();
        let other = [0_u8, 1, 4, 5, 8, 11, 12, 128, 129, 255][n % 10];
        if family == 4 && n % 3 == 0 {
            message[1] = if other == 4 { 13 } else { other };
        } else {
            message[0] = other;
        }
        way.filtered(&with_message(&error, message, true))
    });
    Class::new("other messages", family, inputs, &[])
}

/// IPv4 headers whose options go beyond the packet, and header lengths below 20.
fn options(way: &Way) -> Class {
    let inputs = errors(4, 17, 250).enumerate().map(|(n, error)| {
        let mut packet = error.packet();
        if n % 2 == 0 {
            packet[0] = 0x40 + u8::try_from(n / 2 % 5).expect("small");
            sum_header(&mut packet);
            // Where a header of this length would end is no type 3
            way.filtered(&packet)
        } else {
            // The quoted one
            let quoted = 28;
            packet[quoted] = 0x40 + [0, 1, 4, 15, 11][n / 2 % 5];
            let message = packet[20..].to_vec();
            let sound = with_message(&error, message, true);
            way.rejected(&sound)
        }
    });
    Class::new("header lengths", 4, inputs, &["malformed", "short"])
}

/// More IPv6 headers than anybody looks behind, and long ones, before the error and in what it quotes.
fn chains(way: &Way) -> Class {
    let inputs = errors(6, 18, 400).enumerate().map(|(n, mut error)| {
        let kinds = [0_u8, 60, 43];
        let several = |many: usize, octets: usize| -> Vec<(u8, Vec<u8>)> {
            (0..many).map(|at| (kinds[at.min(1) + n % 2 * at.min(1)], vec![0; octets])).collect()
        };
        match n % 3 {
            0 => error.chain = several(9 + n % 30, 6),
            1 => error.quote.chain = several(9 + n % 30, 6),
            _ => error.chain = several(1, 1400 + 8 * (n % 80) - 2),
        }
        way.rejected(&error.packet())
    });
    Class::new("chains", 6, inputs, &["malformed", "long"])
}
