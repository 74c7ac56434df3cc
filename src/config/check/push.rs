//! How long a push counts.

use crate::config::report::Report;
use crate::config::tree::Table;
use crate::config::{CheckKind, PushCheck};

pub(super) fn push(table: &Table<'_>, report: &mut Report) -> Option<CheckKind> {
    let ttl = table.need("ttl", report, |v| super::pace(v, "ttl"))?;
    Some(CheckKind::Push(PushCheck { ttl }))
}
