//! UDP checks.

use std::net::UdpSocket;
use std::time::Duration;

use anycaster::config::{CheckKind, Target, UdpCheck};
use anycaster::engine::Outcome;
use socket2::{Domain, Protocol, Socket, Type};

use crate::configured::check;
use crate::servers::dnsmasq;
use crate::{Bench, V4, V6, check_of, fail, nobody, once, pass, timed_out};

const SHORT: Duration = Duration::from_millis(300);

/// A DNS query for the address of www.example.test, which is text to TOML, too.
const QUERY: &str = "\u{12}\u{34}\u{1}\0\0\u{1}\0\0\0\0\0\0\u{3}www\u{7}example\u{4}test\0\0\u{1}\0\u{1}";

fn udp(port: u16, send: &str, expect: Option<&str>) -> CheckKind {
    CheckKind::Udp(UdpCheck { port, send: Some(send.to_owned()), expect: expect.map(str::to_owned) })
}

/// Answers each datagram with these.
fn answering(address: &str, answers: &'static [&'static [u8]]) -> u16 {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut heard = [0; 2048];
        while let Ok((_, from)) = socket.recv_from(&mut heard) {
            answers.iter().for_each(|answer| assert_eq!(socket.send_to(answer, from).unwrap(), answer.len()));
        }
    });
    port
}

#[test]
fn any_answer_passes_or_one_that_holds_what_is_expected() {
    for address in [V4, V6] {
        let port = answering(address, &[b"busy\n", b"\x1b[2Jtry later", b"status: ok"]);
        assert_eq!(once(check_of(Target::Service, udp(port, "?", None)), address), pass("answered"));
        let expected = check_of(Target::Service, udp(port, "?", Some("ok")));
        assert_eq!(once(expected, address), pass("answered as expected"));
        let other = check(Target::Service, SHORT, udp(port, "?", Some("fine")));
        assert_eq!(once(other, address), timed_out("not the expected answer within 300ms: busy"));
    }
    let empty = answering(V4, &[b""]);
    assert_eq!(once(check_of(Target::Service, udp(empty, "?", None)), V4), pass("answered"));
    let long = answering(V4, &[&[b'x'; 65_507]]);
    let long = check_of(Target::Service, udp(long, "?", Some(Box::leak("x".repeat(65_507).into_boxed_str()))));
    assert_eq!(once(long, V4), pass("answered as expected"));
}

#[test]
fn a_check_never_answers_itself() {
    crate::alone_with_two_ports(|port| {
        let mut bench = Bench::new(vec![check_of(Target::Service, udp(port, "?", None))]);
        for address in [V4, V6].repeat(20) {
            assert_eq!(bench.once(address).0, fail("port unreachable: nothing listens there"));
        }
    });
}

#[test]
fn where_nothing_listens_the_kernel_says_so_at_once() {
    for address in [V4, V6] {
        let mut bench = Bench::new(vec![check_of(Target::Service, udp(nobody(address), "?", None))]);
        let (outcome, took) = bench.once(address);
        assert_eq!(outcome, fail("port unreachable: nothing listens there"));
        assert!(took < crate::TIMEOUT / 2, "{took:?}");
    }
}

/// As from a router far away: the check waits already when the ICMP message comes.
#[test]
fn what_the_network_says_late_is_heard() {
    let Ok(icmp) = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)) else {
        eprintln!("SKIPPED: a raw socket needs root");
        return;
    };
    let socket = UdpSocket::bind((V4, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (_, from) = socket.recv_from(&mut [0; 8]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        // RFC 792: port unreachable, with the IP and the UDP header of what could not be delivered.
        let mut message =
            vec![3, 3, 0, 0, 0, 0, 0, 0, 0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1];
        message.extend([from.port().to_be_bytes(), port.to_be_bytes(), [0, 9], [0, 0]].concat());
        let sum: u32 = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let sum = !((sum >> 16) + (sum & 0xffff)) as u16;
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        icmp.send_to(&message, &from.into()).unwrap();
    });
    let (outcome, took) = Bench::new(vec![check_of(Target::Service, udp(port, "?", None))]).once(V4);
    assert_eq!(outcome, fail("port unreachable: nothing listens there"));
    assert!((Duration::from_millis(50)..crate::TIMEOUT / 2).contains(&took), "{took:?}");
}

#[test]
fn with_nothing_to_say_a_port_must_not_be_refused() {
    let bare = |port| check_of(Target::Service, CheckKind::Udp(UdpCheck { port, send: None, expect: None }));
    for address in [V4, V6] {
        let silent = UdpSocket::bind((address, 0)).unwrap();
        assert_eq!(once(bare(silent.local_addr().unwrap().port()), address), pass("not refused"));
        // It waits for a few milliseconds only: on a busy machine the server may be late, now and then.
        let port = answering(address, &[b"!"]);
        let tries: Vec<Outcome> = (0..50).map(|_| once(bare(port), address)).collect();
        assert!(tries.contains(&pass("answered")), "{tries:?}");
        let late = tries.into_iter().filter(|outcome| *outcome != pass("answered"));
        assert_eq!(late.clone().collect::<Vec<_>>(), vec![pass("not refused"); late.count()]);
        assert_eq!(once(bare(nobody(address)), address), fail("port unreachable: nothing listens there"));
    }
    let kind = |port| CheckKind::Udp(UdpCheck { port, send: None, expect: Some("ok".to_owned()) });
    assert_eq!(once(check_of(Target::Service, kind(answering(V4, &[b"ok"]))), V4), pass("answered as expected"));
}

#[test]
fn without_the_address_there_is_no_datagram_and_no_verdict() {
    for address in ["192.0.2.99", "2001:db8::99"] {
        assert_eq!(once(check_of(Target::Service, udp(53, "?", None)), address), Outcome::NoAddress);
    }
}

#[test]
fn a_service_is_asked_from_its_own_address_and_a_target_from_any() {
    for (address, target, from) in [
        ("127.0.0.53", Target::Service, "127.0.0.53"),
        ("127.0.0.54", Target::Address("127.0.0.54".parse().unwrap()), "127.0.0.1"),
    ] {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let asked = std::thread::spawn(move || {
            let (_, from) = socket.recv_from(&mut [0; 8]).unwrap();
            assert_eq!(socket.send_to(b"!", from).unwrap(), 1);
            from.ip().to_string()
        });
        assert_eq!(once(check_of(target, udp(port, "?", None)), address), pass("answered"));
        assert_eq!(asked.join().unwrap(), from);
    }
}

#[test]
fn dnsmasq_answers_until_it_hangs() {
    let port = nobody(V4);
    let Some(dnsmasq) = dnsmasq(port, &["host-record=www.example.test,192.0.2.1"]) else { return };
    let well = || check_of(Target::Service, udp(port, QUERY, Some("\u{3}www\u{7}example\u{4}test")));
    for address in [V4, V6] {
        assert_eq!(once(well(), address), pass("answered as expected"));
    }
    dnsmasq.hang();
    let hung = check(Target::Service, SHORT, udp(port, QUERY, None));
    let other = check_of(Target::Service, udp(answering(V4, &[b"!"]), "?", None));
    let mut bench = Bench::new(vec![hung, other]);
    bench.ask(0, V4.parse().unwrap(), 1);
    bench.ask(1, V4.parse().unwrap(), 2);
    let (probe, outcome, _) = bench.next();
    assert_eq!((probe.run, outcome), (2, pass("answered")));
    let (probe, outcome, took) = bench.next();
    assert_eq!((probe.run, outcome), (1, timed_out("sent, but no answer within 300ms")));
    assert!((SHORT..SHORT + Duration::from_millis(500)).contains(&took), "{took:?}");
    dnsmasq.go_on();
    assert_eq!(once(well(), V4), pass("answered as expected"));
}
