//! Every system call lies here; nothing here decides.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the boundary: clocks, sockets, files and processes are used here and nowhere else"
)]

pub mod admin;
pub mod checks;
pub mod client;
pub mod clock;
pub mod files;
pub mod listeners;
pub mod log;
pub mod netlink;
pub mod notify;
pub mod sockopt;
pub mod tcp;
pub mod terminal;
