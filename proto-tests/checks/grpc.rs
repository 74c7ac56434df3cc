//! gRPC checks.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anycaster::config::{Check, CheckKind, GrpcCheck, Target, TcpCheck, Tls};
use anycaster::engine::Outcome;

use crate::configured::check;
use crate::servers::{Server, until};
use crate::{Bench, V4, V6, check_of, fail, flood, hang, nobody, once, pass, server, timed_out};

const SHORT: Duration = Duration::from_millis(500);

fn grpc(port: u16, service: &str, tls: Option<Tls>) -> CheckKind {
    CheckKind::Grpc(Box::new(GrpcCheck { port, service: service.to_owned(), tls }))
}

fn asked(port: u16, service: &str) -> Check {
    check_of(Target::Service, grpc(port, service, None))
}

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("proto-tests/certs").join(name)
}

fn tls(server_name: Option<&str>, ca_file: Option<&str>, insecure: bool) -> Option<Tls> {
    Some(Tls { server_name: server_name.map(str::to_owned), ca_file: ca_file.map(certificate), insecure })
}

/// On both loopback addresses; `files` say what it answers.
fn health_server(port: u16, files: &[(&str, &str)], more: &[&str]) -> Option<Server> {
    let python = Path::new("/usr/bin/python3");
    let there = std::process::Command::new(python).args(["-c", "import grpc"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: python3-grpcio is not installed");
        return None;
    }
    let server = Server::start("python3", |home| {
        files.iter().for_each(|(name, text)| fs::write(home.join(name), text).unwrap());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/proto-tests/lab/health-server.py");
        let addresses = [format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
        let first = [script.to_owned(), home.to_str().unwrap().to_owned()];
        first.into_iter().chain(addresses).chain(more.iter().map(|word| (*word).to_owned())).collect()
    })?;
    until("the health server to listen", || [V4, V6].iter().all(|at| TcpStream::connect((*at, port)).is_ok()));
    Some(server)
}

#[test]
fn the_health_service_decides() {
    let port = nobody(V4);
    let files = [("server", "SERVING"), ("a.Up", "SERVING"), ("a.Down", "NOT_SERVING"), ("a.New", "UNKNOWN")];
    let files = [&files[..], &[("a.Gone", "SERVICE_UNKNOWN")]].concat();
    let Some(health) = health_server(port, &files, &[]) else { return };
    for address in [V4, V6] {
        for (service, outcome) in [
            ("", pass("SERVING")),
            ("a.Up", pass("SERVING")),
            ("a.Down", fail("NOT_SERVING")),
            ("a.New", fail("UNKNOWN")),
            ("a.Gone", fail("SERVICE_UNKNOWN")),
            ("a.Other", fail("gRPC status NOT_FOUND: no service 'a.Other': 100% ünknown")),
        ] {
            assert_eq!(once(asked(port, service), address), outcome, "{service}");
        }
    }
    fs::write(health.file("server"), "NOT_SERVING").unwrap();
    assert_eq!(once(asked(port, ""), V4), fail("NOT_SERVING"));
    fs::write(health.file("server"), "SERVING").unwrap();
    let slow = check(Target::Service, SHORT, grpc(port, "slow", None));
    assert_eq!(once(slow, V4), timed_out("connected, but no answer within 500ms"));
    health.hang();
    let hung = check(Target::Service, SHORT, grpc(port, "", None));
    let mut bench = Bench::new(vec![hung, asked(nobody(V4), "")]);
    bench.ask(0, V4.parse().unwrap(), 1);
    bench.ask(1, V4.parse().unwrap(), 2);
    let (probe, outcome, _) = bench.next();
    assert_eq!((probe.run, outcome), (2, fail("connection refused")));
    let (probe, outcome, took) = bench.next();
    assert_eq!((probe.run, outcome), (1, timed_out("connected, but no answer within 500ms")));
    assert!((SHORT..SHORT + Duration::from_millis(500)).contains(&took), "{took:?}");
    health.go_on();
    assert_eq!(once(asked(port, ""), V4), pass("SERVING"));
}

#[test]
fn a_server_without_the_health_service_fails() {
    let port = nobody(V4);
    let Some(_bare) = health_server(port, &[("bare", "")], &[]) else { return };
    assert_eq!(once(asked(port, ""), V4), fail("gRPC status UNIMPLEMENTED: Method not found!"));
}

#[test]
fn over_tls_the_certificate_counts() {
    let port = nobody(V4);
    let [good, key] = ["good.pem", "good.key"].map(certificate);
    let more = ["--tls", good.to_str().unwrap(), key.to_str().unwrap()];
    let Some(_health) = health_server(port, &[("server", "SERVING")], &more) else { return };
    for (tls, outcome) in [
        (tls(Some("check.test"), Some("ca.pem"), false), pass("SERVING")),
        (tls(None, Some("ca.pem"), false), pass("SERVING")),
        (tls(Some("other.test"), Some("ca.pem"), false), fail("certificate is not for other.test")),
        (tls(None, Some("alone.pem"), false), fail("certificate signed by an unknown authority")),
        (tls(None, None, true), pass("SERVING")),
    ] {
        for address in [V4, V6] {
            let told = format!("{tls:?} {address}");
            assert_eq!(once(check_of(Target::Service, grpc(port, "", tls.clone())), address), outcome, "{told}");
        }
    }
    let plain = once(check(Target::Service, SHORT, grpc(port, "", None)), V4);
    assert_eq!(plain, fail("connection closed without an answer in HTTP/2"));
}

/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// HEADERS on stream 1: status 200, content-type application/grpc.
const GRPC_HEAD: &[u8] = b"\0\0\x14\x01\x04\0\0\0\x01\x88\x0f\x10\x10application/grpc";

#[test]
fn servers_that_speak_something_else_fail_in_plain_words() {
    let web: fn(TcpStream) = |stream| flood(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"");
    let ssh: fn(TcpStream) = |stream| flood(stream, b"SSH-2.0-OpenSSH_9.9\r\n", &[b'x'; 4096]);
    let half: fn(TcpStream) = |mut stream| {
        std::io::Write::write_all(&mut stream, SETTINGS).unwrap();
        hang(stream);
    };
    let pings: fn(TcpStream) = |stream| flood(stream, SETTINGS, &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let away: fn(TcpStream) = |mut stream| {
        std::io::Write::write_all(&mut stream, SETTINGS).unwrap();
        std::io::Write::write_all(&mut stream, &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11]).unwrap();
        hang(stream);
    };
    let reset: fn(TcpStream) = |mut stream| {
        std::io::Write::write_all(&mut stream, SETTINGS).unwrap();
        called(&mut stream);
        std::io::Write::write_all(&mut stream, &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7]).unwrap();
        hang(stream);
    };
    let endless: fn(TcpStream) = |mut stream| {
        called(&mut stream);
        let data = [&[0, 0x20, 0, 0, 0, 0, 0, 0, 1][..], &[0; 0x2000]].concat();
        flood(stream, &[SETTINGS, GRPC_HEAD].concat(), &data);
    };
    let without: fn(TcpStream) = |mut stream| {
        called(&mut stream);
        let data = [0, 0, 7, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 2, 8, 1];
        std::io::Write::write_all(&mut stream, &[SETTINGS, GRPC_HEAD, &data].concat()).unwrap();
        hang(stream);
    };
    let headers: fn(TcpStream) = |mut stream| {
        called(&mut stream);
        // HEADERS without END_HEADERS, and CONTINUATION frames for ever: one literal field in each.
        let field = [&[0, 0, 0x43, 9, 0, 0, 0, 0, 1, 0, 1, b'a', 0x3f][..], &[b'x'; 63]].concat();
        flood(stream, &[SETTINGS, &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x88]].concat(), &field);
    };
    let silent = timed_out("connected, but no answer within 500ms");
    let wrong = fail("not an answer in HTTP/2: frame with invalid size");
    for (serve, outcome) in [
        (web, wrong.clone()),
        (ssh, wrong),
        (hang, silent.clone()),
        (drop, fail("connection closed without an answer in HTTP/2")),
        (half, silent.clone()),
        (pings, silent),
        (away, fail("the server ended the HTTP/2 connection: detected excessive load generating behavior")),
        (endless, fail("not a health answer: longer than 4096 octets")),
        (without, fail("answer without grpc-status")),
        (
            headers,
            fail("not an answer in HTTP/2: detected excessive load generating behavior (b\"too_many_continuations\")"),
        ),
        (reset, fail("the server broke off the call: refused stream before processing any application logic")),
    ] {
        let port = server(V4, serve);
        assert_eq!(once(check(Target::Service, SHORT, grpc(port, "", None)), V4), outcome);
    }
}

#[test]
fn a_flood_of_frames_does_not_hold_up_the_others() {
    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let port = server(V4, |stream| flood(stream, SETTINGS, &PING.repeat(500)));
    let well = CheckKind::Tcp(TcpCheck { port: server(V4, drop), send: None, expect: None });
    let mut bench = Bench::new(vec![asked(port, ""), check_of(Target::Service, well)]);
    bench.ask(0, V4.parse().unwrap(), 0);
    for run in 1..=5 {
        std::thread::sleep(Duration::from_millis(20));
        let asked = Instant::now();
        bench.ask(1, V4.parse().unwrap(), run);
        let (probe, outcome, _) = bench.next();
        assert_eq!((probe.run, outcome), (run, pass("connected")));
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    assert_eq!(bench.next().1, timed_out("connected, but no answer within 3s"));
}

/// Reads until the HEADERS of the call are there: the preface, and frame by frame.
fn called(stream: &mut TcpStream) {
    stream.read_exact(&mut [0; 24]).unwrap();
    let mut head = [0; 9];
    while head[3] != 1 {
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).unwrap();
    }
}

/// hyper has tasks of its own for a connection: they do not outlive the run, nor does the socket.
#[test]
fn nothing_of_a_run_is_left_behind() {
    let ended = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&ended);
    let port = server(V4, move |mut stream| {
        while stream.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
        noted.store(true, Ordering::SeqCst);
    });
    let mut bench = Bench::new(vec![check(Target::Service, SHORT, grpc(port, "", None))]);
    assert_eq!(bench.once(V4).0, timed_out("connected, but no answer within 500ms"));
    until("the connection to end", || ended.load(Ordering::SeqCst));
}

#[test]
fn nginx_is_no_grpc_server() {
    let [plain, second, secure, old] = [(); 4].map(|()| nobody(V4));
    let [good, key] = ["good.pem", "good.key"].map(certificate);
    let nginx = Server::start("nginx", |home| {
        let here = home.display();
        let config = format!(
            "daemon off; master_process off; pid {here}/pid; error_log {here}/log; events {{}}\nhttp {{ access_log off;\n\
             client_body_temp_path {here}/a; proxy_temp_path {here}/b; fastcgi_temp_path {here}/c;\n\
             uwsgi_temp_path {here}/d; scgi_temp_path {here}/e; ssl_certificate {}; ssl_certificate_key {};\n\
             server {{ listen 127.0.0.1:{plain}; location / {{ return 503; }} }}\n\
             server {{ listen 127.0.0.1:{second} http2; location / {{ return 404; }} }}\n\
             server {{ listen 127.0.0.1:{secure} ssl http2; location / {{ return 200 ok; }} }}\n\
             server {{ listen 127.0.0.1:{old} ssl; location / {{ return 200 ok; }} }} }}",
            good.display(),
            key.display()
        );
        fs::write(home.join("nginx.conf"), config).unwrap();
        vec!["-c".to_owned(), home.join("nginx.conf").to_str().unwrap().to_owned()]
    });
    let Some(_nginx) = nginx else { return };
    until("nginx to listen", || TcpStream::connect((V4, old)).is_ok());
    let ask = |port, tls| once(check_of(Target::Service, grpc(port, "", tls)), V4);
    assert_eq!(ask(plain, None), fail("not an answer in HTTP/2: frame with invalid size"));
    assert_eq!(ask(second, None), fail("HTTP 404, not a gRPC answer"));
    assert_eq!(ask(secure, tls(None, None, true)), fail("HTTP 200, not a gRPC answer"));
    let insecure = || tls(None, None, true);
    assert_eq!(ask(old, insecure()), fail("TLS alert from the server: NoApplicationProtocol"));
    // One that has never heard of ALPN.
    let port = crate::http::secured(V4, "good");
    assert_eq!(ask(port, insecure()), fail("the server does not offer HTTP/2 (ALPN h2)"));
}

#[test]
fn without_the_address_there_is_no_verdict() {
    for (address, tls) in [("192.0.2.99", None), ("2001:db8::99", tls(None, None, true))] {
        assert_eq!(once(check_of(Target::Service, grpc(50_051, "", tls)), address), Outcome::NoAddress);
    }
}
