//! What members send one another.
//!
//! ```text
//!   0      4       5    6      10              26       34
//!   | ACPM | version 1 | type 1 | key id | sender, IPv4 mapped | number | the original packet | HMAC, 16 octets |
//! ```
//!
//! The HMAC is SHA-256 over all that stands before it, cut to 128 bits (RFC 2104 §5). The sender stands inside it, so a
//! datagram cannot come from elsewhere; type 1 is "relayed" and final: nothing that is heard is ever sent on.

use std::hint::black_box;
use std::net::IpAddr;

use ring::hmac;

use super::hash::wide;

const MAGIC: [u8; 4] = *b"ACPM";
const VERSION: u8 = 1;
const RELAYED: u8 = 1;
const TAG: usize = 16;
const HEADER: usize = 34;

/// The longest there is: around the longest error (RFC 4443 §2.4(c)). Whatever is longer is no datagram of ours.
pub const MAX_DATAGRAM: usize = HEADER + super::judge::MAX_IPV6 + TAG;

/// Fewer than 128 bits of key are the weakest part of a tag of 128 bits.
pub const MIN_KEY: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a key has {MIN_KEY} octets or more, this one has {0}")]
pub struct KeyTooShort(pub usize);

/// The secret of one key file, ready to be used.
#[derive(Clone, Debug)]
pub struct Key {
    hmac: hmac::Key,
    id: [u8; 4],
}

impl Key {
    /// Everything in the file is the secret, without one newline at its end: editors add those. At least [`MIN_KEY`]
    /// octets are left.
    pub fn new(file: &[u8]) -> Result<Self, KeyTooShort> {
        let secret = file.strip_suffix(b"\n").unwrap_or(file);
        let secret = secret.strip_suffix(b"\r").filter(|_| secret.len() < file.len()).unwrap_or(secret);
        if secret.len() < MIN_KEY {
            return Err(KeyTooShort(secret.len()));
        }
        let hmac = hmac::Key::new(hmac::HMAC_SHA256, secret);
        // Which of two keys it is, during a rotation, without a number that somebody must assign.
        let id = match hmac::sign(&hmac, b"anycaster pmtud key id").as_ref().first_chunk::<4>() {
            // That says "no key".
            Some([0, 0, 0, 0]) | None => [0, 0, 0, 1],
            Some(id) => *id,
        };
        Ok(Self { hmac, id })
    }

    /// To tell keys apart in words: the same secret has the same on all hosts, and it says nothing of the secret.
    pub const fn id(&self) -> u32 {
        u32::from_be_bytes(self.id)
    }

    fn tag(&self, octets: &[u8]) -> Option<[u8; TAG]> {
        hmac::sign(&self.hmac, octets).as_ref().first_chunk().copied()
    }
}

/// Appends one. Without a key it has no HMAC.
pub(super) fn write(key: Option<&Key>, sender: IpAddr, number: u64, packet: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.reserve(HEADER + packet.len() + TAG);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, RELAYED]);
    out.extend_from_slice(&key.map_or([0; 4], |key| key.id));
    out.extend_from_slice(&wide(sender).to_be_bytes());
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(packet);
    if let Some(tag) = key.and_then(|key| key.tag(out.get(start..)?)) {
        out.extend_from_slice(&tag);
    }
}

/// One that has the right form, and is believed in nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Datagram<'a> {
    pub(super) sender: u128,
    pub(super) number: u64,
    pub(super) packet: &'a [u8],
    key: [u8; 4],
    signed: &'a [u8],
    tag: Option<[u8; TAG]>,
}

pub(super) fn read(octets: &[u8]) -> Option<Datagram<'_>> {
    let (&magic, rest) = octets.split_first_chunk::<4>()?;
    let (&[version, kind], rest) = rest.split_first_chunk::<2>()?;
    let (&key, rest) = rest.split_first_chunk::<4>()?;
    let (&sender, rest) = rest.split_first_chunk::<16>()?;
    let (&number, packet) = rest.split_first_chunk::<8>()?;
    if (magic, version, kind) != (MAGIC, VERSION, RELAYED) || octets.len() > MAX_DATAGRAM {
        return None;
    }
    let (sender, number) = (u128::from_be_bytes(sender), u64::from_be_bytes(number));
    if key == [0; 4] {
        return Some(Datagram { sender, number, packet, key, signed: octets, tag: None });
    }
    let (packet, _) = packet.split_last_chunk::<TAG>()?;
    let (signed, &tag) = octets.split_last_chunk::<TAG>()?;
    Some(Datagram { sender, number, packet, key, signed, tag: Some(tag) })
}

impl Datagram<'_> {
    /// By one of these keys; without any, what is not signed is good enough, and nothing else can be told.
    pub(super) fn is_signed_by(&self, keys: &[Key]) -> bool {
        match self.tag {
            None => keys.is_empty(),
            Some(tag) => keys.iter().filter(|key| key.id == self.key).any(|key| {
                // Two numbers of 128 bits and no loop that could end early: no time tells how many octets were right.
                // `hmac::verify` knows whole tags only.
                key.tag(self.signed)
                    .is_some_and(|good| black_box(u128::from_ne_bytes(good) ^ u128::from_ne_bytes(tag)) == 0)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(secret: &str) -> Key {
        Key::new(secret.as_bytes()).unwrap()
    }

    fn written(key: Option<&Key>) -> Vec<u8> {
        let mut out = b"before".to_vec();
        write(key, "192.0.2.1".parse().unwrap(), 0x0102_0304_0506_0708, b"packet", &mut out);
        out.split_off(6)
    }

    #[test]
    fn to_its_last_octet() {
        let key = key("0123456789abcdef");
        // As openssl says: printf 'anycaster pmtud key id' | openssl dgst -sha256 -hmac 0123456789abcdef
        const KEY_ID: [u8; 4] = [0x9B, 0xD2, 0xC6, 0xAD];
        // And of all that is expected below.
        const SIGNATURE: [u8; 16] = [215, 246, 243, 197, 26, 231, 98, 84, 180, 223, 231, 138, 116, 22, 137, 231];
        let octets = written(Some(&key));
        let (signed, tag) = octets.split_at(40);
        let mut expected = b"ACPM\x01\x01".to_vec();
        expected.extend(KEY_ID);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 192, 0, 2, 1, 1, 2, 3, 4, 5, 6, 7, 8]);
        expected.extend(b"packet");
        assert_eq!(signed, expected);
        assert_eq!(tag, SIGNATURE);
        expected.splice(6..10, [0; 4]);
        assert_eq!(written(None), expected);
    }

    #[test]
    fn a_key_file_may_end_with_a_newline() {
        for (file, same) in [
            ("0123456789abcdef\n", true),
            ("0123456789abcdef\r\n", true),
            ("0123456789abcdef\n\n", false),
            ("0123456789abcdef\r", false),
            ("\n0123456789abcdef", false),
        ] {
            assert_eq!(key(file).id() == key("0123456789abcdef").id(), same, "{file:?}");
        }
        assert_eq!(
            Key::new(b"0123456789abcde\n").unwrap_err().to_string(),
            "a key has 16 octets or more, this one has 15"
        );
    }

    #[test]
    fn any_key_verifies_and_each_octet_counts() {
        let (old, new) = (key("the old key of all"), key("the new key of all"));
        let octets = written(Some(&new));
        let signed = |octets: &[u8], keys: &[&Key]| {
            let keys: Vec<Key> = keys.iter().map(|key| (*key).clone()).collect();
            read(octets).map(|datagram| datagram.is_signed_by(&keys))
        };
        assert_eq!(signed(&octets, &[&old, &new]), Some(true));
        assert_eq!(signed(&octets, &[&old]), Some(false));
        assert_eq!(signed(&octets, &[]), Some(false));
        assert_eq!(signed(&written(None), &[]), Some(true));
        assert_eq!(signed(&written(None), &[&new]), Some(false));
        for place in 0..octets.len() {
            for bit in 0..8 {
                let mut broken = octets.clone();
                broken[place] ^= 1 << bit;
                assert_ne!(signed(&broken, &[&new]), Some(true), "bit {bit} of octet {place}");
            }
        }
    }

    #[test]
    fn too_short_too_long_and_of_another_kind() {
        let octets = written(Some(&key("0123456789abcdef")));
        for length in 0..50 {
            assert_eq!(read(&octets[..length]), None, "{length}");
        }
        for (place, octet) in [(0, b'a'), (3, 0), (4, 0), (4, 2), (5, 0), (5, 2)] {
            let mut other = octets.clone();
            other[place] = octet;
            assert_eq!(read(&other), None);
        }
        let mut long = octets;
        long.resize(MAX_DATAGRAM, 0);
        assert!(read(&long).is_some());
        long.push(0);
        assert_eq!(read(&long), None);
    }

    proptest! {
        #[test]
        fn there_and_back(secret in prop::collection::vec(any::<u8>(), 16..100), sender: IpAddr, number: u64,
                          packet in prop::collection::vec(any::<u8>(), 0..1280), signed: bool) {
            // A last newline is cut, and then it may be one octet too short.
            prop_assume!(secret.last() != Some(&b'\n'));
            let key = Key::new(&secret).unwrap();
            let keys = if signed { vec![key] } else { vec![] };
            let mut octets = Vec::new();
            write(keys.first(), sender, number, &packet, &mut octets);
            let datagram = read(&octets).unwrap();
            prop_assert_eq!((datagram.sender, datagram.number, datagram.packet), (wide(sender), number, &packet[..]));
            prop_assert!(datagram.is_signed_by(&keys));
        }
    }
}
