//! `svctl check`: every mistake in the unit files at once, with no supervisor needed.

use std::path::PathBuf;

use clap::Arg;
use clap::ArgMatches;
use clap::value_parser;
use serde_json::Value;
use serde_json::json;

use crate::api::status::SupervisorStatus;
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
use crate::lifecycle::event::Pid;
use crate::os::procfs;
use crate::os::sockets::Answerer;
use crate::os::sockets::Obstacle;
use crate::os::sockets::Part;
use crate::runtime::load::Loaded;
use crate::runtime::obstacles;
use crate::runtime::obstacles::Written;
use crate::units::problem::Problem;
use crate::units::problem::Severity;
use crate::units::socket::SocketAddress;
use crate::units::socket::SocketSpec;
use crate::units::socket::SocketType;
use crate::units::spec::UnitSpec;

/// Ancestors of a process that are asked whose it is; a tree of processes is not so deep.
const ANCESTORS_MAX: usize = 64;

pub(super) const CHECK: Verb = Verb {
    name: "check",
    aliases: &["validate"],
    group: Group::Configure,
    about: "Check unit files and svinit.toml, and list every mistake",
    details: "Needs no supervisor and starts nothing. Each mistake is shown with file, line and column, and the line \
              itself. ${VAR} is expanded from the environment svctl runs in. Exits with 78 when svinit would refuse the \
              files; warnings alone are no failure, unless --strict is given. Of the files that svinit uses here it is also \
              tried whether their sockets can be had: an address in use by others, a port that takes a privilege, a \
              directory that is not there or a user whom nobody knows is a mistake, and a warning where a pre_start hook \
              may change it.",
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
            let is_here = is_here || matches.get_flag("here");
            let obstacles = if is_here { obstacles(session, &loaded) } else { Vec::new() };
            let mut problems = loaded.warnings;
            problems.extend(obstacles);
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
fn obstacles(session: &Session, loaded: &Loaded) -> Vec<Problem> {
    let client = session.client_at_ease();
    let running: Vec<UnitStatus> = client.get(&Path::new("/v1/units")).unwrap_or_default();
    let supervisor: Option<SupervisorStatus> = client.get(&Path::new("/v1/supervisor")).ok();
    let own = Own::of(&running, supervisor.map(|found| Pid(found.pid)), loaded);
    let enabled = loaded.set.units.values().filter(|spec| spec.enabled);
    let wanted = enabled
        .flat_map(|spec| spec.sockets.iter().map(move |socket| (&**spec, socket)))
        // What all instances share is opened once.
        .filter(|(spec, socket)| {
            socket.is_of_instance || spec.instance.as_ref().is_none_or(|instance| instance.number == 1)
        });
    let written = Written { places: &loaded.places, sources: &loaded.sources };
    obstacles::find(wanted, written, |spec, socket, obstacle| own.has_or_frees(spec, socket, obstacle))
}

/// What a supervisor that runs here has, and what it would give up for these files.
struct Own<'a> {
    supervisor: Option<Pid>,
    /// The main processes, with their unit or group.
    mains: Vec<(Pid, &'a str)>,
    /// Addresses that it holds, in words.
    held: Vec<&'a str>,
    /// Those of them that nobody wants any longer.
    given_up: Vec<(SocketAddress, SocketType)>,
}

impl<'a> Own<'a> {
    fn of(running: &'a [UnitStatus], supervisor: Option<Pid>, loaded: &Loaded) -> Self {
        let sockets = loaded.set.units.values().flat_map(|spec| &spec.sockets);
        let wanted: Vec<String> = sockets.map(ToString::to_string).collect();
        let held: Vec<&str> =
            running.iter().flat_map(|unit| unit.sockets.values().map(String::as_str)).collect();
        let unwanted = held.iter().filter(|held| !wanted.iter().any(|wanted| wanted == *held));
        let given_up = unwanted.filter_map(|held| as_shown(held)).collect();
        let main = |unit: &'a UnitStatus| Some((Pid(unit.pid?), group_of(&unit.unit)));
        Self { supervisor, mains: running.iter().filter_map(main).collect(), held, given_up }
    }

    /// Whether the address is svinit's already, or would be free for it: what is in the way belongs to the unit itself,
    /// which is started again to have its socket held.
    fn has_or_frees(&self, spec: &UnitSpec, socket: &SocketSpec, obstacle: &Obstacle) -> bool {
        let (Part::Address, Answerer::Somebody(pid)) = (obstacle.part, obstacle.holder) else { return false };
        let lineage = pid.map(lineage).unwrap_or_default();
        let is_own = self
            .mains
            .iter()
            .any(|(main, unit)| lineage.contains(main) && *unit == group_of(spec.name.as_str()));
        let is_of_another = pid.is_some() && self.supervisor.is_some_and(|own| !lineage.contains(&own));
        let kind = (socket.r#type, socket.v6only);
        let clashes = |(at, of): &(SocketAddress, SocketType)| socket.address.clashes(kind, at, (*of, false));
        let is_held = self.held.contains(&socket.to_string().as_str()) || self.given_up.iter().any(clashes);
        is_own || (is_held && !is_of_another)
    }
}

/// A process and those that it comes from.
fn lineage(pid: Pid) -> Vec<Pid> {
    let parent = |pid: &Pid| procfs::stat(*pid).map(|found| found.parent).filter(|parent| parent.0 > 0);
    std::iter::successors(Some(pid), parent).take(ANCESTORS_MAX).collect()
}

fn group_of(unit: &str) -> &str {
    unit.split_once('@').map_or(unit, |(group, _)| group)
}

/// An address as a supervisor shows it: one for messages says so behind it.
fn as_shown(text: &str) -> Option<(SocketAddress, SocketType)> {
    let (address, r#type) = match text.split_once(" (") {
        Some((address, _)) => (address, SocketType::Datagram),
        None => (text, SocketType::Stream),
    };
    Some((SocketAddress::parse(address).ok()?, r#type))
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
