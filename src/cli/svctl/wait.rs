//! `svctl wait`: returns when units have come to a state.
//!
//! It listens to events, whose first are the units as they are, so that no change can fall between looking and listening.

use std::collections::BTreeMap;

use clap::Arg;
use clap::ArgMatches;
use clap::builder::PossibleValuesParser;

use crate::api::event::UnitEvent;
use crate::api::status::UnitStatus;
use crate::cli::exit::Exit;
use crate::cli::render::look::tone_of_state;
use crate::cli::render::words;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::progress::Progress;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::status::is_up;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::client::error::Error;
use crate::client::query::Path;

/// What can be waited for: goals of its own, and every state.
const GOALS: [&str; 12] = [
    "ready",
    "healthy",
    "completed",
    "inactive",
    "failed",
    "waiting",
    "starting",
    "reloading",
    "stopping",
    "backoff",
    "scheduled",
    "ended",
];

pub(super) const WAIT: Verb = Verb {
    name: "wait",
    aliases: &[],
    group: Group::Look,
    about: "Wait until units are ready, healthy, completed, inactive or failed",
    details: "ready: up, which a completed oneshot is too. healthy: up, and its health check has not failed. ended: \
              inactive, completed or failed. Every other word is the state of that name. Exits with 7 after --timeout, and \
              with 1 at once when a unit has failed for good and so cannot come to be ready.",
    examples: &[
        ("svctl wait web --timeout 30s", "until it is ready"),
        ("svctl wait migrate --for completed", "until a oneshot is done"),
    ],
    completes: Completes::Units,
    arguments: |command| {
        let goal = Arg::new("for")
            .long("for")
            .short('f')
            .value_name("STATE")
            .value_parser(PossibleValuesParser::new(GOALS))
            .hide_possible_values(true)
            .default_value("ready")
            .help("What to wait for");
        arguments::timeout(arguments::units(command)).arg(goal)
    },
    run,
};

fn run(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let names = arguments::named(matches);
    let goal = matches.get_one::<String>("for").map_or("ready", String::as_str).to_owned();
    let units: Vec<UnitStatus> = session.client_at_ease().get(&Path::new("/v1/units").units(&names))?;
    let mut pending: BTreeMap<String, UnitEvent> = BTreeMap::new();
    for unit in units {
        pending.insert(unit.unit.clone(), as_event(unit));
    }
    let mut progress = Progress::default();
    let path = Path::new("/v1/events").units(&names).with("initial", "true");
    let mut events = session.client().follow::<UnitEvent>(&path)?;
    let mut reached = Vec::new();
    while !pending.is_empty() {
        match events.read() {
            Ok(Some(event)) => {
                hear(session, event, &goal, &mut pending, &mut reached, &mut progress)?;
                if events.take_missed() > 0 {
                    // What was missed may be what is waited for: look again from the beginning.
                    events = session.client().follow(&path)?;
                }
            }
            Ok(None) => return Err(gone(session, &mut progress)),
            Err(Error::TimedOut) => {
                progress.wipe(&mut session.out);
                return Err(late(&pending, &goal));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if session.json {
        session.print_json(&reached)?;
    }
    Ok(Exit::Done)
}

/// One more fact: it may be what is waited for, or the end of all hope.
fn hear(
    session: &mut Session,
    event: UnitEvent,
    goal: &str,
    pending: &mut BTreeMap<String, UnitEvent>,
    reached: &mut Vec<UnitEvent>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    if !pending.contains_key(&event.unit) {
        return Ok(());
    }
    if is_reached(goal, &event) {
        pending.remove(&event.unit);
        progress.remove(&mut session.out, &event.unit);
        if !session.json {
            let look = session.out.look;
            let state = look.paint(tone_of_state(&event.state), &event.state);
            let pid = event.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
            session.out.line(format!("{}: {state}{pid}", event.unit));
            progress.draw(&mut session.out);
            session.out.flush();
        }
        reached.push(event);
        return Ok(());
    }
    if event.state == "failed" && matches!(goal, "ready" | "healthy" | "completed") {
        progress.wipe(&mut session.out);
        let why = words::printable(&event.why);
        let unit = &event.unit;
        return Err(Failure::failed(format!(
            "{unit} has failed: {why}\n  what to do: svctl why {unit} says more"
        )));
    }
    if !session.json {
        progress.set(&mut session.out, &event.unit, &event.state, &event.why);
    }
    pending.insert(event.unit.clone(), event);
    Ok(())
}

fn is_reached(goal: &str, event: &UnitEvent) -> bool {
    match goal {
        "ready" => is_up(&event.state),
        "healthy" => is_up(&event.state) && event.health != "fail",
        "ended" => matches!(event.state.as_str(), "inactive" | "completed" | "failed"),
        state => event.state == state,
    }
}

fn as_event(unit: UnitStatus) -> UnitEvent {
    UnitEvent {
        id: 0,
        initial: true,
        ts: unit.since,
        unit: unit.unit,
        was: unit.state.clone(),
        state: unit.state,
        health: unit.health,
        pid: unit.pid,
        why: unit.why,
    }
}

fn gone(session: &mut Session, progress: &mut Progress) -> Failure {
    progress.wipe(&mut session.out);
    Failure::Said(Exit::NoSupervisor, "the supervisor has ended".to_owned())
}

fn late(pending: &BTreeMap<String, UnitEvent>, goal: &str) -> Failure {
    let lines: Vec<String> = pending
        .values()
        .map(|event| {
            let why = if event.why.is_empty() {
                String::new()
            } else {
                format!(": {}", words::printable(&event.why))
            };
            format!("{} is not {goal} in time, it is {}{why}", event.unit, event.state)
        })
        .collect();
    Failure::Said(Exit::TimedOut, lines.join("\n"))
}
