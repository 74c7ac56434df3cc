//! Who else there is, where that can change: a file that is looked at each second, a name that is resolved again.
//!
//! A thread of its own does it, because a file server or a resolver may hang; the relay gets whole lists. A list that
//! cannot be had leaves the last one in force, and is said once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::{MEMBERS_AT_MOST, Members};

/// Nobody waits for a list of servers more closely; one stat(2) costs nothing.
const LOOK: Duration = Duration::from_secs(1);

/// Resolvers cache for longer than that.
const RESOLVE: Duration = Duration::from_secs(30);

/// An address, a comment and a newline for each of the most members is a tenth of that.
const LARGEST: u64 = 1024 * 1024;

/// What is wrong with the list; shared with whoever shows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Said in the log when it changes.
    fn set(&self, trouble: Option<String>) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != trouble {
            match &trouble {
                Some(why) => tracing::warn!("members of pmtud: {why}"),
                None => tracing::info!("members of pmtud: the list is as it should be again"),
            }
        }
        *last = trouble;
    }
}

/// The thread ends when this is dropped, or as soon as what it waits for has come.
#[derive(Debug)]
pub(super) struct Watching {
    pub(super) trouble: Trouble,
    _stop: SyncSender<()>,
}

/// Gives each new list to `give`, which says whether anybody still wants it. A fixed list is given at once.
pub(super) fn watch(members: &Members, give: impl Fn(Vec<IpAddr>) -> bool + Send + 'static) -> io::Result<Watching> {
    let trouble = Trouble::default();
    let (stop, stopped) = sync_channel(0);
    let mut source: Box<dyn Source> = match members {
        Members::List(list) => {
            give(list.clone());
            return Ok(Watching { trouble, _stop: stop });
        }
        Members::File(path) => Box::new(FileSource { path: path.clone(), seen: None }),
        Members::Dns(name) => Box::new(NameSource { name: name.clone() }),
    };
    let told = trouble.clone();
    std::thread::Builder::new().name("members".to_owned()).spawn(move || {
        let mut last = None;
        loop {
            if !step(source.as_mut(), &mut last, &told, &give) {
                return;
            }
            if is_stopped_within(&stopped, source.pause()) {
                return;
            }
        }
    })?;
    Ok(Watching { trouble, _stop: stop })
}

fn is_stopped_within(stopped: &Receiver<()>, span: Duration) -> bool {
    match stopped.recv_timeout(span) {
        Err(RecvTimeoutError::Timeout) => false,
        Ok(()) | Err(RecvTimeoutError::Disconnected) => true,
    }
}

/// Where a list comes from.
trait Source: Send {
    /// `None`: nothing has changed since it was asked last.
    fn list(&mut self) -> Option<Result<Read, String>>;
    fn pause(&self) -> Duration;
}

/// A list, and what is to be said of it all the same.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Read {
    members: Vec<IpAddr>,
    warning: Option<String>,
}

/// One look. False: nobody wants lists any more.
fn step(
    source: &mut dyn Source,
    last: &mut Option<Vec<IpAddr>>,
    trouble: &Trouble,
    give: &impl Fn(Vec<IpAddr>) -> bool,
) -> bool {
    match source.list() {
        None => true,
        Some(Err(why)) => {
            let kept = if last.is_some() { "; the last list goes on" } else { "; there are none until it is read" };
            trouble.set(Some(why + kept));
            true
        }
        Some(Ok(read)) => {
            trouble.set(read.warning);
            if last.as_ref() == Some(&read.members) {
                return true;
            }
            tracing::info!("members of pmtud: {} addresses", read.members.len());
            *last = Some(read.members.clone());
            give(read.members)
        }
    }
}

struct FileSource {
    path: std::path::PathBuf,
    /// As it was when it was read last; the error where it could not be.
    seen: Option<Result<Seen, String>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Of the inode itself: an editor can put the time back, but not this one.
    changed: (i64, i64),
}

impl Source for FileSource {
    fn list(&mut self) -> Option<Result<Read, String>> {
        let seen = look(&self.path);
        if self.seen.as_ref() == Some(&seen) {
            return None;
        }
        let read = seen.clone().and_then(|_| read_file(&self.path));
        // What changed while it was read is read again: it differs from what was seen before.
        self.seen = Some(seen);
        Some(read)
    }

    fn pause(&self) -> Duration {
        LOOK
    }
}

fn look(path: &Path) -> Result<Seen, String> {
    let wrong = |why: String| format!("cannot read {}: {why}", path.display());
    let facts = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if !facts.is_file() {
        return Err(wrong("not a file".to_owned()));
    }
    if facts.len() > LARGEST {
        return Err(wrong(format!("larger than {} KiB", LARGEST / 1024)));
    }
    Ok(Seen {
        device: facts.dev(),
        inode: facts.ino(),
        size: facts.len(),
        modified: (facts.mtime(), facts.mtime_nsec()),
        changed: (facts.ctime(), facts.ctime_nsec()),
    })
}

fn read_file(path: &Path) -> Result<Read, String> {
    let wrong = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut bytes = Vec::new();
    // It may have grown since it was looked at.
    File::open(path).map_err(wrong)?.take(LARGEST).read_to_end(&mut bytes).map_err(wrong)?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{}: not UTF-8", path.display()))?;
    parse(&text).map_err(|why| format!("{}: {why}", path.display()))
}

/// One address a line; `#` begins a comment. One bad line spoils the whole: half a list would be a silent one.
fn parse(text: &str) -> Result<Read, String> {
    let mut members = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let word = line.split('#').next().unwrap_or_default().trim();
        if word.is_empty() {
            continue;
        }
        let address = word.parse::<IpAddr>().ok().filter(|address| usable(*address));
        members.push(address.ok_or_else(|| format!("line {}: {word:?} is not the address of a host", index + 1))?);
    }
    bounded(members)
}

/// As in a list of the configuration.
fn usable(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        // Says nothing without an interface.
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !special && !address.is_unspecified() && !address.is_multicast()
}

/// In the order given, each once.
fn bounded(all: Vec<IpAddr>) -> Result<Read, String> {
    let mut seen = BTreeSet::new();
    let mut members: Vec<IpAddr> = all.into_iter().filter(|address| seen.insert(*address)).collect();
    if members.is_empty() {
        return Err("there is no address in it".to_owned());
    }
    let count = members.len();
    members.truncate(MEMBERS_AT_MOST);
    let warning =
        (count > MEMBERS_AT_MOST).then(|| format!("{count} addresses; only the first {MEMBERS_AT_MOST} are members"));
    Ok(Read { members, warning })
}

struct NameSource {
    name: String,
}

impl Source for NameSource {
    fn list(&mut self) -> Option<Result<Read, String>> {
        let name = &self.name;
        // getaddrinfo(3): hosts(5), the resolver, whatever the host is configured for.
        let found = (name.as_str(), 0).to_socket_addrs().map_err(|error| format!("cannot resolve {name}: {error}"));
        Some(found.and_then(|found| {
            // Sorted: resolvers turn their answers round, and that is no change.
            let all: BTreeSet<IpAddr> = found.map(|address| address.ip()).filter(|address| usable(*address)).collect();
            bounded(all.into_iter().collect()).map_err(|why| format!("{name}: {why}"))
        }))
    }

    fn pause(&self) -> Duration {
        RESOLVE
    }
}

#[cfg(test)]
mod tests;
