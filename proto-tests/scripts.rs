//! Whole conversations with one neighbor, as texts in `scripts/` that a network engineer reads.
//!
//! Lines of `peer`, `we`, `with` and `end`, comments and blank lines are the author's; every other line is what the
//! session did, and the file is compared whole with what it does now. `BLESS=1` writes it down.
//!
//! ```text
//! with  hold=9 retry=5                            settings that differ from the defaults
//! +0.0  we    start | stop TEXT | send eor | mark FAMILY begin|end       the operator, and the routes
//! +0.0  peer  accept | refuse | close | reset     TCP
//! +0.0  peer  OPEN as=65001 hold=90 id=10.0.0.1 [caps=none]
//! +0.0  peer  KEEPALIVE | NOTIFICATION 6/2 [TEXT] | REFRESH ipv4 [SUBTYPE] | EOR | bytes HEX
//! +0.0  end                                       of the script, later than everything of interest
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reads its own files, whether to bless them, and stops at a script it does not understand"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anycaster::Time;
use anycaster::bgp::session::{Action, Session, Settings};
use anycaster::bgp::wire::{self, Capabilities, Codec, Family, Message, Notification, Open};
use anycaster::config::{Families, PeerAsn};
use anycaster::engine::{Closed, ConnectionId};
use bytes::{Bytes, BytesMut};

/// RFC 4724 §2, for IPv4: an UPDATE with nothing in it.
const END_OF_RIB: [u8; 23] =
    [255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 23, 2, 0, 0, 0, 0];

#[test]
fn every_script_is_what_the_session_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto-tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 12, "{} scripts in {}", paths.len(), folder.display());
    let mut differing = Vec::new();
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let played = Play::run(&script);
        if played == script {
            continue;
        }
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, played).unwrap();
        } else {
            differing.push(format!("{}\n{}", path.display(), difference(&script, &played)));
        }
    }
    assert!(differing.is_empty(), "BLESS=1 accepts this:\n{}", differing.join("\n"));
}

/// The first line that differs, with what was played from there on.
fn difference(script: &str, played: &str) -> String {
    let same = script.lines().zip(played.lines()).take_while(|(a, b)| a == b).count();
    let rest = |text: &str, mark: &str| {
        text.lines().skip(same).take(8).fold(String::new(), |mut all, line| {
            let _ = writeln!(all, "{mark} {line}");
            all
        })
    };
    format!("{}{}", rest(script, "-"), rest(played, "+"))
}

struct Play {
    session: Session,
    now: Time,
    connection: ConnectionId,
    text: String,
}

impl Play {
    fn run(script: &str) -> String {
        let mut play = Self {
            session: Session::new(settings(&BTreeMap::new())),
            now: Time::default(),
            connection: ConnectionId(0),
            text: String::new(),
        };
        // Comments belong to the author's line that follows them.
        let mut held = String::new();
        for line in script.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => held.push('\n'),
                [word, ..] if word.starts_with('#') => held += &format!("{line}\n"),
                ["with", pairs @ ..] => {
                    play.session = Session::new(settings(&keys(pairs)));
                    held += &format!("{line}\n");
                }
                [at, rest @ ("end" | "we" | "peer"), words @ ..] => {
                    play.run_until(moment(at));
                    play.text += &std::mem::take(&mut held);
                    play.say(&format!("{rest:<6}{}", words.join(" ")));
                    play.author(rest, words);
                    play.drain();
                }
                // What the session did last time: said anew.
                _ => {}
            }
        }
        play.text += &held;
        play.text
    }

    fn run_until(&mut self, moment: Time) {
        assert!(moment >= self.now, "time goes backwards at {}", at(moment));
        while self.session.deadline() <= moment {
            let deadline = self.session.deadline();
            self.now = self.now.max(deadline);
            self.session.tick(self.now);
            self.drain();
            assert_ne!(self.session.deadline(), deadline, "the deadline did not move");
        }
        self.now = moment;
    }

    fn author(&mut self, who: &str, words: &[&str]) {
        let (now, connection) = (self.now, self.connection);
        match (who, words) {
            ("end", []) => {}
            ("we", ["start"]) => self.session.start(now, Ipv4Addr::new(10, 0, 0, 10)),
            ("we", ["stop", text @ ..]) => {
                let cease = Notification::administrative_shutdown(&text.join(" "));
                self.session.stop(now, cease);
            }
            ("we", ["send", "eor"]) => {
                self.session.send(now, Bytes::from_static(&END_OF_RIB), 1);
            }
            ("we", ["mark", family, end]) => {
                let subtype = if *end == "begin" { 1 } else { 2 };
                self.session.send(now, wire::route_refresh(self::family(family), subtype), 1);
            }
            ("peer", ["accept"]) => {
                self.session.connected(now, connection, "10.0.0.10:40000".parse().unwrap());
            }
            ("peer", ["refuse"]) => {
                let why = Closed::Refused("Connection refused (os error 111)".to_owned());
                self.session.closed(now, connection, &why);
            }
            ("peer", ["close"]) => self.session.closed(now, connection, &Closed::ByPeer),
            ("peer", ["reset"]) => {
                let why = Closed::Failed("Connection reset by peer (os error 104)".to_owned());
                self.session.closed(now, connection, &why);
            }
            ("peer", message) => {
                self.session.received(now, connection, &peer_message(message));
            }
            unknown => panic!("{unknown:?}"),
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.session.poll() {
            if let Some(line) = self.line(action) {
                self.say(&line);
            }
        }
    }

    fn say(&mut self, line: &str) {
        self.text += format!("{:<9} {line}", at(self.now)).trim_end();
        self.text.push('\n');
    }

    fn line(&mut self, action: Action) -> Option<String> {
        let until = || match self.session.status() {
            status if status.retry_at.is_none() => status.state.to_owned(),
            status => format!("{} until {}", status.state, at(status.retry_at.unwrap())),
        };
        Some(match action {
            Action::Dial { connection, .. } => {
                self.connection = connection;
                "us    dial".to_owned()
            }
            Action::Send { connection, bytes } => {
                assert_eq!(connection, self.connection);
                // The peer takes everything at once.
                self.session.written(self.now, connection, bytes.len());
                format!("us    {}", said(bytes))
            }
            Action::Close { connection } => {
                assert_eq!(connection, self.connection);
                "hangup".to_owned()
            }
            Action::Up(negotiated) => {
                format!(
                    "up    hold={} [{}]",
                    negotiated.hold_time.map_or("none".to_owned(), |hold| hold.as_secs().to_string()),
                    self.session.status().capabilities.join(" ")
                )
            }
            Action::Down { why } => format!("down  {why}; {}", until()),
            Action::Failed { why } => format!("fail  {why}; {}", until()),
            Action::Refresh { family } => format!("wants all {} routes again", family.name()),
            Action::Flushed { mark } => format!("flushed {mark}"),
            Action::Received(_) | Action::Sent { .. } => return None,
        })
    }
}

fn keys<'a>(pairs: &[&'a str]) -> BTreeMap<&'a str, &'a str> {
    pairs.iter().map(|pair| pair.split_once('=').unwrap()).collect()
}

fn settings(keys: &BTreeMap<&str, &str>) -> Settings {
    let number = |key: &str, default: u64| keys.get(key).map_or(default, |v| v.parse().unwrap());
    let span = |key: &str, default| Duration::from_secs(number(key, default));
    let small = |key: &str, default| u16::try_from(number(key, default)).unwrap();
    let asn = |key: &str, default| u32::try_from(number(key, default)).unwrap().try_into().unwrap();
    Settings {
        name: "tor-a".to_owned(),
        peer_asn: PeerAsn::Is(asn("peer-as", 65001)),
        local_asn: asn("as", 4_200_000_001),
        address: "10.0.0.1:179".parse().unwrap(),
        families: Families { ipv4: true, ipv6: true },
        hold_time: small("hold", 9),
        min_hold_time: small("min-hold", 3),
        connect_retry: span("retry", 5),
        idle_hold: span("idle-hold", 1),
        idle_hold_max: span("idle-hold-max", 60),
        send_hold_time: None,
        extended_next_hop: false,
        connections: 1,
        seed: 1,
    }
}

fn peer_message(words: &[&str]) -> Vec<u8> {
    match words {
        ["OPEN", pairs @ ..] => wire::open(&peer_open(&keys(pairs))).to_vec(),
        ["KEEPALIVE"] => wire::keepalive().to_vec(),
        ["EOR"] => END_OF_RIB.to_vec(),
        ["NOTIFICATION", numbers, text @ ..] => {
            let (code, subcode) = numbers.split_once('/').unwrap();
            let (code, subcode) = (code.parse().unwrap(), subcode.parse().unwrap());
            let mut notification = Notification::new(code, subcode, Vec::new());
            if !text.is_empty() {
                notification.data = Notification::administrative_shutdown(&text.join(" ")).data;
            }
            wire::notification(&notification).to_vec()
        }
        ["REFRESH", family, subtype @ ..] => {
            let subtype = subtype.first().map_or(0, |s| s.parse().unwrap());
            wire::route_refresh(self::family(family), subtype).to_vec()
        }
        ["bytes", hex @ ..] => {
            let hex = hex.concat();
            (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
        }
        unknown => panic!("{unknown:?}"),
    }
}

fn family(name: &str) -> Family {
    Family::ALL.into_iter().find(|family| family.name() == name).unwrap()
}

fn peer_open(keys: &BTreeMap<&str, &str>) -> Open {
    let asn = keys["as"].parse().unwrap();
    let all = Capabilities {
        families: Family::ALL.to_vec(),
        multiprotocol: true,
        route_refresh: true,
        four_octet_asn: Some(asn),
        enhanced_route_refresh: true,
        ..Capabilities::default()
    };
    Open {
        version: 4,
        asn,
        hold_time: keys["hold"].parse().unwrap(),
        id: keys["id"].parse().unwrap(),
        capabilities: match keys.get("caps") {
            None => all,
            Some(&"none") => Capabilities::default(),
            Some(unknown) => panic!("{unknown}"),
        },
    }
}

fn said(bytes: Bytes) -> String {
    let mut buffer = BytesMut::from(&bytes[..]);
    let codec = Codec { four_octet_asn: true, extended_message: false, extended_next_hop: false, internal: false };
    let frame = wire::frame(&mut buffer, wire::MAX_MESSAGE).unwrap().unwrap();
    assert!(buffer.is_empty(), "two messages in one");
    match wire::decode(&frame, &codec).unwrap() {
        Message::Open(open) => {
            format!("OPEN as={} hold={} id={}", open.asn, open.hold_time, open.id)
        }
        Message::Keepalive => "KEEPALIVE".to_owned(),
        Message::Notification(said) => {
            let data: String = said.data.iter().map(|octet| format!("{octet:02x}")).collect();
            let plain = data.is_empty() || said.shutdown_text().is_some();
            let data = if plain { String::new() } else { format!(" data={data}") };
            format!("NOTIFICATION {}/{}{data} {said}", said.code, said.subcode)
        }
        Message::Update(update) => match update.end_of_rib {
            Some(family) => format!("UPDATE end of {} routes", family.name()),
            None => panic!("{update:?}"),
        },
        Message::RouteRefresh(refresh) => {
            format!("ROUTE-REFRESH {} {}", refresh.family.unwrap().name(), refresh.subtype)
        }
    }
}

fn moment(word: &str) -> Time {
    let seconds: f64 = word.strip_prefix('+').unwrap().parse().unwrap();
    Time::default() + Duration::from_secs_f64(seconds)
}

/// "+9.0", "+9.125": to the millisecond.
fn at(time: Time) -> String {
    let milliseconds = time.as_nanos() / 1_000_000;
    let text = format!("+{}.{:03}", milliseconds / 1000, milliseconds % 1000);
    let cut = text.trim_end_matches('0');
    if cut.ends_with('.') { format!("{cut}0") } else { cut.to_owned() }
}
