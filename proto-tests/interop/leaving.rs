//! Every way for a route to leave takes exactly that route; no session is reset by any of it.

use nix::sys::signal::Signal;

use crate::lab::{millis, seconds, stays_equal, wait_equal, wait_for};
use crate::rack::{Kind, OTHER, Over, Rack, View, WEB};

const TABLES: &str = r#"
[services.web]
prefixes = ["192.0.2.53", "2001:db8::53"]
[services.web.binding]
listen = ["tcp/80"]
[services.web.health]
disable-file = "DISABLE"
[[services.web.checks]]
name = "front"
type = "http"
interval = "200ms"
timeout = "200ms"
[services.other]
prefixes = ["192.0.2.54", "2001:db8::54"]
[drain]
withdraw-settle = "1s"
"#;

const ALL: [&str; 4] = [WEB[0], WEB[1], OTHER[0], OTHER[1]];

pub fn each_reason_takes_exactly_its_routes_and_recovery_brings_them_back(kind: Kind) {
    let mut rack = Rack::new(kind, 3, Over::Ipv4);
    let scratch = crate::lab::Scratch::new();
    let disable = scratch.file("disable-2");
    for host in &mut rack.hosts {
        host.bind_web();
        OTHER.iter().for_each(|prefix| host.namespace.add_address("lo", prefix));
        let file = scratch.file(&format!("disable-{}", host.number));
        host.start("", &TABLES.replace("DISABLE", file.to_str().expect("a path")));
    }
    rack.wait_established();
    let full = rack.full_view(&ALL);
    wait_equal("all routes of all hosts", seconds(15), &full, || rack.view(&ALL));
    let before = rack.sessions();

    rack.hosts[1].nginx.kill();
    leaves(&rack, "not-listening", &WEB);
    let Rack { hosts, .. } = &mut rack;
    let host = &mut hosts[1];
    host.nginx.restart(&host.namespace);
    returns(&rack, &full);

    rack.hosts[1].namespace.remove_address("lo", WEB[0]);
    leaves(&rack, "no-address", &WEB[..1]);
    rack.hosts[1].namespace.add_address("lo", WEB[0]);
    returns(&rack, &full);

    rack.hosts[1].namespace.remove_address("lo", WEB[1]);
    leaves(&rack, "no-address", &WEB[1..]);
    rack.hosts[1].namespace.add_address("lo", WEB[1]);
    returns(&rack, &full);

    rack.hosts[1].nginx.set_unwell(true);
    leaves(&rack, "unhealthy", &WEB);
    rack.hosts[1].nginx.set_unwell(false);
    returns(&rack, &full);

    std::fs::write(&disable, "").expect("write");
    leaves(&rack, "drained", &WEB);
    std::fs::remove_file(&disable).expect("remove");
    returns(&rack, &full);

    assert_eq!(rack.sessions(), before, "a session was reset");

    let ended = rack.hosts[1].daemon_mut().stop();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let expected = without_host_two(&full, &ALL);
    wait_equal("the routes of the stopped host to leave", seconds(5), &expected, || rack.view(&ALL));
    rack.hosts[1].start("", &TABLES.replace("DISABLE", disable.to_str().expect("a path")));
    rack.wait_established();
    returns(&rack, &full);
    let after = rack.sessions();
    assert_eq!([&after[0], &after[2]], [&before[0], &before[2]], "a session of another host was reset");
}

/// Exactly these prefixes lose exactly host 2, the daemon there says why, and it stays so.
#[track_caller]
fn leaves(rack: &Rack, reason: &str, prefixes: &[&str]) {
    let expected = without_host_two(&rack.full_view(&ALL), prefixes);
    wait_equal(&format!("{prefixes:?} to leave ({reason})"), seconds(5), &expected, || rack.view(&ALL));
    let daemon = rack.hosts[1].daemon();
    for prefix in ALL {
        let held = prefixes.contains(&prefix).then(|| reason.to_owned());
        // Without a listener the check soon fails as well; the first reason that applies is the one given.
        assert_eq!(daemon.held(prefix), held, "{prefix}");
    }
    stays_equal("everything else", millis(300), &expected, || rack.view(&ALL));
}

#[track_caller]
fn returns(rack: &Rack, full: &View) {
    wait_equal("the routes to return", seconds(8), full, || rack.view(&ALL));
}

fn without_host_two(full: &View, prefixes: &[&str]) -> View {
    let mut view = full.clone();
    for prefix in prefixes {
        let (told, hops) = view.get_mut(*prefix).expect("a known prefix");
        told.retain(|from| from != "10.97.2.2");
        hops.retain(|hop| hop != "10.97.2.2" && hop != "fd97:2::2");
    }
    view
}

pub fn stop_withdraws_first_and_says_why_it_closes(kind: Kind) {
    let mut rack = Rack::one(kind, Over::Ipv4, "[services.web]\nprefixes = [\"192.0.2.53\", \"2001:db8::53\"]");
    wait_equal("the routes", seconds(10), &rack.full_view(&WEB), || rack.view(&WEB));
    let before = rack.sessions();

    let start = std::time::Instant::now();
    rack.daemon().signal(Signal::SIGTERM);
    let none: View = WEB.iter().map(|prefix| ((*prefix).to_owned(), (vec![], vec![]))).collect();
    wait_equal("the routes to leave", seconds(2), &none, || rack.view(&WEB));
    // withdraw-settle is 3 s: until then the session must stand.
    while start.elapsed() < millis(2500) {
        assert_eq!(rack.sessions(), before, "{:?} after SIGTERM", start.elapsed());
        std::thread::sleep(millis(100));
    }
    let ended = rack.hosts[0].daemon_mut().wait(seconds(6));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(start.elapsed() >= millis(2900), "withdraw-settle was cut short: {:?}", start.elapsed());
    assert!(start.elapsed() <= seconds(8), "5 s and withdraw-settle at most: {:?}", start.elapsed());
    let neighbor = rack.host().as_peer().address;
    wait_for("the router to know why", seconds(5), || {
        let said = rack.tor.last_error(&neighbor);
        if said.to_lowercase().contains("administrative shutdown") { Ok(()) } else { Err(said) }
    });
}
