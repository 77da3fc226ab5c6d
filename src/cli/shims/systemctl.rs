//! `systemctl`: silent when all went well, with its words and exit statuses when not.
//!
//! Statuses are those of systemctl(1): of `status` 0 active, 3 not, 4 no such unit; of what changes something 5 for a unit
//! that is not there, 4 for what is not permitted, 3 for a unit that cannot do this.

mod unit;

use std::collections::BTreeSet;

use crate::api::command::Verb;
use crate::api::log::LogLine;
use crate::api::status::Definition;
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

const FLAGS: &[Flag] = &[
    switch(&["--now"]),
    switch(&["--quiet", "-q"]),
    switch(&["--no-block"]),
    switch(&["--all", "-a"]),
    switch(&["--failed"]),
    switch(&["--no-legend"]),
    switch(&["--plain"]),
    switch(&["--value"]),
    switch(&["--help", "-h"]),
    switch(&["--version"]),
    valued(&["--type", "-t"]),
    valued(&["--state"]),
    valued(&["--property", "-p"]),
    valued(&["-P"]),
    valued(&["--signal", "-s"]),
    valued(&["--kill-who", "--kill-whom"]),
    valued(&["--lines", "-n"]),
    // These decide how it looks or whom it asks, which is decided here already.
    switch(&["--no-pager"]),
    switch(&["--user"]),
    switch(&["--system"]),
    switch(&["--full", "-l"]),
    switch(&["--no-ask-password"]),
    switch(&["--no-wall"]),
    switch(&["--force", "-f"]),
    switch(&["--runtime"]),
    switch(&["--wait"]),
    valued(&["--output", "-o"]),
    valued(&["--job-mode"]),
];

const HELP: &str = "systemctl, carried out by svctl:
  start stop restart reload try-restart reload-or-restart try-reload-or-restart kill UNIT...
  status is-active is-failed is-enabled show cat UNIT...
  list-units   list-unit-files   daemon-reload   reset-failed [UNIT...]   is-system-running   poweroff
  enable, disable: only what a unit's file says already; with --now it is started or stopped
svctl help says what else there is.";

/// Exit statuses of systemctl and the LSB.
const GENERIC: Exit = Exit::Of(1);
const NOT_APPLICABLE: Exit = Exit::Of(3);
const IS_NOT_ACTIVE: Exit = Exit::Of(3);
const IS_UNKNOWN: Exit = Exit::Of(4);
const NOT_PERMITTED: Exit = Exit::Of(4);
const NOT_INSTALLED: Exit = Exit::Of(5);

/// Lines of output below `status`.
const STATUS_LINES: &str = "10";

/// Does it.
pub(super) fn answer(session: &mut Session, args: Vec<String>) -> Exit {
    let line = match Line::read(args, FLAGS) {
        Ok(line) => line,
        Err(why) => {
            session.err.line(format!("systemctl: {why}"));
            return Exit::Usage;
        }
    };
    if line.has("--help") {
        session.out.line(HELP);
        return Exit::Done;
    }
    if line.has("--version") {
        session.out.line(format!("svinit {} (systemctl is carried out by svctl)", env!("CARGO_PKG_VERSION")));
        return Exit::Done;
    }
    let (verb, names) =
        line.words.split_first().map_or(("list-units", &[][..]), |(verb, names)| (verb, names));
    let verb = verb.to_owned();
    dispatch(session, &verb, names, &line).unwrap_or_else(|failure| tell(session, &failure))
}

fn dispatch(session: &mut Session, verb: &str, names: &[String], line: &Line) -> Result<Exit, Failure> {
    let takes_none = matches!(
        verb,
        "list-units"
            | "list-unit-files"
            | "daemon-reload"
            | "daemon-reexec"
            | "reset-failed"
            | "is-system-running"
            | "poweroff"
            | "halt"
            | "exit"
            | "status"
            | "show"
            | "help"
    );
    if names.is_empty() && !takes_none && ACTS.iter().chain(QUESTIONS).any(|known| *known == verb) {
        session.err.line("Too few arguments.");
        return Ok(GENERIC);
    }
    match verb {
        _ if ACTS.contains(&verb) => act(session, verb, names, line),
        "kill" => kill(session, names, line),
        "status" if names.is_empty() => overview(session),
        "status" => status(session, names, line),
        "is-active" => Ok(is_state(session, names, line, &["active", "reloading"], IS_NOT_ACTIVE)?),
        "is-failed" => Ok(is_state(session, names, line, &["failed"], GENERIC)?),
        "is-enabled" => is_enabled(session, names, line),
        "enable" | "disable" | "reenable" => enable(session, verb, names, line),
        "daemon-reload" => {
            // There, only what is read changes. Here what differs is put in force too: there is no unit whose
            // definition nobody uses.
            asking::update(session, false, Vec::new())?;
            Ok(Exit::Done)
        }
        "reset-failed" => {
            let units = asking::units(session)?;
            let all = units.iter().filter(|unit| unit.state == "failed").map(|unit| unit.unit.clone());
            let (found, exit) = if names.is_empty() {
                (all.collect(), Exit::Done)
            } else {
                named(session, &units, names, "reset failed state of unit", "loaded")
            };
            asking::job(session, Job::of(Verb::Reset), &found)?;
            Ok(exit)
        }
        "is-system-running" => is_system_running(session, line),
        "list-units" => list(session, names, line),
        "list-unit-files" => list_files(session, line),
        "show" => show(session, names, line),
        "cat" => cat(session, names),
        "poweroff" | "halt" | "exit" => asking::shutdown(session).map(|()| Exit::Done),
        "help" => {
            session.out.line(HELP);
            Ok(Exit::Done)
        }
        _ => Ok(refuse(session, verb)),
    }
}

const ACTS: &[&str] = &[
    "start",
    "stop",
    "restart",
    "reload",
    "try-restart",
    "condrestart",
    "reload-or-restart",
    "try-reload-or-restart",
    "force-reload",
];

const QUESTIONS: &[&str] =
    &["kill", "is-active", "is-failed", "is-enabled", "enable", "disable", "reenable", "cat"];

fn refuse(session: &mut Session, verb: &str) -> Exit {
    let instead = match verb {
        "mask" | "unmask" => {
            "`enabled = false` in the unit's file and `svctl update` keep it from being started at boot"
        }
        "list-dependencies" => "`svctl graph` draws them",
        "daemon-reexec" => "`svctl upgrade` makes svinit the program that is on the disk",
        "set-property" | "edit" | "revert" => "a unit is its file: change that, then `svctl update`",
        "reboot" => "the container's engine restarts containers; `svctl shutdown` ends this one",
        "isolate" | "set-default" | "get-default" | "rescue" | "emergency" => {
            "there are no targets; `svctl stop all` stops everything"
        }
        "suspend" | "hibernate" | "hybrid-sleep" => "a container does not sleep",
        "list-timers" | "list-sockets" | "list-jobs" => {
            "`svctl status` lists units, `svctl show UNIT` one with its sockets"
        }
        "freeze" | "thaw" => "`svctl pause UNIT` leaves it alone, `svctl signal STOP UNIT` halts its process",
        "show-environment" | "set-environment" | "import-environment" => {
            "`svctl env UNIT` shows what a unit starts with"
        }
        _ => "`svctl help` says what there is",
    };
    session.err.line(format!("svinit does not do {verb:?} of systemctl: {instead}"));
    Exit::Usage
}

/// What went wrong on the way.
fn tell(session: &mut Session, failure: &Failure) -> Exit {
    let (text, exit) = match failure {
        Failure::Client(error @ Error::Denied { .. }) => (format!("Access denied: {error}"), NOT_PERMITTED),
        Failure::Client(Error::Refused { refusal, .. }) if refusal.error == "not_permitted" => {
            (format!("Access denied: {}", refusal.message), NOT_PERMITTED)
        }
        Failure::Client(error) => (error.to_string(), GENERIC),
        Failure::Said(exit, text) => (text.clone(), *exit),
    };
    session.err.line(format!("systemctl: {text}"));
    exit
}

/// As systemd writes a name.
pub(super) fn full(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{name}.service") }
}

/// The units of `names`; those that are not there are complained about: "Failed to `what` X: Unit X not `how`."
fn named(
    session: &mut Session,
    units: &[UnitStatus],
    names: &[String],
    what: &str,
    how: &str,
) -> (Vec<String>, Exit) {
    let (mut found, mut exit) = (Vec::new(), Exit::Done);
    for name in names {
        match asking::find(units, name) {
            Some(unit) if found.contains(&unit.unit) => {}
            Some(unit) => found.push(unit.unit.clone()),
            None => {
                let name = full(name);
                session.err.line(format!("Failed to {what} {name}: Unit {name} not {how}."));
                exit = NOT_INSTALLED;
            }
        }
    }
    (found, exit)
}

fn act(session: &mut Session, verb: &str, names: &[String], line: &Line) -> Result<Exit, Failure> {
    let how = if verb == "stop" { "loaded" } else { "found" };
    let units = asking::units(session)?;
    let (mut found, mut exit) = named(session, &units, names, verb, how);
    if verb.starts_with("try-") || verb == "condrestart" {
        found.retain(|name| units.iter().any(|unit| unit.unit == *name && told::is_alive(unit)));
    }
    if verb == "reload" {
        for unit in units.iter().filter(|unit| found.contains(&unit.unit) && !told::is_up(unit)) {
            session.err.line(format!("{0} is not active, cannot reload.", full(&unit.unit)));
            exit = GENERIC;
        }
        found.retain(|name| units.iter().any(|unit| unit.unit == *name && told::is_up(unit)));
    }
    let wait = !line.has("--no-block");
    let job = match verb {
        "start" => Job { wait, ..Job::of(Verb::Start) },
        "stop" => Job { wait, ..Job::of(Verb::Stop) },
        "reload" => Job { wait, ..Job::of(Verb::Reload) },
        "reload-or-restart" | "try-reload-or-restart" | "force-reload" => {
            Job { or_restart: true, wait, ..Job::of(Verb::Reload) }
        }
        _ => Job { wait, ..Job::of(Verb::Restart) },
    };
    for outcome in asking::job(session, job, &found)? {
        if outcome.ok {
            continue;
        }
        let name = full(&outcome.unit);
        let why = outcome.why.lines().next().unwrap_or_default();
        if verb == "reload"
            && told::systemd(&outcome.state).0 == "active"
            && why.starts_with("has no [reload]")
        {
            session
                .err
                .line(format!("Failed to reload {name}: Job type reload is not applicable for unit {name}."));
            exit = NOT_APPLICABLE;
            continue;
        }
        session.err.line(format!("Job for {name} failed: {why}."));
        session
            .err
            .line(format!("See \"systemctl status {name}\" and \"svctl why {}\" for details.", outcome.unit));
        exit = GENERIC;
    }
    Ok(exit)
}

fn kill(session: &mut Session, names: &[String], line: &Line) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let (found, mut exit) = named(session, &units, names, "kill unit", "loaded");
    let signal = line.value("--signal").unwrap_or("TERM").to_owned();
    let tree = line.value("--kill-who").is_none_or(|who| who == "all");
    for outcome in asking::signal(session, &signal, tree, &found)? {
        if !outcome.ok {
            let name = full(&outcome.unit);
            session.err.line(format!("Failed to kill unit {name}: {}", outcome.why));
            exit = GENERIC;
        }
    }
    Ok(exit)
}

fn overview(session: &mut Session) -> Result<Exit, Failure> {
    let supervisor: SupervisorStatus = session.client().get(&Path::new("/v1/supervisor"))?;
    let units = asking::units(session)?;
    let failed = units.iter().filter(|unit| told::systemd(&unit.state).0 == "failed").count();
    session.out.line(format!("● svinit {}", supervisor.version));
    session.out.line(format!("    State: {}", running(&supervisor, &units)));
    session.out.line(format!("    Units: {} loaded", units.len()));
    session.out.line(format!("   Failed: {failed} units"));
    Ok(Exit::Done)
}

fn status(session: &mut Session, names: &[String], line: &Line) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let mut exit = Exit::Done;
    for (at, name) in names.iter().enumerate() {
        let Some(unit) = asking::find(&units, name) else {
            session.err.line(format!("Unit {} could not be found.", full(name)));
            exit = IS_UNKNOWN;
            continue;
        };
        if at > 0 {
            session.out.line("");
        }
        let definition: Option<Definition> =
            session.client().get(&Path::new("/v1/units").segment(&unit.unit).segment("definition")).ok();
        let file = definition.and_then(|definition| definition.files.into_iter().next_back());
        unit::status(session, unit, file.as_deref());
        let count = line.value("--lines").unwrap_or(STATUS_LINES).to_owned();
        tail(session, &unit.unit, &count)?;
        let is_active = matches!(told::systemd(&unit.state).0, "active" | "reloading");
        if !is_active && exit == Exit::Done {
            exit = IS_NOT_ACTIVE;
        }
    }
    Ok(exit)
}

fn tail(session: &mut Session, unit: &str, count: &str) -> Result<(), Failure> {
    if count == "0" {
        return Ok(());
    }
    let path = Path::new("/v1/logs").units(&[unit.to_owned()]).with("lines", count).with("follow", "false");
    let mut lines = session.client().follow::<LogLine>(&path)?;
    let mut first = true;
    while let Some(line) = lines.read()? {
        if std::mem::take(&mut first) {
            session.out.line("");
        }
        session.out.line(unit::log_line(session, &line));
    }
    Ok(())
}

fn is_state(
    session: &mut Session,
    names: &[String],
    line: &Line,
    wanted: &[&str],
    otherwise: Exit,
) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let (mut any, mut known) = (false, false);
    for name in names {
        let unit = asking::find(&units, name);
        let state = unit.map_or("inactive", |unit| told::systemd(&unit.state).0);
        known |= unit.is_some();
        any |= wanted.contains(&state);
        if !line.has("--quiet") {
            session.out.line(state);
        }
    }
    Ok(match (any, known) {
        (true, _) => Exit::Done,
        (false, true) => otherwise,
        (false, false) => IS_UNKNOWN,
    })
}

fn is_enabled(session: &mut Session, names: &[String], line: &Line) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let (mut any, mut known) = (false, false);
    for name in names {
        let unit = asking::find(&units, name);
        known |= unit.is_some();
        any |= unit.is_some_and(|unit| unit.enabled);
        if !line.has("--quiet") {
            session.out.line(unit.map_or("not-found", |unit| unit::file_state(unit)));
        }
    }
    Ok(match (any, known) {
        (true, _) => Exit::Done,
        (false, true) => GENERIC,
        (false, false) => IS_UNKNOWN,
    })
}

/// Whether a unit is started at boot is in its file, which this does not write.
fn enable(session: &mut Session, verb: &str, names: &[String], line: &Line) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let (mut exit, mut found) = (Exit::Done, Vec::new());
    let wanted = verb != "disable";
    for name in names {
        let Some(unit) = asking::find(&units, name) else {
            session.err.line(format!("Failed to {verb} unit: Unit {} does not exist", full(name)));
            exit = GENERIC;
            continue;
        };
        found.push(unit.unit.clone());
        if unit.enabled != wanted {
            session.err.line(format!(
                "Failed to {verb} {0}: write `enabled = {wanted}` in {1}.toml, then `svctl update {1}`",
                full(name),
                unit.unit
            ));
            exit = GENERIC;
        }
    }
    if line.has("--now") {
        let now = if wanted { "start" } else { "stop" };
        let done = act(session, now, &found, line)?;
        exit = if exit == Exit::Done { done } else { exit };
    }
    Ok(exit)
}

fn running(supervisor: &SupervisorStatus, units: &[UnitStatus]) -> &'static str {
    match supervisor.phase.as_str() {
        "booting" => "starting",
        "stopping" => "stopping",
        _ if units.iter().any(|unit| unit.state == "failed") => "degraded",
        _ => "running",
    }
}

fn is_system_running(session: &mut Session, line: &Line) -> Result<Exit, Failure> {
    let supervisor: SupervisorStatus = session.client().get(&Path::new("/v1/supervisor"))?;
    let state = running(&supervisor, &asking::units(session)?);
    if !line.has("--quiet") {
        session.out.line(state);
    }
    Ok(if state == "running" { Exit::Done } else { GENERIC })
}

fn list(session: &mut Session, names: &[String], line: &Line) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let states = line.values("--state");
    let is_shown = |unit: &&UnitStatus| {
        let (active, sub) = told::systemd(&unit.state);
        let by_name = names.is_empty()
            || names.iter().any(|name| asking::find(std::slice::from_ref(unit), name).is_some());
        let by_state = if line.has("--failed") {
            active == "failed"
        } else if states.is_empty() {
            line.has("--all") || active != "inactive"
        } else {
            states.contains(&active) || states.contains(&sub) || states.contains(&"loaded")
        };
        by_name && by_state
    };
    // There is one type, so another shows nothing.
    let of_type = line.values("--type").is_empty() || line.values("--type").contains(&"service");
    let shown: Vec<&UnitStatus> = units.iter().filter(is_shown).filter(|_| of_type).collect();
    let all = line.has("--all");
    unit::list(session, &shown, line.has("--no-legend"), line.has("--plain"), all);
    Ok(Exit::Done)
}

fn list_files(session: &mut Session, line: &Line) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let width = units.iter().map(|unit| full(&unit.unit).len()).max().unwrap_or(0).max(9);
    if !line.has("--no-legend") {
        session.out.line(format!("{:width$} {:8} PRESET", "UNIT FILE", "STATE"));
    }
    for unit in &units {
        session.out.line(format!("{:width$} {:8} -", full(&unit.unit), unit::file_state(unit)));
    }
    if !line.has("--no-legend") {
        session.out.line(format!("\n{} unit files listed.", units.len()));
    }
    Ok(Exit::Done)
}

fn show(session: &mut Session, names: &[String], line: &Line) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let one = line.value("-P").map(|all| all.split(',').collect::<Vec<_>>());
    let asked: Vec<&str> = one.clone().unwrap_or_else(|| line.values("--property"));
    let bare = line.has("--value") || one.is_some();
    let every: Vec<String> = units.iter().map(|unit| unit.unit.clone()).collect();
    let names = if names.is_empty() { &every } else { names };
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            session.out.line("");
        }
        let properties = unit::properties(session, &full(name), asking::find(&units, name));
        let known: BTreeSet<&str> = properties.iter().map(|(name, _)| *name).collect();
        for (name, value) in &properties {
            if asked.is_empty() || asked.contains(name) {
                session.out.line(if bare { value.clone() } else { format!("{name}={value}") });
            }
        }
        // What is asked for by name and not known here is empty, as of an older systemd.
        if bare {
            asked.iter().filter(|name| !known.contains(*name)).for_each(|_| session.out.line(""));
        }
    }
    Ok(Exit::Done)
}

fn cat(session: &mut Session, names: &[String]) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let mut exit = Exit::Done;
    for name in names {
        let Some(unit) = asking::find(&units, name) else {
            session.err.line(format!("No files found for {}.", full(name)));
            exit = GENERIC;
            continue;
        };
        asking::trace(session, &format!("cat {}", unit.unit));
        let path = Path::new("/v1/units").segment(&unit.unit).segment("definition");
        let definition: Definition = session.client().get(&path)?;
        for (file, text) in definition.files.iter().zip(&definition.texts) {
            session.out.line(format!("# {file}\n{}", text.trim_end()));
        }
    }
    Ok(exit)
}
