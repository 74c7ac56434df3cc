//! Capture files, read in pieces: they may be larger than memory, or a pipe that never ends.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Large enough that the calls do not count, small enough that a live pipe's messages come out in small groups.
const PIECE: usize = 64 * 1024;

pub struct Capture {
    source: Box<dyn Read>,
    buffer: Vec<u8>,
    /// `None` for a pipe.
    size: Option<u64>,
    read: u64,
}

impl Capture {
    /// "-" is standard input. The error is one sentence.
    pub fn open(path: &Path) -> Result<Self, String> {
        let wrong = |why: String| format!("cannot read {}: {why}", path.display());
        let buffer = vec![0; PIECE];
        if path == Path::new("-") {
            return Ok(Self { source: Box::new(std::io::stdin().lock()), buffer, size: None, read: 0 });
        }
        let about = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        if about.is_dir() {
            return Err(wrong("it is a directory".to_owned()));
        }
        let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { source: Box::new(file), buffer, size: about.is_file().then_some(about.len()), read: 0 })
    }

    /// What comes next; empty at the end.
    pub fn piece(&mut self) -> Result<&[u8], String> {
        loop {
            match self.source.read(&mut self.buffer) {
                Ok(length) => {
                    self.read += u64::try_from(length).unwrap_or_default();
                    return Ok(self.buffer.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot read on: {error}")),
            }
        }
    }

    /// "12 of 340 MB"
    pub fn progress(&self) -> String {
        let mega = |octets: u64| octets / 1_000_000;
        match self.size {
            Some(size) => format!("{} of {} MB", mega(self.read), mega(size)),
            None => format!("{} MB", mega(self.read)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_in_pieces_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        let octets: Vec<u8> = (0..PIECE + 7).map(|number| u8::try_from(number % 251).unwrap()).collect();
        fs::write(&path, &octets).unwrap();
        let mut capture = Capture::open(&path).unwrap();
        let mut all = Vec::new();
        loop {
            let piece = capture.piece().unwrap();
            if piece.is_empty() {
                break;
            }
            all.extend_from_slice(piece);
        }
        assert_eq!(all, octets);
        let why = Capture::open(folder.path()).err().unwrap();
        assert_eq!(why, format!("cannot read {}: it is a directory", folder.path().display()));
        assert!(Capture::open(&folder.path().join("none")).is_err());
    }
}
