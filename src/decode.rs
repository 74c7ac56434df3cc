//! Captures as a person reads them: a file's octets in, one entry for each message out. Pure: `io::capture` reads the file.
//!
//! ```text
//!   pcap, pcapng -> link -> ip -+-> tcp 179 -> in order -> framing -> bgp --+
//!                               +-> udp 3784 ... -> bfd --------------------+--> Entry -> cli::decode: text, JSON
//!                               +-> icmp -> packet-too-big -----------------+
//!   mrt ------------------------------------------------> bgp, tables ------+
//! ```
//!
//! Memory is bounded whatever the file: one frame or record, messages not yet whole, and segments that wait for others.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};

use crate::bgp::wire::reader::Reader;
use connections::Connections;
pub use entry::{Endpoint, Entry, Fault, Field, Item, Kind, Reply, Row, Said, Value};
use mrt::Mrt;
use pcap::Pcap;
use pcapng::Pcapng;
use tcp::Segment;

mod bfd;
mod bgp;
mod connections;
mod entry;
mod family;
mod framing;
mod icmp;
mod ip;
mod link;
mod mrt;
mod pcap;
mod pcapng;
mod tcp;

/// BGP's own; others are named with `--port`.
pub const BGP_PORT: u16 = 179;

/// libpcap's own limit is 256 KiB; what claims more is damaged.
const LARGEST_FRAME: usize = 1 << 20;

/// Of a pcapng block or an MRT record: what others who read them take.
const LARGEST_RECORD: usize = 16 << 20;

/// Fragments whose first one was named, so that the others are too: reassembly is not done, so few are ever of use.
const NAMED_FRAGMENTS: usize = 64;

/// One frame of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Packet<'a> {
    at: Option<u64>,
    link: u32,
    data: &'a [u8],
    /// Octets that were on the wire and are not in the file.
    missing: usize,
}

/// What stands next in a file.
enum Next<'a> {
    Packet {
        packet: Packet<'a>,
        used: usize,
    },
    Skip {
        used: usize,
    },
    /// It is not all there yet.
    Wait,
}

/// Nothing behind this place can be read.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Broken(String);

impl Broken {
    const fn new(why: String) -> Self {
        Self(why)
    }
}

/// When and where an entry was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Seen {
    frame: u64,
    at: Option<u64>,
    vlans: Vec<u16>,
}

impl Seen {
    fn entry(&self, from: Option<Endpoint>, to: Option<Endpoint>, said: Said) -> Entry {
        Entry { frame: self.frame, at: self.at, from, to, connection: None, vlans: self.vlans.clone(), said }
    }

    fn note(&self, text: String) -> Entry {
        let mut said = Said::plain(Kind::Note);
        said.headline = text;
        self.entry(None, None, said)
    }
}

#[derive(Debug)]
enum Format {
    /// Too little has been read to tell.
    Unknown,
    Pcap(Pcap),
    Pcapng(Pcapng),
    Mrt(Mrt),
    /// Damaged from here on, or none of these: what still comes is not looked at.
    Ended,
}

/// What a whole file came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    pub frames: u64,
    /// Messages by kind, in the order of [`Kind`].
    pub messages: Vec<(Kind, u64)>,
    /// Messages with something wrong.
    pub malformed: u64,
    /// IP fragments that were neither decoded nor named.
    pub fragments: u64,
    /// The file is cut off or broken.
    pub damaged: bool,
    /// Why nothing of it can be read, in one sentence.
    pub unreadable: Option<String>,
}

#[derive(Debug)]
pub struct Decoder {
    format: Format,
    buffer: BytesMut,
    ports: Vec<u16>,
    seen: Seen,
    first: Option<u64>,
    connections: Connections,
    fragments: VecDeque<(std::net::IpAddr, std::net::IpAddr, u32)>,
    out: VecDeque<Entry>,
    totals: Totals,
}

impl Decoder {
    /// BGP is looked for on port 179 and on these.
    pub fn new(ports: &[u16]) -> Self {
        Self {
            format: Format::Unknown,
            buffer: BytesMut::new(),
            ports: [&[BGP_PORT], ports].concat(),
            seen: Seen::default(),
            first: None,
            connections: Connections::default(),
            fragments: VecDeque::new(),
            out: VecDeque::new(),
            totals: Totals::default(),
        }
    }

    /// More of the file, in pieces of any size. Poll until `None` before the next.
    pub fn feed(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
        self.advance(false);
    }

    /// The file is over.
    pub fn end(&mut self) {
        self.advance(true);
        let format = std::mem::replace(&mut self.format, Format::Ended);
        if !matches!(format, Format::Ended) && !self.buffer.is_empty() {
            let there = self.buffer.len();
            let what = if matches!(format, Format::Mrt(_)) { "a record" } else { "a frame" };
            self.damaged(format!("the file is cut off: it ends inside {what}, of which {there} octets are there"));
        }
        self.connections.finish(&self.seen, &mut self.out);
        if self.totals.fragments > 0 {
            let count = self.totals.fragments;
            self.out.push_back(self.seen.note(format!("{count} IP fragments were not put together")));
        }
    }

    pub fn poll(&mut self) -> Option<Entry> {
        let entry = self.out.pop_front()?;
        if entry.said.kind.is_message() {
            let kinds = &mut self.totals.messages;
            let at = kinds.binary_search_by_key(&entry.said.kind, |(kind, _)| *kind);
            let at = at.unwrap_or_else(|at| {
                kinds.insert(at, (entry.said.kind, 0));
                at
            });
            if let Some((_, count)) = kinds.get_mut(at) {
                *count += 1;
            }
        }
        self.totals.malformed += u64::from(!entry.said.faults.is_empty());
        Some(entry)
    }

    /// Of what was polled so far.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// When the first frame was captured: what relative times count from.
    pub const fn first(&self) -> Option<u64> {
        self.first
    }

    /// What the file is, once that is known.
    pub fn format(&self) -> Option<String> {
        match &self.format {
            Format::Unknown | Format::Ended => None,
            Format::Pcap(pcap) => Some(format!("pcap, {}", link::name(pcap.link()))),
            Format::Pcapng(_) => Some("pcapng".to_owned()),
            Format::Mrt(_) => Some("MRT".to_owned()),
        }
    }

    fn advance(&mut self, last: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if matches!(self.format, Format::Unknown) {
            self.recognize(&mut buffer, last);
        }
        let mut used = 0;
        loop {
            let rest = buffer.get(used..).unwrap_or_default();
            match self.one(rest) {
                Ok(Some(more)) => used += more,
                Ok(None) => break,
                Err(Broken(why)) => {
                    let frame = self.seen.frame + 1;
                    self.damaged(format!("the file is damaged behind frame {}: {why}", frame - 1));
                    if frame == 1 {
                        self.totals.unreadable = Some(format!("nothing of it can be read: {why}"));
                    }
                    self.format = Format::Ended;
                }
            }
        }
        buffer.advance(used.min(buffer.len()));
        if matches!(self.format, Format::Ended) {
            buffer.clear();
        }
        self.buffer = buffer;
    }

    fn damaged(&mut self, why: String) {
        self.totals.damaged = true;
        self.out.push_back(self.seen.note(why));
    }

    fn recognize(&mut self, buffer: &mut BytesMut, last: bool) {
        if buffer.len() < Pcap::HEADER && !last {
            return;
        }
        if let Some(pcap) = Pcap::open(buffer) {
            buffer.advance(Pcap::HEADER.min(buffer.len()));
            if link::known(pcap.link()) {
                self.format = Format::Pcap(pcap);
            } else {
                self.unreadable(format!("its link layer is not decoded: {}", link::name(pcap.link())));
            }
        } else if Pcapng::is(buffer) {
            self.format = Format::Pcapng(Pcapng::new());
        } else if Mrt::is(buffer) {
            self.format = Format::Mrt(Mrt::default());
        } else if buffer.is_empty() {
            self.unreadable("it is empty".to_owned());
        } else {
            let packed = match &buffer[..] {
                [0x1F, 0x8B, ..] => Some("gzip -dc"),
                [b'B', b'Z', b'h', ..] => Some("bzip2 -dc"),
                [0xFD, b'7', b'z', b'X', b'Z', ..] => Some("xz -dc"),
                [0x28, 0xB5, 0x2F, 0xFD, ..] => Some("zstd -dc"),
                _ => None,
            };
            self.unreadable(packed.map_or_else(
                || "it is neither pcap nor pcapng nor MRT".to_owned(),
                |program| format!("it is compressed: try {program} FILE | anycaster decode -"),
            ));
        }
    }

    fn unreadable(&mut self, why: String) {
        self.totals.unreadable = Some(why);
        self.format = Format::Ended;
    }

    /// How many octets the next record took; `None` where it is not all there.
    fn one(&mut self, octets: &[u8]) -> Result<Option<usize>, Broken> {
        if octets.is_empty() {
            return Ok(None);
        }
        let next = match &mut self.format {
            Format::Unknown | Format::Ended => return Ok(None),
            Format::Pcap(pcap) => pcap.next(octets)?,
            Format::Pcapng(pcapng) => pcapng.next(octets)?,
            Format::Mrt(mrt) => {
                let Some(record) = Mrt::next(octets)? else { return Ok(None) };
                self.seen = Seen { frame: self.seen.frame + 1, at: Some(record.at), vlans: Vec::new() };
                self.first = self.first.or(Some(record.at));
                self.totals.frames += 1;
                self.out.extend(mrt.entry(&record, &self.seen));
                return Ok(Some(record.used));
            }
        };
        match next {
            Next::Packet { packet, used } => {
                self.packet(&packet);
                Ok(Some(used))
            }
            Next::Skip { used } => Ok(Some(used)),
            Next::Wait => Ok(None),
        }
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        self.totals.frames += 1;
        self.first = self.first.or(packet.at);
        self.seen = Seen { frame: self.seen.frame + 1, at: packet.at, vlans: Vec::new() };
        let Some(link) = link::read(packet.link, packet.data) else { return };
        self.seen.vlans = link.vlans;
        let Some(ip) = ip::read(link.ip) else { return };
        if let Some(fragment) = ip.fragment {
            return self.fragment(&ip, fragment);
        }
        let end = |address, port| Endpoint { address, port };
        match ip.protocol {
            ip::TCP => {
                let Some(segment) = Segment::read(ip.payload) else { return };
                if self.wanted(segment.from, segment.to) {
                    let (from, to) = (end(ip.from, Some(segment.from)), end(ip.to, Some(segment.to)));
                    self.connections.take(&self.seen, &segment, ip.missing, from, to, &mut self.out);
                }
            }
            ip::UDP => {
                let Some((from, to, payload)) = udp(ip.payload) else { return };
                if bfd::PORTS.contains(&to) {
                    let (source, target) = (end(ip.from, Some(from)), end(ip.to, Some(to)));
                    let said = bfd::control(payload, to, ip.ttl);
                    self.out.push_back(self.seen.entry(Some(source), Some(target), said));
                }
            }
            ip::ICMP | ip::ICMP6 => {
                if let Some(said) = icmp::too_big(ip.payload, ip.protocol == ip::ICMP6) {
                    self.out.push_back(self.seen.entry(Some(end(ip.from, None)), Some(end(ip.to, None)), said));
                }
            }
            _ => {}
        }
    }

    fn wanted(&self, from: u16, to: u16) -> bool {
        self.ports.contains(&from) || self.ports.contains(&to)
    }

    /// Named where it is of something we decode, and counted else.
    fn fragment(&mut self, ip: &ip::Ip<'_>, fragment: ip::Fragment) {
        let key = (ip.from, ip.to, fragment.id);
        let mut reader = Reader::new(ip.payload);
        let ours = match ip.protocol {
            _ if fragment.offset > 0 => self.fragments.contains(&key),
            ip::TCP | ip::UDP => reader
                .u16()
                .zip(reader.u16())
                .is_some_and(|(from, to)| self.wanted(from, to) || bfd::PORTS.contains(&to)),
            _ => false,
        };
        if !ours {
            self.totals.fragments += 1;
            return;
        }
        if fragment.offset == 0 {
            if self.fragments.len() == NAMED_FRAGMENTS {
                self.fragments.pop_front();
            }
            self.fragments.push_back(key);
        }
        let text = format!("IP fragment {:#x} at offset {}: not decoded", fragment.id, fragment.offset);
        let mut entry = self.seen.note(text);
        entry.from = Some(Endpoint { address: ip.from, port: None });
        entry.to = Some(Endpoint { address: ip.to, port: None });
        self.out.push_back(entry);
    }
}

/// Ports and what the datagram holds.
fn udp(octets: &[u8]) -> Option<(u16, u16, &[u8])> {
    let mut reader = Reader::new(octets);
    let (from, to, length) = (reader.u16()?, reader.u16()?, reader.u16()?);
    let _checksum = reader.u16()?;
    let length = usize::from(length).saturating_sub(8).min(reader.len());
    Some((from, to, reader.take(length)?))
}

/// "10.0.0.1:179", "[2001:db8::1]:179"
fn socket(end: &Endpoint) -> String {
    end.port.map_or_else(|| end.address.to_string(), |port| std::net::SocketAddr::new(end.address, port).to_string())
}

#[cfg(test)]
mod tests;
