//! Datagrams to the relay's port: forged, broken, replayed, and rightly signed around what is not right. The format as its
//! documentation draws it, written a second time.

use std::net::{IpAddr, Ipv6Addr, UdpSocket};

use ring::hmac;

use super::{Class, Input, Scene, frames};
use crate::crafted::{self, Numbers, SCTP};
use crate::fleet::{PORT, SECRET, address, ip, legitimate};
use crate::lab::{millis, seconds, stays_equal, wait_equal};
use crate::wires::Seen;

const HEADER: usize = 34;
const TAG: usize = 16;

/// What a member says: every field free.
#[derive(Clone)]
pub struct Said {
    pub magic: [u8; 4],
    pub version: u8,
    pub kind: u8,
    pub secret: Option<Vec<u8>>,
    /// `None`: as it follows from the secret.
    pub key_id: Option<[u8; 4]>,
    pub sender: IpAddr,
    pub number: u64,
    pub packet: Vec<u8>,
}

impl Said {
    pub fn new(sender: &str, number: u64, packet: Vec<u8>) -> Self {
        let (sender, secret) = (address(sender), Some(SECRET.to_vec()));
        Self { magic: *b"ACPM", version: 1, kind: 1, secret, key_id: None, sender, number, packet }
    }

    pub fn octets(&self) -> Vec<u8> {
        let key = self.secret.as_ref().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret));
        let id = key.as_ref().map(|key| hmac::sign(key, b"anycaster pmtud key id").as_ref()[..4].to_vec());
        let id = self.key_id.map_or(id.unwrap_or(vec![0; 4]), |id| id.to_vec());
        let sender: Ipv6Addr = match self.sender {
            IpAddr::V4(sender) => sender.to_ipv6_mapped(),
            IpAddr::V6(sender) => sender,
        };
        let mut octets = [&self.magic[..], &[self.version, self.kind], &id, &sender.octets()].concat();
        octets.extend(self.number.to_be_bytes());
        octets.extend(&self.packet);
        if let Some(key) = key {
            let tag = hmac::sign(&key, &octets);
            octets.extend(&tag.as_ref()[..TAG]);
        }
        octets
    }
}

/// What a signed datagram carries.
pub fn packet(datagram: &[u8]) -> &[u8] {
    assert_eq!(&datagram[..6], b"ACPM\x01\x01", "another format");
    &datagram[HEADER..datagram.len() - TAG]
}

/// The number of a datagram.
pub fn number(datagram: &[u8]) -> u64 {
    u64::from_be_bytes(datagram[26..34].try_into().expect("eight octets"))
}

/// From nobody's daemon: its number goes up with each datagram that is right.
const MUTE: usize = 1;
const FIRST: u64 = 1 << 60;

fn original(n: usize) -> Vec<u8> {
    let mut error = legitimate(if n.is_multiple_of(2) { 4 } else { 6 }, 40_000_000 + u32::try_from(n).expect("few"));
    // No kernel says whether it has a socket of this one: it is injected.
    error.quote.protocol = SCTP;
    error.packet()
}

fn said(n: usize) -> Said {
    Said::new(&ip(MUTE), FIRST + n as u64, original(n))
}

pub fn play(scene: &mut Scene) {
    let to = crafted::frame(scene.segment.macs[0], scene.segment.wire.mac, &[]);
    let send = |from: &str, payload: &[u8]| {
        let packet = crafted::datagram(address(from), address(&ip(0)), (PORT, PORT), payload);
        Input { frame: [&to[..12], &[0x08, 0x00], &packet].concat(), counted: true }
    };
    forged(scene, &send);
    replayed(scene, &send);
    signed_around_wrong(scene, &send);
    too_large(scene);
    assert_eq!(scene.tested.packets(), scene.packets, "a datagram was taken for an error");
}

type Send<'a> = &'a dyn Fn(&str, &[u8]) -> Input;

fn class(scene: &mut Scene, name: &str, verdicts: &'static [&'static str], inputs: Vec<Input>) {
    let class = Class::new(name, 4, inputs, verdicts);
    let injected = scene.injected[0].count();
    for input in &class.inputs {
        scene.segment.wire.send(&input.frame);
        scene.distinct.insert(input.frame.clone());
    }
    scene.settle_received(&class);
    assert_eq!(scene.injected[0].count(), injected, "{name}: injected");
}

fn forged(scene: &mut Scene, send: Send<'_>) {
    let (mute, router) = (ip(MUTE), "10.98.0.1");
    let mut numbers = Numbers(100);
    let noise = (0..300).map(|n| send(&mute, &numbers.octets(n * 5))).collect();
    class(scene, "noise from a member", &["malformed"], noise);
    let unsigned = (0..200).map(|n| send(&mute, &Said { secret: None, ..said(n) }.octets())).collect();
    class(scene, "without a key", &["bad-key"], unsigned);
    let secrets: Vec<Vec<u8>> = (0..200).map(|_| numbers.octets(32)).collect();
    let others = secrets.iter().enumerate();
    let wrong =
        others.clone().map(|(n, secret)| send(&mute, &Said { secret: Some(secret.clone()), ..said(n) }.octets()));
    class(scene, "another key", &["bad-key"], wrong.collect());
    let id: [u8; 4] = said(0).octets()[6..10].try_into().expect("four octets");
    let posing = others
        .map(|(n, secret)| send(&mute, &Said { secret: Some(secret.clone()), key_id: Some(id), ..said(n) }.octets()));
    class(scene, "another key under the name of ours", &["bad-key"], posing.collect());
    let mislabelled = (0..200).map(|n| {
        send(
            &mute,
            &Said { key_id: Some(numbers.next().to_le_bytes()[..4].try_into().expect("four")), ..said(n) }.octets(),
        )
    });
    class(scene, "our key under another name", &["bad-key"], mislabelled.collect());
    let flips = (0..800).map(|n| {
        let mut octets = said(n).octets();
        // Every octet of the header and of the tag, then anywhere
        let at = if n < 100 { n * octets.len() / 100 } else { numbers.below(octets.len()) };
        let at = if n < HEADER {
            n
        } else if n < HEADER + TAG {
            octets.len() - 1 - (n - HEADER)
        } else {
            at
        };
        octets[at] ^= 1 << numbers.below(8);
        send(&mute, &octets)
    });
    class(scene, "one bit of a datagram", &["bad-key", "malformed", "not-member"], flips.collect());
    let cut = (0..200).map(|n| {
        let octets = said(n).octets();
        send(&mute, &octets[..n * 7 % octets.len()])
    });
    class(scene, "cut off", &["bad-key", "malformed"], cut.collect());
    let longer = (0..100).map(|n| send(&mute, &[said(n).octets(), vec![0; 1 + n]].concat()));
    class(scene, "octets behind the end", &["bad-key"], longer.collect());
    let kinds = (0..256_usize).filter(|kind| *kind != 1);
    let kind = kinds.clone().map(|kind| send(&mute, &Said { kind: kind as u8, ..said(kind) }.octets()));
    class(scene, "of another type", &["malformed"], kind.collect());
    let version = kinds.map(|version| send(&mute, &Said { version: version as u8, ..said(version) }.octets()));
    class(scene, "of another version", &["malformed"], version.collect());
    // The key is known, and still: it says where it comes from.
    let strangers = (0..200).map(|n| send(router, &Said { sender: address(router), ..said(n) }.octets()));
    class(scene, "signed by nobody of us", &["not-member"], strangers.collect());
    let other = ip(2);
    let borrowed = (0..200).map(|n| send(&mute, &Said { sender: address(&other), ..said(n) }.octets()));
    class(scene, "another member's name inside", &["bad-key", "not-member", "malformed"], borrowed.collect());
    let ours = (0..100).map(|n| send(&ip(0), &Said { sender: address(&ip(0)), ..said(n) }.octets()));
    // The kernel does not believe in what comes from its own address.
    let ours = ours.map(|input| Input { counted: false, ..input });
    class(scene, "from ourselves", &[], ours.collect());
}

/// What was believed once, and each number only once.
fn replayed(scene: &mut Scene, send: Send<'_>) {
    let mute = ip(MUTE);
    let before = scene.injected[0].count();
    let fresh: Vec<Vec<u8>> = (0..200).map(|n| said(n).octets()).collect();
    // Reordered: the newest first
    for octets in fresh.iter().rev() {
        scene.segment.wire.send(&send(&mute, octets).frame);
    }
    wait_equal("200 injected, whatever their order", seconds(10), &(before + 200), || scene.injected[0].count());
    let mut wanted: Vec<Vec<u8>> = (0..200).map(original).collect();
    let mut got: Vec<Vec<u8>> =
        scene.injected[0].all()[before..].iter().filter_map(Seen::packet).map(<[u8]>::to_vec).collect();
    wanted.sort();
    got.sort();
    assert!(got == wanted, "what was injected is not what was sent");
    scene.received = scene.tested.received();
    assert_eq!(scene.received.get("injected"), Some(&200), "{:?}", scene.received);

    let again = fresh.iter().chain(fresh.iter().rev()).map(|octets| send(&mute, octets)).collect();
    class(scene, "the same again", &["replay"], again);
    let old = (0..200).map(|n| send(&mute, &Said { number: FIRST - 3000 - n, ..said(0) }.octets())).collect();
    class(scene, "of long ago", &["replay"], old);

    // Of a real daemon: what it sent to member 1 is what it sent to the one under test.
    let genuine = scene.segment.members.len();
    let before = (scene.copies.count(), scene.injected[0].count());
    for n in 0..200 {
        scene.segment.send(2, &original(1000 + n));
    }
    wait_equal("copies of the real daemon", seconds(10), &(before.0 + 200), || scene.copies.count());
    wait_equal("and all of them injected", seconds(10), &(before.1 + 200), || scene.injected[0].count());
    assert_eq!(genuine, 3);
    let captured: Vec<Vec<u8>> =
        scene.copies.all()[before.0..].iter().filter_map(|seen| Some(seen.datagram(PORT)?.1.to_vec())).collect();
    let now = scene.tested.received();
    assert_eq!(now.get("injected"), Some(&400), "{now:?}");
    scene.received = now;
    let again: Vec<Input> = captured.iter().rev().chain(&captured).map(|octets| send(&ip(2), octets)).collect();
    class(scene, "captured and sent again", &["replay"], again);
    let elsewhere = captured.iter().map(|octets| send(&mute, octets)).collect();
    class(scene, "captured and sent from elsewhere", &["not-member", "bad-key", "malformed"], elsewhere);
}

/// Signed by a member that was broken into, or that is wrong: what is inside is judged again.
fn signed_around_wrong(scene: &mut Scene, send: Send<'_>) {
    let (mute, mut number) = (ip(MUTE), FIRST + 10_000);
    let mut sign = |packet: Vec<u8>| {
        number += 1;
        send(&mute, &Said { number, ..Said::new(&mute, number, packet) }.octets())
    };
    let way = frames::Way { to: [0; 6], from: [0; 6] };
    let mut wrong = Vec::new();
    for rejected in frames::classes(&way) {
        // What is longer than any error is no datagram of a member.
        let packets = rejected.inputs.iter().filter(|input| input.counted && input.frame.len() <= 14 + 1280);
        wrong.extend(packets.step_by(8).map(|input| sign(input.frame[14..].to_vec())));
    }
    class(scene, "signed, around what is not right", &["refused"], wrong);
    // Announced, but not an address of this host: it would leave again.
    let away = (0..200).map(|n| {
        let mut error = legitimate(4, 41_000_000 + n);
        error.destination = address("192.0.2.54");
        error.quote.service = error.destination;
        sign(error.packet())
    });
    class(scene, "signed, for an address that is elsewhere", &["not-local"], away.collect());
    let outgoing = scene.segment.wire.mac;
    assert_ne!(outgoing, [0; 6]);
}

/// In fragments, from a member's own kernel.
fn too_large(scene: &mut Scene) {
    let socket = scene.segment.members[MUTE].within(|| UdpSocket::bind((ip(MUTE), 0)).expect("bind"));
    let injected = scene.injected[0].count();
    let right = said(20_000).octets();
    let sizes = [1400, 2048, 4096, 9000, 30_000, 65_507];
    for size in sizes {
        let mut octets = right.clone();
        octets.resize(size, 0);
        socket.send_to(&octets, (ip(0), PORT)).expect("send");
    }
    let inputs = sizes.map(|_| Input { frame: Vec::new(), counted: true });
    let class = Class::new("up to 64 KiB", 4, inputs, &["malformed"]);
    scene.settle_received(&class);
    stays_equal("nothing injected", millis(200), &injected, || scene.injected[0].count());
}
