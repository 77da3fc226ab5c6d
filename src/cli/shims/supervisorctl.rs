//! `supervisorctl`: its lines (name in 33 columns, state in 10) and its LSB exit statuses.
//!
//! Of several names one that is not there does not keep the others from being acted upon, as there.

use jiff::Timestamp;

use crate::api::command::Outcome;
use crate::api::command::Verb;
use crate::api::log::LogLine;
use crate::api::status::SupervisorStatus;
use crate::api::status::UnitStatus;
use crate::cli::exit::Exit;
use crate::cli::shims::asking;
use crate::cli::shims::asking::Job;
use crate::cli::shims::flags::Flag;
use crate::cli::shims::flags::Line;
use crate::cli::shims::flags::switch;
use crate::cli::shims::flags::valued;
use crate::cli::shims::told;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;
use crate::client::error::Error;
use crate::client::query::Path;

/// For what they decide: whom to ask. There is one supervisor in a container, so they change nothing.
const FLAGS: &[Flag] = &[
    valued(&["--configuration", "-c"]),
    valued(&["--serverurl", "-s"]),
    valued(&["--username", "-u"]),
    valued(&["--password", "-p"]),
    valued(&["--history-file", "-r"]),
    switch(&["--interactive", "-i"]),
    switch(&["--help", "-h"]),
];

const HELP: &str = "supervisorctl, carried out by svctl:
  status [NAME...]   start NAME...|all   stop NAME...|all   restart NAME...|all
  reread   update   reload   signal SIG NAME...|all   pid [NAME|all]   tail [-f] [-BYTES] NAME [stdout|stderr]
  avail   version   shutdown
A NAME may be GROUP:NAME or GROUP:*. svctl help says what else there is.";

/// Bytes of output that `tail` shows unless told otherwise.
const TAIL_BYTES: usize = 1600;

/// Lines from which those bytes are cut, and those that are shown before what is to come.
const LINES: &str = "1000";
const LINES_FOLLOWING: &str = "20";

/// Exit statuses, from the LSB by way of supervisor.
const GENERIC: Exit = Exit::Of(1);
const IS_NOT_RUNNING: Exit = Exit::Of(3);
const IS_UNKNOWN: Exit = Exit::Of(4);
const NOT_RUNNING: Exit = Exit::Of(7);

/// Does it.
pub(super) fn answer(session: &mut Session, args: Vec<String>) -> Exit {
    // What stands behind the verb belongs to it: `tail -f`.
    let at = args.iter().scan(false, |is_value, arg| {
        let was = std::mem::replace(is_value, takes_value(arg));
        Some(!was && !arg.starts_with('-'))
    });
    let at = at.clone().position(|is_verb| is_verb).unwrap_or(args.len());
    let (flags, rest) = args.split_at(at);
    let line = match Line::read(flags.to_vec(), FLAGS) {
        Ok(line) => line,
        Err(why) => return misuse(session, &format!("Error: {why}")),
    };
    if line.has("--help") {
        session.out.line(HELP);
        return Exit::Done;
    }
    let (verb, names) =
        rest.split_first().map_or(("status", &[][..]), |(verb, names)| (verb.as_str(), names));
    let done = match verb {
        "status" => status(session, names),
        "start" => act(session, Verb::Start, names),
        "stop" => act(session, Verb::Stop, names),
        "restart" => act(session, Verb::Restart, names),
        "signal" => match names.split_first() {
            Some((signal, names)) if !names.is_empty() => self::signal(session, signal, names),
            _ => Ok(misuse(session, "Error: signal requires a signal name and a process name")),
        },
        "pid" => pid(session, names),
        "tail" => tail(session, names),
        "avail" => avail(session),
        "reread" => reread(session),
        "update" => update(session, names),
        "reload" => reload(session),
        "shutdown" => asking::shutdown(session).map(|()| {
            session.out.line("Shut down");
            Exit::Done
        }),
        "version" => session.client().get::<SupervisorStatus>(&Path::new("/v1/supervisor")).map_or_else(
            |error| Err(error.into()),
            |supervisor| {
                session.out.line(&supervisor.version);
                Ok(Exit::Done)
            },
        ),
        "help" => {
            session.out.line(HELP);
            Ok(Exit::Done)
        }
        _ => Ok(refuse(session, verb)),
    };
    done.unwrap_or_else(|failure| tell(session, verb, &failure))
}

fn takes_value(arg: &str) -> bool {
    FLAGS.iter().any(|flag| flag.takes_value && flag.names.contains(&arg))
}

fn misuse(session: &mut Session, text: &str) -> Exit {
    session.err.line(text);
    Exit::Usage
}

fn refuse(session: &mut Session, verb: &str) -> Exit {
    let instead = match verb {
        "fg" => "a unit has no terminal; `svctl logs -f NAME` follows what it says",
        "add" | "remove" => "`svctl update NAME` takes over what the unit files say of it",
        "clear" => "lines in memory are bounded, and files are rotated ([log] in the unit's file)",
        "maintail" => "`svctl logs -f svinit` follows what svinit says",
        "open" | "exit" | "quit" => "there is no prompt; each call does one thing",
        _ => "`svctl help` says what there is",
    };
    misuse(session, &format!("*** svinit does not do {verb:?} of supervisorctl: {instead}"))
}

/// What went wrong on the way, as supervisorctl says it.
fn tell(session: &mut Session, verb: &str, failure: &Failure) -> Exit {
    // It asks whether anybody is there before it does anything else.
    let nobody = if verb == "status" { IS_UNKNOWN } else { NOT_RUNNING };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only a socket where nobody is has words of its own there"
    )]
    match failure {
        Failure::Client(Error::Unreachable { tried }) => {
            let (place, word) =
                tried.last().map_or((String::from("unix://"), "no such file"), |(place, error)| {
                    let there = error.kind() != std::io::ErrorKind::NotFound;
                    let word = if there { "refused connection" } else { "no such file" };
                    (format!("unix://{}", place.display()), word)
                });
            session.out.line(format!("{place} {word}"));
            nobody
        }
        failure => {
            session.out.line(format!("error: {}", words(failure)));
            GENERIC
        }
    }
}

fn words(failure: &Failure) -> String {
    match failure {
        Failure::Client(error) => error.to_string(),
        Failure::Said(_, text) => text.clone(),
    }
}

fn status(session: &mut Session, names: &[String]) -> Result<Exit, Failure> {
    asking::trace(session, &format!("status {}", names.join(" ")));
    let units = asking::units(session)?;
    let mut exit = Exit::Done;
    let mut shown: Vec<&UnitStatus> = Vec::new();
    if names.is_empty() || names.iter().any(|name| name == "all") {
        shown.extend(&units);
    }
    for name in names.iter().filter(|name| *name != "all") {
        match asking::find(&units, name) {
            Some(unit) => shown.push(unit),
            None => {
                session.out.line(format!("{name}: ERROR (no such {})", sort(name)));
                exit = IS_UNKNOWN;
            }
        }
    }
    let width = shown.iter().map(|unit| unit.unit.len()).max().unwrap_or(0).max(30) + 3;
    for unit in &shown {
        let state = told::supervisor(&unit.state);
        let description = description(session, unit);
        session.out.line(format!("{:width$}{state:10}{description}", unit.unit));
    }
    let is_at_rest = |unit: &&UnitStatus| {
        matches!(told::supervisor(&unit.state), "STOPPED" | "EXITED" | "FATAL" | "UNKNOWN")
    };
    Ok(if shown.iter().any(is_at_rest) { IS_NOT_RUNNING } else { exit })
}

/// A bare name means a group there, and only `a:b` a process.
fn sort(name: &str) -> &'static str {
    if name.contains(':') { "process" } else { "group" }
}

fn description(session: &Session, unit: &UnitStatus) -> String {
    match told::supervisor(&unit.state) {
        "RUNNING" => {
            let pid = unit.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
            format!("pid {pid}, uptime {}", uptime(unit.uptime_ms.unwrap_or(0) / 1000))
        }
        "STARTING" | "STOPPING" => String::new(),
        "BACKOFF" | "FATAL" => unit.why.lines().next().unwrap_or_default().to_owned(),
        _ if unit.last_exit.is_none() && unit.state == "inactive" => "Not started".to_owned(),
        _ => date(session, &unit.since),
    }
}

/// As Python prints a length of time: `0:00:02`, `3 days, 4:05:06`.
fn uptime(seconds: u64) -> String {
    let (days, hours, minutes, rest) =
        (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let clock = format!("{hours}:{minutes:02}:{rest:02}");
    match days {
        0 => clock,
        1 => format!("1 day, {clock}"),
        _ => format!("{days} days, {clock}"),
    }
}

/// `Nov 29 07:10 PM`.
fn date(session: &Session, since: &str) -> String {
    let Ok(then) = since.parse::<Timestamp>() else { return String::new() };
    then.to_zoned(session.zone()).strftime("%b %d %I:%M %p").to_string()
}

/// The units of `names`; those that are not there are complained about.
fn named(session: &mut Session, units: &[UnitStatus], names: &[String]) -> (Vec<String>, bool) {
    if names.iter().any(|name| name == "all") {
        return (units.iter().map(|unit| unit.unit.clone()).collect(), true);
    }
    let mut found: Vec<String> = Vec::new();
    let mut whole = true;
    for name in names {
        match asking::find(units, name) {
            Some(unit) if found.contains(&unit.unit) => {}
            Some(unit) => found.push(unit.unit.clone()),
            None => {
                session.out.line(format!(
                    "{name}: ERROR (no such {})",
                    if name.ends_with(":*") { "group" } else { "process" }
                ));
                whole = false;
            }
        }
    }
    (found, whole)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "start, stop or restart, as `run` calls it")]
fn act(session: &mut Session, verb: Verb, names: &[String]) -> Result<Exit, Failure> {
    if names.is_empty() {
        let word = match verb {
            Verb::Start => "start",
            Verb::Stop => "stop",
            _ => "restart",
        };
        return Ok(misuse(session, &format!("Error: {word} requires a process name")));
    }
    let units = asking::units(session)?;
    let (found, whole) = named(session, &units, names);
    let was = |name: &str| units.iter().find(|unit| unit.unit == name);
    let mut exit = if whole { Exit::Done } else { GENERIC };
    // `all` means what is not yet so: a program that is not running is not named by `stop all`.
    let all = names.iter().any(|name| name == "all");
    let concerned: Vec<String> = found
        .into_iter()
        .filter(|name| match verb {
            Verb::Start => !was(name).is_some_and(told::is_alive) || !all,
            Verb::Stop => was(name).is_some_and(told::is_alive) || !all,
            _ => true,
        })
        .collect();
    let (idle, acted): (Vec<String>, Vec<String>) = concerned.into_iter().partition(|name| match verb {
        Verb::Start => was(name).is_some_and(told::is_alive),
        Verb::Stop => !was(name).is_some_and(told::is_alive),
        _ => false,
    });
    for name in idle {
        // Neither is a failure there: it is as it was asked to be.
        let word = if verb == Verb::Start { "already started" } else { "not running" };
        session.out.line(format!("{name}: ERROR ({word})"));
    }
    if verb == Verb::Restart {
        for name in &acted {
            let word = if was(name).is_some_and(told::is_alive) { "stopped" } else { "ERROR (not running)" };
            session.out.line(format!("{name}: {word}"));
        }
        session.out.flush();
    }
    for outcome in asking::job(session, Job::of(verb), &acted)? {
        session.out.line(line(&outcome, verb));
        if !outcome.ok {
            exit = NOT_RUNNING;
        }
    }
    Ok(exit)
}

fn line(outcome: &Outcome, verb: Verb) -> String {
    let unit = &outcome.unit;
    if outcome.ok {
        let word = if verb == Verb::Stop { "stopped" } else { "started" };
        return format!("{unit}: {word}");
    }
    let fault = match (verb, outcome.why.contains("cannot execute") || outcome.why.contains("no such file")) {
        (Verb::Stop, _) => outcome.why.lines().next().unwrap_or("cannot stop"),
        (_, true) => "spawn error",
        (_, false) => "abnormal termination",
    };
    format!("{unit}: ERROR ({fault})")
}

fn signal(session: &mut Session, signal: &str, names: &[String]) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let (found, whole) = named(session, &units, names);
    let mut exit = if whole { Exit::Done } else { GENERIC };
    let (running, resting): (Vec<String>, Vec<String>) =
        found.into_iter().partition(|name| units.iter().any(|unit| unit.unit == *name && unit.pid.is_some()));
    for name in resting {
        session.out.line(format!("{name}: ERROR (not running)"));
        exit = NOT_RUNNING;
    }
    match asking::signal(session, signal, false, &running) {
        Ok(outcomes) => {
            for outcome in outcomes {
                let word = if outcome.ok { "signalled" } else { "ERROR (not running)" };
                session.out.line(format!("{}: {word}", outcome.unit));
                if !outcome.ok {
                    exit = NOT_RUNNING;
                }
            }
        }
        Err(failure) if failure.exit() == Exit::Usage => {
            running.iter().for_each(|name| session.out.line(format!("{name}: ERROR (bad signal name)")));
            exit = GENERIC;
        }
        Err(failure) => return Err(failure),
    }
    Ok(exit)
}

fn pid(session: &mut Session, names: &[String]) -> Result<Exit, Failure> {
    if names.is_empty() {
        let supervisor: SupervisorStatus = session.client().get(&Path::new("/v1/supervisor"))?;
        session.out.line(supervisor.pid.to_string());
        return Ok(Exit::Done);
    }
    let units = asking::units(session)?;
    let all: Vec<String> = units.iter().map(|unit| unit.unit.clone()).collect();
    let names = if names.iter().any(|name| name == "all") { &all } else { names };
    let mut exit = Exit::Done;
    for name in names {
        match asking::find(&units, name) {
            Some(unit) => {
                session.out.line(unit.pid.unwrap_or(0).to_string());
                if unit.pid.is_none() {
                    exit = NOT_RUNNING;
                }
            }
            None => {
                session.out.line(format!("No such process {name}"));
                exit = GENERIC;
            }
        }
    }
    Ok(exit)
}

fn tail(session: &mut Session, words: &[String]) -> Result<Exit, Failure> {
    let (modifiers, names): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| word.starts_with('-'));
    let follow = modifiers.iter().any(|word| *word == "-f");
    let mut count = modifiers.iter().filter(|word| **word != "-f").map(|word| word[1..].parse::<usize>());
    let bytes = match count.next_back() {
        Some(Ok(bytes)) => bytes,
        Some(Err(_)) => {
            return Ok(misuse(
                session,
                "Error: bad argument to tail: write -f or a number of bytes such as -1000",
            ));
        }
        None => TAIL_BYTES,
    };
    let (Some(name), channel) = (names.first(), names.get(1).map_or("stdout", |word| word.as_str())) else {
        return Ok(misuse(session, "Error: too few arguments for tail"));
    };
    if !["stdout", "stderr"].contains(&channel) {
        return Ok(misuse(session, &format!("Error: bad channel '{channel}'")));
    }
    let units = asking::units(session)?;
    let Some(unit) = asking::find(&units, name).map(|unit| unit.unit.clone()) else {
        session.out.line(format!("{name}: ERROR (no such process name)"));
        return Ok(GENERIC);
    };
    asking::trace(session, &format!("logs{} --raw {unit}", if follow { " -f" } else { "" }));
    let (lines, word) = if follow { (LINES_FOLLOWING, "true") } else { (LINES, "false") };
    let path = Path::new("/v1/logs").units(&[unit]).with("lines", lines).with("follow", word);
    let mut stream = session.client().follow::<LogLine>(&path)?;
    if follow {
        session.out.line("==> Press Ctrl-C to exit <==");
    }
    let mut text = String::new();
    while let Some(line) = stream.read()? {
        match (line.stream == channel, follow) {
            (true, true) => session.out.line(&line.message),
            (true, false) => {
                text.push_str(&line.message);
                text.push('\n');
            }
            (false, _) => {}
        }
        // Also behind a line that is not shown: one before it may be waiting.
        if follow && !stream.has_received() {
            session.out.flush();
        }
        if session.out.is_lost() {
            break;
        }
    }
    let from = text.ceil_char_boundary(text.len().saturating_sub(bytes));
    session.out.text(&text[from..]);
    Ok(Exit::Done)
}

fn avail(session: &mut Session) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let width = units.iter().map(|unit| unit.unit.len()).max().unwrap_or(0).max(30) + 3;
    for unit in &units {
        let start = if unit.enabled { "auto" } else { "manual" };
        session.out.line(format!("{:width$}{:10}{start:10}999:999", unit.unit, "in use"));
    }
    Ok(Exit::Done)
}

fn reread(session: &mut Session) -> Result<Exit, Failure> {
    let (plan, _) = asking::update(session, true, Vec::new())?;
    if plan.is_empty() {
        session.out.line("No config updates to processes");
    }
    for unit in plan {
        let word = match unit.what.as_str() {
            "added" => "available",
            "removed" => "disappeared",
            _ => "changed",
        };
        session.out.line(format!("{}: {word}", unit.unit));
    }
    Ok(Exit::Done)
}

fn update(session: &mut Session, names: &[String]) -> Result<Exit, Failure> {
    let names = names.iter().filter(|name| *name != "all").cloned().collect();
    let (plan, outcomes) = asking::update(session, false, names)?;
    for unit in &plan {
        let name = &unit.unit;
        let stopped = unit.what == "removed" || unit.follows == "restart";
        if stopped {
            session.out.line(format!("{name}: stopped"));
        }
        let word = match unit.what.as_str() {
            "added" => "added",
            "removed" => "removed",
            _ => "updated",
        };
        session.out.line(format!("{name}: {word} process group"));
    }
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.ok).collect();
    for outcome in &failed {
        session.out.line(format!("{}: ERROR ({})", outcome.unit, outcome.why));
    }
    Ok(if failed.is_empty() { Exit::Done } else { NOT_RUNNING })
}

/// supervisord would execute itself again and start everything anew with what its files say.
fn reload(session: &mut Session) -> Result<Exit, Failure> {
    asking::update(session, false, Vec::new())?;
    let units = asking::units(session)?;
    let wanted: Vec<String> = units.into_iter().filter(told::is_alive).map(|unit| unit.unit).collect();
    let outcomes = asking::job(session, Job::of(Verb::Restart), &wanted)?;
    session.out.line("Restarted supervisord");
    for outcome in outcomes.iter().filter(|outcome| !outcome.ok) {
        session.out.line(line(outcome, Verb::Restart));
    }
    Ok(if outcomes.iter().all(|outcome| outcome.ok) { Exit::Done } else { NOT_RUNNING })
}
