//! What an ICMP error says: "packet too big" of either family, from its IP header on.
//!
//! ```text
//!   IPv4 (options)          | ICMP 3/4: checksum, MTU | quoted: IPv4 (options), 8 octets or more
//!   IPv6 (extension headers)| ICMPv6 2: checksum, MTU | quoted: IPv6 (extension headers), 8 octets or more
//! ```
//!
//! In two steps, because most of a flood can be turned away by its addresses alone: [`outer`], then [`Outer::read`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::totals::Family;
use super::{Flow, Verdict};

/// More extension headers than anybody sends; a bound on the work, not a rule of RFC 8200.
const MAX_EXTENSIONS: usize = 8;
const ICMPV4: u8 = 1;
const ICMPV6: u8 = 58;

/// An error whose IP header is in order, and nothing else known of it.
#[derive(Clone, Copy, Debug)]
pub struct Outer<'a> {
    /// Whoever says that a packet was too big.
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Without what an Ethernet frame was padded with.
    pub packet: &'a [u8],
    /// IPv4 with its options, where it has a checksum of its own; IPv6 has none.
    header: &'a [u8],
    icmp: &'a [u8],
}

/// The whole of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    pub router: IpAddr,
    /// Where it was sent: the quoted source, if it is what it says.
    pub destination: IpAddr,
    pub mtu: u32,
    pub quoted: Flow,
    /// Of the packet that was too big: IPv4 total length, or IPv6 header and payload.
    pub quoted_length: u32,
}

impl Outer<'_> {
    pub const fn family(&self) -> Family {
        Family::of(self.destination)
    }

    /// The error itself and what it quotes.
    pub fn read(&self) -> Result<Message, Verdict> {
        let Some((&[_, _, _, _, m0, m1, m2, m3], quoted)) = self.icmp.split_first_chunk::<8>() else {
            return Err(Verdict::Malformed);
        };
        if !self.checksums() {
            return Err(Verdict::Checksum);
        }
        // Octet 5 of ICMPv4 is a length since RFC 4884: what was quoted begins behind these eight all the same.
        let (mtu, (quoted, quoted_length)) = match self.destination {
            IpAddr::V4(_) => (u32::from(u16::from_be_bytes([m2, m3])), quoted_ipv4(quoted)?),
            IpAddr::V6(_) => (u32::from_be_bytes([m0, m1, m2, m3]), quoted_ipv6(quoted)?),
        };
        Ok(Message { router: self.source, destination: self.destination, mtu, quoted, quoted_length })
    }

    /// The kernel has looked at neither: a packet socket stands before it.
    fn checksums(&self) -> bool {
        let pseudo_header = match (self.source, self.destination) {
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let length = u64::try_from(self.icmp.len()).unwrap_or(u64::MAX);
                sum(&source.octets()) + sum(&destination.octets()) + length + u64::from(ICMPV6)
            }
            (IpAddr::V4(_) | IpAddr::V6(_), _) if fold(sum(self.header)) != 0xFFFF => return false,
            (IpAddr::V4(_) | IpAddr::V6(_), _) => 0,
        };
        fold(pseudo_header + sum(self.icmp)) == 0xFFFF
    }
}

/// Both steps, whatever its addresses.
pub fn read(packet: &[u8]) -> Result<Message, Verdict> {
    outer(packet)?.read()
}

/// By its first octet: for the books, so whatever is not IPv6 counts as IPv4.
pub fn family(packet: &[u8]) -> Family {
    match packet.first() {
        Some(first) if first >> 4 == 6 => Family::Ipv6,
        Some(_) | None => Family::Ipv4,
    }
}

/// The IP header, and whether it is an error of the right kind.
pub fn outer(packet: &[u8]) -> Result<Outer<'_>, Verdict> {
    let outer = match packet.first().map(|first| first >> 4) {
        Some(4) => outer_ipv4(packet)?,
        Some(6) => outer_ipv6(packet)?,
        Some(_) | None => return Err(Verdict::Malformed),
    };
    // RFC 792 and RFC 1191; RFC 4443 §3.2: whatever its code.
    match (outer.family(), outer.icmp) {
        (Family::Ipv4, [3, 4, ..]) | (Family::Ipv6, [2, ..]) => Ok(outer),
        (Family::Ipv4 | Family::Ipv6, _) => Err(Verdict::Malformed),
    }
}

fn outer_ipv4(packet: &[u8]) -> Result<Outer<'_>, Verdict> {
    let ip = ipv4(packet).ok_or(Verdict::Malformed)?;
    let packet = packet.get(..ip.length).ok_or(Verdict::Malformed)?;
    let (header, icmp) = packet.split_at_checked(ip.header).ok_or(Verdict::Malformed)?;
    if ip.protocol != ICMPV4 {
        return Err(Verdict::Malformed);
    }
    if ip.more || ip.offset != 0 {
        return Err(Verdict::Fragment);
    }
    Ok(Outer { source: ip.source.into(), destination: ip.destination.into(), packet, header, icmp })
}

fn outer_ipv6(packet: &[u8]) -> Result<Outer<'_>, Verdict> {
    let (ip, payload) = ipv6(packet).ok_or(Verdict::Malformed)?;
    // A jumbogram (RFC 2675) says 0, and so holds no error either.
    let payload = payload.get(..ip.payload).ok_or(Verdict::Malformed)?;
    let packet = packet.get(..40 + ip.payload).ok_or(Verdict::Malformed)?;
    let chain = match walk(ip.next, payload) {
        Ok(chain) => chain,
        Err(Broken::Wrong | Broken::Cut) => return Err(Verdict::Malformed),
    };
    if chain.more || chain.offset != 0 {
        return Err(Verdict::Fragment);
    }
    // Not there yet: whoever it is sent on to is its destination.
    if chain.protocol != ICMPV6 || chain.segments_left != 0 {
        return Err(Verdict::Malformed);
    }
    Ok(Outer { source: ip.source.into(), destination: ip.destination.into(), packet, header: &[], icmp: chain.rest })
}

/// The flow that is told of, and how long its packet was.
fn quoted_ipv4(quoted: &[u8]) -> Result<(Flow, u32), Verdict> {
    if quoted.first().is_some_and(|first| first >> 4 != 4) {
        return Err(Verdict::Malformed);
    }
    if quoted.len() < 20 {
        return Err(Verdict::Short);
    }
    let ip = ipv4(quoted).ok_or(Verdict::Malformed)?;
    if ip.offset != 0 {
        return Err(Verdict::Fragment);
    }
    // Who may cut it has no reason to complain (RFC 1191 §4).
    if !ip.dont_fragment {
        return Err(Verdict::Malformed);
    }
    let transport = quoted.get(ip.header..quoted.len().min(ip.length)).ok_or(Verdict::Short)?;
    let flow = flow(ip.source.into(), ip.destination.into(), ip.protocol, transport)?;
    Ok((flow, u32::try_from(ip.length).unwrap_or(u32::MAX)))
}

fn quoted_ipv6(quoted: &[u8]) -> Result<(Flow, u32), Verdict> {
    if quoted.first().is_some_and(|first| first >> 4 != 6) {
        return Err(Verdict::Malformed);
    }
    let (ip, payload) = ipv6(quoted).ok_or(Verdict::Short)?;
    let chain = match walk(ip.next, payload.get(..payload.len().min(ip.payload)).unwrap_or(payload)) {
        Ok(chain) => chain,
        Err(Broken::Wrong) => return Err(Verdict::Malformed),
        Err(Broken::Cut) => return Err(Verdict::Short),
    };
    if chain.offset != 0 {
        return Err(Verdict::Fragment);
    }
    let flow = flow(ip.source.into(), ip.destination.into(), chain.protocol, chain.rest)?;
    Ok((flow, u32::try_from(40 + ip.payload).unwrap_or(u32::MAX)))
}

/// Eight octets, never more: that is all that RFC 792 promises, and it holds ports and a TCP sequence number.
fn flow(service: IpAddr, client: IpAddr, protocol: u8, transport: &[u8]) -> Result<Flow, Verdict> {
    let Some(&[s0, s1, c0, c1, _, _, _, _]) = transport.first_chunk::<8>() else { return Err(Verdict::Short) };
    let (service_port, client_port) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([c0, c1]));
    Ok(Flow { service, client, protocol, service_port, client_port })
}

struct Ipv4 {
    /// With its options; in octets.
    header: usize,
    length: usize,
    dont_fragment: bool,
    more: bool,
    offset: u16,
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
}

/// `None`: not 20 octets, or lengths that cannot be. The version is the caller's.
fn ipv4(octets: &[u8]) -> Option<Ipv4> {
    let &[first, _, l0, l1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        octets.first_chunk::<20>()?;
    let header = usize::from(first & 0x0F) * 4;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let fragment = u16::from_be_bytes([f0, f1]);
    (header >= 20 && length >= header).then_some(Ipv4 {
        header,
        length,
        dont_fragment: fragment & 0x4000 != 0,
        more: fragment & 0x2000 != 0,
        offset: fragment & 0x1FFF,
        protocol,
        source: Ipv4Addr::new(s0, s1, s2, s3),
        destination: Ipv4Addr::new(d0, d1, d2, d3),
    })
}

struct Ipv6 {
    payload: usize,
    next: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
}

/// The fixed header, and all that stands behind it.
fn ipv6(octets: &[u8]) -> Option<(Ipv6, &[u8])> {
    let (&[_, _, _, _, l0, l1, next, _], rest) = octets.split_first_chunk::<8>()?;
    let (source, rest) = rest.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let payload = usize::from(u16::from_be_bytes([l0, l1]));
    Some((Ipv6 { payload, next, source: (*source).into(), destination: (*destination).into() }, rest))
}

/// What a chain of extension headers leads to.
struct Chain<'a> {
    protocol: u8,
    rest: &'a [u8],
    more: bool,
    offset: u16,
    segments_left: u8,
}

enum Broken {
    /// Too many, or in an order that cannot be.
    Wrong,
    /// Ends before its end.
    Cut,
}

fn walk(first: u8, octets: &[u8]) -> Result<Chain<'_>, Broken> {
    let mut chain = Chain { protocol: first, rest: octets, more: false, offset: 0, segments_left: 0 };
    for place in 0..=MAX_EXTENSIONS {
        let &[next, length, third, fourth, ..] = chain.rest else {
            // Too little for an extension header, which is no fault where none stands here.
            return if is_extension(chain.protocol) { Err(Broken::Cut) } else { Ok(chain) };
        };
        let octets = match chain.protocol {
            // RFC 8200 §4.1: right behind the IPv6 header, and nowhere else.
            HOP_BY_HOP if place > 0 => return Err(Broken::Wrong),
            HOP_BY_HOP | DESTINATION => 8 + usize::from(length) * 8,
            ROUTING => {
                chain.segments_left = chain.segments_left.max(fourth);
                8 + usize::from(length) * 8
            }
            FRAGMENT => {
                let fragment = u16::from_be_bytes([third, fourth]);
                (chain.more, chain.offset) = (chain.more || fragment & 1 != 0, chain.offset | fragment >> 3);
                // What stands behind another offset is the middle of something.
                if chain.offset != 0 {
                    return Ok(chain);
                }
                8
            }
            _ => return Ok(chain),
        };
        chain.rest = chain.rest.get(octets..).ok_or(Broken::Cut)?;
        chain.protocol = next;
    }
    Err(Broken::Wrong)
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION)
}

/// RFC 1071, four octets at a time: the end-around carries of 32 bits fold into those of 16.
fn sum(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<4>();
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(last, octet)| *last = *octet);
    words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum::<u64>() + u64::from(u32::from_be_bytes(last))
}

const fn fold(mut sum: u64) -> u64 {
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum
}
