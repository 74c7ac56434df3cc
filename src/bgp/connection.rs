//! A TCP connection as the core knows it: a number, and how it ended.

use serde::{Deserialize, Serialize};

/// One TCP connection of this process, never used twice: what a closed connection still says is known as stale by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Closed {
    /// connect(2) failed, in the kernel's words.
    Refused(String),
    /// The peer closed its side.
    ByPeer,
    /// read(2) or write(2) failed, in the kernel's words.
    Failed(String),
    /// We asked for it, and it is done.
    AsAsked,
}
