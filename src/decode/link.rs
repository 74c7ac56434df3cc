//! Link layers down to IP: Ethernet with 802.1Q, Linux cooked (both), raw IP, null and loopback.

use crate::bgp::wire::reader::Reader;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Link<'a> {
    pub(super) vlans: Vec<u16>,
    pub(super) ip: &'a [u8],
}

/// A capture says these by name where it can: <https://www.tcpdump.org/linktypes.html>.
const KNOWN: [(u32, &str); 14] = [
    (0, "null"),
    (1, "Ethernet"),
    (12, "raw IP"),
    (14, "raw IP"),
    (101, "raw IP"),
    (105, "802.11"),
    (108, "loopback"),
    (113, "Linux cooked"),
    (127, "802.11 with radiotap"),
    (147, "of its user's own"),
    (189, "USB"),
    (228, "raw IPv4"),
    (229, "raw IPv6"),
    (276, "Linux cooked v2"),
];

pub(super) fn name(link: u32) -> String {
    let known = KNOWN.iter().find(|(number, _)| *number == link);
    known.map_or_else(|| format!("link type {link}"), |(_, name)| (*name).to_owned())
}

pub(super) const fn known(link: u32) -> bool {
    matches!(link, 0 | 1 | 12 | 14 | 101 | 108 | 113 | 228 | 229 | 276)
}

/// `None`: no IP in it, or not all of the link layer.
pub(super) fn read(link: u32, frame: &[u8]) -> Option<Link<'_>> {
    let mut reader = Reader::new(frame);
    match link {
        1 => {
            let _addresses = reader.take(12)?;
            let kind = reader.u16()?;
            ethertype(kind, reader)
        }
        113 => {
            let _type_and_address = reader.take(14)?;
            let protocol = reader.u16()?;
            ethertype(protocol, reader)
        }
        276 => {
            let protocol = reader.u16()?;
            let _rest_of_the_header = reader.take(18)?;
            ethertype(protocol, reader)
        }
        12 | 14 | 101 | 228 | 229 => Some(Link { vlans: Vec::new(), ip: reader.rest() }),
        0 | 108 => {
            // The address family as the capturing machine numbers it, in its byte order; all the numbers are below 256.
            let family = reader.u32()?;
            let small = family.min(family.swap_bytes());
            matches!(small, 2 | 10 | 24 | 28 | 30).then(|| Link { vlans: Vec::new(), ip: reader.rest() })
        }
        _ => None,
    }
}

fn ethertype(mut kind: u16, mut reader: Reader<'_>) -> Option<Link<'_>> {
    let mut vlans = Vec::new();
    // The loop ends with the frame: each tag is four octets of it.
    while matches!(kind, 0x8100 | 0x88A8 | 0x9100 | 0x9200) {
        vlans.push(reader.u16()? & 0x0FFF);
        kind = reader.u16()?;
    }
    matches!(kind, 0x0800 | 0x86DD).then(|| Link { vlans, ip: reader.rest() })
}
