//! `pm2`: its `[PM2]` lines, its table, its `jlist`.
//!
//! A process of pm2 has a number; here that is the place of a unit among all units by name. An ecosystem file is read for
//! the names in it only: what is run, and how, is in the units.

mod ecosystem;
mod table;

use crate::api::command::Outcome;
use crate::api::command::Verb;
use crate::api::log::LogLine;
use crate::api::status::Environment;
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
use crate::client::query::Path;

const FLAGS: &[Flag] = &[
    switch(&["--silent", "-s"]),
    switch(&["--mini-list", "-m"]),
    valued(&["--only"]),
    valued(&["--env"]),
    valued(&["--name", "-n"]),
    valued(&["--lines"]),
    switch(&["--nostream"]),
    switch(&["--raw"]),
    switch(&["--err"]),
    switch(&["--out"]),
    switch(&["--json"]),
    switch(&["--timestamp"]),
    switch(&["--help", "-h"]),
    switch(&["--version", "-v", "-V"]),
    // A unit's next process always starts with what its file says, and what is printed is plain.
    switch(&["--update-env"]),
    switch(&["--no-color"]),
    switch(&["--no-daemon"]),
    switch(&["--force", "-f"]),
];

const HELP: &str = "pm2, carried out by svctl:
  start|restart|reload|stop|delete NAME|ID|all...   startOrRestart|startOrReload FILE.json [--only NAME]
  list (ls, l, ps, status)   jlist   prettylist   describe NAME   pid [NAME]   id NAME   env ID
  logs [NAME] [--lines N] [--nostream] [--raw] [--err|--out] [--json]   reset NAME   sendSignal SIGNAL NAME
  ping   save   resurrect   kill
svctl help says what else there is.";

/// Lines that `logs` shows before what is to come, unless told otherwise.
const LINES: &str = "15";

/// Columns that `0|name` takes in front of a line.
const PREFIX: usize = 10;

const FAILED: Exit = Exit::Of(1);

/// Does it.
pub(super) fn answer(session: &mut Session, args: Vec<String>) -> Exit {
    let line = match Line::read(args, FLAGS) {
        Ok(line) => line,
        Err(why) => {
            session.err.line(format!("[PM2][ERROR] {why}"));
            return Exit::Usage;
        }
    };
    if line.has("--version") {
        session.out.line(env!("CARGO_PKG_VERSION"));
        return Exit::Done;
    }
    let (Some((verb, names)), false) = (line.words.split_first(), line.has("--help")) else {
        session.out.line(HELP);
        return Exit::Done;
    };
    match dispatch(session, verb, names, &line) {
        Ok(exit) => exit,
        Err(failure) => {
            let text = match &failure {
                Failure::Client(error) => error.to_string(),
                Failure::Said(_, text) => text.clone(),
            };
            session.err.line(format!("[PM2][ERROR] {text}"));
            if failure.exit() == Exit::Usage { Exit::Usage } else { FAILED }
        }
    }
}

fn dispatch(session: &mut Session, verb: &str, names: &[String], line: &Line) -> Result<Exit, Failure> {
    match verb {
        "restart" | "reload" | "gracefulReload" | "stop" | "start" | "delete" | "del" | "reset"
            if names.is_empty() =>
        {
            session.err.line(format!("error: missing required argument 'name' of {verb}"));
            Ok(FAILED)
        }
        "restart" => act(session, Action::Restart, names, line),
        "reload" | "gracefulReload" => act(session, Action::Reload, names, line),
        "stop" => act(session, Action::Stop, names, line),
        "delete" | "del" => act(session, Action::Delete, names, line),
        "reset" => act(session, Action::Reset, names, line),
        "start" => start(session, names, line),
        "startOrRestart" => from_file(session, Action::Restart, names, line),
        "startOrReload" | "startOrGracefulReload" => from_file(session, Action::Reload, names, line),
        "list" | "ls" | "l" | "ps" | "status" => {
            let units = asking::units(session)?;
            show(session, &units, line);
            Ok(Exit::Done)
        }
        "jlist" | "prettylist" => {
            let units = asking::units(session)?;
            let text = table::json(session, &units, verb == "prettylist");
            session.out.line(text);
            Ok(Exit::Done)
        }
        "describe" | "show" | "info" | "desc" => describe(session, names),
        "logs" | "log" => logs(session, names, line),
        "pid" => pid(session, names),
        "id" => {
            let units = asking::units(session)?;
            let found: Vec<String> =
                names.iter().filter_map(|name| find(&units, name)).map(|(id, _)| id.to_string()).collect();
            session.out.line(if found.is_empty() {
                "[]".to_owned()
            } else {
                format!("[ {} ]", found.join(", "))
            });
            Ok(Exit::Done)
        }
        "env" => env(session, names),
        "sendSignal" => send(session, names),
        "ping" => {
            // That the supervisor answers is what is asked.
            asking::units(session)?;
            session.out.line("{ msg: 'pong' }");
            Ok(Exit::Done)
        }
        "save" | "dump" | "resurrect" | "unsave" => {
            session.out.line("[PM2] Nothing to do: units are files, and the enabled ones start at boot");
            Ok(Exit::Done)
        }
        "kill" => {
            asking::shutdown(session)?;
            session.out.line("[PM2] [v] svinit is stopping all units, and ends");
            Ok(Exit::Done)
        }
        "help" => {
            session.out.line(HELP);
            Ok(Exit::Done)
        }
        _ => Ok(refuse(session, verb)),
    }
}

fn refuse(session: &mut Session, verb: &str) -> Exit {
    let instead = match verb {
        "scale" => "a unit has one main process; let the server in it have workers, or write another unit",
        "flush" | "reloadLogs" => {
            "`svctl logs` is bounded by itself, files are rotated ([log] in the unit's file); USR1 to svinit reopens them"
        }
        "monit" | "dashboard" | "dash" | "top" => {
            "`svctl status` shows CPU and memory, `svctl events` what happens"
        }
        "startup" | "unstartup" => {
            "svinit is what the container starts; `enabled` in the unit's file decides about boot"
        }
        "update" | "updatePM2" => "`svctl upgrade` makes svinit the program that is on the disk",
        "serve" | "ecosystem" | "init" | "deploy" => "a unit is a file, see `svctl schema`",
        "install" | "uninstall" | "module:update" | "link" | "unlink" | "plus" | "publish" | "profile"
        | "set" | "conf" => "there are no modules and no account; the same is done by units",
        "trigger" | "attach" | "send" => {
            "a unit has no terminal; `svctl exec UNIT -- COMMAND` runs in its surroundings"
        }
        _ => "`svctl help` says what there is",
    };
    session.err.line(format!("[PM2][ERROR] svinit does not do \"{verb}\" of pm2: {instead}"));
    Exit::Usage
}

/// What is done to processes, with pm2's word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Start,
    Restart,
    Reload,
    Stop,
    Delete,
    Reset,
}

impl Action {
    const fn job(self) -> Job {
        match self {
            Self::Start => Job::of(Verb::Start),
            Self::Restart => Job::of(Verb::Restart),
            // In pm2 a process that cannot be reloaded is restarted.
            Self::Reload => Job { or_restart: true, ..Job::of(Verb::Reload) },
            Self::Stop | Self::Delete => Job::of(Verb::Stop),
            Self::Reset => Job::of(Verb::Reset),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Start | Self::Restart => "restartProcessId",
            Self::Reload => "reloadProcessId",
            Self::Stop => "stopProcessId",
            Self::Delete => "deleteProcessId",
            Self::Reset => "resetMetaProcessId",
        }
    }
}

/// The unit of `name`, which may be its number, with its number.
fn find<'a>(units: &'a [UnitStatus], name: &str) -> Option<(usize, &'a UnitStatus)> {
    let found = match name.parse::<usize>() {
        Ok(id) => units.get(id).or_else(|| asking::find(units, name)),
        Err(_) => asking::find(units, name),
    }?;
    units.iter().position(|unit| unit.unit == found.unit).map(|id| (id, found))
}

fn act(session: &mut Session, action: Action, names: &[String], line: &Line) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let mut exit = Exit::Done;
    if let Some(env) = line.value("--env") {
        session
            .err
            .line(format!("[PM2][WARN] --env {env} changes nothing: a unit's environment is in its file"));
    }
    for name in names {
        let found: Vec<(usize, &UnitStatus)> = if name == "all" {
            units.iter().enumerate().collect()
        } else {
            find(&units, name).into_iter().collect()
        };
        if found.is_empty() {
            session.err.line(format!("[PM2][ERROR] Process or Namespace {name} not found"));
            exit = FAILED;
            continue;
        }
        let say = !line.has("--silent");
        if say {
            let ids: Vec<String> = found.iter().map(|(id, _)| id.to_string()).collect();
            session.out.line(format!(
                "[PM2] Applying action {} on app [{name}](ids: [ {} ])",
                action.word(),
                ids.join(", ")
            ));
            session.out.flush();
        }
        let all: Vec<String> = found.iter().map(|(_, unit)| unit.unit.clone()).collect();
        for outcome in asking::job(session, action.job(), &all)? {
            let id = units.iter().position(|unit| unit.unit == outcome.unit).unwrap_or(0);
            exit = if tell(session, &outcome, id, say) { exit } else { FAILED };
        }
    }
    if action == Action::Delete && exit == Exit::Done {
        session.err.line(
            "[PM2][WARN] stopped, but not forgotten: a unit is gone when its file is, by `svctl update`",
        );
    }
    if !line.has("--silent") && exit == Exit::Done {
        let units = asking::units(session)?;
        show(session, &units, line);
    }
    Ok(exit)
}

fn tell(session: &mut Session, outcome: &Outcome, id: usize, say: bool) -> bool {
    if outcome.ok {
        if say {
            session.out.line(format!("[PM2] [{}]({id}) ✓", outcome.unit));
        }
        return true;
    }
    session.err.line(format!(
        "[PM2][ERROR] [{}]({id}) {}: {}",
        outcome.unit,
        told::pm2(&outcome.state),
        outcome.why
    ));
    false
}

fn show(session: &mut Session, units: &[UnitStatus], line: &Line) {
    if line.has("--silent") {
        return;
    }
    if line.has("--mini-list") {
        for (id, unit) in units.iter().enumerate() {
            session.out.line(table::mini(id, unit));
        }
        return;
    }
    for text in table::lines(units, session.out.look.columns) {
        session.out.line(text);
    }
}

/// What is started is a unit by its name, or those that a file names.
fn start(session: &mut Session, names: &[String], line: &Line) -> Result<Exit, Failure> {
    let Some(first) = names.first() else { return Ok(FAILED) };
    let units = asking::units(session)?;
    if first == "all" || find(&units, first).is_some() {
        return act(session, Action::Start, names, line);
    }
    if ecosystem::is_one(first) {
        return from_file(session, Action::Start, names, line);
    }
    if let Some(name) = line.value("--name").filter(|name| find(&units, name).is_some()) {
        return act(session, Action::Start, &[name.to_owned()], line);
    }
    if first.contains('/') || first.contains('.') {
        session.err.line(format!(
            "[PM2][ERROR] cannot start {first}: what svinit runs is in its units; write one (`svctl schema`), then `svctl update`"
        ));
        return Ok(Exit::Usage);
    }
    session.err.line(format!("[PM2][ERROR] Process or Namespace {first} not found"));
    Ok(FAILED)
}

fn from_file(session: &mut Session, action: Action, names: &[String], line: &Line) -> Result<Exit, Failure> {
    let Some(file) = names.first() else {
        session.err.line("error: missing required argument 'file'");
        return Ok(FAILED);
    };
    let mut apps = match ecosystem::names(file) {
        Ok(apps) => apps,
        Err((exit, why)) => {
            session.err.line(format!("[PM2][ERROR] {why}"));
            return Ok(exit);
        }
    };
    let only = line.values("--only");
    if !only.is_empty() {
        apps.retain(|app| only.contains(&app.as_str()));
    }
    if apps.is_empty() {
        session.err.line(format!("[PM2][ERROR] {file} names no app that is meant"));
        return Ok(FAILED);
    }
    act(session, action, &apps, line)
}

fn describe(session: &mut Session, names: &[String]) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let Some(name) = names.first() else {
        session.err.line("error: missing required argument 'name|id'");
        return Ok(FAILED);
    };
    let Some((id, unit)) = find(&units, name) else {
        session.err.line(format!("[PM2][WARN] {name} doesn't exist"));
        return Ok(FAILED);
    };
    session.out.line(format!(" Describing process with id {id} - name {}", unit.unit));
    for line in table::describe(unit) {
        session.out.line(line);
    }
    Ok(Exit::Done)
}

fn pid(session: &mut Session, names: &[String]) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let asked: Vec<Option<&UnitStatus>> = match names.first() {
        Some(name) => vec![find(&units, name).map(|(_, unit)| unit)],
        None => units.iter().map(Some).collect(),
    };
    for unit in asked {
        match unit {
            // 0 is a process that is there and does not run; what is not there is an empty line.
            Some(unit) => session.out.line(unit.pid.unwrap_or(0).to_string()),
            None => session.out.line(""),
        }
    }
    Ok(Exit::Done)
}

fn env(session: &mut Session, names: &[String]) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let found = names.first().and_then(|name| find(&units, name));
    let Some((_, unit)) = found else {
        let name = names.first().map_or("", String::as_str);
        session.err.line(format!("[PM2][ERROR] App with id {name} not found"));
        return Ok(FAILED);
    };
    asking::trace(session, &format!("env {}", unit.unit));
    let path = Path::new("/v1/units").segment(&unit.unit).segment("environment");
    let environment: Environment = session.client().get(&path)?;
    for (name, value) in environment.variables {
        session.out.line(format!("{name}: {value}"));
    }
    Ok(Exit::Done)
}

fn send(session: &mut Session, names: &[String]) -> Result<Exit, Failure> {
    let [signal, names @ ..] = names else {
        session.err.line("error: missing required argument 'signal'");
        return Ok(FAILED);
    };
    let units = asking::units(session)?;
    let mut exit = Exit::Done;
    for name in names {
        let Some((id, unit)) = find(&units, name) else {
            session.err.line(format!("[PM2][ERROR] Process or Namespace {name} not found"));
            exit = FAILED;
            continue;
        };
        let one = [unit.unit.clone()];
        for outcome in asking::signal(session, signal, false, &one)? {
            if outcome.ok {
                session
                    .out
                    .line(format!("[PM2] successfully sent signal {signal} to process name {}", unit.unit));
            } else {
                exit = if tell(session, &outcome, id, true) { exit } else { FAILED };
            }
        }
    }
    Ok(exit)
}

fn logs(session: &mut Session, names: &[String], line: &Line) -> Result<Exit, Failure> {
    let units = asking::units(session)?;
    let mut wanted = Vec::new();
    for name in names.iter().filter(|name| *name != "all") {
        let Some((_, unit)) = find(&units, name) else {
            session.err.line(format!("[PM2][ERROR] Process or Namespace {name} not found"));
            return Ok(FAILED);
        };
        wanted.push(unit.unit.clone());
    }
    let follow = !line.has("--nostream");
    let count = line.value("--lines").unwrap_or(LINES).to_owned();
    asking::trace(
        session,
        &format!("logs{} -n {count} {}", if follow { " -f" } else { "" }, wanted.join(" ")),
    );
    let plain = line.has("--raw") || line.has("--json");
    if !plain {
        let whom = if wanted.is_empty() { "all".to_owned() } else { wanted.join(", ") };
        let plural = if wanted.len() == 1 { "process" } else { "processes" };
        session.out.line(format!(
            "[TAILING] Tailing last {count} lines for [{whom}] {plural} (change the value with --lines option)"
        ));
        session.out.flush();
    }
    let path = Path::new("/v1/logs")
        .units(&wanted)
        .with("lines", &count)
        .with("follow", if follow { "true" } else { "false" });
    let mut stream = session.client().follow::<LogLine>(&path)?;
    while let Some(log) = stream.read()? {
        let is_wanted = match (line.has("--err"), line.has("--out")) {
            (true, false) => log.stream == "stderr",
            (false, true) => log.stream == "stdout",
            _ => true,
        };
        if is_wanted {
            let text = log_line(&units, &log, line);
            session.out.line(text);
        }
        if follow && !stream.has_received() {
            session.out.flush();
        }
        if session.out.is_lost() {
            break;
        }
    }
    Ok(Exit::Done)
}

fn log_line(units: &[UnitStatus], log: &LogLine, line: &Line) -> String {
    if line.has("--raw") {
        return log.message.clone();
    }
    let id = units.iter().position(|unit| unit.unit == log.unit);
    if line.has("--json") {
        let kind = if log.stream == "stderr" { "err" } else { "out" };
        let value = serde_json::json!({
            "message": log.message, "timestamp": log.ts, "type": kind, "process_id": id, "app_name": log.unit
        });
        return value.to_string();
    }
    let name = id.map_or_else(|| log.unit.clone(), |id| format!("{id}|{}", log.unit));
    let time = if line.has("--timestamp") { format!("{} | ", log.ts) } else { String::new() };
    format!("{time}{name:PREFIX$}| {}", crate::cli::render::words::printable(&log.message))
}
