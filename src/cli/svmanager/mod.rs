//! `svmanager`: the gateway as a program, and the questions that can be asked about its file without one.

mod admin;
mod check;
mod explain;
mod guard;
mod pause;
mod status;
mod why;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::cli::exit::Exit;
use crate::manager::run::{self, CONFIG_DEFAULT, Failure, Files};

/// Does what the command line says.
#[must_use]
pub fn main(args: Vec<OsString>) -> Exit {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(told) => {
            // Help goes to stdout, mistakes to stderr. Neither can be told to nobody.
            let _ = told.print();
            return if told.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    match matches.subcommand() {
        Some(("check", below)) => check::run(below, &files(&matches)),
        Some(("explain", below)) => explain::run(below, &files(&matches)),
        Some(("guard", below)) => guard::run(below),
        Some(("status", below)) => status::run(below, &files(&matches)),
        Some(("why", below)) => why::run(below, &files(&matches)),
        Some(("pause", below)) => pause::pause(below, &files(&matches)),
        Some(("resume", below)) => pause::resume(below, &files(&matches)),
        _ => serve(&files(&matches)),
    }
}

/// The command line, for parsing and help.
fn command() -> Command {
    let file = |id: &'static str| {
        Arg::new(id).long(id).value_name("FILE").global(true).value_parser(value_parser!(PathBuf))
    };
    Command::new("svmanager")
        .about("The gateway in front of services, which wait rather than fail while one is repaired")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help("Signals: HUP reads the file again, TERM lets requests end and exits with 0.")
        .arg(file("config").help(
            "The file that says what is served [default: $SVMANAGER_CONFIG, else /etc/svinit/manager.toml]",
        ))
        .arg(file("hosts").help("Names and addresses, instead of /etc/hosts"))
        .arg(file("resolv-conf").help("Name servers, instead of /etc/resolv.conf"))
        .subcommand(check::command())
        .subcommand(explain::command())
        .subcommand(guard::command())
        .subcommand(status::command())
        .subcommand(why::command())
        .subcommand(pause::command())
        .subcommand(pause::resume_command())
}

fn files(matches: &ArgMatches) -> Files {
    let named = || std::env::var_os("SVMANAGER_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = |id: &str| matches.get_one::<PathBuf>(id).cloned();
    Files {
        config: path("config").or_else(named).unwrap_or_else(|| CONFIG_DEFAULT.into()),
        hosts: path("hosts"),
        resolv_conf: path("resolv-conf"),
    }
}

fn serve(files: &Files) -> Exit {
    match run::run(files) {
        Ok(()) => Exit::Done,
        Err(Failure::Config(problems)) => {
            complain(&problems.to_string());
            Exit::BadConfiguration
        }
        Err(Failure::Start(why)) => {
            complain(&format!("svmanager: {why}"));
            Exit::Failed
        }
    }
}

/// To stdout. That nobody reads it is no error.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// To stderr.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}
