//! A unit as `systemctl status`, `list-units` and `show` print it.

use jiff::Timestamp;

use crate::api::log::LogLine;
use crate::api::status::UnitStatus;
use crate::cli::render::look::Tone;
use crate::cli::render::words;
use crate::cli::shims::systemctl::full;
use crate::cli::shims::told;
use crate::cli::svctl::session::Session;

/// `enabled` or `disabled`.
pub(super) fn file_state(unit: &UnitStatus) -> &'static str {
    if unit.enabled { "enabled" } else { "disabled" }
}

/// The block of `status`, without the lines of output below it.
pub(super) fn status(session: &mut Session, unit: &UnitStatus, file: Option<&str>) {
    let (active, sub) = told::systemd(&unit.state);
    let look = session.out.look;
    let tone = match active {
        "active" | "reloading" => Tone::Good,
        "failed" => Tone::Bad,
        "activating" | "deactivating" => Tone::Busy,
        _ => Tone::Plain,
    };
    let dot = match active {
        "failed" => "×",
        "inactive" => "○",
        _ => "●",
    };
    let about = if unit.description.is_empty() { String::new() } else { format!(" - {}", unit.description) };
    let mut lines = vec![format!("{} {}{about}", look.paint(tone, dot), full(&unit.unit))];
    let file = file.map(|file| format!("{file}; ")).unwrap_or_default();
    lines.push(format!("     Loaded: loaded ({file}{})", file_state(unit)));
    let state = look.paint(tone, &format!("{active} ({sub})")).into_owned();
    let ago = words::age(unit.since_ms);
    lines.push(format!("     Active: {state} since {}; {ago} ago", date(session, &unit.since)));
    if let Some(pid) = unit.pid {
        lines.push(format!("   Main PID: {pid}"));
    }
    if let Some(text) = &unit.status_text {
        lines.push(format!("     Status: \"{}\"", words::printable(text)));
    }
    if let Some(exit) = unit.last_exit.as_ref().filter(|_| unit.pid.is_none()) {
        lines.push(format!("       Last: {}", words::ending(exit)));
    }
    if active != "active" && !unit.why.is_empty() {
        lines.push(format!("        Why: {}", words::printable(&unit.why)));
    }
    if let Some(tasks) = unit.tasks {
        lines.push(format!("      Tasks: {tasks}"));
    }
    if let Some(memory) = unit.memory {
        lines.push(format!("     Memory: {}", words::size(memory)));
    }
    if let Some(cpu) = unit.cpu_ms {
        lines.push(format!("        CPU: {cpu}ms"));
    }
    lines.iter().for_each(|line| session.out.line(line));
}

/// `Sun 2026-11-29 19:10:20 UTC`.
fn date(session: &Session, since: &str) -> String {
    match since.parse::<Timestamp>() {
        Ok(then) => then.to_zoned(session.zone()).strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string(),
        Err(_) => since.to_owned(),
    }
}

/// `Nov 29 19:10:20 web[42]: line`.
pub(super) fn log_line(session: &Session, line: &LogLine) -> String {
    let time = match line.ts.parse::<Timestamp>() {
        Ok(then) => then.to_zoned(session.zone()).strftime("%b %d %H:%M:%S").to_string(),
        Err(_) => line.ts.clone(),
    };
    let pid = line.pid.map(|pid| format!("[{pid}]")).unwrap_or_default();
    format!("{time} {}{pid}: {}", line.unit, words::printable(&line.message))
}

/// The table of `list-units`.
pub(super) fn list(session: &mut Session, units: &[&UnitStatus], no_legend: bool, plain: bool, all: bool) {
    let rows: Vec<[String; 5]> = units
        .iter()
        .map(|unit| {
            let (active, sub) = told::systemd(&unit.state);
            [full(&unit.unit), "loaded".into(), active.into(), sub.into(), unit.description.clone()]
        })
        .collect();
    let heads = ["UNIT", "LOAD", "ACTIVE", "SUB"];
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([if no_legend { 0 } else { heads[at].len() }]).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    let indent = if plain { "" } else { "  " };
    let line = |mark: &str, cells: [&str; 5]| {
        let padded: Vec<String> =
            widths.iter().zip(cells).map(|(width, cell)| format!("{cell:width$}")).collect();
        format!("{mark}{} {}", padded.join(" "), cells[4]).trim_end().to_owned()
    };
    if !no_legend && !rows.is_empty() {
        session.out.line(line(indent, ["UNIT", "LOAD", "ACTIVE", "SUB", "DESCRIPTION"]));
    }
    for row in &rows {
        let mark = if row[2] == "failed" && !plain { "● " } else { indent };
        session.out.line(line(mark, [&row[0], &row[1], &row[2], &row[3], &row[4]]));
    }
    if no_legend {
        return;
    }
    if !rows.is_empty() {
        session.out.line("");
        session.out.line("Legend: LOAD   → Reflects whether the unit definition was properly loaded.");
        session
            .out
            .line("        ACTIVE → The high-level unit activation state, i.e. generalization of SUB.");
        session.out.line("        SUB    → The low-level unit activation state, values depend on unit type.");
        session.out.line("");
    }
    let hint = if all { "" } else { " Pass --all to see loaded but inactive units, too." };
    session.out.line(format!("{} loaded units listed.{hint}", rows.len()));
}

/// The lines of `show`, in systemd's names. Of a unit that is not there only that is known.
pub(super) fn properties(
    session: &Session,
    name: &str,
    unit: Option<&UnitStatus>,
) -> Vec<(&'static str, String)> {
    let Some(unit) = unit else {
        return vec![
            ("Id", name.to_owned()),
            ("Names", name.to_owned()),
            ("LoadState", "not-found".to_owned()),
            ("ActiveState", "inactive".to_owned()),
            ("SubState", "dead".to_owned()),
            ("MainPID", "0".to_owned()),
            ("NRestarts", "0".to_owned()),
            ("UnitFileState", String::new()),
        ];
    };
    let (active, sub) = told::systemd(&unit.state);
    let names: Vec<String> =
        std::iter::once(&unit.unit).chain(&unit.aliases).map(|name| full(name)).collect();
    let (code, status) = match &unit.last_exit {
        Some(exit) if exit.signal.is_some() => ("2", exit.signal.clone().unwrap_or_default()),
        Some(exit) => ("1", exit.code.unwrap_or(0).to_string()),
        None => ("0", "0".to_owned()),
    };
    let unset = || "[not set]".to_owned();
    let number = |value: Option<u64>| value.map_or_else(unset, |value| value.to_string());
    vec![
        ("Id", full(&unit.unit)),
        ("Names", names.join(" ")),
        ("Description", unit.description.clone()),
        ("LoadState", "loaded".to_owned()),
        ("ActiveState", active.to_owned()),
        ("SubState", sub.to_owned()),
        ("UnitFileState", file_state(unit).to_owned()),
        ("MainPID", unit.pid.unwrap_or(0).to_string()),
        ("NRestarts", unit.restarts.to_string()),
        ("ExecMainCode", code.to_owned()),
        ("ExecMainStatus", status),
        ("Result", if unit.state == "failed" { "exit-code" } else { "success" }.to_owned()),
        ("StateChangeTimestamp", date(session, &unit.since)),
        ("StatusText", unit.status_text.clone().unwrap_or_default()),
        ("MemoryCurrent", number(unit.memory)),
        ("TasksCurrent", number(unit.tasks.map(u64::from))),
        ("CPUUsageNSec", number(unit.cpu_ms.map(|ms| ms.saturating_mul(1_000_000)))),
        ("NeedDaemonReload", if unit.changed_on_disk { "yes" } else { "no" }.to_owned()),
    ]
}
