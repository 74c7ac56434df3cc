//! The engine's deadline, as one timer of the kernel on the engine's own clock.
//!
//! tokio's timers are exact to a millisecond, wake up a second time on the way to a distant moment, and wake their own
//! runtime when one is set: three times the cost of the one timer that the engine needs.

use std::io;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;

use super::clock;
use super::descriptors::{self, Timer};
use crate::Time;

pub(super) struct Alarm {
    timer: AsyncFd<Timer>,
    /// What the timer is set to.
    set: Time,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self { timer: descriptors::watched(Timer(timer))?, set: Time::MAX })
    }

    /// Waits until `deadline`; for ever where it is [`Time::MAX`]. An error: it cannot be waited for.
    pub(super) async fn until(&mut self, deadline: Time) -> io::Result<()> {
        if deadline == Time::MAX {
            // A timer that is still set only wakes us once for nothing.
            return std::future::pending().await;
        }
        if deadline <= clock::now() {
            // Work is left over from a bounded step: let sockets have their turn, then go on.
            yield_now().await;
            return Ok(());
        }
        if self.set != deadline {
            let at = TimeSpec::from_duration(Duration::from_nanos(deadline.as_nanos()));
            self.timer.get_ref().0.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            self.set = deadline;
        }
        // It may have rung for an earlier deadline. Nothing is read: setting it anew makes it ring anew.
        while clock::now() < deadline {
            self.timer.readable().await?.clear_ready();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap()
    }

    #[test]
    fn it_rings_at_each_deadline_and_never_before() {
        runtime().block_on(async {
            let mut alarm = Alarm::new().unwrap();
            for pause in [3, 0, 1, 5] {
                let deadline = clock::now() + Duration::from_millis(pause);
                alarm.until(deadline).await.unwrap();
                let late = clock::now().since(deadline);
                assert!(clock::now() >= deadline && late < Duration::from_secs(2), "{late:?}");
            }
        });
    }

    #[test]
    fn a_wait_that_was_given_up_rings_neither_early_nor_twice() {
        runtime().block_on(async {
            let mut alarm = Alarm::new().unwrap();
            let start = clock::now();
            let [soon, later] = [2, 30].map(|pause| start + Duration::from_millis(pause));
            tokio::select! {
                biased;
                _ = alarm.until(soon) => panic!("it is not time yet"),
                () = std::future::ready(()) => {}
            }
            std::thread::sleep(Duration::from_millis(5));
            alarm.until(later).await.unwrap();
            assert!(clock::now() >= later);
        });
    }
}
