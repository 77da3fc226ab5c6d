//! `svctl events`: every change of a unit, as it happens.

use clap::ArgMatches;

use crate::api::event::UnitEvent;
use crate::cli::exit::Exit;
use crate::cli::render::look::Look;
use crate::cli::render::look::Tone;
use crate::cli::render::look::tone_of_state;
use crate::cli::render::words;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::listen;
use crate::cli::svctl::listen::Listener;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::client::query::Path;

pub(super) const EVENTS: Verb = Verb {
    name: "events",
    aliases: &["watch"],
    group: Group::Look,
    about: "Print every change of units as it happens",
    details: "One line a change: when, which unit, what it was and is, its main process, and why. Goes on until Ctrl-C, \
              or until svinit ends. With --json, one object a line.",
    examples: &[("svctl events --initial web", "first what is, then what changes")],
    completes: Completes::Units,
    arguments: |command| {
        listen::until_eof(arguments::some_units(command))
            .arg(arguments::flag("follow", "What it does anyway").short('f').hide(true))
            .arg(arguments::flag("initial", "Begin with one line for each unit as it is"))
    },
    run,
};

fn run(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let mut path = Path::new("/v1/events").units(&arguments::named(matches));
    if matches.get_flag("initial") {
        path = path.with("initial", "true");
    }
    let mut events = Listener::<UnitEvent>::new(session.client().follow(&path)?, matches);
    while let Some(event) = events.read()? {
        session.tell_missed(events.take_missed(), "event");
        if session.json {
            session.print_json_line(&event)?;
        } else {
            let text = line(&event, session.out.look);
            session.out.line(text);
        }
        if !events.has_received() {
            session.out.flush();
        }
        if session.out.is_lost() {
            break;
        }
    }
    Ok(Exit::Done)
}

/// `12:00:03.120 web starting -> ready (pid 34): answers`.
pub(super) fn line(event: &UnitEvent, look: Look) -> String {
    let state = look.paint(tone_of_state(&event.state), &event.state);
    let change =
        if event.was == event.state { state.into_owned() } else { format!("{} -> {state}", event.was) };
    let mut beside = Vec::new();
    if event.health != "unknown" {
        beside.push(format!("health {}", event.health));
    }
    beside.extend(event.pid.map(|pid| format!("pid {pid}")));
    let beside = if beside.is_empty() { String::new() } else { format!(" ({})", beside.join(", ")) };
    let why =
        if event.why.is_empty() { String::new() } else { format!(": {}", words::printable(&event.why)) };
    let time = look.paint(Tone::Faint, words::clock(&event.ts));
    format!(
        "{time} {} {change}{}{why}",
        look.paint(Tone::Strong, &event.unit),
        look.paint(Tone::Faint, &beside)
    )
}
