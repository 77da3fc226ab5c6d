//! `svctl exec`: a command in exactly the context of a unit, made of this process.
//!
//! Nothing is asked of the supervisor but where its units are: a command never goes over the socket, so whoever may use
//! the socket cannot run what he likes as another user. Changing user needs the privilege that `docker exec` gives.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use clap::Arg;
use clap::ArgMatches;
use clap::value_parser;

use crate::cli::exit::Exit;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::local;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::lifecycle::event::RunId;
use crate::lifecycle::event::SpawnCause;
use crate::os::credentials;
use crate::os::error::Error;
use crate::os::exec;
use crate::os::spawn::Input;
use crate::os::spawn::Launch;
use crate::os::user;
use crate::runtime::environment;
use crate::runtime::environment::Inherited;
use crate::runtime::environment::Read;
use crate::units::spec::UnitSet;
use crate::units::spec::UnitSpec;
use crate::units::suggest;

pub(super) const EXEC: Verb = Verb {
    name: "exec",
    aliases: &[],
    group: Group::Act,
    about: "Run a command as a unit would: its user, environment, limits and directory",
    details: "The command takes the place of svctl: it has your terminal, and its exit status is the one you get. It is \
              no part of the unit: it is not supervised and does not end with it. Reads the unit's files, environment \
              files and secrets, so it needs the right to read them and to become the unit's user, as root in docker exec \
              has.",
    examples: &[
        ("svctl exec gunicorn -- python manage.py shell", "with its environment and user"),
        ("svctl exec postgres -- psql", ""),
    ],
    completes: Completes::Units,
    arguments: |command| {
        let unit = Arg::new("unit").value_name("UNIT").required(true).help("Name or alias");
        let words = Arg::new("command")
            .value_name("COMMAND")
            .required(true)
            .num_args(1..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .value_parser(value_parser!(OsString))
            .help("Program and arguments, after --");
        local::options(command).arg(unit).arg(words)
    },
    run,
};

fn run(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let name = matches.get_one::<String>("unit").map_or("", String::as_str);
    let set = local::load_sound(session, matches)?.set;
    // Of a group the first instance: what can be tried in its place can be tried in that of all.
    let spec = set.named(name).first().copied().ok_or_else(|| no_such_unit(name, &set))?;
    let argv = words(matches)?;
    let launch = launch(spec, argv).map_err(|error| failure(&error))?;
    session.out.flush();
    session.err.flush();
    let failure = exec::become_unit(&launch);
    let exit = match failure.cause {
        SpawnCause::Missing => Exit::CommandNotFound,
        SpawnCause::NotExecutable => Exit::CannotExecute,
        SpawnCause::Context if is_denied(&failure.why) => Exit::NotPermitted,
        SpawnCause::NoResources | SpawnCause::Context => Exit::Failed,
    };
    Err(Failure::Said(exit, failure.why))
}

fn is_denied(why: &str) -> bool {
    ["permission denied", "operation not permitted"].iter().any(|words| why.contains(words))
}

fn words(matches: &ArgMatches) -> Result<Vec<String>, Failure> {
    let words = matches.get_many::<OsString>("command").into_iter().flatten();
    let text = |word: &OsString| {
        let word = word.to_str().map(str::to_owned);
        word.ok_or_else(|| Failure::usage("an argument of the command is not UTF-8"))
    };
    words.map(text).collect()
}

fn no_such_unit(name: &str, set: &UnitSet) -> Failure {
    let known = set.units.keys().chain(set.aliases.keys()).map(|name| name.as_str());
    let near = suggest::did_you_mean(name, known).map(|near| format!("; {near}")).unwrap_or_default();
    Failure::Said(Exit::NoSuchUnit, format!("no unit {name:?}{near}"))
}

/// The unit's context around `argv`, on our own stdin, stdout and stderr.
fn launch(spec: &UnitSpec, argv: Vec<String>) -> Result<Launch, Error> {
    let context = &spec.context;
    let (inherited, _) = Inherited::own();
    let ids = user::resolve(context)?;
    let files = environment::read_files(context)?;
    let mut secrets = Vec::new();
    for (name, path) in &context.secrets {
        secrets.push((name.clone(), credentials::read_secret(path)?));
    }
    let read = Read { files, secrets, promised: own_terminal() };
    let env = environment::compose(&inherited, spec, ids.as_ref(), read);
    Ok(Launch {
        env: env.into_iter().collect(),
        umask: context.umask.unwrap_or(0o022),
        working_dir: context.working_dir.clone().unwrap_or_else(|| PathBuf::from("/")),
        rlimits: context.rlimits.clone(),
        no_new_privileges: context.sandbox.no_new_privileges.unwrap_or(ids.is_some()),
        capabilities: context.sandbox.capabilities.clone(),
        stdin: own_stdin(),
        ids,
        // No process is made, so there is nothing to be tagged.
        ..Launch::new(RunId(0), argv)
    })
}

/// Programs that draw need to know what on, whatever the unit's environment says.
fn own_terminal() -> Vec<(String, String)> {
    std::env::var("TERM").ok().map(|term| ("TERM".to_owned(), term)).into_iter().collect()
}

fn own_stdin() -> Input {
    let duplicate: std::io::Result<OwnedFd> = std::io::stdin().as_fd().try_clone_to_owned();
    // A stdin that cannot be handed over is none.
    duplicate.or_else(|_| File::open("/dev/null").map(OwnedFd::from)).map_or(Input::Null, Input::Fd)
}

fn failure(error: &Error) -> Failure {
    let is_denied = error.source.kind() == std::io::ErrorKind::PermissionDenied;
    let exit = if is_denied { Exit::NotPermitted } else { Exit::Failed };
    Failure::Said(exit, error.to_string())
}
