//! What one call has to say, sorted into UPDATEs and measured while it grows.

use std::collections::BTreeMap;

use bytes::BytesMut;
use ipnet::IpNet;

use super::{Link, RouteId, Routes};
use crate::bgp::wire::{self, Family};

/// Prefixes of one call by what is said of them, in the order they go out.
pub(super) struct Packer<'a> {
    link: Link,
    routes: &'a Routes,
    withdrawn: BTreeMap<Family, Lot>,
    announced: BTreeMap<(RouteId, Family), Lot>,
    /// How many octets this will be, at most.
    pub(super) octets: usize,
}

/// Prefixes that share their UPDATEs.
struct Lot {
    prefixes: Vec<IpNet>,
    /// Of each UPDATE, beside its prefixes.
    overhead: usize,
    /// Octets left in the last UPDATE.
    free: usize,
}

impl Lot {
    const fn new(overhead: usize) -> Self {
        Self { prefixes: Vec::new(), overhead, free: 0 }
    }

    /// How many octets this adds.
    fn push(&mut self, prefix: IpNet) -> usize {
        let length = wire::prefix_length(&prefix);
        let header = if self.free < length { self.overhead } else { 0 };
        if header > 0 {
            self.free = wire::MAX_MESSAGE.saturating_sub(self.overhead);
        }
        self.free = self.free.saturating_sub(length);
        self.prefixes.push(prefix);
        header + length
    }
}

impl<'a> Packer<'a> {
    pub(super) const fn new(link: Link, routes: &'a Routes) -> Self {
        Self { link, routes, withdrawn: BTreeMap::new(), announced: BTreeMap::new(), octets: 0 }
    }

    pub(super) fn push(&mut self, prefix: IpNet, news: Option<RouteId>) {
        let family = Family::of(&prefix);
        let overhead = |route: Option<RouteId>| {
            let attributes = route.and_then(|route| self.routes.get(route));
            wire::overhead(attributes, self.link.multiprotocol(family), &self.link.codec)
        };
        let lot = match news {
            None => self.withdrawn.entry(family).or_insert_with(|| Lot::new(overhead(None))),
            Some(route) => self.announced.entry((route, family)).or_insert_with(|| Lot::new(overhead(Some(route)))),
        };
        self.octets += lot.push(prefix);
    }

    pub(super) fn pack(self, out: &mut BytesMut) {
        for (family, lot) in self.withdrawn {
            wire::withdraw(&lot.prefixes, self.link.multiprotocol(family), out);
        }
        for ((route, family), lot) in self.announced {
            if let (Some(attributes), Some(next_hop)) = (self.routes.get(route), self.link.next_hop(family)) {
                wire::announce(attributes, next_hop, &lot.prefixes, &self.link.codec, out);
            }
        }
    }
}
