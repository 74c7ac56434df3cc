//! `depends-on`: which service is held while which other one is down.

use std::collections::BTreeSet;

use super::nearest::unknown;
use super::neighbor::twice;
use super::report::{At, Fault, Report};
use super::service::ServiceRead;
use super::tree::Table;

/// Indices into the services with where each is named, in the file's order.
pub(super) fn depends_on(table: &Table<'_>, services: &[String], report: &mut Report) -> Vec<(At, usize)> {
    let named = table.list("depends-on", report, |v| {
        let name = v.text()?;
        let known = services.iter().position(|known| known == name);
        known.ok_or_else(|| unknown("service", name, services.iter().map(String::as_str)))
    });
    let mut named = named.unwrap_or_default();
    let name = |index: &usize| services.get(*index).map_or_else(String::new, |name| format!("{name:?}"));
    twice(&named, name, report);
    let mut seen = BTreeSet::new();
    named.retain(|(_, service)| seen.insert(*service));
    named
}

/// Services that wait for each other would never be announced.
pub(super) fn rules(services: &[ServiceRead], report: &mut Report) {
    let mut seen = vec![Seen::No; services.len()];
    for start in 0..services.len() {
        walk(services, start, &mut seen, report);
    }
    for read in services {
        for (at, needed) in &read.depends_on {
            if let Some(needed) = services.get(*needed).filter(|needed| !needed.service.enabled && read.service.enabled)
            {
                let (name, needed) = (&read.service.name, &needed.service.name);
                let fault = Fault::new(format!("{name:?} will not be announced"), format!("{needed:?} is disabled"));
                report.push(fault.at(at).warning());
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    OnPath,
    Done,
}

/// Depth first along what is needed; a service met again on the way to itself closes a circle. Iterative: a chain may be
/// as long as the file.
fn walk(services: &[ServiceRead], start: usize, seen: &mut [Seen], report: &mut Report) {
    if seen.get(start) != Some(&Seen::No) {
        return;
    }
    // Each service on the way, and how many of its needs have been looked at.
    let mut path = vec![(start, 0)];
    mark(seen, start, Seen::OnPath);
    while let Some((service, next)) = path.last_mut() {
        let needs = services.get(*service).map(|read| read.depends_on.as_slice()).unwrap_or_default();
        let Some((at, needed)) = needs.get(*next) else {
            mark(seen, *service, Seen::Done);
            path.pop();
            continue;
        };
        *next += 1;
        match seen.get(*needed) {
            Some(Seen::No) => {
                mark(seen, *needed, Seen::OnPath);
                path.push((*needed, 0));
            }
            Some(Seen::OnPath) => {
                let circle = path.iter().skip_while(|(service, _)| service != needed).map(|(service, _)| *service);
                circular(services, circle.chain([*needed]), at, report);
            }
            Some(Seen::Done) | None => {}
        }
    }
}

fn mark(seen: &mut [Seen], service: usize, as_what: Seen) {
    if let Some(cell) = seen.get_mut(service) {
        *cell = as_what;
    }
}

fn circular(services: &[ServiceRead], circle: impl Iterator<Item = usize>, at: &At, report: &mut Report) {
    let names = circle.filter_map(|service| services.get(service)).map(|read| read.service.name.as_str());
    let names: Vec<&str> = names.collect();
    let fault = match names.as_slice() {
        [one, _] => Fault::new("a service that depends on itself", format!("{one:?} would wait for itself")),
        _ => Fault::new("services that depend on each other", names.join(" → "))
            .help("none of them would ever be announced: one of these needs has to go"),
    };
    report.push(fault.at(at));
}
