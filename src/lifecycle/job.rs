//! Commands of people: what may be asked, and when it has been answered.
//!
//! Every unit that a job names gets exactly one answer. The last word counts: a start that is overtaken by a stop is
//! answered with that. The job does not change units; it looks at them after every step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lifecycle::action::{Action, Outcome};
use crate::lifecycle::event::{JobId, RunId};
use crate::lifecycle::order::{self, Units};
use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::roll::Kind;
use crate::lifecycle::state::Label;
use crate::lifecycle::time::Time;
use crate::lifecycle::unit::{Goal, Note, State, Unit, Unwell};
use crate::units::name::UnitName;

/// What a job expects of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Expect {
    /// Up, by a main process later than this one.
    Up { after: RunId },
    /// Down.
    Down,
    /// Reloaded.
    Reloaded,
    /// Its turn is to come.
    Turn(Kind),
}

/// The jobs that have units without an answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Jobs {
    pub(super) open: BTreeMap<JobId, BTreeMap<UnitName, Expect>>,
}

impl Jobs {
    /// A job begins. It ends at once when it expects nothing.
    pub(super) fn begin(&mut self, job: JobId, expects: BTreeMap<UnitName, Expect>, out: &mut Vec<Action>) {
        if expects.is_empty() {
            out.push(Action::JobDone { job });
        } else {
            self.open.insert(job, expects);
        }
    }

    /// A unit has told something that cannot be seen.
    pub(super) fn on_note(&mut self, unit: &UnitName, note: &Note, out: &mut Vec<Action>) {
        match note {
            Note::Reloaded(result) => {
                self.answer_where(unit, |expect| matches!(expect, Expect::Reloaded), result, out);
            }
            Note::NotRestarted(unwell) => {
                let refused =
                    if planted(Bug::FailedReplacementIsWell) { Ok(()) } else { Err(unwell.clone()) };
                self.answer_where(unit, |expect| matches!(expect, Expect::Up { .. }), &refused, out);
            }
            Note::LookAgain | Note::Ended | Note::Restarting | Note::RunBegins | Note::ShutDown { .. } => {}
        }
    }

    /// The turn of `unit` has come: from here on that is expected of it.
    pub(super) fn turn_has_come(&mut self, unit: &UnitName, kind: Kind, expect: Expect) {
        for expects in self.open.values_mut() {
            if let Some(waiting) = expects.get_mut(unit).filter(|waiting| **waiting == Expect::Turn(kind)) {
                *waiting = expect;
            }
        }
    }

    /// The turn of `unit` does not come.
    pub(super) fn turn_is_off(
        &mut self,
        unit: &UnitName,
        kind: Kind,
        outcome: &Outcome,
        out: &mut Vec<Action>,
    ) {
        let concerns = |name: &UnitName, expect: &Expect| name == unit && *expect == Expect::Turn(kind);
        self.answer(|name, expect| concerns(name, expect).then(|| outcome.clone()), out);
    }

    fn answer_where(
        &mut self,
        unit: &UnitName,
        concerns: impl Fn(&Expect) -> bool,
        result: &Result<(), Unwell>,
        out: &mut Vec<Action>,
    ) {
        let outcome = match result {
            Ok(()) => {
                Outcome { unit: unit.clone(), ok: true, why: "reloaded".to_owned(), said: String::new() }
            }
            Err(Unwell { why, said }) => {
                Outcome { unit: unit.clone(), ok: false, why: why.clone(), said: said.clone() }
            }
        };
        self.answer(|name, expect| (name == unit && concerns(expect)).then(|| outcome.clone()), out);
    }

    /// After a step: who has an answer?
    pub(super) fn settle(&mut self, units: &Units, now: Time, out: &mut Vec<Action>) {
        if self.open.is_empty() {
            return;
        }
        self.answer(
            |name, expect| match units.get(name) {
                Some(unit) => judge(units, unit, *expect, now),
                None => Some(no(name, "is defined no longer".to_owned())),
            },
            out,
        );
    }

    /// Everything is being stopped: what is to come up will not.
    pub(super) fn on_shutdown(&mut self, out: &mut Vec<Action>) {
        self.answer(
            |name, expect| (*expect != Expect::Down).then(|| no(name, "svinit is shutting down".to_owned())),
            out,
        );
    }

    /// The end: nobody shall wait for an answer that cannot come.
    pub(super) fn on_end(&mut self, out: &mut Vec<Action>) {
        self.answer(|name, _| Some(no(name, "svinit has ended before it was done".to_owned())), out);
    }

    fn answer(
        &mut self,
        mut decide: impl FnMut(&UnitName, &Expect) -> Option<Outcome>,
        out: &mut Vec<Action>,
    ) {
        self.open.retain(|&job, expects| {
            expects.retain(|name, expect| match decide(name, expect) {
                Some(outcome) => {
                    if planted(Bug::AnswerTwice) {
                        out.push(Action::Answer { job, outcome: outcome.clone() });
                    }
                    if !planted(Bug::LoseAnswer) {
                        out.push(Action::Answer { job, outcome });
                    }
                    false
                }
                None => true,
            });
            if expects.is_empty() {
                out.push(Action::JobDone { job });
            }
            !expects.is_empty()
        });
    }
}

/// The answer is known before anything had to be awaited.
pub(super) type Answered = Outcome;

pub(super) fn yes(name: &UnitName, why: String) -> Outcome {
    Outcome { unit: name.clone(), ok: true, why, said: String::new() }
}

pub(super) fn no(name: &UnitName, why: String) -> Outcome {
    Outcome { unit: name.clone(), ok: false, why, said: String::new() }
}

/// What has become of the unit, if that can be said by now.
pub(super) fn judge(units: &Units, unit: &Unit, expect: Expect, now: Time) -> Option<Outcome> {
    let name = unit.name();
    match expect {
        Expect::Up { after } => judge_up(units, unit, after, now),
        Expect::Down if unit.goal == Goal::Up => Some(no(name, "was started again meanwhile".to_owned())),
        Expect::Down => unit.is_down().then(|| yes(name, unit.why.clone())),
        Expect::Turn(_) if unit.goal == Goal::Down => Some(no(name, "was stopped meanwhile".to_owned())),
        Expect::Turn(_) => None,
        Expect::Reloaded if matches!(unit.label(), Label::Ready | Label::Reloading) => None,
        Expect::Reloaded => Some(no(name, format!("could not be reloaded: {}", unit.why))),
    }
}

fn judge_up(units: &Units, unit: &Unit, after: RunId, now: Time) -> Option<Outcome> {
    let name = unit.name();
    if unit.goal == Goal::Down {
        return Some(no(name, "was stopped meanwhile".to_owned()));
    }
    if matches!(unit.state, State::Scheduled) {
        // Its run is over; or it is armed, which is all that an update asks of it.
        return Some(match &unit.timed.last {
            Some(run) if !run.is_well => Outcome { said: unit.said.clone(), ..no(name, run.why.clone()) },
            Some(_) | None => yes(name, unit.why.clone()),
        });
    }
    if unit.is_up() && unit.latest > after {
        return Some(yes(name, unit.why.clone()));
    }
    if matches!(unit.state, State::Waiting) {
        return order::stuck_words(units, unit).map(|words| no(name, words));
    }
    if let State::Ready(ready) = &unit.state
        && unit.pending.is_none()
        && !ready.is_busy()
        && !unit.is_being_replaced()
    {
        // The restart was overtaken by a stop, and that by a start.
        return Some(no(name, "was wanted up before it could be restarted; it goes on as it was".to_owned()));
    }
    // A retry at once is not worth a word yet; a pause is.
    let pauses = matches!(unit.state, State::Backoff { until, .. } if until > now);
    let has_given_up = pauses || matches!(unit.state, State::Failed);
    has_given_up.then(|| Outcome { said: unit.said.clone(), ..no(name, unit.why.clone()) })
}
