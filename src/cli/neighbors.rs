//! `anycaster neighbors`: the routers.

use super::ask::Screen;
use super::paint::{Ink, age, printable};
use super::table::{Cell, Table, cell, number};
use crate::status::Neighbor;

pub(super) fn render(neighbors: &[Neighbor], screen: Screen) -> String {
    let mut text = table(neighbors, screen);
    let details: Vec<String> = neighbors.iter().filter_map(details).collect();
    if !details.is_empty() {
        text.push('\n');
        text.extend(details.iter().map(|line| printable(line) + "\n"));
    }
    text
}

/// What a session agreed on and what came in; `None` where there is nothing to tell.
fn details(neighbor: &Neighbor) -> Option<String> {
    let mut facts = Vec::new();
    if let Some(hold) = neighbor.hold_time {
        let none = hold == 0;
        facts.push(if none { "no hold time".to_owned() } else { format!("hold time {hold} s") });
    }
    if !neighbor.capabilities.is_empty() {
        facts.push(neighbor.capabilities.join(", "));
    }
    let received = neighbor.received.ipv4.saturating_add(neighbor.received.ipv6);
    if received > 0 {
        facts.push(format!("{received} prefixes received and not used"));
    }
    if neighbor.malformed_updates > 0 {
        facts.push(format!("{} malformed UPDATEs", neighbor.malformed_updates));
    }
    (!facts.is_empty()).then(|| format!("{}: {}", neighbor.name, facts.join("; ")))
}

/// One line each; `status` begins with the same.
pub(super) fn table(neighbors: &[Neighbor], screen: Screen) -> String {
    if neighbors.is_empty() {
        return "no neighbors are configured\n".to_owned();
    }
    let mut table = Table::new(&["NEIGHBOR", "ADDRESS", "AS", "STATE", "FOR", "IPV4", "IPV6", "FLAPS", "LAST ERROR"]);
    for neighbor in neighbors {
        table.row([
            cell(&neighbor.name),
            cell(neighbor.address.to_string()),
            neighbor.asn.map_or_else(|| number("-"), number),
            state(neighbor),
            cell(age(&neighbor.since, screen)),
            number(neighbor.announced.ipv4),
            number(neighbor.announced.ipv6),
            number(neighbor.flaps),
            cell(neighbor.last_error.as_deref().unwrap_or_default()),
        ]);
    }
    table.render("", screen)
}

fn state(neighbor: &Neighbor) -> Cell {
    if !neighbor.enabled {
        return cell("disabled").ink(Ink::Warn);
    }
    let ink = if neighbor.state == "Established" { Ink::Good } else { Ink::Bad };
    cell(&neighbor.state).ink(ink)
}
