//! Prefixes as octets: a length in bits and as many octets as that needs (RFC 4271 §4.3, RFC 4760 §5).

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::{BufMut, BytesMut};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Family, Reader};

/// The longest prefix on the wire: a length octet and a whole IPv6 address.
pub(super) const LONGEST: usize = 17;

/// All prefixes of a field. `None`: syntactically incorrect (RFC 7606 §5.3).
pub(super) fn read_all(family: Family, field: &[u8]) -> Option<Vec<IpNet>> {
    let mut reader = Reader::new(field);
    let mut prefixes = Vec::new();
    while !reader.is_empty() {
        prefixes.push(read(family, &mut reader)?);
    }
    Some(prefixes)
}

fn read(family: Family, reader: &mut Reader<'_>) -> Option<IpNet> {
    let bits = reader.u8()?;
    // Bits behind the prefix are irrelevant (RFC 4271 §4.3): `trunc` clears them.
    Some(match family {
        Family::Ipv4 => IpNet::V4(Ipv4Net::new(Ipv4Addr::from(padded(bits, reader)?), bits).ok()?.trunc()),
        Family::Ipv6 => IpNet::V6(Ipv6Net::new(Ipv6Addr::from(padded(bits, reader)?), bits).ok()?.trunc()),
    })
}

/// `None` where the prefix is longer than an address or than the field.
fn padded<const N: usize>(bits: u8, reader: &mut Reader<'_>) -> Option<[u8; N]> {
    let mut octets = [0; N];
    let used = octets.get_mut(..usize::from(bits).div_ceil(8))?;
    used.copy_from_slice(reader.take(used.len())?);
    Some(octets)
}

pub(super) fn write(prefix: &IpNet, out: &mut BytesMut) {
    let bits = prefix.prefix_len();
    out.put_u8(bits);
    let used = usize::from(bits).div_ceil(8);
    match prefix.trunc() {
        IpNet::V4(net) => out.extend(net.network().octets().iter().take(used)),
        IpNet::V6(net) => out.extend(net.network().octets().iter().take(used)),
    }
}

pub(super) fn length(prefix: &IpNet) -> usize {
    1 + usize::from(prefix.prefix_len()).div_ceil(8)
}
