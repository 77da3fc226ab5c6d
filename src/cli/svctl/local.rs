//! The unit files as they lie here, for the verbs that work without a supervisor.
//!
//! Which files: those named on the command line, else those of the supervisor when one answers, else `SVINIT_UNITS`, else
//! the default directory. So a check inside the container is about the same files that svinit has read.

use std::path::PathBuf;

use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;
use clap::Command;
use clap::value_parser;

use crate::api::status::SupervisorStatus;
use crate::cli::exit::Exit;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::session::effective_user;
use crate::client::query::Path;
use crate::runtime::load;
use crate::runtime::load::Loaded;
use crate::runtime::load::Paths;
use crate::units::problem::Problems;

/// `--units` and `--config`, as svinit itself has them.
pub(super) fn options(command: Command) -> Command {
    let path = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).value_parser(value_parser!(PathBuf)).help(help)
    };
    command
        .arg(
            path(
                "units",
                "PATH",
                "A directory of units or one file; a later one overrides [default: those of svinit]",
            )
            .action(ArgAction::Append),
        )
        .arg(path("config", "FILE", "svinit.toml [default: /etc/svinit/svinit.toml, if it is there]"))
}

/// Reads them.
pub(super) fn load(session: &Session, matches: &ArgMatches) -> Result<Loaded, Problems> {
    let mut units: Vec<PathBuf> = matches.get_many("units").into_iter().flatten().cloned().collect();
    if units.is_empty() {
        units = usual(session);
    }
    let config = matches
        .get_one::<PathBuf>("config")
        .cloned()
        .or_else(|| session.variable("SVINIT_CONFIG").map(PathBuf::from));
    let paths = Paths { units, config, units_optional: false, uid: effective_user() };
    load::load(&paths, &|name| std::env::var(name).ok())
}

fn usual(session: &Session) -> Vec<PathBuf> {
    let supervisor: Option<SupervisorStatus> =
        session.client_at_ease().get(&Path::new("/v1/supervisor")).ok();
    if let Some(known) = supervisor.filter(|known| !known.unit_paths.is_empty()) {
        return known.unit_paths.iter().map(PathBuf::from).collect();
    }
    match session.variable("SVINIT_UNITS") {
        Some(list) => list.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect(),
        // The default directory.
        None => Vec::new(),
    }
}

/// The same where problems end the verb.
pub(super) fn load_sound(session: &Session, matches: &ArgMatches) -> Result<Loaded, Failure> {
    load(session, matches).map_err(|problems| {
        let text = format!("the units are not sound:\n{}", problems.to_string().trim_end());
        Failure::Said(Exit::BadConfiguration, text)
    })
}
