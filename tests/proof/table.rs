//! The tables of the README.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::itself::Itself;
use crate::{Cell, Restart};

/// One cell, as soon as it is there.
pub fn line(cell: &Cell) -> String {
    let Cell { program, change, changes, requests, failed, longest, .. } = cell;
    let (change, longest) = (change.words(), millis(*longest));
    format!(
        "{program}, {change}: {failed} of {requests} failed through {changes} changes, longest answer {longest}"
    )
}

/// All changes, in Markdown.
pub fn changes(cells: &[Cell]) -> String {
    let mut text = "| program | change | changes made | requests | failed | longest answer |\n|---|---|---|---|---|---|\n".to_owned();
    for Cell { program, change, changes, requests, failed, longest, .. } in cells {
        let (change, requests, longest) = (change.words(), thousands(*requests), millis(*longest));
        text.push_str(&format!("| {program} | {change} | {changes} | {requests} | {failed} | {longest} |\n"));
    }
    text
}

/// svinit itself, in Markdown.
pub fn itself(all: &[Itself]) -> String {
    let mut text = "| svinit itself | times | survived | PIDs changed | lines written | lost | doubled | requests | failed | longest pause | longest answer of svinit |\n|---|---|---|---|---|---|---|---|---|---|---|\n".to_owned();
    for of in all {
        let Itself { what, asked, survived, pids_changed, requests, failed, longest, .. } = of;
        let (lines, requests) = (thousands(of.count.lines), thousands(*requests));
        let (lost, doubled, longest) = (of.count.lost, of.count.doubled, millis(*longest));
        let paused =
            of.paused.map_or_else(String::new, |paused| format!("{:.1} ms", paused.as_secs_f64() * 1000.0));
        text.push_str(&format!(
            "| {what} | {asked} | {survived} | {pids_changed} | {lines} | {lost} | {doubled} | {requests} | {failed} | {paused} | {longest} |\n"
        ));
    }
    text
}

/// Restarts of one service and of everything, in Markdown.
pub fn restarts(restarts: &[Restart]) -> String {
    let mut text = "| restart of | time to the first good answer |\n|---|---:|\n".to_owned();
    for Restart { what, took } in restarts {
        text.push_str(&format!("| {what} | {} |\n", millis(*took)));
    }
    text
}

/// Puts each table between its marks.
pub fn publish(file: &str, tables: &[(&str, String)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let mut text = fs::read_to_string(&path).unwrap();
    for (name, table) in tables {
        let (begin, end) = (format!("<!-- proof: {name} -->\n"), format!("<!-- proof: end of {name} -->"));
        let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{file} has no {begin}"));
        let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{file} has no {end}"));
        text = format!("{before}{begin}{table}{end}{after}");
    }
    fs::write(path, text).unwrap();
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}
