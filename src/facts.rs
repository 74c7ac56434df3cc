//! What is known about this host, and what is `Unknown`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::Protocol;

/// One observation, as `io` reports it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// RTM_NEWLINK / RTM_DELLINK (`name` is `None` when the interface is gone).
    Interface { index: u32, name: Option<String>, loopback: bool },
    /// RTM_NEWADDR / RTM_DELADDR
    Address { address: Address, present: bool },
    /// RTM_NEWROUTE / RTM_DELROUTE, table local, type local, and nothing else
    LocalRoute { route: LocalRoute, present: bool },
    /// A whole, uninterrupted read of all three.
    Snapshot(Snapshot),
    /// A read of interfaces, addresses or routes failed, was interrupted or came back empty: changes nothing by itself.
    ReadFailed { detail: String },
    /// The kernel would hand a packet for `watch` to some socket; `None`: it could not be asked.
    Listener { watch: Watch, listening: Option<bool> },
    /// `None`: could not be asked (a missing directory is an answer: false).
    DisableFile { service: usize, exists: Option<bool> },
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    pub interfaces: Vec<Interface>,
    pub addresses: Vec<Address>,
    pub routes: Vec<LocalRoute>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    pub loopback: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Address {
    pub interface: u32,
    pub address: IpAddr,
    /// Prefix length as configured on the interface.
    pub length: u8,
    /// False for tentative and failed (DAD) IPv6 addresses: they do not count as being there.
    pub usable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LocalRoute {
    pub interface: u32,
    pub prefix: IpNet,
}

/// One question to the kernel: who would get a packet for this address and port?
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Watch {
    pub protocol: Protocol,
    pub address: IpAddr,
    pub port: u16,
}
