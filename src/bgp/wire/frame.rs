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

#[cfg(test)]
mod tests {
    use super::super::MAX_EXTENDED_MESSAGE;
    use super::*;

    fn header(length: u16, kind: u8) -> Vec<u8> {
        [&MARKER[..], &length.to_be_bytes(), &[kind]].concat()
    }

    #[test]
    fn every_header_error() {
        let length = |field: u16| Notification::new(1, 2, field.to_be_bytes());
        let table = [
            (header(18, 4), MAX_MESSAGE, length(18)),
            (header(0, 2), MAX_MESSAGE, length(0)),
            (header(4097, 2), MAX_MESSAGE, length(4097)),
            (header(4097, 9), MAX_MESSAGE, length(4097)),
            (header(28, 1), MAX_MESSAGE, length(28)),
            (header(4097, 1), MAX_EXTENDED_MESSAGE, length(4097)),
            (header(20, 4), MAX_MESSAGE, length(20)),
            (header(4097, 4), MAX_EXTENDED_MESSAGE, length(4097)),
            (header(22, 2), MAX_MESSAGE, length(22)),
            (header(20, 3), MAX_MESSAGE, length(20)),
            (header(4097, 5), MAX_MESSAGE, length(4097)),
            (header(19, 0), MAX_MESSAGE, Notification::new(1, 3, [0])),
            (header(19, 7), MAX_MESSAGE, Notification::new(1, 3, [7])),
            (vec![0xFE; 16], MAX_MESSAGE, Notification::new(1, 1, [])),
        ];
        for (octets, limit, error) in table {
            assert_eq!(frame(&mut BytesMut::from(&octets[..]), limit), Err(error), "{octets:?}");
            let early = octets.len() - 1;
            assert_eq!(frame(&mut BytesMut::from(&octets[..early]), limit), Ok(None), "{octets:?}");
        }
    }

    #[test]
    fn messages_come_off_the_front_whole() {
        let mut stream = [header(19, 4), header(21, 3), vec![6, 2], header(19, 5)].concat();
        stream.extend(header(65535, 2));
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for octet in stream {
            buffer.extend([octet]);
            while let Some(frame) = frame(&mut buffer, MAX_EXTENDED_MESSAGE).unwrap() {
                frames.push((frame.kind, frame.body.to_vec()));
            }
        }
        assert_eq!(frames, [(4, vec![]), (3, vec![6, 2]), (5, vec![])]);
        assert_eq!(buffer.len(), HEADER);
    }
}
