//! What the command line writes to, and whether it may be coloured.

use std::io::{IsTerminal, Write};

/// Colour on standard output: only a terminal gets it, and <https://no-color.org> is obeyed (set and not empty).
pub fn colour() -> bool {
    allowed() && std::io::stdout().is_terminal()
}

/// The same for standard error, where diagnostics and logs go.
pub fn error_colour() -> bool {
    allowed() && std::io::stderr().is_terminal()
}

fn allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// To standard output. A reader that went away (`| head`) has what it wanted: not an error, but `false`.
pub fn print(bytes: &[u8]) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).is_ok()
}

/// Somebody may be looking at standard error.
pub fn error_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// To standard error, on the same line: progress.
pub fn complain_here(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// One sentence to standard error.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
