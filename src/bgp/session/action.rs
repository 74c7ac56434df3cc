//! What a session does, one value each.

use std::net::SocketAddr;

use bytes::Bytes;

use super::Negotiated;
use crate::bgp::connection::ConnectionId;
use crate::bgp::wire::{Family, Malformed, Notification};

#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    Dial {
        connection: ConnectionId,
        to: SocketAddr,
    },
    Send {
        connection: ConnectionId,
        bytes: Bytes,
    },
    /// Write what was sent before, then close.
    Close {
        connection: ConnectionId,
    },
    Up(Negotiated),
    /// The end of a session that was up.
    Down {
        why: String,
    },
    /// The end of an attempt that never came up.
    Failed {
        why: String,
    },
    /// The peer wants all routes of this family again (RFC 2918, RFC 7313).
    Refresh {
        family: Family,
    },
    /// All octets up to those sent with this mark are with the kernel.
    Flushed {
        mark: u64,
    },
    Received(Received),
    Sent {
        kind: Kind,
        messages: u64,
    },
}

/// One received message, for counters and the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    Open,
    Update { announced: Count, withdrawn: Count, malformed: Vec<Malformed> },
    Notification(Notification),
    Keepalive,
    RouteRefresh,
}

impl Received {
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Open => Kind::Open,
            Self::Update { .. } => Kind::Update,
            Self::Notification(_) => Kind::Notification,
            Self::Keepalive => Kind::Keepalive,
            Self::RouteRefresh => Kind::RouteRefresh,
        }
    }
}

/// Prefixes in one UPDATE.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    pub ipv4: u64,
    pub ipv6: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    Open,
    Update,
    Notification,
    Keepalive,
    RouteRefresh,
}

impl Kind {
    pub(super) const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Open),
            2 => Some(Self::Update),
            3 => Some(Self::Notification),
            4 => Some(Self::Keepalive),
            5 => Some(Self::RouteRefresh),
            _ => None,
        }
    }

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::RouteRefresh => 5,
        }
    }
}

/// How many UPDATEs and how many other messages, which are ROUTE-REFRESHes, lie end to end in `bytes`.
pub(super) fn count_messages(mut bytes: &[u8]) -> (u64, u64) {
    let (mut updates, mut refreshes) = (0, 0);
    while let Some(&[high, low, kind]) = bytes.get(16..19) {
        *if kind == Kind::Update.code() { &mut updates } else { &mut refreshes } += 1;
        let length = usize::from(u16::from_be_bytes([high, low])).max(19);
        bytes = bytes.get(length..).unwrap_or_default();
    }
    (updates, refreshes)
}
