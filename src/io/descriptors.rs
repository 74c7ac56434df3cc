//! Descriptors and rights that pass between the kernel, us and the programs we start.
//!
//! With `sockopt` and `packet` the only place with `unsafe`: what is offered here is safe.

#![allow(
    unsafe_code,
    reason = "pidfd_open, close_range, ambient capabilities, priorities and pre_exec have no safe wrapper"
)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::sys::timerfd::TimerFd;
use nix::unistd::{Gid, Uid, chdir, setgid, setgroups, setsid, setuid};
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

/// What `command` changes about itself before it becomes another program: it starts as from a login shell, whatever this
/// process was started with, in a session and a process group of its own. std sets uid and gid too, but clears the
/// supplementary groups; and its execvp(3) runs what is no program with a shell, so the program is executed here.
///
/// The environment is what `command` was given, and nothing else.
pub(crate) fn before_exec(command: &mut Command, identity: Option<Identity>) -> io::Result<()> {
    let limits = BEFORE.get().copied();
    let image = Image::of(command)?;
    let change = move || {
        // With it goes the terminal that somebody may have started the daemon from.
        setsid()?;
        chdir(c"/")?;
        umask(Mode::S_IWGRP | Mode::S_IWOTH);
        ordinary();
        if let Some((soft, hard)) = limits {
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        }
        if let Some(identity) = &identity {
            setgroups(&identity.groups)?;
            setgid(identity.gid)?;
            setuid(identity.uid)?;
        }
        Err(image.execute())
    };
    // SAFETY: runs between fork and exec, where only async-signal-safe calls are allowed: these are plain system calls
    // on data made before the fork; nothing allocates or locks, errors are numbers.
    unsafe { command.pre_exec(change) };
    Ok(())
}

/// No signal is blocked or ignored; and a program that goes wild has no more of the processor than others, however
/// important the daemon is. Ambient capabilities outlive exec(2): a program of a daemon that is not root would have
/// CAP_NET_ADMIN too. All of that only gives up what is better than usual: it needs no rights.
fn ordinary() {
    // SAFETY: integers, constants, and pointers to values that live. What the kernel refuses stays as it was.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
        if libc::sched_getscheduler(0) != libc::SCHED_OTHER {
            let usual = libc::sched_param { sched_priority: 0 };
            libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const usual);
        }
        if libc::getpriority(libc::PRIO_PROCESS, 0) < 0 {
            libc::setpriority(libc::PRIO_PROCESS, 0, 0);
        }
        // prctl(2) takes longs and wants zeros where it takes nothing.
        let (clear, none): (libc::c_ulong, libc::c_ulong) = (libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0);
        libc::prctl(libc::PR_CAP_AMBIENT, clear, none, none, none);
    }
}

/// What execve(2) takes, made before the fork.
struct Image {
    /// Where the program may be.
    paths: Vec<CString>,
    arguments: Strings,
    environment: Strings,
}

impl Image {
    fn of(command: &Command) -> io::Result<Self> {
        let program = command.get_program().as_bytes();
        let envs: Vec<_> = command.get_envs().filter_map(|(name, value)| Some((name, value?))).collect();
        let search = envs.iter().find(|(name, _)| *name == "PATH").map_or(&b""[..], |(_, value)| value.as_bytes());
        let paths = if program.contains(&b'/') {
            vec![CString::new(program)?]
        } else {
            let folders = search.split(|byte| *byte == b':').filter(|folder| !folder.is_empty());
            folders.map(|folder| CString::new([folder, b"/", program].concat())).collect::<Result<_, _>>()?
        };
        let arguments = std::iter::once(program).chain(command.get_args().map(OsStrExt::as_bytes));
        let environment = envs.iter().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
        Ok(Self { paths, arguments: Strings::of(arguments)?, environment: Strings::of(environment)? })
    }

    /// Returns only where none of the paths could be executed: why, with more weight on what was there.
    fn execute(&self) -> io::Error {
        let mut why = Errno::ENOENT;
        for path in &self.paths {
            // SAFETY: a string that ends with zero, and two lists of such that end with null.
            unsafe { libc::execve(path.as_ptr(), self.arguments.list.as_ptr(), self.environment.list.as_ptr()) };
            let error = Errno::last();
            if error == Errno::EACCES {
                why = error;
            } else if !matches!(error, Errno::ENOENT | Errno::ENOTDIR) {
                return error.into();
            }
        }
        why.into()
    }
}

/// A list as C has it.
struct Strings {
    list: Vec<*const libc::c_char>,
    #[expect(dead_code, reason = "what the list points to")]
    owned: Vec<CString>,
}

// SAFETY: the pointers are to what the value itself owns and nobody changes.
unsafe impl Send for Strings {}
// SAFETY: as above.
unsafe impl Sync for Strings {}

impl Strings {
    fn of(strings: impl Iterator<Item: Into<Vec<u8>>>) -> io::Result<Self> {
        let owned = strings.map(CString::new).collect::<Result<Vec<_>, _>>()?;
        let list = owned.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Self { list, owned })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(script: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env_clear().env("PATH", "/usr/bin:/bin");
        before_exec(&mut command, None).unwrap();
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

    #[test]
    fn a_program_ignores_no_signal() {
        let usr1 = nix::sys::signal::Signal::SIGUSR1;
        // SAFETY: nobody in this process sends or awaits it.
        unsafe { nix::sys::signal::signal(usr1, nix::sys::signal::SigHandler::SigIgn) }.unwrap();
        let ignored = |line: &str| u64::from_str_radix(line.trim().strip_prefix("SigIgn:\t").unwrap(), 16).unwrap();
        let look = "grep SigIgn /proc/self/status";
        let inherited = Command::new("sh").args(["-c", look]).output().unwrap().stdout;
        let inherited = ignored(std::str::from_utf8(&inherited).unwrap());
        // 32 and 33 are the C library's own.
        let library = 0x1_8000_0000;
        assert_eq!((inherited & 0x200, ignored(&output(look)) & !library), (0x200, 0));
    }

    /// In a thread: these belong to one.
    #[test]
    fn a_program_has_no_more_of_the_processor_than_others() {
        if !Uid::effective().is_root() {
            eprintln!("SKIPPED: needs root to have more than others");
            return;
        }
        // Nice value and policy (0: the usual one).
        let look = "cut -d' ' -f19,41 /proc/self/stat";
        let thread = std::thread::spawn(move || {
            // SAFETY: integers.
            assert_eq!(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -7) }, 0);
            let nice = output(look);
            let first = libc::sched_param { sched_priority: 1 };
            // SAFETY: a pointer to a value that lives.
            let real_time = unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const first) } == 0;
            (nice, real_time.then(|| output(look)))
        });
        let (nice, real_time) = thread.join().unwrap();
        assert_eq!(nice, "0 0\n");
        match real_time {
            Some(real_time) => assert_eq!(real_time, "0 0\n"),
            None => eprintln!("SKIPPED: no real-time scheduling here"),
        }
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
            let inherited = Command::new("sh").args(["-c", look]).output().unwrap().stdout;
            (String::from_utf8(inherited).unwrap(), output(look))
        });
        let (inherited, ours) = ambient.join().unwrap();
        assert_eq!(inherited, "CapAmb:\t0000000000001000\n");
        assert_eq!(ours, "CapAmb:\t0000000000000000\n");
    }
}
