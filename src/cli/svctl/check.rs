//! `svctl check`: every mistake in the unit files at once, with no supervisor needed.

use std::path::PathBuf;

use clap::Arg;
use clap::ArgMatches;
use clap::value_parser;
use serde_json::Value;
use serde_json::json;

use crate::api::status::UnitStatus;
use crate::cli::exit::Exit;
use crate::cli::render::look::Look;
use crate::cli::render::look::Tone;
use crate::cli::render::words;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::local;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::client::query::Path;
use crate::os::sockets::HeldSocket;
use crate::units::problem::Problem;
use crate::units::problem::Severity;
use crate::units::socket::SocketAddress;
use crate::units::spec::UnitSet;

pub(super) const CHECK: Verb = Verb {
    name: "check",
    aliases: &["validate"],
    group: Group::Configure,
    about: "Check unit files and svinit.toml, and list every mistake",
    details: "Needs no supervisor and starts nothing. Each mistake is shown with file, line and column, and the line \
              itself. ${VAR} is expanded from the environment svctl runs in. Exits with 78 when svinit would refuse the \
              files; warnings alone are no failure, unless --strict is given. Of the files that svinit uses here it is also \
              tried whether their sockets can be opened: an address in use, a port that takes a privilege or a directory \
              that is not there is a warning.",
    examples: &[
        ("svctl check", "the files that svinit uses here"),
        ("svctl check units/ overrides/web.toml", "in CI, later ones laid over earlier ones"),
    ],
    completes: Completes::Files,
    arguments: |command| {
        let paths = Arg::new("paths")
            .value_name("PATH")
            .num_args(0..)
            .value_parser(value_parser!(PathBuf))
            .help("Directories of units or files [default: those of svinit]");
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("svinit.toml [default: /etc/svinit/svinit.toml, if it is there]");
        let here = Arg::new("here").long("here").action(clap::ArgAction::SetTrue);
        let here = here.help("PATHs are for this machine: also try whether its sockets can be opened");
        let strict = Arg::new("strict").long("strict").action(clap::ArgAction::SetTrue);
        command.arg(paths.id("units")).arg(config).arg(here).arg(strict.help("Warnings are mistakes too"))
    },
    run,
};

fn run(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let (mut problems, units) = match local::load(session, matches) {
        Ok(loaded) => {
            // Of the files of another machine nothing could be said.
            let is_here = matches.get_many::<PathBuf>("units").is_none();
            let mut problems = loaded.warnings;
            if is_here || matches.get_flag("here") {
                problems.extend(obstacles(session, &loaded.set));
            }
            (problems, loaded.set.units.len())
        }
        Err(problems) => (problems.0, 0),
    };
    problems.sort_by_key(|problem| problem.severity);
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let warnings = problems.len() - errors;
    if session.json {
        let all: Vec<Value> = problems.iter().map(as_json).collect();
        session.print_json(&json!({ "ok": errors == 0, "units": units, "problems": all }))?;
    } else {
        let look = session.out.look;
        problems.iter().for_each(|problem| session.out.line(painted(problem, look)));
        session.out.line(summary(units, errors, warnings, look));
    }
    let is_bad = errors > 0 || warnings > 0 && matches.get_flag("strict");
    Ok(if is_bad { Exit::BadConfiguration } else { Exit::Done })
}

/// What keeps svinit from holding the sockets of units that start at boot, on this machine at this moment. What a
/// supervisor that runs here holds already is its own.
fn obstacles(session: &Session, set: &UnitSet) -> Vec<Problem> {
    let held: Vec<String> = session
        .client_at_ease()
        .get::<Vec<UnitStatus>>(&Path::new("/v1/units"))
        .map(|units| units.into_iter().flat_map(|unit| unit.sockets.into_values()).collect())
        .unwrap_or_default();
    let enabled = set.units.values().filter(|spec| spec.enabled);
    enabled
        .flat_map(|spec| spec.sockets.iter().map(move |socket| (spec, socket)))
        // What all instances share is opened once.
        .filter(|(spec, socket)| {
            socket.is_of_instance || spec.instance.as_ref().is_none_or(|instance| instance.number == 1)
        })
        .filter(|(_, socket)| !held.contains(&socket.address.to_string()))
        .filter_map(|(spec, socket)| {
            let error = HeldSocket::try_out(socket).err()?;
            let problem = Problem::of_file(&spec.origin, error.to_string());
            // A hook may make the directory, or remove what is in the way.
            let may_change =
                matches!(socket.address, SocketAddress::Unix(_)) && !spec.hooks.pre_start.is_empty();
            Some(if may_change { Problem { severity: Severity::Warning, ..problem } } else { problem })
        })
        .collect()
}

/// The problem in its own words, its first line emphasised.
fn painted(problem: &Problem, look: Look) -> String {
    let text = problem.to_string();
    let tone = if problem.severity == Severity::Error { Tone::Bad } else { Tone::Busy };
    match text.split_once('\n') {
        Some((first, rest)) => format!("{}\n{rest}", look.paint(tone, first)),
        None => look.paint(tone, &text).into_owned(),
    }
}

fn summary(units: usize, errors: usize, warnings: usize, look: Look) -> String {
    let beside =
        if warnings == 0 { String::new() } else { format!(", {}", words::count(warnings, "warning")) };
    if errors == 0 {
        return format!("{}: {}{beside}", look.paint(Tone::Good, "sound"), words::count(units, "unit"));
    }
    format!("{}: {}{beside}", look.paint(Tone::Bad, "not sound"), words::count(errors, "mistake"))
}

fn as_json(problem: &Problem) -> Value {
    json!({
        "severity": if problem.severity == Severity::Error { "error" } else { "warning" },
        "file": problem.path,
        "line": problem.spot.as_ref().map(|spot| spot.line),
        "column": problem.spot.as_ref().map(|spot| spot.column),
        "message": problem.message,
        "help": problem.help,
    })
}
