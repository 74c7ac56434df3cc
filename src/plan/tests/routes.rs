//! What a route says, by service and neighbor.

use super::*;
use crate::bgp::wire::{Asn, Attributes, Community, LargeCommunity, LinkBandwidth};
use crate::config::{
    Bandwidth, Families, LinkBandwidthMode, Log, LogFormat, LogLevel, Neighbor, NextHopPolicy, PeerAsn, Router,
};

fn neighbor() -> Neighbor {
    Neighbor {
        name: "tor".into(),
        address: ip("10.0.0.1"),
        asn: PeerAsn::Is(Asn::new(65001).unwrap()),
        enabled: true,
        port: 179,
        local_asn: None,
        families: Families { ipv4: true, ipv6: true },
        hold_time: 9,
        min_hold_time: 3,
        connect_retry: SECOND,
        idle_hold: SECOND,
        idle_hold_max: SECOND,
        send_hold_time: None,
        link_bandwidth: LinkBandwidthMode::Transitive,
        policy: Policy::default(),
        next_hop: NextHopPolicy::default(),
    }
}

fn router() -> Router {
    Router {
        asn: Asn::new(65010).unwrap(),
        id: None,
        bandwidth: None,
        state_dir: "/".into(),
        control: "/".into(),
        control_group: None,
        http: None,
        log: Log { format: LogFormat::Text, level: LogLevel::Info },
    }
}

fn told(deprefer: bool, change: impl FnOnce(&mut Service, &mut Neighbor)) -> Attributes {
    let (mut service, mut neighbor) = (service(), neighbor());
    change(&mut service, &mut neighbor);
    attributes(&route(&service, deprefer), &router(), &neighbor)
}

fn plain() -> Attributes {
    Attributes {
        origin: Origin::Igp,
        as_path: vec![Asn::new(65010).unwrap()],
        med: None,
        local_preference: None,
        communities: vec![],
        large_communities: vec![],
        link_bandwidth: None,
    }
}

fn path(times: usize) -> Vec<Asn> {
    vec![Asn::new(65010).unwrap(); times]
}

fn bandwidth(bytes_per_second: u64, transitive: bool) -> Option<LinkBandwidth> {
    Some(LinkBandwidth { asn: 65010, bytes_per_second, transitive })
}

#[test]
fn what_the_service_says_and_what_the_neighbor_adds() {
    assert_eq!(told(false, |_, _| ()), plain());
    let large = |number| LargeCommunity { global: number, local1: 0, local2: 0 };
    let both = told(false, |service, neighbor| {
        service.origin = Origin::Incomplete;
        service.policy = Policy {
            communities: vec![Community(7), Community(3)],
            large_communities: vec![large(2)],
            med: Some(10),
            prepend: 1,
        };
        neighbor.policy = Policy {
            communities: vec![Community(5), Community(3)],
            large_communities: vec![large(1), large(2)],
            med: Some(20),
            prepend: 2,
        };
    });
    let wanted = Attributes {
        origin: Origin::Incomplete,
        as_path: path(4),
        med: Some(20),
        communities: vec![Community(3), Community(5), Community(7)],
        large_communities: vec![large(1), large(2)],
        ..plain()
    };
    assert_eq!(both, wanted);
    assert_eq!(told(false, |service, _| service.policy.med = Some(10)).med, Some(10));
    let most = told(false, |service, neighbor| (service.policy.prepend, neighbor.policy.prepend) = (200, 200));
    assert_eq!(most.as_path, path(255), "a segment holds no more");
    let other = told(false, |service, neighbor| {
        service.bandwidth = Some(Bandwidth { bytes_per_second: 100 });
        neighbor.local_asn = Asn::new(65099);
    });
    let spoken = Asn::new(65099).unwrap();
    let share = LinkBandwidth { asn: 65099, bytes_per_second: 100, transitive: true };
    assert_eq!(other, Attributes { as_path: vec![spoken], link_bandwidth: Some(share), ..plain() });
}

#[test]
fn the_bandwidth_is_a_share_and_never_invented() {
    let share = |weight, mode, deprefer| {
        told(deprefer, |service, neighbor| {
            service.bandwidth = Some(Bandwidth { bytes_per_second: 1_000_000 });
            service.weight = weight;
            neighbor.link_bandwidth = mode;
        })
        .link_bandwidth
    };
    use LinkBandwidthMode::{NonTransitive, Off, Transitive};
    assert_eq!(share(100, Transitive, false), bandwidth(1_000_000, true));
    assert_eq!(share(37, NonTransitive, false), bandwidth(370_000, false));
    assert_eq!(share(100, Transitive, true), bandwidth(10_000, true), "weight 1");
    assert_eq!(share(100, Off, false), None);
}

#[test]
fn inside_the_as_the_path_is_empty_and_the_preference_speaks() {
    let internal = |deprefer| {
        told(deprefer, |service, neighbor| {
            neighbor.asn = PeerAsn::Internal;
            service.local_preference = 150;
            service.policy.prepend = 3;
        })
    };
    let wanted = Attributes { as_path: vec![], local_preference: Some(150), ..plain() };
    assert_eq!(internal(false), wanted);
    let communities = vec![Community::GRACEFUL_SHUTDOWN];
    assert_eq!(internal(true), Attributes { local_preference: Some(0), communities, ..wanted });
}

#[test]
fn depreferring_adds_graceful_shutdown_and_the_as_once_more() {
    let communities = vec![Community::GRACEFUL_SHUTDOWN];
    assert_eq!(told(true, |_, _| ()), Attributes { as_path: path(2), communities, ..plain() });
}
