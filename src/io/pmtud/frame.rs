//! Link headers: where the packet begins, and the header of the same frame for everybody on the segment.
//!
//! ```text
//!   captured   to us   | router | (outer tag: the kernel has it)  | (inner tag) | type | packet
//!   sent again ff..ff  | us     |  outer tag, put back            | (inner tag) | type | packet
//! ```

use std::ops::Deref;

use super::filter::{IPV4, IPV6, VLAN};
use crate::io::packet::Frame;

/// A tag that the kernel left in the frame.
const TAG: usize = 4;

/// Both addresses, two tags, the type.
const LONGEST: usize = 12 + 2 * TAG + 2;

/// From the IP header on, with what the frame was padded with; `None`: something else.
pub(super) fn packet<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    frame.octets.get(start(frame)?..)
}

fn start(frame: &Frame<'_>) -> Option<usize> {
    if [IPV4, IPV6].contains(&frame.protocol) {
        return Some(frame.network);
    }
    let [_, _, high, low] = *frame.octets.get(frame.network..)?.first_chunk::<TAG>()?;
    let inside = VLAN.contains(&frame.protocol) && [IPV4, IPV6].contains(&u16::from_be_bytes([high, low]));
    inside.then_some(frame.network + TAG)
}

/// Who sent the frame; `None`: not Ethernet.
pub(super) fn source(frame: &Frame<'_>) -> Option<[u8; 6]> {
    if !frame.ethernet {
        return None;
    }
    frame.octets.get(6..)?.first_chunk().copied()
}

/// An Ethernet header, in place.
pub(super) struct Header {
    octets: [u8; LONGEST],
    length: usize,
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

impl Header {
    /// What goes before the packet of this frame, to send it to everybody on the segment; `None`: not Ethernet.
    pub(super) fn broadcast(frame: &Frame<'_>, from: [u8; 6]) -> Option<Self> {
        let inner = frame.octets.get(12..start(frame)?).filter(|_| frame.ethernet)?;
        let tag = frame.tag.map(|tag| [tag.kind.to_be_bytes(), tag.control.to_be_bytes()]);
        let tag = tag.as_ref().map_or(&[][..], |tag| tag.as_flattened());
        let mut header = Self { octets: [0; LONGEST], length: 0 };
        for part in [&[0xff; 6], &from, tag, inner] {
            header.octets.get_mut(header.length..)?.get_mut(..part.len())?.copy_from_slice(part);
            header.length += part.len();
        }
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::packet::Tag;

    const US: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const EVERYBODY: [u8; 6] = [0xff; 6];

    fn frame(octets: &[u8], network: usize, protocol: u16, tag: Option<Tag>) -> Frame<'_> {
        Frame { octets, network, protocol, ethernet: network > 0, tag }
    }

    #[test]
    fn a_frame_is_sent_again_as_it_came_but_for_its_addresses() {
        let plain = [&US[..], &ROUTER, &[8, 0], b"packet"].concat();
        let inner = [&US[..], &ROUTER, &[0x81, 0, 0, 7, 0x86, 0xdd], b"packet"].concat();
        let tag = Tag { kind: 0x88a8, control: 0x2005 };
        for (octets, protocol, tag, between) in [
            (&plain, IPV4, None, &[8, 0][..]),
            (&plain, IPV4, Some(tag), &[0x88, 0xa8, 0x20, 5, 8, 0]),
            (&inner, 0x8100, None, &[0x81, 0, 0, 7, 0x86, 0xdd]),
            (&inner, 0x8100, Some(tag), &[0x88, 0xa8, 0x20, 5, 0x81, 0, 0, 7, 0x86, 0xdd]),
        ] {
            let frame = frame(octets, 14, protocol, tag);
            assert_eq!((packet(&frame), source(&frame)), (Some(&b"packet"[..]), Some(ROUTER)));
            let header = Header::broadcast(&frame, US).unwrap();
            assert_eq!(*header, *[&EVERYBODY[..], &US, between].concat());
        }
    }

    #[test]
    fn without_a_link_header_the_packet_is_all_there_is() {
        let bare = frame(b"packet", 0, IPV4, None);
        assert_eq!((packet(&bare), source(&bare)), (Some(&b"packet"[..]), None));
        assert!(Header::broadcast(&bare, US).is_none());
    }

    #[test]
    fn what_is_not_ip_or_cut_short_is_nothing() {
        let octets = [&US[..], &ROUTER, &[0x81, 0, 0, 7, 8, 6, 0, 0]].concat();
        assert_eq!(packet(&frame(&octets, 14, 0x8100, None)), None, "ARP behind a tag");
        assert_eq!(packet(&frame(&octets[..16], 14, 0x8100, None)), None);
        assert_eq!(packet(&frame(&octets, 14, 0x0806, None)), None);
        assert_eq!(packet(&frame(&octets, 60, IPV4, None)), None);
    }
}
