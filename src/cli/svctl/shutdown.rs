//! `svctl shutdown`: stops everything, and svinit with it.

use clap::ArgMatches;
use serde_json::json;

use crate::api::event::UnitEvent;
use crate::cli::exit::Exit;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::progress::Progress;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::status::is_up;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::client::error::Error;
use crate::client::query::Path;

pub(super) const SHUTDOWN: Verb = Verb {
    name: "shutdown",
    aliases: &["poweroff", "halt"],
    group: Group::Act,
    about: "Stop all units in order, and then svinit; the container ends",
    details: "The container's exit status is 0. A restart policy of the engine such as restart: always may start it \
              again. Returns when svinit is gone, which in docker exec is also the end of svctl.",
    examples: &[("svctl shutdown --no-wait", "returns at once")],
    completes: Completes::Nothing,
    arguments: |command| arguments::no_wait(arguments::timeout(command)),
    run,
};

fn run(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let wait = !matches.get_flag("no-wait");
    // Listening begins before the end does, so that nothing of it is missed.
    let events =
        if wait { Some(session.client().follow::<UnitEvent>(&Path::new("/v1/events"))?) } else { None };
    session.client_at_ease().post(&Path::new("/v1/shutdown"), &json!({}))?;
    let mut progress = Progress::default();
    if let Some(mut events) = events {
        loop {
            match events.read() {
                Ok(Some(event)) if session.json => drop(event),
                Ok(Some(event)) if is_up(&event.state) || event.state == "stopping" => {
                    progress.set(&mut session.out, &event.unit, &event.state, &event.why);
                }
                Ok(Some(event)) => {
                    progress.remove(&mut session.out, &event.unit);
                    progress.draw(&mut session.out);
                }
                // The connection ends with the supervisor, in whatever way.
                Ok(None) | Err(Error::Lost { .. }) => break,
                Err(Error::TimedOut) => {
                    progress.wipe(&mut session.out);
                    return Err(Failure::Said(
                        Exit::TimedOut,
                        "svinit is still stopping its units".to_owned(),
                    ));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    progress.wipe(&mut session.out);
    if session.json {
        session.print_json(&json!({ "ok": true, "ended": wait }))?;
    } else {
        session.out.line(if wait { "svinit has ended" } else { "svinit is shutting down" });
    }
    Ok(Exit::Done)
}
