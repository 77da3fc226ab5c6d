//! `svctl status` and `svctl is-active`: what runs, and whether it does.

use std::collections::BTreeSet;

use clap::Arg;
use clap::ArgMatches;
use clap::Command;

use crate::api::status::Aside;
use crate::api::status::LastRun;
use crate::api::status::Schedule;
use crate::api::status::SupervisorStatus;
use crate::api::status::UnitStatus;
use crate::cli::exit::Exit;
use crate::cli::render::look::Look;
use crate::cli::render::look::Tone;
use crate::cli::render::look::tone_of_health;
use crate::cli::render::look::tone_of_state;
use crate::cli::render::table;
use crate::cli::render::table::Cell;
use crate::cli::render::table::Column;
use crate::cli::render::table::Lean;
use crate::cli::render::words;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::tail;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::cli::svctl::why;
use crate::client::query::Path;

pub(super) const STATUS: Verb = Verb {
    name: "status",
    aliases: &["list", "ls", "ps"],
    group: Group::Look,
    about: "Show what runs, one line a unit, or one unit in detail",
    details: "Without a name: all units, and the exit status is 0. With one name: its state, its last exit and its last \
              lines. With names, the exit status is 3 when one of them is not up; a unit is up when it is ready, \
              reloading, or a oneshot that completed; one that is run by the clock is up whatever came of its last run.\n\nThe columns are UNIT STATE HEALTH PID UPTIME RESTARTS CPU MEM; \
              what there is none of is a dash. Processor share is measured since the last look. That the program of svinit \
              was replaced on the disk is said below the table, and on stderr in a pipe or with --json.",
    examples: &[
        ("svctl status", "all units"),
        ("svctl status gunicorn", "one in detail"),
        ("svctl status --json 'web*'", "an array of objects"),
    ],
    completes: Completes::Units,
    arguments: |command: Command| {
        let names = arguments::flag("names", "Print names and aliases only").hide(true);
        let lines = Arg::new("lines")
            .long("lines")
            .short('n')
            .value_name("N")
            .value_parser(clap::value_parser!(u32))
            .default_value("10")
            .help("Last log lines of the one unit");
        arguments::timeout(arguments::some_units(command)).arg(lines).arg(names)
    },
    run: status,
};

pub(super) const IS_ACTIVE: Verb = Verb {
    name: "is-active",
    aliases: &[],
    group: Group::Look,
    about: "Ask whether units are up, for scripts",
    details: "Prints the state of each unit, one word a line, and exits with 0 when all of them are up (ready, reloading, \
              completed or scheduled), with 3 when one is not, with 4 when there is no such unit.",
    examples: &[("svctl is-active -q postgres && ./migrate", "in a script")],
    completes: Completes::Units,
    arguments: |command: Command| {
        let quiet = arguments::flag("quiet", "Print nothing, the exit status says it").short('q');
        arguments::timeout(arguments::units(command)).arg(quiet)
    },
    run: is_active,
};

fn status(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let names = arguments::named(matches);
    if matches.get_flag("names") {
        return print_names(session);
    }
    let units: Vec<UnitStatus> =
        session.client().get(&Path::new("/v1/units").units(&names).with("usage", "true"))?;
    let exit = if names.is_empty() { Exit::Done } else { exit_of(&units) };
    if session.json {
        session.print_json(&units)?;
        say_what_concerns_all(session, &names);
        return Ok(exit);
    }
    match (units.as_slice(), names.as_slice()) {
        ([one], [name]) if !name.contains(['*', '?', '[']) && name != "all" => {
            let lines = matches.get_one("lines").copied().unwrap_or(10);
            detail(session, one, lines)?;
        }
        _ => overview(session, &units),
    }
    say_what_concerns_all(session, &names);
    Ok(exit)
}

/// For the completions of shells: every word that means a unit or a group.
fn print_names(session: &mut Session) -> Result<Exit, Failure> {
    let units: Vec<UnitStatus> = session.client().get(&Path::new("/v1/units"))?;
    let mut told = BTreeSet::new();
    for unit in &units {
        for word in unit.group.iter().chain([&unit.unit]).chain(&unit.aliases) {
            if told.insert(word) {
                session.out.line(word);
            }
        }
    }
    Ok(Exit::Done)
}

fn is_active(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let units: Vec<UnitStatus> =
        session.client().get(&Path::new("/v1/units").units(&arguments::named(matches)))?;
    if session.json {
        session.print_json(&units)?;
    } else if !matches.get_flag("quiet") {
        units.iter().for_each(|unit| session.out.line(&unit.state));
    }
    Ok(exit_of(&units))
}

/// Up, or ended as it was meant to.
pub(super) fn is_up(state: &str) -> bool {
    matches!(state, "ready" | "reloading" | "completed" | "scheduled")
}

fn exit_of(units: &[UnitStatus]) -> Exit {
    let is_well = |unit: &UnitStatus| {
        is_up(&unit.state) || unit.schedule.as_ref().is_some_and(|schedule| schedule.running)
    };
    if units.iter().all(is_well) { Exit::Done } else { Exit::NotRunning }
}

const COLUMNS: &[Column] = &[
    Column { name: "UNIT", lean: Lean::Left, spare: 0 },
    Column { name: "STATE", lean: Lean::Left, spare: 0 },
    Column { name: "HEALTH", lean: Lean::Left, spare: 1 },
    Column { name: "PID", lean: Lean::Right, spare: 3 },
    Column { name: "UPTIME", lean: Lean::Right, spare: 2 },
    Column { name: "RESTARTS", lean: Lean::Right, spare: 4 },
    Column { name: "CPU", lean: Lean::Right, spare: 6 },
    Column { name: "MEM", lean: Lean::Right, spare: 5 },
];

fn overview(session: &mut Session, units: &[UnitStatus]) {
    let look = session.out.look;
    let rows: Vec<Vec<Cell>> = units.iter().map(row).collect();
    let mut lines = table::lines(COLUMNS, &rows, look).into_iter();
    session.out.line(lines.next().unwrap_or_default());
    for (unit, line) in units.iter().zip(lines) {
        session.out.line(line);
        if look.is_terminal() && needs_words(unit) {
            session.out.line(remark(unit, look));
        }
    }
    if look.is_terminal() {
        session.out.line("");
        session.out.line(summary(units, look));
        if let Some(unit) = units.iter().find(|unit| needs_words(unit)) {
            session.out.hint(&format!("svctl why {} says more", unit.unit));
        }
        if units.iter().any(|unit| unit.changed_on_disk) {
            session.out.hint("svctl update takes over what has changed on disk");
        }
    }
}

/// What is of no single unit has no place in a list of units: beside it, where a program that reads the list does not look.
fn say_what_concerns_all(session: &mut Session, names: &[String]) {
    if !names.is_empty() {
        return;
    }
    let supervisor = session.client().get::<SupervisorStatus>(&Path::new("/v1/supervisor"));
    if !supervisor.is_ok_and(|supervisor| supervisor.replaced) {
        return;
    }
    let text = "binary replaced: svctl upgrade makes svinit the program that is on the disk by now";
    if session.out.look.is_terminal() && !session.json {
        session.out.hint(text);
    } else {
        session.err.line(format!("svctl: {text}"));
    }
}

fn row(unit: &UnitStatus) -> Vec<Cell> {
    let plain = |text: Option<String>| text.map_or_else(Cell::none, |text| Cell::new(text, Tone::Plain));
    let state = if unit.paused { format!("{} (paused)", unit.state) } else { unit.state.clone() };
    let state = if unit.changed_on_disk { format!("{state} (changed on disk)") } else { state };
    vec![
        Cell::new(unit.unit.clone(), Tone::Strong),
        Cell::new(state, tone_of_state(&unit.state)),
        Cell::new(unit.health.clone(), tone_of_health(&unit.health)),
        plain(unit.pid.map(|pid| pid.to_string())),
        plain(unit.uptime_ms.map(words::age)),
        Cell::new(unit.restarts.to_string(), if unit.restarts > 0 { Tone::Busy } else { Tone::Faint }),
        plain(unit.cpu_percent.map(|share| format!("{share:.1}%"))),
        plain(unit.memory.map(words::size)),
    ]
}

/// Whether a person who sees the line will ask why.
fn needs_words(unit: &UnitStatus) -> bool {
    let has_failed = |schedule: &Schedule| schedule.last.as_ref().is_some_and(|run| !run.ok);
    matches!(unit.state.as_str(), "backoff" | "failed" | "waiting")
        || unit.health == "fail"
        || unit.schedule.as_ref().is_some_and(has_failed)
}

/// The line under a unit that is not well.
fn remark(unit: &UnitStatus, look: Look) -> String {
    let mut text = if unit.health == "fail" && is_up(&unit.state) {
        unit.health_why.clone().unwrap_or_else(|| unit.why.clone())
    } else {
        unit.why.clone()
    };
    if let Some(ms) = unit.retry_ms {
        text = format!("{}; next try in {}", words::without_pause(&text), words::took_ms(ms));
    }
    let text = words::printable(&text);
    format!("  {}", look.paint(tone_of_state(&unit.state), &look.fit(2, &text)))
}

fn summary(units: &[UnitStatus], look: Look) -> String {
    let mut parts = Vec::new();
    for state in [
        "ready",
        "completed",
        "scheduled",
        "reloading",
        "starting",
        "waiting",
        "stopping",
        "backoff",
        "failed",
        "inactive",
    ] {
        let number = units.iter().filter(|unit| unit.state == state).count();
        if number > 0 {
            parts.push(look.paint(tone_of_state(state), &format!("{number} {state}")).into_owned());
        }
    }
    let ill = units.iter().filter(|unit| unit.health == "fail").count();
    if ill > 0 {
        parts.push(look.paint(Tone::Bad, &format!("{ill} not healthy")).into_owned());
    }
    format!(
        "{}: {}",
        words::count(units.len(), "unit"),
        if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
    )
}

fn detail(session: &mut Session, unit: &UnitStatus, lines: u32) -> Result<(), Failure> {
    let look = session.out.look;
    let dot = if look.is_terminal() {
        format!("{} ", look.paint(tone_of_state(&unit.state), "●"))
    } else {
        String::new()
    };
    let description = if unit.description.is_empty() {
        String::new()
    } else {
        format!(" - {}", words::printable(&unit.description))
    };
    session.out.line(format!("{dot}{}{description}", look.paint(Tone::Strong, &unit.unit)));
    for (name, value, tone) in facts(unit, session.now_ms()) {
        let name = look.paint(Tone::Faint, &format!("{name:>9}")).into_owned();
        session.out.line(format!("{name}  {}", look.paint(tone, &value)));
    }
    if lines > 0 {
        let last = tail::last_lines(session, &unit.unit, lines)?;
        if !last.is_empty() {
            session.out.line("");
            tail::print(session, &last);
        }
    }
    if look.is_terminal() && !is_up(&unit.state) {
        session.out.line("");
        session.out.hint(&why::advice(unit));
    }
    Ok(())
}

/// What is said of one unit, each with its name; what there is none of is left out.
pub(super) fn facts(unit: &UnitStatus, now_ms: i64) -> Vec<(&'static str, String, Tone)> {
    let mut facts = Vec::new();
    let state = format!("{} since {} ({})", unit.state, words::date(&unit.since), words::age(unit.since_ms));
    facts.push(("state", state, tone_of_state(&unit.state)));
    let mut add = |name, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            facts.push((name, words::printable(&value), Tone::Plain));
        }
    };
    add("why", Some(words::without_pause(&unit.why).to_owned()));
    add("says", unit.status_text.clone());
    add("waits for", Some(unit.waits_for.join(", ")));
    add("next try", unit.retry_ms.map(|ms| format!("in {}", words::took_ms(ms))));
    if let Some(schedule) = &unit.schedule {
        add("schedule", Some(schedule.when.clone()));
        add("next run", next_run(schedule, now_ms));
        add("last run", schedule.last.as_ref().map(|run| last_run(run, now_ms)));
        add("runs", Some(runs(schedule)));
    }
    add("health", health(unit));
    add("pid", unit.pid.map(|pid| process(unit, pid)));
    add("beside", Some(beside(unit)));
    add("memory", unit.memory.map(words::size));
    add("cpu", cpu(unit));
    add(
        "last exit",
        unit.last_exit.as_ref().map(|exit| {
            let ago = words::since(&exit.at, now_ms)
                .map(|ms| format!(", {} ago", words::age(ms)))
                .unwrap_or_default();
            format!("{}{ago}", words::ending(exit))
        }),
    );
    add("restarts", (unit.restarts > 0).then(|| unit.restarts.to_string()));
    add("took", times(unit));
    add("also", Some(unit.aliases.join(", ")));
    add(
        "on disk",
        unit.changed_on_disk.then(|| "changed since it was read: svctl update takes it over".to_owned()),
    );
    add("note", note(unit).map(str::to_owned));
    facts
}

/// "2026-12-01 03:00:00 (in 5h 12m)"; whether one is on its way already.
fn next_run(schedule: &Schedule, now_ms: i64) -> Option<String> {
    if schedule.queued {
        return Some("as soon as this one is over".to_owned());
    }
    if let Some(ms) = schedule.delay_ms {
        return Some(format!("in {}, by its random delay", words::took_ms(ms)));
    }
    let next = schedule.next.as_ref()?;
    let left = words::until(next, now_ms).map(|ms| format!(" (in {})", words::age(ms))).unwrap_or_default();
    Some(format!("{}{left}", words::date(next)))
}

/// "well, 3h ago, took 12s"; "failed: exited with code 1, 3h ago, took 12s".
pub(super) fn last_run(run: &LastRun, now_ms: i64) -> String {
    let ago =
        words::since(&run.ended, now_ms).map(|ms| format!(", {} ago", words::age(ms))).unwrap_or_default();
    let how = if run.ok { "well".to_owned() } else { format!("failed: {}", run.why) };
    format!("{how}{ago}, took {}", words::took_ms(run.took_ms))
}

fn runs(schedule: &Schedule) -> String {
    let Schedule { runs, failed, skipped, .. } = schedule;
    format!("{runs}, {failed} failed, {skipped} skipped")
}

fn health(unit: &UnitStatus) -> Option<String> {
    match (unit.health.as_str(), &unit.health_why) {
        ("unknown", None) => None,
        (health, Some(why)) => Some(format!("{health}: {why}")),
        (health, None) => Some(health.to_owned()),
    }
}

fn process(unit: &UnitStatus, pid: i32) -> String {
    let up = unit.uptime_ms.map(|ms| format!(", up {}", words::age(ms))).unwrap_or_default();
    let tasks =
        unit.tasks.map(|tasks| format!(", {}", words::count(tasks as usize, "task"))).unwrap_or_default();
    format!("{pid}{up}{tasks}")
}

/// "57 (new, starting), 23 (old, stopping)".
fn beside(unit: &UnitStatus) -> String {
    let words = |aside: &Aside| {
        let age = if aside.state == "stopping" { "old" } else { "new" };
        let pid = aside.pid.map_or("no process yet".to_owned(), |pid| pid.to_string());
        format!("{pid} ({age}, {})", aside.state)
    };
    unit.beside.iter().map(words).collect::<Vec<_>>().join(", ")
}

fn cpu(unit: &UnitStatus) -> Option<String> {
    let time = unit.cpu_ms.map(|ms| format!("{} in all", words::took_ms(ms)));
    match (unit.cpu_percent, time) {
        (Some(share), Some(time)) => Some(format!("{share:.1}%, {time}")),
        (Some(share), None) => Some(format!("{share:.1}%")),
        (None, time) => time,
    }
}

fn times(unit: &UnitStatus) -> Option<String> {
    let start = unit.start_took_ms.map(|ms| format!("{} to start", words::took_ms(ms)));
    let stop = unit.stop_took_ms.map(|ms| format!("{} to stop", words::took_ms(ms)));
    let both: Vec<String> = start.into_iter().chain(stop).collect();
    (!both.is_empty()).then(|| both.join(", "))
}

fn note(unit: &UnitStatus) -> Option<&'static str> {
    if unit.paused {
        Some("paused: no checks and no automatic restart until svctl resume")
    } else if unit.held {
        Some("stopped by a person: nothing starts it until asked to")
    } else if unit.enabled {
        None
    } else {
        Some("not enabled: not started at boot")
    }
}
