//! One process group, alone in its session: started, awaited, and never left behind.
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
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::io::descriptors::{self, Identity};

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
    pub(super) fn start(mut command: Command, identity: Option<Identity>, seat: Seat) -> io::Result<Self> {
        descriptors::before_exec(&mut command, identity)?;
        let mut child = command.spawn()?;
        match descriptors::pidfd(&child) {
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

/// What can hang in the kernel for as long as a file server is dead, and cannot be ended: exec(2), a walk along a path.
/// It has a thread of the runtime's, of which there are [`THREADS`].
pub(in crate::io) struct Starts(Arc<Semaphore>);

/// Of one check or hook, on all its addresses: then a dead file server takes these threads and those of no other.
const STARTS: usize = 4;

/// None is there before it is needed. With so many, sixteen checks of dead file servers still leave the others alone.
pub(in crate::io) const THREADS: usize = 17 * STARTS;

impl Starts {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(STARTS)))
    }

    /// A run that is given up before its turn has started nothing.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let place = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let work = move || {
            let result = work();
            drop(place);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
    }
}

/// Counts, for each key, the processes that are not reaped yet. A process in an uninterruptible sleep outlives its
/// SIGKILL: without a limit a check of a dead file server would add one each interval.
pub(in crate::io) struct Seats<K>(Arc<Mutex<HashMap<K, u8>>>);

/// One run may overlap with the last moments of the one before it; three at a time means that killing does not help.
const MOST_SEATS: u8 = 3;

/// Given back when dropped.
pub(in crate::io) struct Seat(#[allow(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

struct Taken<K: Eq + Hash>(Arc<Mutex<HashMap<K, u8>>>, K);

impl<K: Eq + Hash + Copy + Send + Sync + 'static> Seats<K> {
    pub(in crate::io) fn new() -> Self {
        Self(Arc::default())
    }

    pub(in crate::io) fn take(&self, key: K) -> Option<Seat> {
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
