//! What was counted: plain numbers, copied to whoever shows them after each batch.

use std::net::IpAddr;

use super::{Heard, Verdict};

/// Values of MTU a family that are counted one by one: real ones are a dozen, a flood makes up thousands.
const MTUS: usize = 32;

/// Everything since the start of the process.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Totals {
    /// Captured errors, for each uplink in the order of the configuration.
    pub uplinks: Vec<Uplink>,
    /// Datagrams from members, by [`Heard`] in the order of `Heard::ALL`.
    pub heard: [u64; Heard::ALL.len()],
    /// Of what was to be injected: how much of it although nobody knows whether its socket is here.
    pub unjudged: u64,
    /// In the order of the list in use; those that left it are forgotten.
    pub members: Vec<Member>,
    /// MTUs of captured errors that were believed. Bounded: the first 32 values a family, then only `other`.
    pub mtus: Vec<(Family, u32, u64)>,
    pub other_mtus: [u64; 2],
    /// Copies, frames and injections that the kernel refused, also of members that have left the list.
    pub send_errors: u64,
}

/// Of the error: an IPv6 error may travel to a member over IPv4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    Ipv4,
    Ipv6,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Uplink {
    /// By family, then by [`Verdict`] in the order of `Verdict::ALL`.
    pub verdicts: [[u64; Verdict::ALL.len()]; 2],
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    pub address: IpAddr,
    /// Copies handed to the kernel.
    pub relayed: u64,
    /// Copies the kernel refused.
    pub send_errors: u64,
}

impl Family {
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// Its place in an array by family.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl Uplink {
    pub fn count(&self, family: Family, verdict: Verdict) -> u64 {
        self.verdicts.get(family.index()).and_then(|verdicts| verdicts.get(verdict.index())).copied().unwrap_or(0)
    }
}

impl Totals {
    pub fn heard(&self, heard: Heard) -> u64 {
        self.heard.get(heard.index()).copied().unwrap_or(0)
    }

    pub(super) fn count(&mut self, uplink: usize, family: Family, verdict: Verdict) {
        let verdicts = self.uplinks.get_mut(uplink).and_then(|uplink| uplink.verdicts.get_mut(family.index()));
        if let Some(count) = verdicts.and_then(|verdicts| verdicts.get_mut(verdict.index())) {
            *count += 1;
        }
    }

    pub(super) fn count_heard(&mut self, heard: Heard) {
        if let Some(count) = self.heard.get_mut(heard.index()) {
            *count += 1;
        }
    }

    pub(super) fn believed(&mut self, family: Family, mtu: u32) {
        if let Some((_, _, count)) = self.mtus.iter_mut().find(|(f, value, _)| (*f, *value) == (family, mtu)) {
            *count += 1;
        } else if self.mtus.iter().filter(|(f, _, _)| *f == family).count() < MTUS {
            self.mtus.push((family, mtu, 1));
        } else if let Some(count) = self.other_mtus.get_mut(family.index()) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_the_place_in_all() {
        assert!(Verdict::ALL.iter().enumerate().all(|(place, verdict)| verdict.index() == place));
        assert!(Heard::ALL.iter().enumerate().all(|(place, heard)| heard.index() == place));
        let mut totals = Totals { uplinks: vec![Uplink::default(); 2], ..Totals::default() };
        totals.count(1, Family::Ipv6, Verdict::SendError);
        totals.count(2, Family::Ipv6, Verdict::SendError);
        totals.count_heard(Heard::SendError);
        assert_eq!(totals.uplinks[1].count(Family::Ipv6, Verdict::SendError), 1);
        assert_eq!((totals.uplinks[1].verdicts[1][17], totals.heard[10], totals.heard(Heard::SendError)), (1, 1, 1));
    }

    #[test]
    fn mtus_are_bounded_by_family() {
        let mut totals = Totals::default();
        (0..40).for_each(|mtu| totals.believed(Family::Ipv4, 1000 + mtu));
        totals.believed(Family::Ipv4, 1000);
        totals.believed(Family::Ipv4, 1039);
        totals.believed(Family::Ipv6, 1000);
        assert_eq!((totals.mtus.len(), totals.other_mtus), (33, [9, 0]));
        assert_eq!((totals.mtus[0], totals.mtus[32]), ((Family::Ipv4, 1000, 2), (Family::Ipv6, 1000, 1)));
    }
}
