//! The only clock the core knows.

use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds of `CLOCK_MONOTONIC`: a moment of this boot.
///
/// Our own type instead of `std::time::Instant`, because the engine's state is written down for a restart and an
/// `Instant` cannot be. Arithmetic saturates: a clock at its edge must not take a daemon down.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// The latest moment there is: a deadline that never comes.
    pub const MAX: Self = Self(u64::MAX);

    /// The moment `nanoseconds` after the clock's zero.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the clock's zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero where it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Time::MAX + Duration::from_secs(1), Time::MAX);
        assert_eq!(Time::from_nanos(1) - Duration::from_secs(1), Time::from_nanos(0));
        assert_eq!(Time::from_nanos(1).since(Time::MAX), Duration::ZERO);
    }

    #[test]
    fn nanoseconds_go_in_and_come_out() {
        let later = Time::from_nanos(7) + Duration::from_micros(1);
        assert_eq!((later.as_nanos(), later - Duration::from_nanos(7)), (1007, Time::from_nanos(1000)));
        assert_eq!(later.since(Time::from_nanos(7)), Duration::from_micros(1));
    }
}
