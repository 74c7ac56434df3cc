//! The parts that ask the kernel, each in a network namespace of its own: needs root.

use std::ffi::CStr;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::process::Command;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, write};
use socket2::{Domain, Socket, Type};

use super::filter;
use super::frame::packet;
use super::local::Locals;
use crate::io::bpf::keep;
use crate::io::packet::{self as sockets, BATCH, Batch, Capture, Message, Outbox, Tag};

mod owner;

/// On a thread in a new network namespace with lo up; it is gone when the thread is.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED: needs root for a network namespace");
        return;
    }
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

const US: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// A cable: "e0" is ours, what is sent to "router" comes out of it.
struct Cable {
    router: Capture,
    up: Capture,
}

fn index(name: &CStr) -> u32 {
    let any = Socket::new(Domain::UNIX, Type::DGRAM, None).unwrap();
    sockets::link(&any, name).unwrap().index
}

impl Cable {
    fn new() -> Self {
        ip("link add e0 address 02:00:00:00:00:01 type veth peer name router address 02:00:00:00:00:09");
        ip("link set e0 up");
        ip("link set router up");
        let up = Capture::open(index(c"e0"), &filter::program()).unwrap();
        let router = Capture::open(index(c"router"), &[keep()]).unwrap();
        Self { router, up }
    }

    /// The frame as it is captured: its packet, padding and all, and the tag that was taken out.
    fn carry(&mut self, frame: &[u8]) -> Option<(Vec<u8>, Option<Tag>)> {
        write(&self.router, frame).unwrap();
        // What comes in order is there when this is.
        let last = [&US[..], &ROUTER, &[8, 0], &ipv4(&[], 0, &[3, 4, 0xff])].concat();
        write(&self.router, &last).unwrap();
        let mut captured = Vec::new();
        while captured.last().is_none_or(|(packet, _): &(Vec<u8>, _)| !packet.ends_with(&[3, 4, 0xff])) {
            poll(&mut [PollFd::new(self.up.as_fd(), PollFlags::POLLIN)], PollTimeout::from(5000_u16)).unwrap();
            let received = self.up.receive(BATCH).unwrap();
            assert!(received > 0, "the last frame is missing");
            for frame in (0..received).map(|place| self.up.frame(place).unwrap()) {
                captured.push((packet(&frame).unwrap().to_vec(), frame.tag));
            }
        }
        captured.pop();
        assert!(captured.len() < 2);
        captured.pop()
    }
}

/// ICMP in it; nothing is right but what the filter looks at.
fn ipv4(options: &[u8], fragment: u16, icmp: &[u8]) -> Vec<u8> {
    let mut header = [0; 20];
    header[0] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header[9] = 1;
    [&header[..], options, icmp].concat()
}

/// The kinds of the headers, each before what it begins; extension headers are of eight octets.
fn ipv6(kinds: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    packet[6] = kinds[0];
    for kind in &kinds[1..] {
        packet.extend([*kind, 0, 0, 0, 0, 0, 0, 0]);
    }
    packet.extend(rest);
    packet
}

#[test]
fn only_errors_about_size_for_this_host_get_in() {
    const OPTIONS: [u8; 8] = [1; 8];
    let mut fragment = ipv6(&[44, 58], &[2, 0, 1]);
    fragment[43] = 8;
    // type, packet, kept
    let table: Vec<(&str, u16, Vec<u8>, bool)> = vec![
        ("plain", 0x0800, ipv4(&[], 0, &[3, 4, 1]), true),
        ("with DF", 0x0800, ipv4(&[], 0x4000, &[3, 4, 1]), true),
        ("options", 0x0800, ipv4(&OPTIONS, 0, &[3, 4, 1]), true),
        ("longest header", 0x0800, ipv4(&[1; 40], 0, &[3, 4, 1]), true),
        ("more fragments", 0x0800, ipv4(&[], 0x2000, &[3, 4, 1]), true),
        ("later fragment", 0x0800, ipv4(&[], 1, &[3, 4, 1]), false),
        ("other code", 0x0800, ipv4(&[], 0, &[3, 3, 1]), false),
        ("other type", 0x0800, ipv4(&[], 0, &[8, 4, 1]), false),
        ("options only", 0x0800, ipv4(&[3, 4, 3, 4], 0, &[8, 0, 1]), false),
        ("cut", 0x0800, ipv4(&[], 0, &[3]), false),
        (
            "udp",
            0x0800,
            {
                let mut udp = ipv4(&[], 0, &[3, 4, 1]);
                udp[9] = 17;
                udp
            },
            false,
        ),
        ("not ip", 0x0806, ipv4(&[], 0, &[3, 4, 1]), false),
        ("v6", 0x86dd, ipv6(&[58], &[2, 0, 1]), true),
        ("v6 echo", 0x86dd, ipv6(&[58], &[128, 0, 1]), false),
        ("v6 tcp", 0x86dd, ipv6(&[6], &[2, 0, 1]), false),
        ("v6 cut", 0x86dd, ipv6(&[58], &[]), false),
        ("hop by hop", 0x86dd, ipv6(&[0, 58], &[2, 0, 1]), true),
        ("routing", 0x86dd, ipv6(&[43, 58], &[2, 0, 1]), true),
        ("destination", 0x86dd, ipv6(&[60, 58], &[2, 0, 1]), true),
        ("all of them", 0x86dd, ipv6(&[0, 60, 43, 44, 60, 58], &[2, 0, 1]), true),
        ("destination, tcp", 0x86dd, ipv6(&[60, 6], &[2, 0, 1]), false),
        ("first fragment", 0x86dd, ipv6(&[44, 58], &[2, 0, 1]), true),
        ("v6 later fragment", 0x86dd, fragment, false),
        ("fragment of udp", 0x86dd, ipv6(&[44, 17], &[2, 0, 1]), false),
        ("unknown header", 0x86dd, ipv6(&[135, 58], &[2, 0, 1]), false),
    ];
    in_namespace(move || {
        let mut cable = Cable::new();
        let one = Tag { kind: 0x8100, control: 0x2007 };
        let two = Tag { kind: 0x88a8, control: 9 };
        for (what, kind, packet, kept) in table {
            for (tags, outer) in [
                (&[][..], None),
                (&[0x81, 0, 0x20, 7][..], Some(one)),
                (&[0x88, 0xa8, 0, 9, 0x81, 0, 0, 3], Some(two)),
                (&[0x88, 0xa8, 0, 9, 0x88, 0xa8, 0, 3], Some(two)),
            ] {
                let frame = [&US[..], &ROUTER, tags, &kind.to_be_bytes(), &packet].concat();
                assert_eq!(cable.carry(&frame), kept.then(|| (packet.clone(), outer)), "{what}, tags {tags:?}");
            }
        }
        let packet = ipv4(&[], 0, &[3, 4, 1]);
        let frame = |to: [u8; 6], tags: &[u8]| [&to[..], &ROUTER, tags, &[8, 0], &packet].concat();
        for (what, frame) in [
            ("broadcast", frame([0xff; 6], &[])),
            ("multicast", frame([1, 0, 0x5e, 0, 0, 1], &[])),
            ("for another host", frame([2, 0, 0, 0, 0, 5], &[])),
            ("three tags", frame(US, &[0x88, 0xa8, 0, 9, 0x81, 0, 0, 3, 0x81, 0, 0, 4])),
        ] {
            assert_eq!(cable.carry(&frame), None, "{what}");
        }
        // Ours, on its way out.
        let leaving = Capture::open(index(c"e0"), &[keep()]).unwrap();
        write(&leaving, &frame(US, &[])).unwrap();
        assert_eq!(cable.carry(&frame([0xff; 6], &[])), None, "leaving");
    });
}

#[test]
fn what_fails_among_many_messages_is_skipped() {
    in_namespace(|| {
        ip("route add 192.0.2.0/24 dev lo");
        ip("route add prohibit 198.51.100.0/24");
        let receiver = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        receiver.bind(&address("127.0.0.1", 5141).into()).unwrap();
        let sender = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        let to = ["127.0.0.1", "198.51.100.1", "203.0.113.1"].map(|to| address(to, 5141).into());
        let order: Vec<usize> = (0..150).map(|i| [1, 0, 0, 2, 0, 1, 1, 0][i % 8]).collect();
        let texts: Vec<String> = (0..150).map(|i| format!("message {i}")).collect();
        let (mut outbox, mut outcomes) = (Outbox::new(), Vec::new());
        let messages = order.iter().zip(&texts).map(|(place, text)| {
            let (first, second) = text.as_bytes().split_at(4);
            Message { to: Some(&to[*place]), parts: [first, second] }
        });
        outbox.send(sender.as_fd(), messages, |outcome| outcomes.push(outcome.map_err(|e| e.raw_os_error())));
        let wanted = order.iter().map(|place| [Ok(()), Err(Some(libc::EACCES)), Err(Some(libc::ENETUNREACH))][*place]);
        assert_eq!(outcomes, wanted.collect::<Vec<_>>());
        let (mut batch, mut received) = (Batch::new(), Vec::new());
        while let count @ 1.. = batch.receive(receiver.as_fd(), BATCH).unwrap() {
            let texts = (0..count).map(|place| batch.datagram(place).unwrap());
            received.extend(texts.map(|(from, text)| (from, String::from_utf8_lossy(text).into_owned())));
        }
        let from: IpAddr = "127.0.0.1".parse().unwrap();
        let arrived = texts.iter().zip(order).filter(|(_, place)| *place == 0).map(|(text, _)| (from, text.clone()));
        assert_eq!(received, arrived.collect::<Vec<_>>());
    });
}

#[test]
fn local_is_what_the_routing_table_says() {
    in_namespace(|| {
        ip("address add 192.0.2.1/32 dev lo");
        ip("address add 2001:db8::1/128 dev lo nodad");
        ip("route add local 198.51.100.0/24 dev lo");
        ip("route add local 2001:db8:1::/64 dev lo");
        ip("link add e0 type veth peer name e1");
        ip("address add 10.0.0.1/24 dev e0");
        ip("address add fd00::1/64 dev e0 nodad");
        ip("link set e0 up");
        ip("route add blackhole 203.0.113.0/24");
        let mut locals = Locals::open().unwrap();
        for round in 0..3 {
            let table = [
                ("192.0.2.1", true),
                ("192.0.2.2", false),
                ("2001:db8::1", true),
                ("2001:db8::2", false),
                ("198.51.100.77", true),
                ("2001:db8:1::77", true),
                ("10.0.0.1", true),
                ("10.0.0.2", false),
                ("10.0.0.255", false),
                ("fd00::1", true),
                ("fd00::2", false),
                ("203.0.113.1", false),
                ("224.0.0.1", false),
                ("ff02::1", false),
            ];
            let asked = table.iter().map(|(address, _)| address.parse().unwrap());
            let answers: Vec<bool> = table.iter().map(|(_, local)| *local).collect();
            assert_eq!(locals.ask(asked), answers, "round {round}");
        }
        ip("address del 192.0.2.1/32 dev lo");
        assert_eq!(locals.ask(["192.0.2.1".parse().unwrap()].into_iter()), [false]);
    });
}

fn address(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}
