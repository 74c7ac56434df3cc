//! The service prefixes: which of them an address is in, and how much was relayed for each.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::hash::{Seed, wide};
use crate::Time;

/// One of the set, as its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Prefix {
    address: u128,
    length: u8,
}

/// As many as are announced or configured; a match costs one look for each length that occurs, of which there are few.
pub(super) struct Prefixes {
    /// With the moment when its bucket will be full again.
    set: HashMap<Prefix, Time, Seed>,
    /// Those that occur, with how many prefixes have them; the longest first. IPv4 is counted from 96 on.
    ipv4: Vec<(u8, usize)>,
    ipv6: Vec<(u8, usize)>,
}

impl Prefixes {
    pub(super) fn new(seed: Seed) -> Self {
        Self { set: HashMap::with_hasher(seed), ipv4: Vec::new(), ipv6: Vec::new() }
    }

    pub(super) fn insert(&mut self, prefix: IpNet) {
        let key = key(prefix);
        if self.set.contains_key(&key) {
            return;
        }
        self.set.insert(key, Time::default());
        let lengths = self.lengths(prefix);
        match lengths.iter_mut().find(|(length, _)| *length == key.length) {
            Some((_, count)) => *count += 1,
            None => {
                let place = lengths.partition_point(|(length, _)| *length > key.length);
                lengths.insert(place, (key.length, 1));
            }
        }
    }

    pub(super) fn remove(&mut self, prefix: IpNet) {
        let key = key(prefix);
        if self.set.remove(&key).is_none() {
            return;
        }
        let lengths = self.lengths(prefix);
        if let Some((_, count)) = lengths.iter_mut().find(|(length, _)| *length == key.length) {
            *count = count.saturating_sub(1);
        }
        lengths.retain(|(_, count)| *count > 0);
    }

    /// The longest that the address is in.
    pub(super) fn find(&self, address: IpAddr) -> Option<Prefix> {
        let lengths = if address.is_ipv4() { &self.ipv4 } else { &self.ipv6 };
        let address = wide(address);
        lengths
            .iter()
            .map(|(length, _)| Prefix { address: address & mask(*length), length: *length })
            .find(|prefix| self.set.contains_key(prefix))
    }

    pub(super) fn bucket(&self, prefix: Prefix) -> Option<Time> {
        self.set.get(&prefix).copied()
    }

    pub(super) fn set_bucket(&mut self, prefix: Prefix, full: Time) {
        if let Some(bucket) = self.set.get_mut(&prefix) {
            *bucket = full;
        }
    }

    const fn lengths(&mut self, prefix: IpNet) -> &mut Vec<(u8, usize)> {
        match prefix {
            IpNet::V4(_) => &mut self.ipv4,
            IpNet::V6(_) => &mut self.ipv6,
        }
    }
}

fn key(prefix: IpNet) -> Prefix {
    let length = match prefix {
        IpNet::V4(prefix) => 96 + prefix.prefix_len(),
        IpNet::V6(prefix) => prefix.prefix_len(),
    };
    Prefix { address: wide(prefix.addr()) & mask(length), length }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(prefixes: &[&str]) -> Prefixes {
        let mut set = Prefixes::new(Seed::new(1));
        prefixes.iter().for_each(|prefix| set.insert(prefix.parse().unwrap()));
        set
    }

    fn find(set: &Prefixes, address: &str) -> Option<Prefix> {
        set.find(address.parse().unwrap())
    }

    fn is(prefix: &str) -> Option<Prefix> {
        Some(key(prefix.parse().unwrap()))
    }

    #[test]
    fn the_longest_match_of_its_own_family() {
        let mut set = of(&["192.0.2.0/24", "192.0.2.53/32", "10.0.0.0/8", "2001:db8::/32", "2001:db8::53/128"]);
        for (address, found) in [
            ("192.0.2.53", is("192.0.2.53/32")),
            ("192.0.2.54", is("192.0.2.0/24")),
            ("192.0.3.1", None),
            ("10.255.0.1", is("10.0.0.0/8")),
            ("11.0.0.0", None),
            ("2001:db8::53", is("2001:db8::53/128")),
            ("2001:db8:ffff::1", is("2001:db8::/32")),
            ("2001:db9::", None),
        ] {
            assert_eq!(find(&set, address), found, "{address}");
        }
        set.remove("192.0.2.53/32".parse().unwrap());
        set.remove("192.0.2.53/32".parse().unwrap());
        set.insert("192.0.2.0/24".parse().unwrap());
        assert_eq!(find(&set, "192.0.2.53"), is("192.0.2.0/24"));
        set.remove("192.0.2.0/24".parse().unwrap());
        assert_eq!(find(&set, "192.0.2.53"), None);
        assert_eq!((&set.ipv4[..], &set.ipv6[..]), (&[(104, 1)][..], &[(128, 1), (32, 1)][..]));
    }

    #[test]
    fn default_routes_are_of_one_family() {
        let set = of(&["0.0.0.0/0"]);
        assert_eq!((find(&set, "1.2.3.4"), find(&set, "::1")), (is("0.0.0.0/0"), None));
        let set = of(&["::/0"]);
        assert_eq!((find(&set, "1.2.3.4"), find(&set, "::1")), (None, is("::/0")));
    }

    #[test]
    fn a_hundred_thousand() {
        let mut set = Prefixes::new(Seed::new(1));
        let nets = || (0..100_000u32).map(|n| IpNet::new(std::net::Ipv4Addr::from(n << 8).into(), 24).unwrap());
        nets().for_each(|prefix| set.insert(prefix));
        assert!(nets().all(|prefix| set.find(prefix.addr()) == Some(key(prefix))));
        assert_eq!(find(&set, "1.134.160.0"), None);
        nets().for_each(|prefix| set.remove(prefix));
        assert!(set.set.is_empty() && set.ipv4.is_empty());
    }
}
