//! Frames into messages. OPEN and UPDATE have files of their own.

use bytes::{BufMut, BytesMut};

use super::frame::{HEADER, kind};
use super::notification::code;
use super::writer::message;
use super::{Codec, Family, Frame, Message, Notification, Reader, RouteRefresh, open, update};

/// Every error is the NOTIFICATION to send.
pub fn decode(frame: &Frame, codec: &Codec) -> Result<Message, Notification> {
    match frame.kind {
        kind::OPEN => open::decode(&frame.body).map(Message::Open),
        kind::UPDATE => update::decode(&frame.body, codec).map(Message::Update),
        kind::NOTIFICATION => {
            let mut body = Reader::new(&frame.body);
            let (Some(code), Some(subcode)) = (body.u8(), body.u8()) else { return Err(bad_length(&frame.body)) };
            Ok(Message::Notification(Notification::new(code, subcode, body.rest())))
        }
        kind::KEEPALIVE if frame.body.is_empty() => Ok(Message::Keepalive),
        kind::KEEPALIVE => Err(bad_length(&frame.body)),
        kind::ROUTE_REFRESH => route_refresh(frame).map(Message::RouteRefresh),
        other => Err(Notification::new(code::MESSAGE_HEADER, code::header::BAD_TYPE, [other])),
    }
}

/// RFC 4271 §6.1: the data is the erroneous length field.
pub(super) fn bad_length(body: &[u8]) -> Notification {
    let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
    Notification::new(code::MESSAGE_HEADER, code::header::BAD_LENGTH, length.to_be_bytes())
}

fn route_refresh(frame: &Frame) -> Result<RouteRefresh, Notification> {
    let mut body = Reader::new(&frame.body);
    let (Some(afi), Some(subtype), Some(safi)) = (body.u16(), body.u8(), body.u8()) else {
        return Err(bad_refresh_length(frame));
    };
    // RFC 7313 §5 says so of subtypes 1 and 2; RFC 2918 §3 has no other length either, and ORF entries (RFC 5291), which
    // may follow a plain request, are only for those who offered to read them.
    if !body.is_empty() {
        return Err(bad_refresh_length(frame));
    }
    Ok(RouteRefresh { family: Family::from_numbers(afi, safi), subtype })
}

/// RFC 7313 §5: the data is the complete message.
fn bad_refresh_length(frame: &Frame) -> Notification {
    let mut whole = BytesMut::new();
    message(&mut whole, frame.kind, |out| out.put_slice(&frame.body));
    Notification::new(code::ROUTE_REFRESH, code::route_refresh::INVALID_LENGTH, whole)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const CODEC: Codec =
        Codec { four_octet_asn: true, extended_message: false, extended_next_hop: false, internal: false };

    #[test]
    fn the_small_messages() {
        let refresh = |family, subtype| Ok(Message::RouteRefresh(RouteRefresh { family, subtype }));
        let bad_refresh = |body: &[u8]| {
            let mut data = vec![0xFF; 16];
            data.extend([0, u8::try_from(19 + body.len()).unwrap(), 5]);
            data.extend_from_slice(body);
            Err(Notification::new(7, 1, data))
        };
        let table: &[(u8, &[u8], Result<Message, Notification>)] = &[
            (4, &[], Ok(Message::Keepalive)),
            (4, &[0], Err(Notification::new(1, 2, [0, 20]))),
            (3, &[6, 2, 1, b'x'], Ok(Message::Notification(Notification::administrative_shutdown("x")))),
            (3, &[6], Err(Notification::new(1, 2, [0, 20]))),
            (5, &[0, 1, 0, 1], refresh(Some(Family::Ipv4), 0)),
            (5, &[0, 2, 1, 1], refresh(Some(Family::Ipv6), 1)),
            (5, &[0, 2, 2, 1], refresh(Some(Family::Ipv6), 2)),
            (5, &[0, 1, 9, 1], refresh(Some(Family::Ipv4), 9)),
            (5, &[0, 1, 0, 128], refresh(None, 0)),
            (5, &[0, 1, 0, 1, 1, 64, 0, 0], bad_refresh(&[0, 1, 0, 1, 1, 64, 0, 0])),
            (5, &[0, 1, 0], bad_refresh(&[0, 1, 0])),
            (5, &[], bad_refresh(&[])),
            (5, &[0, 1, 1, 1, 0], bad_refresh(&[0, 1, 1, 1, 0])),
            (5, &[0, 1, 2, 1, 0], bad_refresh(&[0, 1, 2, 1, 0])),
            (6, &[], Err(Notification::new(1, 3, [6]))),
            (1, &[4, 0, 1], Err(Notification::new(1, 2, [0, 22]))),
            (2, &[0, 0, 0], Err(Notification::new(1, 2, [0, 22]))),
        ];
        for (kind, body, expected) in table {
            let frame = Frame { kind: *kind, body: Bytes::copy_from_slice(body) };
            assert_eq!(&decode(&frame, &CODEC), expected, "{kind} {body:?}");
        }
    }
}
