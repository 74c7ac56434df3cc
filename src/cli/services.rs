//! `anycaster services`: what is announced, and what the checks say.

use super::ask::Screen;
use super::paint::{Ink, age};
use super::table::{Cell, Table, cell, number};
use crate::status::{Check, Hook, Prefix, Service};

pub(super) fn render(services: &[Service], screen: Screen) -> String {
    let mut text = table(services, screen);
    for service in services {
        text.push('\n');
        text.push_str(&format!("{}\n", screen.paint.text(Ink::Bold, &service.name)));
        let mut prefixes = Table::plain();
        for prefix in &service.prefixes {
            prefixes.row(prefix_row(prefix, screen));
        }
        text.push_str(&prefixes.render("  ", screen));
        let mut checks = Table::plain();
        for check in &service.checks {
            checks.row(check_row(check, screen));
        }
        text.push_str(&checks.render("  ", screen));
        let mut hooks = Table::plain();
        for hook in &service.hooks {
            hooks.row(hook_row(hook, screen));
        }
        text.push_str(&hooks.render("  ", screen));
    }
    text
}

/// One line each; `status` has the same.
pub(super) fn table(services: &[Service], screen: Screen) -> String {
    if services.is_empty() {
        return "no services are configured\n".to_owned();
    }
    let mut table = Table::new(&["SERVICE", "STATE", "WEIGHT", "ANNOUNCED", "CHECKS UP"]);
    for service in services {
        let announced = service.prefixes.iter().filter(|prefix| told(prefix) > 0).count();
        let up = service.checks.iter().filter(|check| check.state == "up").count();
        table.row([
            cell(&service.name),
            state(&service.state),
            number(service.weight),
            number(format!("{announced} of {}", service.prefixes.len())),
            if service.checks.is_empty() { number("-") } else { number(format!("{up} of {}", service.checks.len())) },
        ]);
    }
    table.render("", screen)
}

fn state(state: &str) -> Cell {
    let ink = match state {
        "up" => Ink::Good,
        "down" => Ink::Bad,
        _ => Ink::Warn,
    };
    cell(state).ink(ink)
}

fn told(prefix: &Prefix) -> usize {
    prefix.neighbors.iter().filter(|neighbor| neighbor.announced).count()
}

fn prefix_row(prefix: &Prefix, screen: Screen) -> Vec<Cell> {
    let (verdict, why) = match (&prefix.held, &prefix.kept) {
        (Some(held), _) => (cell("held").ink(Ink::Bad), Some(held)),
        (None, Some(kept)) => (cell("kept").ink(Ink::Warn), Some(kept)),
        (None, None) if told(prefix) > 0 => (cell("announced").ink(Ink::Good), None),
        (None, None) => (cell("held").ink(Ink::Bad), None),
    };
    let detail = match why {
        Some(why) => format!("{}: {} (for {})", why.reason, why.detail, age(&why.since, screen)),
        None => format!("to {} of {} neighbors", told(prefix), prefix.neighbors.len()),
    };
    vec![cell(&prefix.prefix), verdict, cell(detail)]
}

fn hook_row(hook: &Hook, screen: Screen) -> Vec<Cell> {
    let outcome = match hook.ok {
        Some(true) => cell("ok").ink(Ink::Good),
        Some(false) => cell("failed").ink(Ink::Bad),
        None => cell("has not run"),
    };
    let ago = hook.last.as_ref().map_or_else(String::new, |last| format!("{} ago", age(last, screen)));
    let failures = if hook.failures > 0 { format!("{} failures", hook.failures) } else { String::new() };
    vec![cell(format!("hook {}", hook.hook)), outcome, cell(ago), cell(failures), cell(&hook.detail)]
}

fn check_row(check: &Check, screen: Screen) -> Vec<Cell> {
    let ink = match check.state.as_str() {
        "up" => Ink::Good,
        "down" => Ink::Bad,
        _ => Ink::Warn,
    };
    vec![
        cell(format!("check {}", check.name)),
        cell(check.address.to_string()),
        cell(&check.state).ink(ink),
        cell(format!("for {}", age(&check.since, screen))),
        cell(&check.detail),
    ]
}
