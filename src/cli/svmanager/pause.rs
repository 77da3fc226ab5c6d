//! `svmanager pause` and `resume`: for maintenance, recovery looks on and does nothing.

use clap::Arg;
use clap::ArgMatches;
use clap::Command;

use crate::api::manager::Paused;
use crate::cli::exit::Exit;
use crate::cli::svmanager::admin;
use crate::cli::svmanager::admin::NoAnswer;
use crate::cli::svmanager::say;
use crate::client::query::Path;
use crate::manager::run::Files;
use crate::units::quantity::print_duration;

fn service() -> Arg {
    Arg::new("SERVICE").required(true).help("Its name, or all")
}

pub(super) fn command() -> Command {
    let command = Command::new("pause")
        .about("Let recovery do nothing about a service for a while")
        .long_about("Requests are served as ever. The pause ends by itself, or with svmanager resume.")
        .arg(service())
        .arg(Arg::new("TIME").help("How long, like 30m; 7d at most [default: 1h]"));
    admin::with_options(command)
}

pub(super) fn resume_command() -> Command {
    let command = Command::new("resume")
        .about("Let recovery look after a service again; also ends a quarantine")
        .arg(service());
    admin::with_options(command)
}

pub(super) fn pause(matches: &ArgMatches, files: &Files) -> Exit {
    let body = matches.get_one::<String>("TIME").map(|time| serde_json::json!({ "for": time }).to_string());
    told(matches, files, "pause", body.as_deref()).unwrap_or_else(NoAnswer::tell)
}

pub(super) fn resume(matches: &ArgMatches, files: &Files) -> Exit {
    told(matches, files, "resume", None).unwrap_or_else(NoAnswer::tell)
}

fn told(matches: &ArgMatches, files: &Files, action: &str, body: Option<&str>) -> Result<Exit, NoAnswer> {
    let name = matches.get_one::<String>("SERVICE").cloned().unwrap_or_default();
    let path = match name.as_str() {
        "all" => Path::new("/api").segment(action),
        name => Path::new("/api/services").segment(name).segment(action),
    };
    let bytes = admin::ask(matches, files, "POST", path.as_str(), body.map(str::as_bytes))?;
    let paused: Paused = admin::read(&bytes)?;
    if matches.get_flag("json") {
        say(&String::from_utf8_lossy(&bytes));
        return Ok(Exit::Done);
    }
    let named = paused.service.as_deref().unwrap_or("all services");
    match paused.paused_ms {
        Some(ms) => {
            let length = print_duration(std::time::Duration::from_millis(ms));
            say(&format!("{named}: recovery does nothing for {length}"));
        }
        None => say(&format!("{named}: recovery acts again")),
    }
    Ok(Exit::Done)
}
