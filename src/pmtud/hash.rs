//! Keys of tables that strangers fill: a hash that they cannot aim.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use crate::dice::Dice;

/// An address of either family as one number: IPv4 as `::ffff:0:0/96`, whence no IPv6 packet is believed.
pub(super) const fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Two secrets. Whoever sends floods sees no hash and hardly any consequence of one, so a folded multiplication is enough
/// where a keyed hash like SipHash would cost five times as much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed {
    start: u64,
    factor: u64,
}

impl Seed {
    pub(super) const fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        Self { start: dice.roll(), factor: dice.roll() | 1 }
    }

    pub(super) const fn hash(self) -> Fold {
        Fold { state: self.start, factor: self.factor }
    }
}

impl BuildHasher for Seed {
    type Hasher = Fold;

    fn build_hasher(&self) -> Fold {
        self.hash()
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fold {
    state: u64,
    factor: u64,
}

impl Fold {
    pub(super) const fn word(self, word: u64) -> Self {
        let product = ((self.state ^ word) as u128) * (self.factor as u128);
        Self { state: (product as u64) ^ ((product >> 64) as u64), ..self }
    }

    pub(super) const fn wide(self, number: u128) -> Self {
        self.word(number as u64).word((number >> 64) as u64)
    }

    pub(super) const fn end(self) -> u64 {
        self.word(0x9E37_79B9_7F4A_7C15).state
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.end()
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.write_u8(*octet);
        }
    }

    fn write_u8(&mut self, octet: u8) {
        *self = self.word(u64::from(octet));
    }

    fn write_u128(&mut self, number: u128) {
        *self = self.wide(number);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn neighbors_are_far_apart_and_each_seed_is_its_own() {
        let keys: BTreeSet<u64> = (0..10_000u64).map(|word| Seed::new(1).hash().word(word).end()).collect();
        assert_eq!(keys.len(), 10_000);
        // As the tables take them: by the uppermost bits, evenly.
        let mut sets = [0u32; 64];
        keys.iter().for_each(|key| sets[(key >> 58) as usize] += 1);
        assert!(sets.iter().all(|filled| (90..230).contains(filled)), "{sets:?}");
        assert_ne!(Seed::new(1).hash().word(7).end(), Seed::new(2).hash().word(7).end());
        assert_ne!(Seed::new(1).hash().word(7).word(8).end(), Seed::new(1).hash().word(8).word(7).end());
    }

    #[test]
    fn an_address_has_one_number() {
        assert_eq!(wide("192.0.2.1".parse().unwrap()), 0xFFFF_C000_0201);
        assert_eq!(wide("2001:db8::1".parse().unwrap()), 0x2001_0DB8_0000_0000_0000_0000_0000_0001);
    }
}
