//! The service manager's side channel: READY, STOPPING and the watchdog.
//!
//! A thread of its own sends the datagrams, because a manager that hangs lets them block, and the engine's thread is
//! the one that asks.

use std::ffi::OsStr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::Time;

/// Datagrams that wait. A manager that has not taken eight will not miss the ninth: the next heartbeat says the same.
const QUEUE: usize = 8;

#[derive(Debug)]
pub struct Notify {
    /// `None`: nobody to tell.
    sender: Option<SyncSender<Message>>,
    watchdog: Option<Watchdog>,
}

#[derive(Debug)]
enum Message {
    Ready,
    Stopping,
    Watchdog,
}

/// WatchdogSec, halved as sd_watchdog_enabled(3) advises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Watchdog {
    interval: Duration,
    due: Time,
}

impl Watchdog {
    fn is_due(&mut self, now: Time) -> bool {
        if now < self.due {
            return false;
        }
        self.due = now + self.interval;
        true
    }
}

impl Notify {
    /// Does nothing, for ever, where no service manager started us.
    pub fn start() -> std::io::Result<Self> {
        let socket = std::env::var_os("NOTIFY_SOCKET");
        if socket.as_deref().is_none_or(OsStr::is_empty) {
            return Ok(Self { sender: None, watchdog: None });
        }
        let (sender, receiver) = sync_channel(QUEUE);
        std::thread::Builder::new().name("notify".to_owned()).spawn(move || {
            while let Ok(message) = receiver.recv() {
                if let Err(error) = send(&message) {
                    tracing::debug!(%error, "the service manager was not told");
                }
            }
        })?;
        let watchdog =
            sd_notify::watchdog_enabled().map(|span| Watchdog { interval: span / 2, due: Time::from_nanos(0) });
        Ok(Self { sender: Some(sender), watchdog })
    }

    pub fn ready(&self) {
        self.tell(Message::Ready);
    }

    pub fn stopping(&self) {
        self.tell(Message::Stopping);
    }

    /// To be called after each step the engine has made; tells the manager as often as it needs to hear it.
    pub fn watchdog(&mut self, now: Time) {
        if self.watchdog.as_mut().is_some_and(|watchdog| watchdog.is_due(now)) {
            self.tell(Message::Watchdog);
        }
    }

    /// When the engine must have been stepped again, where a watchdog waits for it.
    pub fn deadline(&self) -> Option<Time> {
        self.watchdog.map(|watchdog| watchdog.due)
    }

    fn tell(&self, message: Message) {
        if let Some(sender) = &self.sender {
            // Full: see QUEUE.
            let _ = sender.try_send(message);
        }
    }
}

fn send(message: &Message) -> std::io::Result<()> {
    sd_notify::notify(&[match message {
        Message::Ready => NotifyState::Ready,
        Message::Stopping => NotifyState::Stopping,
        Message::Watchdog => NotifyState::Watchdog,
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_each_half_interval_and_only_on_progress() {
        let second = |n| Time::from_nanos(n * 1_000_000_000);
        let mut watchdog = Watchdog { interval: Duration::from_secs(5), due: second(0) };
        let beats: Vec<u64> =
            [100, 101, 104, 105, 120, 121, 125].into_iter().filter(|n| watchdog.is_due(second(*n))).collect();
        assert_eq!(beats, [100, 105, 120, 125]);
    }
}
