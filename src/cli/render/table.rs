//! Columns: as wide as what is in them, and on a terminal without those that do not fit.

use crate::cli::render::look::Look;
use crate::cli::render::look::Tone;

/// Between two columns.
const GAP: usize = 2;

/// One column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Its heading.
    pub(crate) name: &'static str,
    /// Which way its cells lean.
    pub(crate) lean: Lean,
    /// Left out on a narrow terminal, the highest first; 0 never.
    pub(crate) spare: u8,
}

/// Which way the text in a cell goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lean {
    Left,
    Right,
}

/// One cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    /// Nothing to show: a dash, so that every line has as many words.
    pub(crate) fn none() -> Self {
        Self::new("-", Tone::Faint)
    }
}

/// The lines of a table, heading first. `rows` are as long as `columns`.
pub(crate) fn lines(columns: &[Column], rows: &[Vec<Cell>], look: Look) -> Vec<String> {
    let shown = shown(columns, &widths(columns, rows), look.columns);
    let heading: Vec<Cell> = columns.iter().map(|column| Cell::new(column.name, Tone::Faint)).collect();
    std::iter::once(&heading).chain(rows).map(|row| line(columns, &shown, row, look)).collect()
}

fn widths(columns: &[Column], rows: &[Vec<Cell>]) -> Vec<usize> {
    let width = |at: usize| rows.iter().map(|row| row[at].text.chars().count()).max().unwrap_or(0);
    columns.iter().enumerate().map(|(at, column)| width(at).max(column.name.len())).collect()
}

/// Which columns are shown, and how wide they are.
fn shown(columns: &[Column], widths: &[usize], room: Option<usize>) -> Vec<(usize, usize)> {
    let mut shown: Vec<(usize, usize)> = widths.iter().copied().enumerate().collect();
    let Some(room) = room else { return shown };
    while shown.iter().map(|(_, width)| width + GAP).sum::<usize>() > room + GAP {
        let spare = shown.iter().map(|(at, _)| columns[*at].spare).max().unwrap_or(0);
        if spare == 0 {
            break;
        }
        shown.retain(|(at, _)| columns[*at].spare < spare);
    }
    shown
}

fn line(columns: &[Column], shown: &[(usize, usize)], row: &[Cell], look: Look) -> String {
    let mut line = String::new();
    for (place, (at, width)) in shown.iter().enumerate() {
        let cell = &row[*at];
        let blank = " ".repeat(width.saturating_sub(cell.text.chars().count()));
        let is_last = place + 1 == shown.len();
        if place > 0 {
            line.push_str(&" ".repeat(GAP));
        }
        if columns[*at].lean == Lean::Right {
            line.push_str(&blank);
        }
        line.push_str(&look.paint(cell.tone, &cell.text));
        if columns[*at].lean == Lean::Left && !is_last {
            line.push_str(&blank);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::Cell;
    use super::Column;
    use super::Lean;
    use super::lines;
    use crate::cli::render::look::Look;
    use crate::cli::render::look::Tone;

    const COLUMNS: &[Column] = &[
        Column { name: "UNIT", lean: Lean::Left, spare: 0 },
        Column { name: "CPU", lean: Lean::Right, spare: 2 },
        Column { name: "STATE", lean: Lean::Left, spare: 1 },
    ];

    fn rows() -> Vec<Vec<Cell>> {
        let cell = |text: &str| Cell::new(text, Tone::Plain);
        vec![
            vec![cell("gunicorn"), cell("1.25"), cell("ready")],
            vec![cell("db"), Cell::none(), cell("failed")],
        ]
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        insta::assert_snapshot!(lines(COLUMNS, &rows(), Look::default()).join("\n"), @r"
        UNIT       CPU  STATE
        gunicorn  1.25  ready
        db           -  failed
        ");
    }

    #[test]
    fn a_narrow_terminal_has_fewer_columns_but_never_none() {
        let at =
            |columns| lines(COLUMNS, &rows(), Look { columns: Some(columns), ..Look::default() })[1].clone();
        assert_eq!(
            [at(22), at(21), at(16), at(4)],
            ["gunicorn  1.25  ready", "gunicorn  ready", "gunicorn  ready", "gunicorn"]
        );
    }
}
