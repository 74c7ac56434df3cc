//! `anycaster status`: one screen.

use super::ask::Screen;
use super::paint::{Ink, age, printable, seconds};
use super::table::{Table, cell};
use super::{neighbors, pmtud, services};
use crate::status::{Neighbor, Prefix, PrefixNeighbor, Reason, Status};

/// Held because somebody said so.
const INTENDED: [&str; 2] = ["drained", "disabled"];

/// 0 where all is announced that should be, else 1.
pub(super) fn exit_code(status: &Status) -> u8 {
    let down = status.neighbors.iter().any(|peer| peer.enabled && peer.state != "Established");
    u8::from(down || !exceptions(status).iter().all(|exception| exception.intended))
}

pub(super) fn render(status: &Status, screen: Screen) -> String {
    let up = seconds(status.uptime_seconds);
    let mut text = match &status.router {
        Some(router) => {
            let id = router.id.as_deref().unwrap_or("not yet known");
            format!("anycaster {}, AS {}, router id {id}, up {up}\n", status.version, router.asn)
        }
        None => format!("anycaster {}, pmtud alone, up {up}\n", status.version),
    };
    let config = &status.config;
    let loaded = age(&config.loaded_at, screen);
    text.push_str(&format!(
        "configuration {} ({}), {}, loaded {loaded} ago\n\n",
        config.path, config.hash, config.state
    ));
    text = text.lines().fold(String::new(), |text, line| text + &printable(line) + "\n");
    if status.router.is_none() {
        // Nothing is announced here: only the relay has something to say.
        return text.trim_end().to_owned() + "\n" + &pmtud::block(&status.pmtud, screen);
    }
    text.push_str(&neighbors::table(&status.neighbors, screen));
    text.push('\n');
    text.push_str(&services::table(&status.services, screen));
    text.push('\n');
    text.push_str(&failed_hooks(status, screen));
    text.push_str(&held_and_kept(status, screen));
    text.push_str(&pmtud::block(&status.pmtud, screen));
    text
}

fn held_and_kept(status: &Status, screen: Screen) -> String {
    let exceptions = exceptions(status);
    if exceptions.is_empty() {
        return format!("{}\n", screen.paint.text(Ink::Good, "nothing is held or kept"));
    }
    let mut table = Table::plain();
    for exception in exceptions {
        let verdict = if exception.announced {
            cell("kept").ink(Ink::Warn)
        } else {
            cell("held").ink(if exception.intended { Ink::Warn } else { Ink::Bad })
        };
        table.row([
            verdict,
            cell(exception.prefix),
            cell(exception.service),
            cell(exception.why),
            cell(format!("for {}", age(exception.since, screen))),
        ]);
    }
    table.render("", screen)
}

/// They are in the way of nothing, so the exit code does not know them.
fn failed_hooks(status: &Status, screen: Screen) -> String {
    let mut table = Table::plain();
    for (service, hook) in status.services.iter().flat_map(|s| s.hooks.iter().map(move |hook| (&s.name, hook))) {
        if hook.ok == Some(false) {
            let ago = hook.last.as_ref().map_or_else(String::new, |last| format!("{} ago", age(last, screen)));
            let verdict = cell("failed").ink(Ink::Warn);
            table.row([verdict, cell(format!("hook {}", hook.hook)), cell(service), cell(&hook.detail), cell(ago)]);
        }
    }
    table.render("", screen)
}

/// A prefix that is not simply announced, to everybody or to one neighbor.
struct Exception<'a> {
    announced: bool,
    intended: bool,
    prefix: &'a str,
    service: &'a str,
    why: String,
    since: &'a str,
}

fn exceptions(status: &Status) -> Vec<Exception<'_>> {
    let prefixes = (status.services.iter())
        .flat_map(|service| service.prefixes.iter().map(|prefix| (service.name.as_str(), prefix)));
    prefixes
        .flat_map(|(service, prefix)| match (&prefix.held, &prefix.kept) {
            (Some(held), _) => vec![whole(service, prefix, held, false)],
            (None, Some(kept)) => {
                let mut found = vec![whole(service, prefix, kept, true)];
                found.extend(partial(service, prefix, &status.neighbors));
                found
            }
            (None, None) => partial(service, prefix, &status.neighbors).collect(),
        })
        .collect()
}

fn whole<'a>(service: &'a str, prefix: &'a Prefix, reason: &'a Reason, announced: bool) -> Exception<'a> {
    Exception {
        announced,
        intended: !announced && INTENDED.contains(&reason.reason.as_str()),
        prefix: &prefix.prefix,
        service,
        why: format!("{}: {}", reason.reason, reason.detail),
        since: &reason.since,
    }
}

/// The neighbors that are not told a prefix which others are, but for those that the service does not name.
fn partial<'a>(service: &'a str, prefix: &'a Prefix, neighbors: &'a [Neighbor]) -> impl Iterator<Item = Exception<'a>> {
    let silent = (prefix.neighbors.iter())
        .filter(|neighbor| neighbor.held.as_deref().is_some_and(|reason| reason != "not-selected"));
    silent.map(move |neighbor| Exception {
        announced: neighbor.announced,
        intended: neighbors.iter().any(|peer| peer.name == neighbor.name && !peer.enabled),
        prefix: &prefix.prefix,
        service,
        why: to_neighbor(neighbor),
        since: &neighbor.since,
    })
}

fn to_neighbor(neighbor: &PrefixNeighbor) -> String {
    format!("to {}: {}", neighbor.name, neighbor.held.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests;
