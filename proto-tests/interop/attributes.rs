//! What the router prints about our routes is what the configuration says.

use crate::lab::router::Path;
use crate::lab::{seconds, wait_equal};
use crate::rack::{Kind, Over, Rack, WEB};

pub fn three_hosts_are_three_next_hops_with_every_attribute(kind: Kind) {
    let mut rack = Rack::new(kind, 3, Over::Ipv4);
    for host in &mut rack.hosts {
        host.bind_web();
        host.start(
            "prepend = 1\ncommunities = [\"65100:7\"]\nlarge-communities = [\"65100:7:8\"]",
            r#"
            [services.web]
            prefixes = ["192.0.2.53", "2001:db8::53"]
            communities = ["65000:100", "no-export"]
            large-communities = ["65000:1:2"]
            med = 50
            prepend = 1
            origin = "incomplete"
            weight = 50
            [services.web.binding]
            listen = ["tcp/80"]
            "#,
        );
    }
    rack.wait_established();
    wait_equal("three next hops in both families", seconds(10), &rack.full_view(&WEB), || rack.view(&WEB));

    for prefix in WEB {
        let wanted: Vec<Path> = rack
            .hosts
            .iter()
            .map(|host| Path {
                from: host.as_peer().address,
                as_path: vec![host.asn; 3],
                origin: "Incomplete".to_owned(),
                next_hop: host.next_hop(prefix),
                med: Some(50),
                local_preference: None,
                communities: ["65000:100", "65100:7", "65535:65281"].map(str::to_owned).to_vec(),
                large_communities: ["65000:1:2", "65100:7:8"].map(str::to_owned).to_vec(),
                bandwidth: Some(625_000_000),
            })
            .collect();
        assert_eq!(rack.tor.paths(prefix).into_iter().map(external).collect::<Vec<_>>(), wanted, "{prefix}");
    }
    for host in &rack.hosts {
        assert_eq!(host.daemon().neighbor("tor")["announced"], serde_json::json!({ "ipv4": 1, "ipv6": 1 }));
    }
}

/// The router's own default local preference is not ours; well-known communities by number.
fn external(path: Path) -> Path {
    let communities = path.communities.iter().map(|text| text.replace("no-export", "65535:65281")).collect();
    Path { local_preference: None, communities, ..path }
}

pub fn an_internal_session_carries_the_local_preference(kind: Kind) {
    let tables = "[services.web]\nprefixes = [\"192.0.2.53\", \"2001:db8::53\"]\nlocal-preference = 250";
    let rack = Rack::one(kind, Over::Ipv4Internal, tables);
    wait_equal("the routes", seconds(10), &rack.full_view(&WEB), || rack.view(&WEB));
    for prefix in WEB {
        let paths = rack.tor.paths(prefix);
        let seen: Vec<_> = paths.iter().map(|path| (path.local_preference, path.as_path.clone())).collect();
        assert_eq!(seen, [(Some(250), vec![])], "{prefix}");
    }
}

pub fn an_ipv6_session_carries_ipv4_routes(kind: Kind) {
    let tables = "[services.web]\nprefixes = [\"192.0.2.53\", \"2001:db8::53\"]";
    let rack = Rack::one(kind, Over::Ipv6, tables);
    // The view's next hops are the kernel's: "via inet6 fd97:1::2" for the IPv4 route.
    wait_equal("the routes", seconds(10), &rack.full_view(&WEB), || rack.view(&WEB));
    let hops: Vec<_> = WEB.iter().flat_map(|prefix| rack.tor.paths(prefix)).map(|path| path.next_hop).collect();
    assert_eq!(hops, ["fd97:1::2", "fd97:1::2"]);
}
