//! DNS checks.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use anycaster::config::{Check, CheckKind, DnsCheck, Protocol, Record, Target};
use anycaster::engine::Outcome;

use crate::configured::check;
use crate::servers::{Server, dnsmasq, unbound};
use crate::{Bench, V4, V6, check_of, fail, flood, hang, nobody, once, pass, server, timed_out};

const SHORT: Duration = Duration::from_millis(300);
const BOTH: [Protocol; 2] = [Protocol::Udp, Protocol::Tcp];
const NOERROR: &[u16] = &[0];

struct Asked {
    port: u16,
    transport: Protocol,
}

impl Asked {
    fn kind(&self, query: &str, record: Record, codes: &[u16], answers: &[&str]) -> CheckKind {
        CheckKind::Dns(Box::new(DnsCheck {
            port: self.port,
            query: query.to_owned(),
            record,
            codes: codes.to_vec(),
            answers: answers.iter().map(|text| (*text).to_owned()).collect(),
            transport: self.transport,
        }))
    }

    fn check(&self, query: &str, record: Record, codes: &[u16], answers: &[&str]) -> Check {
        check_of(Target::Service, self.kind(query, record, codes, answers))
    }

    fn short(&self) -> Check {
        check(Target::Service, SHORT, self.kind("www.example.test", Record::A, NOERROR, &[]))
    }
}

/// On each address, over each transport.
fn everywhere(port: u16, question: (&str, Record), codes: &[u16], answers: &[&str], outcome: &Outcome) {
    for (address, transport) in [V4, V6].into_iter().flat_map(|address| BOTH.map(|transport| (address, transport))) {
        let check = Asked { port, transport }.check(question.0, question.1, codes, answers);
        assert_eq!(once(check, address), *outcome, "{question:?} {codes:?} {answers:?} {address} {transport:?}");
    }
}

fn answers_until_it_hangs(port: u16, server: &Server) {
    for (transport, refused, silent) in [
        (Protocol::Udp, "port unreachable: nothing listens there", "sent, but no answer within 300ms"),
        (Protocol::Tcp, "connection refused", "connected, but no answer within 300ms"),
    ] {
        let asked = Asked { port, transport };
        server.hang();
        let mut bench = Bench::new(vec![asked.short(), Asked { port: nobody(V4), transport }.short()]);
        bench.ask(0, V4.parse().unwrap(), 1);
        bench.ask(1, V4.parse().unwrap(), 2);
        let (probe, outcome, _) = bench.next();
        assert_eq!((probe.run, outcome), (2, fail(refused)));
        let (probe, outcome, took) = bench.next();
        assert_eq!((probe.run, outcome), (1, timed_out(silent)));
        assert!((SHORT..SHORT + Duration::from_millis(500)).contains(&took), "{took:?}");
        server.go_on();
        assert_eq!(once(asked.check("www.example.test", Record::A, NOERROR, &[]), V4), pass("NOERROR, 1 answer"));
    }
}

#[test]
fn unbound_is_understood() {
    let port = nobody(V4);
    let number = |i| format!(" local-data: 'many.example.test. TXT \"number {i} of a hundred\"'\n");
    let many: String = (0..100).map(number).collect();
    let lines = format!(
        " local-zone: test. nodefault\n local-zone: example.test. static\n local-zone: refused.test. refuse\n{many}
         local-data: 'www.example.test. A 192.0.2.1'
         local-data: 'www.example.test. AAAA 2001:db8::1'
         local-data: 'two.example.test. A 192.0.2.1'
         local-data: 'two.example.test. A 192.0.2.2'
         local-data: 'example.test. SOA ns.example.test. admin.example.test. 2026 3600 600 86400 60'
         local-data: 'example.test. NS ns.example.test.'
         local-data: 'example.test. MX 10 mail.example.test.'
         local-data: 'example.test. CAA 0 issue \"ca.example\"'
         local-data: 'example.test. TXT \"v=spf1 \" \"-all\"'
         local-data: 'example.test. HTTPS 1 . alpn=h2'
         local-data: '_dns._udp.example.test. SRV 0 5 53 ns.example.test.'
         local-data: 'alias.example.test. CNAME www.example.test.'
         local-data: '1.2.0.192.in-addr.arpa. PTR www.example.test.'
         forward-zone:\n name: broken.test.\n forward-addr: 127.0.0.1@{}\n",
        nobody(V4)
    );
    let Some(unbound) = unbound(port, &lines) else { return };
    let one = pass("NOERROR, 1 answer");
    for (query, record, answer) in [
        ("www.example.test", Record::A, "192.0.2.1"),
        ("WWW.example.TEST", Record::A, "192.0.2.1"),
        ("www.example.test", Record::Aaaa, "2001:db8::1"),
        ("example.test", Record::Soa, "ns.example.test admin.example.test 2026 3600 600 86400 60"),
        ("example.test", Record::Ns, "ns.example.test"),
        ("example.test", Record::Mx, "10 mail.example.test"),
        ("example.test", Record::Mx, "mail.example.test"),
        ("example.test", Record::Caa, "0 issue ca.example"),
        ("example.test", Record::Txt, "v=spf1 -all"),
        ("example.test", Record::Https, "1 ."),
        ("_dns._udp.example.test", Record::Srv, "0 5 53 ns.example.test"),
        ("alias.example.test", Record::Cname, "www.example.test"),
        ("1.2.0.192.in-addr.arpa", Record::Ptr, "www.example.test"),
    ] {
        everywhere(port, (query, record), NOERROR, &[answer], &one);
        everywhere(port, (query, record), NOERROR, &[], &one);
    }
    let two = ("two.example.test", Record::A);
    everywhere(port, two, NOERROR, &["192.0.2.2", "192.0.2.1"], &pass("NOERROR, 2 answers"));
    let www = ("www.example.test", Record::A);
    let missing = fail("NOERROR, but no answer 192.0.2.9: 192.0.2.1");
    everywhere(port, www, NOERROR, &["192.0.2.1", "192.0.2.9"], &missing);
    everywhere(port, www, &[3], &[], &fail("NOERROR, expected NXDOMAIN"));
    let absent = ("absent.example.test", Record::A);
    everywhere(port, absent, NOERROR, &[], &fail("NXDOMAIN, expected NOERROR"));
    everywhere(port, absent, &[0, 3], &[], &pass("NXDOMAIN"));
    let empty = ("www.example.test", Record::Txt);
    everywhere(port, empty, NOERROR, &[], &pass("NOERROR, no answers"));
    everywhere(port, empty, NOERROR, &["x"], &fail("NOERROR, but no answer x: no answers"));
    everywhere(port, ("a.refused.test", Record::A), NOERROR, &[], &fail("REFUSED, expected NOERROR"));
    everywhere(port, ("a.broken.test", Record::A), NOERROR, &[], &fail("SERVFAIL, expected NOERROR"));
    let many = |transport, answers| {
        once(Asked { port, transport }.check("many.example.test", Record::Txt, NOERROR, answers), V4)
    };
    assert_eq!(many(Protocol::Tcp, &["number 99 of a hundred"]), pass("NOERROR, 100 answers"));
    let outcome = many(Protocol::Udp, &[]);
    assert!(matches!(&outcome, Outcome::Pass { detail } if detail.ends_with(", truncated")), "{outcome:?}");
    let words = "NOERROR, but no answer number 100 of a hundred: truncated, use transport = \"tcp\"";
    assert_eq!(many(Protocol::Udp, &["number 100 of a hundred"]), fail(words));
    answers_until_it_hangs(port, &unbound);
}

#[test]
fn dnsmasq_is_understood() {
    let port = nobody(V4);
    let records = [
        "host-record=www.example.test,192.0.2.1,2001:db8::1",
        "cname=alias.example.test,www.example.test",
        "mx-host=example.test,mail.example.test,10",
        "txt-record=example.test,v=spf1 -all",
        "srv-host=_dns._udp.example.test,www.example.test,53,0,5",
        "ptr-record=1.2.0.192.in-addr.arpa,www.example.test",
        "caa-record=example.test,0,issue,ca.example",
    ];
    let Some(dnsmasq) = dnsmasq(port, &records) else { return };
    for (query, record, answer) in [
        ("www.example.test", Record::A, "192.0.2.1"),
        ("www.example.test", Record::Aaaa, "2001:db8::1"),
        ("alias.example.test", Record::A, "192.0.2.1"),
        ("alias.example.test", Record::Cname, "www.example.test"),
        ("example.test", Record::Mx, "10 mail.example.test"),
        ("example.test", Record::Txt, "v=spf1 -all"),
        ("_dns._udp.example.test", Record::Srv, "0 5 53 www.example.test"),
        ("1.2.0.192.in-addr.arpa", Record::Ptr, "www.example.test"),
        ("example.test", Record::Caa, "0 issue ca.example"),
    ] {
        everywhere(port, (query, record), NOERROR, &[answer], &pass("NOERROR, 1 answer"));
    }
    everywhere(port, ("absent.example.test", Record::A), &[3], &[], &pass("NXDOMAIN"));
    everywhere(port, ("www.example.net", Record::A), NOERROR, &[], &fail("REFUSED, expected NOERROR"));
    answers_until_it_hangs(port, &dnsmasq);
}

#[test]
fn what_is_no_answer_to_the_question_is_not_heard() {
    let socket = UdpSocket::bind((V4, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut heard = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut heard) {
            let asked = heard[..length].to_vec();
            let say = |octets: &[u8]| assert_eq!(socket.send_to(octets, from).unwrap(), octets.len());
            // Its own question; SERVFAIL to another id, and to another name; nothing at all; then REFUSED.
            say(&asked);
            let mut answer = asked;
            [answer[0], answer[2], answer[3]] = [!answer[0], 0x81, 2];
            say(&answer);
            [answer[0], answer[13]] = [!answer[0], b'x'];
            say(&answer);
            say(b"");
            [answer[13], answer[3]] = [b'w', 5];
            say(&answer);
        }
    });
    let asked = Asked { port, transport: Protocol::Udp };
    assert_eq!(once(asked.check("www.example.test", Record::A, &[5], &[]), V4), pass("REFUSED"));
}

#[test]
fn servers_that_are_broken_or_hostile_are_told_apart() {
    let tcp = |serve: fn(TcpStream)| once(Asked { port: server(V4, serve), transport: Protocol::Tcp }.short(), V4);
    let closed = fail("connection closed without an answer");
    assert_eq!(tcp(hang), timed_out("connected, but no answer within 300ms"));
    let web: fn(TcpStream) = |stream| flood(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n", &[b'x'; 4096]);
    assert_eq!(tcp(web), fail("not an answer to the question"));
    let silent: fn(TcpStream) = |mut stream| assert!(stream.read(&mut [0; 512]).unwrap() > 0);
    assert_eq!(tcp(silent), closed);
    let half: fn(TcpStream) = |mut stream| {
        let mut asked = [0; 512];
        let length = stream.read(&mut asked).unwrap();
        stream.write_all(&asked[..length - 1]).unwrap();
    };
    assert_eq!(tcp(half), closed);
    let malformed: fn(TcpStream) = |mut stream| {
        let mut asked = [0; 512];
        let length = stream.read(&mut asked).unwrap();
        // An answer, with one answer whose name is of no known kind. The length stands in front.
        [asked[4], asked[9]] = [0x80, 1];
        asked[length - 11] = 0x40;
        stream.write_all(&asked[..length]).unwrap();
    };
    assert_eq!(tcp(malformed), fail("malformed answer"));
}

#[test]
fn a_service_is_asked_from_its_own_address() {
    for transport in BOTH {
        for address in ["192.0.2.99", "2001:db8::99"] {
            assert_eq!(once(Asked { port: 53, transport }.short(), address), Outcome::NoAddress);
        }
    }
}
