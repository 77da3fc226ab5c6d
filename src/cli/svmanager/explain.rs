//! `svmanager explain METHOD URL`: what would become of a request, without sending it.

use std::net::IpAddr;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::cli::exit::Exit;
use crate::cli::svmanager::{complain, say};
use crate::manager::explain::{self, Question};
use crate::manager::run::{self, Files};

pub(super) fn command() -> Command {
    let header =
        Arg::new("header").short('H').long("header").value_name("NAME: VALUE").action(ArgAction::Append);
    let from = Arg::new("from")
        .long("from")
        .value_name("ADDRESS")
        .default_value("192.0.2.1")
        .value_parser(value_parser!(IpAddr));
    Command::new("explain")
        .about("Say which route a request takes, who answers it, and with which header lines it is asked")
        .long_about("Nothing is sent; only names are looked up. Exits with 0 when a service would be asked, with 1 when the \
                     request would be answered here or refused.")
        .arg(Arg::new("METHOD").required(true))
        .arg(Arg::new("URL").required(true).help("http://HOST/PATH, or a path alone"))
        .arg(header.help("A header line of the request"))
        .arg(from.help("Who asks"))
}

pub(super) fn run(matches: &ArgMatches, files: &Files) -> Exit {
    let config = match run::load(&files.config) {
        Ok(reading) => reading.config,
        Err(problems) => {
            complain(&problems.to_string());
            return Exit::BadConfiguration;
        }
    };
    let text = |id: &str| matches.get_one::<String>(id).cloned().unwrap_or_default();
    let question = Question {
        method: text("METHOD").to_ascii_uppercase(),
        url: text("URL"),
        headers: matches.get_many::<String>("header").into_iter().flatten().cloned().collect(),
        from: matches.get_one::<IpAddr>("from").copied().unwrap_or(IpAddr::from([192, 0, 2, 1])),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let explained = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(explain::explain(&config, &question, &files.resolver())));
    match explained {
        Ok(explained) => {
            say(&explained.text);
            if explained.is_served { Exit::Done } else { Exit::Failed }
        }
        Err(why) => {
            complain(&format!("svmanager: {why}"));
            Exit::Usage
        }
    }
}
