//! `svctl upgrade`: svinit becomes the program on the disk, and every service goes on.

use clap::ArgMatches;
use clap::{Arg, ArgAction};
use serde_json::json;

use crate::api::status::SupervisorStatus;
use crate::api::upgrade::UpgradeLine;
use crate::cli::exit::Exit;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::client::error::Error;
use crate::client::query::Path;
use crate::client::stream::Lines;

pub(super) const UPGRADE: Verb = Verb {
    name: "upgrade",
    aliases: &["daemon-reexec"],
    group: Group::Act,
    about: "Go on as the svinit that is on the disk by now; every service keeps running",
    details: "The new program is tested first with a copy of the state; one that could not take over is refused with the \
              reason, and nothing has changed. Processes, timers, counters, held sockets and logs are taken over.",
    examples: &[("svctl upgrade --check", "tests the program on the disk, and changes nothing")],
    completes: Completes::Nothing,
    arguments: |command| {
        arguments::timeout(command).arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Only test whether the program on the disk could take over"),
        )
    },
    run,
};

fn run(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let only_try = matches.get_flag("check");
    let path = Path::new("/v1/upgrade");
    let path = if only_try { path.with("try", "true") } else { path };
    let mut lines: Lines<UpgradeLine> = session.client().post_and_follow(&path, &json!({}))?;
    let (from, to, upgrades) = match lines.read()? {
        Some(UpgradeLine::Tested { from, to, upgrades }) => (from, to, upgrades),
        Some(UpgradeLine::Failed { why }) => return Err(Failure::failed(why)),
        None => return Err(Failure::failed("the supervisor did not say what came of it")),
    };
    if only_try {
        if session.json {
            session.print_json(&json!({ "ok": true, "from": from, "to": to, "upgraded": false }))?;
        } else {
            session.out.line(format!("svinit {to} on the disk could take over from svinit {from}"));
        }
        return Ok(Exit::Done);
    }
    match lines.read() {
        // The connection ends with the program that it was made to, in whatever way.
        Ok(None) | Err(Error::Lost { .. }) => {}
        Ok(Some(UpgradeLine::Failed { why })) => return Err(Failure::failed(why)),
        Ok(Some(UpgradeLine::Tested { .. })) => {}
        Err(error) => return Err(error.into()),
    }
    let now: SupervisorStatus = session.client_at_ease().get(&Path::new("/v1/supervisor"))?;
    if now.upgrades < upgrades {
        let why = format!("svinit {} goes on: its log says why svinit {to} did not take over", now.version);
        return Err(Failure::failed(why));
    }
    let paused_ms = now.paused_ms.unwrap_or_default();
    if session.json {
        let told =
            json!({ "ok": true, "from": from, "to": now.version, "upgraded": true, "paused_ms": paused_ms });
        session.print_json(&told)?;
    } else {
        let version = now.version;
        session
            .out
            .line(format!("svinit {from} -> {version}, paused for {paused_ms} ms; every service goes on"));
    }
    Ok(Exit::Done)
}
