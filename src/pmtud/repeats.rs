//! What was seen before: the difference between a connection that hangs and a flood.
//!
//! A sender that hears of no smaller MTU sends the same packet again after 200 ms, and the router complains again. A
//! flood that makes up a new connection for each packet does not. So while limits run short, an error is believed on its
//! second coming, and real ones pass through any such flood with one retransmission of delay.
//!
//! ```text
//!   key --17 bits--> set of eight, the newest first: | fingerprint, 20 bits | first seen, in 12 bits of 16.8 ms |
//! ```
//!
//! A set loses an entry when eight others came after it: with a million made-up errors a second, one in a hundred within
//! 400 ms.

use std::time::Duration;

use crate::Time;

const WAYS: usize = 8;
const SET_BITS: u32 = 17;
const CLOCK: u32 = 0xFFF;
const TICK: u32 = 24;
/// 16 seconds: longer than the longest `dedup`, and much shorter than the 69 s after which the clock comes round.
const MEMORY: u32 = 954;

/// 4 MiB.
pub(super) struct Repeats {
    sets: Box<[[u32; WAYS]]>,
    /// In ticks. What comes sooner may be the same complaint twice.
    apart: u32,
}

impl Repeats {
    pub(super) fn new(dedup: Duration) -> Self {
        let ticks = u32::try_from(dedup.as_nanos() >> TICK).unwrap_or(MEMORY).min(MEMORY - 2);
        // One for what the division cut off, one because both moments are rounded down.
        Self { sets: vec![[0; WAYS]; 1 << SET_BITS].into_boxed_slice(), apart: ticks + 2 }
    }

    /// Whether it was seen before, long enough ago and not too long; if not, it has been seen now.
    pub(super) fn again(&mut self, now: Time, key: u64) -> bool {
        let place = usize::try_from(key >> (u64::BITS - SET_BITS)).unwrap_or(usize::MAX);
        let Some(set) = self.sets.get_mut(place) else { return false };
        let fingerprint = low_bits(key) & !CLOCK;
        let clock = low_bits(now.as_nanos() >> TICK) & CLOCK;
        let known = set.iter().position(|entry| entry & !CLOCK == fingerprint && *entry != 0);
        let age = known.and_then(|place| set.get(place)).map(|entry| clock.wrapping_sub(*entry) & CLOCK);
        let age = age.filter(|age| *age <= MEMORY);
        // The newest first; of what is known, the first time stays: how often it comes must not matter.
        if let Some(moved) = set.get_mut(..=known.unwrap_or(WAYS - 1)) {
            moved.rotate_right(1);
        }
        if let Some(first) = set.first_mut() {
            *first = fingerprint | (clock.wrapping_sub(age.unwrap_or(0)) & CLOCK);
        }
        age.is_some_and(|age| age >= self.apart)
    }
}

const fn low_bits(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn at(milliseconds: u64) -> Time {
        Time::default() + Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_second_coming_is_neither_too_soon_nor_too_late() {
        let mut repeats = Repeats::new(Duration::from_millis(100));
        let key = 0x1234_5678_9ABC_DEF0;
        let moments = [1000, 1050, 1099, 1140, 1200, 17_000, 17_100, 17_240, 60_000, 60_140];
        let seen = moments.map(|moment| repeats.again(at(moment), key));
        assert_eq!(seen, [false, false, false, true, true, true, false, true, false, true]);
        assert!(!repeats.again(at(60_280), key ^ 1 << 12));
    }

    #[test]
    fn never_sooner_than_dedup() {
        for dedup in [0, 1, 16, 17, 100, 150, 10_000] {
            for start in 0..40 {
                let mut repeats = Repeats::new(Duration::from_millis(dedup));
                assert!(!repeats.again(at(1000 + start), 1 << 40));
                let waited = (0..).find(|waited| repeats.again(at(1000 + start + waited), 1 << 40)).unwrap();
                assert!((dedup..=dedup + 36).contains(&waited), "{waited} of {dedup}");
            }
        }
    }

    #[test]
    fn it_outlives_a_million_a_second() {
        let mut repeats = Repeats::new(Duration::from_millis(100));
        let (mut dice, real) = (Dice::new(1), Dice::new(2));
        let (mut first, mut second) = (real, real);
        (0..1000).for_each(|_| assert!(!repeats.again(at(1000), first.roll())));
        let believed = (0..400_000u64).filter(|n| repeats.again(at(1000 + n / 1000), dice.roll())).count();
        let kept = (0..1000).filter(|_| repeats.again(at(1400), second.roll())).count();
        assert!(kept >= 970, "{kept}");
        // Eight fingerprints of 20 bits: 400,000 look at fewer than that many.
        assert!(believed < 20, "{believed}");
    }
}
