//! A table of fixed size that strangers fill: a moment for each key, until which the entry means something.
//!
//! ```text
//!   key (a hash of 64 bits) --uppermost bits--> set of four --> the same key, or the one that ends first
//! ```
//!
//! An entry whose moment has passed says what no entry says, so nothing is ever cleared.

use crate::Time;

const WAYS: usize = 4;

/// Keys, and the moments of each in nanoseconds: plain zeros, which the kernel hands out when they are first written.
type Set = [[u64; WAYS]; 2];

pub(super) struct Table {
    sets: Box<[Set]>,
    /// From a key to the number of its set.
    shift: u32,
}

impl Table {
    /// 4 << `bits` entries of 16 octets, now and for ever.
    pub(super) fn new(bits: u32) -> Self {
        Self { sets: vec![[[0; WAYS]; 2]; 1 << bits].into_boxed_slice(), shift: u64::BITS - bits }
    }

    /// Zero, which is long past, where there is none.
    pub(super) fn until(&self, key: u64) -> Time {
        let Some([keys, until]) = self.sets.get(self.place(key)) else { return Time::default() };
        let found = keys.iter().zip(until).find(|(other, _)| **other == key);
        Time::from_nanos(found.map_or(0, |(_, until)| *until))
    }

    /// Where its set is full, the entry goes that would have ended first: of what is limited, the least used.
    pub(super) fn set(&mut self, key: u64, until: Time) {
        let place = self.place(key);
        let Some([keys, ends]) = self.sets.get_mut(place) else { return };
        if let Some((slot, end)) = keys.iter_mut().zip(ends).min_by_key(|(other, end)| (**other != key, **end)) {
            (*slot, *end) = (key, until.as_nanos());
        }
    }

    fn place(&self, key: u64) -> usize {
        // Fewer than 2^32 sets, so it fits.
        usize::try_from(key >> self.shift).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanoseconds: u64) -> Time {
        Time::from_nanos(nanoseconds)
    }

    #[test]
    fn the_same_key_is_one_entry() {
        let mut table = Table::new(2);
        table.set(7, at(10));
        table.set(7, at(5));
        assert_eq!((table.until(7), table.until(8)), (at(5), at(0)));
        assert_eq!(table.sets.iter().flat_map(|[_, until]| until).filter(|until| **until != 0).count(), 1);
    }

    #[test]
    fn a_full_set_loses_what_ends_first() {
        let mut table = Table::new(2);
        (1..=4).for_each(|key| table.set(key, at(100 - key)));
        table.set(5, at(1));
        assert_eq!([1, 2, 3, 4, 5].map(|key| table.until(key)), [at(99), at(98), at(97), at(0), at(1)]);
        // Another set is not touched.
        table.set(u64::MAX, at(3));
        assert_eq!((table.until(u64::MAX), table.until(5)), (at(3), at(1)));
    }

    #[test]
    fn a_table_is_as_large_as_it_says() {
        assert_eq!(size_of::<Set>(), 64);
        let mut table = Table::new(6);
        let mut keys = (1..=100_000u64).map(|key| key.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        keys.clone().for_each(|key| table.set(key, at(key)));
        assert_eq!(keys.by_ref().filter(|key| table.until(*key) != at(0)).count(), 4 << 6);
    }
}
