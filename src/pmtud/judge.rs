//! Whether an error may be relayed, or injected: every rejection has its name, and the first that applies is it.
//!
//! ```text
//!   Malformed, Fragment (IP header) > Long > Loop > NotAnnounced      addresses and lengths: what turns a flood away
//!   > Checksum > Malformed, Fragment, Short (what it quotes)          it is read
//!   > NotOurs > Malformed (client) > Protocol > Port > Mtu            what it says
//! ```

use std::net::IpAddr;

use super::Verdict;
use super::members::Members;
use super::message::{self, Message, Outer};
use super::prefixes::{Prefix, Prefixes};
use super::totals::Family;
use crate::config;

/// RFC 1812 §4.3.2.3.
pub const MAX_IPV4: usize = 576;
/// RFC 4443 §2.4(c).
pub const MAX_IPV6: usize = 1280;

/// What an error is held against.
pub(super) struct Rules<'a> {
    pub(super) config: &'a config::Pmtud,
    pub(super) prefixes: &'a Prefixes,
    pub(super) members: &'a Members,
    pub(super) from: From,
}

pub(super) enum From {
    /// `None`: nobody knows its MTU now.
    Uplink { mtu: Option<u32> },
    /// It has been judged there, by what is announced there.
    Member,
}

/// One that may pass.
pub(super) struct Judged<'a> {
    pub(super) message: Message,
    /// Without padding.
    pub(super) packet: &'a [u8],
    /// The longest that it was sent to; `None`: from a member, about a prefix that is not announced here any more.
    pub(super) prefix: Option<Prefix>,
}

impl Rules<'_> {
    pub(super) fn judge<'p>(&self, packet: &'p [u8]) -> Result<Judged<'p>, Verdict> {
        let outer = message::outer(packet)?;
        let prefix = self.path(&outer)?;
        let message = outer.read()?;
        self.what_it_says(&message)?;
        Ok(Judged { message, packet: outer.packet, prefix })
    }

    /// Where it comes from and where it goes.
    fn path(&self, outer: &Outer<'_>) -> Result<Option<Prefix>, Verdict> {
        let longest = match outer.family() {
            Family::Ipv4 => MAX_IPV4,
            Family::Ipv6 => MAX_IPV6,
        };
        if outer.packet.len() > longest {
            return Err(Verdict::Long);
        }
        if is_martian(outer.source) {
            return Err(Verdict::Malformed);
        }
        if self.members.is_one_of_us(outer.source) || self.prefixes.find(outer.source).is_some() {
            return Err(Verdict::Loop);
        }
        let prefix = self.prefixes.find(outer.destination);
        // Connections outlive a prefix that was just withdrawn here; one that is configured is never withdrawn.
        let anything = matches!(self.from, From::Member) && self.config.prefixes.is_none();
        if prefix.is_none() && !anything || is_martian(outer.destination) {
            return Err(Verdict::NotAnnounced);
        }
        Ok(prefix)
    }

    fn what_it_says(&self, message: &Message) -> Result<(), Verdict> {
        let quoted = &message.quoted;
        if quoted.service != message.destination {
            return Err(Verdict::NotOurs);
        }
        // No client has such an address. What goes from one service address to another never left this fleet.
        if is_martian(quoted.client) {
            return Err(Verdict::Malformed);
        }
        if quoted.client == quoted.service || self.prefixes.find(quoted.client).is_some() {
            return Err(Verdict::NotOurs);
        }
        if !self.config.protocols.contains(&quoted.protocol) {
            return Err(Verdict::Protocol);
        }
        if !self.config.ports.is_empty() && self.config.ports.binary_search(&quoted.service_port).is_err() {
            return Err(Verdict::Port);
        }
        let min = match Family::of(message.destination) {
            Family::Ipv4 => self.config.min_mtu.ipv4,
            Family::Ipv6 => self.config.min_mtu.ipv6,
        };
        let uplink = match self.from {
            From::Uplink { mtu } => mtu.unwrap_or(u32::MAX),
            From::Member => u32::MAX,
        };
        // What fits through it is nothing to complain of.
        if message.mtu < u32::from(min) || message.mtu >= uplink.min(message.quoted_length) {
            return Err(Verdict::Mtu);
        }
        Ok(())
    }
}

/// No host on the far side has it. Link-local is none of them: a router without another address may complain from it.
const fn is_martian(address: IpAddr) -> bool {
    match address {
        // 0/8, 127/8, 224/4 and 240/4 with the broadcast address (RFC 1812 §5.3.7).
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            first == 0 || first == 127 || first >= 224
        }
        // IPv4 in IPv6 is never on the wire (RFC 4291 §2.5.5.2), and would be the IPv4 host to our tables.
        IpAddr::V6(address) => {
            address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.to_ipv4_mapped().is_some()
        }
    }
}
