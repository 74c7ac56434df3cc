//! What was counted: plain numbers, copied to whoever shows them after each batch.

use std::net::IpAddr;

/// Everything since the start of the process.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Totals {
    /// Captured errors, for each uplink in the order of the configuration.
    pub uplinks: Vec<Uplink>,
    /// Datagrams from members, by [`Heard`](super::Heard) in the order of `Heard::ALL`.
    pub heard: [u64; 11],
    /// In the order of the list in use; those that left it are forgotten.
    pub members: Vec<Member>,
    /// MTUs of captured errors that were believed. Bounded: the first 32 values a family, then only `other`.
    pub mtus: Vec<(Family, u32, u64)>,
    pub other_mtus: [u64; 2],
}

/// Of the error: an IPv6 error may travel to a member over IPv4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    Ipv4,
    Ipv6,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Uplink {
    /// By family, then by [`Verdict`](super::Verdict) in the order of `Verdict::ALL`.
    pub verdicts: [[u64; 18]; 2],
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    pub address: IpAddr,
    /// Copies handed to the kernel.
    pub relayed: u64,
    /// Copies the kernel refused.
    pub send_errors: u64,
}
