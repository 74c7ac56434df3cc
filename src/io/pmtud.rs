//! The relay's thread: packets in, the machine, packets out. BGP and it never wait for each other.

mod alone;
mod host;
mod keys;
mod member_list;
mod started;

pub use alone::run;
pub use started::{Started, read_keys, start};

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config;
use crate::pmtud::{Key, Totals};

/// The running relay. Dropped: its threads end.
pub struct Relaying {}

impl Relaying {
    /// The error is one sentence: a capability that is missing, a port that is taken.
    pub fn start(_config: &config::Pmtud, _keys: Vec<Key>) -> Result<Self, String> {
        todo!()
    }

    /// A prefix is announced from now on, or not any more. Never waits.
    pub fn announced(&self, _prefix: IpNet, _announced: bool) {
        todo!()
    }

    /// The whole list, as read. Never waits.
    pub fn set_members(&self, _members: Vec<IpAddr>) {
        todo!()
    }

    pub fn totals(&self) -> Totals {
        todo!()
    }

    /// Of each configured interface; `None`: there is none of this name now.
    pub fn mtus(&self) -> Vec<Option<u32>> {
        todo!()
    }
}
