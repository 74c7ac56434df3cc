//! TCP checks.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anycaster::config::{Check, CheckKind, Target, TcpCheck};
use anycaster::engine::{Outcome, ProbeId};
use anycaster::io::checks::{ProbeError, ProbeRequest};

use crate::configured::check;
use crate::{Bench, V4, V6, check_of, fail, flood, hang, nobody, once, pass, server, timed_out};

const SHORT: Duration = Duration::from_millis(200);

fn tcp(port: u16, send: Option<&str>, expect: Option<&str>) -> CheckKind {
    CheckKind::Tcp(TcpCheck { port, send: send.map(str::to_owned), expect: expect.map(str::to_owned) })
}

fn plain(port: u16) -> Check {
    check_of(Target::Service, tcp(port, None, None))
}

#[test]
fn connecting_is_enough_where_nothing_else_is_asked_for() {
    for address in [V4, V6] {
        assert_eq!(once(plain(server(address, drop)), address), pass("connected"));
        assert_eq!(once(plain(server(address, hang)), address), pass("connected"));
        assert_eq!(once(plain(nobody(address)), address), fail("connection refused"));
    }
}

#[test]
fn a_check_never_connects_to_itself() {
    crate::alone_with_two_ports(|port| {
        let mut bench = Bench::new(vec![plain(port)]);
        for address in [V4, V6].repeat(20) {
            assert_eq!(bench.once(address).0, fail("connection refused"));
        }
    });
}

#[test]
fn a_service_hears_what_is_sent_and_is_heard() {
    let echo = |mut stream: TcpStream| {
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).unwrap();
        for byte in heard {
            stream.write_all(&[byte]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        // The kernel resets a connection closed over unread bytes: none are left.
        stream.shutdown(Shutdown::Write).unwrap();
    };
    for (send, expect, outcome) in [
        ("PING", "PING", pass("answered as expected")),
        ("PING", "IN", pass("answered as expected")),
        ("PING", "PONG", fail("not the expected answer: PING")),
        ("\u{1b}[2J", "x", fail("not the expected answer: [2J")),
    ] {
        for address in [V4, V6] {
            let check = check_of(Target::Service, tcp(server(address, echo), Some(send), Some(expect)));
            assert_eq!(once(check, address), outcome);
        }
    }
}

#[test]
fn a_service_that_does_not_answer_fails() {
    let expecting = |port| check(Target::Service, SHORT, tcp(port, None, Some("220")));
    let silent = timed_out("connected, but no answer within 200ms");
    assert_eq!(once(expecting(server(V4, hang)), V4), silent);
    assert_eq!(once(expecting(server(V4, drop)), V4), fail("connection closed without an answer"));
    assert_eq!(once(expecting(nobody(V4)), V4), fail("connection refused"));
    let flooded = check_of(Target::Service, tcp(server(V4, |s| flood(s, b"", &[b'x'; 4096])), None, Some("220")));
    assert_eq!(once(flooded, V4), fail("not the expected answer in 64 KiB"));
}

#[test]
fn a_service_reads_an_end_and_no_time_wait_stays() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&heard);
    let port = server(V4, move |mut stream| {
        std::thread::sleep(Duration::from_millis(20));
        let read = stream.read(&mut [0; 8]).map_err(|error| error.kind());
        noted.lock().unwrap().push(read);
    });
    for _ in 0..10 {
        assert_eq!(once(plain(port), V4), pass("connected"));
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(*heard.lock().unwrap(), vec![Ok(0); 10]);
    let to = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let (remote, state) = (2, 3);
    let waiting = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let waiting = waiting.filter(|column| column[remote] == to && column[state] == "06").count();
    assert_eq!(waiting, 0);
}

#[test]
fn a_full_backlog_is_a_timeout() {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(1).unwrap();
    let port = listener.local_addr().unwrap().as_socket().unwrap().port();
    let _filling: Vec<_> = (0..2).map(|_| TcpStream::connect((V4, port)).unwrap()).collect();
    let mut bench = Bench::new(vec![check(Target::Service, SHORT, tcp(port, None, None))]);
    let (outcome, took) = bench.once(V4);
    assert_eq!(outcome, timed_out("no connection within 200ms"));
    assert!((SHORT..SHORT + Duration::from_millis(300)).contains(&took), "{took:?}");
}

#[test]
fn a_service_is_checked_from_its_own_address_and_a_target_from_any() {
    let sources = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&sources);
    let port = server("0.0.0.0", move |mut stream| {
        noted.lock().unwrap().push(stream.peer_addr().unwrap().ip().to_string());
        stream.write_all(b"hello").unwrap();
    });
    let hello = || tcp(port, None, Some("hello"));
    assert_eq!(once(check_of(Target::Service, hello()), "127.0.0.53"), pass("answered as expected"));
    let listener = TcpListener::bind(("127.0.0.54", 0)).unwrap();
    assert_eq!(once(plain(listener.local_addr().unwrap().port()), "127.0.0.54"), pass("connected"));
    assert_eq!(listener.accept().unwrap().1.ip().to_string(), "127.0.0.54");
    let elsewhere = Target::Address("127.0.0.55".parse().unwrap());
    assert_eq!(once(check_of(elsewhere, hello()), "127.0.0.55"), pass("answered as expected"));
    let mut sources = sources.lock().unwrap().clone();
    sources.sort();
    assert_eq!(sources, ["127.0.0.1", "127.0.0.53"]);
}

#[test]
fn without_the_address_there_is_no_packet_and_no_verdict() {
    for (address, kind) in [
        ("192.0.2.99", tcp(80, None, None)),
        ("2001:db8::99", tcp(80, None, None)),
        ("192.0.2.99", tcp(80, None, Some("x"))),
        ("2001:db8::99", crate::http::http(80, None)),
    ] {
        assert_eq!(once(check_of(Target::Service, kind), address), Outcome::NoAddress);
    }
}

#[test]
fn hung_runs_do_not_hold_up_the_others() {
    let (hung, well) = (server(V4, hang), server(V4, drop));
    let hung = check(Target::Service, Duration::from_secs(2), tcp(hung, None, Some("x")));
    let mut bench = Bench::new(vec![hung, plain(well)]);
    let address = |i: u32| std::net::IpAddr::from(std::net::Ipv4Addr::from(0x7f00_0000 + i));
    for i in 1..=100 {
        bench.ask(0, address(i), 1);
    }
    bench.ask(1, address(1), 2);
    let (probe, outcome, took) = bench.next();
    assert_eq!((probe.run, outcome), (2, pass("connected")));
    assert!(took < Duration::from_millis(500), "{took:?}");
    for _ in 1..=100 {
        let (_, outcome, took) = bench.next();
        assert!(matches!(outcome, Outcome::TimedOut { .. } | Outcome::Fail { .. }), "{outcome:?}");
        assert!(took < Duration::from_millis(2500), "{took:?}");
    }
}

#[test]
fn a_full_engine_stops_nobody_and_loses_nothing() {
    let port = server(V4, drop);
    let (inputs, mut results) = tokio::sync::mpsc::channel(1);
    let target = Target::Address(V4.parse().unwrap());
    let config = crate::configured::configured(vec![check_of(target, tcp(port, None, None))]);
    let runner = anycaster::io::checks::Runner::new(&config, inputs).unwrap();
    let request = |check, run| ProbeRequest {
        probe: ProbeId { service: 0, check, address: V4.parse().unwrap(), run },
        state: String::new(),
        reason: String::new(),
    };
    assert_eq!(runner.probe(request(1, 0)), Err(ProbeError::Unknown));
    let mut taken = 0;
    let refused = loop {
        match runner.probe(request(0, taken)) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        std::thread::sleep(Duration::from_millis(20));
        assert!(taken < 100, "a bound");
    };
    assert_eq!(refused, ProbeError::Full);
    let runs: Vec<u64> = (0..taken)
        .map(|_| match results.blocking_recv() {
            Some(anycaster::engine::Input::Probed { probe, .. }) => probe.run,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(runs, (0..taken).collect::<Vec<_>>());
}

/// All addresses of a wide prefix are due at once when they come; while nobody is ready to start them, none is lost.
#[test]
fn two_thousand_addresses_of_a_wide_prefix_find_room() {
    let port = server(V4, drop);
    let (inputs, _results) = tokio::sync::mpsc::channel(1);
    let config = crate::configured::configured(vec![plain(port)]);
    let runner = anycaster::io::checks::Runner::new(&config, inputs).unwrap();
    for number in 0..2000 {
        let address = std::net::Ipv4Addr::from(0x7f01_0000 + number).into();
        let probe = ProbeId { service: 0, check: 0, address, run: number.into() };
        let [state, reason] = [(); 2].map(|()| String::new());
        assert_eq!(runner.probe(ProbeRequest { probe, state, reason }), Ok(()), "{number}");
    }
}

#[test]
fn a_runner_can_be_dropped_while_the_engine_reads_nothing() {
    let port = server(V4, drop);
    let (inputs, results) = tokio::sync::mpsc::channel(1);
    let config = crate::configured::configured(vec![plain(port)]);
    let runner = anycaster::io::checks::Runner::new(&config, inputs).unwrap();
    for run in 0..10 {
        let probe = ProbeId { service: 0, check: 0, address: V4.parse().unwrap(), run };
        let [state, reason] = [(); 2].map(|()| String::new());
        runner.probe(ProbeRequest { probe, state, reason }).unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    drop(runner);
    drop(results);
}
