//! The words of the file: each becomes a value that cannot be wrong any more, or a [`Fault`] that shows what was meant.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::nearest::nearest;
use super::report::Fault;
use super::span;
pub(super) use super::span::written;
use super::tree::Value;
use super::{Bandwidth, Listen, Protocol};
use crate::bgp::wire::{AS_TRANS, Asn, Community, LargeCommunity};

/// "500ms" "10s" "2m" "1h"
pub(super) fn duration(value: &Value<'_>) -> Result<Duration, Fault> {
    match value.bare_number() {
        Some(number) => Err(Fault::new("a duration needs a unit", format!("did you mean \"{number}s\"?"))),
        None => span::parse(value.text()?),
    }
}

/// A duration of whole seconds that a 16-bit field of an OPEN can hold (RFC 4271 §4.2): 0, or 3 and more.
pub(super) fn hold_time(value: &Value<'_>) -> Result<u16, Fault> {
    let span = duration(value)?;
    if span.subsec_nanos() != 0 {
        return Err(Fault::new("hold times are whole seconds", "the OPEN message counts in seconds"));
    }
    match u16::try_from(span.as_secs()) {
        Ok(1 | 2) => Err(Fault::new("a hold time is 0 or at least 3 s", "RFC 4271 forbids 1 s and 2 s")),
        Ok(seconds) => Ok(seconds),
        Err(_) => Err(Fault::new("hold time too long", "at most \"65535s\"")),
    }
}

/// "10Gbit", "1.5Gbit"
pub(super) fn bandwidth(value: &Value<'_>) -> Result<Bandwidth, Fault> {
    if let Some(number) = value.bare_number() {
        return Err(Fault::new("a bandwidth needs a unit", format!("did you mean \"{number}Gbit\"?")));
    }
    let text = value.text()?;
    let wrong = |label: String| {
        Fault::new(format!("not a bandwidth: {text:?}"), label)
            .help("bandwidths look like \"100Mbit\", \"10Gbit\", \"1.5Gbit\"")
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (number, unit) = text.split_at_checked(digits).unwrap_or(("", text));
    let bits: u128 = match unit {
        "bit" => 1,
        "kbit" => 1_000,
        "Mbit" => 1_000_000,
        "Gbit" => 1_000_000_000,
        "Tbit" => 1_000_000_000_000,
        _ => {
            let letter = unit.trim_start().chars().next().map(|c| c.to_ascii_uppercase());
            let meant = match letter {
                Some('K') => "kbit",
                Some('M') => "Mbit",
                Some('T') => "Tbit",
                Some(_) | None => "Gbit",
            };
            return Err(wrong(if number.is_empty() {
                "should be a number and kbit, Mbit, Gbit or Tbit".to_owned()
            } else {
                format!("did you mean \"{number}{meant}\"?")
            }));
        }
    };
    let bits = decimal(number, bits).ok_or_else(|| wrong("not a number before the unit".to_owned()))?;
    match u64::try_from(bits / 8) {
        Ok(0) => Err(wrong("no bandwidth at all; to take a service out, use weight = 0".to_owned())),
        // A petabit each second: no link does that, and a float still holds it.
        Ok(bytes_per_second) if bytes_per_second <= 125_000_000_000_000 => Ok(Bandwidth { bytes_per_second }),
        Ok(_) | Err(_) => Err(wrong("more than 1000 Tbit/s".to_owned())),
    }
}

/// As in the file, in the largest unit that needs no more than two decimals.
impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from(self.bytes_per_second) * 8;
        for (unit, size) in [("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1000)] {
            if bits >= size && bits % (size / 100) == 0 {
                let (whole, hundredths) = (bits / size, bits % size / (size / 100));
                let number = format!("{whole}.{hundredths:02}");
                return write!(f, "{}{unit}", number.trim_end_matches('0').trim_end_matches('.'));
            }
        }
        write!(f, "{bits}bit")
    }
}

/// `number` times `unit`, without a detour over floats; at most nine digits on either side of the point.
fn decimal(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| (1..=9).contains(&text.len()).then(|| text.parse::<u128>().ok()).flatten();
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Some(digits(whole)? * unit + digits(fraction)? * unit / scale)
}

/// An address that a host can have.
pub(super) fn address(value: &Value<'_>) -> Result<IpAddr, Fault> {
    let text = value.text()?;
    let wrong = |label: String| Fault::new(format!("not an address: {text:?}"), label);
    let address = text.parse::<IpAddr>().map_err(|_| match text.parse::<IpNet>() {
        Ok(prefix) => wrong(format!("did you mean \"{}\"?", prefix.addr())),
        Err(_) if text.contains('%') => wrong("zones are not supported".to_owned()),
        Err(_) => wrong("should be an IPv4 or IPv6 address".to_owned()),
    })?;
    host(address)
}

fn host(address: IpAddr) -> Result<IpAddr, Fault> {
    let wrong = |what: &str| Err(Fault::new(format!("{address} is not an address of a host"), what));
    match address {
        _ if address.is_unspecified() => wrong("the unspecified address"),
        _ if address.is_multicast() => wrong("a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => wrong("the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => wrong("IPv4-mapped; write it as IPv4"),
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(address),
    }
}

/// A prefix that may be announced; without a length a host route.
pub(super) fn prefix(value: &Value<'_>) -> Result<IpNet, Fault> {
    let text = value.text()?;
    let whole = |address: IpAddr| IpNet::from(address);
    let prefix = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(whole)).map_err(|_| {
        Fault::new(format!("not a prefix: {text:?}"), "should be like \"192.0.2.53\" or \"2001:db8:53::/48\"")
    })?;
    if prefix.prefix_len() == 0 {
        return Err(Fault::new(format!("{prefix} is the default route"), "a service never owns every address"));
    }
    if prefix.trunc() != prefix {
        let meant = prefix.trunc();
        return Err(Fault::new(format!("{prefix} has host bits set"), format!("did you mean \"{meant}\"?"))
            .help(format!("or the host route \"{}\"", prefix.addr())));
    }
    let special = SPECIAL.iter().find_map(|(text, what)| {
        let special = text.parse::<IpNet>().ok()?;
        (special.contains(&prefix) || prefix.contains(&special)).then_some((special, what))
    });
    match special {
        Some((special, what)) => {
            Err(Fault::new(format!("{prefix} cannot be announced"), format!("{what} ({special})")))
        }
        None => Ok(prefix),
    }
}

/// What no router may be told (RFC 6890).
const SPECIAL: [(&str, &str); 10] = [
    ("0.0.0.0/8", "reaches into \"this network\""),
    ("127.0.0.0/8", "reaches into loopback"),
    ("169.254.0.0/16", "reaches into link-local"),
    ("224.0.0.0/4", "reaches into multicast"),
    ("255.255.255.255/32", "reaches into broadcast"),
    ("::/128", "reaches into the unspecified address"),
    ("::1/128", "reaches into loopback"),
    ("::ffff:0.0.0.0/96", "reaches into IPv4-mapped addresses"),
    ("fe80::/10", "reaches into link-local"),
    ("ff00::/8", "reaches into multicast"),
];

pub(super) fn asn(value: &Value<'_>) -> Result<Asn, Fault> {
    if let Ok(text) = value.text() {
        let label = match text.parse::<u32>() {
            Ok(number) => format!("write it without quotes: {number}"),
            Err(_) => "should be a number from 1 to 4294967295".to_owned(),
        };
        return Err(Fault::new(format!("not an AS number: {text:?}"), label));
    }
    let number = value.integer(1, u64::from(u32::MAX))?;
    if number == u64::from(AS_TRANS) {
        return Err(Fault::new("23456 is AS_TRANS", "stands for other AS numbers and is nobody's own (RFC 6793)"));
    }
    let number = u32::try_from(number).ok().and_then(Asn::new);
    number.ok_or_else(|| Fault::new("number out of range", "should be 1 to 4294967295"))
}

pub(super) fn port(value: &Value<'_>) -> Result<u16, Fault> {
    small(value, 1, u16::MAX)
}

/// A whole number from `least` to `most`, as the type wanted.
pub(super) fn small<T: TryFrom<u64> + Into<u64> + Copy>(value: &Value<'_>, least: T, most: T) -> Result<T, Fault> {
    let number = value.integer(least.into(), most.into())?;
    T::try_from(number).map_err(|_| Fault::new("number out of range", ""))
}

/// As in the file: by name where it has one.
pub fn show_community(community: Community) -> String {
    community.well_known_name().map_or_else(|| community.to_string(), str::to_owned)
}

/// "65000:100" or a well-known name
pub(super) fn community(value: &Value<'_>) -> Result<Community, Fault> {
    let text = value.text()?;
    let fault = |label: String| Fault::new(format!("not a community: {text:?}"), label);
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [name] => match Community::well_known(name) {
            Some(community) => Ok(community),
            None => Err(match nearest(name, Community::well_known_names()) {
                Some(meant) => fault(format!("did you mean \"{meant}\"?")),
                None => fault("should be like \"65000:100\", or a well-known name".to_owned())
                    .help(format!("names: {}", Community::well_known_names().join(", "))),
            }),
        },
        [high, low] => match (number::<u16>(high), number::<u16>(low)) {
            (Some(high), Some(low)) => Ok(Community(u32::from(high) << 16 | u32::from(low))),
            (_, Some(_)) if number::<u32>(high).is_some() => {
                Err(fault("an AS above 65535 does not fit; use large-communities".to_owned()))
            }
            (_, _) => Err(fault("both parts should be 0 to 65535".to_owned())),
        },
        [_, _, _] => Err(fault("three parts belong in large-communities".to_owned())),
        _ => Err(fault("should be like \"65000:100\"".to_owned())),
    }
}

/// "65000:1:2"
pub(super) fn large_community(value: &Value<'_>) -> Result<LargeCommunity, Fault> {
    let text = value.text()?;
    let numbers: Vec<Option<u32>> = text.split(':').map(number).collect();
    match numbers.as_slice() {
        [Some(global), Some(local1), Some(local2)] => {
            Ok(LargeCommunity { global: *global, local1: *local1, local2: *local2 })
        }
        [_, _] => Err(Fault::new(format!("not a large community: {text:?}"), "two parts belong in communities")),
        _ => Err(Fault::new(
            format!("not a large community: {text:?}"),
            "should be like \"65000:1:2\", each part 0 to 4294967295",
        )),
    }
}

/// Digits only: `parse` alone would take "+1".
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// "udp/53", "tcp/443@127.0.0.1"
pub(super) fn listen(value: &Value<'_>) -> Result<Listen, Fault> {
    let text = value.text()?;
    let fault = |label: String| {
        Fault::new(format!("not a listener: {text:?}"), label)
            .help("listeners look like \"udp/53\" or \"tcp/443@127.0.0.1\"")
    };
    let (service, address) = match text.split_once('@') {
        Some((service, address)) => (service, Some(address)),
        None => (text, None),
    };
    let (protocol, port) = service.split_once('/').ok_or_else(|| match number::<u16>(service) {
        Some(port) => fault(format!("did you mean \"tcp/{port}\" or \"udp/{port}\"?")),
        None => fault("should be a protocol, a slash and a port".to_owned()),
    })?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ if number::<u16>(protocol).is_some() => {
            return Err(fault(format!("did you mean \"{port}/{protocol}\"?")));
        }
        _ => return Err(fault("the protocol is tcp or udp".to_owned())),
    };
    let port = number::<u16>(port).filter(|port| *port != 0);
    let port = port.ok_or_else(|| fault("the port is 1 to 65535".to_owned()))?;
    let address = match address.map(|address| (address, address.parse::<IpAddr>())) {
        None => None,
        Some((_, Ok(address))) => Some(host(address)?),
        Some((text, Err(_))) => return Err(fault(format!("{text:?} is not an address"))),
    };
    Ok(Listen { protocol, port, address })
}

/// "192.0.2.1:80", "[2001:db8::1]:80", or "off"
pub(super) fn http(value: &Value<'_>) -> Result<Option<SocketAddr>, Fault> {
    let text = value.text()?;
    if text == "off" {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Some(address)),
        Ok(_) | Err(_) => Err(Fault::new(
            format!("not an address and port: {text:?}"),
            "should be like \"127.0.0.1:9179\" or \"[::1]:9179\", or \"off\"",
        )),
    }
}

pub(super) fn router_id(value: &Value<'_>) -> Result<Ipv4Addr, Fault> {
    let text = value.text()?;
    let id = text.parse::<Ipv4Addr>();
    let id = id.map_err(|_| Fault::new(format!("not a router id: {text:?}"), "should be like \"10.0.0.11\""))?;
    // RFC 6286 §2.1: any number but 0 that is unique; a loopback address would be every host's.
    if id.is_unspecified() || id.is_loopback() {
        return Err(Fault::new(format!("{id} identifies no router"), "should be an address of this host alone"));
    }
    Ok(id)
}

/// A file by its whole name: a daemon has no directory of its own.
pub(super) fn path(value: &Value<'_>) -> Result<PathBuf, Fault> {
    let text = value.text()?;
    if text.contains('\0') {
        return Err(Fault::new("a path cannot hold a zero byte", ""));
    }
    if !text.starts_with('/') {
        return Err(Fault::new(format!("not an absolute path: {text:?}"), "should start with /"));
    }
    Ok(PathBuf::from(text))
}

/// Names stand in metrics, in addresses of the control socket and in command lines.
pub(super) fn name(text: &str) -> Result<(), Fault> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 64 || !text.chars().all(plain) || text.starts_with('-') {
        return Err(Fault::new(format!("not a name: {text:?}"), "should be 1 to 64 of a-z A-Z 0-9 - _ ., no - first"));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(Fault::new(
            format!("not a name: {text:?}"),
            "an address; `explain` could not tell it from a prefix",
        ));
    }
    Ok(())
}

/// The kernel's own rule for names of interfaces (dev_valid_name).
pub(super) fn interface(value: &Value<'_>) -> Result<String, Fault> {
    let text = value.text()?;
    let bad = |c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace();
    match text {
        "" | "." | ".." => {
            Err(Fault::new(format!("not the name of an interface: {text:?}"), "should be like \"eth0\""))
        }
        _ if text.len() > 15 || text.contains(bad) => {
            Err(Fault::new(format!("not the name of an interface: {text:?}"), "at most 15 bytes, no space, / or :"))
        }
        _ => Ok(text.to_owned()),
    }
}

/// A user or group by its name.
pub(super) fn account(value: &Value<'_>) -> Result<String, Fault> {
    let text = value.text()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    // 32: the limit of useradd(8) and groupadd(8).
    if text.is_empty() || text.len() > 32 || !text.chars().all(plain) || text.starts_with('-') {
        return Err(Fault::new(format!("not the name of an account: {text:?}"), "should be a name as in getent(1)"));
    }
    Ok(text.to_owned())
}

/// One of a few words.
pub(super) fn word<T: Copy>(value: &Value<'_>, words: &[(&str, T)]) -> Result<T, Fault> {
    let text = value.text()?;
    if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*meaning);
    }
    let known = || words.iter().map(|(word, _)| *word);
    let label = match nearest(text, known()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("should be {}", known().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")),
    };
    Err(Fault::new(format!("unknown value {text:?}"), label))
}

/// Link-local IPv6, which says nothing without an interface.
pub(super) fn link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => is_link_local(v6),
    }
}

fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments().first().is_some_and(|first| first & 0xFFC0 == 0xFE80)
}

#[cfg(test)]
mod tests;
