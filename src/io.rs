//! Every system call lies here; nothing here decides.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the boundary: clocks, sockets, files and processes are used here and nowhere else"
)]

pub mod admin;
pub mod client;
pub mod clock;
pub mod listeners;
pub mod log;
pub mod netlink;
pub mod notify;
pub mod sockopt;
pub mod tcp;
pub mod terminal;

/// `anycaster run`: the daemon, in the foreground, until it is told to stop. The result is the exit code.
pub fn run(config_path: &std::path::Path, _strict: bool) -> u8 {
    terminal::complain(&format!("{}: this build has no engine", config_path.display()));
    2
}
