//! What is wrong with what the user wrote, as the user is shown it.
//!
//! A [`Problem`] owns the line it points at, so it outlives the texts. What it prints is meant for a terminal: control
//! characters of hostile files are made visible, and a line of a megabyte is cut around the place that matters.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::units::source::{Place, Source};

/// Columns of a quoted line at most; longer ones are cut around the place.
const LINE_MAX: usize = 160;

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is started.
    Error,
    /// It is said, and that is all.
    Warning,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// Which file or directory.
    pub path: PathBuf,
    /// Where in it; `None`: the file as a whole.
    pub spot: Option<Spot>,
    /// What: lower case, no full stop.
    pub message: String,
    /// What to do about it, when that can be said.
    pub help: Option<String>,
}

/// Where in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line, ready to be printed.
    pub text: String,
    /// Characters of `text` before the marked ones.
    pub indent: usize,
    /// Marked characters, at least 1.
    pub width: usize,
}

impl Problem {
    /// An error about `path` as a whole.
    #[must_use]
    pub fn of_file(path: &Path, message: impl Into<String>) -> Self {
        let (path, message) = (path.to_owned(), message.into());
        Self { severity: Severity::Error, path, spot: None, message, help: None }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Problem {
    /// `web.toml:7:1: no such key in [restart]: "polcy"; did you mean "policy"?` and the line with a caret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(spot) = &self.spot {
            write!(f, "{}:{}:", spot.line, spot.column)?;
        }
        match self.severity {
            Severity::Error => f.write_str(" ")?,
            Severity::Warning => f.write_str(" warning: ")?,
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        if let Some(spot) = &self.spot {
            let number = spot.line.to_string();
            write!(f, "\n  {number} | {}", spot.text)?;
            let (margin, indent, width) = (number.len(), spot.indent, spot.width);
            write!(f, "\n  {:margin$} | {:indent$}{}", "", "", "^".repeat(width))?;
        }
        Ok(())
    }
}

/// All of them, in the order of files and lines.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Whether one of them is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }
}

impl fmt::Display for Problems {
    /// One after the other, each ending its line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

impl std::error::Error for Problems {}

/// Finds lines in a source without counting them again for every problem.
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(source: &'a Source) -> Self {
        let text = source.text.as_str();
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// `place` as a person finds it.
    pub(crate) fn spot(&self, place: Place) -> Spot {
        let start = floor(self.text, place.start);
        let line = self.starts.partition_point(|&at| at <= start).max(1) - 1;
        let from = self.starts[line];
        let text = self.text[from..].split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let before = &text[..floor(text, start - from)];
        let marked = &text[before.len()..floor(text, place.end.saturating_sub(from)).max(before.len())];
        let (text, indent, width) = cut(text, shown_len(before), shown_len(marked).max(1));
        Spot { line: line + 1, column: before.chars().count() + 1, text, indent, width }
    }
}

/// The nearest character boundary at or below `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// What a character becomes when it is shown: tabs are four columns, other control characters one visible sign.
fn shown(c: char) -> impl Iterator<Item = char> {
    let (sign, times) = match c {
        '\t' => (' ', 4),
        c if c.is_control() || is_invisible(c) => ('\u{b7}', 1),
        c => (c, 1),
    };
    std::iter::repeat_n(sign, times)
}

/// Marks that reorder or hide what follows them: a file could look like another one with them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn shown_len(text: &str) -> usize {
    text.chars().map(|c| shown(c).count()).sum()
}

/// The line as it is printed, cut to [`LINE_MAX`] columns that hold the marked place.
fn cut(text: &str, indent: usize, width: usize) -> (String, usize, usize) {
    let skip = if indent + width > LINE_MAX { indent.saturating_sub(LINE_MAX / 4) } else { 0 };
    let mut columns = text.chars().flat_map(shown).skip(skip);
    let mut line: String = columns.by_ref().take(LINE_MAX).collect();
    if columns.next().is_some() {
        line.push('\u{2026}');
    }
    let mut indent = indent - skip;
    if skip > 0 {
        line.insert(0, '\u{2026}');
        indent += 1;
    }
    let room = (LINE_MAX + 1).saturating_sub(indent).max(1);
    (line, indent, width.min(room))
}

/// `text` between quotes in a message: control characters made visible, and not longer than a line.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().flat_map(char::escape_debug).take(61).collect();
    if shown.len() > 60 && shown.chars().count() > 60 {
        shown = shown.chars().take(57).collect::<String>() + "...";
    }
    // escape_debug also escapes single quotes, which are harmless between double ones.
    format!("\"{}\"", shown.replace("\\'", "'"))
}
