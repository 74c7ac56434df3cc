//! What exec checks run.

use std::collections::BTreeMap;

use crate::config::report::{Fault, Report};
use crate::config::tree::{Table, Value};
use crate::config::values;
use crate::config::{CheckKind, ExecCheck};

/// Set for every command by the daemon itself.
const OUR_ENVIRONMENT: [&str; 5] = ["SERVICE", "ADDRESS", "STATE", "REASON", "PREFIXES"];

pub(super) fn exec(table: &Table<'_>, report: &mut Report) -> Option<CheckKind> {
    let command = table.need("command", report, command);
    let user = table.read("user", report, values::account);
    let env = environment(table, report);
    Some(CheckKind::Exec(ExecCheck { command: command?, user, env }))
}

/// One argv, never empty.
pub(in crate::config) fn command(value: &Value<'_>) -> Result<Vec<String>, Fault> {
    if let Ok(text) = value.text() {
        let words: Vec<&str> = text.split_whitespace().collect();
        return Err(Fault::new("a command is a list of arguments", format!("did you mean {words:?}?"))
            .help("no shell is involved; for one: [\"/bin/sh\", \"-c\", \"...\"]"));
    }
    let mut argv = Vec::new();
    for item in value.items()? {
        let text = item.text()?;
        if text.contains('\0') {
            return Err(Fault::new("an argument cannot hold a zero byte", ""));
        }
        argv.push(text.to_owned());
    }
    match argv.first().map(String::as_str) {
        None | Some("") => Err(Fault::new("no command", "should be like [\"/usr/lib/check\", \"argument\"]")),
        Some(_) => Ok(argv),
    }
}

fn environment(table: &Table<'_>, report: &mut Report) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let Some(table) = table.table("env", report) else { return env };
    for entry in table.entries() {
        if entry.key.is_empty() || entry.key.contains(['=', '\0']) {
            let fault = Fault::new(format!("not the name of a variable: {:?}", entry.key), "no = in it");
            report.push(fault.at(&entry.at));
        }
        if OUR_ENVIRONMENT.contains(&entry.key) {
            let fault = Fault::new(format!("{} is set by anycaster", entry.key), "choose another name");
            report.push(fault.at(&entry.at));
        }
        let value = table.read(entry.key, report, |v| match v.text()? {
            text if text.contains('\0') => Err(Fault::new("a variable cannot hold a zero byte", "")),
            text => Ok(text.to_owned()),
        });
        env.extend(value.map(|value| (entry.key.to_owned(), value)));
    }
    env
}
