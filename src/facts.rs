//! What is known about this host, and what is `Unknown`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::config::Protocol;

/// One observation, as `io` reports it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// RTM_NEWLINK / RTM_DELLINK (`name` is `None` when the interface is gone).
    Interface { index: u32, name: Option<String>, loopback: bool },
    /// RTM_NEWADDR / RTM_DELADDR
    Address { address: Address, present: bool },
    /// RTM_NEWROUTE / RTM_DELROUTE, table local, type local, and nothing else
    LocalRoute { route: LocalRoute, present: bool },
    /// A whole, uninterrupted read of all three.
    Snapshot(Snapshot),
    /// A read of interfaces, addresses or routes failed, was interrupted or came back empty: changes nothing by itself.
    ReadFailed { detail: String },
    /// The kernel would hand a packet for `watch` to some socket; `None`: it could not be asked.
    Listener { watch: Watch, listening: Option<bool> },
    /// `None`: could not be asked (a missing directory is an answer: false).
    DisableFile { service: usize, exists: Option<bool> },
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    pub interfaces: Vec<Interface>,
    pub addresses: Vec<Address>,
    pub routes: Vec<LocalRoute>,
}

impl Snapshot {
    /// Every host has lo with its address: a read without one went wrong, however it came to be.
    pub fn is_empty(&self) -> bool {
        self.interfaces.is_empty() || self.addresses.is_empty()
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    pub loopback: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Address {
    pub interface: u32,
    pub address: IpAddr,
    /// Prefix length as configured on the interface.
    pub length: u8,
    /// False for tentative and failed (DAD) IPv6 addresses: they do not count as being there.
    pub usable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LocalRoute {
    pub interface: u32,
    pub prefix: IpNet,
}

/// One question to the kernel: who would get a packet for this address and port?
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Watch {
    pub protocol: Protocol,
    pub address: IpAddr,
    pub port: u16,
}

/// What the kernel said of one listener, so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Listening {
    /// Never answered.
    #[default]
    Unknown,
    Present {
        /// One read said otherwise; a second that agrees is needed (an event needs none).
        doubted: bool,
        /// The last question was not answered: what was known stands.
        stale: bool,
    },
    Absent {
        since: Time,
        /// There was one before: the gap may be shorter than `grace`.
        gap: bool,
    },
}

/// How an answer about a listener came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The kernel reported a closing socket, and was asked.
    Notice,
    /// We asked because it was time to.
    Read,
}

/// Everything known about this host. Plain data; knows nothing of services.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Facts {
    /// A whole read has been seen: before it, nothing is known and nothing is absent.
    read: bool,
    /// The last read failed: what was known stands, and says so.
    stale: bool,
    interfaces: BTreeMap<u32, Seen<Interface>>,
    addresses: BTreeMap<(IpAddr, u32), Seen<Address>>,
    routes: BTreeMap<(IpNet, u32), Seen<LocalRoute>>,
    listeners: BTreeMap<Watch, Listening>,
}

/// One thing and whether the last whole read lacked it: gone needs an event or two agreeing reads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Seen<T> {
    what: T,
    missed: bool,
}

/// What a fact may have changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changed {
    /// Whatever overlaps these has to be judged again.
    pub nets: Vec<IpNet>,
    pub watches: Vec<Watch>,
    /// Names that an interface took or lost.
    pub interfaces: Vec<String>,
    /// What is said of every prefix: the first whole read, a read that failed, or the first that did not again.
    pub everything: bool,
}

impl Facts {
    pub const fn known(&self) -> bool {
        self.read
    }

    pub const fn stale(&self) -> bool {
        self.stale
    }

    pub fn interface_name(&self, index: u32) -> Option<&str> {
        self.interfaces.get(&index).map(|seen| seen.what.name.as_str())
    }

    /// Usable addresses with the interface each is on, in order.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.addresses.values().map(|seen| &seen.what).filter(|address| address.usable)
    }

    /// The same, inside `net` only: a range of the map, so its cost does not grow with the host's addresses.
    pub fn addresses_in(&self, net: &IpNet) -> impl Iterator<Item = &Address> {
        let (first, last) = (net.network(), net.broadcast());
        self.addresses.range((first, 0)..=(last, u32::MAX)).map(|(_, seen)| &seen.what).filter(|address| address.usable)
    }

    /// Local routes that equal or cover `net`, longest first. The host route that the kernel makes for an address that
    /// is not usable yet does not count.
    pub fn routes_over(&self, net: &IpNet) -> impl Iterator<Item = &LocalRoute> {
        let net = *net;
        (0..=net.prefix_len())
            .rev()
            .filter_map(move |length| IpNet::new(net.network(), length).ok().map(|over| over.trunc()))
            .flat_map(|over| self.routes.range((over, 0)..=(over, u32::MAX)).map(|(_, seen)| &seen.what))
            .filter(|route| !self.is_unusable_host(route))
    }

    fn is_unusable_host(&self, route: &LocalRoute) -> bool {
        route.prefix.prefix_len() == route.prefix.max_prefix_len() && {
            let mut held = self.addresses.range((route.prefix.addr(), 0)..=(route.prefix.addr(), u32::MAX)).peekable();
            held.peek().is_some() && held.all(|(_, seen)| !seen.what.usable)
        }
    }

    pub fn is_loopback(&self, address: IpAddr) -> bool {
        self.addresses
            .range((address, 0)..=(address, u32::MAX))
            .any(|((_, index), _)| self.interfaces.get(index).is_some_and(|seen| seen.what.loopback))
    }

    pub fn listening(&self, watch: &Watch) -> Listening {
        self.listeners.get(watch).copied().unwrap_or_default()
    }

    /// Nobody asks about it any more.
    pub fn forget_listener(&mut self, watch: &Watch) {
        self.listeners.remove(watch);
    }

    pub fn set_interface(&mut self, index: u32, name: Option<String>, loopback: bool) -> Changed {
        let after = name.map(|name| Interface { index, name, loopback });
        let name = after.as_ref().map(|interface| interface.name.clone());
        let before = match after {
            Some(what) => self.interfaces.insert(index, Seen { what, missed: false }),
            None => self.interfaces.remove(&index),
        };
        let before = before.map(|seen| seen.what.name);
        let interfaces = if before == name { vec![] } else { before.into_iter().chain(name).collect() };
        Changed { interfaces, ..Changed::default() }
    }

    pub fn set_address(&mut self, address: Address, present: bool) -> Changed {
        let key = (address.address, address.interface);
        let before = self.addresses.get(&key).map(|seen| seen.what);
        if present {
            self.addresses.insert(key, Seen { what: address, missed: false });
        } else {
            self.addresses.remove(&key);
        }
        let changed = before != present.then_some(address);
        Changed { nets: if changed { vec![IpNet::from(address.address)] } else { vec![] }, ..Changed::default() }
    }

    pub fn set_route(&mut self, route: LocalRoute, present: bool) -> Changed {
        let key = (route.prefix, route.interface);
        let changed = if present {
            self.routes.insert(key, Seen { what: route, missed: false }).is_none()
        } else {
            self.routes.remove(&key).is_some()
        };
        Changed { nets: if changed { vec![route.prefix] } else { vec![] }, ..Changed::default() }
    }

    /// A whole read: what is there counts at once, what is missing only when the read before missed it too.
    pub fn snapshot(&mut self, snapshot: Snapshot) -> Changed {
        let everything = !self.read;
        let mut changed = Changed { everything, ..Changed::default() };
        let interfaces = snapshot.interfaces.into_iter().map(|interface| (interface.index, interface)).collect();
        let before: BTreeMap<u32, String> =
            self.interfaces.iter().map(|(index, seen)| (*index, seen.what.name.clone())).collect();
        for index in merge(&mut self.interfaces, interfaces) {
            let after = self.interfaces.get(&index).map(|seen| seen.what.name.clone());
            changed.interfaces.extend(before.get(&index).cloned().into_iter().chain(after));
        }
        let addresses = snapshot.addresses.into_iter().map(|a| ((a.address, a.interface), a)).collect();
        changed.nets.extend(merge(&mut self.addresses, addresses).into_iter().map(|(address, _)| IpNet::from(address)));
        let routes = snapshot.routes.into_iter().map(|route| ((route.prefix, route.interface), route)).collect();
        changed.nets.extend(merge(&mut self.routes, routes).into_iter().map(|(net, _)| net));
        changed.everything |= std::mem::take(&mut self.stale);
        self.read = true;
        changed
    }

    /// A read that failed changes nothing but what is said about it.
    pub fn read_failed(&mut self) -> Changed {
        Changed { everything: !std::mem::replace(&mut self.stale, true), ..Changed::default() }
    }

    /// `listening: None`: the kernel could not be asked.
    pub fn set_listener(&mut self, now: Time, watch: Watch, listening: Option<bool>, cause: Cause) -> Changed {
        let before = self.listening(&watch);
        let after = match (before, listening, cause) {
            (_, Some(true), _) => Listening::Present { doubted: false, stale: false },
            (Listening::Present { .. }, Some(false), Cause::Notice)
            | (Listening::Present { doubted: true, .. }, Some(false), Cause::Read) => {
                Listening::Absent { since: now, gap: true }
            }
            (Listening::Present { doubted: false, .. }, Some(false), Cause::Read) => {
                Listening::Present { doubted: true, stale: false }
            }
            (Listening::Unknown, Some(false), _) => Listening::Absent { since: now, gap: false },
            (Listening::Present { doubted, .. }, None, _) => Listening::Present { doubted, stale: true },
            (Listening::Absent { .. }, Some(false) | None, _) | (Listening::Unknown, None, _) => before,
        };
        self.listeners.insert(watch, after);
        Changed { watches: if before == after { vec![] } else { vec![watch] }, ..Changed::default() }
    }
}

/// Merges a whole read into what is known; returns the keys that came, went or changed.
fn merge<K: Ord + Copy, T: PartialEq>(known: &mut BTreeMap<K, Seen<T>>, read: BTreeMap<K, T>) -> Vec<K> {
    let mut changed = Vec::new();
    known.retain(|key, seen| {
        if read.contains_key(key) {
            return true;
        }
        if std::mem::replace(&mut seen.missed, true) {
            changed.push(*key);
            return false;
        }
        true
    });
    for (key, what) in read {
        match known.get_mut(&key) {
            Some(seen) if seen.what == what => seen.missed = false,
            Some(_) | None => {
                known.insert(key, Seen { what, missed: false });
                changed.push(key);
            }
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, usable: bool) -> Address {
        Address { interface: 1, address: text.parse().unwrap(), length: 32, usable }
    }

    fn read(addresses: &[Address]) -> Snapshot {
        let interfaces = vec![Interface { index: 1, name: "lo".into(), loopback: true }];
        Snapshot { interfaces, addresses: [&[address("127.0.0.1", true)], addresses].concat(), routes: vec![] }
    }

    #[test]
    fn one_read_without_an_address_is_not_enough_an_event_is() {
        let there = address("192.0.2.1", true);
        let net: IpNet = "192.0.2.0/24".parse().unwrap();
        let mut facts = Facts::default();
        assert!(facts.snapshot(read(&[there])).everything);
        assert_eq!(facts.snapshot(read(&[])), Changed::default());
        assert_eq!(facts.addresses_in(&net).count(), 1);
        assert_eq!(facts.snapshot(read(&[])).nets, ["192.0.2.1/32".parse::<IpNet>().unwrap()]);
        assert_eq!(facts.addresses_in(&net).count(), 0);

        facts.snapshot(read(&[there]));
        facts.snapshot(read(&[]));
        facts.snapshot(read(&[there]));
        facts.snapshot(read(&[]));
        assert_eq!(facts.addresses_in(&net).count(), 1, "reads that do not agree");
        facts.set_address(there, false);
        assert_eq!(facts.addresses_in(&net).count(), 0);
    }

    /// What is there in another state counts at once: a rename, an address whose duplicate detection has ended.
    #[test]
    fn a_whole_read_brings_what_has_changed_in_place() {
        let there = |usable| address("192.0.2.1", usable);
        let net: IpNet = "192.0.2.1/32".parse().unwrap();
        let mut facts = Facts::default();
        facts.snapshot(read(&[there(false)]));
        assert_eq!((facts.addresses_in(&net).count(), facts.snapshot(read(&[there(true)])).nets), (0, vec![net]));
        assert_eq!(facts.addresses_in(&net).count(), 1);
        let renamed = vec![Interface { index: 1, name: "lo0".into(), loopback: true }];
        let changed = facts.snapshot(Snapshot { interfaces: renamed, ..read(&[there(true)]) });
        assert_eq!((changed.interfaces, facts.interface_name(1)), (vec!["lo".into(), "lo0".into()], Some("lo0")));
    }

    /// Every host has lo, and an address on it.
    #[test]
    fn a_read_without_interfaces_or_without_addresses_is_empty() {
        let whole = read(&[]);
        assert!(!whole.is_empty());
        assert!(Snapshot { interfaces: vec![], ..whole.clone() }.is_empty());
        assert!(Snapshot { addresses: vec![], ..whole }.is_empty());
    }

    #[test]
    fn tentative_addresses_and_their_host_routes_do_not_count() {
        let host: IpNet = "2001:db8::1/128".parse().unwrap();
        let mut facts = Facts::default();
        facts.set_address(address("2001:db8::1", false), true);
        facts.set_route(LocalRoute { interface: 1, prefix: host }, true);
        assert_eq!((facts.addresses_in(&host).count(), facts.routes_over(&host).count()), (0, 0));
        facts.set_address(address("2001:db8::1", true), true);
        assert_eq!((facts.addresses_in(&host).count(), facts.routes_over(&host).count()), (1, 1));
    }

    #[test]
    fn listeners_need_a_notice_or_two_agreeing_reads_to_be_gone() {
        let watch = Watch { protocol: Protocol::Tcp, address: "192.0.2.1".parse().unwrap(), port: 80 };
        let now = Time::from_nanos(7);
        let run = |answers: &[(Option<bool>, Cause)]| {
            let mut facts = Facts::default();
            for (listening, cause) in answers {
                facts.set_listener(now, watch, *listening, *cause);
            }
            facts.listening(&watch)
        };
        let (yes, no) = ((Some(true), Cause::Read), (Some(false), Cause::Read));
        let gap = Listening::Absent { since: now, gap: true };
        assert_eq!(run(&[no]), Listening::Absent { since: now, gap: false });
        assert_eq!(run(&[yes, no]), Listening::Present { doubted: true, stale: false });
        assert_eq!(run(&[yes, no, yes]), Listening::Present { doubted: false, stale: false });
        assert_eq!(run(&[yes, no, no]), gap);
        assert_eq!(run(&[yes, (Some(false), Cause::Notice)]), gap);
        assert_eq!(run(&[yes, (None, Cause::Read)]), Listening::Present { doubted: false, stale: true });
        assert_eq!(run(&[(None, Cause::Read)]), Listening::Unknown);
        assert_eq!(run(&[yes, no, no, (None, Cause::Read)]), gap);
    }
}
