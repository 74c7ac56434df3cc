//! `anycaster decode`: the messages in a capture, as a person or a program reads them.

use std::path::Path;
use std::time::Duration;

use super::paint::Paint;
use crate::Time;
use crate::decode::{Decoder, Entry, Totals};
use crate::io::capture::Capture;
use crate::io::{clock, terminal};

mod json;
mod text;

use json::line as json;
use text::{entry as text, heading, summary};

/// Whoever watches nothing happen for longer wonders whether it hangs.
const PATIENCE: Duration = Duration::from_secs(2);

pub struct Options {
    /// Besides 179.
    pub ports: Vec<u16>,
    pub json: bool,
    pub colour: bool,
}

/// The exit code: 0, 1 where something in it is malformed or cut off, 2 where it cannot be read.
pub(super) fn decode(path: &Path, options: &Options) -> u8 {
    let mut capture = match Capture::open(path) {
        Ok(capture) => capture,
        Err(why) => return super::ask::fail(&why),
    };
    let mut decoder = Decoder::new(&options.ports);
    let mut printer = Printer::new(path, options);
    let mut progress = Progress::new();
    loop {
        let over = match capture.piece() {
            Ok([]) => {
                decoder.end();
                true
            }
            Ok(octets) => {
                decoder.feed(octets);
                false
            }
            Err(why) => return super::ask::fail(&why),
        };
        let text = printer.all(&mut decoder);
        progress.clear(!text.is_empty() || over);
        // A reader that went away has what it wanted.
        if !text.is_empty() && !terminal::print(text.as_bytes()) {
            return exit_code(decoder.totals());
        }
        if over {
            break;
        }
        progress.show(|| capture.progress());
    }
    let totals = decoder.totals();
    if let Some(why) = &totals.unreadable {
        return super::ask::fail(&format!("cannot read {}: {why}", path.display()));
    }
    if !options.json {
        terminal::print(summary(totals).as_bytes());
    }
    exit_code(totals)
}

pub fn exit_code(totals: &Totals) -> u8 {
    match totals {
        Totals { unreadable: Some(_), .. } => 2,
        Totals { damaged: false, malformed: 0, .. } => 0,
        Totals { .. } => 1,
    }
}

/// Everything `octets` hold, as `decode` prints it; for tests and those who have the octets.
pub fn whole(name: &Path, octets: &[u8], options: &Options) -> (String, Totals) {
    let mut decoder = Decoder::new(&options.ports);
    let mut printer = Printer::new(name, options);
    decoder.feed(octets);
    let mut text = printer.all(&mut decoder);
    decoder.end();
    text += &printer.all(&mut decoder);
    if !options.json && decoder.totals().unreadable.is_none() {
        text += &summary(decoder.totals());
    }
    (text, decoder.totals().clone())
}

struct Printer<'a> {
    path: &'a Path,
    json: bool,
    paint: Paint,
    headed: bool,
}

impl<'a> Printer<'a> {
    const fn new(path: &'a Path, options: &Options) -> Self {
        Self { path, json: options.json, paint: Paint::new(options.colour), headed: false }
    }

    fn all(&mut self, decoder: &mut Decoder) -> String {
        let mut out = String::new();
        if !self.json
            && !self.headed
            && let Some(format) = decoder.format()
            && decoder.totals().frames > 0
        {
            self.headed = true;
            out += &heading(self.path, &format, decoder.first());
        }
        while let Some(entry) = decoder.poll() {
            out += &self.one(&entry, decoder.first());
        }
        out
    }

    fn one(&self, entry: &Entry, first: Option<u64>) -> String {
        if self.json { json(entry, first) } else { text(entry, first, self.paint) }
    }
}

/// On a terminal only, and gone before anything else is printed.
struct Progress {
    on: bool,
    last: Time,
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        Self { on: terminal::error_is_terminal(), last: clock::now(), shown: false }
    }

    fn show(&mut self, progress: impl Fn() -> String) {
        let now = clock::now();
        if self.on && now.since(self.last) >= PATIENCE {
            self.last = now;
            self.shown = true;
            terminal::complain_here(&format!("\r{} read ", progress()));
        }
    }

    fn clear(&mut self, printed: bool) {
        if printed {
            self.last = clock::now();
        }
        if printed && std::mem::take(&mut self.shown) {
            terminal::complain_here("\r\u{1b}[K");
        }
    }
}
