//! Messages as words of a script, and back. What has no words of its own is octets with a comment: a script's octets
//! are always exactly what was sent.

use std::fmt::Write as _;

use anycaster::bgp::wire::{self, AS_TRANS, Capabilities, Codec, Family, Message, Notification, Open, Update};
use bytes::BytesMut;

/// Capabilities by the name a script uses; others stand there by number.
const NAMES: [(u8, &str); 11] = [
    (1, "family"),
    (2, "refresh"),
    (5, "extended-next-hop"),
    (6, "extended-message"),
    (9, "role"),
    (64, "graceful-restart"),
    (65, "as4"),
    (69, "add-path"),
    (70, "enhanced-refresh"),
    (71, "long-lived-graceful-restart"),
    (73, "hostname"),
];

const FAMILIES: [(&str, &[u8]); 2] = [("ipv4", &[0, 1, 0, 1]), ("ipv6", &[0, 2, 0, 1])];

/// As far as reading an UPDATE depends on it.
pub(crate) const CODEC: Codec =
    Codec { four_octet_asn: true, extended_message: true, extended_next_hop: true, internal: false };

/// The octets that these words stand for.
pub(crate) fn message(words: &[&str]) -> Vec<u8> {
    match words {
        ["OPEN", pairs @ ..] => open(pairs),
        ["KEEPALIVE"] => wire::keepalive().to_vec(),
        ["EOR", family @ ..] => end_of_rib(family.first().map_or(Family::Ipv4, |name| self::family(name))),
        ["NOTIFICATION", numbers, rest @ ..] => wire::notification(&notification(numbers, rest)).to_vec(),
        ["REFRESH", family, subtype @ ..] => {
            let subtype = subtype.first().map_or(0, |s| s.parse().unwrap());
            wire::route_refresh(self::family(family), subtype).to_vec()
        }
        ["bytes", hex @ ..] => octets(&hex.concat()),
        unknown => panic!("no message: {unknown:?}"),
    }
}

fn notification(numbers: &str, rest: &[&str]) -> Notification {
    let (code, subcode) = numbers.split_once('/').unwrap();
    let data = match rest {
        [] => Vec::new(),
        [data] if data.starts_with("data=") => octets(&data[5..]),
        text => Notification::administrative_shutdown(&text.join(" ")).data,
    };
    Notification::new(code.parse().unwrap(), subcode.parse().unwrap(), data)
}

pub(crate) fn end_of_rib(family: Family) -> Vec<u8> {
    let mut out = BytesMut::new();
    wire::end_of_rib(family, &mut out);
    out.to_vec()
}

pub(crate) fn family(name: &str) -> Family {
    Family::ALL.into_iter().find(|family| family.name() == name).unwrap_or_else(|| panic!("no family: {name}"))
}

/// Without `caps=` what a plain, modern router offers. Each `caps=A,B` is one optional parameter.
fn open(pairs: &[&str]) -> Vec<u8> {
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|pair| pair.split_once('=').unwrap()).collect();
    let find = |key: &str| pairs.iter().find(|(k, _)| *k == key).map(|(_, value)| *value);
    let asn = find("as").unwrap().parse().unwrap();
    let plain = Capabilities {
        families: Family::ALL.to_vec(),
        multiprotocol: true,
        route_refresh: true,
        four_octet_asn: Some(asn),
        enhanced_route_refresh: true,
        ..Capabilities::default()
    };
    let open = Open {
        version: find("version").map_or(4, |version| version.parse().unwrap()),
        asn,
        hold_time: find("hold").unwrap().parse().unwrap(),
        id: find("id").unwrap().parse().unwrap(),
        capabilities: if find("caps").is_none() { plain } else { Capabilities::default() },
    };
    let mut octets = wire::open(&open).to_vec();
    for (_, list) in pairs.iter().filter(|&&(key, value)| key == "caps" && value != "none") {
        let capabilities: Vec<u8> = list.split(',').flat_map(|name| capability(name, asn)).collect();
        octets.extend([2, u8::try_from(capabilities.len()).unwrap()]);
        octets.extend(capabilities);
    }
    octets[28] = u8::try_from(octets.len() - 29).unwrap();
    let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
    octets[16..18].copy_from_slice(&length);
    octets
}

/// "ipv4", "refresh", "as4" or "NAME:VALUE" with the value's octets.
fn capability(name: &str, asn: u32) -> Vec<u8> {
    let (name, value) = name.split_once(':').map_or((name, Vec::new()), |(name, value)| (name, octets(value)));
    let (code, value) = match FAMILIES.iter().find(|(family, _)| *family == name) {
        Some((_, value)) => (1, value.to_vec()),
        None if name == "as4" && value.is_empty() => (65, asn.to_be_bytes().to_vec()),
        None => {
            let known = NAMES.iter().find(|(_, known)| *known == name).map(|(code, _)| *code);
            (known.unwrap_or_else(|| name.parse().unwrap()), value)
        }
    };
    [&[code, u8::try_from(value.len()).unwrap()], &value[..]].concat()
}

fn capability_name(code: u8, value: &[u8], asn: u32) -> String {
    if let Some((family, _)) = FAMILIES.iter().find(|(_, numbers)| code == 1 && *numbers == value) {
        return (*family).to_owned();
    }
    let known = NAMES.iter().find(|(known, _)| *known == code);
    let name = known.map_or_else(|| code.to_string(), |(_, name)| (*name).to_owned());
    if value.is_empty() || code == 65 && value == asn.to_be_bytes() { name } else { format!("{name}:{}", hex(value)) }
}

/// One whole message in words, where these stand for exactly its octets; else the octets, and a comment of what they are.
pub(crate) fn words(whole: &[u8]) -> String {
    let (words, comment) = match decode(whole, &CODEC) {
        Ok(Message::Keepalive) => ("KEEPALIVE".to_owned(), String::new()),
        Ok(Message::Open(open)) => (open_words(&open, whole), "OPEN".to_owned()),
        Ok(Message::Notification(said)) => (notification_words(&said), said.to_string()),
        Ok(Message::Update(update)) => match update.end_of_rib {
            Some(Family::Ipv4) => ("EOR".to_owned(), update_words(&update)),
            Some(Family::Ipv6) => ("EOR ipv6".to_owned(), update_words(&update)),
            None => ("bytes".to_owned(), update_words(&update)),
        },
        Ok(Message::RouteRefresh(refresh)) => {
            let subtype = if refresh.subtype == 0 { String::new() } else { format!(" {}", refresh.subtype) };
            let family = refresh.family.map_or("?", Family::name);
            (
                if family == "?" { "bytes".to_owned() } else { format!("REFRESH {family}{subtype}") },
                "REFRESH".to_owned(),
            )
        }
        Err(error) => ("bytes".to_owned(), format!("not acceptable: {error}")),
    };
    let list: Vec<&str> = words.split_whitespace().collect();
    let told = list[0] == "NOTIFICATION";
    let exact = list[0] != "bytes" && message(&list) == whole;
    match (exact, told && list.len() < 4 && comment.len() > 1) {
        (true, true) => format!("{words}  # {comment}"),
        (true, false) => words,
        (false, _) => {
            let parts = [&whole[..16], &whole[16..18], &whole[18..19], &whole[19..]].map(hex);
            format!("bytes {}  # {comment}", parts.join(" ").trim_end())
        }
    }
}

fn open_words(open: &Open, whole: &[u8]) -> String {
    let mut words = format!("OPEN as={} hold={} id={}", open.asn, open.hold_time, open.id);
    let mut parameters = &whole[29..];
    if parameters.is_empty() {
        words += " caps=none";
    }
    while let [_, length, rest @ ..] = parameters {
        let (mut list, rest) = rest.split_at_checked(usize::from(*length)).unwrap_or_default();
        let mut names = Vec::new();
        while let [code, length, more @ ..] = list {
            let (value, more) = more.split_at_checked(usize::from(*length)).unwrap_or_default();
            names.push(capability_name(*code, value, open.asn));
            list = more;
        }
        let _ = write!(words, " caps={}", names.join(","));
        parameters = rest;
    }
    words
}

fn notification_words(said: &Notification) -> String {
    let numbers = format!("NOTIFICATION {}/{}", said.code, said.subcode);
    let text = said.shutdown_text().filter(|text| Notification::administrative_shutdown(text).data == said.data);
    match text {
        Some(text) if !text.starts_with("data=") => format!("{numbers} {text}"),
        _ if said.data.is_empty() => numbers,
        _ => format!("{numbers} data={}", hex(&said.data)),
    }
}

/// "UPDATE announces 192.0.2.0/24 withdraws 2001:db8::/32".
pub(crate) fn update_words(update: &Update) -> String {
    let mut words = "UPDATE".to_owned();
    if let Some(family) = update.end_of_rib {
        let _ = write!(words, " end of {} routes", family.name());
    }
    for (verb, prefixes) in [("announces", &update.announced), ("withdraws", &update.withdrawn)] {
        if !prefixes.is_empty() {
            let list: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
            let _ = write!(words, " {verb} {}", list.join(" "));
        }
    }
    words
}

/// What our session said, for people: its octets are other tests' business, except for a NOTIFICATION's data.
pub(crate) fn said(whole: &[u8], codec: &Codec) -> String {
    match decode(whole, codec).unwrap() {
        Message::Open(open) => format!("OPEN as={} hold={} id={}", open.asn, open.hold_time, open.id),
        Message::Keepalive => "KEEPALIVE".to_owned(),
        Message::Notification(said) => {
            let plain = said.data.is_empty() || said.shutdown_text().is_some();
            let data = if plain { String::new() } else { format!(" data={}", hex(&said.data)) };
            format!("NOTIFICATION {}/{}{data} {said}", said.code, said.subcode)
        }
        Message::Update(update) => update_words(&update),
        Message::RouteRefresh(refresh) => {
            format!("ROUTE-REFRESH {} {}", refresh.family.unwrap().name(), refresh.subtype)
        }
    }
}

fn decode(whole: &[u8], codec: &Codec) -> Result<Message, Notification> {
    let mut buffer = BytesMut::from(whole);
    let frame = wire::frame(&mut buffer, wire::MAX_EXTENDED_MESSAGE)?.expect("a whole message");
    assert!(buffer.is_empty(), "two messages in one");
    wire::decode(&frame, codec)
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut all, octet| {
        let _ = write!(all, "{octet:02x}");
        all
    })
}

fn octets(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn words_stand_for_exactly_the_octets() {
    let lines = [
        "OPEN as=65001 hold=90 id=10.0.0.1 caps=none",
        "OPEN as=4200000009 hold=0 id=10.0.0.1 caps=ipv4,ipv6,refresh,as4 caps=hostname:03746f7200,200",
        "KEEPALIVE",
        "EOR",
        "EOR ipv6",
        "REFRESH ipv6 2",
        "NOTIFICATION 6/4 back soon",
        "NOTIFICATION 4/0  # Hold Timer Expired",
        "NOTIFICATION 2/7 data=0104  # OPEN Message Error/Unsupported Capability",
        "NOTIFICATION 6/2 data=09  # Cease/Administrative Shutdown",
    ];
    for line in lines {
        let plain: Vec<&str> = line.split("  # ").next().unwrap().split_whitespace().collect();
        assert_eq!(words(&message(&plain)), line);
    }
    assert_eq!(AS_TRANS.to_be_bytes(), message(&["OPEN", "as=70000", "hold=3", "id=10.0.0.1"])[20..22]);
}
