//! BGP messages as bytes and as values (RFC 4271 §4); imports nothing else of this crate.

use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use bytes::Bytes;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use decode::decode;
pub use encode::{keepalive, notification, open, route_refresh};
pub use frame::frame;
pub use notification::code;
pub use pack::{
    MAX_AS_PATH, MAX_COMMUNITIES, MAX_LARGE_COMMUNITIES, announce, end_of_rib, overhead, prefix_length, withdraw,
};
use reader::Reader;

mod attributes;
mod community;
mod decode;
mod encode;
mod frame;
mod nlri;
mod notification;
mod open;
mod pack;
pub(crate) mod reader;
mod update;
mod writer;

/// An AS number that may stand on the wire: never 0 (RFC 7607).
pub type Asn = NonZeroU32;

/// Stands for a 4-octet AS number where only two octets fit (RFC 6793 §9).
pub const AS_TRANS: u16 = 23456;

/// The largest message without RFC 8654, and always of OPEN and KEEPALIVE.
pub const MAX_MESSAGE: usize = 4096;

/// The largest message with RFC 8654.
pub const MAX_EXTENDED_MESSAGE: usize = 65535;

/// AFI/SAFI we speak: unicast of both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    pub const fn of(prefix: &IpNet) -> Self {
        match prefix {
            IpNet::V4(_) => Self::Ipv4,
            IpNet::V6(_) => Self::Ipv6,
        }
    }

    /// "ipv4" or "ipv6": the word in configuration, JSON and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// AFI and SAFI (RFC 4760 §6).
    pub const fn numbers(self) -> (u16, u8) {
        match self {
            Self::Ipv4 => (1, 1),
            Self::Ipv6 => (2, 1),
        }
    }

    /// `None`: one we do not speak.
    pub const fn from_numbers(afi: u16, safi: u8) -> Option<Self> {
        match (afi, safi) {
            (1, 1) => Some(Self::Ipv4),
            (2, 1) => Some(Self::Ipv6),
            _ => None,
        }
    }
}

/// Which of them are spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Families {
    pub ipv4: bool,
    pub ipv6: bool,
}

impl Families {
    pub const fn has(self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Origin {
    #[default]
    Igp,
    Egp,
    Incomplete,
}

/// RFC 1997, as one number: high 16 bits AS, low 16 bits value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Community(pub u32);

impl Community {
    /// RFC 8326
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xFFFF_0000);
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xFFFF)
    }
}

/// RFC 8092
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LargeCommunity {
    pub global: u32,
    pub local1: u32,
    pub local2: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

/// Link bandwidth extended community, RFC 10005. Kept as whole bytes per second so that it has an order and can never be
/// NaN, infinite or negative; goes out as an IEEE float.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LinkBandwidth {
    /// AS_TRANS goes out where it does not fit two octets.
    pub asn: u32,
    pub bytes_per_second: u64,
    pub transitive: bool,
}

/// What an UPDATE of ours says about its prefixes, next hop aside. Lists are sorted and without duplicates.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Attributes {
    pub origin: Origin,
    /// One AS_SEQUENCE; empty to an internal peer. At most 255.
    pub as_path: Vec<Asn>,
    pub med: Option<u32>,
    /// To internal peers only.
    pub local_preference: Option<u32>,
    pub communities: Vec<Community>,
    pub large_communities: Vec<LargeCommunity>,
    pub link_bandwidth: Option<LinkBandwidth>,
}

/// What both sides' OPENs agreed on, as far as bytes depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Codec {
    /// RFC 6793: AS numbers take four octets; else AS_TRANS and AS4_PATH.
    pub four_octet_asn: bool,
    /// RFC 8654: the peer may send up to 65535 octets. We send up to 4096 all the same.
    pub extended_message: bool,
    /// RFC 8950: IPv4 routes may have an IPv6 next hop.
    pub extended_next_hop: bool,
    /// The peer's AS is ours: LOCAL_PREF is expected and AS_PATH may be empty.
    pub internal: bool,
}

/// RFC 4271 §4.5: an error knows its reply, so this is also every decoding function's error.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notification {
    pub code: u8,
    pub subcode: u8,
    pub data: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Open {
    pub version: u8,
    /// The real one: from capability 65 where it is there (RFC 6793).
    pub asn: u32,
    pub hold_time: u16,
    pub id: Ipv4Addr,
    pub capabilities: Capabilities,
}

/// RFC 5492: the capabilities this speaker knows; what it does not know is counted by code and ignored.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// RFC 4760, code 1. A peer without any such capability speaks IPv4 unicast; the session decides that, not the decoder.
    pub families: Vec<Family>,
    /// True where a code 1 capability was there at all, of whatever family.
    pub multiprotocol: bool,
    /// RFC 2918, code 2
    pub route_refresh: bool,
    /// RFC 8950, code 5: IPv4 unicast with an IPv6 next hop
    pub extended_next_hop: bool,
    /// RFC 8654, code 6
    pub extended_message: bool,
    /// RFC 6793, code 65: the AS number it carries
    pub four_octet_asn: Option<u32>,
    /// RFC 7313, code 70
    pub enhanced_route_refresh: bool,
    /// Codes not listed above, ascending, each once.
    pub unknown: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    Open(Open),
    Update(Update),
    Notification(Notification),
    Keepalive,
    RouteRefresh(RouteRefresh),
}

/// RFC 2918, RFC 7313. `family: None`: one we do not speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteRefresh {
    pub family: Option<Family>,
    /// One of those below; others are ignored (RFC 7313 §5).
    pub subtype: u8,
}

impl RouteRefresh {
    pub const REQUEST: u8 = 0;
    /// BoRR
    pub const BEGIN: u8 = 1;
    /// EoRR
    pub const END: u8 = 2;
}

/// A received UPDATE as far as an announce-only speaker looks at it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Update {
    /// Prefixes of families we speak, in the order received; empty where a treat-as-withdraw moved them to `withdrawn`.
    pub announced: Vec<IpNet>,
    pub withdrawn: Vec<IpNet>,
    pub end_of_rib: Option<Family>,
    /// RFC 7606: what was wrong and did not reset the session.
    pub malformed: Vec<Malformed>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    pub disposition: Disposition,
    /// Attribute type code; 0 where it is not one attribute's fault.
    pub attribute: u8,
    pub why: &'static str,
}

/// RFC 7606 §2, weakest first; a session reset is an `Err(Notification)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Disposition {
    AttributeDiscard,
    TreatAsWithdraw,
}

/// One whole message without its header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub kind: u8,
    pub body: Bytes,
}
