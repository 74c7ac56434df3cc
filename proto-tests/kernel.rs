//! What the real kernel says, in network namespaces of their own: needs root.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::wildcard_enum_match_arm,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these tests drive the kernel itself, and fail on whatever they did not expect"
)]

use std::future::Future;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;

#[path = "kernel/listeners.rs"]
mod listeners;
#[path = "kernel/netlink.rs"]
mod netlink;

/// One test at a time: the kernel reports closed sockets of all namespaces through one queue, and some tests flood it; and
/// the `ip` that one test starts holds, until it has executed, a copy of the listener that another has just closed.
static TURN: Mutex<()> = Mutex::new(());

/// Runs `test` on a thread, and a runtime, in a new network namespace with lo up; it is gone when the thread is.
fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED: needs root for a network namespace");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test()).await }).unwrap();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// `ip`(8) in the namespace of this thread.
fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
