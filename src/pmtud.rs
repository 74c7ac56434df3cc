//! Path MTU discovery behind ECMP: a router hashes an ICMP error on (router, service address), so it reaches the wrong
//! server, and the client of the right one hangs. This relays such errors to every other member.
//!
//! ```text
//!   uplink --> message::read --> judge --> seen before? --> is the socket here? --> limits --> datagram --> members
//!              (what it says)    (may it)   (Duplicate)      (Owner, asked by io)   (Limited)
//!
//!   member --> datagram (key, replay) --> message::read --> judge --> is the socket here? --> limits --> raw socket
//! ```
//!
//! A machine of its own, run by its own thread: `io` hands in octets and what the kernel answered, the machine says what
//! to do and counts why. Time is an argument; memory is bounded by what is allocated at the start.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub mod advice;
mod datagram;
mod hash;
mod judge;
mod limits;
mod members;
pub mod message;
mod prefixes;
pub mod relay;
mod repeats;
mod replay;
mod table;
#[cfg(test)]
mod tests;
pub mod totals;

pub use datagram::{Key, KeyTooShort, MAX_DATAGRAM, MIN_KEY};
pub use judge::{MAX_IPV4, MAX_IPV6};
pub use members::MAX_MEMBERS;
pub use relay::{Candidate, Injection, Relay, Settings};
pub use totals::Totals;

/// The connection (or association) that the quoted packet belongs to, as this host would name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Flow {
    /// The quoted source: one of our service addresses.
    pub service: IpAddr,
    /// The quoted destination.
    pub client: IpAddr,
    /// IANA protocol number: 6 TCP, 17 UDP, 132 SCTP.
    pub protocol: u8,
    /// The quoted source port.
    pub service_port: u16,
    pub client_port: u16,
}

/// What the kernel says of a [`Flow`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A socket of exactly this flow is on this host: established or on its way there, never one that only listens.
    Here,
    /// No such socket.
    Elsewhere,
    /// The kernel cannot say (no module that answers for this protocol, an unconnected UDP socket): relay, and inject.
    Unknown,
}

/// What became of a captured error. The names are the values of the label `verdict`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Relayed,
    /// The socket is here: nothing to relay.
    Owned,
    /// The same flow and MTU less than `dedup` ago.
    Duplicate,
    /// Above one of the limits.
    Limited,
    /// The destination is in no prefix that is announced right now.
    NotAnnounced,
    /// The quoted source is not the destination of the error, or it is about a packet to one of our own service
    /// addresses: no packet of a connection of ours.
    NotOurs,
    /// The quoted protocol is not in `protocols`.
    Protocol,
    /// The quoted source port is not in `ports`.
    Port,
    /// Fewer than eight octets behind the quoted IP header (RFC 792, RFC 4443 §2.4(c)).
    Short,
    Checksum,
    /// The error itself, or what it quotes, is not a first fragment.
    Fragment,
    /// Lengths, versions, header chains or addresses that cannot be.
    Malformed,
    /// An MTU that no router can mean: below `min-mtu`, not below the interface's, not below what it quotes.
    Mtu,
    /// Longer than an error may be: 576 octets (RFC 1812 §4.3.2.3) or 1280 (RFC 4443 §2.4(c)).
    Long,
    /// Comes from a member, from ourselves or from a service address: it went round.
    Loop,
    /// Would have been relayed.
    DryRun,
    /// There is no other member.
    NoMember,
    /// Every send failed.
    SendError,
}

impl Verdict {
    pub const ALL: [Self; 18] = [
        Self::Relayed,
        Self::Owned,
        Self::Duplicate,
        Self::Limited,
        Self::NotAnnounced,
        Self::NotOurs,
        Self::Protocol,
        Self::Port,
        Self::Short,
        Self::Checksum,
        Self::Fragment,
        Self::Malformed,
        Self::Mtu,
        Self::Long,
        Self::Loop,
        Self::DryRun,
        Self::NoMember,
        Self::SendError,
    ];

    /// Its place in `ALL`.
    pub const fn index(self) -> usize {
        self as usize
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Relayed => "relayed",
            Self::Owned => "owned",
            Self::Duplicate => "duplicate",
            Self::Limited => "limited",
            Self::NotAnnounced => "not-announced",
            Self::NotOurs => "not-ours",
            Self::Protocol => "protocol",
            Self::Port => "port",
            Self::Short => "short",
            Self::Checksum => "checksum",
            Self::Fragment => "fragment",
            Self::Malformed => "malformed",
            Self::Mtu => "mtu",
            Self::Long => "long",
            Self::Loop => "loop",
            Self::DryRun => "dry-run",
            Self::NoMember => "no-member",
            Self::SendError => "send-error",
        }
    }
}

/// What became of a datagram from a member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Heard {
    Injected,
    /// The socket is not here.
    NotOwned,
    /// No key of ours signed it.
    BadKey,
    /// Its number was seen before, or is too old to tell.
    Replay,
    Malformed,
    Limited,
    /// Its sender is not in the list of members.
    NotMember,
    /// The error inside would not be relayed by us either: see [`Verdict`].
    Refused,
    /// The destination is no address of this host: injected, it would leave again.
    NotLocal,
    DryRun,
    SendError,
}

impl Heard {
    pub const ALL: [Self; 11] = [
        Self::Injected,
        Self::NotOwned,
        Self::BadKey,
        Self::Replay,
        Self::Malformed,
        Self::Limited,
        Self::NotMember,
        Self::Refused,
        Self::NotLocal,
        Self::DryRun,
        Self::SendError,
    ];

    /// Its place in `ALL`.
    pub const fn index(self) -> usize {
        self as usize
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::NotOwned => "not-owned",
            Self::BadKey => "bad-key",
            Self::Replay => "replay",
            Self::Malformed => "malformed",
            Self::Limited => "limited",
            Self::NotMember => "not-member",
            Self::Refused => "refused",
            Self::NotLocal => "not-local",
            Self::DryRun => "dry-run",
            Self::SendError => "send-error",
        }
    }
}
