//! What the kernel says about interfaces, addresses and local routes; and addresses on lo.
//!
//! ```text
//!   events  socket (this task, never waits for the kernel)  --> Fact::{Interface, Address, LocalRoute} at once
//!   read    socket (a thread for blocking work)             --> Fact::Snapshot, with later events laid over it
//!   manage  socket (a thread for blocking work)             --> Input::ManageFailed, or nothing
//! ```
//!
//! Subscribed before the first read, so nothing falls between. Two sockets also because the kernel gives the events that
//! our own request causes that request's sequence number.
//!
//! A read happens at start, every 30 seconds, and soon after: events were lost (ENOBUFS), the event socket broke, a
//! message could not be read, an interface was deleted (its IPv4 routes go without a word), a local route was replaced.

mod events;
mod manage;
pub(super) mod message;
mod overlay;
mod request;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};

use crate::engine::Input;
use crate::facts::{Fact, Snapshot};

use events::{End, Events, Look};
use overlay::Overlay;
use request::ReadError;

/// The whole truth, whatever was missed.
const PERIOD: Duration = Duration::from_secs(30);

/// After an interrupted read, lost events or an interface that went: by then the change is over.
const SOON: Duration = Duration::from_millis(100);

/// After an error, and at least between reads that events ask for: storms and broken sockets must not make us spin.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks at the event socket before a snapshot is given; where even then more waits, it is outdated already.
const LOOKS: usize = 64;

/// Read by metrics, written here.
#[derive(Debug, Default)]
pub struct Counters {
    /// Times that events were lost, or may have been, and everything was read again.
    pub resyncs: AtomicU64,
}

/// The handle that the loop keeps; the task ends with it.
pub struct Netlink {
    wanted: Arc<Wanted>,
    task: JoinHandle<()>,
}

/// The last wish for each managed address: bounded by their number, however often a wish changes.
#[derive(Default)]
struct Wanted {
    addresses: Mutex<BTreeMap<IpAddr, bool>>,
    wake: Notify,
}

impl Wanted {
    fn wish(&self, address: IpAddr, present: bool) {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).insert(address, present);
        self.wake.notify_one();
    }

    fn is_wished(&self) -> bool {
        !self.addresses.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn take(&self) -> BTreeMap<IpAddr, bool> {
        std::mem::take(&mut *self.addresses.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Netlink {
    /// Subscribes, then starts the first read.
    pub fn start(inputs: mpsc::Sender<Input>, counters: Arc<Counters>) -> io::Result<Self> {
        let wanted = Arc::new(Wanted::default());
        let watcher = Watcher {
            events: Events::subscribe()?,
            inputs,
            counters,
            wanted: Arc::clone(&wanted),
            due: Instant::now(),
            began: None,
            lost: false,
            overlay: None,
            reading: None,
            managing: None,
        };
        Ok(Self { wanted, task: tokio::spawn(watcher.run()) })
    }

    /// Until the task is no more, which should not be while this is there.
    pub async fn ended(&mut self) {
        let _why = (&mut self.task).await;
    }

    /// Puts a host address on lo, or takes it off. Done already is success; a failure is `Input::ManageFailed`.
    pub fn manage(&self, address: IpAddr, present: bool) {
        self.wanted.wish(address, present);
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Watcher {
    events: Events,
    inputs: mpsc::Sender<Input>,
    counters: Arc<Counters>,
    wanted: Arc<Wanted>,
    /// When the next read begins.
    due: Instant,
    /// When the last read began.
    began: Option<Instant>,
    /// Events were lost since then: what it returns cannot be corrected by them, so it is worth nothing.
    lost: bool,
    /// Events since then, while it is under way.
    overlay: Option<Overlay>,
    reading: Option<JoinHandle<Result<Snapshot, ReadError>>>,
    managing: Option<JoinHandle<Vec<(IpAddr, String)>>>,
}

/// The loop is gone: nobody listens.
struct Gone;

impl Watcher {
    async fn run(mut self) {
        while self.turn().await.is_ok() {}
    }

    /// One thing that happened. Whatever is waited for here is still there where another comes first.
    async fn turn(&mut self) -> Result<(), Gone> {
        tokio::select! {
            look = self.events.wait() => self.seen(look).await.map(|_| ()),
            read = join(&mut self.reading), if self.reading.is_some() => self.read(read).await,
            failed = join(&mut self.managing), if self.managing.is_some() => self.managed(failed).await,
            () = self.wanted.wake.notified(), if self.managing.is_none() => {
                let batch = self.wanted.take();
                self.managing = Some(spawn_blocking(|| manage::manage(batch)));
                Ok(())
            }
            // At the start what is managed is there when it is looked for, and nobody is told that it is not.
            () = sleep_until(self.due), if self.reading.is_none() && !self.manages() => {
                self.begin();
                Ok(())
            }
        }
    }

    fn manages(&self) -> bool {
        self.managing.is_some() || self.wanted.is_wished()
    }

    fn begin(&mut self) {
        let now = Instant::now();
        self.began = Some(now);
        self.due = now + PERIOD;
        self.lost = false;
        self.overlay = Some(Overlay::default());
        self.reading = Some(spawn_blocking(request::read));
    }

    /// Forwards what a look found at once; true where the socket is empty now.
    async fn seen(&mut self, look: Look) -> Result<bool, Gone> {
        let Look { facts, doubt, end } = look;
        if doubt {
            let earliest = self.began.map_or_else(Instant::now, |began| began + PAUSE);
            self.due = self.due.min(earliest.max(Instant::now() + SOON));
        }
        for fact in facts {
            if let Some(overlay) = &mut self.overlay {
                overlay.note(&fact);
                self.lost |= overlay.is_full();
            }
            self.say(Input::Fact(fact)).await?;
        }
        match end {
            End::Empty => return Ok(true),
            End::Batch => {}
            End::Overrun => self.resync(),
            End::Broken(error) => {
                self.failed(format!("events: {error}")).await?;
                self.reopen().await?;
                self.resync();
            }
        }
        Ok(false)
    }

    fn resync(&mut self) {
        self.counters.resyncs.fetch_add(1, Ordering::Relaxed);
        self.lost = true;
        self.due = self.due.min(Instant::now() + SOON);
    }

    async fn reopen(&mut self) -> Result<(), Gone> {
        loop {
            sleep(PAUSE).await;
            match Events::subscribe() {
                Ok(events) => {
                    self.events = events;
                    return Ok(());
                }
                Err(error) => self.failed(format!("events: {error}")).await?,
            }
        }
    }

    /// A read is over.
    async fn read(&mut self, result: Joined<Result<Snapshot, ReadError>>) -> Result<(), Gone> {
        // First what the kernel said until now, so that nothing older than the snapshot follows it.
        let mut empty = false;
        for _ in 0..LOOKS {
            let look = self.events.look();
            empty = self.seen(look).await?;
            if empty {
                break;
            }
        }
        let overlay = self.overlay.take().unwrap_or_default();
        let now = Instant::now();
        let (detail, again) = match result {
            Ok(Ok(mut snapshot)) if empty && !self.lost => {
                overlay.apply(&mut snapshot);
                return self.say(Input::Fact(Fact::Snapshot(snapshot))).await;
            }
            Ok(Ok(_)) => ("events were lost during it".to_owned(), now + SOON),
            Ok(Err(ReadError::Interrupted)) => (ReadError::Interrupted.to_string(), now + SOON),
            Ok(Err(error)) => (error.to_string(), now + PAUSE),
            Err(error) => (error.to_string(), now + PAUSE),
        };
        self.due = again;
        self.failed(detail).await
    }

    async fn managed(&mut self, result: Joined<Vec<(IpAddr, String)>>) -> Result<(), Gone> {
        for (address, detail) in result.unwrap_or_default() {
            self.say(Input::ManageFailed { address, detail }).await?;
        }
        Ok(())
    }

    async fn failed(&mut self, detail: String) -> Result<(), Gone> {
        self.say(Input::Fact(Fact::ReadFailed { detail })).await
    }

    /// Waits where the loop is behind: meanwhile events wait in the kernel, and what does not fit there is read again.
    async fn say(&mut self, input: Input) -> Result<(), Gone> {
        self.inputs.send(input).await.map_err(|_| Gone)
    }
}

type Joined<T> = Result<T, tokio::task::JoinError>;

/// The result of blocking work; the place is free again then.
async fn join<T>(place: &mut Option<JoinHandle<T>>) -> Joined<T> {
    let Some(work) = place else { return std::future::pending().await };
    let result = work.await;
    *place = None;
    result
}
