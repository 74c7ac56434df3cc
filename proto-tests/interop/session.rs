//! What a router may ask of a session without ending it.

use crate::lab::{millis, seconds, stays_equal, wait_equal, wait_for};
use crate::rack::{Kind, Over, Rack, WEB};

const SERVICE: &str = "[services.web]\nprefixes = [\"192.0.2.53\", \"2001:db8::53\"]\n";

pub fn a_route_refresh_is_answered_without_a_flap(kind: Kind) {
    let rack = Rack::one(kind, Over::Ipv4, SERVICE);
    let full = rack.full_view(&WEB);
    wait_equal("the routes", seconds(10), &full, || rack.view(&WEB));
    let before = rack.sessions();
    let neighbor = rack.host().as_peer().address;
    let updates = rack.tor.updates(&neighbor);
    rack.tor.refresh(&neighbor);
    if kind.sends_route_refresh() {
        wait_for("both routes once more", seconds(5), || {
            let now = rack.tor.updates(&neighbor);
            if now >= updates + 2 { Ok(()) } else { Err(format!("{updates} UPDATEs before, {now} after")) }
        });
    } else {
        stays_equal("nothing new from the host", millis(500), &updates, || rack.tor.updates(&neighbor));
    }
    assert_eq!(rack.view(&WEB), full);
    assert_eq!(rack.sessions(), before, "a session was reset");
}

pub fn both_sides_say_the_same_of_what_was_negotiated(kind: Kind) {
    for over in [Over::Ipv4, Over::Ipv6] {
        let rack = Rack::one(kind, over, SERVICE);
        let mut wanted = kind.negotiates();
        if over == Over::Ipv6 && kind.takes_ipv6_next_hops_for_ipv4() {
            wanted.push("extended-next-hop".to_owned());
        }
        wanted.sort();
        let ours = rack.daemon().neighbor("tor")["capabilities"].clone();
        let mut ours: Vec<String> = serde_json::from_value(ours).expect("names");
        ours.sort();
        assert_eq!(ours, wanted, "as the daemon says, over {over:?}");
        let neighbor = rack.host().as_peer().address;
        assert_eq!(rack.tor.negotiated(&neighbor), wanted, "as the router says: {}", rack.tor.describe(&neighbor));
    }
}

pub fn the_smaller_hold_time_is_used(kind: Kind) {
    let mut rack = Rack::new(kind, 1, Over::Ipv4);
    rack.hosts[0].bind_web();
    // The router offers 9 s.
    for (offered, used) in [("6s", 6), ("30s", 9)] {
        rack.hosts[0].start(&format!("hold-time = \"{offered}\""), SERVICE);
        rack.wait_established();
        wait_equal("the routes", seconds(10), &rack.full_view(&WEB), || rack.view(&WEB));
        let neighbor = rack.host().as_peer().address;
        assert_eq!(rack.tor.hold_time(&neighbor), used, "as the router says, {offered} offered");
        assert_eq!(rack.daemon().neighbor("tor")["hold_time"].as_u64(), Some(used), "as the daemon says");
        rack.hosts[0].daemon = None;
        wait_for("the router to see it gone", seconds(5), || {
            if rack.tor.session(&neighbor).established { Err("still established".to_owned()) } else { Ok(()) }
        });
    }
}
