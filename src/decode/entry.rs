//! What is found in a capture, as a value: text and JSON are two views of it (`cli::decode`).

use std::borrow::Cow;
use std::net::IpAddr;

use crate::bgp::wire::Notification;

/// One message, or one thing about the capture that a reader of messages must know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Of the frame (or MRT record) that completed it, counted from 1 as other tools do.
    pub frame: u64,
    /// Nanoseconds since 1970; `None` where the format has no time for it (pcapng's simple packets).
    pub at: Option<u64>,
    pub from: Option<Endpoint>,
    pub to: Option<Endpoint>,
    /// The TCP connection, counted from 1.
    pub connection: Option<u64>,
    /// 802.1Q tags, the outer one first.
    pub vlans: Vec<u16>,
    pub said: Said,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint {
    pub address: IpAddr,
    /// `None` where there are no ports: ICMP, MRT.
    pub port: Option<u16>,
}

/// A message's content: a headline, what JSON has, and what stands below the headline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    pub kind: Kind,
    /// Of the message in octets; 0 where it is none.
    pub length: usize,
    pub headline: String,
    pub fields: Vec<Field>,
    pub faults: Vec<Fault>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    Open,
    Update,
    Notification,
    Keepalive,
    RouteRefresh,
    /// Framed like a BGP message, of a type that RFC 4271 and 2918 do not have, or with a header that is wrong.
    UnknownBgp,
    Bfd,
    PacketTooBig,
    /// MRT: one prefix with its entries.
    Rib,
    /// MRT: the peers that later RIB entries refer to.
    Peers,
    /// MRT: a session changed its state.
    State,
    /// A TCP connection began, ended, or something of it is missing.
    Connection,
    /// About the capture.
    Note,
}

impl Kind {
    /// In text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Update => "UPDATE",
            Self::Notification => "NOTIFICATION",
            Self::Keepalive => "KEEPALIVE",
            Self::RouteRefresh => "ROUTE-REFRESH",
            Self::UnknownBgp => "BGP?",
            Self::Bfd => "BFD",
            Self::PacketTooBig => "TOO BIG",
            Self::Rib => "RIB",
            Self::Peers => "PEERS",
            Self::State => "STATE",
            Self::Connection => "TCP",
            Self::Note => "NOTE",
        }
    }

    /// `type` in JSON.
    pub const fn json(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Update => "update",
            Self::Notification => "notification",
            Self::Keepalive => "keepalive",
            Self::RouteRefresh => "route-refresh",
            Self::UnknownBgp => "unknown-bgp",
            Self::Bfd => "bfd",
            Self::PacketTooBig => "packet-too-big",
            Self::Rib => "rib",
            Self::Peers => "peers",
            Self::State => "state",
            Self::Connection => "connection",
            Self::Note => "note",
        }
    }

    /// Somebody sent (or recorded) it; else it is about the capture.
    pub const fn is_message(self) -> bool {
        match self {
            Self::Open
            | Self::Update
            | Self::Notification
            | Self::Keepalive
            | Self::RouteRefresh
            | Self::UnknownBgp
            | Self::Bfd
            | Self::PacketTooBig
            | Self::Rib
            | Self::Peers
            | Self::State => true,
            Self::Connection | Self::Note => false,
        }
    }
}

/// One member of the JSON object; in text a line of its own where it has a label.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    pub key: &'static str,
    pub label: Option<&'static str>,
    pub value: Value,
}

impl Field {
    /// Shown in text too.
    pub const fn line(key: &'static str, label: &'static str, value: Value) -> Self {
        Self { key, label: Some(label), value }
    }

    /// In JSON only: the headline has it.
    pub fn hidden(key: &'static str, value: impl Into<Value>) -> Self {
        Self { key, label: None, value: value.into() }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    Null,
    Flag(bool),
    Number(u64),
    Text(String),
    List(Vec<String>),
    /// Capabilities, path attributes: each a line of its own.
    Items(Vec<Item>),
    /// RIB entries: each with lines of its own.
    Rows(Vec<Row>),
}

impl Value {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(|item| item.to_string()).collect())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u8> for Value {
    fn from(number: u8) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One capability or path attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    pub code: u8,
    pub name: Cow<'static, str>,
    pub value: Value,
    /// What is unusual about it, as words behind the name: "partial".
    pub remark: &'static str,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub headline: String,
    pub fields: Vec<Field>,
}

/// Something malformed, and what the RFCs have a receiver do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Octets from the start of the message (of the packet's payload), where it is one place.
    pub at: Option<usize>,
    pub what: String,
    pub reply: Reply,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// RFC 4271 §6: the session ends with it.
    Reset(Notification),
    /// RFC 7606: the routes go; without RFC 7606 it would be this NOTIFICATION.
    Withdraw(Option<Notification>),
    /// RFC 7606: as if the attribute were not there.
    Discard,
    /// Nothing to the sender: BFD and ICMP drop, a capture only has it.
    Silence,
}
