//! UPDATE as received (RFC 4271 §4.3, §6.3; RFC 4760; RFC 7606).

use ipnet::IpNet;

use super::attributes::{self, EXTENDED_LENGTH, Fault, OPTIONAL, kind};
use super::notification::code;
use super::notification::code::update as subcode;
use super::{Codec, Disposition, Family, Malformed, Notification, Reader, Update, decode::bad_length, nlri};

fn error(subcode: u8, data: impl Into<Vec<u8>>) -> Notification {
    Notification::new(code::UPDATE, subcode, data)
}

pub(super) fn decode(octets: &[u8], codec: &Codec) -> Result<Update, Notification> {
    let mut body = Reader::new(octets);
    if body.len() < 4 {
        return Err(bad_length(octets));
    }
    // RFC 4271 §6.3: lengths that conflict with the message's.
    let withdrawn = field(&mut body).ok_or_else(|| error(subcode::MALFORMED_ATTRIBUTE_LIST, []))?;
    let section = field(&mut body).ok_or_else(|| error(subcode::MALFORMED_ATTRIBUTE_LIST, []))?;
    let announced = body.rest();

    // RFC 7606 §3 (i), (j): what cannot be parsed cannot be withdrawn either.
    let read = |field| nlri::read_all(Family::Ipv4, field).ok_or_else(|| error(subcode::INVALID_NETWORK_FIELD, []));
    let mut update = Update { announced: read(announced)?, withdrawn: read(withdrawn)?, ..Update::default() };

    if octets.iter().all(|octet| *octet == 0) && octets.len() == 4 {
        update.end_of_rib = Some(Family::Ipv4);
        return Ok(update);
    }
    let walk = Walk::over(section, !announced.is_empty(), codec)?;
    walk.finish(withdrawn.is_empty(), update)
}

fn field<'a>(body: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = body.u16()?;
    body.take(usize::from(length))
}

/// Attribute kinds, as a set.
#[derive(Default)]
struct Kinds([u128; 2]);

impl Kinds {
    /// False where it was there already.
    fn insert(&mut self, kind: u8) -> bool {
        let bit = 1 << (kind & 0x7F);
        self.0.get_mut(usize::from(kind >> 7)).is_some_and(|half| {
            let new = *half & bit == 0;
            *half |= bit;
            new
        })
    }

    fn contains(&self, kind: u8) -> bool {
        self.0.get(usize::from(kind >> 7)).is_some_and(|half| half & (1 << (kind & 0x7F)) != 0)
    }

    const fn len(&self) -> u32 {
        let Self([low, high]) = self;
        low.count_ones() + high.count_ones()
    }
}

struct Attribute<'a> {
    flags: u8,
    kind: u8,
    value: &'a [u8],
    /// Flags, kind, length and value: the data of most NOTIFICATIONs.
    whole: &'a [u8],
}

/// What MP_REACH_NLRI or MP_UNREACH_NLRI says; of a family we do not speak, only that it does.
struct Multiprotocol {
    family: Option<Family>,
    prefixes: Vec<IpNet>,
    /// There are octets where prefixes stand.
    any: bool,
}

/// The path attributes, one after the other.
struct Walk<'c> {
    codec: &'c Codec,
    /// The NLRI field is not empty.
    classic: bool,
    seen: Kinds,
    repeated: Kinds,
    reach: Option<Multiprotocol>,
    unreach: Option<Multiprotocol>,
    malformed: Vec<Malformed>,
    /// The reply to the first fault beyond attribute-discard.
    reply: Option<Notification>,
}

impl<'c> Walk<'c> {
    fn over(section: &[u8], classic: bool, codec: &'c Codec) -> Result<Self, Notification> {
        let mut walk = Self {
            codec,
            classic,
            seen: Kinds::default(),
            repeated: Kinds::default(),
            reach: None,
            unreach: None,
            malformed: Vec::new(),
            reply: None,
        };
        let mut reader = Reader::new(section);
        let mut next_hop = None;
        while !reader.is_empty() {
            let start = reader;
            match attribute(&mut reader) {
                Ok(attribute) if attribute.kind == kind::NEXT_HOP && walk.seen.insert(kind::NEXT_HOP) => {
                    next_hop = Some(attribute);
                }
                Ok(attribute) => walk.take(&attribute)?,
                // RFC 7606 §4; but without the prefixes of MP_REACH_NLRI nothing can be withdrawn (§3 (j)).
                Err(Some(kind::MP_REACH | kind::MP_UNREACH)) => {
                    return Err(error(subcode::OPTIONAL_ATTRIBUTE, start.clone().rest()));
                }
                Err(kind) => {
                    let fault = Fault {
                        disposition: Disposition::TreatAsWithdraw,
                        subcode: subcode::MALFORMED_ATTRIBUTE_LIST,
                        why: "longer than the attributes' length",
                    };
                    walk.fault(kind.unwrap_or(0), fault, &[]);
                    break;
                }
            }
        }
        // RFC 4760 §3: without an NLRI field, NEXT_HOP beside MP_REACH_NLRI is ignored.
        if let Some(attribute) = next_hop.filter(|_| classic || walk.reach.is_none()) {
            walk.check(&attribute);
        }
        Ok(walk)
    }

    fn take(&mut self, attribute: &Attribute<'_>) -> Result<(), Notification> {
        let multiprotocol = matches!(attribute.kind, kind::MP_REACH | kind::MP_UNREACH);
        // NEXT_HOP is in the set before it comes here: only its repetitions do.
        if attribute.kind == kind::NEXT_HOP || !self.seen.insert(attribute.kind) {
            // RFC 7606 §3 (g)
            if multiprotocol {
                return Err(error(subcode::MALFORMED_ATTRIBUTE_LIST, []));
            }
            if self.repeated.insert(attribute.kind) {
                let why = "more than once: all but the first ignored";
                let disposition = Disposition::AttributeDiscard;
                self.malformed.push(Malformed { disposition, attribute: attribute.kind, why });
            }
            return Ok(());
        }
        if attributes::specified_flags(attribute.kind).is_none() && attribute.flags & OPTIONAL == 0 {
            return Err(error(subcode::UNRECOGNIZED_WELL_KNOWN, attribute.whole));
        }
        if multiprotocol {
            // RFC 7606 §5.3, §7.11, §7.12; RFC 4760 §7
            let incorrect = || error(subcode::OPTIONAL_ATTRIBUTE, attribute.whole);
            if attribute.kind == kind::MP_REACH {
                self.reach = Some(reach(attribute.value, self.codec).ok_or_else(incorrect)?);
            } else {
                self.unreach = Some(unreach(attribute.value).ok_or_else(incorrect)?);
            }
        }
        self.check(attribute);
        Ok(())
    }

    fn check(&mut self, attribute: &Attribute<'_>) {
        if let Err(fault) = attributes::check(attribute.kind, attribute.flags, attribute.value, self.codec) {
            // RFC 4271 §6.3: a malformed AS_PATH goes back without data, all others with the attribute.
            let data = if fault.subcode == subcode::MALFORMED_AS_PATH { &[] } else { attribute.whole };
            self.fault(attribute.kind, fault, data);
        }
    }

    fn fault(&mut self, attribute: u8, fault: Fault, data: &[u8]) {
        let Fault { disposition, subcode, why } = fault;
        self.malformed.push(Malformed { disposition, attribute, why });
        if disposition == Disposition::TreatAsWithdraw && self.reply.is_none() {
            self.reply = Some(error(subcode, data));
        }
    }

    /// RFC 7606 §3 (d)
    fn missing(&mut self) {
        let mandatory = [(kind::ORIGIN, true), (kind::AS_PATH, true), (kind::NEXT_HOP, self.classic)];
        for (kind, needed) in mandatory {
            if needed && !self.seen.contains(kind) {
                let fault = Fault {
                    disposition: Disposition::TreatAsWithdraw,
                    subcode: subcode::MISSING_WELL_KNOWN,
                    why: "mandatory, and missing",
                };
                self.fault(kind, fault, &[kind]);
            }
        }
    }

    /// MP_UNREACH_NLRI is all there is, and it was read: its prefixes are gone whatever else is wrong with it.
    fn only_unreach(&self) -> bool {
        self.seen.len() == 1
            && self.seen.contains(kind::MP_UNREACH)
            && self.malformed.iter().all(|malformed| malformed.attribute == kind::MP_UNREACH)
    }

    fn finish(mut self, no_withdrawn: bool, mut update: Update) -> Result<Update, Notification> {
        let reachable = self.classic || self.reach.as_ref().is_some_and(|reach| reach.any);
        if reachable {
            self.missing();
        } else if !self.only_unreach()
            && let Some(reply) = self.reply
        {
            // RFC 7606 §5.2: with no reachable NLRI we cannot be sure to have found all of it.
            return Err(reply);
        }
        if let Some(unreach) = self.unreach {
            // RFC 4724 §2
            let alone = no_withdrawn && !self.classic && self.seen.len() == 1;
            update.end_of_rib = unreach.family.filter(|_| alone && !unreach.any);
            update.withdrawn.extend(unreach.prefixes);
        }
        update.announced.extend(self.reach.into_iter().flat_map(|reach| reach.prefixes));
        if self.reply.is_some() {
            update.withdrawn.append(&mut update.announced);
        }
        update.malformed = self.malformed;
        Ok(update)
    }
}

/// `Err`: it ends behind the section's end; with its kind, as far as that was there.
fn attribute<'a>(reader: &mut Reader<'a>) -> Result<Attribute<'a>, Option<u8>> {
    let start = *reader;
    let flags = reader.u8().ok_or(None)?;
    let kind = reader.u8().ok_or(None)?;
    let length = if flags & EXTENDED_LENGTH != 0 { reader.u16() } else { reader.u8().map(u16::from) };
    let value = length.and_then(|length| reader.take(usize::from(length))).ok_or(Some(kind))?;
    Ok(Attribute { flags, kind, value, whole: reader.since(&start) })
}

/// RFC 4760 §3. `None`: incorrect.
fn reach(value: &[u8], codec: &Codec) -> Option<Multiprotocol> {
    // RFC 7606 §5.3
    if value.len() < 5 {
        return None;
    }
    let mut reader = Reader::new(value);
    let Some(family) = Family::from_numbers(reader.u16()?, reader.u8()?) else {
        return Some(Multiprotocol { family: None, prefixes: Vec::new(), any: true });
    };
    let length = reader.u8()?;
    let expected = match family {
        Family::Ipv4 => length == 4 || codec.extended_next_hop && matches!(length, 16 | 32),
        Family::Ipv6 => matches!(length, 16 | 32),
    };
    // RFC 7606 §7.11: what it says is not looked at; no route of the peer's is ever used.
    reader.take(usize::from(length)).filter(|_| expected)?;
    let _reserved = reader.u8()?;
    prefixes(family, reader.rest())
}

/// RFC 4760 §4. `None`: incorrect.
fn unreach(value: &[u8]) -> Option<Multiprotocol> {
    let mut reader = Reader::new(value);
    match Family::from_numbers(reader.u16()?, reader.u8()?) {
        Some(family) => prefixes(family, reader.rest()),
        None => Some(Multiprotocol { family: None, prefixes: Vec::new(), any: !reader.is_empty() }),
    }
}

fn prefixes(family: Family, field: &[u8]) -> Option<Multiprotocol> {
    let prefixes = nlri::read_all(family, field)?;
    Some(Multiprotocol { family: Some(family), prefixes, any: !field.is_empty() })
}

#[cfg(test)]
mod tests;
