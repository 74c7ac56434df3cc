//! Logs: text on standard error, JSON lines there, or the journal.
//!
//! Whoever logs only puts a record into a queue; one thread of its own turns records into bytes and writes them. So a
//! full pipe behind standard error, or a journal that hangs, delays nothing: records are dropped, counted, and the
//! count is the next line. (`tracing-journald` writes to a blocking socket in the logging thread, hence not used.)

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogLevel};
use crate::engine::{Event, EventKind};
use crate::io::{clock, terminal};

mod record;
mod sink;

use record::{EVENT, Record, Recorder};
use sink::Sink;

/// Records that wait to be written. A change of every prefix of a host with a thousand of them fits; at some 300 bytes
/// each that is 300 KiB, and only while nobody reads.
const QUEUE: usize = 1024;

/// At exit: what a pipe that nobody reads may cost.
const FLUSH: Duration = Duration::from_secs(1);

/// The last records are written when this is dropped.
#[derive(Debug)]
pub struct Guard {
    queue: Queue,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.queue.flush();
    }
}

/// From now on `tracing` (and what dependencies tell `log`) goes where the configuration says. Once per process.
pub fn start(log: &Log) -> io::Result<Guard> {
    let (sink, regret) = Sink::open(log.format, terminal::error_colour());
    let (queue, receiver) = Queue::new(QUEUE);
    let dropped = Arc::clone(&queue.dropped);
    let thread = std::thread::Builder::new().name("log".to_owned());
    thread.spawn(move || write_all(&receiver, &dropped, &sink))?;
    let level = level_filter(log.level);
    let targets = Targets::new()
        // Dependencies tell more than an operator wants to know, some of it once per packet.
        .with_default(level.min(LevelFilter::WARN))
        .with_target("anycaster", level);
    tracing_subscriber::registry()
        .with(targets)
        .with(Recorder { queue: queue.clone() })
        .try_init()
        .map_err(io::Error::other)?;
    if let Some(regret) = regret {
        tracing::warn!("{regret}");
    }
    Ok(Guard { queue })
}

/// A transition, with the words that `status`, `/metrics` and `explain` use for it.
pub fn event(event: &Event) {
    let kind = event.kind.name();
    // The level and the target are part of a call site: one for each level.
    macro_rules! say {
        ($level:expr) => {
            tracing::event!(
                target: EVENT,
                $level,
                kind,
                service = event.service.as_deref(),
                prefix = event.prefix.as_deref(),
                neighbor = event.neighbor.as_deref(),
                from = event.from.as_str(),
                to = event.to.as_str(),
                reason = event.reason.as_str(),
                detail = event.detail.as_str(),
                "{kind} {} -> {}",
                event.from,
                event.to,
            )
        };
    }
    if is_trouble(event) { say!(Level::WARN) } else { say!(Level::INFO) }
}

/// Something an operator did not ask for.
fn is_trouble(event: &Event) -> bool {
    let is = |words: &[&str]| words.contains(&event.reason.as_str());
    let asked_for = is(&["drained", "disabled", "stopping"]);
    // What was not announced before is still finding its way there.
    let starting = event.from == "held" && is(&["unknown", "unproven", "start-hold"]);
    match event.kind {
        EventKind::Netlink => true,
        EventKind::Check => event.to == "down",
        EventKind::Hook => event.to == "failed",
        EventKind::Session => event.to == "down" && !asked_for,
        EventKind::Prefix | EventKind::Config | EventKind::Address => {
            !event.reason.is_empty() && !asked_for && !starting
        }
    }
}

const fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[derive(Debug)]
enum Message {
    Record(Box<Record>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

#[derive(Clone, Debug)]
struct Queue {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    fn new(capacity: usize) -> (Self, Receiver<Message>) {
        let (sender, receiver) = sync_channel(capacity);
        (Self { sender, dropped: Arc::default() }, receiver)
    }

    /// Never waits.
    fn push(&self, record: Record) {
        match self.sender.try_send(Message::Record(Box::new(record))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn flush(&self) {
        let deadline = Instant::now() + FLUSH;
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        while Instant::now() < deadline {
            match self.sender.try_send(message) {
                Ok(()) => {
                    let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
                    return;
                }
                Err(TrySendError::Full(unsent)) => message = unsent,
                Err(TrySendError::Disconnected(_)) => return,
            }
            std::thread::sleep(FLUSH / 100);
        }
    }
}

fn write_all(receiver: &Receiver<Message>, dropped: &AtomicU64, sink: &Sink) {
    while let Ok(message) = receiver.recv() {
        // Before a flush is answered: what was lost is said even at the end.
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => sink.write(&Record::lost(clock::since_1970(), lost)),
        }
        match message {
            Message::Record(record) => sink.write(&record),
            Message::Flush(done) => drop(done.try_send(())),
        }
    }
}

#[cfg(test)]
mod tests;
