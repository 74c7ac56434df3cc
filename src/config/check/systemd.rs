//! Which unit a systemd check asks about.

use crate::config::report::{Fault, Report};
use crate::config::tree::{Table, Value};
use crate::config::{CheckKind, SystemdCheck};

/// systemd.unit(5): what the part behind the last dot can be.
const SUFFIXES: [&str; 11] =
    ["service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope"];

/// UNIT_NAME_MAX
const LONGEST: usize = 255;

pub(super) fn systemd(table: &Table<'_>, report: &mut Report) -> Option<CheckKind> {
    let unit = table.need("unit", report, unit)?;
    Some(CheckKind::Systemd(SystemdCheck { unit }))
}

/// A whole name; without a suffix a service, as for systemctl. What systemctl would take for a pattern, a path or an
/// invocation id is refused.
fn unit(value: &Value<'_>) -> Result<String, Fault> {
    let text = value.text()?;
    let wrong = |label: &str| Fault::new(format!("not the name of a unit: {text:?}"), label);
    if let Some(path) = text.strip_prefix('/') {
        let name = path.replace('-', "\\x2d").replace('/', "-");
        return Err(wrong("a path").help(format!("the unit of a mount point is like \"{name}.mount\"")));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        return Err(wrong("should be like \"nginx.service\": a-z A-Z 0-9 : - _ . \\ @"));
    }
    let typed = text.rsplit_once('.').filter(|(_, suffix)| SUFFIXES.contains(suffix));
    let whole = if typed.is_some() { text.to_owned() } else { format!("{text}.service") };
    let stem = typed.map_or(text, |(stem, _)| stem);
    match stem.split_once('@') {
        _ if stem.is_empty() => Err(wrong("nothing before the dot")),
        _ if whole.len() > LONGEST => Err(wrong("longer than 255 characters")),
        Some(("", _)) => Err(wrong("nothing before the @")),
        Some((_, "")) => Err(wrong("a template; which instance of it?")),
        Some(_) | None => Ok(whole),
    }
}
