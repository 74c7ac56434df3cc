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
    // RFC 7313 §5. A plain request may carry ORF entries (RFC 5291), which we did not ask for and do not read.
    if matches!(subtype, 1 | 2) && !body.is_empty() {
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
