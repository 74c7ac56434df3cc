//! `anycaster explain`: the whole chain of one prefix, or of every prefix of a service.

use serde::Deserialize;

use super::ask::Screen;
use super::paint::{Ink, age, printable};
use super::table::{Cell, Table, cell};
use crate::status::{Explanation, Step};

/// Reasons of a neighbor alone: the prefix itself would be announced.
const OF_A_NEIGHBOR: [&str; 4] = ["no-session", "family-not-negotiated", "no-next-hop", "not-selected"];

/// A prefix gives one, a service one for each of its prefixes.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Explained {
    One(Box<Explanation>),
    Many(Vec<Explanation>),
}

impl Explained {
    fn all(&self) -> &[Explanation] {
        match self {
            Self::One(one) => std::slice::from_ref(one.as_ref()),
            Self::Many(many) => many,
        }
    }
}

/// 0 where all of it is announced, else 1.
pub(super) fn exit_code(explained: &Explained) -> u8 {
    u8::from(!explained.all().iter().all(|explanation| explanation.announced))
}

pub(super) fn render(explained: &Explained, screen: Screen) -> String {
    let chains: Vec<String> = explained.all().iter().map(|explanation| chain(explanation, screen)).collect();
    chains.join("\n")
}

fn chain(explanation: &Explanation, screen: Screen) -> String {
    let (verdict, ink) = match (explanation.announced, deciding(explanation)) {
        (true, None) => ("announced".to_owned(), Ink::Good),
        (true, Some(step)) => (format!("announced, kept although not ok: {}", step.step), Ink::Warn),
        (false, Some(step)) => (format!("NOT announced: {}", step.step), Ink::Bad),
        (false, None) => ("NOT announced: no neighbor could be told".to_owned(), Ink::Bad),
    };
    let name = printable(&explanation.prefix);
    let service = printable(&explanation.service);
    let mut text = format!("{name} of service {service}: {}\n", screen.paint.text(ink, &printable(&verdict)));
    let mut table = Table::plain();
    for step in &explanation.steps {
        let since = step.since.as_deref().map(|since| since_and_ago(since, screen));
        table.row([mark(step.ok), cell(&step.step), cell(&step.detail), cell(since.unwrap_or_default())]);
    }
    for neighbor in &explanation.neighbors {
        let said = match (&neighbor.held, neighbor.announced) {
            (Some(reason), false) => format!("held: {reason}"),
            (Some(reason), true) => format!("announced, although {reason}"),
            (None, true) => "announced".to_owned(),
            (None, false) => "not announced".to_owned(),
        };
        table.row([
            mark(neighbor.announced),
            cell(format!("neighbor {}", neighbor.name)),
            cell(said),
            cell(since_and_ago(&neighbor.since, screen)),
        ]);
    }
    text.push_str(&table.render("  ", screen));
    text
}

/// The step that is the reason. What is only kept may stand before it; the one that decided says since when it does.
fn deciding(explanation: &Explanation) -> Option<&Step> {
    let reasons = explanation.neighbors.iter().map(|neighbor| neighbor.held.as_deref().unwrap_or_default());
    if !explanation.neighbors.is_empty() && reasons.into_iter().all(|reason| OF_A_NEIGHBOR.contains(&reason)) {
        return None;
    }
    let mut broken = explanation.steps.iter().filter(|step| !step.ok);
    broken.clone().find(|step| step.since.is_some()).or_else(|| broken.next())
}

fn mark(ok: bool) -> Cell {
    if ok { cell("ok").ink(Ink::Good) } else { cell("NOT ok").ink(Ink::Bad) }
}

fn since_and_ago(since: &str, screen: Screen) -> String {
    format!("since {since} ({} ago)", age(since, screen))
}
