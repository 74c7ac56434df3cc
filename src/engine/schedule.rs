//! Deadlines that are fields, in one ordered set: the next one costs nothing to know, however many there are.

use std::collections::{BTreeMap, BTreeSet};

use super::checks::InstanceKey;
use crate::Time;
use crate::bgp::rib_out::PrefixId;
use crate::facts::Watch;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// Start the next run, give up on the one that never answered, or on a push that never came.
    Check(InstanceKey),
    Ask(Watch),
    /// Time alone changes the judgement: start-hold or grace ends.
    Judge(PrefixId),
    /// Look again for the router id.
    Source,
    /// Start the sessions, read or not.
    Sessions,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    at: BTreeMap<Timer, Time>,
    order: BTreeSet<(Time, Timer)>,
}

impl Schedule {
    /// [`Time::MAX`] cancels.
    pub(super) fn set(&mut self, timer: Timer, at: Time) {
        let before = if at == Time::MAX { self.at.remove(&timer) } else { self.at.insert(timer, at) };
        if let Some(before) = before {
            self.order.remove(&(before, timer));
        }
        if at != Time::MAX {
            self.order.insert((at, timer));
        }
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        self.set(timer, Time::MAX);
    }

    pub(super) fn next(&self) -> Time {
        self.order.first().map_or(Time::MAX, |(at, _)| *at)
    }

    pub(super) fn pop_due(&mut self, now: Time) -> Option<Timer> {
        let (at, timer) = *self.order.first()?;
        (at <= now).then(|| {
            self.cancel(timer);
            timer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_timer_stands_once_and_comes_in_order() {
        let [a, b] = [1, 2].map(|id| Timer::Judge(PrefixId(id)));
        let at = Time::from_nanos;
        let mut schedule = Schedule::default();
        schedule.set(a, at(30));
        schedule.set(b, at(20));
        schedule.set(a, at(10));
        assert_eq!(schedule.next(), at(10));
        assert_eq!(schedule.pop_due(at(15)), Some(a));
        assert_eq!(schedule.pop_due(at(15)), None);
        schedule.cancel(b);
        assert_eq!((schedule.next(), schedule.pop_due(Time::MAX)), (Time::MAX, None));
    }
}
