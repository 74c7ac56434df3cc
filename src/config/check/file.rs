//! What file checks look at.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::CheckKind;
use crate::config::report::{Fault, Report};
use crate::config::tree::Table;
use crate::config::values;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileCheck {
    /// Absolute.
    pub path: PathBuf,
    pub look: Look,
}

/// What makes a look at a file pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    There,
    /// Changed within so long; > 0.
    Younger(Duration),
    Absent,
}

pub(super) fn file(table: &Table<'_>, report: &mut Report) -> Option<CheckKind> {
    let path = table.need("path", report, values::path);
    let exists = table.read("exists", report, |v| v.boolean()).unwrap_or(true);
    let max_age = table.read("max-age", report, |v| match values::duration(v)? {
        span if span.is_zero() => Err(Fault::new("an age of nothing", "no file could ever pass")),
        span => Ok(span),
    });
    let look = match (exists, max_age) {
        (true, None) => Look::There,
        (true, Some(max_age)) => Look::Younger(max_age),
        (false, None) => Look::Absent,
        (false, Some(_)) => {
            let fault = Fault::new("a file that must not exist has no age", "one of them has to go");
            report.push(fault.at(&table.at("max-age")).also(&table.at("exists"), "passes while the file is absent"));
            return None;
        }
    };
    Some(CheckKind::File(FileCheck { path: path?, look }))
}
