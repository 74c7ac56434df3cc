//! MRT (RFC 6396, 6397, 8050): what route collectors write. Messages and state changes of sessions, and whole tables.
//!
//! ```text
//!   seconds 4 | type 2 | subtype 2 | length 4 | [microseconds 4, counted in length] | body
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::BytesMut;

use super::bgp::{self, View, nlri};
use super::entry::{Endpoint, Entry, Fault, Field, Kind, Reply, Row, Said, Value};
use super::{Broken, LARGEST_RECORD, Seen, family};
use crate::bgp::wire::reader::Reader;
use crate::bgp::wire::{self, MAX_EXTENDED_MESSAGE};

const TABLE_DUMP_V2: u16 = 13;
const BGP4MP: u16 = 16;
const BGP4MP_ET: u16 = 17;

const STATES: [&str; 7] = ["?", "Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established"];

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Mrt {
    /// Of the last PEER_INDEX_TABLE; at most 65535, as many as its count can say.
    peers: Vec<Peer>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Peer {
    id: Ipv4Addr,
    address: IpAddr,
    asn: u32,
}

pub(super) struct Record<'a> {
    pub(super) at: u64,
    pub(super) kind: u16,
    pub(super) subtype: u16,
    pub(super) body: &'a [u8],
    pub(super) used: usize,
}

impl Mrt {
    /// There is no magic number: a type that BGP has, a subtype below 13 and a length that can be.
    pub(super) fn is(start: &[u8]) -> bool {
        let mut reader = Reader::new(start);
        let _seconds = reader.u32();
        let (kind, subtype, length) = (reader.u16(), reader.u16(), reader.u32());
        let length = length.and_then(|length| usize::try_from(length).ok());
        matches!(kind, Some(11..=13 | BGP4MP | BGP4MP_ET | 32 | 33 | 48 | 49))
            && subtype.is_some_and(|subtype| subtype <= 12)
            && length.is_some_and(|length| length <= LARGEST_RECORD)
    }

    /// `Ok(None)`: not all of it is there.
    pub(super) fn next(octets: &[u8]) -> Result<Option<Record<'_>>, Broken> {
        let mut reader = Reader::new(octets);
        let (Some(seconds), Some(kind), Some(subtype), Some(length)) =
            (reader.u32(), reader.u16(), reader.u16(), reader.u32())
        else {
            return Ok(None);
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > LARGEST_RECORD {
            return Err(Broken::new(format!("a record of {length} octets")));
        }
        let Some(mut body) = reader.sub(length) else { return Ok(None) };
        // The extended types have the same numbers, plus one.
        let extended = matches!(kind, 17 | 33 | 49);
        let micros = if extended { body.u32().unwrap_or_default() } else { 0 };
        let at = u64::from(seconds) * 1_000_000_000 + u64::from(micros) * 1000;
        Ok(Some(Record { at, kind, subtype, body: body.rest(), used: 12 + length }))
    }

    /// `None`: nothing of BGP.
    pub(super) fn entry(&mut self, record: &Record<'_>, seen: &Seen) -> Option<Entry> {
        match record.kind {
            BGP4MP | BGP4MP_ET => session(record, seen),
            TABLE_DUMP_V2 => Some(seen.entry(None, None, self.table(record)?)),
            _ => None,
        }
    }

    fn table(&mut self, record: &Record<'_>) -> Option<Said> {
        let short = |kind| {
            let mut said = Said::plain(kind);
            said.faults.push(fault("shorter than its fields"));
            said
        };
        let reader = Reader::new(record.body);
        Some(match record.subtype {
            1 => {
                self.peers.clear();
                self.peer_table(reader).unwrap_or_else(|| short(Kind::Peers))
            }
            2..=5 => self.rib(reader, record.subtype, false).unwrap_or_else(|| short(Kind::Rib)),
            8..=11 => self.rib(reader, record.subtype - 6, true).unwrap_or_else(|| short(Kind::Rib)),
            6 | 12 => self.generic(reader, record.subtype == 12).unwrap_or_else(|| short(Kind::Rib)),
            _ => return None,
        })
    }

    fn peer_table(&mut self, mut reader: Reader<'_>) -> Option<Said> {
        let collector = Ipv4Addr::from(reader.array::<4>()?);
        let length = reader.u16()?;
        let view = bgp::words(reader.take(usize::from(length))?);
        let count = reader.u16()?;
        for _ in 0..count {
            let kind = reader.u8()?;
            let id = Ipv4Addr::from(reader.array::<4>()?);
            let address = address(&mut reader, if kind & 1 == 0 { 1 } else { 2 })?;
            let asn = if kind & 2 == 0 { reader.u16()?.into() } else { reader.u32()? };
            self.peers.push(Peer { id, address, asn });
        }
        let mut said = Said::plain(Kind::Peers);
        said.headline = format!("{count} peers of collector {collector}");
        let text = |peer: &Peer| format!("{} AS {} id {}", peer.address, peer.asn, peer.id);
        said.fields = vec![
            Field::hidden("collector", collector.to_string()),
            Field::hidden("view", view),
            Field::line("peers", "peers", Value::list(self.peers.iter().map(text))),
        ];
        Some(said)
    }

    fn rib(&self, mut reader: Reader<'_>, subtype: u16, paths: bool) -> Option<Said> {
        let (afi, safi) = match subtype {
            2 => (1, 1),
            3 => (1, 2),
            4 => (2, 1),
            _ => (2, 2),
        };
        let sequence = reader.u32()?;
        let bits = reader.u8()?;
        let prefix = nlri::prefix(afi, bits, &mut reader)?;
        self.entries(reader, (afi, safi), sequence, &prefix, paths)
    }

    fn generic(&self, mut reader: Reader<'_>, paths: bool) -> Option<Said> {
        let sequence = reader.u32()?;
        let (afi, safi) = (reader.u16()?, reader.u8()?);
        // One prefix, whose length only its own first octet knows.
        let mut peek = reader;
        let bits = peek.u8()?;
        let field = reader.take(1 + usize::from(bits).div_ceil(8))?;
        let routes = nlri::read(afi, safi, false, field).ok()?;
        let prefix = routes.first().map(|route| route.text.clone())?;
        self.entries(reader, (afi, safi), sequence, &prefix, paths)
    }

    fn entries(
        &self,
        mut reader: Reader<'_>,
        (afi, safi): (u16, u8),
        sequence: u32,
        prefix: &str,
        paths: bool,
    ) -> Option<Said> {
        let mut said = Said::plain(Kind::Rib);
        let count = reader.u16()?;
        let mut rows = Vec::new();
        for _ in 0..count {
            let index = reader.u16()?;
            let originated = reader.u32()?;
            let path = if paths { Some(reader.u32()?) } else { None };
            let length = reader.u16()?;
            let section = reader.take(usize::from(length))?;
            let (items, faults) = bgp::rib_attributes(section, safi);
            said.faults.extend(faults);
            let peer = self.peers.get(usize::from(index));
            let from = peer.map_or_else(|| format!("peer {index}"), |peer| format!("{} AS {}", peer.address, peer.asn));
            let path_text = path.map_or_else(String::new, |path| format!(" path {path}"));
            rows.push(Row {
                headline: format!("from {from}{path_text}"),
                fields: vec![
                    Field::hidden("peer", index),
                    Field::hidden("address", peer.map(|peer| peer.address.to_string())),
                    Field::hidden("asn", peer.map(|peer| peer.asn)),
                    Field::hidden("path", path),
                    Field::hidden("originated", originated),
                    Field::line("attributes", "", Value::Items(items)),
                ],
            });
        }
        if !reader.is_empty() {
            said.faults.push(fault("longer than its entries"));
        }
        let family = family::name(afi, safi);
        said.headline = format!("{prefix}, {count} entries, {family}");
        said.fields = vec![
            Field::hidden("prefix", prefix),
            Field::hidden("family", family),
            Field::hidden("sequence", sequence),
            Field::line("entries", "", Value::Rows(rows)),
        ];
        Some(said)
    }
}

fn fault(what: &str) -> Fault {
    Fault { at: None, what: what.to_owned(), reply: Reply::Silence }
}

/// What a session of the collector heard or said. `None`: a subtype of no use here.
fn session(record: &Record<'_>, seen: &Seen) -> Option<Entry> {
    let short = |kind| {
        let mut said = Said::plain(kind);
        said.faults.push(fault("shorter than its fields"));
        seen.entry(None, None, said)
    };
    match record.subtype {
        0 | 5 => Some(state_change(record, seen).unwrap_or_else(|| short(Kind::State))),
        1 | 4 | 6..=11 => Some(message(record, seen).unwrap_or_else(|| short(Kind::UnknownBgp))),
        _ => None,
    }
}

struct Ends {
    peer: Endpoint,
    local: Endpoint,
    internal: bool,
}

fn ends(reader: &mut Reader<'_>, four_octets: bool) -> Option<Ends> {
    let mut asn = || if four_octets { reader.u32() } else { reader.u16().map(u32::from) };
    let (peer_asn, local_asn) = (asn()?, asn()?);
    let _interface = reader.u16()?;
    let afi = reader.u16()?;
    let (peer, local) = (address(reader, afi)?, address(reader, afi)?);
    let end = |address| Endpoint { address, port: None };
    Some(Ends { peer: end(peer), local: end(local), internal: peer_asn == local_asn })
}

fn address(reader: &mut Reader<'_>, afi: u16) -> Option<IpAddr> {
    match afi {
        1 => reader.array::<4>().map(|octets| Ipv4Addr::from(octets).into()),
        2 => reader.array::<16>().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

fn state_change(record: &Record<'_>, seen: &Seen) -> Option<Entry> {
    let mut reader = Reader::new(record.body);
    let ends = ends(&mut reader, record.subtype == 5)?;
    // Some write states of their own: FRR's 7 is Clearing.
    let name =
        |state: u16| STATES.get(usize::from(state)).map_or_else(|| format!("state {state}"), |name| (*name).to_owned());
    let mut state = || reader.u16().map(name);
    let (old, new) = (state()?, state()?);
    let mut said = Said::plain(Kind::State);
    said.headline = format!("{old} to {new}");
    said.fields = vec![Field::hidden("old", old), Field::hidden("new", new)];
    Some(seen.entry(Some(ends.peer), Some(ends.local), said))
}

fn message(record: &Record<'_>, seen: &Seen) -> Option<Entry> {
    let mut reader = Reader::new(record.body);
    let four_octets = matches!(record.subtype, 4 | 7 | 9 | 11);
    let ends = ends(&mut reader, four_octets)?;
    let view = View {
        four_octets: Some(four_octets),
        internal: Some(ends.internal),
        extended_next_hop: None,
        filters: true,
        // RFC 8050's subtypes say so of a whole session, but paths are agreed on for each family: FRR 8.4 writes messages
        // of families without them so too. The message itself must tell.
        paths: None,
        likely_paths: record.subtype >= 8,
    };
    let octets = reader.rest();
    let mut buffer = BytesMut::from(octets);
    let mut said = match wire::frame(&mut buffer, MAX_EXTENDED_MESSAGE) {
        Ok(Some(frame)) => bgp::message(&frame, &view),
        Ok(None) => {
            let mut said = Said::plain(Kind::UnknownBgp);
            said.headline = format!("{} octets of a message", octets.len());
            said.faults.push(fault("the record ends inside the message"));
            buffer.clear();
            said
        }
        Err(reply) => {
            let (kind, body) = (octets.get(18).copied().unwrap_or_default(), octets.get(19..).unwrap_or_default());
            buffer.clear();
            bgp::bad_header(kind, body, reply)
        }
    };
    if !buffer.is_empty() {
        said.faults.push(fault("the record has more behind the message"));
    }
    let sent = matches!(record.subtype, 6 | 7 | 10 | 11);
    let (from, to) = if sent { (ends.local, ends.peer) } else { (ends.peer, ends.local) };
    Some(seen.entry(Some(from), Some(to), said))
}
