//! HTTP and HTTPS checks.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anycaster::config::{CheckKind, HttpCheck, Target, Tls};
use anycaster::engine::Outcome;
use anycaster::io::checks::Runner;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::configured::{check, configured};
use crate::{V4, V6, check_of, fail, flood, hang, nobody, once, pass, server, timed_out};

pub(crate) fn http(port: u16, tls: Option<Tls>) -> CheckKind {
    CheckKind::Http(Box::new(checked(port, tls)))
}

fn checked(port: u16, tls: Option<Tls>) -> HttpCheck {
    HttpCheck {
        port,
        path: "/healthz?full=1".to_owned(),
        method: "GET".to_owned(),
        headers: Vec::new(),
        expect_status: vec![200],
        expect_body: None,
        tls,
    }
}

/// Reads a request's head, then says `answer`.
fn answering(answer: &'static [u8]) -> impl Fn(TcpStream) + Clone + Send {
    move |mut stream| {
        if !head(&mut stream).is_empty() {
            let _cut_off = stream.write_all(answer);
        }
    }
}

fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn run(address: &str, answer: &'static [u8], expect_status: &[u16], expect_body: Option<&str>) -> Outcome {
    let port = server(address, answering(answer));
    let expected = HttpCheck {
        expect_status: expect_status.to_vec(),
        expect_body: expect_body.map(str::to_owned),
        ..checked(port, None)
    };
    once(check(Target::Service, Duration::from_millis(500), CheckKind::Http(Box::new(expected))), address)
}

#[test]
fn status_and_body_decide() {
    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nall up\n";
    let until_close = b"HTTP/1.0 200 OK\r\n\r\nall up\n";
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nall\r\n4\r\n up\n\r\n0\r\n\r\n";
    let short = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nall up\n";
    let moved = b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n";
    let down = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    for address in [V4, V6] {
        assert_eq!(run(address, ok, &[200], None), pass("HTTP 200"));
        for whole in [&ok[..], until_close, chunked] {
            assert_eq!(run(address, whole, &[200], Some("^all up\n$")), pass("HTTP 200, body matches"));
        }
        assert_eq!(run(address, ok, &[200], Some("(?i)DOWN")), fail("HTTP 200, body does not match"));
        assert_eq!(run(address, down, &[200], None), fail("HTTP 503, expected 200"));
        assert_eq!(run(address, down, &[200, 503], None), pass("HTTP 503"));
        assert_eq!(run(address, moved, &[200, 204], None), fail("HTTP 302, expected 200 or 204"));
    }
    let ended = fail("connection closed before the answer was complete");
    assert_eq!(run(V4, short, &[200], Some("up")), ended);
    assert_eq!(run(V4, b"", &[200], None), ended);
    assert_eq!(run(V4, b"SSH-2.0-OpenSSH_9.9\r\n", &[200], None), fail("not an HTTP answer"));
}

#[test]
fn servers_that_hang_or_flood_are_cut_off() {
    let cut = |serve: fn(TcpStream), expect_body: Option<&str>| {
        let expected = HttpCheck { expect_body: expect_body.map(str::to_owned), ..checked(server(V4, serve), None) };
        once(check(Target::Service, Duration::from_secs(1), CheckKind::Http(Box::new(expected))), V4)
    };
    let silent = timed_out("connected, but no answer within 1s");
    assert_eq!(cut(hang, None), silent);
    let endless: fn(TcpStream) = |stream| flood(stream, b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 8192]);
    assert_eq!(cut(endless, None), pass("HTTP 200"));
    assert_eq!(cut(endless, Some("^x")), pass("HTTP 200, body matches"));
    assert_eq!(cut(endless, Some("y")), fail("HTTP 200, body does not match"));
    let half: fn(TcpStream) = |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nx").unwrap();
        hang(stream);
    };
    assert_eq!(cut(half, Some("x")), silent);
    let long = fail("the head of the HTTP answer is too long");
    assert_eq!(cut(|stream| flood(stream, b"HTTP/1.1 200 OK\r\nx: ", &[b'x'; 8192]), None), long);
    assert_eq!(cut(|stream| flood(stream, b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"), None), long);
    assert_eq!(once(check_of(Target::Service, http(nobody(V4), None)), V4), fail("connection refused"));
}

#[test]
fn the_request_says_what_was_configured() {
    let (v4, v6) = (asked(V4, &[]), asked(V6, &[]));
    let agent = concat!("user-agent: anycaster/", env!("CARGO_PKG_VERSION"));
    for (address, (port, lines)) in [("127.0.0.1", v4), ("[::1]", v6)] {
        let host = format!("host: {address}:{port}");
        assert_eq!(lines, ["GET /healthz?full=1 HTTP/1.1", &host, agent, "connection: close", "", ""]);
    }
    let (_, lines) = asked(V4, &[("Host", "a.example"), ("X-Probe", "1"), ("X-Probe", "2"), ("User-Agent", "me")]);
    let expected = ["GET /healthz?full=1 HTTP/1.1", "host: a.example", "x-probe: 1", "x-probe: 2", "user-agent: me"];
    assert_eq!(lines[..5], expected);
}

fn asked(address: &str, headers: &[(&str, &str)]) -> (u16, Vec<String>) {
    let heard = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&heard);
    let port = server(address, move |mut stream| {
        *noted.lock().unwrap() = head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    });
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request = CheckKind::Http(Box::new(HttpCheck { headers, ..checked(port, None) }));
    assert_eq!(once(check_of(Target::Service, request), address), pass("HTTP 200"));
    let lines = heard.lock().unwrap().split("\r\n").map(str::to_owned).collect();
    (port, lines)
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("proto-tests/certs").join(name)
}

fn tls(server_name: Option<&str>, ca_file: Option<&str>, insecure: bool) -> Tls {
    Tls { server_name: server_name.map(str::to_owned), ca_file: ca_file.map(file), insecure }
}

/// An https server with `NAME.pem`; answers with the server name it was asked for.
pub(crate) fn secured(address: &str, name: &str) -> u16 {
    let certificate = CertificateDer::from_pem_file(file(&format!("{name}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    server(address, move |stream| {
        let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = rustls::StreamOwned::new(session, stream);
        if !head(&mut stream).is_empty() {
            let name = stream.conn.server_name().unwrap_or("nobody").to_owned();
            let length = name.len();
            let _cut_off = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{name}");
        }
    })
}

#[test]
fn certificates_are_judged_in_words() {
    let unknown = fail("certificate signed by an unknown authority");
    let ok = pass("HTTP 200");
    for (certificate, tls, outcome) in [
        ("good", tls(Some("check.test"), Some("ca.pem"), false), ok.clone()),
        ("good", tls(None, Some("ca.pem"), false), ok.clone()),
        ("good", tls(Some("other.test"), Some("ca.pem"), false), fail("certificate is not for other.test")),
        ("good", tls(Some("check.test"), None, false), unknown.clone()),
        ("good", tls(Some("other.test"), None, true), ok.clone()),
        ("expired", tls(Some("check.test"), Some("ca.pem"), false), fail("certificate expired")),
        ("expired", tls(Some("check.test"), None, true), ok.clone()),
        ("self", tls(Some("check.test"), Some("ca.pem"), false), unknown),
        ("self", tls(Some("check.test"), Some("self.pem"), false), ok.clone()),
        ("alone", tls(Some("check.test"), Some("ca.pem"), false), fail("certificate refused: CaUsedAsEndEntity")),
        // Made by `openssl req -x509` and nothing else: an authority that shows itself.
        ("alone", tls(Some("check.test"), Some("alone.pem"), false), ok.clone()),
        ("alone", tls(Some("other.test"), Some("alone.pem"), false), fail("certificate is not for other.test")),
        ("alone-expired", tls(Some("check.test"), Some("alone-expired.pem"), false), fail("certificate expired")),
        ("self", tls(None, None, true), ok),
    ] {
        let port = secured(V4, certificate);
        let told = format!("{certificate} {tls:?}");
        assert_eq!(once(check_of(Target::Service, http(port, Some(tls))), V4), outcome, "{told}");
    }
    let v6 = check_of(Target::Service, http(secured(V6, "good"), Some(tls(None, Some("ca.pem"), false))));
    assert_eq!(once(v6, V6), pass("HTTP 200"));
}

#[test]
fn the_server_name_is_asked_for() {
    for (name, heard) in [(Some("check.test"), "^check.test$"), (None, "^nobody$")] {
        let expect_body = Some(heard.to_owned());
        let port = secured(V4, "good");
        let named = HttpCheck { expect_body, ..checked(port, Some(tls(name, Some("ca.pem"), false))) };
        let outcome = once(check_of(Target::Service, CheckKind::Http(Box::new(named))), V4);
        assert_eq!(outcome, pass("HTTP 200, body matches"));
    }
}

#[test]
fn a_server_that_speaks_no_tls_fails() {
    let insecure = || Some(tls(None, None, true));
    let plain = server(V4, |stream| flood(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n", b""));
    assert_eq!(once(check_of(Target::Service, http(plain, insecure())), V4), fail("not a TLS answer"));
    let silent = check(Target::Service, Duration::from_millis(200), http(server(V4, hang), insecure()));
    assert_eq!(once(silent, V4), timed_out("connected, but no TLS within 200ms"));
}

#[test]
fn what_cannot_be_prepared_is_named() {
    let missing = file("missing.pem");
    let none = file("README.md");
    let ca = |path: &Path| Some(Tls { server_name: None, ca_file: Some(path.to_owned()), insecure: false });
    for (bad, problem) in [
        (checked(1, ca(&missing)), format!("ca-file {}: no such file or directory", missing.display())),
        (checked(1, ca(&none)), format!("ca-file {}: no certificate in it", none.display())),
        (HttpCheck { method: "G T".to_owned(), ..checked(1, None) }, "\"G T\" is not a method".to_owned()),
        (HttpCheck { path: "a b".to_owned(), ..checked(1, None) }, "\"a b\" is not a path".to_owned()),
    ] {
        let (inputs, _results) = tokio::sync::mpsc::channel(1);
        let config = configured(vec![check_of(Target::Service, CheckKind::Http(Box::new(bad)))]);
        let error = Runner::new(&config, inputs).err().map(|error| error.to_string());
        assert_eq!(error, Some(format!("service service, check check: {problem}")));
    }
}

#[test]
fn nginx_is_understood() {
    let nginx = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
    let Some(nginx) = nginx else {
        eprintln!("SKIPPED: nginx is not installed");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let (plain, secure) = (nobody(V4), nobody(V4));
    let here = home.path().display();
    let (certificate, key) = (file("good.pem"), file("good.key"));
    let config = format!(
        "daemon off; pid {here}/pid; error_log {here}/log; events {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path {here}/a; proxy_temp_path {here}/b; fastcgi_temp_path {here}/c;\n\
         uwsgi_temp_path {here}/d; scgi_temp_path {here}/e;\n\
         server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl; server_name check.test;\n\
         ssl_certificate {}; ssl_certificate_key {};\n\
         location /healthz {{ return 200 \"nginx is up\"; }} location / {{ return 503; }} }} }}",
        certificate.display(),
        key.display()
    );
    let path = home.path().join("nginx.conf");
    fs::write(&path, config).unwrap();
    let mut child = Command::new(nginx).arg("-c").arg(&path).stderr(Stdio::null()).spawn().unwrap();
    let up = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        TcpStream::connect((V4, secure)).is_ok()
    });
    let trusted = || Some(tls(Some("check.test"), Some("ca.pem"), false));
    let outcomes = [(plain, None), (secure, trusted()), (secure, None)].map(|(port, tls)| {
        let expected = HttpCheck { expect_body: Some("is up$".to_owned()), ..checked(port, tls) };
        once(check_of(Target::Service, CheckKind::Http(Box::new(expected))), V4)
    });
    let down = HttpCheck { path: "/".to_owned(), method: "HEAD".to_owned(), ..checked(plain, None) };
    let down = once(check_of(Target::Service, CheckKind::Http(Box::new(down))), V4);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::SIGTERM).unwrap();
    child.wait().unwrap();
    assert!(up, "nginx did not start");
    let well = pass("HTTP 200, body matches");
    assert_eq!(outcomes, [well.clone(), well, fail("HTTP 400, expected 200")]);
    assert_eq!(down, fail("HTTP 503, expected 200"));
}
