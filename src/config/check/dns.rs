//! What dns checks ask and expect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::nearest::nearest;
use crate::config::report::{Fault, Report};
use crate::config::tree::{Table, Value};
use crate::config::values;
use crate::config::{CheckKind, Protocol};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsCheck {
    pub port: u16,
    /// Without the final dot; "." is the root.
    pub query: String,
    pub record: Record,
    /// Any of these response codes passes; never empty.
    pub codes: Vec<u16>,
    /// All of them must be among the answers: words of a record as dig(1) prints it, without final dots and quotes.
    pub answers: Vec<String>,
    pub transport: Protocol,
}

/// Types of records that a check can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    A,
    Aaaa,
    Caa,
    Cname,
    Https,
    Mx,
    Ns,
    Ptr,
    Soa,
    Srv,
    Svcb,
    Txt,
}

/// RFC 6895 §2.3, written as dig(1) prints them.
const CODES: [(&str, u16); 14] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("DSOTYPENI", 11),
    ("BADVERS", 16),
    ("BADCOOKIE", 23),
];
const NOERROR: u16 = 0;

const TRANSPORTS: [(&str, Protocol); 2] = [("udp", Protocol::Udp), ("tcp", Protocol::Tcp)];

/// The mnemonic of a response code, or its number.
pub fn response_code(code: u16) -> String {
    let known = CODES.iter().find(|(_, number)| *number == code);
    known.map_or_else(|| format!("RCODE {code}"), |(name, _)| (*name).to_owned())
}

pub(super) fn dns(table: &Table<'_>, report: &mut Report) -> Option<CheckKind> {
    let port = table.read("port", report, values::port).unwrap_or(53);
    let transport = table.read("transport", report, |v| values::word(v, &TRANSPORTS)).unwrap_or(Protocol::Udp);
    let record = match table.get("record") {
        Some(_) => table.read("record", report, record),
        None => Some(Record::A),
    };
    let (codes, answers) = expected(table, record, report);
    let query = table.need("query", report, |v| query(v.text()?, record));
    let (query, record) = query.zip(record)?;
    Some(CheckKind::Dns(Box::new(DnsCheck { port, query, record, codes, answers, transport })))
}

fn record(value: &Value<'_>) -> Result<Record, Fault> {
    let words = Record::ALL.map(|record| (record.name(), record));
    let capitals = value.text()?.to_ascii_uppercase();
    values::word(value, &words).map_err(|fault| match words.iter().find(|(name, _)| *name == capitals) {
        Some((name, _)) => Fault { label: format!("did you mean \"{name}\"?"), ..fault },
        None => fault,
    })
}

impl Record {
    /// As in `record`.
    const ALL: [Self; 12] = [
        Self::A,
        Self::Aaaa,
        Self::Caa,
        Self::Cname,
        Self::Https,
        Self::Mx,
        Self::Ns,
        Self::Ptr,
        Self::Soa,
        Self::Srv,
        Self::Svcb,
        Self::Txt,
    ];

    const fn name(self) -> &'static str {
        self.known().0
    }

    /// In messages.
    pub const fn number(self) -> u16 {
        self.known().1
    }

    const fn known(self) -> (&'static str, u16) {
        match self {
            Self::A => ("A", 1),
            Self::Aaaa => ("AAAA", 28),
            Self::Caa => ("CAA", 257),
            Self::Cname => ("CNAME", 5),
            Self::Https => ("HTTPS", 65),
            Self::Mx => ("MX", 15),
            Self::Ns => ("NS", 2),
            Self::Ptr => ("PTR", 12),
            Self::Soa => ("SOA", 6),
            Self::Srv => ("SRV", 33),
            Self::Svcb => ("SVCB", 64),
            Self::Txt => ("TXT", 16),
        }
    }
}

enum Expected {
    Code(u16),
    Answer(String),
}

fn expected(table: &Table<'_>, record: Option<Record>, report: &mut Report) -> (Vec<u16>, Vec<String>) {
    let (mut codes, mut answers) = (Vec::new(), Vec::new());
    let mut failure = None;
    for (at, item) in table.list("expect", report, |v| expectation(v, record)).unwrap_or_default() {
        match item {
            Expected::Code(code) => {
                codes.push(code);
                failure = failure.or((code != NOERROR).then_some(at));
            }
            Expected::Answer(answer) => answers.push(answer),
        }
    }
    if let (Some(at), false) = (failure, answers.is_empty()) {
        report
            .push(Fault::new("answers come with NOERROR only", "could never pass with what else is expected").at(&at));
    }
    if table.get("expect").and_then(|entry| entry.value.items().ok()).is_some_and(|items| items.is_empty()) {
        let fault = Fault::new("nothing would pass", "should be like [\"NOERROR\"] or [\"192.0.2.1\"]");
        report.push(fault.at(&table.at("expect")));
    }
    if codes.is_empty() {
        codes.push(NOERROR);
    }
    (codes, answers)
}

fn expectation(value: &Value<'_>, record: Option<Record>) -> Result<Expected, Fault> {
    let text = value.text()?;
    if let Some((_, code)) = CODES.iter().find(|(name, _)| *name == text) {
        return Ok(Expected::Code(*code));
    }
    let capitals = text.to_ascii_uppercase();
    if CODES.iter().any(|(name, _)| *name == capitals) {
        return Err(Fault::new("codes are written in capitals", format!("did you mean {capitals:?}?")));
    }
    let neither = |what: &str, like: &str| {
        let label = match nearest(&capitals, CODES.map(|(name, _)| name)) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("should be like \"NOERROR\" or {like:?}"),
        };
        Fault::new(format!("neither a code nor {what}: {text:?}"), label)
    };
    let answer = match record {
        Some(Record::A) => match text.parse::<Ipv4Addr>() {
            Ok(address) => address.to_string(),
            Err(_) => return Err(neither("an IPv4 address", "192.0.2.1")),
        },
        Some(Record::Aaaa) => match text.parse::<Ipv6Addr>() {
            Ok(address) => address.to_string(),
            Err(_) => return Err(neither("an IPv6 address", "2001:db8::1")),
        },
        Some(Record::Cname | Record::Ns | Record::Ptr) => match name(text) {
            Ok(name) if name.contains('.') || nearest(&capitals, CODES.map(|(name, _)| name)).is_none() => name,
            Ok(_) | Err(_) => return Err(neither("a name", "www.example.net")),
        },
        _ if text.trim().is_empty() => return Err(Fault::new("an empty text", "leave it out instead")),
        Some(Record::Txt | Record::Caa) | None => text.to_owned(),
        Some(Record::Https | Record::Mx | Record::Soa | Record::Srv | Record::Svcb) => {
            let bare = |word: &str| if word == "." { word.to_owned() } else { word.trim_end_matches('.').to_owned() };
            text.split_whitespace().map(bare).collect::<Vec<_>>().join(" ")
        }
    };
    Ok(Expected::Answer(answer))
}

fn query(text: &str, record: Option<Record>) -> Result<String, Fault> {
    if let Ok(address) = text.parse::<IpAddr>() {
        let label = match record {
            Some(Record::Ptr) => format!("did you mean {:?}?", reverse(address)),
            Some(_) | None => "an address".to_owned(),
        };
        return Err(Fault::new(format!("not a name to ask for: {text:?}"), label));
    }
    name(text)
}

/// RFC 1035 §2.3.4: labels of 1 to 63 octets, 255 in all as they are sent; comes back without the final dot.
fn name(text: &str) -> Result<String, Fault> {
    let wrong = |label: &str| Err(Fault::new(format!("not a name: {text:?}"), label));
    if text == "." {
        return Ok(text.to_owned());
    }
    if !text.is_ascii() {
        return wrong("not ASCII: write such labels as A-labels, which begin with xn--");
    }
    let bare = text.strip_suffix('.').unwrap_or(text);
    if !bare.bytes().all(|b| b.is_ascii_graphic() && !b"\\\"".contains(&b)) {
        return wrong("should be like \"www.example.net\", without spaces, quotes and escapes");
    }
    if bare.split('.').any(str::is_empty) {
        return wrong("has an empty label");
    }
    if let Some(long) = bare.split('.').map(str::len).find(|length| *length > 63) {
        return wrong(&format!("has a label of {long} octets, 63 at most"));
    }
    // As sent: one octet more in front, and one at the end.
    if bare.len() > 253 {
        return wrong("longer than 253 octets");
    }
    Ok(bare.to_owned())
}

/// RFC 1035 §3.5, RFC 3596 §2.5
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 0xf, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_their_lengths() {
        let label = "a".repeat(63);
        let longest = [&label[..], &label, &label, &label[..61]].join(".");
        assert_eq!(longest.len(), 253);
        for good in [".", "a", "a.example", "_dns.example", "*.example", "0/25.2.0.192.in-addr.arpa", &longest] {
            assert_eq!(name(good), Ok(good.to_owned()));
        }
        assert_eq!(name(&format!("{longest}.")), Ok(longest.clone()));
        for bad in
            ["", "..", ".a", "a..b", "a b", "a\\.b", "münchen.example", &format!("{label}a"), &format!("{longest}a")]
        {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_asked_for_backwards() {
        assert_eq!(reverse("192.0.2.1".parse().unwrap()), "1.2.0.192.in-addr.arpa");
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(reverse("2001:db8::1".parse().unwrap()), v6);
    }

    #[test]
    fn codes_have_names_or_numbers() {
        assert_eq!([0, 3, 23, 12].map(response_code), ["NOERROR", "NXDOMAIN", "BADCOOKIE", "RCODE 12"]);
    }
}
