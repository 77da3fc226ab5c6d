//! What every shim asks the supervisor: which units a word means, and to do something with them.

use serde_json::json;

use crate::api::command::JobLine;
use crate::api::command::JobRequest;
use crate::api::command::Outcome;
use crate::api::command::UnitDifference;
use crate::api::command::UpdateRequest;
use crate::api::command::Verb;
use crate::api::status::UnitStatus;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;
use crate::client::query::Path;

/// Prints each translation.
const TRACE: &str = "SVCTL_SHIM_TRACE";

/// Says what `svctl` would be called with, to who wants to know.
pub(super) fn trace(session: &mut Session, call: &str) {
    if session.variable(TRACE).is_some_and(|value| value != "0") {
        session.err.line(format!("svctl {call}"));
    }
}

/// Every unit, in the order of their names; a unit's place in it is its number for `pm2`.
pub(super) fn units(session: &Session) -> Result<Vec<UnitStatus>, Failure> {
    session.units(&[])
}

/// The unit that `name` means: its name or an alias, with or without `.service` or a group in front.
pub(super) fn find<'a>(units: &'a [UnitStatus], name: &str) -> Option<&'a UnitStatus> {
    let bare = name.strip_suffix(".service").unwrap_or(name);
    let bare = bare.rsplit_once(':').map_or(bare, |(group, of_group)| match of_group {
        // supervisord has a group of its own for each program.
        "*" | "" => group,
        _ => of_group,
    });
    let is_called =
        |unit: &&UnitStatus, name: &str| unit.unit == name || unit.aliases.iter().any(|alias| alias == name);
    [name, bare].iter().find_map(|name| units.iter().find(|unit| is_called(unit, name)))
}

/// What is to be done, beside to whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) verb: Verb,
    /// Restart what cannot be reloaded.
    pub(super) or_restart: bool,
    /// Answer when it is done.
    pub(super) wait: bool,
}

impl Job {
    pub(super) const fn of(verb: Verb) -> Self {
        Self { verb, or_restart: false, wait: true }
    }
}

/// Does it with these units and says what came of each. Nothing is done when there are none.
pub(super) fn job(session: &mut Session, job: Job, units: &[String]) -> Result<Vec<Outcome>, Failure> {
    request(
        session,
        &JobRequest {
            verb: job.verb,
            units: units.to_owned(),
            signal: None,
            tree: false,
            with_dependants: false,
            or_restart: job.or_restart,
            wait: job.wait,
        },
    )
}

/// Sends `signal`, a name with or without `SIG` or a number.
pub(super) fn signal(
    session: &mut Session,
    signal: &str,
    tree: bool,
    units: &[String],
) -> Result<Vec<Outcome>, Failure> {
    let plain = signal.to_ascii_uppercase();
    request(
        session,
        &JobRequest {
            verb: Verb::Signal,
            units: units.to_owned(),
            signal: Some(plain.strip_prefix("SIG").unwrap_or(&plain).to_owned()),
            tree,
            with_dependants: false,
            or_restart: false,
            wait: true,
        },
    )
}

fn request(session: &mut Session, request: &JobRequest) -> Result<Vec<Outcome>, Failure> {
    if request.units.is_empty() {
        return Ok(Vec::new());
    }
    trace(session, &words(request));
    let mut lines = session.client().post_and_follow::<JobLine>(&Path::new("/v1/jobs"), request)?;
    let mut outcomes = Vec::new();
    while let Some(line) = lines.read()? {
        match line {
            JobLine::Outcome(outcome) => outcomes.push(outcome),
            JobLine::Done { .. } => return Ok(outcomes),
            JobLine::Plan { .. }
            | JobLine::Accepted { .. }
            | JobLine::Progress { .. }
            | JobLine::Lagged { .. } => {}
        }
    }
    if request.wait {
        return Err(Failure::failed("the supervisor ended the answer before the job was done"));
    }
    Ok(outcomes)
}

fn words(request: &JobRequest) -> String {
    let verb = match request.verb {
        Verb::Start => "start",
        Verb::Stop => "stop",
        Verb::Restart => "restart",
        Verb::Reload if request.or_restart => "reload --or-restart",
        Verb::Reload => "reload",
        Verb::Signal => "signal",
        Verb::Reset => "reset",
        Verb::Pause => "pause",
        Verb::Resume => "resume",
    };
    let signal = request.signal.iter().map(|signal| format!(" {signal}"));
    let units = request.units.iter().map(|unit| format!(" {unit}"));
    let wait = if request.wait { "" } else { " --no-wait" };
    std::iter::once(verb.to_owned()).chain(signal).chain(units).chain([wait.to_owned()]).collect()
}

/// Takes over what the unit files say, or only says how they differ.
pub(super) fn update(
    session: &mut Session,
    dry_run: bool,
    units: Vec<String>,
) -> Result<(Vec<UnitDifference>, Vec<Outcome>), Failure> {
    trace(session, if dry_run { "update --dry-run" } else { "update" });
    let request = UpdateRequest { units, dry_run, wait: true };
    let mut lines = session.client().post_and_follow::<JobLine>(&Path::new("/v1/update"), &request)?;
    let (mut plan, mut outcomes) = (Vec::new(), Vec::new());
    while let Some(line) = lines.read()? {
        match line {
            JobLine::Plan { units, .. } => plan = units,
            JobLine::Outcome(outcome) => outcomes.push(outcome),
            JobLine::Done { .. } => break,
            JobLine::Accepted { .. } | JobLine::Progress { .. } | JobLine::Lagged { .. } => {}
        }
    }
    Ok((plan, outcomes))
}

/// Stops everything, and svinit with it.
pub(super) fn shutdown(session: &mut Session) -> Result<(), Failure> {
    trace(session, "shutdown --no-wait");
    session.client().post(&Path::new("/v1/shutdown"), &json!({}))?;
    Ok(())
}
