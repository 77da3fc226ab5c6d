//! `svctl update`: what the unit files would change, and how it goes.

use clap::Arg;
use clap::ArgMatches;
use serde_json::json;

use crate::api::command::JobLine;
use crate::api::command::UnitDifference;
use crate::api::command::UpdateRequest;
use crate::api::command::Verb as JobVerb;
use crate::cli::exit::Exit;
use crate::cli::render::look::Look;
use crate::cli::render::look::Tone;
use crate::cli::render::words;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::jobs;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::client::query::Path;
use crate::client::stream::Lines;

pub(super) const UPDATE: Verb = Verb {
    name: "update",
    aliases: &["apply"],
    group: Group::Act,
    about: "Take over what the unit files say now, touching only units that differ",
    details: "Shows what differs, key by key, and what follows: what only the next process has restarts the unit, \
              everything else is in force at once. Units that are new and enabled are started, those that are gone are \
              stopped. A mistake in any file, or a new socket that cannot be had, changes nothing and exits with 78. SIGHUP to \
              svinit does the same.",
    examples: &[
        ("svctl update --dry-run", "what would be done"),
        ("svctl update gunicorn", "this unit only"),
    ],
    completes: Completes::Units,
    arguments: |command| {
        let units = Arg::new("units")
            .value_name("UNIT")
            .num_args(0..)
            .help("Names or aliases, also of units that are in the files only [default: all]");
        arguments::no_wait(arguments::timeout(command.arg(units)))
            .arg(arguments::flag("dry-run", "Show what would be done, and do nothing"))
    },
    run: update,
};

fn update(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let request = UpdateRequest {
        units: matches.get_many("units").into_iter().flatten().cloned().collect(),
        dry_run: matches.get_flag("dry-run"),
        wait: !matches.get_flag("no-wait"),
    };
    let lines = session.client().post_and_follow(&Path::new("/v1/update"), &request)?;
    let nothing = "nothing differs: every unit is as its files say";
    follow(session, lines, (request.dry_run, request.wait), nothing)
}

/// Tells what is to be done, and how it goes.
pub(super) fn follow(
    session: &mut Session,
    mut lines: Lines<JobLine>,
    (is_dry_run, is_awaited): (bool, bool),
    nothing: &str,
) -> Result<Exit, Failure> {
    let Some(JobLine::Plan { units, warnings }) = lines.read()? else {
        return Err(Failure::failed("the supervisor did not say what differs"));
    };
    let is_dry = is_dry_run || units.is_empty();
    for warning in &warnings {
        session.err.line(format!("svctl: {warning}"));
    }
    session.err.flush();
    if !session.json {
        show(session, &units, is_dry_run, nothing);
    }
    let (exit, outcomes) = if is_dry {
        (Exit::Done, Vec::new())
    } else {
        jobs::follow(session, JobVerb::Restart, lines, is_awaited)?
    };
    if session.json {
        session.print_json(&json!({ "units": units, "warnings": warnings, "outcomes": outcomes }))?;
    }
    Ok(exit)
}

fn show(session: &mut Session, units: &[UnitDifference], is_dry: bool, nothing: &str) {
    let look = session.out.look;
    if units.is_empty() {
        session.out.line(nothing);
        return;
    }
    for unit in units {
        for line in lines(unit, look) {
            session.out.line(line);
        }
    }
    let summary = summary(units);
    session.out.line(if is_dry { format!("would change {summary}") } else { format!("changing {summary}") });
    session.out.flush();
}

fn lines(unit: &UnitDifference, look: Look) -> Vec<String> {
    let (sign, tone) = match unit.what.as_str() {
        "added" => ("+", Tone::Good),
        "removed" => ("-", Tone::Bad),
        _ => ("~", Tone::Busy),
    };
    let follows = match unit.follows.as_str() {
        "start" => "starts",
        "stop" => "stops",
        "restart" => "restarts",
        "nothing" => "is not enabled, so it is not started",
        "next start" => "changes when it is next started",
        "next start of svinit" => "changes when svinit is next started",
        _ => "changes at once, its processes stay",
    };
    let head = format!("{} {} {follows}", look.paint(tone, sign), look.paint(Tone::Strong, &unit.unit));
    let key = |key: &crate::api::command::KeyDifference| {
        let value = |value: &Option<String>| {
            value.as_ref().map_or_else(|| "(not set)".to_owned(), |value| words::printable(value))
        };
        let later = if key.in_force == unit.follows || unit.follows == "restart" && key.in_force == "at once"
        {
            String::new()
        } else {
            format!("  ({})", look.paint(Tone::Faint, &key.in_force))
        };
        format!("    {}: {} -> {}{later}", key.key, value(&key.old), value(&key.new))
    };
    std::iter::once(head).chain(unit.keys.iter().map(key)).collect()
}

fn summary(units: &[UnitDifference]) -> String {
    let count = |follows: &str| units.iter().filter(|unit| unit.follows == follows).count();
    let parts = [("restart", "restart"), ("start", "start"), ("stop", "stop")];
    let told: Vec<String> = parts
        .iter()
        .map(|(follows, word)| (count(follows), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} to {word}"))
        .collect();
    let all = words::count(units.len(), "unit");
    if told.is_empty() {
        format!("{all}; no process is touched")
    } else {
        format!("{all}: {}", told.join(", "))
    }
}
