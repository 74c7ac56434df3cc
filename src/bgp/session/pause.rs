//! How long to wait before the next dial, and the jitter that keeps many hosts from waiting alike.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Settings;
use crate::bgp::wire::{Notification, code};
use crate::dice::Dice;

/// Which of the neighbor's three waits follows the end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pause {
    /// `connect-retry`: nobody did anything wrong.
    Retry,
    /// `idle-hold`, doubling: one side broke the protocol or is configured wrongly, and dialling faster mends nothing.
    Hold,
    /// `idle-hold-max` at once: the peer counts our prefixes as too many.
    Longest,
}

impl Pause {
    /// After a NOTIFICATION of ours.
    pub(super) const fn sent(notification: &Notification) -> Self {
        match notification.code {
            code::HOLD_TIMER_EXPIRED | code::CEASE | code::SEND_HOLD_TIMER_EXPIRED => Self::Retry,
            _ => Self::Hold,
        }
    }

    /// After a NOTIFICATION of the peer's.
    pub(super) const fn received(notification: &Notification) -> Self {
        match (notification.code, notification.subcode) {
            // RFC 4486 §4
            (code::CEASE, code::cease::MAXIMUM_PREFIXES) => Self::Longest,
            _ => Self::sent(notification),
        }
    }
}

/// What is remembered from one connection to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Backoff {
    /// Protocol errors since the last session that proved steady.
    errors: u32,
}

impl Backoff {
    /// A session lasted this long. A short one proves nothing: errors that come just after it count as repeating.
    pub(super) fn lasted(&mut self, settings: &Settings, uptime: Duration) {
        let steady = match settings.idle_hold_max {
            Duration::ZERO => Duration::from_secs(60),
            longest => longest,
        };
        if uptime >= steady {
            self.errors = 0;
        }
    }

    pub(super) fn wait(&mut self, settings: &Settings, pause: Pause, dice: &mut Dice) -> Duration {
        let span = match pause {
            Pause::Retry => settings.connect_retry,
            Pause::Longest => settings.idle_hold_max,
            Pause::Hold => {
                let factor = 2_u32.saturating_pow(self.errors);
                self.errors = self.errors.saturating_add(1);
                settings.idle_hold.saturating_mul(factor).min(settings.idle_hold_max)
            }
        };
        jittered(span, dice)
    }
}

/// RFC 4271 §10: a factor from 0.75 to 1.0, anew each time.
pub(super) fn jittered(span: Duration, dice: &mut Dice) -> Duration {
    const QUARTER: u64 = 1 << 16;
    let factor = 3 * QUARTER + dice.below(QUARTER + 1);
    let nanoseconds = span.as_nanos() * u128::from(factor) / u128::from(4 * QUARTER);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_three_quarters_and_the_whole() {
        let mut dice = Dice::new(7);
        let spans: Vec<Duration> = (0..1000).map(|_| jittered(Duration::from_secs(4), &mut dice)).collect();
        assert!(spans.iter().all(|&s| s >= Duration::from_secs(3) && s <= Duration::from_secs(4)));
        assert!(spans.iter().any(|&s| s < Duration::from_millis(3100)));
        assert!(spans.iter().any(|&s| s > Duration::from_millis(3900)));
        assert_eq!(jittered(Duration::ZERO, &mut dice), Duration::ZERO);
        assert!(jittered(Duration::MAX, &mut dice) > Duration::from_secs(1 << 33));
    }

    #[test]
    fn notifications_choose_their_pause() {
        use Pause::{Hold, Longest, Retry};
        // (code, subcode, after sending it, after receiving it)
        let table = [
            (1, 1, Hold, Hold),
            (2, 2, Hold, Hold),
            (3, 1, Hold, Hold),
            (4, 0, Retry, Retry),
            (5, 3, Hold, Hold),
            (6, 1, Retry, Longest),
            (6, 2, Retry, Retry),
            (6, 7, Retry, Retry),
            (7, 1, Hold, Hold),
            (8, 0, Retry, Retry),
            (99, 0, Hold, Hold),
        ];
        for (code, subcode, sent, received) in table {
            let notification = Notification { code, subcode, data: Vec::new() };
            assert_eq!(
                (Pause::sent(&notification), Pause::received(&notification)),
                (sent, received),
                "{code}/{subcode}"
            );
        }
    }
}
