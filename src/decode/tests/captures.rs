//! Packets and files, made by hand.

use std::net::Ipv4Addr;

pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const SYN_ACK: u8 = 0x12;

/// A little-endian pcap, in microseconds.
pub(super) struct Capture {
    pub(super) octets: Vec<u8>,
}

impl Capture {
    pub(super) fn new(link: u32) -> Self {
        let words = [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 65535, link];
        Self { octets: words.iter().flat_map(|word| word.to_le_bytes()).collect() }
    }

    pub(super) fn frame(self, seconds: u32, frame: &[u8]) -> Self {
        self.cut(seconds, frame, frame.len())
    }

    /// Only the first octets were kept.
    pub(super) fn cut(mut self, seconds: u32, frame: &[u8], kept: usize) -> Self {
        let length = |length: usize| u32::try_from(length).unwrap();
        for word in [1_700_000_000 + seconds, 0, length(kept), length(frame.len())] {
            self.octets.extend(word.to_le_bytes());
        }
        self.octets.extend_from_slice(&frame[..kept]);
        self
    }
}

pub(super) fn ipv4(from: Ipv4Addr, to: Ipv4Addr, ttl: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let head = [&[0x45, 0][..], &length, &[0, 1, 0x40, 0, ttl, protocol, 0, 0], &from.octets(), &to.octets()].concat();
    [&head[..], payload].concat()
}

#[expect(clippy::too_many_arguments, reason = "a segment has so many fields")]
pub(super) fn tcp(
    from: Ipv4Addr,
    from_port: u16,
    to: Ipv4Addr,
    to_port: u16,
    sequence: u32,
    acknowledged: u32,
    flags: u8,
    data: &[u8],
) -> Vec<u8> {
    let mut segment = [from_port.to_be_bytes(), to_port.to_be_bytes()].concat();
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledged.to_be_bytes());
    segment.extend([0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    segment.extend_from_slice(data);
    ipv4(from, to, 64, 6, &segment)
}

pub(super) fn udp(from: Ipv4Addr, to: Ipv4Addr, ttl: u8, port: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + data.len()).unwrap().to_be_bytes();
    let datagram = [&49152_u16.to_be_bytes()[..], &port.to_be_bytes(), &length, &[0, 0], data].concat();
    ipv4(from, to, ttl, 17, &datagram)
}
