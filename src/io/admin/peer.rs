//! Who is on the other end of the control socket, by the kernel's word.

use nix::unistd::{Gid, Uid};
use tokio::net::UnixStream;

use crate::io::sockopt::peer_groups;

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
    let member =
        peer.gid() == group.as_raw() || peer_groups(stream).is_ok_and(|groups| groups.contains(&group.as_raw()));
    if member { Rights::Change } else { Rights::Read }
}
