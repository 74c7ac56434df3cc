//! One BGP message as a person reads it: a lenient walk shows what is there, the daemon's own strict decoder judges it.

use std::fmt::Write;

use bytes::Bytes;

use super::entry::{Fault, Field, Item, Kind, Reply, Said, Value};
use super::family;
use crate::bgp::wire::reader::Reader;
use crate::bgp::wire::{self, Codec, Frame, Notification, code};

pub(super) mod attribute;
mod capability;
mod community;
pub(super) mod nlri;
mod open;
mod session;
mod update;

pub(super) use open::offer;
pub(super) use session::{Session, View};
pub(super) use update::rib_attributes;

/// Marker, length and type.
pub(super) const HEADER: usize = 19;

pub(super) mod kind {
    pub(in crate::decode) const OPEN: u8 = 1;
    pub(in crate::decode) const UPDATE: u8 = 2;
    pub(in crate::decode) const NOTIFICATION: u8 = 3;
    pub(in crate::decode) const KEEPALIVE: u8 = 4;
    pub(in crate::decode) const ROUTE_REFRESH: u8 = 5;
}

/// A whole message without its header, as `view` (what both OPENs agreed on) has it read.
pub(super) fn message(frame: &Frame, view: &View) -> Said {
    let body = &frame.body[..];
    let mut said = match frame.kind {
        kind::OPEN => open::open(body),
        kind::UPDATE => update::update(body, view),
        kind::NOTIFICATION => notification(body),
        kind::KEEPALIVE => Said::plain(Kind::Keepalive),
        kind::ROUTE_REFRESH => route_refresh(body, view),
        other => unknown(other, body),
    };
    said.length = HEADER + body.len();
    // UPDATEs have been judged: their walk knows what must be taken out first.
    if frame.kind != kind::UPDATE
        && let Err(reply) = wire::decode(frame, &view.codec(true))
        && !(frame.kind == kind::ROUTE_REFRESH && view.filters && body.len() > 4)
    {
        said.reset(reply);
    }
    said
}

/// What stands where a message should, and is none: `reply` is what RFC 4271 §6.1 has a receiver say.
pub(super) fn bad_header(kind: u8, body: &[u8], reply: Notification) -> Said {
    let mut said = unknown(kind, body);
    said.kind = match kind {
        kind::OPEN => Kind::Open,
        kind::UPDATE => Kind::Update,
        kind::NOTIFICATION => Kind::Notification,
        kind::KEEPALIVE => Kind::Keepalive,
        kind::ROUTE_REFRESH => Kind::RouteRefresh,
        _ => Kind::UnknownBgp,
    };
    said.length = HEADER + body.len();
    said.faults.push(Fault { at: Some(16), what: "the header is wrong".to_owned(), reply: Reply::Reset(reply) });
    said
}

pub(super) const fn kind_name(kind: u8) -> &'static str {
    match kind {
        kind::OPEN => "an OPEN",
        kind::UPDATE => "an UPDATE",
        kind::NOTIFICATION => "a NOTIFICATION",
        kind::KEEPALIVE => "a KEEPALIVE",
        kind::ROUTE_REFRESH => "a ROUTE-REFRESH",
        6 => "a dynamic capability message",
        _ => "a message of no known type",
    }
}

fn unknown(kind: u8, body: &[u8]) -> Said {
    let mut said = Said::plain(Kind::UnknownBgp);
    said.headline = format!("type {kind}, {}, {} octets", kind_name(kind), HEADER + body.len());
    said.fields = vec![Field::hidden("code", kind), Field::line("body", "body", Value::text(hex(body)))];
    said
}

impl Said {
    pub(super) const fn plain(kind: Kind) -> Self {
        Self { kind, length: 0, headline: String::new(), fields: Vec::new(), faults: Vec::new() }
    }

    /// The strict decoder's verdict goes with the place that the lenient walk found, where it found one.
    fn reset(&mut self, reply: Notification) {
        let silent = self.faults.iter_mut().find(|fault| fault.reply == Reply::Silence);
        match silent {
            Some(fault) => fault.reply = Reply::Reset(reply),
            None => self.faults.push(Fault { at: None, what: "malformed".to_owned(), reply: Reply::Reset(reply) }),
        }
    }

    fn fault(&mut self, at: usize, what: impl Into<String>) {
        self.faults.push(Fault { at: Some(at), what: what.into(), reply: Reply::Silence });
    }
}

fn notification(body: &[u8]) -> Said {
    let mut said = Said::plain(Kind::Notification);
    let mut reader = Reader::new(body);
    let (Some(code), Some(subcode)) = (reader.u8(), reader.u8()) else {
        said.fault(HEADER, "a NOTIFICATION without code and subcode");
        return said;
    };
    let data = reader.rest();
    let notification = Notification::new(code, subcode, data);
    let text = notification.shutdown_text();
    said.headline = format!("{code}/{subcode} {notification}");
    said.fields = vec![
        Field::hidden("code", code),
        Field::hidden("subcode", subcode),
        Field::hidden("name", Notification::new(code, subcode, []).to_string()),
        Field::hidden("text", text.clone()),
    ];
    // A text that was read whole is all of the data; but one that is shorter than its data leaves something to show.
    let explained = text.as_ref().is_some_and(|text| text.len() + 1 == data.len());
    let data_text = Value::text(hex(data));
    said.fields.push(match (data.is_empty(), explained) {
        (false, false) => Field::line("data", "data", data_text),
        _ => Field::hidden("data", data_text),
    });
    if let Some(meaning) = data_meaning(code, subcode, data).or_else(|| readable(data)) {
        said.fields.push(Field::line("meaning", "that is", Value::text(meaning)));
    }
    if let Some(why) = wrong_text(code, subcode, data) {
        said.fault(HEADER + 2, why);
    }
    said
}

/// RFC 9003 §2, also inside a Hard Reset.
fn wrong_text(code: u8, subcode: u8, data: &[u8]) -> Option<&'static str> {
    let data = match (code, subcode, data) {
        (code::CEASE, code::cease::HARD_RESET, [6, 2 | 4, inner @ ..]) => inner,
        (code::CEASE, code::cease::HARD_RESET, [_, _, ..]) => return None,
        (code::CEASE, code::cease::HARD_RESET, _) => {
            return Some("RFC 8538 §3.1: a Hard Reset without the NOTIFICATION");
        }
        (code::CEASE, code::cease::ADMINISTRATIVE_SHUTDOWN | code::cease::ADMINISTRATIVE_RESET, data) => data,
        _ => return None,
    };
    let mut reader = Reader::new(data);
    let length = reader.u8()?;
    match reader.take(usize::from(length)) {
        None => Some("RFC 9003: the text is longer than the data"),
        Some(text) if std::str::from_utf8(text).is_err() => Some("RFC 9003: the text is not UTF-8"),
        Some(_) if !reader.is_empty() => Some("RFC 9003: there is more behind the text"),
        Some(_) => None,
    }
}

/// Some write words there, whatever the RFC says: ExaBGP does.
fn readable(data: &[u8]) -> Option<String> {
    let printable = data.len() >= 8 && data.iter().all(|octet| matches!(octet, b' '..=b'~'));
    printable.then(|| words(data))
}

/// What the data of a NOTIFICATION says, where its RFC gives it a form.
fn data_meaning(code: u8, subcode: u8, data: &[u8]) -> Option<String> {
    let mut reader = Reader::new(data);
    let meaning = match (code, subcode) {
        (code::MESSAGE_HEADER, code::header::BAD_LENGTH) => format!("length {}", reader.u16()?),
        (code::MESSAGE_HEADER, code::header::BAD_TYPE) => format!("type {}", reader.u8()?),
        (code::OPEN, code::open::UNSUPPORTED_VERSION) => format!("version {} is spoken", reader.u16()?),
        (code::OPEN, code::open::BAD_PEER_AS) if data.len() == 4 => format!("AS {}", reader.u32()?),
        (code::OPEN, code::open::BAD_PEER_AS) => format!("AS {}", reader.u16()?),
        (code::OPEN, code::open::UNACCEPTABLE_HOLD_TIME) => format!("hold time {} s", reader.u16()?),
        (code::OPEN, code::open::UNSUPPORTED_CAPABILITY) => {
            let mut said = Said::plain(Kind::Open);
            let items = capability::list(reader, 0, &mut said, &mut session::Offer::default());
            items.iter().map(|item| item.name.to_string()).collect::<Vec<_>>().join(", ")
        }
        (code::UPDATE, code::update::MISSING_WELL_KNOWN) if data.len() == 1 => {
            format!("attribute {}", attribute::name(reader.u8()?))
        }
        (code::UPDATE, code::update::MALFORMED_AS_PATH | code::update::MALFORMED_ATTRIBUTE_LIST) => return None,
        (code::UPDATE, 1..=10) => {
            let _flags = reader.u8()?;
            format!("attribute {}", attribute::name(reader.u8()?))
        }
        (code::FSM, 1..=3) if data.len() == 1 => format!("a message of type {}", reader.u8()?),
        (code::CEASE, code::cease::MAXIMUM_PREFIXES) => {
            let family = family::name(reader.u16()?, reader.u8()?);
            format!("{family}, at most {}", reader.u32()?)
        }
        _ => return None,
    };
    Some(meaning)
}

fn route_refresh(body: &[u8], view: &View) -> Said {
    let mut said = Said::plain(Kind::RouteRefresh);
    let mut reader = Reader::new(body);
    let (Some(afi), Some(subtype), Some(safi)) = (reader.u16(), reader.u8(), reader.u8()) else {
        said.fault(HEADER, "shorter than a family");
        return said;
    };
    let family = family::name(afi, safi);
    let name = match subtype {
        0 => "request",
        1 => "begin (BoRR)",
        2 => "end (EoRR)",
        255 => "reserved",
        _ => "unknown subtype",
    };
    said.headline = format!("{family}, {name}");
    if !matches!(subtype, 0..=2) {
        let _ = write!(said.headline, " {subtype}");
    }
    said.fields = vec![Field::hidden("family", family), Field::hidden("subtype", subtype), Field::hidden("name", name)];
    if !reader.is_empty() {
        let at = HEADER + 4;
        let filters = filters(reader);
        match filters {
            Some(lines) => said.fields.push(Field::line("filters", "filters", Value::List(lines))),
            None => said.fault(at, "outbound filters that are longer than the message"),
        }
        if !view.filters && said.faults.is_empty() {
            said.fault(at, "outbound filters (RFC 5291) that were not offered");
        }
    }
    said
}

/// RFC 5291 §4: how soon, then lists of entries.
fn filters(mut reader: Reader<'_>) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    lines.push(match reader.u8()? {
        1 => "refresh now".to_owned(),
        2 => "refresh later".to_owned(),
        other => format!("refresh {other}?"),
    });
    while !reader.is_empty() {
        let kind = reader.u8()?;
        let length = reader.u16()?;
        let entries = reader.take(usize::from(length))?;
        let name = match kind {
            64 => "address prefix",
            65 => "CP",
            2 => "communities",
            3 => "extended communities",
            128 => "address prefix (pre-standard)",
            _ => "type",
        };
        lines.push(format!("{name} ({kind}) {}", hex(entries)));
    }
    Some(lines)
}

/// Lower case, no separators; long ones are cut: a dump is another tool's work.
pub(super) fn hex(octets: &[u8]) -> String {
    const SHOWN: usize = 256;
    let mut text = String::with_capacity(2 * octets.len().min(SHOWN));
    for octet in octets.iter().take(SHOWN) {
        let _ = write!(text, "{octet:02x}");
    }
    if octets.len() > SHOWN {
        let _ = write!(text, "… ({} octets)", octets.len());
    }
    text
}

/// What a peer wrote goes to a terminal.
pub(super) fn words(octets: &[u8]) -> String {
    let shown = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
    String::from_utf8_lossy(octets).chars().map(shown).collect()
}

pub(super) fn item(code: u8, name: impl Into<std::borrow::Cow<'static, str>>, value: Value) -> Item {
    Item { code, name: name.into(), value, remark: "" }
}

/// One UPDATE's verdict by the strict decoder.
pub(super) fn judge(body: Vec<u8>, codec: &Codec) -> Result<wire::Update, Notification> {
    match wire::decode(&Frame { kind: kind::UPDATE, body: Bytes::from(body) }, codec)? {
        wire::Message::Update(update) => Ok(update),
        wire::Message::Open(_)
        | wire::Message::Notification(_)
        | wire::Message::Keepalive
        | wire::Message::RouteRefresh(_) => Ok(wire::Update::default()),
    }
}
