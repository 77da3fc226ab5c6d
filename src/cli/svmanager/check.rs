//! `svmanager check`: every mistake of the file at once, with no manager needed.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::cli::exit::Exit;
use crate::cli::svmanager::{complain, say};
use crate::manager::config::reading::Reading;
use crate::manager::run::{self, Files};
use crate::units::problem::Problems;

pub(super) fn command() -> Command {
    let file =
        Arg::new("FILE").value_parser(value_parser!(PathBuf)).help("Another file than that of --config");
    Command::new("check")
        .about("Check the file and list every mistake")
        .long_about("Reads the file as the manager does, and serves nothing. Each mistake is shown with its line and column; \
                     exits with 78 when there is one, with 0 when there are warnings alone.")
        .arg(file)
}

pub(super) fn run(matches: &ArgMatches, files: &Files) -> Exit {
    let path = matches.get_one::<PathBuf>("FILE").unwrap_or(&files.config);
    match run::load(path) {
        Ok(Reading { config, warnings }) => {
            if !warnings.is_empty() {
                say(&Problems(warnings).to_string());
            }
            let (routes, services) = (config.routes.len(), config.services.len());
            say(&format!("{}: sound: {routes} routes, {services} services", path.display()));
            Exit::Done
        }
        Err(problems) => {
            complain(&problems.to_string());
            Exit::BadConfiguration
        }
    }
}
