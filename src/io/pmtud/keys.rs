//! Key files: read once, at the start, and refused where others could have read them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::Uid;

use crate::config::{Pmtud, PmtudMode};
use crate::pmtud::Key;

/// `openssl rand -hex 32` makes 65 octets; who names more than this meant another file.
const LARGEST: u64 = 4096;

/// Group and others.
const READABLE: u32 = 0o077;

/// In the order of the configuration; the error is one sentence with the key and the file.
pub(super) fn read(config: &Pmtud) -> Result<Vec<Key>, String> {
    let paths: &[PathBuf] = match &config.mode {
        PmtudMode::Relay(relay) => &relay.keys,
        PmtudMode::Broadcast => &[],
    };
    let own = Uid::effective().as_raw();
    let mut keys: Vec<(Key, (u64, u64))> = Vec::new();
    for path in paths {
        let (identity, text) = one(path, own)?;
        let key = Key::new(&text).map_err(|error| format!("pmtud.keys: {}: {error}", path.display()))?;
        // Two names of one key look like a rotation that was never done.
        let twin = keys.iter().position(|(known, file)| *file == identity || known.id() == key.id());
        if let Some(first) = twin.and_then(|index| paths.get(index)) {
            return Err(format!("pmtud.keys: {} and {} hold the same key", first.display(), path.display()));
        }
        keys.push((key, identity));
    }
    Ok(keys.into_iter().map(|(key, _)| key).collect())
}

/// Which file it is (device and inode), and what is in it.
fn one(path: &Path, own: u32) -> Result<((u64, u64), Vec<u8>), String> {
    let shown = path.display();
    let unreadable = |error: io::Error| format!("pmtud.keys: cannot read {shown}: {error}");
    // O_NONBLOCK: a pipe that nobody writes to must not keep the daemon from saying so.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let file = file.map_err(unreadable)?;
    // Of the file that is open, not of what the name may mean a moment later.
    let facts = file.metadata().map_err(unreadable)?;
    if !facts.is_file() {
        return Err(format!("pmtud.keys: {shown} is not a regular file"));
    }
    if facts.uid() != 0 && facts.uid() != own {
        let owner = facts.uid();
        return Err(format!("{shown} (pmtud.keys) belongs to user {owner}: chown it to root or to the daemon's user"));
    }
    if facts.mode() & READABLE != 0 {
        return Err(format!("{shown} (pmtud.keys) is readable by others: chmod 600 it"));
    }
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text).map_err(unreadable)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > LARGEST) {
        return Err(format!("pmtud.keys: {shown} is larger than {LARGEST} octets"));
    }
    Ok(((facts.dev(), facts.ino()), text))
}

#[cfg(test)]
mod tests;
