//! Token buckets, as the one number that describes them: the moment when a bucket will be full again.
//!
//! ```text
//!   now .................... full again        depth = a whole bucket, in time
//!    |<-- what was taken -->|
//! ```
//!
//! A moment that has passed is a full bucket, so a table may forget it.

use super::table::Table;
use crate::Time;
use crate::config::{PmtudLimits, Rate};

/// A rate and a depth; the bucket itself is a [`Time`]. In nanoseconds: this is done eight times for each error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limit {
    token: u64,
    depth: u64,
}

impl Limit {
    /// A full bucket holds what comes in `seconds`.
    pub(super) fn new(rate: Rate, seconds: u32) -> Self {
        let rate = u64::from(rate.per_second.max(1));
        // Rounded up: a limit is never exceeded.
        let token = 1_000_000_000_u64.div_ceil(rate);
        Self { token, depth: token * rate * u64::from(seconds) }
    }

    /// The bucket when one token was taken; `None` where there is none.
    pub(super) fn take(self, bucket: Time, now: Time) -> Option<Time> {
        let after = bucket.max(now).as_nanos().saturating_add(self.token);
        (after.saturating_sub(now.as_nanos()) <= self.depth).then_some(Time::from_nanos(after))
    }

    /// Less than half full.
    pub(super) fn is_low(self, bucket: Time, now: Time) -> bool {
        bucket.as_nanos().saturating_sub(now.as_nanos()) > self.depth / 2
    }
}

/// 65,536 flows in 1 MiB. What is charged is at most what `total` lets pass, so a flood fills it only where `total` was
/// raised above that; then the least used flow is forgotten and may begin anew, and `total` holds.
const FLOW_BITS: u32 = 14;
/// 16,384 networks of routers.
const ROUTER_BITS: u32 = 12;

/// Errors that we send on.
pub(super) struct Outgoing {
    flow: Limit,
    router: Limit,
    prefix: Limit,
    total: Limit,
    flows: Table,
    routers: Table,
    bucket: Time,
}

/// What the tables know an error by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Keys {
    pub(super) flow: u64,
    pub(super) router: u64,
}

/// All buckets with one token less.
pub(super) struct Charge {
    flow: Time,
    router: Time,
    pub(super) prefix: Time,
    total: Time,
}

impl Outgoing {
    /// A flow and a router may come in a burst, two seconds' worth: that is how a connection's window meets a narrow
    /// link. All of them together may not.
    pub(super) fn new(limits: &PmtudLimits) -> Self {
        Self {
            flow: Limit::new(limits.flow, 2),
            router: Limit::new(limits.router, 2),
            prefix: Limit::new(limits.prefix, 1),
            total: Limit::new(limits.total, 1),
            flows: Table::new(FLOW_BITS),
            routers: Table::new(ROUTER_BITS),
            bucket: Time::default(),
        }
    }

    /// `None`: above one of the limits. Nothing is taken yet, so what is refused by one costs nothing at the others.
    pub(super) fn ask(&self, now: Time, keys: Keys, prefix: Time) -> Option<Charge> {
        Some(Charge {
            total: self.total.take(self.bucket, now)?,
            prefix: self.prefix.take(prefix, now)?,
            flow: self.flow.take(self.flows.until(keys.flow), now)?,
            router: self.router.take(self.routers.until(keys.router), now)?,
        })
    }

    pub(super) fn charge(&mut self, keys: Keys, charge: &Charge) {
        self.bucket = charge.total;
        self.flows.set(keys.flow, charge.flow);
        self.routers.set(keys.router, charge.router);
    }

    /// What is left is kept for what repeats: whoever knows a client or a router could empty its bucket with some errors
    /// a second.
    pub(super) fn are_low(&self, now: Time, keys: Keys, prefix: Time) -> bool {
        self.total.is_low(self.bucket, now)
            || self.prefix.is_low(prefix, now)
            || self.flow.is_low(self.flows.until(keys.flow), now)
            || self.router.is_low(self.routers.until(keys.router), now)
    }
}

/// Errors that members ask us to inject.
pub(super) struct Incoming {
    flow: Limit,
    member: Limit,
    total: Limit,
    flows: Table,
    bucket: Time,
}

pub(super) struct Injected {
    flow: Time,
    pub(super) member: Time,
    total: Time,
}

impl Incoming {
    /// One member alone gets no more than half of all.
    pub(super) fn new(limits: &PmtudLimits) -> Self {
        Self {
            flow: Limit::new(limits.flow, 2),
            member: Limit::new(Rate { per_second: limits.total.per_second.div_ceil(2) }, 1),
            total: Limit::new(limits.total, 1),
            flows: Table::new(FLOW_BITS),
            bucket: Time::default(),
        }
    }

    pub(super) fn ask(&self, now: Time, flow: u64, member: Time) -> Option<Injected> {
        Some(Injected {
            total: self.total.take(self.bucket, now)?,
            member: self.member.take(member, now)?,
            flow: self.flow.take(self.flows.until(flow), now)?,
        })
    }

    pub(super) fn charge(&mut self, flow: u64, charge: &Injected) {
        self.bucket = charge.total;
        self.flows.set(flow, charge.flow);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::default() + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let limit = Limit::new(Rate { per_second: 5 }, 2);
        let mut bucket = Time::default();
        let mut taken = |now: Time| {
            let mut count = 0;
            while let Some(after) = limit.take(bucket, now) {
                (bucket, count) = (after, count + 1);
            }
            count
        };
        let moments = [1000, 1000, 1199, 1200, 1399, 1400, 3400, 100_000].map(|moment| taken(at(moment)));
        assert_eq!(moments, [10, 0, 0, 1, 0, 1, 10, 10]);
    }

    #[test]
    fn low_is_less_than_half() {
        let limit = Limit::new(Rate { per_second: 10 }, 1);
        let mut bucket = Time::default();
        let low: Vec<bool> = (0..10)
            .map(|_| {
                bucket = limit.take(bucket, at(1000)).unwrap();
                limit.is_low(bucket, at(1000))
            })
            .collect();
        assert_eq!(low, [false, false, false, false, false, true, true, true, true, true]);
        assert!(!limit.is_low(bucket, at(1500)));
    }

    #[test]
    fn what_one_refuses_costs_the_others_nothing() {
        let rate = |per_second| Rate { per_second };
        let limits = PmtudLimits { flow: rate(1), router: rate(10), prefix: rate(100), total: rate(100) };
        let mut outgoing = Outgoing::new(&limits);
        let (now, mut prefix, mut passed) = (at(1000), Time::default(), 0);
        // One flow floods, then twenty others of the same router come: as many as its bucket holds, less two.
        let tries = std::iter::repeat_n(1, 1000).chain(2..32);
        for flow in tries {
            let keys = Keys { flow, router: 9 };
            if let Some(charge) = outgoing.ask(now, keys, prefix) {
                outgoing.charge(keys, &charge);
                prefix = charge.prefix;
                passed += 1;
            }
        }
        assert_eq!(passed, 2 + 18);
        assert_eq!(
            (outgoing.bucket.since(now), prefix.since(now)),
            (Duration::from_millis(200), Duration::from_millis(200))
        );
    }

    proptest! {
        #[test]
        fn never_above_rate_and_burst(rate in 1..=10_000_000u32, seconds in 1..=2u32,
                                      gaps in prop::collection::vec((0..2_000_000_000u64, 0..50u32), 1..100)) {
            let limit = Limit::new(Rate { per_second: rate }, seconds);
            let (start, mut now, mut bucket, mut taken) = (at(1), at(1), Time::default(), 0u64);
            for (gap, tries) in gaps {
                now = now + Duration::from_nanos(gap);
                for _ in 0..tries {
                    if let Some(after) = limit.take(bucket, now) {
                        (bucket, taken) = (after, taken + 1);
                    }
                }
                let most = u128::from(rate) * now.since(start).as_nanos() / 1_000_000_000 + u128::from(rate * seconds);
                prop_assert!(u128::from(taken) <= most, "{taken} of {most}");
            }
        }
    }
}
