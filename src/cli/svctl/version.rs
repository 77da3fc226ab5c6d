//! `svctl version`: of this program, and of the supervisor when one answers.

use serde_json::json;

use crate::api::status::SupervisorStatus;
use crate::cli::exit::Exit;
use crate::cli::render::words;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::client::query::Path;

/// Of this program.
pub(super) const OWN: &str = env!("CARGO_PKG_VERSION");

pub(super) const VERSION: Verb = Verb {
    name: "version",
    aliases: &[],
    group: Group::Other,
    about: "Print the version of svctl, and of the supervisor when one answers",
    details: "",
    examples: &[],
    completes: Completes::Nothing,
    arguments: |command| command,
    run: |session, _| run(session),
};

fn run(session: &mut Session) -> Result<Exit, Failure> {
    let supervisor: Option<SupervisorStatus> = session.client().get(&Path::new("/v1/supervisor")).ok();
    if session.json {
        session.print_json(&json!({ "svctl": OWN, "supervisor": supervisor }))?;
        return Ok(Exit::Done);
    }
    session.out.line(format!("svctl {OWN}"));
    if let Some(up) = supervisor {
        let (pid, age) = (up.pid, words::age(up.uptime_ms));
        session.out.line(format!("svinit {} ({}, pid {pid}, up {age})", up.version, up.phase));
        if up.replaced {
            session.out.line("the program on the disk is another by now: svctl upgrade");
        }
    }
    Ok(Exit::Done)
}
