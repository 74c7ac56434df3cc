//! Descriptors and rights that pass between the kernel, us and the programs we start.
//!
//! With `sockopt` the only place with `unsafe`: what is offered here is safe.

#![allow(unsafe_code, reason = "pidfd_open, close_range, ambient capabilities and pre_exec have no safe wrapper")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::timerfd::TimerFd;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What owns one descriptor.
///
/// # Safety
/// It always gives the same one, and closes it only when dropped.
pub(crate) unsafe trait Owner: AsRawFd {}

// SAFETY: the descriptor is a private field, set when it is made and closed by its drop.
unsafe impl Owner for netlink_sys::Socket {}
// SAFETY: that is what the type is for.
unsafe impl Owner for OwnedFd {}

/// A timer of the kernel, for [`watched`].
pub(crate) struct Timer(pub(crate) TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

// SAFETY: the descriptor is a private field of TimerFd, set when it is made and closed by its drop.
unsafe impl Owner for Timer {}

/// A descriptor whose readiness the runtime watches.
pub(crate) fn watched<T: Owner>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: `Owner` promises that the descriptor stays open and the same until the drop; the owner is moved in here,
    // and what AsyncFd lends cannot close it.
    unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) }.map_err(io::Error::from)
}

/// Readable once the process has ended, and until it is reaped.
pub(crate) fn pidfd(child: &Child) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    match RawFd::try_from(answer) {
        // SAFETY: the kernel has just made this descriptor for us (close-on-exec), and nobody else knows it.
        Ok(fd) if fd >= 0 => watched(unsafe { OwnedFd::from_raw_fd(fd) }),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Everything that this program opens is closed by exec(2) anyway. What it was started with may not be, and a check
/// that runs for as long as it likes is no place for a descriptor of whoever started the daemon.
pub(crate) fn keep_descriptors() {
    // SAFETY: with this flag nothing is closed; descriptors are only marked to be closed by an exec(2).
    let marked = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) };
    if marked != 0 {
        // Linux before 5.11: nothing is marked, and nothing of ours is at stake.
        tracing::debug!(error = %io::Error::last_os_error(), "inherited descriptors stay open in checks");
    }
}

/// Ambient capabilities outlive exec(2): a check of a daemon that is not root would have CAP_NET_ADMIN too. What this
/// process itself may do stays. For this thread and those that it starts from now on.
pub(crate) fn keep_capabilities() {
    // prctl(2) takes longs and wants zeros where it takes nothing.
    let (clear, none): (libc::c_ulong, libc::c_ulong) = (libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0);
    // SAFETY: this one takes integers and touches no memory of ours; it can only take rights away.
    let cleared = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, none, none, none) };
    if cleared != 0 {
        // Linux before 4.3 has none.
        tracing::debug!(error = %io::Error::last_os_error(), "ambient capabilities cannot be cleared");
    }
}

/// The limits of open descriptors, soft and hard, before the soft one was raised.
static BEFORE: OnceLock<(rlim_t, rlim_t)> = OnceLock::new();

/// Raises the soft limit of open descriptors to the hard one: sessions, checks and readers share it. Programs that we
/// start find it as it was, because select(2) cannot count beyond 1024.
pub(crate) fn raise_limit() -> nix::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        // A second time there is nothing to raise.
        let _first = BEFORE.set((soft, hard)).is_ok();
    }
    Ok(())
}

/// Whose rights a program runs with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// All groups of the user, looked up beforehand: between fork and exec nothing may allocate.
    pub(crate) groups: Vec<Gid>,
}

/// What `command` changes about itself before it becomes another program. std sets uid and gid, but clears the
/// supplementary groups.
pub(crate) fn before_exec(command: &mut Command, identity: Option<Identity>) {
    let limits = BEFORE.get().copied();
    // Without a change std need not fork.
    if limits.is_none() && identity.is_none() {
        return;
    }
    let change = move || {
        if let Some((soft, hard)) = limits {
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        }
        if let Some(identity) = &identity {
            setgroups(&identity.groups)?;
            setgid(identity.gid)?;
            setuid(identity.uid)?;
        }
        Ok(())
    };
    // SAFETY: runs between fork and exec, where only async-signal-safe calls are allowed: these are plain system calls
    // on data made before the fork; nothing allocates or locks, errors are numbers.
    unsafe { command.pre_exec(change) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(script: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        before_exec(&mut command, None);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    #[test]
    fn a_program_finds_the_limit_that_we_were_started_with() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let soft = hard.min(512);
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        raise_limit().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
        assert_eq!(output("ulimit -Sn; ulimit -Hn"), format!("{soft}\n{hard}\n"));
    }

    const CAP_NET_ADMIN: u32 = 12;

    /// For this thread: an ambient capability must be inheritable too.
    fn raise_ambient() {
        // linux/capability.h: version 3, this thread; then effective, permitted, inheritable, low halves first.
        let mut header = [0x2008_0522_u32, 0];
        let mut sets = [[0_u32; 3]; 2];
        // SAFETY: both arrays live, are writable and as long as version 3 of these structures.
        assert_eq!(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) }, 0);
        sets[0][2] |= 1 << CAP_NET_ADMIN;
        // SAFETY: as above.
        assert_eq!(unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr()) }, 0);
        let (raise, capability) = (libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, libc::c_ulong::from(CAP_NET_ADMIN));
        // SAFETY: integers only.
        assert_eq!(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, capability, 0_u64, 0_u64) }, 0);
    }

    #[test]
    fn a_program_has_no_ambient_capabilities() {
        if !Uid::effective().is_root() {
            eprintln!("SKIPPED: needs root to have an ambient capability");
            return;
        }
        let look = "grep CapAmb /proc/self/status";
        let ambient = std::thread::spawn(move || {
            raise_ambient();
            let before = output(look);
            keep_capabilities();
            (before, output(look))
        });
        let (before, after) = ambient.join().unwrap();
        assert_eq!(before, "CapAmb:\t0000000000001000\n");
        assert_eq!(after, "CapAmb:\t0000000000000000\n");
    }
}
