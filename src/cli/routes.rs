//! `anycaster routes`: what each neighbor was told.

use super::ask::Screen;
use super::paint::age;
use super::table::{Table, cell, number};
use crate::config::Bandwidth;
use crate::status::Route;

pub(super) fn render(routes: &[Route], screen: Screen) -> String {
    if routes.is_empty() {
        return "no neighbor has been told any route\n".to_owned();
    }
    let mut table =
        Table::new(&["PREFIX", "NEIGHBOR", "NEXT HOP", "AS PATH", "MED", "BANDWIDTH", "FOR", "COMMUNITIES"]);
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
            route.bandwidth.map_or_else(|| number("-"), |bytes_per_second| number(Bandwidth { bytes_per_second })),
            cell(age(&route.since, screen)),
            cell(communities.join(" ")),
        ]);
    }
    table.render("", screen)
}
