//! One process group: started, awaited, and never left behind.
//!
//! ```text
//!   start -> Running -- leader exits -> group killed, leader reaped, status known
//!               |
//!            dropped (timeout, shutdown) -> group killed -> Dying, reaped in the background
//! ```
//!
//! The leader is reaped only after its group was killed: as long as it is there, dead or alive, its number cannot be
//! another process's. A pidfd says that it ended and leaves it to be reaped.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid, setgid, setgroups, setuid};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::runtime::Handle;

/// Whose rights a program runs with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    /// All groups of the user, looked up beforehand: between fork and exec nothing may allocate.
    pub(super) groups: Vec<Gid>,
}

/// The process runs, in a group of its own.
pub(super) struct Running {
    /// `None` once it was handed over.
    process: Option<Process>,
}

struct Process {
    child: Child,
    pidfd: AsyncFd<OwnedFd>,
    _seat: Seat,
}

impl Running {
    /// Blocks until the program is executed, which a dead file server can delay for ever: not for the check thread.
    pub(super) fn start(mut command: Command, identity: Option<&Identity>, seat: Seat) -> io::Result<Self> {
        command.process_group(0);
        if let Some(identity) = identity {
            become_user(&mut command, identity.clone());
        }
        let mut child = command.spawn()?;
        match watch(&child) {
            Ok(pidfd) => Ok(Self { process: Some(Process { child, pidfd, _seat: seat }) }),
            Err(error) => {
                kill(&child);
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Until the leader has ended. Cancel safe.
    pub(super) async fn ended(&self) {
        if let Some(process) = &self.process {
            // A pidfd stays readable; an error would be the runtime's end, where all is dropped anyway.
            let _ended = process.pidfd.ready(Interest::READABLE).await.map(|guard| guard.ready() == Ready::READABLE);
        }
    }

    /// After [`Self::ended`]: what the leader left behind is killed, and the leader reaped.
    pub(super) fn finish(mut self) -> io::Result<ExitStatus> {
        let Some(mut process) = self.process.take() else { return Err(io::Error::from_raw_os_error(libc::ECHILD)) };
        kill(&process.child);
        process.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(process) = self.process.take() else { return };
        kill(&process.child);
        let dying = Dying(process);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let _ended = dying.0.pidfd.ready(Interest::READABLE).await.is_ok();
                drop(dying);
            });
        }
    }
}

/// Killed, not yet reaped.
struct Dying(Process);

impl Drop for Dying {
    /// At once after a wait for the pidfd; at the runtime's end, where nobody waits any more, in a bounded number of tries.
    fn drop(&mut self) {
        for _ in 0..20 {
            match self.0.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }
}

fn kill(child: &Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // ESRCH: nobody is left in the group, which is what was wanted.
        let _gone = killpg(Pid::from_raw(pid), Signal::SIGKILL).is_err();
    }
}

/// Everything that this program opens is closed by exec(2) anyway. What it was started with may not be, and a check
/// that runs for as long as it likes is no place for a descriptor of whoever started the daemon.
#[allow(unsafe_code, reason = "neither std nor nix has close_range(2)")]
pub(super) fn keep_descriptors() {
    // SAFETY: with this flag nothing is closed; descriptors are only marked to be closed by an exec(2).
    let marked = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) };
    if marked != 0 {
        // Linux before 5.11: nothing is marked, and nothing of ours is at stake.
        tracing::debug!(error = %io::Error::last_os_error(), "inherited descriptors stay open in checks");
    }
}

#[allow(unsafe_code, reason = "neither std nor nix opens a pidfd on stable Rust")]
fn watch(child: &Child) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    let fd = match RawFd::try_from(answer) {
        // SAFETY: the kernel has just made this descriptor for us (close-on-exec), and nobody else knows it.
        Ok(fd) if fd >= 0 => unsafe { OwnedFd::from_raw_fd(fd) },
        Ok(_) | Err(_) => return Err(io::Error::last_os_error()),
    };
    // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped, which is after its registration.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

#[allow(unsafe_code, reason = "std sets uid and gid, but clears the supplementary groups on stable Rust")]
fn become_user(command: &mut Command, identity: Identity) {
    let switch = move || {
        setgroups(&identity.groups)?;
        setgid(identity.gid)?;
        setuid(identity.uid)?;
        Ok(())
    };
    // SAFETY: runs between fork and exec, where only async-signal-safe calls are allowed: these are three plain system
    // calls on data made before the fork; nothing allocates or locks, errors are numbers.
    unsafe { command.pre_exec(switch) };
}

/// Counts, for each key, the processes that are not reaped yet. A process in an uninterruptible sleep outlives its
/// SIGKILL: without a limit a check of a dead file server would add one each interval.
pub(super) struct Seats<K>(Arc<Mutex<HashMap<K, u8>>>);

/// One run may overlap with the last moments of the one before it; three at a time means that killing does not help.
const MOST_SEATS: u8 = 3;

/// Given back when dropped.
pub(super) struct Seat(#[allow(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

struct Taken<K: Eq + Hash>(Arc<Mutex<HashMap<K, u8>>>, K);

impl<K: Eq + Hash + Copy + Send + Sync + 'static> Seats<K> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    pub(super) fn take(&self, key: K) -> Option<Seat> {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = seats.entry(key).or_default();
        if *taken >= MOST_SEATS {
            return None;
        }
        *taken += 1;
        Some(Seat(Box::new(Taken(Arc::clone(&self.0), key))))
    }
}

impl<K: Eq + Hash> Drop for Taken<K> {
    fn drop(&mut self) {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = seats.get_mut(&self.1) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                seats.remove(&self.1);
            }
        }
    }
}
