//! `[services.NAME]` with its binding, health and checks.

use std::num::NonZeroU8;
use std::time::Duration;

use ipnet::IpNet;

use super::check::{self, CheckRead};
use super::depends::depends_on;
use super::nearest::unknown;
use super::neighbor::{policy, twice};
use super::report::{At, Fault, Report};
use super::tree::{Keys, Table, Value};
use super::values;
use super::{Bandwidth, Binding, Health, Hooks, Listen, Quorum, Service, WhenDown};
use crate::bgp::wire::Origin;

pub(super) const SERVICE: Keys = Keys {
    shared: &[],
    now: &[
        "prefixes",
        "enabled",
        "neighbors",
        "weight",
        "bandwidth",
        "communities",
        "large-communities",
        "med",
        "prepend",
        "local-preference",
        "origin",
        "depends-on",
        "binding",
        "health",
        "checks",
    ],
    later: &[],
};
pub(super) const BINDING: Keys =
    Keys { shared: &[], now: &["interface", "manage", "listen", "grace"], later: &["linger"] };
pub(super) const HEALTH: Keys = Keys {
    shared: &[],
    now: &["quorum", "per-prefix", "start-hold", "when-down", "disable-file", "hooks"],
    later: &["ramp", "damping"],
};

pub(super) const HOOKS: Keys = Keys { shared: &[], now: &["up", "down", "drain"], later: &[] };

const ORIGINS: [(&str, Origin); 3] = [("igp", Origin::Igp), ("egp", Origin::Egp), ("incomplete", Origin::Incomplete)];
pub(super) const WHEN_DOWN: [(&str, WhenDown); 2] =
    [("withdraw", WhenDown::Withdraw), ("deprefer", WhenDown::Deprefer)];

/// One service as far as it could be read, and where what it says stands.
pub(super) struct ServiceRead {
    pub(super) at: At,
    pub(super) prefixes: Vec<(At, IpNet)>,
    pub(super) weight_at: At,
    pub(super) bandwidth_at: At,
    pub(super) manage_at: At,
    pub(super) quorum_at: At,
    pub(super) quorum_given: bool,
    pub(super) insecure_at: Vec<At>,
    pub(super) depends_on: Vec<(At, usize)>,
    /// False where a check could not be read: they cannot be counted then.
    pub(super) all_checks: bool,
    pub(super) service: Service,
}

/// What a service takes from the rest of the file.
pub(super) struct Around<'a> {
    pub(super) bandwidth: Option<Bandwidth>,
    pub(super) neighbors: &'a [String],
}

pub(super) fn services(root: &Table<'_>, around: &Around<'_>, report: &mut Report) -> Vec<ServiceRead> {
    let tables = root.named("services", report);
    let names: Vec<String> = tables.iter().map(|(name, _)| (*name).to_owned()).collect();
    tables.into_iter().map(|(name, table)| service(name, &table, around, &names, report)).collect()
}

fn service(
    name: &str,
    table: &Table<'_>,
    around: &Around<'_>,
    services: &[String],
    report: &mut Report,
) -> ServiceRead {
    if let Err(fault) = values::name(name) {
        report.push(fault.at(&table.at));
    }
    table.check(&SERVICE, &[], report);
    let prefixes = prefixes(table, report);
    let neighbors = neighbors(table, around, report);
    let own_bandwidth = table.read("bandwidth", report, values::bandwidth);
    let enabled = table.read("enabled", report, Value::boolean).unwrap_or(true);
    let weight = table.read("weight", report, |v| values::small::<u8>(v, 0, 100)).unwrap_or(100);
    let local_preference =
        table.read("local-preference", report, |v| values::small::<u32>(v, 0, u32::MAX)).unwrap_or(100);
    let origin = table.read("origin", report, |v| values::word(v, &ORIGINS)).unwrap_or(Origin::Igp);
    let policy = policy(table, report);
    let depends_on = depends_on(table, services, report);
    let (binding, manage_at) = binding(table, report);
    let health = health(table, report);
    let checks: Vec<CheckRead> = check::checks(table, report);
    let checks_are_tables = table.get("checks").is_none_or(|entry| entry.value.items().is_ok());
    ServiceRead {
        at: table.at.clone(),
        weight_at: table.at("weight"),
        bandwidth_at: table.at("bandwidth"),
        manage_at,
        quorum_at: health.quorum_at,
        quorum_given: health.quorum_given,
        insecure_at: checks.iter().filter_map(|check| check.insecure_at.clone()).collect(),
        all_checks: checks.iter().all(|check| check.check.is_some()) && checks_are_tables,
        service: Service {
            name: name.to_owned(),
            prefixes: prefixes.iter().map(|(_, prefix)| *prefix).collect(),
            enabled,
            neighbors,
            weight,
            bandwidth: own_bandwidth.or(around.bandwidth),
            policy,
            local_preference,
            origin,
            depends_on: depends_on.iter().map(|(_, service)| *service).collect(),
            binding,
            health: health.health,
            checks: checks.into_iter().filter_map(|check| check.check).collect(),
        },
        depends_on,
        prefixes,
    }
}

fn prefixes(table: &Table<'_>, report: &mut Report) -> Vec<(At, IpNet)> {
    let _: Option<Vec<Value<'_>>> = table.need("prefixes", report, |v| match v.items()? {
        items if items.is_empty() => {
            Err(Fault::new("a service needs a prefix", "is empty").help("to switch a service off: enabled = false"))
        }
        items => Ok(items),
    });
    // What is not a list was reported just now, in the same words.
    let prefixes = table.list("prefixes", report, values::prefix).unwrap_or_default();
    twice(&prefixes, ToString::to_string, report);
    prefixes
}

/// Indices into the neighbors, ascending.
fn neighbors(table: &Table<'_>, around: &Around<'_>, report: &mut Report) -> Vec<usize> {
    let named = table.list("neighbors", report, |v| {
        let name = v.text()?;
        let known = || around.neighbors.iter().map(String::as_str);
        let index = known().position(|known| known == name);
        index.ok_or_else(|| unknown("neighbor", name, known()))
    });
    let Some(named) = named else { return (0..around.neighbors.len()).collect() };
    if table.get("neighbors").and_then(|entry| entry.value.items().ok()).is_some_and(|items| items.is_empty()) {
        let fault = Fault::new("announced to no neighbor", "is empty");
        report.push(
            fault.help("without the key: to all; to switch a service off: enabled = false").at(&table.at("neighbors")),
        );
    }
    let name = |index: &usize| around.neighbors.get(*index).map_or_else(String::new, |name| format!("{name:?}"));
    twice(&named, name, report);
    let mut indices: Vec<usize> = named.into_iter().map(|(_, index)| index).collect();
    indices.sort_unstable();
    indices.dedup();
    indices
}

fn binding(service: &Table<'_>, report: &mut Report) -> (Binding, At) {
    let mut binding = Binding { interface: None, manage: false, listen: Vec::new(), grace: Duration::ZERO };
    let Some(table) = service.table("binding", report) else { return (binding, service.at.clone()) };
    table.check(&BINDING, &[], report);
    binding.interface = table.read("interface", report, interface).unwrap_or(None);
    binding.manage = table.read("manage", report, Value::boolean).unwrap_or(false);
    let listen = table.list("listen", report, values::listen).unwrap_or_default();
    twice(&listen, show_listen, report);
    binding.listen = listen.into_iter().map(|(_, listen)| listen).collect();
    binding.grace = table.read("grace", report, values::duration).unwrap_or(Duration::ZERO);
    if binding.manage && binding.interface.as_ref().is_some_and(|name| name != "lo") {
        let fault = Fault::new("managed addresses are put on lo", "can only be \"any\" or \"lo\" with manage = true");
        report.push(fault.at(&table.at("interface")));
    }
    (binding, table.at("manage"))
}

fn show_listen(listen: &Listen) -> String {
    let protocol = listen.protocol.name();
    match listen.address {
        Some(address) => format!("\"{protocol}/{}@{address}\"", listen.port),
        None => format!("\"{protocol}/{}\"", listen.port),
    }
}

/// `None`: any.
fn interface(value: &Value<'_>) -> Result<Option<String>, Fault> {
    match value.text()? {
        "any" => Ok(None),
        _ => values::interface(value).map(Some).map_err(|fault| fault.help("or \"any\"")),
    }
}

struct HealthRead {
    health: Health,
    quorum_at: At,
    quorum_given: bool,
}

fn health(service: &Table<'_>, report: &mut Report) -> HealthRead {
    let mut health = Health {
        quorum: Quorum::All,
        per_prefix: true,
        start_hold: Duration::ZERO,
        when_down: WhenDown::Withdraw,
        disable_file: None,
        hooks: Hooks::default(),
    };
    let Some(table) = service.table("health", report) else {
        return HealthRead { health, quorum_at: service.at.clone(), quorum_given: false };
    };
    table.check(&HEALTH, &[], report);
    let quorum = table.read("quorum", report, quorum);
    health.quorum = quorum.unwrap_or(Quorum::All);
    health.per_prefix = table.read("per-prefix", report, Value::boolean).unwrap_or(true);
    health.start_hold = table.read("start-hold", report, values::duration).unwrap_or(Duration::ZERO);
    health.when_down = table.read("when-down", report, |v| values::word(v, &WHEN_DOWN)).unwrap_or(WhenDown::Withdraw);
    health.disable_file = table.read("disable-file", report, values::path);
    health.hooks = hooks(&table, report);
    HealthRead { health, quorum_at: table.at("quorum"), quorum_given: quorum.is_some() }
}

fn hooks(health: &Table<'_>, report: &mut Report) -> Hooks {
    let Some(table) = health.table("hooks", report) else { return Hooks::default() };
    table.check(&HOOKS, &[], report);
    let mut read = |key| table.read(key, report, check::command);
    Hooks { up: read("up"), down: read("down"), drain: read("drain") }
}

fn quorum(value: &Value<'_>) -> Result<Quorum, Fault> {
    if value.is_text() {
        return values::word(value, &[("all", Quorum::All), ("any", Quorum::Any)])
            .map_err(|fault| fault.help("a quorum is \"all\", \"any\" or a number of checks"));
    }
    let number = values::small::<u8>(value, 1, u8::MAX)?;
    NonZeroU8::new(number).map(Quorum::AtLeast).ok_or_else(|| Fault::new("a quorum of none", "should be 1 or more"))
}
