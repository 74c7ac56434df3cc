//! `anycaster check`.

use std::path::Path;

use crate::io::terminal;

pub fn check(path: &Path, _json: bool, _colour: bool) -> u8 {
    terminal::complain(&format!("{}: this build has no configuration reader", path.display()));
    2
}
