//! The known names closest to one that is not known.

use ipnet::IpNet;

use crate::config::nearest::distance;

/// More would be a list, not a hint.
const SHOWN: usize = 3;

/// The best of `known` for `asked`, nearest first: for a prefix those that contain it or lie in it, then by spelling.
pub fn nearest(asked: &str, known: &[String]) -> Vec<String> {
    let mut ranked: Vec<(bool, usize, &String)> = known
        .iter()
        .map(|name| (!overlap(asked, name), distance(asked, name), name))
        // Names that share less than a third of their letters are no help.
        .filter(|(apart, distance, name)| !apart || distance * 3 <= 2 * asked.chars().count().max(name.chars().count()))
        .collect();
    ranked.sort();
    ranked.dedup();
    ranked.into_iter().take(SHOWN).map(|(.., name)| name.clone()).collect()
}

fn overlap(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (one.parse::<IpNet>(), other.parse::<IpNet>()) else { return false };
    one.contains(&other) || other.contains(&one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints() {
        let known: Vec<String> = ["dns", "dns-internal", "web", "192.0.2.0/24", "192.0.2.53/32", "2001:db8::53/128"]
            .map(String::from)
            .into();
        for (asked, expected) in [
            ("dnss", &["dns"][..]),
            ("wbe", &["web"]),
            ("mail", &[]),
            ("192.0.2.80/32", &["192.0.2.0/24", "192.0.2.53/32"]),
            ("192.0.2.54/32", &["192.0.2.0/24", "192.0.2.53/32"]),
            ("2001:db8::54/128", &["2001:db8::53/128"]),
        ] {
            assert_eq!(nearest(asked, &known), expected, "{asked}");
        }
    }
}
