//! `svmanager why SERVICE`: why it is as it is, and what was done about it.

use clap::Arg;
use clap::ArgMatches;
use clap::Command;

use crate::api::manager::Why;
use crate::cli::exit::Exit;
use crate::cli::render::words::printable;
use crate::cli::svmanager::admin;
use crate::cli::svmanager::admin::NoAnswer;
use crate::cli::svmanager::say;
use crate::client::query::Path;
use crate::manager::run::Files;

pub(super) fn command() -> Command {
    let command = Command::new("why")
        .about("Say why a service is as it is, and what recovery has decided about it")
        .long_about("Asks the admin listener of the manager that runs. Exits with 0 when the service is up, else with 3.")
        .arg(Arg::new("SERVICE").required(true));
    admin::with_options(command)
}

pub(super) fn run(matches: &ArgMatches, files: &Files) -> Exit {
    told(matches, files).unwrap_or_else(NoAnswer::tell)
}

fn told(matches: &ArgMatches, files: &Files) -> Result<Exit, NoAnswer> {
    let name = matches.get_one::<String>("SERVICE").cloned().unwrap_or_default();
    let bytes = admin::ask(matches, files, "GET", Path::new("/api/why").segment(&name).as_str(), None)?;
    let why: Why = admin::read(&bytes)?;
    if matches.get_flag("json") {
        say(&String::from_utf8_lossy(&bytes));
    } else {
        // What services say of themselves does not get to move the cursor.
        why.text.lines().for_each(|line| say(&printable(line)));
    }
    Ok(if why.state == "up" { Exit::Done } else { Exit::NotRunning })
}
