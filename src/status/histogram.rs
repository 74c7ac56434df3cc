//! A histogram as plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper bounds in nanoseconds; what is longer counts in one more bucket.
///
/// A withdraw should take about a millisecond and never 20 ms, so the steps are fine around those; below 50 us only the
/// scheduler is measured. A check times out after 500 ms by default, and one that takes longer than a second is slow
/// however much longer it takes.
pub const BOUNDS: [u64; 14] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
];

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Histogram {
    /// Not cumulative: how many fell into each bucket of [`BOUNDS`].
    counts: [u64; BOUNDS.len()],
    /// Longer than the last bound.
    beyond: u64,
    /// Nanoseconds; saturates after 584 years of waiting.
    sum: u64,
}

impl Histogram {
    pub fn observe(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().zip(&mut self.counts).find(|(bound, _)| nanos <= **bound);
        let count = bucket.map_or(&mut self.beyond, |(_, count)| count);
        *count = count.saturating_add(1);
        self.sum = self.sum.saturating_add(nanos);
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().fold(self.beyond, |sum, count| sum.saturating_add(*count))
    }

    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// Upper bound in seconds (the last is infinite) and how many fell into the bucket.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounded =
            BOUNDS.iter().zip(&self.counts).map(|(bound, count)| (Duration::from_nanos(*bound).as_secs_f64(), *count));
        bounded.chain([(f64::INFINITY, self.beyond)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let mut histogram = Histogram::default();
        for micros in [0, 50, 51, 1_000, 1_000_000, 1_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let filled: Vec<(f64, u64)> = histogram.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.00005, 2), (0.0001, 1), (0.001, 1), (1.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(histogram.count(), 6);
        assert_eq!(histogram.sum(), Duration::from_micros(2_001_102));
    }

    #[test]
    fn a_clock_gone_mad_saturates() {
        let mut histogram = Histogram::default();
        histogram.observe(Duration::MAX);
        histogram.observe(Duration::MAX);
        assert_eq!((histogram.count(), histogram.sum()), (2, Duration::from_nanos(u64::MAX)));
    }
}
