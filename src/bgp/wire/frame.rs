//! Framing: whole messages off the front of what TCP delivered (RFC 4271 §4.1, §6.1).

use bytes::BytesMut;

use super::notification::code;
use super::{Frame, MAX_MESSAGE, Notification, Reader};

pub(super) const MARKER: [u8; 16] = [0xFF; 16];

/// Marker, length and type.
pub(super) const HEADER: usize = 19;

pub(super) mod kind {
    pub(in crate::bgp::wire) const OPEN: u8 = 1;
    pub(in crate::bgp::wire) const UPDATE: u8 = 2;
    pub(in crate::bgp::wire) const NOTIFICATION: u8 = 3;
    pub(in crate::bgp::wire) const KEEPALIVE: u8 = 4;
    pub(in crate::bgp::wire) const ROUTE_REFRESH: u8 = 5;
}

/// Takes one whole message off the front; `None` where it is not all there yet. Errors are found as early as the octets
/// that show them have arrived. `limit` is [`MAX_MESSAGE`], or with RFC 8654 [`super::MAX_EXTENDED_MESSAGE`].
pub fn frame(buffer: &mut BytesMut, limit: usize) -> Result<Option<Frame>, Notification> {
    let mut header = Reader::new(buffer);
    let Some(marker) = header.array() else { return Ok(None) };
    if marker != MARKER {
        return Err(Notification::new(code::MESSAGE_HEADER, code::header::NOT_SYNCHRONIZED, []));
    }
    let (Some(field), Some(kind)) = (header.u16(), header.u8()) else { return Ok(None) };
    let length = usize::from(field);
    let bad_length = || {
        let data = field.to_be_bytes();
        Err(Notification::new(code::MESSAGE_HEADER, code::header::BAD_LENGTH, data))
    };
    if length < HEADER || length > limit {
        return bad_length();
    }
    let allowed = match kind {
        // RFC 8654 §4: OPEN and KEEPALIVE stay small.
        kind::OPEN => 29..=MAX_MESSAGE,
        kind::UPDATE => 23..=limit,
        kind::NOTIFICATION => 21..=limit,
        kind::KEEPALIVE => HEADER..=HEADER,
        // RFC 7313 §5 has an error of its own for a wrong length: the decoder's to find.
        kind::ROUTE_REFRESH => HEADER..=limit,
        _ => return Err(Notification::new(code::MESSAGE_HEADER, code::header::BAD_TYPE, [kind])),
    };
    if !allowed.contains(&length) {
        return bad_length();
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let body = buffer.split_to(length).split_off(HEADER).freeze();
    Ok(Some(Frame { kind, body }))
}
