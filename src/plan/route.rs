//! What a service says of its routes, and the one small step that makes it one neighbor's.

use serde::{Deserialize, Serialize};

use crate::bgp::wire::{Attributes, Community, LargeCommunity, LinkBandwidth, MAX_AS_PATH, Origin};
use crate::config::{LinkBandwidthMode, Neighbor, Policy, Router, Service};

/// A service's route before any neighbor's policy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Route {
    pub origin: Origin,
    pub communities: Vec<Community>,
    pub large_communities: Vec<LargeCommunity>,
    pub med: Option<u32>,
    /// How often our AS stands in the path beyond the once that eBGP demands.
    pub prepend: u8,
    pub local_preference: u32,
    /// This host's share in bytes per second; `None` where no bandwidth is configured.
    pub bandwidth: Option<u64>,
}

/// `deprefer`: graceful-shutdown added, weight 1, own AS once more, local preference 0 (CONTRACT, `when-down`).
pub fn route(service: &Service, deprefer: bool) -> Route {
    let Policy { communities, large_communities, med, prepend } = service.policy.clone();
    let mut route = Route {
        origin: service.origin,
        communities,
        large_communities,
        med,
        prepend,
        local_preference: service.local_preference,
        bandwidth: service.bandwidth.map(|bandwidth| bandwidth.share(if deprefer { 1 } else { service.weight })),
    };
    if deprefer {
        route.communities.push(Community::GRACEFUL_SHUTDOWN);
        route.prepend = prepend.saturating_add(1);
        route.local_preference = 0;
    }
    route
}

/// What this neighbor is told of a route.
pub fn attributes(route: &Route, router: &Router, neighbor: &Neighbor) -> Attributes {
    let internal = neighbor.is_internal(router.asn);
    let asn = neighbor.spoken_asn(router.asn);
    let prepend = usize::from(route.prepend) + usize::from(neighbor.policy.prepend);
    let transitive = match neighbor.link_bandwidth {
        LinkBandwidthMode::Transitive => Some(true),
        LinkBandwidthMode::NonTransitive => Some(false),
        LinkBandwidthMode::Off => None,
    };
    Attributes {
        origin: route.origin,
        as_path: if internal { vec![] } else { vec![asn; (1 + prepend).min(MAX_AS_PATH)] },
        med: neighbor.policy.med.or(route.med),
        local_preference: internal.then_some(route.local_preference),
        communities: union(&route.communities, &neighbor.policy.communities),
        large_communities: union(&route.large_communities, &neighbor.policy.large_communities),
        link_bandwidth: route.bandwidth.zip(transitive).map(|(bytes_per_second, transitive)| LinkBandwidth {
            asn: asn.get(),
            bytes_per_second,
            transitive,
        }),
    }
}

fn union<T: Ord + Copy>(one: &[T], other: &[T]) -> Vec<T> {
    let mut all: Vec<T> = one.iter().chain(other).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}
