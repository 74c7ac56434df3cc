//! Rise and fall of one check on one address: results in, a verdict out.
//!
//! ```text
//!   Unknown --rise passes--> Up --fall failures--> Down --rise passes--> Up
//!      \------fall failures------------------------>/
//! ```
//!
//! A check that waits to be told goes down at once when nobody speaks in time: its ttl is all the patience it has.
//!
//! A check starts `Unknown`: nothing is announced before its verdict, and the first `Up` needs `rise` too.

use std::num::NonZeroU8;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Check;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Verdict {
    #[default]
    Unknown,
    Up,
    Down,
}

impl Verdict {
    /// The word in JSON, logs and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A verdict and the results that may yet overturn it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Health {
    verdict: Verdict,
    /// Passes in a row up to now; 0 after a failure.
    passes: u8,
    /// Failures in a row up to now; 0 after a pass.
    failures: u8,
}

impl Health {
    pub const fn verdict(self) -> Verdict {
        self.verdict
    }

    /// Takes one result; true where it changed the verdict.
    pub fn observe(&mut self, pass: bool, rise: NonZeroU8, fall: NonZeroU8) -> bool {
        if pass {
            (self.passes, self.failures) = (self.passes.saturating_add(1), 0);
        } else {
            (self.passes, self.failures) = (0, self.failures.saturating_add(1));
        }
        let next = if self.passes >= rise.get() {
            Verdict::Up
        } else if self.failures >= fall.get() {
            Verdict::Down
        } else {
            self.verdict
        };
        std::mem::replace(&mut self.verdict, next) != next
    }

    /// Nobody has spoken in time: down now, however many failures that takes otherwise; true where it changed the verdict.
    pub fn expire(&mut self) -> bool {
        (self.passes, self.failures) = (0, self.failures.saturating_add(1));
        std::mem::replace(&mut self.verdict, Verdict::Down) != Verdict::Down
    }

    /// The results seen last speak against the verdict but are not enough to change it.
    pub const fn in_doubt(self) -> bool {
        match self.verdict {
            Verdict::Unknown => true,
            Verdict::Up => self.failures > 0,
            Verdict::Down => self.passes > 0,
        }
    }

    /// From the start of one run to the start of the next. `dice` is uniform: jitter comes in as an argument.
    pub fn pause(self, check: &Check, dice: u64) -> Duration {
        let interval = match check.fast_interval {
            Some(fast) if self.in_doubt() => fast,
            Some(_) | None => check.interval,
        };
        // Its upper half: an f64 holds no more than 53 bits.
        let dice = u32::try_from(dice >> 32).unwrap_or_default();
        let share = f64::from(dice) / f64::from(u32::MAX) * 2.0 - 1.0;
        interval.mul_f64(1.0 + share * f64::from(check.jitter.min(100)) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CheckKind, PushCheck, Target, WhenDown};

    /// `+` passes, `-` fails, `!` nobody has spoken in time; the verdicts after each result as u, U(p), D(own).
    fn run(rise: u8, fall: u8, results: &str) -> String {
        let (rise, fall) = (NonZeroU8::new(rise).unwrap(), NonZeroU8::new(fall).unwrap());
        let mut health = Health::default();
        results
            .chars()
            .map(|result| {
                let before = health.verdict();
                let changed = match result {
                    '!' => health.expire(),
                    result => health.observe(result == '+', rise, fall),
                };
                assert_eq!(changed, before != health.verdict());
                match health.verdict() {
                    Verdict::Unknown => 'u',
                    Verdict::Up => 'U',
                    Verdict::Down => 'D',
                }
            })
            .collect()
    }

    #[test]
    fn verdicts_follow_rise_and_fall() {
        let table = [
            (2, 2, "++", "uU"),
            (2, 2, "+-+-+-", "uuuuuu"),
            (2, 2, "--", "uD"),
            (2, 2, "++-+--", "uUUUUD"),
            (2, 2, "--+-++", "uDDDDU"),
            (1, 1, "+-+-", "UDUD"),
            (3, 1, "-++-+++", "DDDDDDU"),
            (1, 3, "+--+---", "UUUUUUD"),
            (2, 2, "++!", "uUD"),
            (2, 2, "!!++", "DDDU"),
            (2, 9, "++-!+!++", "uUUDDDDU"),
            (1, 2, "+!+-+--", "UDUUUUD"),
        ];
        for (rise, fall, results, verdicts) in table {
            assert_eq!(run(rise, fall, results), verdicts, "rise {rise} fall {fall} {results}");
        }
    }

    fn check(fast_interval: Option<Duration>, jitter: u8) -> Check {
        let two = NonZeroU8::new(2).unwrap();
        Check {
            name: "alive".into(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            fast_interval,
            jitter,
            rise: two,
            fall: two,
            on_fail: WhenDown::Withdraw,
            target: Target::Service,
            kind: CheckKind::Push(PushCheck { ttl: Duration::from_secs(1) }),
        }
    }

    /// Before a verdict, and while the newest results speak against it.
    #[test]
    fn a_check_in_doubt_is_asked_sooner() {
        let fast = check(Some(Duration::from_secs(1)), 0);
        for (results, seconds) in [
            ("", 1),
            ("+", 1),
            ("++", 10),
            ("++-", 1),
            ("++-+", 10),
            ("++--", 10),
            ("++--+", 1),
            ("++--+-", 10),
            ("++!", 10),
        ] {
            let mut health = Health::default();
            for result in results.chars() {
                _ = match result {
                    '!' => health.expire(),
                    result => health.observe(result == '+', fast.rise, fast.fall),
                };
            }
            assert_eq!(health.pause(&fast, 0), Duration::from_secs(seconds), "{results:?}");
            assert_eq!(health.pause(&check(None, 0), 0), Duration::from_secs(10), "{results:?}");
        }
    }

    #[test]
    fn jitter_is_a_part_of_the_interval_both_ways() {
        let pause = |jitter, dice| Health::default().pause(&check(None, jitter), dice).as_millis();
        for (dice, at_ten, at_hundred) in [
            (0, 9_000, 0),
            (u64::MAX / 4, 9_500, 5_000),
            (u64::MAX / 2 + 1, 10_000, 10_000),
            (u64::MAX, 11_000, 20_000),
        ] {
            assert!(pause(10, dice).abs_diff(at_ten) <= 1, "{} at {dice}", pause(10, dice));
            assert!(pause(100, dice).abs_diff(at_hundred) <= 1, "{} at {dice}", pause(100, dice));
            assert_eq!(pause(0, dice), 10_000);
        }
    }

    #[test]
    fn a_streak_longer_than_the_counter_keeps_the_verdict() {
        assert!(run(255, 255, &"+".repeat(600)).ends_with("UUU"));
    }
}
