//! What the routers must have, from the host and the configuration alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bytes::BytesMut;
use ipnet::IpNet;

use super::router::{CODEC, Said, said};
use super::world::World;
use crate::bgp::wire;
use crate::config::{Listen, Service, WhenDown};
use crate::plan;

impl World {
    /// No word of the engine's.
    pub(super) fn expected(&self) -> BTreeMap<IpNet, Said> {
        let config = &self.engine.config;
        let mut expected = BTreeMap::new();
        for service in config.services.iter().filter(|service| service.enabled && service.weight > 0) {
            // Over an IPv4 session IPv6 routes need the interface's own IPv6 address.
            let beside = self.addresses.contains(&"fd00::10".parse::<IpAddr>().unwrap());
            for prefix in service.prefixes.iter().filter(|prefix| beside || prefix.addr().is_ipv4()) {
                let inside: Vec<IpAddr> = self.addresses.iter().filter(|a| prefix.contains(*a)).copied().collect();
                let heard = |l: &Listen| self.listening.contains(&(l.protocol, l.port));
                let of_service = |address: &&IpAddr| service.prefixes.iter().any(|prefix| prefix.contains(*address));
                let counting: Vec<IpAddr> = if service.health.per_prefix {
                    inside.clone()
                } else {
                    self.addresses.iter().filter(of_service).copied().collect()
                };
                let well = service.checks.is_empty() || !counting.iter().any(|address| self.sick.contains(address));
                let deprefer = !well && service.health.when_down == WhenDown::Deprefer;
                let drained = self.disable_file && service.health.disable_file.is_some();
                if !inside.is_empty() && service.binding.listen.iter().all(heard) && (well || deprefer) && !drained {
                    expected.insert(*prefix, self.on_the_wire(service, prefix, deprefer));
                }
            }
        }
        expected
    }

    fn on_the_wire(&self, service: &Service, prefix: &IpNet, deprefer: bool) -> Said {
        let config = &self.engine.config;
        let attributes = plan::attributes(&plan::route(service, deprefer), &config.router, &config.neighbors[0]);
        let next_hop = if matches!(prefix, IpNet::V4(_)) { "10.0.0.10" } else { "fd00::10" };
        let mut out = BytesMut::new();
        wire::announce(&attributes, next_hop.parse().unwrap(), &[*prefix], &CODEC, &mut out);
        said(&out[19..])
    }

    pub(super) fn assert_routers_have_the_plan(&self) {
        let expected = self.expected();
        for router in &self.routers {
            assert_eq!(router.table, expected);
        }
    }
}
