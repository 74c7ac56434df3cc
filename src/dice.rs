//! Chance as an argument: a seed is a whole sequence, so what it led to can be replayed.

use serde::{Deserialize, Serialize};

/// SplitMix64: good enough to spread hosts apart, and nothing that is secret depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `0..limit`; 0 where there is none. A limit is far below 2^64, so all are as likely as makes no difference.
    pub const fn below(&mut self, limit: u64) -> u64 {
        match self.roll().checked_rem(limit) {
            Some(number) => number,
            None => 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence() {
        // The reference implementation's first three numbers (https://prng.di.unimi.it/splitmix64.c).
        let mut dice = Dice::new(1_234_567);
        let rolled = [dice.roll(), dice.roll(), dice.roll()];
        assert_eq!(rolled, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        assert_eq!(dice.below(0), 0);
        assert!((0..1000).all(|_| dice.below(3) < 3));
    }
}
