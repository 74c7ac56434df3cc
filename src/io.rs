//! Every system call lies here; nothing here decides.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the side of the boundary where they live")]

pub mod checks;
