//! Who is on the other end of the control socket, by the kernel's word.

use std::os::fd::{AsFd, AsRawFd};

use nix::unistd::{Gid, Uid};
use tokio::net::UnixStream;

/// Groups asked for: more than any account has in practice, and one page. A member of more is asked nothing further
/// and only reads.
const GROUPS: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rights {
    /// Root, our own user, the control group.
    Change,
    Read,
}

/// A peer that cannot be asked about may read: that is what everybody may.
pub(super) fn rights(stream: &UnixStream, control_group: Option<Gid>) -> Rights {
    let Ok(peer) = stream.peer_cred() else { return Rights::Read };
    let uid = Uid::from_raw(peer.uid());
    if uid.is_root() || uid == Uid::effective() {
        return Rights::Change;
    }
    let Some(group) = control_group else { return Rights::Read };
    let member = peer.gid() == group.as_raw() || groups(stream).contains(&group.as_raw());
    if member { Rights::Change } else { Rights::Read }
}

/// The supplementary groups the peer had when it connected (SO_PEERGROUPS); none where they cannot be read.
#[allow(unsafe_code, reason = "no crate wraps SO_PEERGROUPS")]
fn groups(stream: &UnixStream) -> Vec<libc::gid_t> {
    let mut groups: Vec<libc::gid_t> = vec![0; GROUPS];
    let Ok(mut bytes) = libc::socklen_t::try_from(size_of_val(groups.as_slice())) else {
        return Vec::new();
    };
    // SAFETY: the descriptor is open for the whole call, `groups` has `bytes` bytes that may be written, any bit pattern
    // is a gid_t, and the kernel writes no more than `bytes` (ERANGE otherwise).
    let result = unsafe {
        libc::getsockopt(
            stream.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if result != 0 {
        return Vec::new();
    }
    let count = usize::try_from(bytes).unwrap_or(0) / size_of::<libc::gid_t>();
    groups.truncate(count);
    groups
}
