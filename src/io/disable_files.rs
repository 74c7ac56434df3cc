//! Files whose existence drains a service.
//!
//! A thread of its own looks, because a path may lie on a file server that hangs; what it cannot look at it says so.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::Config;
use crate::engine::Input;
use crate::facts::Fact;

/// An operator who touches a file does not notice a tenth of a second, and ten looks a second cost nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watching {
    _stop: SyncSender<()>,
}

pub(super) fn watch(config: &Config, inputs: mpsc::Sender<Input>) -> io::Result<Watching> {
    let files: Vec<(usize, PathBuf)> = (config.services.iter().enumerate())
        .filter_map(|(index, service)| Some((index, service.health.disable_file.clone()?)))
        .collect();
    let (stop, stopped) = sync_channel(0);
    if !files.is_empty() {
        std::thread::Builder::new().name("disable-files".to_owned()).spawn(move || run(&files, &inputs, &stopped))?;
    }
    Ok(Watching { _stop: stop })
}

fn run(files: &[(usize, PathBuf)], inputs: &mpsc::Sender<Input>, stopped: &Receiver<()>) {
    let mut told: Vec<Option<Option<bool>>> = vec![None; files.len()];
    loop {
        for ((service, path), told) in files.iter().zip(&mut told) {
            let exists = exists(path);
            let fact = Fact::DisableFile { service: *service, exists };
            // A full queue is tried again: what was told moves only with what was taken.
            if *told != Some(exists) && inputs.try_send(Input::Fact(fact)).is_ok() {
                *told = Some(exists);
            }
        }
        match stopped.recv_timeout(PAUSE) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// `None`: cannot be looked at. A missing directory is an answer.
fn exists(path: &Path) -> Option<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Some(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_is_an_answer_and_unreadable_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("drain");
        assert_eq!(exists(&file), Some(false));
        assert_eq!(exists(&file.join("below")), Some(false));
        std::fs::write(&file, "").unwrap();
        assert_eq!(exists(&file), Some(true));
        assert_eq!(exists(&file.join("below")), Some(false), "a file is no directory");
        assert_eq!(exists(Path::new(&"x".repeat(5000))), None, "a name too long");
    }
}
