//! TCP connections and the BGP messages in them.
//!
//! ```text
//!   segment -> Side (in order) -> Framing (whole messages) -> bgp::message as this Session reads it -> Entry
//! ```

use std::collections::{BTreeMap, VecDeque};

use super::bgp::{self, Session};
use super::entry::{Endpoint, Entry, Field, Kind, Reply, Said};
use super::framing::{Found, Framing};
use super::tcp::{ACK, FIN, Piece, RST, SYN, Segment, Side};
use super::{Fault, Seen};

/// A router has tens of sessions; a scan of port 179 must not cost more than this.
pub(super) const MAX_CONNECTIONS: usize = 1024;

/// Of all connections together, waiting for what came too late: damaged or hostile captures stop here.
const MAX_PENDING: usize = 64 << 20;

type Key = (Endpoint, Endpoint);

#[derive(Default, Debug)]
pub(super) struct Connections {
    open: BTreeMap<Key, Connection>,
    /// So far: they are numbered.
    count: u64,
    pending: usize,
}

/// Direction 0 is from the smaller endpoint to the larger one.
#[derive(Debug)]
struct Connection {
    number: u64,
    key: Key,
    sides: [Side; 2],
    framings: [Framing; 2],
    session: Session,
    /// Each side said so.
    closed: [bool; 2],
    reset: bool,
    /// The frame that last had something of it.
    used: u64,
}

impl Connections {
    pub(super) fn take(
        &mut self,
        seen: &Seen,
        segment: &Segment<'_>,
        missing: usize,
        from: Endpoint,
        to: Endpoint,
        out: &mut VecDeque<Entry>,
    ) {
        let (key, direction) = if from <= to { ((from, to), 0) } else { ((to, from), 1) };
        let first_of_all = segment.flags & (SYN | ACK) == SYN;
        let again = self.open.get(&key).is_some_and(|connection| {
            first_of_all && !connection.sides.get(direction).is_some_and(|side| side.began_with(segment.sequence))
        });
        if again {
            self.close(seen, &key, out);
        }
        if !self.open.contains_key(&key) {
            if segment.flags & SYN == 0 && segment.data.is_empty() {
                return;
            }
            self.make_room(seen, out);
            self.count += 1;
            let connection = Connection::new(self.count, key, seen.frame);
            let headline = if segment.flags & SYN == 0 { "goes on from before the capture" } else { "opened" };
            out.push_back(connection.event(seen, direction, headline));
            self.open.insert(key, connection);
        }
        let Some(connection) = self.open.get_mut(&key) else { return };
        let before = connection.pending();
        connection.take(seen, segment, missing, direction, out);
        let after = connection.pending();
        self.pending = (self.pending + after).saturating_sub(before);
        if self.pending > MAX_PENDING {
            self.pending = self.pending.saturating_sub(after);
            connection.flush(seen, out);
        }
    }

    /// The one that was silent for longest goes.
    fn make_room(&mut self, seen: &Seen, out: &mut VecDeque<Entry>) {
        if self.open.len() >= MAX_CONNECTIONS
            && let Some(key) = self.open.values().min_by_key(|connection| connection.used).map(|oldest| oldest.key)
        {
            self.close(seen, &key, out);
        }
    }

    fn close(&mut self, seen: &Seen, key: &Key, out: &mut VecDeque<Entry>) {
        if let Some(mut connection) = self.open.remove(key) {
            self.pending = self.pending.saturating_sub(connection.pending());
            connection.flush(seen, out);
        }
    }

    /// So far, and open now.
    #[cfg(test)]
    pub(super) fn count(&self) -> (u64, usize) {
        (self.count, self.open.len())
    }

    /// The capture is over.
    pub(super) fn finish(&mut self, seen: &Seen, out: &mut VecDeque<Entry>) {
        let mut left: Vec<Connection> = std::mem::take(&mut self.open).into_values().collect();
        left.sort_by_key(|connection| connection.number);
        for connection in &mut left {
            connection.flush(seen, out);
        }
    }
}

impl Connection {
    fn new(number: u64, key: Key, frame: u64) -> Self {
        Self {
            number,
            key,
            sides: Default::default(),
            framings: Default::default(),
            session: Session::default(),
            closed: [false; 2],
            reset: false,
            used: frame,
        }
    }

    fn pending(&self) -> usize {
        self.sides.iter().map(Side::pending_octets).sum()
    }

    fn take(
        &mut self,
        seen: &Seen,
        segment: &Segment<'_>,
        missing: usize,
        direction: usize,
        out: &mut VecDeque<Entry>,
    ) {
        self.used = seen.frame;
        let mut sequence = segment.sequence;
        let mut pieces = Vec::new();
        if let (Some(side), Some(framing)) = (self.sides.get_mut(direction), self.framings.get_mut(direction)) {
            if segment.flags & SYN != 0 {
                if !side.began_with(sequence) {
                    side.begin(sequence);
                    framing.begin();
                }
                sequence = sequence.wrapping_add(1);
            }
            side.take(sequence, segment.data, missing, &mut pieces);
        }
        self.read(seen, direction, pieces, out);
        let other = 1 - direction;
        if segment.flags & ACK != 0 {
            let mut pieces = Vec::new();
            if let Some(side) = self.sides.get_mut(other) {
                side.acknowledged(segment.acknowledged, seen.at.unwrap_or_default(), &mut pieces);
            }
            self.read(seen, other, pieces, out);
        }
        if segment.flags & RST != 0 && !self.reset {
            self.reset = true;
            out.push_back(self.event(seen, direction, "reset (RST)"));
        }
        let closed = self
            .closed
            .get_mut(direction)
            .is_some_and(|closed| !std::mem::replace(closed, segment.flags & FIN != 0 || *closed));
        if closed && segment.flags & FIN != 0 {
            out.push_back(self.event(seen, direction, "closed (FIN)"));
        }
    }

    fn read(&mut self, seen: &Seen, direction: usize, pieces: Vec<Piece>, out: &mut VecDeque<Entry>) {
        for piece in pieces {
            match piece {
                Piece::Octets(octets) => {
                    if let Some(framing) = self.framings.get_mut(direction) {
                        framing.extend(&octets);
                    }
                    self.messages(seen, direction, out);
                }
                Piece::Missing(octets) => {
                    let cut = self.framings.get_mut(direction).and_then(Framing::interrupt);
                    out.extend(cut.map(|cut| self.found(seen, direction, cut)));
                    out.push_back(self.event(seen, direction, &format!("{octets} octets are not in the capture")));
                }
            }
        }
    }

    fn messages(&mut self, seen: &Seen, direction: usize, out: &mut VecDeque<Entry>) {
        loop {
            let limit = self.session.limit();
            let Some(found) = self.framings.get_mut(direction).and_then(|framing| framing.next(limit)) else { return };
            out.push_back(self.found(seen, direction, found));
        }
    }

    fn found(&mut self, seen: &Seen, direction: usize, found: Found) -> Entry {
        match found {
            Found::Message(frame) => {
                if frame.kind == bgp::kind::OPEN {
                    self.session.heard(direction, bgp::offer(&frame.body));
                }
                let said = bgp::message(&frame, &self.session.view(direction));
                self.entry(seen, direction, said)
            }
            Found::BadHeader { kind, body, reply } => self.entry(seen, direction, bgp::bad_header(kind, &body, reply)),
            Found::NoMarker(reply) => {
                let mut said = Said::plain(Kind::UnknownBgp);
                said.headline = "no marker where a message should begin".to_owned();
                said.faults.push(Fault { at: Some(0), what: "no marker".to_owned(), reply: Reply::Reset(reply) });
                self.entry(seen, direction, said)
            }
            Found::Skipped(octets) => {
                self.event(seen, direction, &format!("{octets} octets before the next whole message are not shown"))
            }
            Found::Cut { kind, there, length } => {
                let of = length.map_or_else(String::new, |length| format!(" of {length}"));
                let what = kind.map_or("a message", bgp::kind_name);
                self.event(seen, direction, &format!("ends inside {what}: {there}{of} octets are there"))
            }
        }
    }

    /// Nothing more will come.
    fn flush(&mut self, seen: &Seen, out: &mut VecDeque<Entry>) {
        for direction in [0, 1] {
            let mut pieces = Vec::new();
            if let Some(side) = self.sides.get_mut(direction) {
                side.finish(&mut pieces);
            }
            self.read(seen, direction, pieces, out);
            let cut = self.framings.get_mut(direction).and_then(Framing::interrupt);
            out.extend(cut.map(|cut| self.found(seen, direction, cut)));
        }
    }

    fn event(&self, seen: &Seen, direction: usize, headline: &str) -> Entry {
        let mut said = Said::plain(Kind::Connection);
        let (from, to) = self.ends(direction);
        said.headline = format!("{} > {} {headline}", super::socket(&from), super::socket(&to));
        said.fields = vec![Field::hidden("event", headline)];
        self.entry(seen, direction, said)
    }

    const fn ends(&self, direction: usize) -> Key {
        let (smaller, larger) = self.key;
        if direction == 0 { (smaller, larger) } else { (larger, smaller) }
    }

    fn entry(&self, seen: &Seen, direction: usize, said: Said) -> Entry {
        let (from, to) = self.ends(direction);
        Entry { connection: Some(self.number), ..seen.entry(Some(from), Some(to), said) }
    }
}
