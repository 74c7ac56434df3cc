//! `[pmtud]`: where ICMP errors come in, and who else gets them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::neighbor::twice;
use super::report::{At, Fault, Report};
use super::tree::{Keys, Table, Value};
use super::values;
use super::{Members, MinMtu, Pmtud, PmtudLimits, PmtudMode, PmtudRelay, Rate};

mod members;

pub(crate) use members::MEMBERS_AT_MOST;

pub(super) const PMTUD: Keys = Keys {
    shared: &["interfaces", "mode", "prefixes", "protocols", "ports", "min-mtu", "dedup", "limits", "dry-run"],
    now: &RELAY,
    later: &[],
};
const BROADCAST: Keys = Keys { now: &[], ..PMTUD };
const RELAY: [&str; 7] = ["address", "port", "members", "members-file", "members-dns", "keys", "insecure"];
pub(super) const MIN_MTU: Keys = Keys { shared: &[], now: &["ipv4", "ipv6"], later: &[] };
pub(super) const LIMITS: Keys = Keys { shared: &[], now: &["flow", "router", "prefix", "total"], later: &[] };

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Relay,
    Broadcast,
}

const MODES: [(&str, Mode); 2] = [("relay", Mode::Relay), ("broadcast", Mode::Broadcast)];
/// IANA protocol numbers.
const PROTOCOLS: [(&str, u8); 3] = [("tcp", 6), ("udp", UDP), ("sctp", 132)];
const UDP: u8 = 17;

/// Each has a socket with a ring of its own.
const INTERFACES_AT_MOST: usize = 64;
/// A rotation needs two; each datagram that nobody signed may cost one HMAC for each key.
const KEYS_AT_MOST: usize = 8;
/// The least retransmission timeout of Linux: what comes after it answers another packet.
const RETRANSMISSION: Duration = Duration::from_millis(200);
const LONGEST_DEDUP: Duration = Duration::from_secs(10);
/// Ten times what a core can judge in a second.
const FASTEST: u32 = 10_000_000;

/// The table as far as it could be read, and where what it says stands.
pub(super) struct PmtudRead {
    /// `None` only where a problem was reported.
    pub(super) pmtud: Option<Pmtud>,
    pub(super) address: Option<(At, IpAddr)>,
    pub(super) members: Vec<(At, IpAddr)>,
}

/// `None`: there is no such table. `alone`: nobody announces here, so that `prefixes` have to be given.
pub(super) fn pmtud(root: &Table<'_>, alone: bool, report: &mut Report) -> Option<PmtudRead> {
    let table = root.table("pmtud", report)?;
    let mode = match table.get("mode") {
        Some(_) => table.read("mode", report, |v| values::word(v, &MODES)),
        None => Some(Mode::Relay),
    };
    match mode {
        Some(Mode::Broadcast) => {
            let place = "to mode = \"broadcast\", but to \"relay\"";
            table.check(&BROADCAST, &RELAY.map(|key| (key, place.to_owned())), report);
        }
        // Which keys belong to a mode that could not be read nobody knows.
        Some(Mode::Relay) | None => table.check(&PMTUD, &[], report),
    }
    let interfaces = interfaces(&table, report);
    let prefixes = prefixes(&table, alone, report);
    let (mode, address, members) = match mode {
        Some(Mode::Relay) => {
            let address = table.read("address", report, unicast);
            let (members, listed) = members::members(&table, address, report);
            let relay = relay(&table, address, members, report).map(PmtudMode::Relay);
            (relay, address.map(|address| (table.at("address"), address)), listed)
        }
        Some(Mode::Broadcast) => (Some(PmtudMode::Broadcast), None, Vec::new()),
        None => (None, None, Vec::new()),
    };
    if let Some((at, address)) = &address {
        in_prefixes(at, *address, &prefixes, "address", report);
    }
    for (at, member) in &members {
        in_prefixes(at, *member, &prefixes, "a member", report);
    }
    let given = table.get("prefixes").is_some().then_some(prefixes);
    let complete = interfaces.is_some();
    // Also where something is missing: all that can be read is, so that every problem is found.
    let rest = |mode| Pmtud {
        interfaces: interfaces.unwrap_or_default(),
        mode,
        prefixes: given.map(|prefixes| prefixes.into_iter().map(|(_, prefix)| prefix).collect()),
        protocols: protocols(&table, report),
        ports: ports(&table, report),
        min_mtu: min_mtu(&table, report),
        dry_run: table.read("dry-run", report, Value::boolean).unwrap_or(false),
        dedup: dedup(&table, report),
        limits: limits(&table, report),
    };
    let pmtud = match mode {
        Some(mode) => Some(rest(mode)).filter(|_| complete),
        None => {
            rest(PmtudMode::Broadcast);
            None
        }
    };
    Some(PmtudRead { pmtud, address, members })
}

fn interfaces(table: &Table<'_>, report: &mut Report) -> Option<Vec<String>> {
    let list = table.need("interfaces", report, |v| {
        let items = v.items()?;
        match items.len() {
            0 => Err(Fault::new("the relay needs an interface", "should name where errors come in, e.g. \"eth0\"")),
            n if n > INTERFACES_AT_MOST => {
                Err(Fault::new(format!("{n} interfaces"), format!("should be at most {INTERFACES_AT_MOST}")))
            }
            _ => Ok(items),
        }
    })?;
    let mut read = Vec::new();
    for item in list {
        match uplink(&item) {
            Ok(name) => read.push((item.at, name)),
            Err(fault) => report.push(fault.at(&item.at)),
        }
    }
    twice(&read, |name| format!("{name:?}"), report);
    (!read.is_empty()).then(|| read.into_iter().map(|(_, name)| name).collect())
}

fn uplink(value: &Value<'_>) -> Result<String, Fault> {
    let name = values::interface(value)?;
    if name == "lo" {
        let fault = Fault::new("errors do not come in on \"lo\"", "should be an uplink");
        return Err(fault.help("errors from members are injected there, and would be captured again"));
    }
    Ok(name)
}

fn prefixes(table: &Table<'_>, alone: bool, report: &mut Report) -> Vec<(At, IpNet)> {
    if alone && table.get("prefixes").is_none() {
        let fault = Fault::new("`prefixes` is required in [pmtud] for `anycaster pmtud`", "has no `prefixes`");
        let fault = fault.help("the anycast addresses of this host; only `anycaster run` knows what is announced");
        report.push(fault.at(&table.at).missing());
    }
    let list = table.list("prefixes", report, values::prefix).unwrap_or_default();
    twice(&list, ToString::to_string, report);
    let empty = table.get("prefixes").and_then(|entry| entry.value.items().ok()).is_some_and(|items| items.is_empty());
    if empty {
        let fault = Fault::new("nothing would be relayed", "should name a prefix");
        let help = "without `prefixes`, `anycaster run` relays for those that it announces right now";
        report.push(fault.help(help).at(&table.at("prefixes")));
    }
    list
}

fn in_prefixes(at: &At, address: IpAddr, prefixes: &[(At, IpNet)], what: &str, report: &mut Report) {
    if let Some((prefix_at, prefix)) = prefixes.iter().find(|(_, prefix)| prefix.contains(&address)) {
        report.push(anycast(address, *prefix, what).at(at).also(prefix_at, "one of the prefixes"));
    }
}

/// An address that every member has.
pub(super) fn anycast(address: IpAddr, prefix: IpNet, what: &str) -> Fault {
    let fault = Fault::new(format!("{what} of [pmtud] is no address of one host"), format!("{address} is in {prefix}"));
    fault.help("datagrams between members need addresses that only one of them has")
}

/// An address that leads to one host from anywhere in the fleet.
fn unicast(value: &Value<'_>) -> Result<IpAddr, Fault> {
    let address = values::address(value)?;
    if values::link_local(address) {
        return Err(Fault::new(format!("{address} is link-local"), "should be an address that every member can reach"));
    }
    Ok(address)
}

fn relay(table: &Table<'_>, address: Option<IpAddr>, members: Members, report: &mut Report) -> Option<PmtudRelay> {
    if table.get("address").is_none() {
        let fault = Fault::new("`address` is required in [pmtud] with mode = \"relay\"", "has no `address`");
        let fault = fault.help("this host's own unicast address: members send to it, and know this host by it");
        report.push(fault.at(&table.at).missing());
    }
    let port = table.read("port", report, values::port).unwrap_or(5141);
    let insecure = table.read("insecure", report, Value::boolean).unwrap_or(false);
    let keys = keys(table, insecure, report);
    Some(PmtudRelay { address: address?, port, members, keys, insecure })
}

fn keys(table: &Table<'_>, insecure: bool, report: &mut Report) -> Vec<PathBuf> {
    let list = table.list("keys", report, values::path);
    let keys = list.unwrap_or_default();
    twice(&keys, |path| format!("{path:?}"), report);
    let given = table.get("keys");
    let written = given.map(|entry| entry.value.items().map_or(1, |items| items.len())).unwrap_or(0);
    match (written, insecure) {
        (0, false) => {
            let fault = Fault::new("`keys` is required in [pmtud] with mode = \"relay\"", "has no key");
            let help = "`(umask 077; openssl rand -hex 32 >/etc/anycaster/pmtud-1.key)`, and the same file on every \
                        member; or insecure = true, where nobody else can send to the port";
            let problem = fault.help(help).at(&table.at("keys"));
            report.push(if given.is_some() { problem } else { problem.missing() });
        }
        (0, true) => {
            let label = "whoever can send to the port can inject ICMP errors here";
            let fault = Fault::new("datagrams between members are not signed", label);
            report.push(fault.at(&table.at("insecure")).warning());
        }
        (_, true) => {
            let fault =
                Fault::new("insecure = true contradicts `keys`", "should go: with keys every datagram is signed");
            report.push(fault.at(&table.at("insecure")).also(&table.at("keys"), "keys"));
        }
        (n, false) if n > KEYS_AT_MOST => {
            let fault = Fault::new(format!("{n} keys"), format!("should be at most {KEYS_AT_MOST}"));
            report.push(fault.help("a rotation needs two").at(&table.at("keys")));
        }
        (_, false) => {}
    }
    keys.into_iter().map(|(_, path)| path).collect()
}

/// Ascending.
fn protocols(table: &Table<'_>, report: &mut Report) -> Vec<u8> {
    let Some(read) = table.list("protocols", report, |v| values::word(v, &PROTOCOLS)) else { return vec![6, 132] };
    let name = |number: &u8| {
        let known = PROTOCOLS.iter().find(|(_, known)| known == number);
        known.map_or_else(String::new, |(name, _)| format!("{name:?}"))
    };
    twice(&read, name, report);
    let empty = table.get("protocols").and_then(|entry| entry.value.items().ok()).is_some_and(|items| items.is_empty());
    if empty {
        let fault = Fault::new("nothing would be relayed", "should name \"tcp\", \"sctp\" or \"udp\"");
        report.push(fault.at(&table.at("protocols")));
    }
    if let Some((at, _)) = read.iter().find(|(_, number)| *number == UDP) {
        let fault = Fault::new("errors about UDP prove nothing", "whoever knows two ports can lower the path MTU");
        let fault = fault.help("a datagram has no sequence number that a forger would have to guess");
        report.push(fault.at(at).warning());
    }
    let mut numbers: Vec<u8> = read.into_iter().map(|(_, number)| number).collect();
    numbers.sort_unstable();
    numbers
}

/// Ascending.
fn ports(table: &Table<'_>, report: &mut Report) -> Vec<u16> {
    let read = table.list("ports", report, values::port).unwrap_or_default();
    twice(&read, ToString::to_string, report);
    let mut ports: Vec<u16> = read.into_iter().map(|(_, port)| port).collect();
    ports.sort_unstable();
    ports
}

fn min_mtu(table: &Table<'_>, report: &mut Report) -> MinMtu {
    let mut least = MinMtu { ipv4: 552, ipv6: 1280 };
    if let Some(table) = table.table("min-mtu", report) {
        table.check(&MIN_MTU, &[], report);
        least.ipv4 = table.read("ipv4", report, |v| lowest(v, 68, "RFC 791")).unwrap_or(least.ipv4);
        least.ipv6 = table.read("ipv6", report, |v| lowest(v, 1280, "RFC 8200")).unwrap_or(least.ipv6);
    }
    least
}

/// 0, or what every link carries.
fn lowest(value: &Value<'_>, least: u16, rfc: &str) -> Result<u16, Fault> {
    let read = values::small::<u16>(value, 0, u16::MAX)?;
    if (1..least).contains(&read) {
        let fault = Fault::new(format!("no link has an MTU below {least} ({rfc})"), format!("did you mean {least}?"));
        return Err(fault.help("0 believes any number"));
    }
    Ok(read)
}

fn dedup(table: &Table<'_>, report: &mut Report) -> Duration {
    let read = table.read("dedup", report, |v| match values::duration(v)? {
        span if span > LONGEST_DEDUP => Err(Fault::new("dedup too long", "at most \"10s\"")),
        span => Ok(span),
    });
    let span = read.unwrap_or(Duration::from_millis(100));
    if span > RETRANSMISSION {
        let fault = Fault::new("dedup above 200 ms", "hides the error that answers a first retransmission");
        report.push(fault.at(&table.at("dedup")).warning());
    }
    span
}

fn limits(table: &Table<'_>, report: &mut Report) -> PmtudLimits {
    let per_second = |per_second| Rate { per_second };
    let mut limits =
        PmtudLimits { flow: per_second(5), router: per_second(200), prefix: per_second(1000), total: per_second(5000) };
    if let Some(table) = table.table("limits", report) {
        table.check(&LIMITS, &[], report);
        limits.flow = table.read("flow", report, rate).unwrap_or(limits.flow);
        limits.router = table.read("router", report, rate).unwrap_or(limits.router);
        limits.prefix = table.read("prefix", report, rate).unwrap_or(limits.prefix);
        limits.total = table.read("total", report, rate).unwrap_or(limits.total);
    }
    limits
}

/// "200/s"
pub(super) fn rate(value: &Value<'_>) -> Result<Rate, Fault> {
    if let Some(number) = value.bare_number() {
        let whole = number.bytes().all(|byte| byte.is_ascii_digit());
        let label = if whole { format!("did you mean \"{number}/s\"?") } else { "should be like \"200/s\"".to_owned() };
        return Err(Fault::new("a rate needs a unit", label));
    }
    let text = value.text()?;
    let wrong = |label: String| Fault::new(format!("not a rate: {text:?}"), label).help("rates look like \"200/s\"");
    let (number, unit) = text.split_once('/').unwrap_or((text, ""));
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    match unit {
        "s" if digits => {}
        "" if digits => return Err(wrong(format!("did you mean \"{number}/s\"?"))),
        "sec" | "second" | "S" if digits => return Err(wrong(format!("did you mean \"{number}/s\"?"))),
        _ if digits => return Err(wrong("rates are per second".to_owned())),
        _ => return Err(wrong("should be a whole number and /s".to_owned())),
    }
    match number.parse::<u32>() {
        Ok(0) => Err(wrong("would relay nothing; to only look, use dry-run = true".to_owned())),
        Ok(per_second) if per_second <= FASTEST => Ok(Rate { per_second }),
        Ok(_) | Err(_) => Err(wrong(format!("at most \"{FASTEST}/s\""))),
    }
}
