//! What is not TOML: one problem for each broken statement, and the rest of the file read as if it were not there.
//!
//! The parser recovers by itself, but a list that is never closed swallows the file behind it. So the first broken
//! statement is reported and blanked (every byte keeps its place), and the text parsed again.

use std::ops::Range;

use toml::de::DeTable;

use super::report::{At, Fault, Report};

/// So many broken statements are no slips of a hand any more; a bound on how often the text is parsed and searched.
const BROKEN_AT_MOST: usize = 20;
const DUPLICATE: &str = "duplicate key";

/// The text with broken statements blanked; what was wrong with them is in the report.
pub(super) fn sound(file: usize, text: &str, report: &mut Report) -> String {
    let mut sound = text.to_owned();
    for _ in 0..BROKEN_AT_MOST {
        let (_, errors) = DeTable::parse_recoverable(&sound);
        let broken = errors.iter().filter(|error| error.message() != DUPLICATE);
        let Some((error, span)) = broken.filter_map(|error| Some((error, error.span()?))).min_by_key(|(_, s)| s.start)
        else {
            break;
        };
        let lines = lines(&sound);
        let (at, message, statement) = match unclosed(&sound, &lines, span.start) {
            Some((bracket, statement)) => (bracket..bracket + 1, "this list is never closed", statement),
            None => {
                let statement = statement(&lines, span.start);
                (span, error.message(), statement)
            }
        };
        report.push(Fault::new(format!("not TOML: {message}"), "").at(&At::new(file, at)).syntax());
        let blanked = blank(&sound, &statement);
        if blanked == sound {
            break;
        }
        sound = blanked;
    }
    duplicates(file, &sound, report);
    sound
}

fn duplicates(file: usize, text: &str, report: &mut Report) {
    let (_, errors) = DeTable::parse_recoverable(text);
    let lines = lines(text);
    let twice = errors.iter().filter(|error| error.message() == DUPLICATE);
    for span in twice.filter_map(toml::de::Error::span).take(BROKEN_AT_MOST) {
        let name = text.get(span.clone()).unwrap_or_default();
        let fault = Fault::new(format!("`{name}` is defined twice"), "defined again here");
        let problem = fault.at(&At::new(file, span.clone())).syntax();
        report.push(match first(&lines, span.start) {
            Some(first) => problem.also(&At::new(file, first), "first defined here"),
            None => problem,
        });
    }
}

/// The statement that the one at `index` repeats: a header anywhere before it, a key since the last header.
fn first(lines: &[Line<'_>], index: usize) -> Option<Range<usize>> {
    let here = lines.iter().position(|line| line.span.contains(&index))?;
    let (before, rest) = lines.split_at_checked(here)?;
    let found = match rest.first()?.kind {
        Kind::Header(header) => before.iter().find(|line| matches!(line.kind, Kind::Header(h) if h == header))?,
        Kind::Key(key) => {
            let mut table = before.iter().rev().take_while(|line| !matches!(line.kind, Kind::Header(_)));
            table.find(|line| matches!(line.kind, Kind::Key(k) if k == key))?
        }
        Kind::Other => return None,
    };
    match found.kind {
        Kind::Header(word) | Kind::Key(word) => Some(found.start..found.start + word.len()),
        Kind::Other => None,
    }
}

struct Line<'a> {
    span: Range<usize>,
    /// Behind the indent.
    start: usize,
    kind: Kind<'a>,
}

/// What a line begins, as far as can be seen from it alone.
#[derive(Clone, Copy)]
enum Kind<'a> {
    /// `[name]`, `[[name]]`
    Header(&'a str),
    /// `name =`
    Key(&'a str),
    Other,
}

fn lines(text: &str) -> Vec<Line<'_>> {
    let mut start = 0;
    let mut all = Vec::new();
    for line in text.split_inclusive('\n') {
        let span = start..start + line.len();
        let indent = line.len() - line.trim_start().len();
        all.push(Line { start: start + indent, kind: kind(line.trim_start()), span: span.clone() });
        start = span.end;
    }
    all
}

fn kind(line: &str) -> Kind<'_> {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '"' | '\'' | ' ');
    let open = line.len() - line.trim_start_matches('[').len();
    let inner = line.trim_start_matches('[');
    let length = inner.len() - inner.trim_start_matches(name).len();
    let (word, rest) = inner.split_at_checked(length).unwrap_or(("", inner));
    let close = rest.len() - rest.trim_start_matches(']').len();
    let word_end = word.trim_end().len();
    // A string alone in brackets is rather a list in a list.
    let quoted = word.trim_start().starts_with(['"', '\'']);
    match (open, rest.chars().next()) {
        (1 | 2, Some(']')) if !word.is_empty() && !quoted => {
            Kind::Header(line.get(..open + length + close).unwrap_or(line))
        }
        (0, Some('=')) if word_end > 0 => Kind::Key(word.get(..word_end).unwrap_or(word)),
        _ => Kind::Other,
    }
}

/// The whole lines of the statement that `index` lies in; with a header goes all that stands below it.
fn statement(lines: &[Line<'_>], index: usize) -> Range<usize> {
    let end_of_text = lines.last().map_or(0, |line| line.span.end);
    let begins = |line: &&Line<'_>| !matches!(line.kind, Kind::Other);
    // At the very end of the text no line contains the index.
    let here = lines.iter().position(|line| line.span.contains(&index)).unwrap_or(lines.len().saturating_sub(1));
    let own = lines.get(here).map_or(0..0, |line| line.span.clone());
    let Some(first) = lines.iter().take(here + 1).rfind(begins) else { return own };
    let header = matches!(first.kind, Kind::Header(_));
    let other = header && first.span != own;
    if other {
        // Something that is no statement stands right below a header.
        return own;
    }
    let mut behind = lines.iter().filter(|line| line.span.start >= own.end);
    let next = behind.find(|line| if header { matches!(line.kind, Kind::Header(_)) } else { begins(line) });
    first.span.start..next.map_or(end_of_text, |line| line.span.start)
}

/// The bracket that is open before the line of `index`, which begins a statement of its own; and the statement it is in.
fn unclosed(text: &str, lines: &[Line<'_>], index: usize) -> Option<(usize, Range<usize>)> {
    let here = lines.iter().position(|line| line.span.contains(&index))?;
    let line = lines.get(here).filter(|line| !matches!(line.kind, Kind::Other))?;
    let before = lines.iter().take(here).rfind(|line| matches!(line.kind, Kind::Key(_)))?;
    let statement = before.span.start..line.span.start;
    let mut open = Vec::new();
    let mut quote = None;
    let mut comment = false;
    for (offset, c) in text.get(statement.clone())?.char_indices() {
        match (quote, c) {
            (_, '\n') => (quote, comment) = (None, false),
            _ if comment => {}
            (Some(mark), c) if c == mark => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') => comment = true,
            (None, '[') => open.push(statement.start + offset),
            (None, ']') => drop(open.pop()),
            (None, _) => {}
        }
    }
    open.first().map(|bracket| (*bracket, statement))
}

fn blank(text: &str, range: &Range<usize>) -> String {
    let mut blanked = String::with_capacity(text.len());
    for (index, c) in text.char_indices() {
        if range.contains(&index) && c != '\n' {
            blanked.extend(std::iter::repeat_n(' ', c.len_utf8()));
        } else {
            blanked.push(c);
        }
    }
    blanked
}
