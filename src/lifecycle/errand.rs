//! A process or a probe beside the main one: hook, test, stop or reload command, remedy, check. It has a deadline, and
//! its first word is its only one: what comes later is about a run that nobody waits for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::action::{Action, Purpose};
use crate::lifecycle::event::{Event, ExitStatus, RunId};
use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::time::Time;
use crate::lifecycle::unit::{Cx, Tidying};
use crate::lifecycle::why;
use crate::units::name::UnitName;
use crate::units::spec::{Argv, Check};

/// One errand under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Errand {
    pub(super) run: RunId,
    pub(super) means: Means,
    /// Given up then.
    pub(super) by: Time,
    pub(super) allowed: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Means {
    Process,
    Network,
}

/// What came of an errand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It ended with status 0, or got the answer that it hoped for.
    Passed,
    /// It did not.
    Failed {
        /// In words: "exited with code 1", "connection refused", "took longer than 3s".
        why: String,
        /// Its last lines.
        said: String,
    },
}

impl Errand {
    /// Runs a command in the unit's context. A zero `allowed` is no bound.
    pub(super) fn command(
        unit: &UnitName,
        purpose: Purpose,
        argv: &Argv,
        extra_env: Vec<(String, String)>,
        allowed: Duration,
        cx: &mut Cx<'_>,
    ) -> Self {
        let run = cx.new_run(unit);
        cx.out.push(Action::Spawn { run, unit: unit.clone(), purpose, argv: argv.clone(), extra_env });
        let by = if allowed.is_zero() || planted(Bug::HookTimeoutForgotten) {
            Time::NEVER
        } else {
            cx.now.after(allowed)
        };
        Self { run, means: Means::Process, by, allowed }
    }

    /// Asks a question.
    pub(super) fn check(unit: &UnitName, check: &Check, allowed: Duration, cx: &mut Cx<'_>) -> Self {
        if let Check::Exec(argv) = check {
            return Self::command(unit, Purpose::Probe, argv, Vec::new(), allowed, cx);
        }
        let run = cx.new_run(unit);
        cx.out.push(Action::Probe { run, unit: unit.clone(), check: check.clone() });
        Self { run, means: Means::Network, by: cx.now.after(allowed), allowed }
    }

    /// Whether this event decides it. Its process's own children are cleared away through `tidying`.
    pub(super) fn on_event(&self, event: &Event, tidying: &mut Tidying, cx: &mut Cx<'_>) -> Option<Verdict> {
        match event {
            Event::Exited { run, status, said, .. } if *run == self.run => {
                tidying.clear(self.run, cx);
                Some(judged(*status, said))
            }
            Event::SpawnFailed { run, failure } if *run == self.run => {
                cx.forget_run(self.run);
                Some(Verdict::Failed { why: failure.why.clone(), said: String::new() })
            }
            Event::Passed { run } if *run == self.run => {
                cx.forget_run(self.run);
                Some(Verdict::Passed)
            }
            Event::NotPassed { run, why } if *run == self.run => {
                cx.forget_run(self.run);
                Some(Verdict::Failed { why: why.clone(), said: String::new() })
            }
            Event::Tick if cx.now >= self.by => {
                self.abandon(tidying, cx);
                let why = format!("took longer than {}", why::span(self.allowed));
                Some(Verdict::Failed { why, said: String::new() })
            }
            Event::Tick
            | Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::Exited { .. }
            | Event::TreeGone { .. }
            | Event::Passed { .. }
            | Event::NotPassed { .. }
            | Event::MainFound { .. }
            | Event::MainNotFound { .. }
            | Event::Signed { .. }
            | Event::Measured { .. }
            | Event::Due { .. }
            | Event::Asked { .. }
            | Event::ShutdownAsked { .. } => None,
        }
    }

    /// Nobody waits for it any longer: it is ended with all it has started.
    pub(super) fn abandon(&self, tidying: &mut Tidying, cx: &mut Cx<'_>) {
        match self.means {
            Means::Process => tidying.clear(self.run, cx),
            Means::Network => {
                cx.out.push(Action::CancelProbe { run: self.run });
                cx.forget_run(self.run);
            }
        }
    }
}

fn judged(status: ExitStatus, said: &str) -> Verdict {
    if status == ExitStatus::Code(0) {
        return Verdict::Passed;
    }
    Verdict::Failed { why: why::ended(status, false), said: said.to_owned() }
}
