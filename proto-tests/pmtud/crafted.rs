//! ICMP errors and the frames around them, octet by octet: right ones, and all the wrong ones that somebody may send.
//!
//! ```text
//!   Ethernet | IP router -> service | ICMP "too big", MTU | IP service -> client | ports, sequence number, …
//!                                                           \______ the quoted packet, cut off ______/
//! ```
//!
//! Nothing here uses the crate; etherparse, which is not ours either, reads at the foot what was written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub type Mac = [u8; 6];

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SCTP: u8 = 132;

pub const BROADCAST: Mac = [0xFF; 6];

/// What the router complains about: a packet that the service sent to a client.
#[derive(Clone, Debug)]
pub struct Quote {
    pub service: IpAddr,
    pub client: IpAddr,
    pub protocol: u8,
    pub ports: (u16, u16),
    pub sequence: u32,
    /// Of the whole packet as it was sent, IP header included.
    pub total: u16,
    /// Octets quoted behind the IP header.
    pub kept: usize,
    /// IPv4: flags and offset; IPv6: that of a fragment header, if there is one.
    pub fragment: Option<u16>,
    /// IPv4 options, padded to words, or an IPv6 chain: type and octets behind the first two.
    pub options: Vec<u8>,
    pub chain: Vec<(u8, Vec<u8>)>,
}

/// An ICMPv4 destination unreachable, fragmentation needed, or an ICMPv6 packet too big.
#[derive(Clone, Debug)]
pub struct Error {
    pub router: IpAddr,
    pub destination: IpAddr,
    pub mtu: u32,
    pub quote: Quote,
    pub fragment: Option<u16>,
    pub options: Vec<u8>,
    pub chain: Vec<(u8, Vec<u8>)>,
}

impl Error {
    /// As a router would send it about a TCP segment of 1500 octets.
    pub fn new(router: IpAddr, service: IpAddr, client: IpAddr, client_port: u16, mtu: u32) -> Self {
        let quote = Quote {
            service,
            client,
            protocol: TCP,
            ports: (443, client_port),
            sequence: 0x1234_5678,
            total: 1500,
            kept: if service.is_ipv4() { 8 } else { 64 },
            fragment: None,
            options: Vec::new(),
            chain: Vec::new(),
        };
        let (fragment, options, chain) = (None, Vec::new(), Vec::new());
        Self { router, destination: service, mtu, quote, fragment, options, chain }
    }

    /// From the IP header on, every length and checksum right.
    pub fn packet(&self) -> Vec<u8> {
        let quoted = self.quote.packet();
        let icmp = icmp(self.router, self.destination, self.mtu, &quoted);
        match (self.router, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let total = u16::try_from(20 + self.options.len() + icmp.len()).expect("a length");
                ipv4(from, to, 1, total, self.fragment.unwrap_or(0), &self.options, &icmp)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let (first, chained) = chain(58, &self.chain, self.fragment);
                let payload = [chained, icmp].concat();
                ipv6(from, to, first, u16::try_from(payload.len()).expect("a length"), &payload)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("two families in one packet"),
        }
    }
}

impl Quote {
    fn packet(&self) -> Vec<u8> {
        let mut payload = [self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes()].concat();
        match self.protocol {
            // Sequence, acknowledgment, 20 octets of header, ACK, window, checksum, urgent
            TCP => {
                payload.extend([&self.sequence.to_be_bytes()[..], &[0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]].concat())
            }
            UDP => payload.extend([&(self.total - 20).to_be_bytes()[..], &[0, 0]].concat()),
            _ => payload.extend(self.sequence.to_be_bytes()),
        }
        payload.resize(self.kept.max(payload.len()), 0xDA);
        payload.truncate(self.kept);
        match (self.service, self.client) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                // Don't Fragment
                let fragment = self.fragment.unwrap_or(0x4000);
                ipv4(from, to, self.protocol, self.total, fragment, &self.options, &payload)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let (first, chained) = chain(self.protocol, &self.chain, self.fragment);
                ipv6(from, to, first, self.total.wrapping_sub(40), &[chained, payload].concat())
            }
            // Families that do not fit are among what somebody may send, but not from here.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("two families in one packet"),
        }
    }
}

/// The ICMP message alone, with its checksum.
pub fn icmp(from: IpAddr, to: IpAddr, mtu: u32, quoted: &[u8]) -> Vec<u8> {
    let kind = if to.is_ipv4() { [3, 4, 0, 0] } else { [2, 0, 0, 0] };
    let mut icmp = [&kind[..], &mtu.to_be_bytes(), quoted].concat();
    let sum = icmp_checksum(from, to, &icmp);
    icmp[2..4].copy_from_slice(&sum);
    icmp
}

/// What octets 2 and 3 should be; they count as zero.
pub fn icmp_checksum(from: IpAddr, to: IpAddr, icmp: &[u8]) -> [u8; 2] {
    let mut sum = Vec::new();
    if let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) {
        sum.extend(from.octets());
        sum.extend(to.octets());
        sum.extend(u32::try_from(icmp.len()).expect("a length").to_be_bytes());
        sum.extend([0, 0, 0, 58]);
    }
    sum.extend(icmp);
    let at = sum.len() - icmp.len();
    sum[at + 2..at + 4].fill(0);
    checksum(&sum)
}

pub fn checksum(octets: &[u8]) -> [u8; 2] {
    let words = octets.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u64 = words.sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    (!u16::try_from(sum).expect("sixteen bits")).to_be_bytes()
}

pub fn ipv4(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    total: u16,
    fragment: u16,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    assert!(options.len().is_multiple_of(4) && options.len() <= 40, "options are whole words");
    let mut header = vec![0x45 + u8::try_from(options.len() / 4).expect("a few"), 0];
    header.extend(total.to_be_bytes());
    header.extend([0xBE, 0xEF]);
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    header.extend(options);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    header.extend(payload);
    header
}

pub fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, length: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(length.to_be_bytes());
    header.extend([next, 64]);
    header.extend(from.octets());
    header.extend(to.octets());
    header.extend(payload);
    header
}

/// The headers one after the other, and the number of the first; each is padded to eight octets. A fragment header, if
/// any, comes last.
fn chain(last: u8, headers: &[(u8, Vec<u8>)], fragment: Option<u16>) -> (u8, Vec<u8>) {
    let mut next = last;
    let mut octets = Vec::new();
    if let Some(fragment) = fragment {
        octets = [&[next, 0][..], &fragment.to_be_bytes(), &[0, 0, 0, 7]].concat();
        next = 44;
    }
    for (kind, content) in headers.iter().rev() {
        let mut header = [&[next, 0][..], content].concat();
        header.resize(header.len().next_multiple_of(8), 0);
        header[1] = u8::try_from(header.len() / 8 - 1).expect("a header of 2 kB at most");
        octets = [header, octets].concat();
        next = *kind;
    }
    (next, octets)
}

/// UDP over IP, with both checksums.
pub fn datagram(from: IpAddr, to: IpAddr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("a datagram's length");
    let mut udp = [ports.0.to_be_bytes(), ports.1.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    udp.extend(payload);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let pseudo = [&from.octets()[..], &to.octets(), &[0, UDP], &length.to_be_bytes(), &udp].concat();
            let sum = checksum(&pseudo);
            udp[6..8].copy_from_slice(&sum);
            ipv4(from, to, UDP, 20 + length, 0x4000, &[], &udp)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let pseudo = [&from.octets()[..], &to.octets(), &u32::from(length).to_be_bytes(), &[0, 0, 0, UDP], &udp];
            let sum = checksum(&pseudo.concat());
            udp[6..8].copy_from_slice(&sum);
            ipv6(from, to, UDP, length, &udp)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("two families in one packet"),
    }
}

pub fn frame(to: Mac, from: Mac, packet: &[u8]) -> Vec<u8> {
    let kind = if packet.first().is_some_and(|first| first >> 4 == 6) { [0x86, 0xDD] } else { [0x08, 0x00] };
    [&to[..], &from, &kind, packet].concat()
}

/// The same frame with these tags (TPID, VLAN) before its type.
pub fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let tags: Vec<u8> =
        tags.iter().flat_map(|(kind, vlan)| [kind.to_be_bytes(), vlan.to_be_bytes()].concat()).collect();
    [&frame[..12], &tags, &frame[12..]].concat()
}

/// Numbers that look random and are the same in every run: splitmix64.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    pub fn octets(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

#[test]
fn another_library_reads_what_was_written() {
    use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};
    let fields = |packet: &[u8]| {
        let sliced = SlicedPacket::from_ip(packet).expect("a packet");
        let (from, to) = match sliced.net.as_ref().expect("an IP header") {
            NetSlice::Ipv4(ip) => {
                assert_eq!(ip.header().to_header().calc_header_checksum(), ip.header().header_checksum());
                (ip.header().source_addr().into(), ip.header().destination_addr().into())
            }
            NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            NetSlice::Arp(_) => panic!("ARP"),
        };
        let (mtu, quoted) = match sliced.transport.as_ref().expect("a transport") {
            TransportSlice::Icmpv4(icmp) => {
                assert_eq!(icmp.icmp_type().calc_checksum(icmp.payload()), icmp.checksum());
                let Icmpv4Type::DestinationUnreachable(what) = icmp.icmp_type() else { panic!("type") };
                let etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu } = what else {
                    panic!("code")
                };
                (u32::from(next_hop_mtu), icmp.payload().to_vec())
            }
            TransportSlice::Icmpv6(icmp) => {
                let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) else { panic!("family") };
                assert!(icmp.is_checksum_valid(from.octets(), to.octets()), "checksum");
                let Icmpv6Type::PacketTooBig { mtu } = icmp.icmp_type() else { panic!("type") };
                (mtu, icmp.payload().to_vec())
            }
            TransportSlice::Tcp(_) | TransportSlice::Udp(_) | TransportSlice::Igmp(_) => panic!("no ICMP"),
        };
        (from, to, mtu, quoted)
    };
    let v4 = ["10.98.0.1", "192.0.2.53", "203.0.113.9"].map(|text| text.parse::<IpAddr>().expect("an address"));
    let v6 = ["fd98::1", "2001:db8::53", "2001:db8:1::9"].map(|text| text.parse::<IpAddr>().expect("an address"));
    for [router, service, client] in [v4, v6] {
        for protocol in [TCP, UDP, SCTP] {
            let mut error = Error::new(router, service, client, 40_000, 1400);
            error.quote.protocol = protocol;
            let (from, to, mtu, quoted) = fields(&error.packet());
            assert_eq!((from, to, mtu), (router, service, 1400));
            let header = if service.is_ipv4() { 20 } else { 40 };
            assert_eq!(quoted.len(), header + error.quote.kept);
            assert_eq!(quoted[header..header + 4], [0x01, 0xBB, 0x9C, 0x40]);
            let quoted = etherparse::LaxSlicedPacket::from_ip(&quoted).expect("a quoted header");
            match quoted.net.expect("an IP header") {
                etherparse::LaxNetSlice::Ipv4(ip) => {
                    assert_eq!(
                        (IpAddr::from(ip.header().source_addr()), ip.header().protocol().0),
                        (service, protocol)
                    );
                    assert_eq!(IpAddr::from(ip.header().destination_addr()), client);
                }
                etherparse::LaxNetSlice::Ipv6(ip) => {
                    let header = ip.header().to_header();
                    assert_eq!((IpAddr::from(header.source_addr()), header.next_header.0), (service, protocol));
                    assert_eq!(IpAddr::from(header.destination_addr()), client);
                }
                etherparse::LaxNetSlice::Arp(_) => panic!("ARP"),
            }
        }
    }
}
