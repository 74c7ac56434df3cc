//! OPEN as received (RFC 4271 §4.2, §6.2). What depends on configuration (the peer's AS, hold time, needed capabilities) is
//! the session's to judge.

use std::net::Ipv4Addr;

use super::notification::code;
use super::{AS_TRANS, Capabilities, Family, Notification, Open, Reader, decode::bad_length};

/// RFC 5492 §4
pub(super) const CAPABILITIES: u8 = 2;

/// RFC 9072 §2: instead of the first parameter's type, the mark of two-octet lengths.
const EXTENDED: u8 = 255;

pub(super) mod capability {
    pub(in crate::bgp::wire) const MULTIPROTOCOL: u8 = 1;
    pub(in crate::bgp::wire) const ROUTE_REFRESH: u8 = 2;
    pub(in crate::bgp::wire) const EXTENDED_NEXT_HOP: u8 = 5;
    pub(in crate::bgp::wire) const EXTENDED_MESSAGE: u8 = 6;
    pub(in crate::bgp::wire) const FOUR_OCTET_ASN: u8 = 65;
    pub(in crate::bgp::wire) const ENHANCED_ROUTE_REFRESH: u8 = 70;
}

const fn error(subcode: u8) -> Notification {
    Notification { code: code::OPEN, subcode, data: Vec::new() }
}

const fn malformed() -> Notification {
    error(code::open::UNSPECIFIC)
}

pub(super) fn decode(octets: &[u8]) -> Result<Open, Notification> {
    let mut body = Reader::new(octets);
    let version = body.u8().ok_or_else(|| bad_length(octets))?;
    if version != 4 {
        // RFC 4271 §6.2: the version we could have spoken, in two octets.
        return Err(Notification::new(code::OPEN, code::open::UNSUPPORTED_VERSION, [0, 4]));
    }
    let (Some(short_asn), Some(hold_time), Some(id), Some(parameters_length)) =
        (body.u16(), body.u16(), body.u32(), body.u8())
    else {
        return Err(bad_length(octets));
    };
    // RFC 7607 §2
    if short_asn == 0 {
        return Err(error(code::open::BAD_PEER_AS));
    }
    // RFC 6286 §2.1: every other one will do.
    if id == 0 {
        return Err(error(code::open::BAD_IDENTIFIER));
    }
    let capabilities = parameters(body, parameters_length)?;
    let asn = capabilities.four_octet_asn.unwrap_or(u32::from(short_asn));
    // RFC 6793 §4.2.1: a number that fits two octets stands in both places, any other has AS_TRANS beside it.
    let agree = short_asn == AS_TRANS || asn == u32::from(short_asn);
    if asn == 0 || !agree {
        return Err(error(code::open::BAD_PEER_AS));
    }
    Ok(Open { version, asn, hold_time, id: Ipv4Addr::from_bits(id), capabilities })
}

fn parameters(mut body: Reader<'_>, length: u8) -> Result<Capabilities, Notification> {
    let mut peek = body;
    // RFC 9072 §2: with the mark there, the one-octet length is ignored unless it is 0.
    let extended = length != 0 && peek.u8() == Some(EXTENDED);
    let announced = if extended {
        body = peek;
        body.u16().map(usize::from)
    } else {
        Some(usize::from(length))
    };
    if announced != Some(body.len()) {
        return Err(malformed());
    }
    let mut found = Capabilities::default();
    while !body.is_empty() {
        let kind = body.u8().ok_or_else(malformed)?;
        let length = if extended { body.u16() } else { body.u8().map(u16::from) };
        let value = length.and_then(|length| body.sub(usize::from(length))).ok_or_else(malformed)?;
        if kind != CAPABILITIES {
            return Err(error(code::open::UNSUPPORTED_PARAMETER));
        }
        capabilities(value, &mut found).ok_or_else(malformed)?;
    }
    found.unknown.sort_unstable();
    found.unknown.dedup();
    Ok(found)
}

fn capabilities(mut parameter: Reader<'_>, found: &mut Capabilities) -> Option<()> {
    while !parameter.is_empty() {
        let code = parameter.u8()?;
        let length = parameter.u8()?;
        let value = parameter.sub(usize::from(length))?;
        one(code, value, found)?;
    }
    Some(())
}

fn one(code: u8, mut value: Reader<'_>, found: &mut Capabilities) -> Option<()> {
    match code {
        capability::MULTIPROTOCOL => {
            found.multiprotocol = true;
            let afi = value.u16()?;
            let _reserved = value.u8()?;
            let family = Family::from_numbers(afi, value.u8()?);
            found.families.extend(family.filter(|family| !found.families.contains(family)));
        }
        capability::ROUTE_REFRESH => found.route_refresh = true,
        capability::EXTENDED_NEXT_HOP => {
            while !value.is_empty() {
                let (afi, safi, next_hop_afi) = (value.u16()?, value.u16()?, value.u16()?);
                found.extended_next_hop |= (afi, safi, next_hop_afi) == (1, 1, 2);
            }
        }
        capability::EXTENDED_MESSAGE => found.extended_message = true,
        capability::FOUR_OCTET_ASN => found.four_octet_asn = Some(value.u32()?),
        capability::ENHANCED_ROUTE_REFRESH => found.enhanced_route_refresh = true,
        _ => {
            found.unknown.push(code);
            value.rest();
        }
    }
    value.is_empty().then_some(())
}

#[cfg(test)]
mod tests;
