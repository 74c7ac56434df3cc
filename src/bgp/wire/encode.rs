//! All messages but UPDATE. The one file that knows bgpkit-parser, and only those of its encoders that cannot fail; those
//! that can (OPEN's frame, attributes) check lengths that our own types and constants already bound, so they are ours.

use bgpkit_parser::models::capabilities::{
    BgpExtendedMessageCapability, ExtendedNextHopCapability, ExtendedNextHopEntry, FourOctetAsCapability,
    MultiprotocolExtensionsCapability, RouteRefreshCapability,
};
use bgpkit_parser::models::{Afi, BgpError, BgpNotificationMessage, BgpRouteRefreshMessage, Safi};
use bytes::{BufMut, Bytes, BytesMut};

use super::frame::{HEADER, kind};
use super::open::{CAPABILITIES, capability};
use super::writer::message;
use super::{AS_TRANS, Capabilities, Family, MAX_MESSAGE, Notification, Open};

fn whole(kind: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER + body.len());
    message(&mut out, kind, |out| out.put_slice(body));
    out.freeze()
}

/// Capabilities ascending by code, in one parameter (RFC 5492 §4). `unknown` is what a peer had; it has no values to send.
pub fn open(open: &Open) -> Bytes {
    let capabilities = capabilities(&open.capabilities);
    let mut body = BytesMut::new();
    body.put_u8(open.version);
    // RFC 6793 §9
    body.put_u16(u16::try_from(open.asn).unwrap_or(AS_TRANS));
    body.put_u16(open.hold_time);
    body.put_u32(open.id.to_bits());
    // Two families and each of the others once: never near 255 octets, so never RFC 9072's form.
    let length = u8::try_from(capabilities.len()).unwrap_or(u8::MAX);
    if length == 0 {
        body.put_u8(0);
    } else {
        body.put_u8(length.saturating_add(2));
        body.put_u8(CAPABILITIES);
        body.put_u8(length);
        body.put_slice(&capabilities);
    }
    whole(kind::OPEN, &body)
}

fn capabilities(capabilities: &Capabilities) -> BytesMut {
    let mut out = BytesMut::new();
    let mut put = |code: u8, value: Bytes| {
        out.put_u8(code);
        out.put_u8(u8::try_from(value.len()).unwrap_or(u8::MAX));
        out.put_slice(&value);
    };
    for family in Family::ALL {
        if capabilities.families.contains(&family) {
            let value = MultiprotocolExtensionsCapability::new(afi(family), Safi::Unicast);
            put(capability::MULTIPROTOCOL, value.encode());
        }
    }
    if capabilities.route_refresh {
        put(capability::ROUTE_REFRESH, RouteRefreshCapability::new().encode());
    }
    if capabilities.extended_next_hop {
        let entry = ExtendedNextHopEntry { nlri_afi: Afi::Ipv4, nlri_safi: Safi::Unicast, nexthop_afi: Afi::Ipv6 };
        put(capability::EXTENDED_NEXT_HOP, ExtendedNextHopCapability::new(vec![entry]).encode());
    }
    if capabilities.extended_message {
        put(capability::EXTENDED_MESSAGE, BgpExtendedMessageCapability::new().encode());
    }
    if let Some(asn) = capabilities.four_octet_asn {
        put(capability::FOUR_OCTET_ASN, FourOctetAsCapability::new(asn).encode());
    }
    if capabilities.enhanced_route_refresh {
        put(capability::ENHANCED_ROUTE_REFRESH, Bytes::new());
    }
    out
}

const fn afi(family: Family) -> Afi {
    match family {
        Family::Ipv4 => Afi::Ipv4,
        Family::Ipv6 => Afi::Ipv6,
    }
}

pub fn keepalive() -> Bytes {
    whole(kind::KEEPALIVE, &[])
}

/// Data beyond 4096 octets (the attribute of an RFC 8654 UPDATE) is cut off: it is there for people to read.
pub fn notification(notification: &Notification) -> Bytes {
    let data = notification.data.iter().copied().take(MAX_MESSAGE - HEADER - 2).collect();
    // Not `BgpError::new`: it would log each code that it has no name for.
    let error = BgpError::Unknown(notification.code, notification.subcode);
    whole(kind::NOTIFICATION, &BgpNotificationMessage { error, data }.encode())
}

/// RFC 2918, RFC 7313
pub fn route_refresh(family: Family, subtype: u8) -> Bytes {
    let (afi, safi) = family.numbers();
    whole(kind::ROUTE_REFRESH, &BgpRouteRefreshMessage { afi, subtype, safi, data: Vec::new() }.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4271 §4.1: no message but an UPDATE is longer (RFC 8654 §4), so data is cut.
    #[test]
    fn a_notification_is_at_most_4096_octets() {
        for (data, length) in [(0, 21), (1, 22), (4075, 4096), (4076, 4096), (60_000, 4096)] {
            let said = notification(&Notification::new(3, 1, vec![7; data]));
            assert_eq!(
                (said.len(), u16::from_be_bytes([said[16], said[17]])),
                (length, u16::try_from(length).unwrap())
            );
        }
    }
}
