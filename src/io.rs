//! Every system call lies here; nothing here decides.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the boundary that clippy.toml draws: clocks, sockets, files and tasks belong here"
)]

pub mod clock;
pub mod listeners;
pub mod netlink;
pub mod sockopt;
pub mod tcp;
