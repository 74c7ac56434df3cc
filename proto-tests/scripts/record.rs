//! A scenario with a real router: a real session over TCP, the router's words written down as the script's `peer` lines.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anycaster::bgp::session::Action;
use socket2::{Domain, Socket, Type};

use crate::lab::namespace::Namespace;
use crate::play::Play;
use crate::tor::{self, Table, Tor};
use crate::words::{message, words};

/// Longer than any router takes for anything here: the longest is a hold time of 3 s, which BIRD makes 4.5.
const PATIENCE: Duration = Duration::from_secs(12);

pub(crate) struct Recorder<'a> {
    play: Play,
    tor: &'a dyn Tor,
    host: &'a Namespace,
    source: SocketAddr,
    line: Option<Line>,
    /// The second connection.
    again: Option<Line>,
    /// Our OPEN, for the second connection.
    open: Vec<u8>,
    silent: bool,
    table: &'a Table<'a>,
}

impl<'a> Recorder<'a> {
    /// `number`: of the host, and so of the router's neighbor.
    pub(crate) fn record(
        tor: &'a dyn Tor,
        table: &'a Table<'a>,
        host: &'a Namespace,
        number: usize,
        scenario: &str,
    ) -> String {
        let source = SocketAddr::new(tor::address(number).parse().unwrap(), 0);
        let play = Play::new();
        let mut recorder =
            Self { play, tor, host, source, line: None, again: None, open: Vec::new(), silent: false, table };
        for line in scenario.lines() {
            recorder.play.feed(line);
            if line.ends_with(" end") {
                break;
            }
            recorder.obey();
            let plain = line.split("  # ").next().unwrap_or_default();
            match plain.split_whitespace().collect::<Vec<_>>().as_slice() {
                [at, ..] if !at.starts_with('+') => {}
                [_, "tor", words @ ..] => tor.tell(number, words),
                [_, "raw", words @ ..] => send(recorder.line.as_mut(), &message(words)),
                [_, "we", "fall", "silent"] => recorder.silent = true,
                [_, "we", "dial", "again"] => {
                    recorder.again = recorder.connect();
                    send(recorder.again.as_mut(), &recorder.open);
                }
                [_, "await", "again"] => recorder.await_again(),
                [_, "await", "table", prefixes @ ..] => recorder.await_table(number, prefixes),
                [_, "await", words @ ..] => recorder.listen(words),
                _ => {}
            }
        }
        std::mem::take(&mut recorder.play.text)
    }

    /// Does what the session asks for.
    fn obey(&mut self) {
        loop {
            let asked = std::mem::take(&mut self.play.asked);
            if asked.is_empty() {
                return;
            }
            for action in asked {
                match action {
                    Action::Dial { .. } => {
                        self.line = self.connect();
                        self.heard("peer", if self.line.is_some() { "accept" } else { "refuse" });
                    }
                    Action::Send { bytes, .. } => {
                        if bytes[18] == 1 {
                            self.open = bytes.to_vec();
                        }
                        if !self.silent {
                            send(self.line.as_mut(), &bytes);
                        }
                    }
                    Action::Close { .. } => self.line = None,
                    Action::Up(_)
                    | Action::Down { .. }
                    | Action::Failed { .. }
                    | Action::Refresh { .. }
                    | Action::Flushed { .. }
                    | Action::Received(_)
                    | Action::Sent { .. } => {}
                }
            }
        }
    }

    fn connect(&self) -> Option<Line> {
        let connected = self.host.within(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&self.source.into())?;
            socket.connect_timeout(&SocketAddr::new(tor::ROUTER.parse().unwrap(), 179).into(), PATIENCE)?;
            std::io::Result::Ok(TcpStream::from(socket))
        });
        let stream = connected.ok()?;
        stream.set_nodelay(true).unwrap();
        Some(Line { stream, inbox: Vec::new() })
    }

    fn heard(&mut self, who: &str, words: &str) {
        let line = format!("{} {who} {words}", self.play.now());
        self.play.feed(&line);
        self.obey();
    }

    /// Until a line of the router's has each of these words in it, or the connection is over.
    fn listen(&mut self, words: &[&str]) {
        let begin = self.play.text.len();
        if words == ["ipv4-routes", "ipv6-routes"] && self.tor.shuffles() {
            return self.listen_in_any_order();
        }
        let words: Vec<&str> = words.iter().flat_map(|word| self.tor.meaning(word).unwrap_or(vec![*word])).collect();
        loop {
            let said: Vec<&str> = self.play.text[begin..].lines().filter(|line| line.contains(" peer  ")).collect();
            let told = |word: &&str| match *word {
                "up" => self.play.state() == "Established",
                "over" => false,
                word => said.iter().any(|line| format!("{line} ").contains(word)),
            };
            if words.iter().all(told) || !self.hear(PATIENCE, &words) {
                return;
            }
        }
    }

    /// Two UPDATEs, or the end; written down in the order of their octets.
    fn listen_in_any_order(&mut self) {
        let mut heard = Vec::new();
        while let Some(line) = &mut self.line
            && heard.len() < 2
        {
            let said = line.next(PATIENCE);
            let said = said.unwrap_or_else(|| panic!("waited {PATIENCE:?} for its routes:\n{}", self.play.text));
            match said.as_str() {
                noise if self::noise(noise) => {}
                "close" => {
                    self.line = None;
                    heard.push(said);
                }
                _ => heard.push(said),
            }
        }
        heard.sort();
        heard.iter().for_each(|said| self.heard("peer", said));
    }

    /// The next message or end; false where the connection is over already, or nothing came.
    fn hear(&mut self, within: Duration, words: &[&str]) -> bool {
        let Some(line) = &mut self.line else { return false };
        let Some(heard) = line.next(within) else {
            assert!(within < PATIENCE, "waited {within:?} for {words:?}:\n{}", self.play.text);
            return false;
        };
        if self.play.state() == "Established" && noise(&heard) {
            return true;
        }
        if heard == "close" {
            self.line = None;
        }
        self.heard("peer", &heard);
        true
    }

    /// Until the router has these routes of ours, or the connection is over; then writes down which it has.
    fn await_table(&mut self, number: usize, prefixes: &[&str]) {
        let start = Instant::now();
        let mut pause = Duration::from_millis(20);
        while self.line.is_some() {
            while self.hear(Duration::from_millis(1), prefixes) {}
            let has = self.table.routes_of(number);
            if prefixes.iter().all(|prefix| has.contains(prefix)) {
                // A table is read prefix by prefix: once more, so that all of it is from after that moment.
                let has = self.table.routes_of(number);
                return self.heard("table", &has.join(" "));
            }
            assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {prefixes:?}:\n{}", self.play.text);
            while self.hear(pause, prefixes) {}
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// Until the second connection is over.
    fn await_again(&mut self) {
        while let Some(line) = &mut self.again {
            let heard = line.next(PATIENCE);
            let heard = heard.unwrap_or_else(|| panic!("nothing on the second connection:\n{}", self.play.text));
            if heard == "close" {
                self.again = None;
            }
            self.heard("again", &heard);
        }
    }
}

/// KEEPALIVEs, as their number is a matter of time, and GoBGP's withdraws of what it never announced here: the routes of
/// the other scenarios' hosts.
fn noise(heard: &str) -> bool {
    heard == "KEEPALIVE" || ["withdraws 192.0.2.", "withdraws 2001:db8::5"].iter().any(|words| heard.contains(words))
}

/// Errors show when the router's side is read.
fn send(line: Option<&mut Line>, bytes: &[u8]) {
    if let Some(line) = line {
        let _ = line.stream.write_all(bytes);
    }
}

struct Line {
    stream: TcpStream,
    inbox: Vec<u8>,
}

impl Line {
    /// One message in words, or "close": whether with a FIN or a RST is a matter of who was faster.
    fn next(&mut self, within: Duration) -> Option<String> {
        let start = Instant::now();
        loop {
            if let Some(whole) = self.whole() {
                return Some(words(&whole));
            }
            let left = within.checked_sub(start.elapsed()).filter(|left| !left.is_zero())?;
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Some("close".to_owned()),
                Ok(length) => self.inbox.extend(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Some("close".to_owned()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn whole(&mut self) -> Option<Vec<u8>> {
        let &[high, low] = self.inbox.get(16..18)? else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        (self.inbox.len() >= length).then(|| self.inbox.drain(..length).collect())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
