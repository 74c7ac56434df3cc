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

const SERVICE: &str = "[services.web]\nprefixes = [\"192.0.2.53\", \"2001:db8::53\"]\n";

pub fn an_internal_session_carries_the_local_preference(kind: Kind) {
    for over in [Over::Ipv4Internal, Over::Ipv6Internal] {
        let mut rack = Rack::new(kind, 2, over);
        for host in &mut rack.hosts {
            host.bind_web();
            host.start_as("\"internal\"", "", &format!("{SERVICE}local-preference = 250\nmed = 7\norigin = \"egp\"\n"));
        }
        rack.wait_established();
        wait_equal("the routes", seconds(10), &rack.full_view(&WEB), || rack.view(&WEB));
        for prefix in WEB {
            let wanted = rack.hosts.iter().map(|host| Path {
                from: host.as_peer().address,
                as_path: vec![],
                origin: "EGP".to_owned(),
                next_hop: host.next_hop(prefix),
                med: Some(7),
                local_preference: Some(250),
                communities: vec![],
                large_communities: vec![],
                bandwidth: Some(1_250_000_000),
            });
            assert_eq!(rack.tor.paths(prefix), wanted.collect::<Vec<_>>(), "{prefix} over {over:?}");
        }
    }
}

pub fn an_ipv6_session_carries_ipv4_routes(kind: Kind) {
    let rack = Rack::one(kind, Over::Ipv6, SERVICE);
    // With RFC 8950 the next hops of the view are the kernel's "via inet6 fd97:1::2" for the IPv4 route.
    wait_equal("the routes", seconds(10), &rack.full_view(&WEB), || rack.view(&WEB));
    let hops: Vec<_> = WEB.iter().flat_map(|prefix| rack.tor.paths(prefix)).map(|path| path.next_hop).collect();
    let ipv4 = if kind.takes_ipv6_next_hops_for_ipv4() { "fd97:1::2" } else { "10.97.1.2" };
    assert_eq!(hops, [ipv4, "fd97:1::2"]);
}

pub fn a_link_without_ipv4_carries_ipv4_routes_where_the_router_can(kind: Kind) {
    let rack = Rack::one(kind, Over::Ipv6Only, SERVICE);
    let mut wanted = rack.full_view(&WEB);
    let mut held: [Option<&str>; 2] = [None, None];
    if !kind.takes_ipv6_next_hops_for_ipv4() {
        wanted.insert(WEB[0].to_owned(), (vec![], vec![]));
        held[0] = Some("no-next-hop");
    }
    wait_equal("the routes", seconds(10), &wanted, || rack.view(&WEB));
    let status = rack.daemon().get("/status");
    let prefixes = status["services"][0]["prefixes"].as_array().expect("prefixes");
    let why: Vec<_> = prefixes.iter().map(|entry| entry["neighbors"][0]["held"].as_str()).collect();
    assert_eq!(why, held, "{status}");
}

pub fn a_non_transitive_bandwidth_is_what_the_router_makes_of_it(kind: Kind) {
    for (over, internal) in [(Over::Ipv4, false), (Over::Ipv4Internal, true)] {
        let mut rack = Rack::new(kind, 1, over);
        rack.hosts[0].bind_web();
        rack.hosts[0].start("link-bandwidth = \"non-transitive\"", SERVICE);
        rack.wait_established();
        wait_equal("the routes", seconds(10), &rack.full_view(&WEB), || rack.view(&WEB));
        let seen: Vec<_> = WEB.iter().flat_map(|prefix| rack.tor.paths(prefix)).map(|path| path.bandwidth).collect();
        assert_eq!(seen, [kind.non_transitive_bandwidth(internal); 2], "over {over:?}");
    }
}
