//! The relay's thread: packets in, the machine, packets out. BGP and it never wait for each other.
//!
//! ```text
//!   uplinks  --frames-->   examine, one question for all owners, decide  --sendmmsg--> members (or the same uplink, broadcast)
//!   members  --datagrams--> hear, one question for all owners and addresses, admit --> raw socket
//!   mailbox  --eventfd-->  announced, members, stop                       totals <-- copied once a wake
//! ```
//!
//! One poll(2) over all of them, without a timeout; for each wake at most one batch per socket, so that none starves.

mod alone;
mod ask;
mod filter;
mod frame;
mod host;
mod inject;
mod keys;
mod local;
mod member_list;
mod members;
mod owner;
mod report;
mod run;
mod started;
#[cfg(test)]
mod tests;
mod uplinks;

pub use alone::run;
pub use started::{Started, read_keys, start};

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use ipnet::IpNet;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::clock;
use crate::config::{self, Members, PmtudMode, PmtudRelay};
use crate::pmtud::{Key, Relay, Settings, Totals};

/// The running relay. Dropped: its threads end.
pub struct Relaying {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Between the thread and everybody else; each lock is held for a copy.
struct Shared {
    mail: Mutex<Mail>,
    /// There is mail.
    bell: EventFd,
    totals: Mutex<Totals>,
    mtus: Mutex<Vec<Option<u32>>>,
}

/// What the thread has not seen yet. Of each the newest counts, so it is bounded by the prefixes and members there are.
#[derive(Default)]
struct Mail {
    announced: BTreeMap<IpNet, bool>,
    members: Option<Vec<IpAddr>>,
    stop: bool,
}

impl Relaying {
    /// The error is one sentence: a capability that is missing, a port that is taken.
    pub fn start(config: &config::Pmtud, keys: Vec<Key>) -> Result<Self, String> {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|error| format!("[pmtud] cannot start: {error}"))?;
        let shared = Arc::new(Shared {
            mail: Mutex::default(),
            bell,
            totals: Mutex::default(),
            mtus: Mutex::new(vec![None; config.interfaces.len()]),
        });
        let sockets = run::Sockets::open(config)?;
        let settings = Settings {
            config: config.clone(),
            keys,
            // Random, of the operating system.
            seed: RandomState::new().hash_one(0),
            first_sequence: u64::try_from(clock::since_1970().as_nanos()).unwrap_or(u64::MAX),
        };
        let relay = Relay::new(clock::now(), settings);
        let for_thread = Arc::clone(&shared);
        let members = match &config.mode {
            PmtudMode::Relay(PmtudRelay { members: Members::List(list), .. }) => list.clone(),
            PmtudMode::Relay(_) | PmtudMode::Broadcast => Vec::new(),
        };
        let mut running = run::Running::new(relay, sockets, for_thread);
        running.begin(&members);
        let thread = std::thread::Builder::new()
            .name("pmtud".to_owned())
            .spawn(move || running.run())
            .map_err(|error| format!("[pmtud] cannot start a thread: {error}"))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A prefix is announced from now on, or not any more. Never waits.
    pub fn announced(&self, prefix: IpNet, announced: bool) {
        self.shared.post(|mail| {
            mail.announced.insert(prefix, announced);
        });
    }

    /// The whole list, as read. Never waits.
    pub fn set_members(&self, members: Vec<IpAddr>) {
        self.shared.post(|mail| mail.members = Some(members));
    }

    /// Nothing is relayed any more, although nobody asked for that.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    pub fn totals(&self) -> Totals {
        lock(&self.shared.totals).clone()
    }

    /// Of each configured interface; `None`: there is none of this name now.
    pub fn mtus(&self) -> Vec<Option<u32>> {
        lock(&self.shared.mtus).clone()
    }
}

impl Drop for Relaying {
    /// Waits for the batch in hand: afterwards the port is free.
    fn drop(&mut self) {
        self.shared.post(|mail| mail.stop = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn post(&self, write: impl FnOnce(&mut Mail)) {
        write(&mut lock(&self.mail));
        // It fails only where it rings for 2^64 - 1 times already.
        let _ = self.bell.write(1);
    }
}

/// What is inside is whole at any time: whoever panicked has at worst not written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
