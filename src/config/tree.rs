//! The files as one spanned tree, and how the readers walk it.
//!
//! A reader opens a [`Table`] (every unknown key is reported there), then asks for one key after the other. What it
//! cannot read is reported and stands as absent, so that one pass finds every problem.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::report::{At, Fault, Report};

/// What may stand in a table.
pub(super) struct Keys {
    pub(super) now: &'static [&'static str],
    /// More of the same, shared by several kinds of table.
    pub(super) shared: &'static [&'static str],
    /// Known to the documentation, not built yet: an error, never parsed and ignored.
    pub(super) later: &'static [&'static str],
}

#[derive(Clone)]
pub(super) struct Value<'a> {
    pub(super) at: At,
    node: &'a DeValue<'a>,
}

#[derive(Clone)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    pub(super) at: At,
    pub(super) value: Value<'a>,
}

#[derive(Clone)]
pub(super) struct Table<'a> {
    /// Where its name stands.
    pub(super) at: At,
    /// As in "[services.dns]", without the brackets.
    pub(super) title: String,
    entries: Vec<Entry<'a>>,
}

fn entries<'a>(file: usize, table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let mut all = Vec::with_capacity(table.len());
    for (key, node) in table {
        let value = Value { at: At::new(file, node.span()), node: node.get_ref() };
        all.push(Entry { key: key.get_ref(), at: At::new(file, key.span()), value });
    }
    all
}

/// All top-level tables of all files; those that hold named tables (`neighbors`, `services`) are put together by name.
pub(super) fn merge<'a>(files: &'a [Spanned<DeTable<'a>>], named: &[&str], report: &mut Report) -> Table<'a> {
    let mut root = Table { at: At::new(0, 0..0), title: String::new(), entries: Vec::new() };
    for entry in files.iter().enumerate().flat_map(|(file, table)| entries(file, table.get_ref())) {
        if named.contains(&entry.key) {
            root.entries.push(entry);
        } else {
            root.add(entry, report);
        }
    }
    root
}

/// One top-level table of all files, as if they had no other.
pub(super) fn only<'a>(files: &'a [Spanned<DeTable<'a>>], key: &str, report: &mut Report) -> Table<'a> {
    let mut root = Table { at: At::new(0, 0..0), title: String::new(), entries: Vec::new() };
    let all = files.iter().enumerate().flat_map(|(file, table)| entries(file, table.get_ref()));
    all.filter(|entry| entry.key == key).for_each(|entry| root.add(entry, report));
    root
}

impl<'a> Table<'a> {
    fn add(&mut self, entry: Entry<'a>, report: &mut Report) {
        match self.entries.iter().find(|known| known.key == entry.key) {
            None => self.entries.push(entry),
            Some(first) => {
                let name = self.name_of(entry.key);
                report.push(
                    Fault::new(format!("[{name}] is defined twice"), "defined again here")
                        .help("a table lives in one file; move its keys together")
                        .at(&entry.at)
                        .also(&first.at, "first defined here"),
                );
            }
        }
    }

    fn name_of(&self, key: &str) -> String {
        if self.title.is_empty() { key.to_owned() } else { format!("{}.{key}", self.title) }
    }

    /// The tables under a name such as `services`, from every file, in order.
    pub(super) fn named(&self, name: &str, report: &mut Report) -> Vec<(&'a str, Table<'a>)> {
        let mut all = Table { at: self.at.clone(), title: name.to_owned(), entries: Vec::new() };
        for entry in self.entries.iter().filter(|entry| entry.key == name) {
            if let Some(table) = entry.value.table(name, &entry.at, report) {
                table.entries.into_iter().for_each(|entry| all.add(entry, report));
            }
        }
        let open = |entry: &Entry<'a>, report: &mut Report| {
            Some((entry.key, entry.value.table(&all.name_of(entry.key), &entry.at, report)?))
        };
        all.entries.iter().filter_map(|entry| open(entry, report)).collect()
    }

    /// A table in this table.
    pub(super) fn table(&self, key: &str, report: &mut Report) -> Option<Table<'a>> {
        let entry = self.get(key)?;
        entry.value.table(&self.name_of(key), &entry.at, report)
    }

    /// The tables of `[[...]]`.
    pub(super) fn tables(&self, key: &str, report: &mut Report) -> Vec<Table<'a>> {
        let Some(entry) = self.get(key) else { return Vec::new() };
        match entry.value.items() {
            Ok(items) => {
                let name = self.name_of(key);
                items.iter().filter_map(|item| item.table(&name, &item.at, report)).collect()
            }
            Err(fault) => {
                let fault = fault.help(format!("checks are written as [[{}]]", self.name_of(key)));
                report.push(fault.at(&entry.value.at));
                Vec::new()
            }
        }
    }

    /// This table, and from `defaults` what it does not say itself.
    pub(super) fn or(mut self, defaults: Option<&Table<'a>>) -> Self {
        let more = defaults.iter().flat_map(|table| table.entries.iter());
        let more: Vec<_> = more.filter(|entry| self.get(entry.key).is_none()).cloned().collect();
        self.entries.extend(more);
        self
    }

    /// Reports the keys that do not belong here. `others`: keys that belong elsewhere, with the words that say where.
    pub(super) fn check(&self, keys: &Keys, others: &[(&str, String)], report: &mut Report) {
        for entry in &self.entries {
            let key = entry.key;
            if keys.now.contains(&key) || keys.shared.contains(&key) {
                continue;
            }
            let place =
                if self.title.is_empty() { "at the top level".to_owned() } else { format!("in [{}]", self.title) };
            let fault = if keys.later.contains(&key) {
                Fault::new(format!("`{key}` is not supported yet"), "known, but not part of this version")
            } else if let Some((_, place)) = others.iter().find(|(other, _)| *other == key) {
                Fault::new(format!("`{key}` does not belong {place}"), "not used here")
            } else {
                let fault = Fault::new(format!("unknown key `{key}` {place}"), "unknown key");
                match nearest(key, keys.shared.iter().chain(keys.now).chain(keys.later).copied()) {
                    Some(meant) => Fault { label: format!("did you mean `{meant}`?"), ..fault },
                    None => fault.help(format!("known keys: {}", [keys.shared, keys.now].concat().join(", "))),
                }
            };
            report.push(fault.at(&entry.at));
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(super) fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// Where the value of a key stands, or the table's own name where the key is not there.
    pub(super) fn at(&self, key: &str) -> At {
        self.get(key).map_or_else(|| self.at.clone(), |entry| entry.value.at.clone())
    }

    pub(super) fn read<T>(
        &self,
        key: &str,
        report: &mut Report,
        parse: impl Fn(&Value<'a>) -> Result<T, Fault>,
    ) -> Option<T> {
        let entry = self.get(key)?;
        parse(&entry.value).map_err(|fault| report.push(fault.at(&entry.value.at))).ok()
    }

    /// As [`Table::read`]; that the key is not there is a problem too.
    pub(super) fn need<T>(
        &self,
        key: &str,
        report: &mut Report,
        parse: impl Fn(&Value<'a>) -> Result<T, Fault>,
    ) -> Option<T> {
        if self.get(key).is_none() {
            let fault = Fault::new(format!("`{key}` is required in [{}]", self.title), format!("has no `{key}`"));
            report.push(fault.at(&self.at).missing());
        }
        self.read(key, report, parse)
    }

    /// The items that can be read, each with its place; `None` where the key is not there.
    pub(super) fn list<T>(
        &self,
        key: &str,
        report: &mut Report,
        parse: impl Fn(&Value<'a>) -> Result<T, Fault>,
    ) -> Option<Vec<(At, T)>> {
        let items = self.read(key, report, Value::items)?;
        let mut all = Vec::new();
        for item in items {
            match parse(&item) {
                Ok(value) => all.push((item.at, value)),
                Err(fault) => report.push(fault.at(&item.at)),
            }
        }
        Some(all)
    }
}

impl<'a> Value<'a> {
    fn table(&self, title: &str, name: &At, report: &mut Report) -> Option<Table<'a>> {
        match self.node.as_table() {
            Some(table) => {
                Some(Table { at: name.clone(), title: title.to_owned(), entries: entries(name.file, table) })
            }
            None => {
                report.push(self.not("a table").at(&self.at));
                None
            }
        }
    }

    fn not(&self, wanted: &str) -> Fault {
        let found = match self.node {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        Fault::new(format!("expected {wanted}, found {found}"), format!("should be {wanted}"))
    }

    pub(super) fn items(&self) -> Result<Vec<Value<'a>>, Fault> {
        let items = self.node.as_array().ok_or_else(|| self.not("a list"))?;
        let item =
            |item: &'a Spanned<DeValue<'a>>| Value { at: At::new(self.at.file, item.span()), node: item.get_ref() };
        Ok(items.iter().map(item).collect())
    }

    pub(super) fn text(&self) -> Result<&'a str, Fault> {
        self.node.as_str().ok_or_else(|| self.not("a string"))
    }

    pub(super) fn boolean(&self) -> Result<bool, Fault> {
        self.node.as_bool().ok_or_else(|| self.not("true or false"))
    }

    pub(super) fn is_text(&self) -> bool {
        self.node.is_str()
    }

    /// As written where this is a bare number: for "10" in place of "10s".
    pub(super) fn bare_number(&self) -> Option<String> {
        match self.node {
            DeValue::Integer(number) => Some(number.as_str().to_owned()),
            DeValue::Float(number) => Some(number.as_str().to_owned()),
            DeValue::String(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                None
            }
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn integer(&self, least: u64, most: u64) -> Result<u64, Fault> {
        let number = self.node.as_integer().ok_or_else(|| self.not("an integer"))?;
        i128::from_str_radix(number.as_str(), number.radix())
            .ok()
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| (least..=most).contains(n))
            .ok_or_else(|| Fault::new(format!("{number} is out of range"), format!("should be {least} to {most}")))
    }
}
