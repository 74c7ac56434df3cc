//! What an operator should know or change, from what was counted over time.
//!
//! A pure function of samples: `io` brings one every few seconds.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::{Totals, Verdict};
use crate::Time;

/// What the kernel counts and how it is set; `None` where it does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Host {
    /// IcmpInErrors: ICMP messages that were of no use, mostly about connections that this host does not have.
    pub ipv4_errors: Option<u64>,
    /// IcmpInDestUnreachs: "fragmentation needed" is one of them.
    pub ipv4_unreachable: Option<u64>,
    /// Icmp6InErrors
    pub ipv6_errors: Option<u64>,
    /// Icmp6InPktTooBigs
    pub ipv6_too_big: Option<u64>,
    /// TcpExtOutOfWindowIcmps
    pub out_of_window: Option<u64>,
    /// net.ipv4.tcp_mtu_probing
    pub mtu_probing: Option<u32>,
    /// net.ipv6.flowlabel_reflect
    pub label_reflect: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Advice {
    /// Nothing had to be relayed: so many errors met their connection here.
    Idle {
        owned: u64,
    },
    /// There is no relay, and errors come in that are about connections of others.
    Strays {
        a_minute: u64,
    },
    MtuProbing,
    LabelReflect,
}

impl Advice {
    /// Which of them, whatever its number.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle { .. } => "idle",
            Self::Strays { .. } => "strays",
            Self::MtuProbing => "mtu-probing",
            Self::LabelReflect => "label-reflect",
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle { owned } => write!(
                f,
                "all {owned} errors of the last hour met their connection here: the routers hash on the quoted packet, \
                 and the relay has nothing to do"
            ),
            Self::Strays { a_minute } => write!(
                f,
                "about {a_minute} ICMP errors a minute are about connections that this host does not have: behind ECMP \
                 path MTU discovery fails like this (scans and late answers look the same); [pmtud] relays them to \
                 their owners"
            ),
            Self::MtuProbing => write!(
                f,
                "net.ipv4.tcp_mtu_probing is 0: with 1, TCP finds a smaller MTU by itself in some seconds where errors \
                 are lost"
            ),
            Self::LabelReflect => write!(
                f,
                "net.ipv6.flowlabel_reflect is 0: with 1 (and its services restarted), routers that hash on the flow \
                 label send IPv6 errors to their owner"
            ),
        }
    }
}

/// Fewer may have met their owner by chance: with two members, one half each time.
const ENOUGH: u64 = 50;
const HOUR: Duration = Duration::from_secs(3600);

/// One connection behind a smaller link causes some twelve errors (measured): fewer than ten a minute in the mean of five
/// minutes are less than one hanging client a minute, or something else.
const STRAYS: u64 = 50;
const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// Those of the last hour, one a minute, and the one before.
const KEPT: usize = 62;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Time,
    strays: u64,
    owned: u64,
    /// Judged to be for somebody else.
    others: u64,
}

/// Remembers an hour, in at most [`KEPT`] samples.
#[derive(Debug, Default)]
pub struct Advisor {
    samples: VecDeque<Sample>,
}

impl Advisor {
    /// `totals`: `None` where no relay runs. `ipv6`: IPv6 prefixes are served. In the order of importance.
    pub fn advise(&mut self, now: Time, host: &Host, totals: Option<&Totals>, ipv6: bool) -> Vec<Advice> {
        let (owned, others) = totals.map_or((0, 0), owners);
        let sample = Sample { at: now, strays: strays(host), owned, others };
        let mut advice = Vec::new();
        match totals {
            Some(_) => advice.extend(self.idle(sample)),
            None => advice.extend(self.strays(sample)),
        }
        self.keep(sample);
        if totals.is_some() || !advice.is_empty() {
            advice.extend((host.mtu_probing == Some(0)).then_some(Advice::MtuProbing));
            advice
                .extend((ipv6 && host.label_reflect.is_some_and(|bits| bits & 1 == 0)).then_some(Advice::LabelReflect));
        }
        advice
    }

    fn keep(&mut self, sample: Sample) {
        if self.samples.back().is_none_or(|last| sample.at.since(last.at) >= MINUTE) {
            self.samples.push_back(sample);
            if self.samples.len() > KEPT {
                self.samples.pop_front();
            }
        }
    }

    /// The youngest that is at least so old.
    fn before(&self, now: Time, age: Duration) -> Option<Sample> {
        self.samples.iter().rev().find(|sample| now.since(sample.at) >= age).copied()
    }

    fn idle(&self, now: Sample) -> Option<Advice> {
        // In the first hour: since the start, when nothing was counted yet.
        let (owned, others) = self.before(now.at, HOUR).map_or((0, 0), |then| (then.owned, then.others));
        let owned = now.owned.saturating_sub(owned);
        (owned >= ENOUGH && now.others == others).then_some(Advice::Idle { owned })
    }

    fn strays(&self, now: Sample) -> Option<Advice> {
        let then = self.before(now.at, FIVE_MINUTES)?;
        let count = now.strays.saturating_sub(then.strays);
        let minutes = now.at.since(then.at).as_secs() / 60;
        (count >= STRAYS).then(|| Advice::Strays { a_minute: count / minutes.max(1) })
    }
}

/// At most as many as there were messages that can be a "packet too big": other useless messages are no sign.
fn strays(host: &Host) -> u64 {
    let least = |errors: Option<u64>, kind: Option<u64>| Some(errors?.min(kind?));
    let ipv4 = least(host.ipv4_errors, host.ipv4_unreachable);
    ipv4.unwrap_or(0) + least(host.ipv6_errors, host.ipv6_too_big).unwrap_or(0)
}

/// Errors that met their connection here, and those that were for others.
fn owners(totals: &Totals) -> (u64, u64) {
    let (mut owned, mut others) = (0_u64, 0_u64);
    for counts in totals.uplinks.iter().flat_map(|uplink| &uplink.verdicts) {
        for (verdict, count) in Verdict::ALL.into_iter().zip(counts) {
            match verdict {
                Verdict::Owned => owned += count,
                Verdict::Relayed | Verdict::Limited | Verdict::DryRun | Verdict::NoMember | Verdict::SendError => {
                    others += count;
                }
                // A duplicate may be one of either.
                Verdict::Duplicate
                | Verdict::NotAnnounced
                | Verdict::NotOurs
                | Verdict::Protocol
                | Verdict::Port
                | Verdict::Short
                | Verdict::Checksum
                | Verdict::Fragment
                | Verdict::Malformed
                | Verdict::Mtu
                | Verdict::Long
                | Verdict::Loop => {}
            }
        }
    }
    (owned, others)
}

#[cfg(test)]
mod tests {
    use super::super::totals::Uplink;
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_nanos((1_000 + seconds) * 1_000_000_000)
    }

    fn counted(counts: &[(Verdict, u64)]) -> Totals {
        let mut uplink = Uplink::default();
        for (verdict, count) in counts {
            let index = Verdict::ALL.iter().position(|known| known == verdict).unwrap();
            uplink.verdicts[0][index] = count / 2;
            uplink.verdicts[1][index] = count - count / 2;
        }
        Totals { uplinks: vec![Uplink::default(), uplink], ..Totals::default() }
    }

    fn host(errors: u64, unreachable: u64) -> Host {
        Host { ipv4_errors: Some(errors), ipv4_unreachable: Some(unreachable), ..Host::default() }
    }

    #[test]
    fn the_relay_idles_where_all_errors_met_their_owner() {
        let advise = |counts: &[(Verdict, u64)]| {
            Advisor::default().advise(at(0), &Host::default(), Some(&counted(counts)), true)
        };
        assert_eq!(advise(&[(Verdict::Owned, 49)]), []);
        assert_eq!(advise(&[(Verdict::Owned, 50), (Verdict::Duplicate, 9)]), [Advice::Idle { owned: 50 }]);
        for other in [Verdict::Relayed, Verdict::Limited, Verdict::DryRun, Verdict::NoMember, Verdict::SendError] {
            assert_eq!(advise(&[(Verdict::Owned, 50), (other, 1)]), [], "{other:?}");
        }
    }

    /// One error for somebody else says no more after an hour; and what was owned long ago says nothing either.
    #[test]
    fn an_hour_is_remembered() {
        let mut advisor = Advisor::default();
        let mut found = Vec::new();
        for minute in 0..200 {
            let owned = 100 + if minute < 90 { minute } else { 90 };
            let totals = counted(&[(Verdict::Owned, owned), (Verdict::Relayed, u64::from(minute >= 10))]);
            let advice = advisor.advise(at(minute * 60), &Host::default(), Some(&totals), false);
            found.push(advice.len());
        }
        let minutes = |wanted: usize| (0..200).filter(|minute| found[*minute] == wanted).collect::<Vec<_>>();
        // Relayed in minute 10; quiet from minute 90 on, so that minute 100 was the last with 50 in its hour.
        assert_eq!(minutes(1), (0..10).chain(70..=100).collect::<Vec<_>>());
        assert!(advisor.samples.len() <= KEPT);
    }

    #[test]
    fn strays_are_a_rate_over_minutes() {
        let mut advisor = Advisor::default();
        let mut advise = |seconds, host: Host| advisor.advise(at(seconds), &host, None, false);
        // What was there before we looked says nothing.
        assert_eq!(advise(0, host(9_000, 9_000)), []);
        assert_eq!(advise(60, host(9_100, 9_100)), [], "a minute is not yet a sign");
        assert_eq!(advise(299, host(9_100, 9_100)), []);
        assert_eq!(advise(300, host(9_100, 9_100)), [Advice::Strays { a_minute: 20 }]);
        assert_eq!(advise(420, host(9_100, 9_100)), [], "it ended");
    }

    /// Pings that nobody waits for are InErrors too, but no "destination unreachable".
    #[test]
    fn other_useless_messages_are_no_strays() {
        for (errors, kind, expected) in [(1_000, 49, None), (49, 1_000, None), (50, 50, Some(10))] {
            let mut advisor = Advisor::default();
            assert_eq!(advisor.advise(at(0), &host(0, 0), None, false), []);
            let advice = advisor.advise(at(300), &host(errors, kind), None, false);
            let expected: Vec<_> = expected.map(|a_minute| Advice::Strays { a_minute }).into_iter().collect();
            assert_eq!(advice, expected, "{errors} {kind}");
            let mut advisor = Advisor::default();
            let ipv6 = |errors, kind| Host { ipv6_errors: Some(errors), ipv6_too_big: Some(kind), ..Host::default() };
            advisor.advise(at(0), &ipv6(0, 0), None, false);
            assert_eq!(advisor.advise(at(300), &ipv6(errors, kind), None, false), expected);
        }
    }

    #[test]
    fn settings_are_said_where_errors_matter() {
        let set = |mtu_probing, label_reflect| Host { mtu_probing, label_reflect, ..Host::default() };
        let totals = Totals::default();
        for (host, ipv6, expected) in [
            (set(Some(0), Some(0)), true, vec![Advice::MtuProbing, Advice::LabelReflect]),
            (set(Some(0), Some(0)), false, vec![Advice::MtuProbing]),
            (set(Some(1), Some(1)), true, vec![]),
            (set(Some(2), Some(3)), true, vec![]),
            (set(Some(2), Some(2)), true, vec![Advice::LabelReflect]),
            (set(None, None), true, vec![]),
        ] {
            assert_eq!(Advisor::default().advise(at(0), &host, Some(&totals), ipv6), expected, "{host:?}");
            assert_eq!(Advisor::default().advise(at(0), &host, None, ipv6), [], "a host without a relay is left alone");
        }
    }
}
