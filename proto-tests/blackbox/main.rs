//! The daemon against a router that does what a test tells it, octet by octet: the right NOTIFICATION, the right pause,
//! a line that a tired engineer understands, and never a word to the other router.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "tests drive real processes, files and clocks; each test binary uses a part of the laboratory"
)]

#[path = "../lab/mod.rs"]
mod lab;

mod announce;
mod checks;
mod families;
mod header;
mod hooks;
mod kinds;
mod malformed;
mod open;
mod process;
mod reconnect;
mod refresh;
mod scene;
mod states;
