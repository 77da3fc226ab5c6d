//! Units as `pm2 list`, `describe` and `jlist` print them.

use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use crate::api::status::UnitStatus;
use crate::cli::shims::told;
use crate::cli::svctl::session::Session;

/// On a narrower terminal fewer columns are shown, as pm2 does. A pipe is as wide as it has to be.
const WIDE: usize = 120;

/// The table of `list`.
pub(super) fn lines(units: &[UnitStatus], columns: Option<usize>) -> Vec<String> {
    let is_wide = columns.is_none_or(|columns| columns >= WIDE);
    let heads: &[&str] = if is_wide {
        &[
            "id",
            "name",
            "namespace",
            "version",
            "mode",
            "pid",
            "uptime",
            "↺",
            "status",
            "cpu",
            "mem",
            "user",
            "watching",
        ]
    } else {
        &["id", "name", "mode", "↺", "status", "cpu", "memory"]
    };
    let rows: Vec<Vec<String>> = units
        .iter()
        .enumerate()
        .map(|(id, unit)| if is_wide { wide(id, unit) } else { narrow(id, unit) })
        .collect();
    boxed(heads, &rows)
}

fn wide(id: usize, unit: &UnitStatus) -> Vec<String> {
    let dash = || "N/A".to_owned();
    vec![
        id.to_string(),
        unit.unit.clone(),
        "default".to_owned(),
        dash(),
        "fork".to_owned(),
        unit.pid.unwrap_or(0).to_string(),
        unit.uptime_ms.map_or_else(|| "0".to_owned(), uptime),
        unit.restarts.to_string(),
        told::pm2(&unit.state).to_owned(),
        cpu(unit),
        memory(unit),
        dash(),
        "disabled".to_owned(),
    ]
}

fn narrow(id: usize, unit: &UnitStatus) -> Vec<String> {
    vec![
        id.to_string(),
        unit.unit.clone(),
        "fork".to_owned(),
        unit.restarts.to_string(),
        told::pm2(&unit.state).to_owned(),
        cpu(unit),
        memory(unit),
    ]
}

/// `+ app`: one line of `list --mini-list`.
pub(super) fn mini(id: usize, unit: &UnitStatus) -> String {
    format!(
        "+--- {}\nnamespace : default\nid : {id}\npid : {}\nstatus : {}\n",
        unit.unit,
        unit.pid.unwrap_or(0),
        told::pm2(&unit.state)
    )
}

/// The two columns of `describe`.
pub(super) fn describe(unit: &UnitStatus) -> Vec<String> {
    let mut rows = vec![
        ("status", told::pm2(&unit.state).to_owned()),
        ("name", unit.unit.clone()),
        ("namespace", "default".to_owned()),
        ("restarts", unit.restarts.to_string()),
        ("uptime", unit.uptime_ms.map_or_else(|| "0".to_owned(), uptime)),
        ("pid", unit.pid.unwrap_or(0).to_string()),
        ("exec mode", "fork_mode".to_owned()),
        ("watch & reload", "✘".to_owned()),
        ("created at", unit.since.clone()),
    ];
    if !unit.why.is_empty() {
        rows.push(("why", crate::cli::render::words::printable(&unit.why)));
    }
    let left = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let right = rows.iter().map(|(_, value)| value.chars().count()).max().unwrap_or(0);
    let rule = |a, b, c| format!("{a}{}{b}{}{c}", "─".repeat(left + 2), "─".repeat(right + 2));
    let mut lines = vec![rule("┌", "┬", "┐")];
    lines.extend(rows.iter().map(|(name, value)| format!("│ {name:left$} │ {value:right$} │")));
    lines.push(rule("└", "┴", "┘"));
    lines
}

fn boxed(heads: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([heads[at].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let rule = |left: &str, middle: &str, right: &str| {
        let parts: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}", parts.join(middle))
    };
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let parts: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!(" {cell:width$} ")).collect();
        format!("│{}│", parts.join("│"))
    };
    let mut lines = vec![rule("┌", "┬", "┐"), line(&mut heads.iter().copied())];
    if !rows.is_empty() {
        lines.push(rule("├", "┼", "┤"));
    }
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.push(rule("└", "┴", "┘"));
    lines
}

/// `12s`, `3m`, `2h`, `4D`: one number, as pm2 counts.
fn uptime(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}D", seconds / 86_400),
    }
}

fn cpu(unit: &UnitStatus) -> String {
    let percent = unit.cpu_percent.unwrap_or(0.0);
    if percent == 0.0 { "0%".to_owned() } else { format!("{percent:.1}%") }
}

fn memory(unit: &UnitStatus) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let bytes = unit.memory.unwrap_or(0) as f64;
    if bytes == 0.0 { "0b".to_owned() } else { format!("{:.1}mb", bytes / f64::from(1 << 20)) }
}

/// `jlist`, without anybody's environment: what pm2 prints there has leaked many a password.
pub(super) fn json(session: &Session, units: &[UnitStatus], pretty: bool) -> String {
    let all: Vec<Value> = units.iter().enumerate().map(|(id, unit)| one(session, id, unit)).collect();
    let text = if pretty { serde_json::to_string_pretty(&all) } else { serde_json::to_string(&all) };
    text.unwrap_or_default()
}

fn one(session: &Session, id: usize, unit: &UnitStatus) -> Value {
    let began = unit.uptime_ms.and_then(|age| i64::try_from(age).ok()).map(|age| session.now_ms() - age);
    let since = unit.since.parse::<Timestamp>().map_or(0, |since| since.as_millisecond());
    json!({
        "pid": unit.pid.unwrap_or(0),
        "name": unit.unit,
        "pm2_env": {
            "name": unit.unit,
            "namespace": "default",
            "pm_id": id,
            "status": told::pm2(&unit.state),
            "pm_uptime": began.unwrap_or(since),
            "created_at": since,
            "restart_time": unit.restarts,
            "unstable_restarts": 0,
            "exec_mode": "fork_mode",
            "instances": 1,
            "watch": false,
            "autorestart": true,
            "exit_code": unit.last_exit.as_ref().and_then(|exit| exit.code),
        },
        "pm_id": id,
        "monit": { "memory": unit.memory.unwrap_or(0), "cpu": unit.cpu_percent.unwrap_or(0.0) },
    })
}
