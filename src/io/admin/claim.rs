//! The control socket's path, claimed by one daemon at a time.
//!
//! A lock beside the socket decides who has it: the kernel gives it back however its holder dies, so a race of two
//! starts has one winner and a stale socket is known as stale. The lock file stays: unlinking it would let a third
//! daemon lock a new file while a second holds the old one.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::BindError;

#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    listener: UnixListener,
    _lock: Flock<File>,
}

impl Claim {
    pub(super) fn new(path: &Path) -> Result<Self, BindError> {
        let failed = |error| BindError::Control { path: path.to_owned(), error };
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
        }
        let lock = lock(path).map_err(failed)?.ok_or_else(|| BindError::Taken(path.to_owned()))?;
        match path.symlink_metadata() {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(BindError::NotASocket(path.to_owned()));
            }
            // Not by a daemon that takes the lock, then; still it would be deaf without its socket.
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(BindError::Taken(path.to_owned()));
            }
            Ok(_) => std::fs::remove_file(path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let claim = Self { path: path.to_owned(), listener, _lock: lock };
        // Everybody may ask: what a client may do is decided by its credentials, not by the file's mode.
        std::fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(failed)?;
        claim.listener.set_nonblocking(true).map_err(failed)?;
        Ok(claim)
    }

    /// A second handle on the listening socket, for the runtime.
    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The lock is still held, so this is our own socket. A failure leaves a stale one, which the next start replaces.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// `None`: somebody else has it.
fn lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    // 0600: who can open a file can lock it, and would keep every daemon from starting.
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(name)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}
