//! `svctl run`: starts a oneshot, prints what it says, ends with its status.
//!
//! Lines are printed while it runs, from the stream that follows the unit; when the job is done, the kept lines fill in
//! whatever that stream had not brought yet, so that no last word is missing and none is printed twice.

use clap::ArgMatches;

use crate::api::command::JobLine;
use crate::api::command::Outcome;
use crate::api::log::LogLine;
use crate::api::status::LastExit;
use crate::cli::exit::Exit;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::jobs;
use crate::cli::svctl::listen;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::tail;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::client::query::Path;
use crate::client::stream::Lines;
use crate::units::signal;

/// Kept lines that are asked for at the end.
const LINES_KEPT: u32 = 100_000;

pub(super) const RUN: Verb = Verb {
    name: "run",
    aliases: &[],
    group: Group::Act,
    about: "Start a oneshot, print its lines, and exit with its status",
    details: "Returns when it has completed or failed. The exit status is that of its process: 128 and the number for a \
              signal. What it requires is started first, as by svctl start.",
    examples: &[("svctl run migrate", "as if it were run here, in its own context")],
    completes: Completes::Units,
    arguments: |command| arguments::timeout(arguments::one_unit(command)),
    run,
};

fn run(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let unit = session.unit(&arguments::the_one(matches))?.unit;
    let before = tail::last_lines(session, &unit, 1)?.pop();
    let path = Path::new("/v1/logs").with("units", &unit).with("lines", "0").with("follow", "true");
    let mut said = session.client_at_ease().follow::<LogLine>(&path)?;
    let mut job = jobs::start_one(session, &unit)?;
    let mut last = before;
    let outcome = loop {
        if wait_for_either(&said, &job)? {
            if let Some(line) = said.read()? {
                print(session, &line)?;
                last = Some(line);
            }
            continue;
        }
        match job.read()? {
            Some(JobLine::Outcome(outcome)) if outcome.unit == unit => break outcome,
            Some(JobLine::Done { .. }) | None => {
                return Err(Failure::failed(format!("the supervisor did not say what came of {unit}")));
            }
            Some(_) => {}
        }
    };
    let kept = tail::last_lines(session, &unit, LINES_KEPT)?;
    for line in after(&kept, last.as_ref()) {
        print(session, line)?;
    }
    end(session, &outcome)
}

/// Whether the unit's lines come first; waits until one of the two has something.
fn wait_for_either(said: &Lines<LogLine>, job: &Lines<JobLine>) -> Result<bool, Failure> {
    if said.has_received() || job.has_received() {
        return Ok(said.has_received());
    }
    Ok(listen::first_of(&[said.as_fd(), job.as_fd()])? == 0)
}

/// What of `kept` comes after `last`; all of it when `last` is not among them any more.
fn after<'a>(kept: &'a [LogLine], last: Option<&LogLine>) -> &'a [LogLine] {
    let at = last.and_then(|last| kept.iter().rposition(|line| line == last));
    at.map_or(kept, |at| &kept[at + 1..])
}

fn print(session: &mut Session, line: &LogLine) -> Result<(), Failure> {
    if session.json {
        session.print_json_line(line)?;
    } else if line.stream == "stderr" {
        session.err.line(&line.message);
        session.err.flush();
    } else if line.stream != "svinit" {
        session.out.line(&line.message);
    }
    session.out.flush();
    Ok(())
}

/// Ends as the unit's process did.
fn end(session: &mut Session, outcome: &Outcome) -> Result<Exit, Failure> {
    if session.json {
        session.print_json_line(outcome)?;
    }
    if outcome.ok {
        return Ok(Exit::Done);
    }
    let status = session.unit(&outcome.unit)?;
    let exit = status.last_exit.as_ref().and_then(status_of).unwrap_or(Exit::Failed);
    Err(Failure::Said(exit, format!("{}: {}", outcome.unit, outcome.why)))
}

fn status_of(exit: &LastExit) -> Option<Exit> {
    if let Some(name) = &exit.signal {
        let number = u8::try_from(signal::number(name)?).ok()?;
        return Some(Exit::Of(128u8.saturating_add(number)));
    }
    exit.code.filter(|code| *code != 0).map(Exit::Of)
}

#[cfg(test)]
mod tests {
    use super::after;
    use crate::api::log::LogLine;

    #[test]
    fn kept_lines_go_on_where_the_stream_ended() {
        let line = |message: &str| LogLine {
            ts: "t".into(),
            unit: "u".into(),
            pid: None,
            stream: "stdout".into(),
            message: message.into(),
        };
        let kept = ["a", "b", "c"].map(line);
        assert_eq!(after(&kept, Some(&line("b"))), &kept[2..]);
        assert_eq!(after(&kept, None), &kept);
        assert_eq!(after(&kept, Some(&line("long gone"))), &kept);
    }
}
