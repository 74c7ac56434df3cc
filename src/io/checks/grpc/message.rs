//! The two messages of `grpc.health.v1.Health/Check`, and gRPC's words.
//!
//! Protocol Buffers and gRPC's framing, as far as one string out and one number in need them.

use crate::io::checks::{Bad, words};

/// `HealthCheckRequest { string service = 1; }`, uncompressed.
pub(super) fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length > 0x7f {
            message.push(0x80 | length.to_le_bytes().first().copied().unwrap_or(0));
            length >>= 7;
        }
        message.extend(u8::try_from(length));
        message.extend(service.bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    framed
}

/// `HealthCheckResponse { ServingStatus status = 1; }`, in its frame.
pub(super) fn health(framed: &[u8]) -> Result<String, Bad> {
    let fail = |text: &str| Err(Bad::Fail(text.to_owned()));
    let message = match framed.split_first_chunk::<5>() {
        Some(([0, length @ ..], message)) if usize::try_from(u32::from_be_bytes(*length)) == Ok(message.len()) => {
            message
        }
        Some(([1, ..], _)) => return fail("a compressed answer, which was not asked for"),
        Some(_) | None => return fail("malformed answer"),
    };
    match serving(message) {
        Some(1) => Ok("SERVING".to_owned()),
        Some(0) => fail("UNKNOWN"),
        Some(2) => fail("NOT_SERVING"),
        Some(3) => fail("SERVICE_UNKNOWN"),
        Some(other) => fail(&format!("unknown health status {other}")),
        None => fail("malformed answer"),
    }
}

/// The last field 1, or the 0 that it is where it is left out; other fields are passed over.
fn serving(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let length = match tag & 7 {
            0 => {
                let value = varint(&mut message)?;
                if tag == 8 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(length..)?;
    }
    Some(status)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (octet, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The name of a gRPC status, or what stands in its place.
pub(super) fn status(code: &str) -> String {
    let name = code.parse::<usize>().ok().and_then(|code| STATUSES.get(code));
    name.map_or_else(|| words::clean(code), |name| (*name).to_owned())
}

/// A `grpc-message`: UTF-8, percent-encoded. What is not encoded right is left as it is.
pub(super) fn text(encoded: &[u8]) -> String {
    let mut octets = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((first, behind)) = rest.split_first() {
        let hex = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let decoded = match (first, behind) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        octets.push(decoded.unwrap_or(*first));
        rest = behind.get(if decoded.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    words::clean(&String::from_utf8_lossy(&octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_frame_with_the_service_in_it() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("a.B"), [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = request(&"x".repeat(255));
        assert_eq!(long[..8], [0, 0, 0, 1, 2, 0x0a, 0xff, 1]);
        assert_eq!(long.len(), 8 + 255);
    }

    #[test]
    fn the_status_decides() {
        let fail = |text: &str| Err(Bad::Fail(text.to_owned()));
        for (message, verdict) in [
            (&[8, 1][..], Ok("SERVING".to_owned())),
            (&[], fail("UNKNOWN")),
            (&[8, 0], fail("UNKNOWN")),
            (&[8, 2], fail("NOT_SERVING")),
            (&[8, 3], fail("SERVICE_UNKNOWN")),
            (&[8, 0xac, 2], fail("unknown health status 300")),
            // Fields that a later version may have; the last status counts.
            (&[0x12, 2, 8, 2, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 8, 2, 8, 1], Ok("SERVING".to_owned())),
            (&[8], fail("malformed answer")),
            (&[8, 0x81], fail("malformed answer")),
            (&[0x12, 2, 8], fail("malformed answer")),
            (&[0x0b, 8, 1], fail("malformed answer")),
            (&[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], fail("malformed answer")),
        ] {
            let length = message.len() as u8;
            assert_eq!(health(&[&[0, 0, 0, 0, length], message].concat()), verdict, "{message:?}");
        }
        assert_eq!(health(&[1, 0, 0, 0, 2, 8, 1]), fail("a compressed answer, which was not asked for"));
        for framed in [&[][..], &[0, 0, 0], &[0, 0, 0, 0, 3, 8, 1], &[0, 0, 0, 0, 1, 8, 1], &[2, 0, 0, 0, 2, 8, 1]] {
            assert_eq!(health(framed), fail("malformed answer"), "{framed:?}");
        }
    }

    #[test]
    fn what_grpc_says_is_made_readable() {
        assert_eq!(
            ["0", "5", "12", "16", "17", "x\x1b"].map(status),
            ["OK", "NOT_FOUND", "UNIMPLEMENTED", "UNAUTHENTICATED", "17", "x"]
        );
        for (encoded, plain) in [
            (&b"unknown service"[..], "unknown service"),
            (b"100%25 %c3%BC", "100% ü"),
            (b"50% of%2", "50% of%2"),
            (b"%zz%1b[2J%0a%ff", "%zz [2J \u{fffd}"),
        ] {
            assert_eq!(text(encoded), plain);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..40)) {
            let _verdict = health(&octets);
            let _status = serving(&octets);
            proptest::prop_assert!(text(&octets).chars().count() <= octets.len());
        }
    }
}
