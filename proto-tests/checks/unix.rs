//! Checks of Unix sockets.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anycaster::config::{CheckKind, Target, UnixCheck};

use crate::configured::check;
use crate::servers::{Server, until};
use crate::{Bench, V4, V6, check_of, fail, once, pass, timed_out};

const SHORT: Duration = Duration::from_millis(300);

fn unix(path: &Path, send: Option<&str>, expect: Option<&str>) -> CheckKind {
    CheckKind::Unix(UnixCheck {
        path: path.to_owned(),
        send: send.map(str::to_owned),
        expect: expect.map(str::to_owned),
    })
}

#[test]
fn connecting_is_enough_where_nothing_else_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("socket");
    let plain = || check_of(Target::Service, unix(&path, None, None));
    let here = path.display();
    assert_eq!(once(plain(), V4), fail(&format!("{here}: no such file or directory")));
    let listener = UnixListener::bind(&path).unwrap();
    // Whatever addresses the service has, and whether they are here or not: a socket has none.
    for address in [V4, V6, "192.0.2.99"] {
        assert_eq!(once(plain(), address), pass("connected"));
    }
    drop(listener);
    assert_eq!(once(plain(), V4), fail(&format!("{here}: connection refused")));
    std::fs::remove_file(&path).unwrap();
    let _datagrams = UnixDatagram::bind(&path).unwrap();
    assert_eq!(once(plain(), V4), fail(&format!("{here}: protocol wrong type for socket")));
}

#[test]
fn what_is_said_is_answered() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut heard = [0; 4];
            stream.read_exact(&mut heard).unwrap();
            stream.write_all(&heard).unwrap();
        }
    });
    for (expect, outcome) in [("PING", pass("answered as expected")), ("PONG", fail("not the expected answer: PING"))] {
        assert_eq!(once(check_of(Target::Service, unix(&path, Some("PING"), Some(expect))), V4), outcome);
    }
}

#[test]
fn a_full_queue_is_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("socket");
    let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let _filling = UnixStream::connect(&path).unwrap();
    let plain = || unix(&path, None, None);
    assert_eq!(once(check(Target::Service, SHORT, plain()), V4), timed_out("no connection within 300ms"));
    let mut bench = Bench::new(vec![check_of(Target::Service, plain())]);
    bench.ask(0, V4.parse().unwrap(), 1);
    std::thread::sleep(Duration::from_millis(50));
    drop(listener.accept().unwrap());
    assert_eq!(bench.next().1, pass("connected"));
}

#[test]
fn haproxy_answers_until_it_hangs() {
    let haproxy = Server::start("haproxy", |home| {
        let config = format!("global\n  stats socket {}/admin.sock mode 600 level user\n", home.display());
        std::fs::write(home.join("haproxy.cfg"), config).unwrap();
        ["-db", "-f", home.join("haproxy.cfg").to_str().unwrap()].map(str::to_owned).to_vec()
    });
    let Some(haproxy) = haproxy else { return };
    let path = haproxy.file("admin.sock");
    until("haproxy to listen", || UnixStream::connect(&path).is_ok());
    let info = |expect| unix(&path, Some("show info\n"), Some(expect));
    assert_eq!(once(check_of(Target::Service, info("Name: HAProxy")), V4), pass("answered as expected"));
    let name = fail("not the expected answer: Name: HAProxy");
    assert_eq!(once(check_of(Target::Service, info("Name: nginx")), V4), name);
    haproxy.hang();
    let hung = check(Target::Service, SHORT, info("Name: HAProxy"));
    let mut bench = Bench::new(vec![hung]);
    let (outcome, took) = bench.once(V4);
    assert_eq!(outcome, timed_out("connected, but no answer within 300ms"));
    assert!((SHORT..SHORT + Duration::from_millis(500)).contains(&took), "{took:?}");
    haproxy.go_on();
    assert_eq!(once(check_of(Target::Service, info("Name: HAProxy")), V4), pass("answered as expected"));
}
