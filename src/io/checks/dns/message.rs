//! DNS messages (RFC 1035 §4): one question out, one answer in.
//!
//! The answer is hostile. Only what a check looks at is read, every length is checked against what is there, and the
//! work is bounded: a pointer leads backwards, and a name takes so many steps at most.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::config::Record;

/// What resolvers have used since DNS Flag Day 2020: fits one packet everywhere.
const PAYLOAD: u16 = 1232;

const HEADER: usize = 12;
const OPT: u16 = 41;
const IN: u16 = 1;

/// A name of 255 octets has 127 labels at most; where a pointer leads, a label follows.
const MOST_STEPS: usize = 256;

/// An answer to the question asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    /// With the upper bits from EDNS, RFC 6891 §6.1.3.
    pub(super) code: u16,
    pub(super) truncated: bool,
    /// The data of each answer of the type asked for: its fields as dig(1) prints them, names without the final dot,
    /// texts without quotes.
    pub(super) data: Vec<String>,
}

/// The message is an answer to the question, and makes no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// Recursion desired, EDNS(0) with [`PAYLOAD`] and no options: what clients send.
pub(super) fn query(id: u16, name: &str, record: Record) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + name.len() + 17);
    message.extend(id.to_be_bytes());
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        // The configuration knows no label of more than 63 octets.
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend([record.number(), IN].map(u16::to_be_bytes).as_flattened());
    message.push(0);
    message.extend([OPT, PAYLOAD, 0, 0, 0].map(u16::to_be_bytes).as_flattened());
    message
}

/// `None`: this answers another question, or none.
pub(super) fn answer(message: &[u8], query: &[u8], record: Record) -> Result<Option<Answer>, Malformed> {
    let mut reader = Reader { message, at: 0 };
    let Some([id, flags, questions, answers, authorities, additionals]) = reader.header() else { return Ok(None) };
    // An answer (QR) to a standard query (opcode 0).
    if query.get(..2) != Some(&id.to_be_bytes()) || flags & 0xf800 != 0x8000 {
        return Ok(None);
    }
    let mut code = flags & 0xf;
    match questions {
        // A server that could not read the question, or did not want to, may leave it out.
        0 if code != 0 => {}
        1 if reader.same_question(query) => {}
        _ => return Ok(None),
    }
    let truncated = flags & 0x0200 != 0;
    let mut data = Vec::new();
    let mut extended = 0;
    let counts = [u32::from(answers), u32::from(authorities) + u32::from(additionals)];
    for (section, count) in counts.into_iter().enumerate() {
        for _ in 0..count {
            match reader.record() {
                Some(found) if section == 0 && found.class == IN && found.kind == record.number() => {
                    data.push(found.text(record).ok_or(Malformed)?);
                }
                Some(found) if section == 1 && found.kind == OPT => extended = found.ttl >> 24,
                Some(_) => {}
                // The counts may be those of the whole answer.
                None if truncated => return Ok(Some(Answer { code, truncated, data })),
                None => return Err(Malformed),
            }
        }
    }
    code |= u16::try_from(extended).unwrap_or(0) << 4;
    Ok(Some(Answer { code, truncated, data }))
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

struct Found<'a> {
    kind: u16,
    class: u16,
    ttl: u32,
    /// At the first octet of the data; the message ends with them.
    data: Reader<'a>,
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = self.message.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[octet]| octet)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn header(&mut self) -> Option<[u16; 6]> {
        let octets = self.take::<HEADER>()?;
        let mut numbers = [0; 6];
        for (number, pair) in numbers.iter_mut().zip(octets.chunks_exact(2)) {
            *number = pair.try_into().map(u16::from_be_bytes).ok()?;
        }
        Some(numbers)
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(bytes)
    }

    fn rest(&mut self) -> Option<&'a [u8]> {
        self.bytes(self.message.len().checked_sub(self.at)?)
    }

    fn is_done(&self) -> bool {
        self.at == self.message.len()
    }

    /// The same name, in any case of letters, type and class.
    fn same_question(&mut self, query: &[u8]) -> bool {
        let mut asked = Reader { message: query, at: HEADER };
        let question =
            |reader: &mut Reader<'_>| Some((reader.name()?.to_ascii_lowercase(), reader.u16()?, reader.u16()?));
        question(self).is_some_and(|heard| Some(heard) == question(&mut asked))
    }

    fn record(&mut self) -> Option<Found<'a>> {
        self.skip_name()?;
        let (kind, class, ttl) = (self.u16()?, self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let at = self.at;
        self.bytes(length)?;
        let data = Reader { message: self.message.get(..self.at)?, at };
        Some(Found { kind, class, ttl, data })
    }

    fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.u8()? {
                0 => return Some(()),
                length @ 1..=0x3f => self.bytes(usize::from(length)).map(|_| ())?,
                0xc0.. => return self.u8().map(|_| ()),
                0x40..=0xbf => return None,
            }
        }
    }

    /// As text, without the final dot; "." is the root.
    fn name(&mut self) -> Option<String> {
        let (mut text, mut octets) = (String::new(), 1);
        let mut reader = *self;
        // Where this name ends in the message: behind the first pointer.
        let mut end = None;
        for _ in 0..MOST_STEPS {
            let start = reader.at;
            match reader.u8()? {
                0 => {
                    self.at = end.unwrap_or(reader.at);
                    return Some(if text.is_empty() { ".".to_owned() } else { text });
                }
                length @ 1..=0x3f => {
                    octets += 1 + usize::from(length);
                    if octets > 255 {
                        return None;
                    }
                    if !text.is_empty() {
                        text.push('.');
                    }
                    push_label(&mut text, reader.bytes(usize::from(length))?);
                }
                high @ 0xc0.. => {
                    let to = usize::from(high & 0x3f) << 8 | usize::from(reader.u8()?);
                    end = end.or(Some(reader.at));
                    if to >= start {
                        return None;
                    }
                    reader.at = to;
                }
                0x40..=0xbf => return None,
            }
        }
        None
    }
}

/// RFC 1035 §5.1
fn push_label(text: &mut String, label: &[u8]) {
    for octet in label {
        match octet {
            b'.' | b'\\' => text.extend(['\\', char::from(*octet)]),
            0x21..=0x7e => text.push(char::from(*octet)),
            _ => text.push_str(&format!("\\{octet:03}")),
        }
    }
}

impl Found<'_> {
    fn text(&self, record: Record) -> Option<String> {
        let mut data = self.data;
        let text = match record {
            Record::A => Ipv4Addr::from(data.take::<4>()?).to_string(),
            Record::Aaaa => Ipv6Addr::from(data.take::<16>()?).to_string(),
            Record::Cname | Record::Ns | Record::Ptr => data.name()?,
            Record::Mx => format!("{} {}", data.u16()?, data.name()?),
            Record::Srv => format!("{} {} {} {}", data.u16()?, data.u16()?, data.u16()?, data.name()?),
            Record::Soa => {
                let names = format!("{} {}", data.name()?, data.name()?);
                let numbers = [data.u32()?, data.u32()?, data.u32()?, data.u32()?, data.u32()?];
                numbers.into_iter().fold(names, |text, number| format!("{text} {number}"))
            }
            Record::Txt => strings(&mut data)?,
            Record::Caa => {
                let flags = data.u8()?;
                let length = usize::from(data.u8()?);
                let tag = String::from_utf8_lossy(data.bytes(length)?).into_owned();
                format!("{flags} {tag} {}", String::from_utf8_lossy(data.rest()?))
            }
            Record::Https | Record::Svcb => {
                let text = format!("{} {}", data.u16()?, data.name()?);
                // Parameters are many, and compared by nobody.
                data.rest()?;
                text
            }
        };
        data.is_done().then_some(text)
    }
}

/// The parts of a longer text are put together.
fn strings(data: &mut Reader<'_>) -> Option<String> {
    let mut whole = Vec::new();
    while !data.is_done() {
        let length = usize::from(data.u8()?);
        whole.extend(data.bytes(length)?);
    }
    Some(String::from_utf8_lossy(&whole).into_owned())
}

#[cfg(test)]
mod tests;
