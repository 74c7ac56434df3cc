//! `anycaster check`: who owns which prefix, what would go to which neighbor, every problem with its line.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use serde::Serialize;

use crate::bgp::wire::{Attributes, Family, LinkBandwidth, Origin};
use crate::config::{self, Bandwidth, Config, Diagnostic, Members, Neighbor, Pmtud, PmtudMode, Service, Severity};
use crate::io::files;
use crate::plan;

/// Prints what [`outcome`] says and gives its exit code.
pub fn check(path: &Path, json: bool, colour: bool) -> u8 {
    let outcome = outcome(path, json, colour);
    say(io::stderr(), &outcome.errors);
    say(io::stdout(), &outcome.output);
    outcome.code
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// 0 is a valid configuration, with or without warnings; 2 is anything else.
    pub code: u8,
    pub output: String,
    pub errors: String,
}

/// With `json` all is in the output; without it, problems are among the errors.
pub fn outcome(path: &Path, json: bool, colour: bool) -> Outcome {
    let read = files::read_sources(path);
    let (config, report) = match read.as_deref().map(config::load) {
        Ok(Ok(loaded)) => (Some(loaded.config), loaded.warnings),
        Ok(Err(report)) => (None, report),
        Err(why) => return unreadable(why, json),
    };
    let code = if config.is_some() { 0 } else { 2 };
    if json {
        let output = self::json(config.as_ref(), &report.diagnostics());
        return Outcome { code, output, errors: String::new() };
    }
    let output = config.as_ref().map(render).unwrap_or_default();
    Outcome { code, output, errors: report.render(colour) }
}

fn unreadable(why: &str, json: bool) -> Outcome {
    let (file, line, column, end, help) = (None, None, None, None, None);
    let message = why.to_owned();
    if !json {
        return Outcome { code: 2, output: String::new(), errors: format!("error: {message}\n") };
    }
    let diagnostic = Diagnostic { severity: Severity::Error, file, line, column, end, message, help };
    Outcome { code: 2, output: self::json(None, &[diagnostic]), errors: String::new() }
}

/// A reader that went away (`check | head`) is no problem of the configuration.
fn say(mut to: impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

/// One prefix, its owner, and what each neighbor would be told.
struct Owned<'a> {
    prefix: IpNet,
    service: &'a Service,
    /// The next wider prefix of another service, which this one takes addresses from.
    within: Option<(IpNet, &'a Service)>,
    told: Vec<(&'a Neighbor, Attributes)>,
}

/// In the order of addresses, wider prefixes first.
fn owned(config: &Config) -> Vec<Owned<'_>> {
    let of = |service| move |prefix: &IpNet| (*prefix, service);
    let mut all: Vec<(IpNet, &Service)> =
        config.services.iter().flat_map(|service| service.prefixes.iter().map(of(service))).collect();
    all.sort_by_key(|(prefix, _)| (*prefix, prefix.prefix_len()));
    // Sorted like this, what contains a prefix is on the path of those that contain the one before it.
    let mut path: Vec<(IpNet, &Service)> = Vec::new();
    let mut owned = Vec::new();
    for (prefix, service) in all {
        while path.last().is_some_and(|(wider, _)| !wider.contains(&prefix)) {
            path.pop();
        }
        let within = path.last().filter(|(_, other)| other.name != service.name).copied();
        path.push((prefix, service));
        let told = config.told(service, Family::of(&prefix));
        owned.push(Owned { prefix, service, within, told });
    }
    owned
}

impl Config {
    fn told<'a>(&'a self, service: &'a Service, family: Family) -> Vec<(&'a Neighbor, Attributes)> {
        let carries = |neighbor: &&Neighbor| neighbor.families.has(family);
        let neighbors = service.neighbors.iter().filter_map(|index| self.neighbors.get(*index)).filter(carries);
        let route = plan::route(service, false);
        neighbors.map(|neighbor| (neighbor, plan::attributes(&route, &self.router, neighbor))).collect()
    }
}

/// The table of owners, aligned, and below it which service takes addresses from which.
pub fn render(config: &Config) -> String {
    let mut rows = vec![["PREFIX", "SERVICE", "NEIGHBORS", "ATTRIBUTES"].map(str::to_owned)];
    let mut notes = String::new();
    for owned in owned(config) {
        let prefix = owned.prefix.to_string();
        if let Some((wider, other)) = owned.within {
            let (service, other) = (&owned.service.name, &other.name);
            notes
                .push_str(&format!("{prefix} of {service} lies in {wider} of {other}: {service} owns its addresses\n"));
        }
        let mut groups: Vec<(Vec<String>, String)> = Vec::new();
        for (neighbor, attributes) in &owned.told {
            let name = neighbor.name.clone();
            let text = describe(&owned, neighbor, attributes);
            match groups.iter_mut().find(|(_, known)| *known == text) {
                Some((names, _)) => names.push(name),
                None => groups.push((vec![name], text)),
            }
        }
        if groups.is_empty() {
            groups.push((vec!["-".to_owned()], "announced to nobody".to_owned()));
        }
        for (index, (names, text)) in groups.into_iter().enumerate() {
            let (prefix, service) = match index {
                0 => (prefix.clone(), owned.service.name.clone()),
                _ => (String::new(), String::new()),
            };
            rows.push([prefix, service, names.join(", "), text]);
        }
    }
    let mut text = align(&rows);
    notes.extend(config.pmtud.as_ref().map(pmtud));
    if !notes.is_empty() {
        text.push('\n');
        text.push_str(&notes);
    }
    text
}

/// Where ICMP errors come in, where they go, and for which prefixes.
fn pmtud(pmtud: &Pmtud) -> String {
    let counted = |count: usize, word: &str| if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") };
    let whereto = match &pmtud.mode {
        PmtudMode::Broadcast => "are sent on to the whole segment".to_owned(),
        PmtudMode::Relay(relay) => {
            let to = match &relay.members {
                Members::List(list) => {
                    let others: BTreeSet<_> = list.iter().filter(|member| **member != relay.address).collect();
                    counted(others.len(), "other member")
                }
                Members::File(path) => format!("the members in {}", path.display()),
                Members::Dns(name) => format!("the addresses of {name}"),
            };
            let signed = if relay.insecure { "unsigned".to_owned() } else { counted(relay.keys.len(), "key") };
            format!("are relayed from {} to {to}, UDP port {}, {signed}", relay.address, relay.port)
        }
    };
    let prefixes = match &pmtud.prefixes {
        None => "what is announced".to_owned(),
        Some(prefixes) => prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let dry = if pmtud.dry_run { " (dry-run: nothing is sent)" } else { "" };
    format!("ICMP errors from {} for {prefixes} {whereto}{dry}\n", pmtud.interfaces.join(", "))
}

fn align(rows: &[[String; 4]]) -> String {
    let width = |pick: fn(&[String; 4]) -> &String| rows.iter().map(|row| pick(row).len()).max().unwrap_or(0);
    let (first, second, third) = (width(|[a, ..]| a), width(|[_, b, ..]| b), width(|[_, _, c, _]| c));
    let line = |[prefix, service, neighbors, attributes]: &[String; 4]| {
        format!("{prefix:first$}  {service:second$}  {neighbors:third$}  {attributes}\n")
    };
    rows.iter().map(line).collect()
}

/// In the order of the decision process where the router has one: local preference, path, origin, MED, then the rest.
fn describe(owned: &Owned<'_>, neighbor: &Neighbor, attributes: &Attributes) -> String {
    let mut parts = Vec::new();
    match (owned.service.enabled, owned.service.weight, neighbor.enabled) {
        (false, _, _) => return "service disabled".to_owned(),
        (_, _, false) => return "neighbor disabled".to_owned(),
        (_, 0, _) => return "drained (weight 0)".to_owned(),
        (true, _, true) => {}
    }
    parts.extend(attributes.local_preference.map(|preference| format!("local-preference {preference}")));
    let path: Vec<String> = attributes.as_path.iter().map(ToString::to_string).collect();
    parts.push(if path.is_empty() { "as-path empty".to_owned() } else { format!("as-path {}", path.join(" ")) });
    match attributes.origin {
        Origin::Igp => {}
        Origin::Egp | Origin::Incomplete => parts.push(format!("origin {}", origin(attributes.origin))),
    }
    parts.extend(attributes.med.map(|med| format!("med {med}")));
    let communities: Vec<String> = attributes.communities.iter().copied().map(config::show_community).collect();
    if !communities.is_empty() {
        parts.push(format!("communities {}", communities.join(" ")));
    }
    let large: Vec<String> = attributes.large_communities.iter().map(ToString::to_string).collect();
    if !large.is_empty() {
        parts.push(format!("large-communities {}", large.join(" ")));
    }
    parts.extend(attributes.link_bandwidth.map(|LinkBandwidth { bytes_per_second, transitive, .. }| {
        let kind = if transitive { "" } else { " non-transitive" };
        format!("bandwidth {}{kind}", Bandwidth { bytes_per_second })
    }));
    parts.extend(next_hop(&owned.prefix, neighbor).map(|address| format!("next-hop {address}")));
    parts.join(", ")
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Igp => "igp",
        Origin::Egp => "egp",
        Origin::Incomplete => "incomplete",
    }
}

/// Where it is not the session's own.
fn next_hop(prefix: &IpNet, neighbor: &Neighbor) -> Option<IpAddr> {
    match prefix {
        IpNet::V4(_) => neighbor.next_hop.ipv4.map(IpAddr::V4),
        IpNet::V6(_) => neighbor.next_hop.ipv6.map(IpAddr::V6),
    }
}

#[derive(Serialize)]
struct Output<'a> {
    /// Sixteen hexadecimal digits; null where the configuration is not valid.
    hash: Option<String>,
    prefixes: Vec<OwnedOutput<'a>>,
    diagnostics: &'a [Diagnostic],
}

#[derive(Serialize)]
struct OwnedOutput<'a> {
    prefix: String,
    service: &'a str,
    enabled: bool,
    weight: u8,
    within: Option<Within<'a>>,
    neighbors: Vec<Told<'a>>,
}

#[derive(Serialize)]
struct Within<'a> {
    prefix: String,
    service: &'a str,
}

/// The same names as in `GET /routes`.
#[derive(Serialize)]
struct Told<'a> {
    name: &'a str,
    enabled: bool,
    /// Null: the session's own address.
    next_hop: Option<IpAddr>,
    as_path: Vec<u32>,
    origin: &'static str,
    med: Option<u32>,
    local_preference: Option<u32>,
    communities: Vec<String>,
    large_communities: Vec<String>,
    bandwidth: Option<u64>,
}

/// One object and a newline; without a configuration, the diagnostics alone.
pub fn json(config: Option<&Config>, diagnostics: &[Diagnostic]) -> String {
    let owned = config.map(owned).unwrap_or_default();
    let output = Output {
        hash: config.map(|config| format!("{:016x}", config.hash)),
        prefixes: owned.iter().map(owned_output).collect(),
        diagnostics,
    };
    let mut text = serde_json::to_string_pretty(&output).unwrap_or_default();
    text.push('\n');
    text
}

fn owned_output<'a>(owned: &Owned<'a>) -> OwnedOutput<'a> {
    let told = |(neighbor, attributes): &(&'a Neighbor, Attributes)| Told {
        name: &neighbor.name,
        enabled: neighbor.enabled,
        next_hop: next_hop(&owned.prefix, neighbor),
        as_path: attributes.as_path.iter().map(|asn| asn.get()).collect(),
        origin: origin(attributes.origin),
        med: attributes.med,
        local_preference: attributes.local_preference,
        communities: attributes.communities.iter().map(ToString::to_string).collect(),
        large_communities: attributes.large_communities.iter().map(ToString::to_string).collect(),
        bandwidth: attributes.link_bandwidth.map(|bandwidth| bandwidth.bytes_per_second),
    };
    OwnedOutput {
        prefix: owned.prefix.to_string(),
        service: &owned.service.name,
        enabled: owned.service.enabled,
        weight: owned.service.weight,
        within: owned.within.map(|(prefix, service)| Within { prefix: prefix.to_string(), service: &service.name }),
        neighbors: owned.told.iter().map(told).collect(),
    }
}
