//! The relay of ICMP errors with real sockets: namespaces, links between them, frames written octet by octet. Needs root.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "tests drive real sockets, files and clocks; each test binary uses a part of the laboratory"
)]

#[path = "../lab/mod.rs"]
mod lab;

mod bad;
mod crafted;
mod face;
mod fleet;
mod hostile;
mod rig;
mod sockets;
mod storm;
mod wires;
