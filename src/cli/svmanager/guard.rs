//! `svmanager guard`: holds Docker's socket, see [`crate::manager::guard`].

use std::path::PathBuf;
use std::sync::Arc;

use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;
use clap::Command;
use clap::value_parser;
use tokio::net::UnixListener;

use crate::cli::exit::Exit;
use crate::cli::svmanager::complain;
use crate::cli::svmanager::say;
use crate::manager::guard::rules::Permits;
use crate::manager::guard::server::Guard;
use crate::os::hold;
use crate::os::posture;
use crate::os::user;

/// Where the engine is, and where the guard is to be found.
const ENGINE_DEFAULT: &str = "/var/run/docker.sock";
const SOCKET_DEFAULT: &str = "/run/guard/guard.sock";

pub(super) fn command() -> Command {
    let path = |id: &'static str, default: &'static str| {
        Arg::new(id).long(id).value_name("PATH").value_parser(value_parser!(PathBuf)).default_value(default)
    };
    Command::new("guard")
        .about("Hold Docker's socket and let through only what recovery needs")
        .long_about(
            "Runs in a container of its own, without a network, with the engine's socket. The manager gets the socket that is made \
             here, and no other. Eight calls are let through, each of them to containers with the label svinit.managed=true; \
             everything else is answered 403 and leaves a line.",
        )
        .arg(path("engine", ENGINE_DEFAULT).help("The engine's socket"))
        .arg(path("listen", SOCKET_DEFAULT).help("The socket that is made for the manager"))
        .arg(Arg::new("group").long("group").value_name("GROUP").help("Who may use it besides its owner"))
        .arg(
            Arg::new("allow-restart")
                .long("allow-restart")
                .action(ArgAction::SetTrue)
                .help("Let containers be restarted"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> Exit {
    posture::harden();
    match serve(matches) {
        Ok(()) => Exit::Done,
        Err(why) => {
            complain(&format!("svmanager: {why}"));
            Exit::Failed
        }
    }
}

fn serve(matches: &ArgMatches) -> Result<(), String> {
    let path = |id: &str| matches.get_one::<PathBuf>(id).cloned().unwrap_or_default();
    let (engine, listen) = (path("engine"), path("listen"));
    let group = matches.get_one::<String>("group").map(|name| user::group(name)).transpose();
    let group = group.map_err(|error| error.to_string())?;
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    let listener = hold::listen_unix(&listen, mode, group).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let listener = UnixListener::from_std(listener).map_err(|error| format!("cannot listen: {error}"))?;
        let permits = Permits { restart: matches.get_flag("allow-restart") };
        say(&format!("guard: {} in front of {}", listen.display(), engine.display()));
        Guard::new(engine, permits, Arc::new(|line: &str| say(&format!("guard: {line}"))))
            .serve(listener)
            .await;
        Ok(())
    })
}
