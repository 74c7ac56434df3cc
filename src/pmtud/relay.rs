//! The machine.

use std::net::IpAddr;

use ipnet::IpNet;

use super::totals::Totals;
use super::{Flow, Owner};
use crate::Time;
use crate::config;

/// The secret of one key file.
pub struct Key {
    _secret: Vec<u8>,
}

impl Key {
    pub fn new(file: &[u8]) -> Result<Self, String> {
        if file.len() < 17 {
            return Err("too short".to_owned());
        }
        Ok(Self { _secret: file.to_vec() })
    }

    pub fn id(&self) -> u32 {
        self._secret.iter().fold(0, |id: u32, octet| id.wrapping_mul(31).wrapping_add((*octet).into()))
    }
}

/// What never changes while it runs.
pub struct Settings {
    pub config: config::Pmtud,
    /// Empty in broadcast mode, and where `insecure`.
    pub keys: Vec<Key>,
    /// For the hashes: nobody outside may know which errors share a bucket.
    pub seed: u64,
    /// Of the first datagram: nanoseconds of wall time, so that a restarted sender is no replay (it sends fewer than one a
    /// nanosecond).
    pub first_sequence: u64,
}

/// An error that passed everything that costs no question to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// To ask the kernel for.
    pub flow: Flow,
    /// Of the message in the octets that were examined: without what an Ethernet frame was padded with.
    pub length: usize,
}

/// A datagram of a member that passed everything that costs no question to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Injection<'a> {
    pub flow: Flow,
    /// The original IP packet, byte for byte.
    pub packet: &'a [u8],
}

pub struct Relay {
    totals: Totals,
}

impl Relay {
    pub fn new(_now: Time, _settings: Settings) -> Self {
        todo!()
    }

    /// The uplink with this index in `interfaces` has come, gone (`None`) or changed.
    pub fn set_uplink(&mut self, _uplink: usize, _mtu: Option<u32>) {
        todo!()
    }

    /// Where `prefixes` is not configured: one prefix is announced from now on, or not any more.
    pub fn set_announced(&mut self, _prefix: IpNet, _announced: bool) {
        todo!()
    }

    /// The whole list. Our own address, duplicates and other families are skipped.
    pub fn set_members(&mut self, _members: &[IpAddr]) {
        todo!()
    }

    /// Whom a datagram goes to, in the order of [`Totals::members`].
    pub fn members(&self) -> impl ExactSizeIterator<Item = IpAddr> + '_ {
        [].into_iter()
    }

    /// `packet`: from the IP header on, as captured from this uplink. `None`: rejected, and counted.
    pub fn examine(&mut self, _now: Time, _uplink: usize, _packet: &[u8]) -> Option<Candidate> {
        todo!()
    }

    /// After the kernel was asked. True: it is to be sent now, and [`Relay::sent`] called.
    pub fn decide(&mut self, _now: Time, _uplink: usize, _candidate: &Candidate, _owner: Owner) -> bool {
        todo!()
    }

    /// Appends the datagram for all members, with the next number.
    pub fn datagram(&mut self, _packet: &[u8], _out: &mut Vec<u8>) {
        todo!()
    }

    /// Counts one message that was to be sent: to how many members it went (broadcast: 1 or 0).
    pub fn sent(&mut self, _uplink: usize, _candidate: &Candidate, _copies: usize) {
        todo!()
    }

    /// One copy to the member with this index.
    pub fn copied(&mut self, _member: usize, _accepted: bool) {
        todo!()
    }

    /// A datagram from a member. `None`: rejected, and counted.
    pub fn hear<'a>(&mut self, _now: Time, _from: IpAddr, _datagram: &'a [u8]) -> Option<Injection<'a>> {
        todo!()
    }

    /// After the kernel was asked; `local`: the destination is an address of this host. True: inject it, then call
    /// [`Relay::injected`].
    pub fn admit(&mut self, _now: Time, _injection: &Injection<'_>, _owner: Owner, _local: bool) -> bool {
        todo!()
    }

    pub fn injected(&mut self, _accepted: bool) {
        todo!()
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}
