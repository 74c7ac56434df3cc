//! What happened while a read was under way, laid over what the read returned.
//!
//! A read takes a while and the events go on. An address removed in between may still be in the read: taken as it
//! is, the older read would bring it back. The last event about each thing is newer than the read, so it wins.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::facts::{Address, Fact, Interface, LocalRoute, Snapshot};

/// Things that changed during one read. More than this and the read is given up: it bounds memory where interfaces or
/// addresses are churned without end, and such a read would be outdated anyway.
pub(crate) const LIMIT: usize = 65_536;

#[derive(Default)]
pub(crate) struct Overlay {
    interfaces: BTreeMap<u32, Option<Interface>>,
    /// The kernel tells addresses apart by interface, address and length.
    addresses: BTreeMap<(u32, IpAddr, u8), Option<Address>>,
    routes: BTreeMap<LocalRoute, bool>,
}

impl Overlay {
    pub(crate) fn note(&mut self, fact: &Fact) {
        match fact {
            Fact::Interface { index, name, loopback } => {
                let interface = name.clone().map(|name| Interface { index: *index, name, loopback: *loopback });
                self.interfaces.insert(*index, interface);
            }
            Fact::Address { address, present } => {
                self.addresses.insert(key(address), present.then_some(*address));
            }
            Fact::LocalRoute { route, present } => {
                self.routes.insert(*route, *present);
            }
            Fact::Snapshot(_) | Fact::ReadFailed { .. } | Fact::Listener { .. } | Fact::DisableFile { .. } => {}
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.interfaces.len() + self.addresses.len() + self.routes.len() > LIMIT
    }

    pub(crate) fn apply(self, snapshot: &mut Snapshot) {
        snapshot.interfaces.retain(|known| !self.interfaces.contains_key(&known.index));
        snapshot.interfaces.extend(self.interfaces.into_values().flatten());
        snapshot.addresses.retain(|known| !self.addresses.contains_key(&key(known)));
        snapshot.addresses.extend(self.addresses.into_values().flatten());
        snapshot.routes.retain(|known| !self.routes.contains_key(known));
        snapshot.routes.extend(self.routes.into_iter().filter_map(|(route, present)| present.then_some(route)));
    }
}

fn key(address: &Address) -> (u32, IpAddr, u8) {
    (address.interface, address.address, address.length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, usable: bool) -> Address {
        Address { interface: 1, address: text.parse().unwrap(), length: 32, usable }
    }

    fn route(text: &str) -> LocalRoute {
        LocalRoute { interface: 1, prefix: text.parse().unwrap() }
    }

    fn interface(index: u32, name: &str) -> Interface {
        Interface { index, name: name.to_owned(), loopback: false }
    }

    #[test]
    fn the_last_event_of_each_thing_wins_over_the_read() {
        let mut overlay = Overlay::default();
        let gone = Fact::Address { address: address("192.0.2.1", true), present: false };
        let back = Fact::Address { address: address("192.0.2.1", true), present: true };
        for fact in [
            back,
            gone,
            Fact::Address { address: address("192.0.2.2", false), present: true },
            Fact::Address { address: address("192.0.2.4", true), present: true },
            Fact::LocalRoute { route: route("198.51.100.0/24"), present: false },
            Fact::LocalRoute { route: route("203.0.113.0/24"), present: true },
            Fact::Interface { index: 2, name: None, loopback: false },
            Fact::Interface { index: 3, name: Some("eth9".to_owned()), loopback: false },
        ] {
            overlay.note(&fact);
        }
        let mut snapshot = Snapshot {
            interfaces: vec![interface(1, "lo"), interface(2, "eth0"), interface(3, "eth1")],
            addresses: vec![address("192.0.2.1", true), address("192.0.2.2", true), address("192.0.2.3", true)],
            routes: vec![route("198.51.100.0/24")],
        };
        overlay.apply(&mut snapshot);
        let expected = Snapshot {
            interfaces: vec![interface(1, "lo"), interface(3, "eth9")],
            addresses: vec![address("192.0.2.3", true), address("192.0.2.2", false), address("192.0.2.4", true)],
            routes: vec![route("203.0.113.0/24")],
        };
        assert_eq!(snapshot, expected);
    }
}
