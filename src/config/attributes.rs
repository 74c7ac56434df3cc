//! What the configuration alone says about a route to one neighbor: service and neighbor put together.

use super::{Config, LinkBandwidthMode, Neighbor, PeerAsn, Service};
use crate::bgp::wire::{Asn, Attributes, LinkBandwidth};

impl Neighbor {
    /// The AS we speak as to this neighbor.
    pub fn spoken_asn(&self, router: Asn) -> Asn {
        self.local_asn.unwrap_or(router)
    }

    /// True where the session is iBGP.
    pub fn is_internal(&self, router: Asn) -> bool {
        match self.asn {
            PeerAsn::Is(asn) => asn == self.spoken_asn(router),
            PeerAsn::External => false,
            PeerAsn::Internal => true,
        }
    }
}

impl Config {
    /// As announced in full health at the configured weight: the neighbor's MED wins, prepends add up, communities are
    /// put together.
    pub fn attributes(&self, service: &Service, neighbor: &Neighbor) -> Attributes {
        let asn = neighbor.spoken_asn(self.router.asn);
        let internal = neighbor.is_internal(self.router.asn);
        let (ours, theirs) = (&service.policy, &neighbor.policy);
        // RFC 4271 §5.1.2: nothing is prepended towards an internal peer.
        let length = if internal { 0 } else { 1 + usize::from(ours.prepend) + usize::from(theirs.prepend) };
        let mut communities = [ours.communities.as_slice(), &theirs.communities].concat();
        communities.sort_unstable();
        communities.dedup();
        let mut large_communities = [ours.large_communities.as_slice(), &theirs.large_communities].concat();
        large_communities.sort_unstable();
        large_communities.dedup();
        let transitive = match neighbor.link_bandwidth {
            LinkBandwidthMode::Transitive => Some(true),
            LinkBandwidthMode::NonTransitive => Some(false),
            LinkBandwidthMode::Off => None,
        };
        let link_bandwidth = service.bandwidth.zip(transitive).map(|(bandwidth, transitive)| LinkBandwidth {
            asn: asn.get(),
            bytes_per_second: bandwidth.share(service.weight),
            transitive,
        });
        Attributes {
            origin: service.origin,
            as_path: vec![asn; length],
            med: theirs.med.or(ours.med),
            local_preference: internal.then_some(service.local_preference),
            communities,
            large_communities,
            link_bandwidth,
        }
    }
}
