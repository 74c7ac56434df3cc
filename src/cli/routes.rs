//! `anycaster routes`: what each neighbor was told.

use super::ask::Screen;
use super::paint::age;
use super::table::{Table, cell, number};
use crate::status::Route;

pub(super) fn render(routes: &[Route], screen: Screen) -> String {
    if routes.is_empty() {
        return "no neighbor has been told any route\n".to_owned();
    }
    let mut table = Table::new(&[
        "PREFIX", "NEIGHBOR", "NEXT HOP", "AS PATH", "MED", "BANDWIDTH", "FOR", "COMMUNITIES",
    ]);
    for route in routes {
        let path: Vec<String> = route.as_path.iter().map(u32::to_string).collect();
        let communities: Vec<&str> =
            (route.communities.iter().chain(&route.large_communities)).map(String::as_str).collect();
        table.row([
            cell(&route.prefix),
            cell(&route.neighbor),
            cell(route.next_hop.to_string()),
            cell(if path.is_empty() { "-".to_owned() } else { path.join(" ") }),
            route.med.map_or_else(|| number("-"), number),
            route.bandwidth.map_or_else(|| number("-"), |bytes| number(bits(bytes))),
            cell(age(&route.since, screen)),
            cell(communities.join(" ")),
        ]);
    }
    table.render("", screen)
}

/// As the configuration writes it, where it is round enough.
fn bits(bytes_per_second: u64) -> String {
    let bits = u128::from(bytes_per_second) * 8;
    for (unit, size) in [("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1000)] {
        if bits >= size && bits % (size / 100) == 0 {
            let (whole, hundredths) = (bits / size, bits % size / (size / 100));
            let fraction = format!("{whole}.{hundredths:02}");
            let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
            return format!("{fraction}{unit}");
        }
    }
    format!("{bits}bit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidths() {
        for (bytes, text) in [
            (0, "0bit"),
            (1, "8bit"),
            (125, "1kbit"),
            (1_250_000_000, "10Gbit"),
            (312_500_000, "2.5Gbit"),
            (1_250_001, "10000008bit"),
            (u64::MAX, "147573952589676412.92kbit"),
        ] {
            assert_eq!(bits(bytes), text);
        }
    }
}
