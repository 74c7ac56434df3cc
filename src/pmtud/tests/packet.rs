//! Errors as routers write them, and with any fault; written without the reader's help.

use std::net::IpAddr;

use super::ip;

/// One error; `octets` puts it on the wire.
#[derive(Clone, Debug)]
pub(super) struct Error {
    pub(super) router: IpAddr,
    pub(super) to: IpAddr,
    pub(super) service: IpAddr,
    pub(super) client: IpAddr,
    pub(super) mtu: u32,
    pub(super) protocol: u8,
    pub(super) ports: (u16, u16),
    pub(super) quoted_length: u16,
    pub(super) transport: usize,
    pub(super) outer_options: Vec<u8>,
    pub(super) quoted_options: Vec<u8>,
    /// IPv4: flags and offset. IPv6: with any other value than 0, a fragment header.
    pub(super) outer_fragment: u16,
    pub(super) quoted_fragment: u16,
    pub(super) kind: (u8, u8),
    /// The octet of RFC 4884.
    pub(super) length_octet: u8,
    pub(super) padding: usize,
    /// IPv6: what the first header in `outer_options` and `quoted_options` is.
    pub(super) outer_next: u8,
    pub(super) quoted_next: u8,
}

impl Error {
    pub(super) fn ipv4() -> Self {
        Self {
            router: ip("10.1.1.1"),
            to: ip("192.0.2.53"),
            service: ip("192.0.2.53"),
            client: ip("198.51.100.7"),
            mtu: 1400,
            protocol: 6,
            ports: (443, 50_000),
            quoted_length: 1500,
            transport: 8,
            outer_options: vec![],
            quoted_options: vec![],
            outer_fragment: 0,
            quoted_fragment: 0x4000,
            kind: (3, 4),
            length_octet: 0,
            padding: 0,
            outer_next: 0,
            quoted_next: 0,
        }
    }

    pub(super) fn ipv6() -> Self {
        Self {
            router: ip("2001:db8:1::1"),
            to: ip("2001:db8::53"),
            service: ip("2001:db8::53"),
            client: ip("2001:db8:2::7"),
            quoted_fragment: 0,
            kind: (2, 0),
            ..Self::ipv4()
        }
    }

    pub(super) fn both() -> [Self; 2] {
        [Self::ipv4(), Self::ipv6()]
    }

    fn is_ipv4(&self) -> bool {
        self.to.is_ipv4()
    }

    pub(super) fn octets(&self) -> Vec<u8> {
        let mut transport = [self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes()].concat();
        transport.resize(self.transport, 0x5A);
        let quoted = if self.is_ipv4() {
            let header = ipv4(self.service, self.client, self.protocol, self.quoted_fragment, &self.quoted_options);
            let mut quoted = [header, transport].concat();
            quoted[2..4].copy_from_slice(&self.quoted_length.to_be_bytes());
            quoted
        } else {
            let behind = chain(self.quoted_next, &self.quoted_options, self.quoted_fragment, self.protocol);
            let mut quoted = [ipv6(self.service, self.client, behind.0), behind.1, transport].concat();
            quoted[4..6].copy_from_slice(&self.quoted_length.wrapping_sub(40).to_be_bytes());
            quoted
        };
        let mut icmp = vec![self.kind.0, self.kind.1, 0, 0];
        if self.is_ipv4() {
            icmp.extend([0, self.length_octet]);
            icmp.extend(u16::try_from(self.mtu).unwrap().to_be_bytes());
        } else {
            icmp.extend(self.mtu.to_be_bytes());
        }
        icmp.extend(quoted);
        let mut packet = if self.is_ipv4() {
            [ipv4(self.router, self.to, 1, self.outer_fragment, &self.outer_options), icmp].concat()
        } else {
            let behind = chain(self.outer_next, &self.outer_options, self.outer_fragment, 58);
            [ipv6(self.router, self.to, behind.0), behind.1, icmp].concat()
        };
        mend(&mut packet);
        packet.extend(vec![0xEE; self.padding]);
        packet
    }
}

fn ipv4(from: IpAddr, to: IpAddr, protocol: u8, fragment: u16, options: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) else { panic!("families") };
    assert_eq!(options.len() % 4, 0);
    let mut header = vec![0x45 + u8::try_from(options.len() / 4).unwrap(), 0, 0, 0, 0, 0];
    header.extend(fragment.to_be_bytes());
    header.extend([63, protocol, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    header.extend(options);
    header
}

fn ipv6(from: IpAddr, to: IpAddr, next: u8) -> Vec<u8> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) else { panic!("families") };
    let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 63];
    header.extend(from.octets());
    header.extend(to.octets());
    header
}

/// `options`: headers that name each other, whose last says 255 where the next one is to be named.
fn chain(first: u8, options: &[u8], fragment: u16, last: u8) -> (u8, Vec<u8>) {
    let mut behind = options.to_vec();
    let to_come = if fragment == 0 { last } else { 44 };
    if let Some(end) = behind.chunks_mut(8).rev().find(|header| header[0] == 255) {
        end[0] = to_come;
    }
    if fragment != 0 {
        behind.extend([last, 0]);
        behind.extend(fragment.to_be_bytes());
        behind.extend([0, 0, 0, 1]);
    }
    (if options.is_empty() { to_come } else { first }, behind)
}

/// Lengths and checksums of whatever it is now.
pub(super) fn mend(packet: &mut [u8]) {
    let length = packet.len();
    if packet[0] >> 4 == 4 {
        packet[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        let header = usize::from(packet[0] & 15) * 4;
        packet[10..12].fill(0);
        let sum = checksum(&packet[..header]);
        packet[10..12].copy_from_slice(&sum);
        if length >= header + 4 {
            packet[header + 2..header + 4].fill(0);
            let sum = checksum(&packet[header..]);
            packet[header + 2..header + 4].copy_from_slice(&sum);
        }
    } else {
        packet[4..6].copy_from_slice(&u16::try_from(length - 40).unwrap().to_be_bytes());
        // The error stands at the first "2, 0" behind the chain: the tests put nothing like it before.
        let Some(icmp) = icmpv6(packet) else { return };
        packet[icmp + 2..icmp + 4].fill(0);
        let pseudo = [&packet[8..40], &u32::try_from(length - icmp).unwrap().to_be_bytes(), &[0, 0, 0, 58]].concat();
        let sum = checksum(&[&pseudo, &packet[icmp..]].concat());
        packet[icmp + 2..icmp + 4].copy_from_slice(&sum);
    }
}

fn icmpv6(packet: &[u8]) -> Option<usize> {
    let (mut next, mut place) = (packet[6], 40);
    while next != 58 {
        let header = packet.get(place..place + 8)?;
        place += if next == 44 { 8 } else { 8 + usize::from(header[1]) * 8 };
        next = header[0];
    }
    (place + 4 <= packet.len()).then_some(place)
}

/// Octet by octet, as RFC 1071 §1 says it.
fn checksum(octets: &[u8]) -> [u8; 2] {
    let mut sum = 0u32;
    for pair in octets.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}
