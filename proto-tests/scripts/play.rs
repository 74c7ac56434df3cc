//! Plays the author's lines of a script to a session, and writes down what it does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anycaster::Time;
use anycaster::bgp::connection::{Closed, ConnectionId};
use anycaster::bgp::session::{Action, PeerAsn, Received, Session, Settings};
use anycaster::bgp::wire::{self, Attributes, Families, Family, Notification, Origin};

use bytes::{Bytes, BytesMut};

use crate::coverage::Seen;
use crate::words::{CODEC, end_of_rib, family, message, said};

/// Who speaks in an author's line. What `raw` and `again` say goes past the session; `tor`, `await` and `table` are about the router.
const AUTHORS: [&str; 8] = ["we", "peer", "raw", "again", "tor", "await", "table", "end"];

pub(crate) struct Play {
    session: Session,
    now: Time,
    connection: ConnectionId,
    /// Comments belong to the author's line that follows them.
    held: String,
    /// The peer reads nothing, so nothing counts as written.
    stalled: bool,
    unwritten: usize,
    pub(crate) text: String,
    pub(crate) seen: Seen,
    /// What the session asked of `io` since this was last emptied.
    pub(crate) asked: Vec<Action>,
}

impl Play {
    pub(crate) fn new() -> Self {
        Self {
            session: Session::new(settings(&BTreeMap::new())),
            now: Time::default(),
            connection: ConnectionId(0),
            held: String::new(),
            stalled: false,
            unwritten: 0,
            text: String::new(),
            seen: Seen::default(),
            asked: Vec::new(),
        }
    }

    /// The whole script as it is played now.
    pub(crate) fn whole(script: &str) -> Self {
        let mut play = Self::new();
        script.lines().for_each(|line| play.feed(line));
        play.text += &std::mem::take(&mut play.held);
        play
    }

    pub(crate) fn feed(&mut self, line: &str) {
        let (plain, comment) = line.split_once("  # ").map_or((line, None), |(plain, said)| (plain, Some(said)));
        let words: Vec<&str> = plain.split_whitespace().collect();
        match words.as_slice() {
            [] => self.held.push('\n'),
            [word, ..] if word.starts_with('#') => self.held += &format!("{line}\n"),
            ["with", pairs @ ..] => {
                self.session = Session::new(settings(&keys(pairs)));
                self.held += &format!("{line}\n");
            }
            [at, who, words @ ..] if AUTHORS.contains(who) => {
                self.run_until(moment(at));
                self.text += &std::mem::take(&mut self.held);
                let comment = comment.map_or(String::new(), |said| format!("  # {said}"));
                self.say(&format!("{who:<6}{}{comment}", words.join(" ")));
                let before = self.state();
                self.author(who, words);
                self.drain();
                self.seen.event(before, who, words);
            }
            // What the session did last time: said anew.
            _ => {}
        }
    }

    /// The time as a line begins.
    pub(crate) fn now(&self) -> String {
        at(self.now)
    }

    /// Idle until somebody starts it is called Stopped here.
    pub(crate) fn state(&self) -> &'static str {
        match self.session.status() {
            status if status.state == "Idle" && status.retry_at.is_none() => "Stopped",
            status => status.state,
        }
    }

    fn run_until(&mut self, moment: Time) {
        assert!(moment >= self.now, "time goes backwards at {}", at(moment));
        while self.session.deadline() <= moment {
            let deadline = self.session.deadline();
            self.now = self.now.max(deadline);
            let before = self.state();
            self.session.tick(self.now);
            self.drain();
            self.seen.timer(before);
            assert_ne!(self.session.deadline(), deadline, "the deadline did not move");
        }
        self.now = moment;
    }

    fn author(&mut self, who: &str, words: &[&str]) {
        match (who, words) {
            ("we", words) => self.we(words),
            ("peer", words) => self.peer(words),
            ("again", ["close" | "reset"]) => self.session.closed(self.now, SECOND, &Closed::ByPeer),
            ("again", words) => self.session.received(self.now, SECOND, &message(words)),
            ("raw", words) => drop(message(words)),
            ("tor" | "await" | "table", _) | ("end", []) => {}
            unknown => panic!("{unknown:?}"),
        }
    }

    fn we(&mut self, words: &[&str]) {
        let now = self.now;
        match words {
            ["start"] => self.session.start(now, Ipv4Addr::new(10, 0, 0, 10)),
            ["stop", text @ ..] => self.session.stop(now, Notification::administrative_shutdown(&text.join(" "))),
            ["send", "eor", family @ ..] => {
                let family = family.first().map_or(Family::Ipv4, |name| self::family(name));
                self.session.send(now, end_of_rib(family).into(), 1);
            }
            ["mark", family, end] => {
                let subtype = if *end == "begin" { 1 } else { 2 };
                self.session.send(now, wire::route_refresh(self::family(family), subtype), 1);
            }
            ["announce", prefixes @ ..] => self.announce(prefixes),
            ["withdraw", prefixes @ ..] => {
                let prefixes: Vec<_> = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
                let mut out = BytesMut::new();
                wire::withdraw(&prefixes, false, &mut out);
                self.session.send(now, out.freeze(), 1);
            }
            // For the recorder: what the session says from here on goes nowhere; it dials once more beside the session.
            ["fall", "silent"] | ["dial", "again"] => {}
            unknown => panic!("we {unknown:?}"),
        }
    }

    /// One UPDATE for each prefix.
    fn announce(&mut self, prefixes: &[&str]) {
        let attributes = Attributes {
            origin: Origin::Igp,
            as_path: vec![4_200_000_001.try_into().unwrap()],
            med: None,
            local_preference: None,
            communities: Vec::new(),
            large_communities: Vec::new(),
            link_bandwidth: None,
        };
        // Without a session the routes stay where they are.
        let Some(negotiated) = self.session.status().negotiated else { return };
        for prefix in prefixes {
            let prefix = prefix.parse().unwrap();
            let next_hop = match Family::of(&prefix) {
                Family::Ipv4 => IpAddr::from([10, 0, 0, 10]),
                Family::Ipv6 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x10).into(),
            };
            let mut out = BytesMut::new();
            wire::announce(&attributes, next_hop, &[prefix], &negotiated.codec, &mut out);
            self.session.send(self.now, out.freeze(), 1);
        }
    }

    fn peer(&mut self, words: &[&str]) {
        let (now, connection) = (self.now, self.connection);
        let gone = match words {
            ["accept"] => {
                self.unwritten = 0;
                return self.session.connected(now, connection, "10.0.0.10:40000".parse().unwrap());
            }
            ["stall"] => return self.stalled = true,
            ["take", octets] => {
                let octets = octets.parse().unwrap();
                self.unwritten -= octets;
                return self.session.written(now, connection, octets);
            }
            ["refuse"] => Closed::Refused("Connection refused (os error 111)".to_owned()),
            ["unreachable"] => Closed::Refused("No route to host (os error 113)".to_owned()),
            ["close"] => Closed::ByPeer,
            ["reset"] => Closed::Failed("Connection reset by peer (os error 104)".to_owned()),
            words => return self.session.received(now, connection, &message(words)),
        };
        self.session.closed(now, connection, &gone);
    }

    fn drain(&mut self) {
        while let Some(action) = self.session.poll() {
            self.seen.action(&action);
            self.asked.push(action.clone());
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
                self.take(&bytes);
                let codec = self.session.status().negotiated.map_or(CODEC, |both| both.codec);
                format!("us    {}", said(&bytes, &codec))
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
            Action::Received(Received::Update { malformed, .. }) if !malformed.is_empty() => {
                malformed.iter().fold("malformed".to_owned(), |mut all, one| {
                    let _ = write!(all, "; attribute {}: {} ({:?})", one.attribute, one.why, one.disposition);
                    all
                })
            }
            Action::Received(_) | Action::Sent { .. } => return None,
        })
    }

    /// A peer that does not stall takes everything at once.
    fn take(&mut self, bytes: &Bytes) {
        if self.stalled {
            self.unwritten += bytes.len();
        } else {
            self.session.written(self.now, self.connection, bytes.len());
        }
    }
}

/// A connection that is not the session's.
const SECOND: ConnectionId = ConnectionId(u64::MAX);

fn keys<'a>(pairs: &[&'a str]) -> BTreeMap<&'a str, &'a str> {
    pairs.iter().map(|pair| pair.split_once('=').unwrap()).collect()
}

fn settings(keys: &BTreeMap<&str, &str>) -> Settings {
    let number = |key: &str, default: u64| keys.get(key).map_or(default, |v| v.parse().unwrap());
    let span = |key: &str, default| Duration::from_secs(number(key, default));
    let small = |key: &str, default| u16::try_from(number(key, default)).unwrap();
    let asn = |key: &str, default| u32::try_from(number(key, default)).unwrap().try_into().unwrap();
    let speaks = |family| keys.get("families").is_none_or(|only| *only == family);
    Settings {
        name: "tor-a".to_owned(),
        peer_asn: match keys.get("peer-as") {
            Some(&"external") => PeerAsn::External,
            Some(&"internal") => PeerAsn::Internal,
            _ => PeerAsn::Is(asn("peer-as", 65001)),
        },
        local_asn: asn("as", 4_200_000_001),
        address: "10.0.0.1:179".parse().unwrap(),
        families: Families { ipv4: speaks("ipv4"), ipv6: speaks("ipv6") },
        hold_time: small("hold", 9),
        min_hold_time: small("min-hold", 3),
        connect_retry: span("retry", 5),
        idle_hold: span("idle-hold", 1),
        idle_hold_max: span("idle-hold-max", 60),
        send_hold_time: keys.contains_key("send-hold").then(|| span("send-hold", 0)),
        extended_next_hop: false,
        connections: 1,
        seed: 1,
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
