//! Every system call lies here; nothing here decides.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the inside of the boundary that clippy.toml draws"
)]

pub mod files;
