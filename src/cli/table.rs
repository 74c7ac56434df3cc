//! Columns that align.

use super::ask::Screen;
use super::paint::{Ink, printable};

pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
}

pub(super) struct Cell {
    text: String,
    ink: Ink,
    /// Numbers end where the column ends.
    right: bool,
}

pub(super) fn cell(text: impl AsRef<str>) -> Cell {
    Cell { text: printable(text.as_ref()).into_owned(), ink: Ink::Plain, right: false }
}

pub(super) fn number(value: impl std::fmt::Display) -> Cell {
    Cell { text: value.to_string(), ink: Ink::Plain, right: true }
}

impl Cell {
    pub(super) fn ink(self, ink: Ink) -> Self {
        Self { ink, ..self }
    }
}

impl Table {
    pub(super) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|title| cell(title).ink(Ink::Bold)).collect()] }
    }

    /// Rows that need no titles.
    pub(super) fn plain() -> Self {
        Self { rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        self.rows.push(cells.into());
    }

    /// Each row a line; two spaces between columns, none at a line's end.
    pub(super) fn render(&self, indent: &str, screen: Screen) -> String {
        let mut widths: Vec<usize> = Vec::new();
        let mut right: Vec<bool> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            right.resize(widths.len(), false);
            for ((cell, width), right) in row.iter().zip(&mut widths).zip(&mut right) {
                *width = (*width).max(cell.text.chars().count());
                // The title goes where its numbers go.
                *right |= cell.right;
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = indent.to_owned();
            // Spaces are owed until something follows them.
            let mut owed = 0;
            for ((cell, width), right) in row.iter().zip(&widths).zip(&right) {
                let gap = width.saturating_sub(cell.text.chars().count());
                let (before, after) = if *right { (gap, 0) } else { (0, gap) };
                if !cell.text.is_empty() {
                    line.extend(std::iter::repeat_n(' ', owed + before));
                    line.push_str(&screen.paint.text(cell.ink, &cell.text));
                    owed = 0;
                    owed += after + 2;
                } else {
                    owed += width + 2;
                }
            }
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}
