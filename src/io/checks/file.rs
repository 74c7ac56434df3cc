//! A file check: one look at a path.
//!
//! stat(2) on a dead file server hangs for as long as the server is dead, and nothing ends it. So each look has a thread of
//! its own, apart from those that start programs; a run that has timed out leaves its thread behind. Of each check only
//! one can hang, because the next one waits for its turn, and [`LOOKS`] in all.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Mutex, Semaphore, oneshot};

use super::{Bad, Phase, Progress, words};
use crate::config::{FileCheck, Look, written};

/// Looks at once: a thread each, which is 64 KiB of stack and what the kernel keeps. A look takes microseconds, so no more
/// are there at the same time unless file servers are dead.
const LOOKS: usize = 64;
const STACK: usize = 64 * 1024;

pub(super) fn looks() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LOOKS))
}

pub(super) struct File {
    path: PathBuf,
    look: Look,
    turn: Arc<Mutex<()>>,
}

impl File {
    pub(super) fn new(check: &FileCheck) -> Self {
        Self { path: check.path.clone(), look: check.look, turn: Arc::default() }
    }

    pub(super) async fn run(&self, looks: &Arc<Semaphore>, progress: &Progress) -> Result<String, Bad> {
        progress.reached(Phase::Turn);
        let turn = Arc::clone(&self.turn).lock_owned().await;
        progress.reached(Phase::Place);
        let place = Arc::clone(looks).acquire_owned().await;
        progress.reached(Phase::Look);
        let path = self.path.clone();
        let (answer, answered) = oneshot::channel();
        let look = move || {
            let changed = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
            drop((turn, place));
            // A run that timed out wants no answer.
            let _gone = answer.send((changed, SystemTime::now())).is_err();
        };
        let thread = std::thread::Builder::new().name("look".to_owned()).stack_size(STACK).spawn(look);
        thread.map_err(|error| Bad::Fail(format!("no thread to look at it: {}", words::io(&error))))?;
        match answered.await {
            Ok((changed, now)) => judge(self.look, changed, now),
            Err(_) => Err(Bad::Fail("the look at it ended without an answer".to_owned())),
        }
    }
}

/// A writer whose clock is a little ahead is well. One that is ahead by more than `max-age`, or a file dated by mistake, would
/// pass long after its last change: so a dead writer is found after twice `max-age` at the latest.
fn judge(look: Look, changed: io::Result<SystemTime>, now: SystemTime) -> Result<String, Bad> {
    let changed = match (changed, look) {
        (Ok(changed), _) => changed,
        (Err(error), look) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let words = "no such file".to_owned();
            return if look == Look::Absent { Ok(words) } else { Err(Bad::Fail(words)) };
        }
        (Err(error), _) => return Err(Bad::Fail(words::io(&error))),
    };
    match (look, now.duration_since(changed)) {
        (Look::There, _) => Ok("it is there".to_owned()),
        (Look::Absent, _) => Err(Bad::Fail("it is there".to_owned())),
        (Look::Younger(most), Ok(age)) => {
            let words = match age.as_secs() {
                0 => format!("{} ms old", age.as_millis()),
                seconds => format!("{seconds} s old"),
            };
            if age <= most { Ok(words) } else { Err(Bad::Fail(format!("{words}, more than {}", written(most)))) }
        }
        (Look::Younger(most), Err(ahead)) if ahead.duration() <= most => Ok("0 ms old".to_owned()),
        (Look::Younger(_), Err(ahead)) => {
            Err(Bad::Fail(format!("from the future: changed in {} s", ahead.duration().as_secs())))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_look_and_an_age_make_a_verdict() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let (pass, fail) = (|text: &str| Ok(text.to_owned()), |text: &str| Err(Bad::Fail(text.to_owned())));
        let (there, absent) = (Look::There, Look::Absent);
        let minute = Look::Younger(Duration::from_secs(60));
        for (look, millis_ago, verdict) in [
            (there, 86_400_000, pass("it is there")),
            (there, -86_400_000, pass("it is there")),
            (absent, 0, fail("it is there")),
            (minute, 0, pass("0 ms old")),
            (minute, 999, pass("999 ms old")),
            (minute, 12_700, pass("12 s old")),
            (minute, 60_000, pass("60 s old")),
            (minute, 60_001, fail("60 s old, more than 1m")),
            (minute, 91_000, fail("91 s old, more than 1m")),
            (minute, -1, pass("0 ms old")),
            (minute, -60_000, pass("0 ms old")),
            (minute, -60_001, fail("from the future: changed in 60 s")),
            (minute, -3_600_000, fail("from the future: changed in 3600 s")),
        ] {
            let span = Duration::from_millis(i64::unsigned_abs(millis_ago));
            let changed = if millis_ago < 0 { now + span } else { now - span };
            assert_eq!(judge(look, Ok(changed), now), verdict, "{look:?} {millis_ago}");
        }
        for (look, error, verdict) in [
            (there, libc::ENOENT, fail("no such file")),
            (there, libc::ENOTDIR, fail("no such file")),
            (minute, libc::ENOENT, fail("no such file")),
            (absent, libc::ENOENT, pass("no such file")),
            (absent, libc::ENOTDIR, pass("no such file")),
            // Not looked at is not absent.
            (absent, libc::EACCES, fail("permission denied")),
            (there, libc::ELOOP, fail("too many symbolic links encountered")),
        ] {
            assert_eq!(judge(look, Err(io::Error::from_raw_os_error(error)), now), verdict, "{look:?} {error}");
        }
    }
}
