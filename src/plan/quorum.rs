//! How the checks of a service add up: on one address, and over the addresses that count.

use std::net::IpAddr;

use crate::config::{Quorum, Service, Target, WhenDown};
use crate::health::Verdict;

/// Most healthy addresses that are named, and checks that say why not: each detail is kept with its prefix, and with its
/// events.
const SHOWN: usize = 4;

/// What the checks say of the addresses that count: for each way to stand, the words of the first that stands so.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standings {
    /// Of the first few.
    pub(super) healthy: Vec<String>,
    /// How many more are healthy.
    pub(super) more: usize,
    /// Only checks of what all hosts share fail.
    pub(super) depreferred: Option<String>,
    /// Without a verdict that decides.
    pub(super) unproven: Option<String>,
    pub(super) unhealthy: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Healthy,
    Depreferred,
    Unproven,
    Unhealthy,
}

impl Standings {
    /// `verdict`: of one check on one address, with its last words. Without an address only fixed targets can be asked.
    pub fn of<'a>(
        service: &Service,
        addresses: &[IpAddr],
        verdict: impl Fn(usize, IpAddr) -> (Verdict, &'a str),
    ) -> Self {
        let mut all = Self::default();
        if service.checks.is_empty() {
            return all;
        }
        if addresses.is_empty() {
            all.add(service, None, &verdict);
        }
        addresses.iter().for_each(|address| all.add(service, Some(*address), &verdict));
        all
    }

    fn add<'a>(
        &mut self,
        service: &Service,
        address: Option<IpAddr>,
        verdict: &impl Fn(usize, IpAddr) -> (Verdict, &'a str),
    ) {
        let count = Count::of(service, address, verdict);
        let first = match count.standing() {
            Standing::Healthy if self.healthy.len() < SHOWN => {
                return self.healthy.push(count.words(service, address, verdict));
            }
            Standing::Healthy => {
                self.more += 1;
                return;
            }
            Standing::Depreferred => &mut self.depreferred,
            Standing::Unproven => &mut self.unproven,
            Standing::Unhealthy => &mut self.unhealthy,
        };
        first.get_or_insert_with(|| count.words(service, address, verdict));
    }
}

/// The verdicts on one address. Counting are the checks with `on-fail = "withdraw"`.
struct Count {
    counting: usize,
    up: usize,
    unknown: usize,
    needed: usize,
    /// Of those that do not count.
    depreferring: bool,
    depreferring_unknown: bool,
}

/// Verdict and words of one check as it stands for `address`.
fn ask<'a>(
    target: Target,
    address: Option<IpAddr>,
    index: usize,
    verdict: &impl Fn(usize, IpAddr) -> (Verdict, &'a str),
) -> (Verdict, Option<IpAddr>, &'a str) {
    let target = match target {
        Target::Service => address,
        Target::Address(target) => Some(target),
    };
    let Some(target) = target else {
        return (Verdict::Unknown, None, "no address of the prefix is on this host: it needs a target");
    };
    let (verdict, said) = verdict(index, target);
    (verdict, Some(target), said)
}

impl Count {
    fn of<'a>(
        service: &Service,
        address: Option<IpAddr>,
        verdict: &impl Fn(usize, IpAddr) -> (Verdict, &'a str),
    ) -> Self {
        let (mut counting, mut up, mut unknown) = (0_usize, 0_usize, 0_usize);
        let (mut depreferring, mut depreferring_unknown) = (false, false);
        for (index, check) in service.checks.iter().enumerate() {
            let (verdict, _, _) = ask(check.target, address, index, verdict);
            match check.on_fail {
                WhenDown::Withdraw => {
                    counting += 1;
                    up += usize::from(verdict == Verdict::Up);
                    unknown += usize::from(verdict == Verdict::Unknown);
                }
                WhenDown::Deprefer => {
                    depreferring |= verdict == Verdict::Down;
                    depreferring_unknown |= verdict == Verdict::Unknown;
                }
            }
        }
        let needed = match service.health.quorum {
            Quorum::All => counting,
            Quorum::Any => counting.min(1),
            Quorum::AtLeast(number) => counting.min(number.get().into()),
        };
        Self { counting, up, unknown, needed, depreferring, depreferring_unknown }
    }

    const fn standing(&self) -> Standing {
        if self.up + self.unknown < self.needed {
            Standing::Unhealthy
        } else if self.up < self.needed || self.depreferring_unknown {
            // A check that only deprefers needs its verdict too; with the quorum met the counting ones need no more.
            Standing::Unproven
        } else if self.depreferring {
            Standing::Depreferred
        } else {
            Standing::Healthy
        }
    }

    fn words<'a>(
        &self,
        service: &Service,
        address: Option<IpAddr>,
        verdict: &impl Fn(usize, IpAddr) -> (Verdict, &'a str),
    ) -> String {
        let (up, needed, counting) = (self.up, self.needed, self.counting);
        let met = up >= needed;
        let of = |wanted: Verdict, counts: &[WhenDown]| {
            let checks = service.checks.iter().enumerate().filter(|(_, check)| counts.contains(&check.on_fail));
            let words = checks.filter_map(|(index, check)| match ask(check.target, address, index, verdict) {
                (verdict, _, _) if verdict != wanted => None,
                (_, None, said) => Some(format!("{}: {said}", check.name)),
                (_, Some(target), said) => Some(format!("{} on {target}: {said}", check.name)),
            });
            let mut words: Vec<String> = words.collect();
            let more = words.len().saturating_sub(SHOWN);
            words.truncate(SHOWN);
            words.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
        };
        match self.standing() {
            Standing::Unhealthy => format!("{up} of {needed} needed: {}", of(Verdict::Down, &[WhenDown::Withdraw])),
            Standing::Unproven if met => of(Verdict::Unknown, &[WhenDown::Deprefer]),
            Standing::Unproven => of(Verdict::Unknown, &[WhenDown::Withdraw, WhenDown::Deprefer]),
            Standing::Depreferred => of(Verdict::Down, &[WhenDown::Deprefer]),
            Standing::Healthy => {
                let place = address.map_or_else(String::new, |address| format!(" on {address}"));
                format!("{up} of {counting} up{place}, {needed} needed")
            }
        }
    }
}
