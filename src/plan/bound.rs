//! Where a prefix is on this host, and what has to be asked there.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::Listen;
use crate::facts::{Facts, Watch};

/// Where on this host a prefix is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Bound {
    #[default]
    Nowhere,
    /// Local addresses inside the prefix, each owned by it.
    Addresses(Vec<IpAddr>),
    /// Only a local route equals or covers it, so every address of the prefix is local.
    Route(IpNet),
}

impl Bound {
    /// `inner`: more specific prefixes of other services, which own the addresses inside them (longest match).
    pub fn find(prefix: &IpNet, inner: &[IpNet], interface: Option<&str>, facts: &Facts) -> Self {
        let right = |index| interface.is_none_or(|name| facts.interface_name(index) == Some(name));
        let mut addresses: Vec<IpAddr> = facts
            .addresses_in(prefix)
            .filter(|address| right(address.interface))
            .map(|address| address.address)
            .filter(|address| !inner.iter().any(|net| net.contains(address)))
            .collect();
        addresses.dedup();
        if !addresses.is_empty() {
            return Self::Addresses(addresses);
        }
        match facts.routes_over(prefix).find(|route| right(route.interface)) {
            Some(_) if prefix.prefix_len() == prefix.max_prefix_len() => Self::Addresses(vec![prefix.addr()]),
            Some(route) => Self::Route(route.prefix),
            None => Self::Nowhere,
        }
    }

    /// Where checks with target "service" go.
    pub fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Addresses(addresses) => addresses,
            Self::Route(_) | Self::Nowhere => &[],
        }
    }

    /// What the kernel is asked about for one entry of `listen`.
    pub fn watches(&self, prefix: &IpNet, listen: &Listen) -> Vec<Watch> {
        let watch = |address| Watch { protocol: listen.protocol, address, port: listen.port };
        match (self, listen.address) {
            (Self::Nowhere, _) => vec![],
            (Self::Addresses(_) | Self::Route(_), Some(address)) => vec![watch(address)],
            (Self::Addresses(addresses), None) => addresses.iter().copied().map(watch).collect(),
            (Self::Route(_), None) => vec![watch(prefix.network())],
        }
    }
}
