//! UPDATE: routes, attributes, and the strict decoder's verdict on both.

use super::super::entry::{Fault, Field, Item, Kind, Reply, Said, Value};
use super::super::family;
use super::attribute::{self, MP_REACH, MP_UNREACH, Raw};
use super::nlri::{self, Nlri};
use super::{HEADER, View, hex, judge};
use crate::bgp::wire::reader::Reader;
use crate::bgp::wire::{Codec, Disposition, Malformed, Notification, code};

pub(super) fn update(body: &[u8], view: &View) -> Said {
    let mut said = Said::plain(Kind::Update);
    let mut reader = Reader::new(body);
    let mut field = || reader.u16().and_then(|length| reader.take(usize::from(length)));
    let Some((withdrawn, section)) = field().zip(field()) else {
        said.fault(HEADER, "its lengths are longer than the message");
        said.fields = vec![Field::line("body", "body", Value::text(hex(body)))];
        if let Err(reply) = judge(body.to_vec(), &view.codec(true)) {
            said.reset(reply);
        }
        return said;
    };
    let announced = reader.rest();
    let (raws, cut) = attribute::split(section);
    let four_octets = view.four_octets.unwrap_or_else(|| attribute::guess_four_octets(&raws));
    let mut walk = Walk { four_octets, ..Walk::new(view) };
    let attributes_at = HEADER + 4 + withdrawn.len();

    let unicast = "ipv4 unicast";
    let old = walk.routes(1, 1, withdrawn, HEADER + 2);
    walk.withdrawn.extend(texts(&old));
    let items = walk.attributes(&raws, attributes_at);
    let new = walk.routes(1, 1, announced, attributes_at + section.len());
    walk.announced.extend(texts(&new));
    if !withdrawn.is_empty() || !announced.is_empty() {
        walk.families.insert(0, unicast.to_owned());
        walk.families.dedup();
    }
    if let Some(at) = cut {
        walk.fault(attributes_at + at, "an attribute that is longer than what is left");
    }

    let end_of_rib = end_of_rib(body, withdrawn, announced, &raws);
    let codec = view.codec(four_octets);
    let judged = if walk.paths {
        stripped(&old, &raws, cut.map(|at| section.get(at..).unwrap_or_default()), &new, view)
    } else {
        body.to_vec()
    };
    match judge(judged, &codec) {
        Ok(update) => {
            for malformed in update.malformed {
                walk.malformed(&malformed, &raws, attributes_at, &codec);
            }
        }
        Err(reply) => walk.reset(reply),
    }
    said.headline = headline(&walk, end_of_rib.as_deref(), view);
    said.faults = walk.faults;
    said.fields = vec![
        Field::hidden("families", Value::List(walk.families)),
        Field::hidden("end_of_rib", end_of_rib),
        list("withdrawn", walk.withdrawn),
        list("announced", walk.announced),
        Field::hidden("next_hops", Value::List(walk.next_hops)),
        Field::line("attributes", "", Value::Items(items)),
    ];
    said
}

/// A line only where there is something.
fn list(key: &'static str, texts: Vec<String>) -> Field {
    let label = (!texts.is_empty()).then_some(key);
    Field { key, label, value: Value::List(texts) }
}

fn texts(routes: &[Nlri<'_>]) -> Vec<String> {
    routes.iter().map(|route| route.text.clone()).collect()
}

fn headline(walk: &Walk<'_>, end_of_rib: Option<&str>, view: &View) -> String {
    let mut parts = Vec::new();
    match (end_of_rib, walk.announced.len(), walk.withdrawn.len()) {
        (Some(family), _, _) => return format!("End-of-RIB {family}"),
        (None, 0, 0) => parts.push("no routes".to_owned()),
        (None, announced, withdrawn) => {
            if announced > 0 {
                parts.push(format!("{announced} announced"));
            }
            if withdrawn > 0 {
                parts.push(format!("{withdrawn} withdrawn"));
            }
        }
    }
    parts.extend((!walk.families.is_empty()).then(|| walk.families.join(" and ")));
    if walk.guessed_paths {
        parts.push("taken for add-path".to_owned());
    }
    if view.four_octets.is_none() && !walk.four_octets {
        parts.push("taken for 2-octet AS numbers".to_owned());
    }
    parts.join(", ")
}

/// RFC 4724 §2, of whatever family.
fn end_of_rib(body: &[u8], withdrawn: &[u8], announced: &[u8], raws: &[Raw<'_>]) -> Option<String> {
    if body == [0; 4] {
        return Some(family::name(1, 1));
    }
    match raws {
        [Raw { kind: MP_UNREACH, value: [high, low, safi], .. }] if withdrawn.is_empty() && announced.is_empty() => {
            Some(family::name(u16::from_be_bytes([*high, *low]), *safi))
        }
        _ => None,
    }
}

/// What is gathered on the way through one message.
struct Walk<'v> {
    view: &'v View,
    four_octets: bool,
    announced: Vec<String>,
    withdrawn: Vec<String>,
    families: Vec<String>,
    next_hops: Vec<String>,
    faults: Vec<Fault>,
    /// Some prefix had a path identifier.
    paths: bool,
    /// And nobody said that it would.
    guessed_paths: bool,
}

impl<'v> Walk<'v> {
    const fn new(view: &'v View) -> Self {
        Self {
            view,
            four_octets: true,
            announced: Vec::new(),
            withdrawn: Vec::new(),
            families: Vec::new(),
            next_hops: Vec::new(),
            faults: Vec::new(),
            paths: false,
            guessed_paths: false,
        }
    }

    fn fault(&mut self, at: usize, what: impl Into<String>) {
        self.faults.push(Fault { at: Some(at), what: what.into(), reply: Reply::Silence });
    }

    fn routes<'a>(&mut self, afi: u16, safi: u8, field: &'a [u8], at: usize) -> Vec<Nlri<'a>> {
        let said = self.view.has_paths(afi, safi);
        let likely = said.unwrap_or(self.view.likely_paths);
        let with = |paths| nlri::read(afi, safi, paths, field).map(|routes| (routes, paths));
        // Where nobody said: the other way only where this one makes no sense.
        let read = match with(likely) {
            Ok((routes, false)) if said.is_none() && nlri::improbable(&routes) => with(true).or(Ok((routes, false))),
            Err(wrong) if said.is_none() => with(!likely).map_err(|_| wrong),
            read => read,
        };
        match read {
            Ok((routes, paths)) => {
                self.paths |= paths && !field.is_empty();
                self.guessed_paths |= paths && said.is_none() && !likely;
                routes
            }
            Err(wrong) => {
                self.fault(
                    at + wrong,
                    format!("a route of {} that is no prefix or longer than what is left", family::name(afi, safi)),
                );
                Vec::new()
            }
        }
    }

    fn attributes(&mut self, raws: &[Raw<'_>], base: usize) -> Vec<Item> {
        raws.iter().map(|raw| self.attribute(raw, base + raw.at)).collect()
    }

    fn attribute(&mut self, raw: &Raw<'_>, at: usize) -> Item {
        let value = match raw.kind {
            MP_REACH => self.reach(raw, at),
            MP_UNREACH => self.unreach(raw, at),
            kind => attribute::value(kind, raw.value, self.four_octets),
        };
        let value = value.unwrap_or_else(|| {
            self.fault(at, format!("{} does not have the form its RFC gives it", attribute::name(raw.kind)));
            Value::text(hex(raw.value))
        });
        let remark = if !attribute::is_known(raw.kind) && raw.remark().is_empty() { "unknown" } else { raw.remark() };
        Item { code: raw.kind, name: attribute::name(raw.kind), value, remark }
    }

    fn reach(&mut self, raw: &Raw<'_>, at: usize) -> Option<Value> {
        let mut reader = Reader::new(raw.value);
        let (afi, safi, length) = (reader.u16()?, reader.u8()?, reader.u8()?);
        let hops = attribute::next_hops(reader.take(usize::from(length))?, safi);
        let _reserved = reader.u8()?;
        let value = Value::text(attribute::reach_text(afi, safi, &hops));
        self.next_hops.extend(hops);
        let routes_at = at + raw.whole.len() - reader.len();
        let routes = self.family(afi, safi, raw, reader.rest(), routes_at);
        self.announced.extend(routes);
        Some(value)
    }

    fn unreach(&mut self, raw: &Raw<'_>, at: usize) -> Option<Value> {
        let mut reader = Reader::new(raw.value);
        let (afi, safi) = (reader.u16()?, reader.u8()?);
        let routes_at = at + raw.whole.len() - reader.len();
        let routes = self.family(afi, safi, raw, reader.rest(), routes_at);
        self.withdrawn.extend(routes);
        Some(Value::text(family::name(afi, safi)))
    }

    fn family(&mut self, afi: u16, safi: u8, raw: &Raw<'_>, field: &[u8], at: usize) -> Vec<String> {
        let name = family::name(afi, safi);
        if !self.families.contains(&name) {
            self.families.push(name);
        }
        let before = self.faults.len();
        let routes = texts(&self.routes(afi, safi, field, at));
        // RFC 7606 §5.3: routes that cannot be read cannot be withdrawn. Families that we do not speak are not judged.
        if let Some(fault) = self.faults.get_mut(before) {
            let optional = Notification::new(code::UPDATE, code::update::OPTIONAL_ATTRIBUTE, raw.whole);
            fault.reply = Reply::Reset(optional);
        }
        routes
    }

    /// The strict decoder's verdict on one attribute goes with what was found there already.
    fn malformed(&mut self, malformed: &Malformed, raws: &[Raw<'_>], base: usize, codec: &Codec) {
        let same = raws.iter().filter(|raw| raw.kind == malformed.attribute);
        // Of one that stands twice, the second is at fault where that is the fault.
        let again = malformed.why.starts_with("more than once");
        let raw = if again { { same }.nth(1) } else { { same }.next() };
        let at = raw.map(|raw| base + raw.at);
        let reply = match malformed.disposition {
            Disposition::AttributeDiscard => Reply::Discard,
            Disposition::TreatAsWithdraw => Reply::Withdraw(reply(malformed, raw, codec)),
        };
        let name = if malformed.attribute == 0 { "attributes".into() } else { attribute::name(malformed.attribute) };
        let what = format!("{name}: {}", malformed.why);
        let known =
            self.faults.iter_mut().find(|fault| fault.at == at && at.is_some() && fault.reply == Reply::Silence);
        match known {
            Some(fault) => *fault = Fault { at, what, reply },
            None => self.faults.push(Fault { at, what, reply }),
        }
    }

    fn reset(&mut self, reply: Notification) {
        let mut said = Said::plain(Kind::Update);
        std::mem::swap(&mut said.faults, &mut self.faults);
        let judged = said.faults.iter().any(|fault| matches!(fault.reply, Reply::Reset(_)));
        if !judged {
            said.reset(reply);
        }
        self.faults = said.faults;
    }
}

/// What RFC 4271 §6.3 answers: the strict decoder says so of an attribute that stands alone in an UPDATE without routes.
fn reply(malformed: &Malformed, raw: Option<&Raw<'_>>, codec: &Codec) -> Option<Notification> {
    let Some(raw) = raw else {
        let missing = malformed.why.starts_with("mandatory");
        return missing
            .then(|| Notification::new(code::UPDATE, code::update::MISSING_WELL_KNOWN, [malformed.attribute]));
    };
    let length = u16::try_from(raw.whole.len()).ok()?.to_be_bytes();
    judge([&[0, 0], &length[..], raw.whole].concat(), codec).err()
}

/// The same UPDATE as it would be without path identifiers, which the strict decoder does not speak.
fn stripped(old: &[Nlri<'_>], raws: &[Raw<'_>], cut: Option<&[u8]>, new: &[Nlri<'_>], view: &View) -> Vec<u8> {
    let joined =
        |routes: &[Nlri<'_>]| routes.iter().flat_map(|route| route.octets.iter().copied()).collect::<Vec<u8>>();
    let with_length = |octets: Vec<u8>| {
        let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
        [&length.to_be_bytes()[..], &octets].concat()
    };
    let mut section = Vec::new();
    for raw in raws {
        section.extend(without_paths(raw, view).unwrap_or_else(|| raw.whole.to_vec()));
    }
    section.extend_from_slice(cut.unwrap_or_default());
    [with_length(joined(old)), with_length(section), joined(new)].concat()
}

fn without_paths(raw: &Raw<'_>, view: &View) -> Option<Vec<u8>> {
    let mut reader = Reader::new(raw.value);
    let start = reader;
    let (afi, safi) = (reader.u16()?, reader.u8()?);
    match raw.kind {
        MP_REACH => {
            let length = reader.u8()?;
            let _hops_and_reserved = reader.take(usize::from(length) + 1)?;
        }
        MP_UNREACH => {}
        _ => return None,
    }
    let head = reader.since(&start);
    let mut walk = Walk::new(view);
    let routes = walk.routes(afi, safi, reader.rest(), 0);
    let value: Vec<u8> =
        head.iter().copied().chain(routes.iter().flat_map(|route| route.octets.iter().copied())).collect();
    let length = u16::try_from(value.len()).ok()?.to_be_bytes();
    walk.paths.then(|| [&[raw.flags | Raw::EXTENDED_LENGTH, raw.kind], &length[..], &value].concat())
}

/// The attributes of a RIB entry: AS numbers of four octets; MP_REACH_NLRI has only its next hop (RFC 6396 §4.3.4).
pub(in crate::decode) fn rib_attributes(section: &[u8], safi: u8) -> (Vec<Item>, Vec<Fault>) {
    let view = View { four_octets: Some(true), paths: Some(Vec::new()), ..View::default() };
    let (raws, cut) = attribute::split(section);
    let mut walk = Walk::new(&view);
    let mut items = Vec::new();
    for raw in &raws {
        let short = match (raw.kind, raw.value) {
            (MP_REACH, [length, hops @ ..]) if usize::from(*length) == hops.len() => Some(hops),
            _ => None,
        };
        items.push(match short {
            Some(hops) => {
                let hops = attribute::next_hops(hops, safi);
                super::item(MP_REACH, attribute::name(MP_REACH), Value::text(format!("next hop {}", hops.join(" "))))
            }
            None => walk.attribute(raw, raw.at),
        });
    }
    if let Some(at) = cut {
        walk.fault(at, "an attribute that is longer than what is left");
    }
    (items, walk.faults)
}
