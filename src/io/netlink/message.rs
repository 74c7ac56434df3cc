//! rtnetlink messages as facts: the few fields that matter, read from the header and two or three attributes.
//!
//! Not decoded whole: an attribute that a newer kernel adds to a link must never make an address unknown. What is
//! not ours (other tables, other route types, bridge ports) is `None` before any attribute is looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{DecodeError, NetlinkBuffer, NlasIterator};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressFlags, AddressHeader};
use netlink_packet_route::link::{LinkFlags, LinkHeader};
use netlink_packet_route::route::{RouteHeader, RouteType};
use nix::libc;

use crate::facts::{Address, Fact, LocalRoute};

/// linux/if_addr.h, linux/if_link.h and linux/rtnetlink.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFLA_IFNAME: u16 = 3;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;

/// One message: its header's view and its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages of one datagram; the last one is an error where the datagram does not end with a whole message.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Result<Message<'_>, DecodeError>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let buffer = match NetlinkBuffer::new_checked(datagram) {
            Ok(buffer) => buffer,
            Err(error) => {
                datagram = &[];
                return Some(Err(error));
            }
        };
        let length = usize::try_from(buffer.length()).unwrap_or(usize::MAX);
        // Messages begin at multiples of four (NLMSG_ALIGNTO); after the last there may be no padding.
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(Message {
            kind: buffer.message_type(),
            flags: buffer.flags(),
            sequence: buffer.sequence_number(),
            payload: buffer.payload(),
        }))
    })
}

/// What a message says about this host, if it says anything that we want to know.
pub(crate) fn fact(message: &Message<'_>) -> Result<Option<Fact>, DecodeError> {
    match message.kind {
        libc::RTM_NEWLINK => link(message.payload, true),
        libc::RTM_DELLINK => link(message.payload, false),
        libc::RTM_NEWADDR => address(message.payload, true),
        libc::RTM_DELADDR => address(message.payload, false),
        libc::RTM_NEWROUTE => route(message.payload, true),
        libc::RTM_DELROUTE => route(message.payload, false),
        _ => Ok(None),
    }
}

/// True where the kernel may have dropped routes without a word about them, or replaced one: only a full read tells.
///
/// IPv4 routes go silently when their interface is deleted, and a replaced route is reported only as the new one.
pub(crate) fn hides_more(message: &Message<'_>) -> bool {
    match message.kind {
        libc::RTM_DELLINK => true,
        libc::RTM_NEWROUTE => {
            i32::from(message.flags) & libc::NLM_F_REPLACE != 0 && matches!(route(message.payload, true), Ok(Some(_)))
        }
        _ => false,
    }
}

/// The errno in NLMSG_ERROR or NLMSG_DONE, positive; 0 is success.
pub(crate) fn code(message: &Message<'_>) -> i32 {
    let value = message.payload.first_chunk::<4>().map_or(0, |value| i32::from_ne_bytes(*value));
    value.saturating_neg()
}

fn link(payload: &[u8], present: bool) -> Result<Option<Fact>, DecodeError> {
    let header = LinkHeader::parse(payload)?;
    // AF_BRIDGE: a port joined or left a bridge; "RTM_DELLINK" then does not mean that the interface is gone.
    if header.interface_family != AddressFamily::Unspec {
        return Ok(None);
    }
    let mut name = None;
    if present {
        let found = attribute(payload, 16, IFLA_IFNAME)?.ok_or("a link without a name")?;
        let text = found.strip_suffix(&[0]).unwrap_or(found);
        name = Some(String::from_utf8_lossy(text).into_owned());
    }
    let loopback = header.flags.contains(LinkFlags::Loopback);
    Ok(Some(Fact::Interface { index: header.index, name, loopback }))
}

fn address(payload: &[u8], present: bool) -> Result<Option<Fact>, DecodeError> {
    let header = AddressHeader::parse(payload)?;
    if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return Ok(None);
    }
    // On a point-to-point interface IFA_ADDRESS is the peer's; IFA_LOCAL is ours wherever it is given.
    let local = match attribute(payload, 8, IFA_LOCAL)? {
        Some(local) => Some(local),
        None => attribute(payload, 8, IFA_ADDRESS)?,
    };
    let local = local.and_then(|value| ip(&header.family, value)).ok_or("an address without one")?;
    // The header holds the lower eight flags, as the kernels before 3.14 had them.
    let flags = attribute(payload, 8, IFA_FLAGS)?
        .and_then(number)
        .map_or(AddressFlags::from_bits_retain(u32::from(header.flags.bits())), AddressFlags::from_bits_retain);
    let usable = !flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed);
    let address = Address { interface: header.index, address: local, length: header.prefix_len, usable };
    Ok(Some(Fact::Address { address, present }))
}

fn route(payload: &[u8], present: bool) -> Result<Option<Fact>, DecodeError> {
    let header = RouteHeader::parse(payload)?;
    if header.table != libc::RT_TABLE_LOCAL || header.kind != RouteType::Local {
        return Ok(None);
    }
    let length = header.destination_prefix_length;
    let destination = match (&header.address_family, attribute(payload, 12, RTA_DST)?) {
        (family, Some(value)) => ip(family, value),
        // A default route has no destination.
        (AddressFamily::Inet, None) => Some(Ipv4Addr::UNSPECIFIED.into()),
        (AddressFamily::Inet6, None) => Some(Ipv6Addr::UNSPECIFIED.into()),
        (_, None) => None,
    };
    let prefix =
        destination.and_then(|address| IpNet::new(address, length).ok()).ok_or("a route without a destination")?;
    let interface = attribute(payload, 12, RTA_OIF)?.and_then(number).unwrap_or(0);
    Ok(Some(Fact::LocalRoute { route: LocalRoute { interface, prefix }, present }))
}

/// The value of the first attribute of `kind` after a header of `skip` octets.
fn attribute(payload: &[u8], skip: usize, kind: u16) -> Result<Option<&[u8]>, DecodeError> {
    for found in NlasIterator::new(payload.get(skip..).unwrap_or_default()) {
        let found = found?;
        if found.kind() == kind {
            let length = usize::from(found.length());
            return Ok(found.into_inner().get(4..length));
        }
    }
    Ok(None)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kernel's families, of which two carry IP addresses")]
fn ip(family: &AddressFamily, value: &[u8]) -> Option<IpAddr> {
    match family {
        AddressFamily::Inet => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        AddressFamily::Inet6 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

fn number(value: &[u8]) -> Option<u32> {
    <[u8; 4]>::try_from(value).ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests;
