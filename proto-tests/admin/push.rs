//! Pushes: the one request with a body.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anycaster::engine::NotPushed;
use anycaster::io::admin::Push;

use crate::{Server, error, send, status};

/// The service dns has a push check, outside, on one address, and alive, which is none; mail has one without an address.
pub(crate) fn pushed(push: &Push) -> Result<Vec<IpAddr>, NotPushed> {
    let here: Vec<IpAddr> = vec!["192.0.2.53".parse().unwrap()];
    match (push.service.as_str(), push.check.as_str(), push.address) {
        ("dns", "outside", address) if address.is_none_or(|address| here.contains(&address)) => Ok(here),
        ("dns", "outside", _) => Err(NotPushed::NoAddress { here }),
        ("dns", "alive", _) => Err(NotPushed::AnotherType),
        ("dns", _, _) => Err(NotPushed::NoCheck { known: vec!["outside".to_owned(), "alive".to_owned()] }),
        ("mail", _, None) => Ok(vec![]),
        ("mail", _, Some(_)) => Err(NotPushed::NoAddress { here: vec![] }),
        _ => Err(NotPushed::NoService { known: vec!["dns".to_owned(), "mail".to_owned()] }),
    }
}

pub(crate) const OUTSIDE: &str = "/services/dns/checks/outside/push";

#[test]
fn a_push_reaches_the_engine_clean_and_is_answered() {
    let server = Server::answering(status());
    let counted = (200, "{\"addresses\":[\"192.0.2.53\"]}\n".to_owned());
    let long = "x".repeat(300);
    for (body, pass, detail, address) in [
        (r#"{"ok":true}"#, true, "pushed: ok", None),
        (r#" {"ok" : false} "#, false, "pushed: not ok", None),
        (r#"{"ok":false,"detail":"3 of 5\u001b[2J\n probes","address":null}"#, false, "3 of 5 [2J probes", None),
        (r#"{"address":"192.0.2.53","ok":true,"detail":"seen"}"#, true, "seen", Some("192.0.2.53")),
        (&format!(r#"{{"ok":true,"detail":"{long}"}}"#), true, &long[..200], None),
    ] {
        assert_eq!(server.push(OUTSIDE, body), counted, "{body}");
        let told = server.pushes.lock().unwrap().pop().unwrap();
        let expected = Push {
            service: "dns".to_owned(),
            check: "outside".to_owned(),
            address: address.map(|address: &str| address.parse().unwrap()),
            pass,
            detail: detail.to_owned(),
        };
        assert_eq!(told, expected, "{body}");
    }
    assert_eq!(server.push("/services/mail/checks/outside/push", "{\"ok\":true}").1, "{\"addresses\":[]}\n");
    // In parts, as curl sends what it does not know the length of.
    let mut stream = UnixStream::connect(&server.socket).unwrap();
    write!(stream, "PUT {OUTSIDE} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{{\"ok\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    write!(stream, "7\r\n\":true}}\r\n0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}

#[test]
fn a_push_that_is_none_is_refused_in_words() {
    let server = Server::answering(status());
    let like = "it is like {\"ok\":true}";
    let long = format!(r#"{{"ok":true,"detail":"{}"}}"#, "x".repeat(4096));
    for (body, words) in [
        ("", format!("not a push: EOF while parsing a value at line 1 column 0; {like}")),
        ("ok", format!("not a push: expected value at line 1 column 1; {like}")),
        ("{}", format!("not a push: missing field `ok` at line 1 column 2; {like}")),
        (
            r#"{"ok":1}"#,
            format!("not a push: invalid type: integer `1`, expected a boolean at line 1 column 7; {like}"),
        ),
        (r#"{"ok":true} {"#, format!("not a push: trailing characters at line 1 column 13; {like}")),
        (
            r#"{"ok":true,"detail":1}"#,
            format!("not a push: invalid type: integer `1`, expected a string at line 1 column 21; {like}"),
        ),
        (
            r#"{"ok":true,"address":"dns"}"#,
            format!("not a push: invalid IP address syntax at line 1 column 26; {like}"),
        ),
        // Counted for every address else.
        (
            r#"{"ok":true,"adress":"192.0.2.53"}"#,
            format!(
                "not a push: unknown field `adress`, expected one of `ok`, `detail`, `address` at line 1 column 19; {like}"
            ),
        ),
        (
            r#"{"ok":true,"address":"192.0.2.54"}"#,
            "check outside of service dns has no address 192.0.2.54 here; it has 192.0.2.53".to_owned(),
        ),
        (&long, "a push has at most 4096 octets".to_owned()),
    ] {
        let (code, answer) = server.push(OUTSIDE, body);
        assert_eq!((code, error(&answer)), (400, words), "{body}");
    }
    for (path, body, code, words) in [
        ("/services/dsn/checks/outside/push", r#"{"ok":true}"#, 404, "there is no service dsn; nearest: dns"),
        (
            "/services/dns/checks/outsid/push",
            r#"{"ok":true}"#,
            404,
            "service dns has no check outsid; nearest: outside",
        ),
        (
            "/services/dns/checks/alive/push",
            r#"{"ok":true}"#,
            409,
            "check alive of service dns is not of type push: the daemon runs it",
        ),
        (
            "/services/mail/checks/outside/push",
            r#"{"ok":true,"address":"192.0.2.53"}"#,
            400,
            "check outside of service mail has no address 192.0.2.53 here; it has none now",
        ),
    ] {
        let (answered, answer) = server.push(path, body);
        assert_eq!((answered, error(&answer).as_str()), (code, words), "{path}");
    }
    for method in ["GET", "POST", "DELETE", "PATCH"] {
        let (code, answer) = server.control(method, OUTSIDE);
        assert_eq!((code, error(&answer)), (405, format!("{OUTSIDE}: PUT only")), "{method}");
    }
    let tcp = send(TcpStream::connect(server.http).unwrap(), "PUT", OUTSIDE, "{\"ok\":true}");
    let words = "this address only reads: push through the control socket";
    assert_eq!((tcp.0, error(&tcp.1).as_str()), (403, words));
    // Only what the engine itself refuses comes that far.
    let told: Vec<_> =
        server.pushes.lock().unwrap().iter().map(|push| (push.service.clone(), push.check.clone())).collect();
    let pairs = [("dns", "outside"), ("dsn", "outside"), ("dns", "outsid"), ("dns", "alive"), ("mail", "outside")];
    assert_eq!(told, pairs.map(|(service, check)| (service.to_owned(), check.to_owned())));
}

#[test]
fn a_push_whose_body_never_comes_is_given_up() {
    let server = Server::answering(status());
    let mut stream = UnixStream::connect(&server.socket).unwrap();
    write!(stream, "PUT {OUTSIDE} HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n{{").unwrap();
    let start = Instant::now();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert_eq!(error(body), "the body did not come within 2 s");
    assert!((2..6).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(*server.pushes.lock().unwrap(), []);
}
