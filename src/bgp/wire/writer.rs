//! The one owner of length fields while encoding: a closure writes the body, its length is filled in behind it.

use bytes::{BufMut, BytesMut};

/// Writes what `body` writes, preceded by its length in two octets, which counts itself and all before it from `from` on
/// where `from` is given, else only the body. The caller keeps bodies under 65536 octets: every one of ours is bounded by
/// [`MAX_MESSAGE`](super::MAX_MESSAGE).
pub(super) fn with_length(out: &mut BytesMut, from: Option<usize>, body: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u16(0);
    let start = from.unwrap_or(at + 2);
    body(out);
    let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    if let Some(field) = out.get_mut(at..at + 2) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// One whole message: marker, length, type, and what `body` writes.
pub(super) fn message(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_slice(&super::frame::MARKER);
    with_length(out, Some(start), |out| {
        out.put_u8(kind);
        body(out);
    });
}
