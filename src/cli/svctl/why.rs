//! `svctl why`: in words, why a unit is in its state and what to do next.

use std::fmt::Write as _;

use clap::ArgMatches;
use serde::Serialize;

use crate::api::log::LogLine;
use crate::api::status::UnitStatus;
use crate::cli::exit::Exit;
use crate::cli::render::look::Tone;
use crate::cli::render::look::tone_of_state;
use crate::cli::render::words;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::status::last_run;
use crate::cli::svctl::tail;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;

/// Last lines that are shown.
const LINES: u32 = 10;

pub(super) const WHY: Verb = Verb {
    name: "why",
    aliases: &["explain"],
    group: Group::Understand,
    about: "Say in words why a unit is in its state, and what to do next",
    details: "Says what it waits for, how its last process ended (status, signal, out of memory), when it is tried again, \
              its last lines, and what can be done about it.",
    examples: &[("svctl why web", "why does it not run?")],
    completes: Completes::Units,
    arguments: |command| arguments::timeout(arguments::one_unit(command)),
    run,
};

/// `svctl why --json`.
#[derive(Serialize)]
struct Explanation<'a> {
    #[serde(flatten)]
    status: &'a UnitStatus,
    last_lines: &'a [LogLine],
    advice: String,
}

impl<'a> Explanation<'a> {
    fn of(status: &'a UnitStatus, last_lines: &'a [LogLine]) -> Self {
        Self { status, last_lines, advice: advice(status) }
    }
}

fn run(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let units = session.units(&[arguments::the_one(matches)])?;
    if session.json && units.len() > 1 {
        let mut all = Vec::new();
        for unit in &units {
            all.push((unit, tail::own_lines(session, &unit.unit, LINES)?));
        }
        let all: Vec<_> = all.iter().map(|(unit, lines)| Explanation::of(unit, lines)).collect();
        session.print_json(&all)?;
        return Ok(Exit::Done);
    }
    for (at, unit) in units.iter().enumerate() {
        if at > 0 {
            session.out.line("");
        }
        explain(session, unit)?;
    }
    Ok(Exit::Done)
}

fn explain(session: &mut Session, unit: &UnitStatus) -> Result<(), Failure> {
    let lines = tail::own_lines(session, &unit.unit, LINES)?;
    if session.json {
        return session.print_json(&Explanation::of(unit, &lines));
    }
    let look = session.out.look;
    let state = look.paint(tone_of_state(&unit.state), &unit.state).into_owned();
    let name = look.paint(Tone::Strong, &unit.unit).into_owned();
    session.out.line(headline(&name, &state, unit));
    for sentence in sentences(unit, session.now_ms()) {
        session.out.line(format!("  {}", words::printable(&sentence)));
    }
    if !lines.is_empty() {
        session.out.line("");
        session.out.line("Its last lines:");
        tail::print(session, &lines);
    }
    session.out.line("");
    session.out.line(format!("What to do: {}", advice(unit)));
    Ok(())
}

/// `web: backoff for 2s, exited with status 1`.
fn headline(name: &str, state: &str, unit: &UnitStatus) -> String {
    let why = if unit.why.is_empty() {
        String::new()
    } else {
        format!(", {}", words::printable(words::without_pause(&unit.why)))
    };
    format!("{name}: {state} for {}{why}", words::age(unit.since_ms))
}

/// What else is known, most telling first.
fn sentences(unit: &UnitStatus, now_ms: i64) -> Vec<String> {
    let mut all = Vec::new();
    if !unit.waits_for.is_empty() {
        all.push(format!("It waits for {}.", unit.waits_for.join(", ")));
    }
    if unit.health == "fail" {
        let why = unit.health_why.as_deref().unwrap_or("its health check does not pass");
        all.push(format!("It is not well: {why}."));
    }
    if let Some(exit) = &unit.last_exit {
        let mut text = format!("Its last process {}", words::ending(exit));
        if let Some(ms) = words::since(&exit.at, now_ms) {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {} ago", words::age(ms));
        }
        all.push(text + ".");
    }
    if let Some(ms) = unit.retry_ms {
        all.push(format!("It will be tried again in {}.", words::took_ms(ms)));
    }
    if let Some(schedule) = &unit.schedule {
        if let Some(run) = &schedule.last {
            all.push(format!("Its last run: {}.", last_run(run, now_ms)));
        }
        if let Some(next) = &schedule.next {
            all.push(format!("Its next moment is {} ({}).", words::date(next), schedule.when));
        }
        if schedule.skipped > 0 {
            all.push(format!("{} of its moments were skipped.", schedule.skipped));
        }
    }
    if unit.restarts > 0 {
        all.push(format!("It was restarted {} by itself.", times(unit.restarts)));
    }
    if unit.paused {
        all.push("A person has paused it: no checks, no automatic restart.".to_owned());
    }
    if unit.held {
        all.push("A person has stopped it: nothing starts it until asked to.".to_owned());
    }
    if let Some(text) = unit.status_text.as_ref().filter(|text| !text.is_empty()) {
        all.push(format!("It says of itself: {text}"));
    }
    all
}

fn times(number: u32) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

/// What a person can do about it.
pub(super) fn advice(unit: &UnitStatus) -> String {
    let name = &unit.unit;
    if unit.paused {
        return format!("svctl resume {name} ends the pause");
    }
    match unit.state.as_str() {
        "waiting" => unit.waits_for.iter().find_map(|what| awaited(what)).map_or_else(
            || format!("see that what it waits for answers; svctl cat {name} shows what that is"),
            |other| format!("svctl why {other}"),
        ),
        "backoff" | "failed" => about_exit(unit),
        "inactive" => format!("svctl start {name}"),
        "starting" => {
            format!("wait for it: svctl wait {name} --timeout 30s; svctl logs -f {name} shows how it goes")
        }
        "stopping" => format!("wait for it: svctl wait {name} --for inactive"),
        "scheduled" => match unit.schedule.as_ref().and_then(|schedule| schedule.last.as_ref()) {
            Some(run) if !run.ok => format!(
                "mend what its last lines complain about (svctl logs {name}), then svctl start {name} runs it now"
            ),
            Some(_) | None => format!("nothing, its schedule runs it; svctl start {name} runs it now"),
        },
        _ if unit.health == "fail" => {
            format!("svctl logs {name}; svctl restart {name} if it does not recover")
        }
        _ => "nothing, it is well".to_owned(),
    }
}

/// The first word of what is waited for, when that may be a unit and not an address such as `tcp db:5432`.
fn awaited(what: &str) -> Option<&str> {
    let first = what.split_whitespace().next()?.trim_end_matches([':', ',']);
    let address = ["tcp", "http", "unix", "file", "exec"].contains(&first) || first.contains(['/', ':']);
    (!address).then_some(first)
}

fn about_exit(unit: &UnitStatus) -> String {
    let name = &unit.unit;
    let again = if unit.state == "failed" { format!(", then svctl start {name}") } else { String::new() };
    match &unit.last_exit {
        Some(exit) if exit.oom => {
            format!(
                "give it more memory ([limits] memory_max, or the container's own limit) or let it use less{again}"
            )
        }
        Some(exit) if exit.code == Some(127) => {
            format!("see that the program is in the image and its name is right: svctl cat {name}{again}")
        }
        Some(exit) if exit.code == Some(126) => {
            format!("see that the file is executable and made for this machine: svctl cat {name}{again}")
        }
        None => format!("see that its command and its context are right: svctl cat {name}{again}"),
        Some(_) => format!("mend what its last lines complain about (svctl logs {name}){again}"),
    }
}

#[cfg(test)]
mod tests {
    use super::awaited;

    #[test]
    fn an_address_is_no_unit_to_ask_about() {
        assert_eq!(awaited("postgres (starting)"), Some("postgres"));
        assert_eq!(awaited("migrate: failed"), Some("migrate"));
        assert_eq!(awaited("tcp database:5432: refused"), None);
        assert_eq!(awaited("database:5432"), None);
        assert_eq!(awaited(""), None);
    }
}
