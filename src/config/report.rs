//! Problems with a configuration, each with its place: for people as rustc prints them, for programs as a list.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use super::Source;

/// More than anybody reads in one go, and a bound on the work: each rendered problem scans its file once.
const RENDERED_AT_MOST: usize = 100;

/// A file with more problems than this is not a configuration; a bound on memory and on comparing them.
const KEPT_AT_MOST: usize = 1000;

/// A stretch of bytes in one of the files.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct At {
    pub(super) file: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl At {
    pub(super) fn new(file: usize, span: Range<usize>) -> Self {
        Self { file, start: span.start, end: span.end.max(span.start) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// What is wrong with one value, before it is known where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) label: String,
    pub(super) help: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { message: message.into(), label: label.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn at(self, at: &At) -> Problem {
        let Self { message, label, help } = self;
        Problem {
            severity: Severity::Error,
            at: Some(at.clone()),
            message,
            label,
            also: Vec::new(),
            help,
            kind: Kind::Value,
        }
    }
}

/// What syntax errors of the same file do to a problem.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Syntax,
    /// Said unless its own line does not parse.
    Value,
    /// Something is not there: not said of a file that does not parse, because it may well be there.
    Missing,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Problem {
    severity: Severity,
    at: Option<At>,
    message: String,
    label: String,
    /// Other places that belong to it.
    also: Vec<(At, String)>,
    help: Option<String>,
    kind: Kind,
}

impl Problem {
    pub(super) fn also(mut self, at: &At, label: impl Into<String>) -> Self {
        self.also.push((at.clone(), label.into()));
        self
    }

    pub(super) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    pub(super) fn missing(mut self) -> Self {
        self.kind = Kind::Missing;
        self
    }

    pub(super) fn syntax(mut self) -> Self {
        self.kind = Kind::Syntax;
        self
    }
}

/// One entry of `check --json`. Lines and columns (in characters) count from 1; `end` is just behind the text meant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    pub file: Option<String>,
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub end: Option<Position>,
    pub message: String,
    pub help: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// Every problem of one set of files, and the files themselves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    sources: Vec<Source>,
    problems: Vec<Problem>,
}

impl Report {
    pub(super) fn new(sources: &[Source]) -> Self {
        Self { sources: sources.to_vec(), problems: Vec::new() }
    }

    /// A problem said before is not said again: the defaults of neighbors are read once for each of them.
    pub(super) fn push(&mut self, problem: Problem) {
        if self.problems.len() < KEPT_AT_MOST && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Orders by place and drops what only follows from syntax errors.
    pub(super) fn finish(&mut self) {
        let broken: Vec<At> =
            self.problems.iter().filter(|p| p.kind == Kind::Syntax).filter_map(|p| p.at.clone()).collect();
        let sources = std::mem::take(&mut self.sources);
        let line = |at: &At| sources.get(at.file).map_or(0, |s| position(&s.text, at.start).line);
        let broken_lines: Vec<(usize, usize)> = broken.iter().map(|at| (at.file, line(at))).collect();
        self.problems.retain(|problem| match (problem.kind, &problem.at) {
            (Kind::Syntax, _) => true,
            (Kind::Value, None) => true,
            (Kind::Value, Some(at)) => broken.is_empty() || !broken_lines.contains(&(at.file, line(at))),
            (Kind::Missing, _) => broken.is_empty(),
        });
        self.sources = sources;
        self.problems.sort_by(|a, b| (&a.at, a.severity).cmp(&(&b.at, b.severity)));
    }

    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|p| p.severity == severity).count()
    }

    /// In the order of files and lines.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        self.problems.iter().map(|problem| self.diagnostic(problem)).collect()
    }

    fn diagnostic(&self, problem: &Problem) -> Diagnostic {
        let place = problem.at.as_ref().and_then(|at| self.sources.get(at.file).map(|source| (at, source)));
        let start = place.map(|(at, source)| position(&source.text, at.start));
        Diagnostic {
            severity: problem.severity,
            file: place.map(|(_, source)| source.path.display().to_string()),
            line: start.map(|p| p.line),
            column: start.map(|p| p.column),
            end: place.map(|(at, source)| position(&source.text, at.end)),
            message: problem.message.clone(),
            help: problem.help.clone(),
        }
    }

    /// As rustc prints them, each ended by an empty line, then the count.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for problem in self.problems.iter().take(RENDERED_AT_MOST) {
            text.push_str(&renderer.render(&[self.group(problem)]));
            text.push_str("\n\n");
        }
        if let Some(more) = self.problems.len().checked_sub(RENDERED_AT_MOST).filter(|more| *more > 0) {
            text.push_str(&format!("... and {more} more\n\n"));
        }
        if !self.problems.is_empty() {
            text.push_str(&self.summary());
            text.push('\n');
        }
        text
    }

    fn summary(&self) -> String {
        let counted = |count: usize, word: &str| match count {
            0 => None,
            1 => Some(format!("1 {word}")),
            _ => Some(format!("{count} {word}s")),
        };
        let errors = counted(self.count(Severity::Error), "error");
        let warnings = counted(self.count(Severity::Warning), "warning");
        errors.into_iter().chain(warnings).collect::<Vec<_>>().join(", ")
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut elements: Vec<Element<'a>> = Vec::new();
        let places = problem.at.iter().map(|at| (at, problem.label.as_str(), true));
        let others = problem.also.iter().map(|(at, label)| (at, label.as_str(), false));
        let mut snippets: Vec<(usize, Snippet<'a, annotate_snippets::Annotation<'a>>)> = Vec::new();
        for (at, label, primary) in places.chain(others) {
            let Some(source) = self.sources.get(at.file) else { continue };
            if at.start == at.end && at.start == 0 {
                // A whole file is meant: there is nothing to underline.
                elements.push(Origin::path(source.path.display().to_string()).into());
                continue;
            }
            let kind = if primary { AnnotationKind::Primary } else { AnnotationKind::Context };
            let label = Some(label).filter(|label| !label.is_empty());
            let annotation = kind.span(within(&source.text, at)).label(label);
            match snippets.iter().position(|(file, _)| *file == at.file).map(|i| snippets.remove(i)) {
                Some((file, snippet)) => snippets.push((file, snippet.annotation(annotation))),
                None => {
                    let snippet = Snippet::source(source.text.as_str()).path(source.path.display().to_string());
                    snippets.push((at.file, snippet.annotation(annotation)));
                }
            }
        }
        elements.extend(snippets.into_iter().map(|(_, snippet)| snippet.into()));
        elements.extend(problem.help.iter().map(|help| Level::HELP.message(help.as_str()).into()));
        level.primary_title(problem.message.as_str()).elements(elements)
    }
}

/// The stretch on character boundaries, inside the text.
fn within(text: &str, at: &At) -> Range<usize> {
    floor(text, at.start)..floor(text, at.end)
}

fn floor(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

fn position(text: &str, index: usize) -> Position {
    let before = text.get(..floor(text, index)).unwrap_or("");
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    Position { line, column }
}
