//! The relay of ICMP errors in `anycaster status`.

use std::collections::BTreeMap;

use super::ask::Screen;
use super::paint::{Ink, printable};
use super::table::{Table, cell, number};
use crate::status::Pmtud;

/// One screen: who needs more asks for the JSON.
const MEMBERS: usize = 16;
const MTUS: usize = 6;

/// Empty where there is nothing to say: no relay, and no advice.
pub(super) fn block(pmtud: &Pmtud, screen: Screen) -> String {
    let mut text = String::new();
    if pmtud.enabled {
        text.push('\n');
        text.push_str(&relay(pmtud, screen));
    } else if !pmtud.advice.is_empty() {
        text.push_str("\npmtud is not configured\n");
    }
    for advice in &pmtud.advice {
        text.push_str(&format!("{}  {}\n", screen.paint.text(Ink::Warn, "advice"), printable(advice)));
    }
    text
}

fn relay(pmtud: &Pmtud, screen: Screen) -> String {
    let interfaces: Vec<String> = (pmtud.interfaces.iter())
        .map(|interface| match interface.mtu {
            Some(mtu) => format!("{} (MTU {mtu})", interface.name),
            None => format!("{} (no such interface now)", interface.name),
        })
        .collect();
    let mode = pmtud.mode.as_deref().unwrap_or_default();
    let dry = if pmtud.dry_run { ", dry run: nothing is sent" } else { "" };
    let mut text = printable(&format!("pmtud {mode} on {}{dry}", interfaces.join(", "))).into_owned();
    text.push('\n');
    let mut table = Table::plain();
    table.row([cell("errors"), cell(counts(&pmtud.packets))]);
    if mode == "relay" {
        let useful = pmtud.useful.map(|share| format!("; {:.0} % met their connection here", share * 100.0));
        table.row([cell("received"), cell(counts(&pmtud.received) + &useful.unwrap_or_default())]);
    }
    if !pmtud.mtus.is_empty() {
        table.row([cell("MTUs"), cell(mtus(&pmtud.mtus))]);
    }
    if let Some(error) = &pmtud.members_error {
        table.row([cell("members").ink(Ink::Warn), cell(error)]);
    }
    text.push_str(&table.render("  ", screen));
    text.push_str(&members(pmtud, mode, screen));
    text
}

fn members(pmtud: &Pmtud, mode: &str, screen: Screen) -> String {
    if pmtud.members.is_empty() {
        return if mode == "relay" { "  no other members\n".to_owned() } else { String::new() };
    }
    let mut table = Table::new(&["MEMBER", "RELAYED", "FAILED"]);
    for member in pmtud.members.iter().take(MEMBERS) {
        let ink = if member.send_errors > 0 { Ink::Warn } else { Ink::Plain };
        table.row([cell(member.address.to_string()), number(member.relayed), number(member.send_errors).ink(ink)]);
    }
    let mut text = table.render("  ", screen);
    if let Some(more) = pmtud.members.len().checked_sub(MEMBERS).filter(|more| *more > 0) {
        text.push_str(&format!("  and {more} more\n"));
    }
    text
}

/// "relayed 41, owned 120": the largest first.
fn counts(counts: &BTreeMap<String, u64>) -> String {
    let mut counts: Vec<(&String, &u64)> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let said: Vec<String> = counts.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
    if said.is_empty() { "none".to_owned() } else { said.join(", ") }
}

/// "1400: 590, 1280: 3 (ipv6)": the most frequent first.
fn mtus(mtus: &BTreeMap<String, BTreeMap<String, u64>>) -> String {
    let each = |(family, counts): (&String, &BTreeMap<String, u64>)| {
        let mut counts: Vec<(&String, &u64)> = counts.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let said: Vec<String> = counts.iter().take(MTUS).map(|(mtu, count)| format!("{mtu} ×{count}")).collect();
        let more = if counts.len() > MTUS { " ..." } else { "" };
        format!("{family} {}{more}", said.join(", "))
    };
    mtus.iter().map(each).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::paint::Paint;
    use super::*;
    use crate::status::{PmtudInterface, PmtudMember};

    fn map(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn plain(pmtud: &Pmtud) -> String {
        block(pmtud, Screen { now: std::time::Duration::ZERO, paint: Paint::new(false) })
    }

    fn sample() -> Pmtud {
        let interface = |name: &str, mtu| PmtudInterface { name: name.to_owned(), mtu, ..PmtudInterface::default() };
        let member = |address: &str, relayed, send_errors| PmtudMember {
            address: address.parse().unwrap(),
            relayed,
            send_errors,
        };
        Pmtud {
            enabled: true,
            mode: Some("relay".to_owned()),
            interfaces: vec![interface("eth0", Some(1500)), interface("eth1", None)],
            members: vec![member("10.0.0.12", 41, 0), member("10.0.0.13", 40, 1)],
            packets: map(&[("relayed", 41), ("duplicate", 429), ("owned", 120)]),
            received: map(&[("injected", 30), ("not-owned", 58)]),
            mtus: BTreeMap::from([
                ("ipv4".to_owned(), map(&[("1400", 500), ("1492", 90)])),
                ("ipv6".to_owned(), map(&[("1280", 3)])),
            ]),
            useful: Some(30.0 / 88.0),
            members_error: Some("/etc/anycaster/members: line 3: \"x\" is no address".to_owned()),
            advice: vec!["do something".to_owned()],
            ..Pmtud::default()
        }
    }

    #[test]
    fn all_of_it() {
        assert_eq!(
            plain(&sample()),
            "
pmtud relay on eth0 (MTU 1500), eth1 (no such interface now)
  errors    duplicate 429, owned 120, relayed 41
  received  not-owned 58, injected 30; 34 % met their connection here
  MTUs      ipv4 1400 ×500, 1492 ×90; ipv6 1280 ×3
  members   /etc/anycaster/members: line 3: \"x\" is no address
  MEMBER     RELAYED  FAILED
  10.0.0.12       41       0
  10.0.0.13       40       1
advice  do something
"
        );
    }

    #[test]
    fn what_is_not_there_is_not_said() {
        assert_eq!(plain(&Pmtud::default()), "");
        let advised = Pmtud { advice: vec!["see\u{1b}".to_owned()], ..Pmtud::default() };
        assert_eq!(plain(&advised), "\npmtud is not configured\nadvice  see?\n");
        let new = Pmtud { enabled: true, mode: Some("relay".to_owned()), dry_run: true, ..Pmtud::default() };
        let expected =
            "\npmtud relay on , dry run: nothing is sent\n  errors    none\n  received  none\n  no other members\n";
        assert_eq!(plain(&new), expected);
        let broadcast = Pmtud { mode: Some("broadcast".to_owned()), ..new };
        assert_eq!(plain(&broadcast), "\npmtud broadcast on , dry run: nothing is sent\n  errors  none\n");
    }

    #[test]
    fn one_screen_holds_it() {
        let mut pmtud = sample();
        pmtud.members = (0..=20).map(|_| pmtud.members[0].clone()).collect();
        pmtud.mtus = BTreeMap::from([("ipv4".to_owned(), (0..33).map(|n| (n.to_string(), n)).collect())]);
        let text = plain(&pmtud);
        assert_eq!(text.matches("10.0.0.12").count(), MEMBERS);
        assert!(
            text.contains("\n  and 5 more\n") && text.contains("ipv4 32 ×32, 31 ×31") && text.contains("27 ×27 ...\n")
        );
    }
}
