//! The two clocks: one that only goes forward, for the engine; one for people.

use std::time::{Duration, SystemTime};

use nix::time::ClockId;

use crate::Time;

/// `CLOCK_MONOTONIC`, the same for all threads and, unlike `Instant`, a number that can be written down.
pub fn now() -> Time {
    // clock_gettime(2) cannot fail for this clock, and the kernel never gives it a negative value.
    let Ok(now) = ClockId::CLOCK_MONOTONIC.now() else { return Time::MAX };
    let seconds = u64::try_from(now.tv_sec()).unwrap_or_default();
    let nanoseconds = u64::try_from(now.tv_nsec()).unwrap_or_default();
    Time::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}

/// Wall time, for people and persisted expiries, never for the engine's deadlines. A clock before 1970 reads as 1970.
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// For jitter: two daemons started together, or one started twice, differ.
pub fn seed() -> u64 {
    now().as_nanos() ^ u64::from(std::process::id()) << 40
}

/// For the command line, which has nothing else to do; the daemon waits for its alarm.
pub fn sleep(span: Duration) {
    std::thread::sleep(span);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_clock_goes_forward_at_the_pace_of_sleep() {
        let before = now();
        std::thread::sleep(Duration::from_millis(5));
        let span = now().since(before);
        assert!(span >= Duration::from_millis(5) && span < Duration::from_secs(5), "{span:?}");
    }
}
