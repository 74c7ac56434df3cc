//! Checks, and what their failing does to the route, as the router sees it.

use std::time::Instant;

use crate::lab::router::tellers;
use crate::lab::{millis, seconds, stays_equal, wait_equal};
use crate::rack::{Kind, Over, Rack, WEB};

const CHECK: &str = "
[[services.web.checks]]
name = \"front\"
type = \"http\"
interval = \"200ms\"
timeout = \"200ms\"
";

const SERVICE: &str = "[services.web]\nprefixes = [\"192.0.2.53\", \"2001:db8::53\"]\n";

/// Communities, length of the AS path and bytes per second, of both families.
fn seen(rack: &Rack) -> Vec<(Vec<String>, usize, Option<u64>)> {
    let paths = WEB.iter().flat_map(|prefix| rack.tor.paths(prefix));
    paths.map(|path| (path.communities, path.as_path.len(), path.bandwidth)).collect()
}

pub fn when_down_deprefer_keeps_the_route_as_a_last_resort(kind: Kind) {
    let rack =
        Rack::one(kind, Over::Ipv4, &format!("{SERVICE}[services.web.health]\nwhen-down = \"deprefer\"\n{CHECK}"));
    deprefers(&rack);
}

pub fn a_shared_check_that_fails_only_deprefers(kind: Kind) {
    let rack = Rack::one(kind, Over::Ipv4, &format!("{SERVICE}{CHECK}on-fail = \"deprefer\"\n"));
    deprefers(&rack);
}

fn deprefers(rack: &Rack) {
    // Weight 100 of 10 Gbit/s, and weight 1 of it
    let normal = vec![(vec![], 1, Some(1_250_000_000)); 2];
    let deprefered = vec![(vec!["65535:0".to_owned()], 2, Some(12_500_000)); 2];
    wait_equal("the routes", seconds(10), &normal, || seen(rack));
    let before = rack.sessions();
    rack.host().nginx.set_unwell(true);
    wait_equal("graceful-shutdown, the AS once more and the least weight", seconds(5), &deprefered, || seen(rack));
    for prefix in WEB {
        assert_eq!(rack.daemon().kept(prefix).as_deref(), Some("deprefer"), "{prefix}");
        assert_eq!(rack.daemon().held(prefix), None, "{prefix}");
    }
    rack.host().nginx.set_unwell(false);
    wait_equal("the routes as before", seconds(5), &normal, || seen(rack));
    assert_eq!(rack.sessions(), before, "a session was reset");
}

/// RFC 8326 section 4: inside one AS the least local preference is what counts, and the AS path stays empty.
pub fn deprefer_on_an_internal_session_is_local_preference_0(kind: Kind) {
    let rack = Rack::one(
        kind,
        Over::Ipv4Internal,
        &format!("{SERVICE}local-preference = 250\n[services.web.health]\nwhen-down = \"deprefer\"\n{CHECK}"),
    );
    let seen = || {
        let paths = WEB.iter().flat_map(|prefix| rack.tor.paths(prefix));
        paths.map(|path| (path.local_preference, path.communities, path.as_path, path.bandwidth)).collect::<Vec<_>>()
    };
    let normal = vec![(Some(250), vec![], vec![], Some(1_250_000_000)); 2];
    let deprefered = vec![(Some(0), vec!["65535:0".to_owned()], vec![], Some(12_500_000)); 2];
    wait_equal("the routes", seconds(10), &normal, seen);
    let before = rack.sessions();
    rack.host().nginx.set_unwell(true);
    wait_equal("local preference 0", seconds(5), &deprefered, seen);
    rack.host().nginx.set_unwell(false);
    wait_equal("the routes as before", seconds(5), &normal, seen);
    assert_eq!(rack.sessions(), before, "a session was reset");
}

pub fn quorum_any_needs_one_passing_check(kind: Kind) {
    let tables = format!(
        "{SERVICE}[services.web.health]\nquorum = \"any\"\n{CHECK}
         [[services.web.checks]]\nname = \"nobody\"\ntype = \"tcp\"\nport = 81\ninterval = \"200ms\"\ntimeout = \"200ms\"\n"
    );
    let rack = Rack::one(kind, Over::Ipv4, &tables);
    let full = rack.full_view(&WEB);
    wait_equal("the routes", seconds(10), &full, || rack.view(&WEB));
    let nobody_is_down = || {
        let service = rack.daemon().service("web");
        let checks = service["checks"].as_array().expect("checks");
        checks.iter().filter(|check| check["name"] == "nobody" && check["state"] == "down").count()
    };
    wait_equal("the other check to be down on both addresses", seconds(5), &2, nobody_is_down);
    stays_equal("the routes", millis(500), &full, || rack.view(&WEB));

    rack.host().nginx.set_unwell(true);
    wait_equal("no routes once none passes", seconds(5), &[vec![], vec![]], || {
        WEB.map(|prefix| tellers(rack.tor.as_ref(), prefix))
    });
    assert_eq!(
        WEB.map(|prefix| rack.daemon().held(prefix)),
        [Some("unhealthy".to_owned()), Some("unhealthy".to_owned())]
    );
}

pub fn managed_addresses_come_and_go_with_the_daemon(kind: Kind) {
    let mut rack = Rack::new(kind, 1, Over::Ipv4);
    let host = &mut rack.hosts[0];
    host.start("", &format!("{SERVICE}[services.web.binding]\nmanage = true\n[drain]\nwithdraw-settle = \"1s\"\n"));
    rack.wait_established();
    wait_equal("the routes", seconds(10), &rack.full_view(&WEB), || rack.view(&WEB));
    assert_eq!(on_lo(&rack), [true, true]);

    rack.daemon().signal(nix::sys::signal::Signal::SIGTERM);
    wait_equal("no routes", seconds(2), &[vec![], vec![]], || WEB.map(|prefix| tellers(rack.tor.as_ref(), prefix)));
    assert_eq!(on_lo(&rack), [true, true], "taken off before withdraw-settle was over");
    let ended = rack.hosts[0].daemon_mut().wait(seconds(7));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(on_lo(&rack), [false, false], "left behind");
}

fn on_lo(rack: &Rack) -> [bool; 2] {
    ["192.0.2.53", "2001:db8::53"].map(|address| rack.host().namespace.has_address("lo", address))
}

pub fn start_hold_waits_before_the_first_announcement(kind: Kind) {
    let mut rack = Rack::new(kind, 1, Over::Ipv4);
    rack.hosts[0].bind_web();
    let start = Instant::now();
    rack.hosts[0].start("", &format!("{SERVICE}[services.web.health]\nstart-hold = \"4s\"\n{CHECK}"));
    rack.wait_established();
    let held = || WEB.map(|prefix| rack.daemon().held(prefix).unwrap_or_default());
    wait_equal("start-hold", seconds(3), &["start-hold", "start-hold"].map(str::to_owned), held);
    assert_eq!(rack.daemon().service("web")["state"], "starting");
    wait_equal("the routes", seconds(10), &rack.full_view(&WEB), || rack.view(&WEB));
    assert!(start.elapsed() >= seconds(4), "announced after {:?}", start.elapsed());
}
