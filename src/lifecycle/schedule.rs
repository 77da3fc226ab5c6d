//! Runs by the clock: what a moment of `[schedule]` means, by what the unit is doing when it comes.
//!
//! ```text
//!                    moment                                    whatever came of the run
//!  armed: Scheduled ────────▶ Waiting ──▶ ... ──▶ Stopping ──┬──────────────────────────▶ Scheduled
//!                             ▲    a later moment is queued  │
//!                             └──────────────────────────────┘
//! ```
//!
//! When moments come is told from outside, as [`Event::Due`](crate::lifecycle::event::Event::Due): the calendar and the wall
//! clock are `runtime::schedule`'s. Here each of them becomes a run, is kept for later, or is counted as skipped; none is
//! lost. Easy to get wrong: a run that waits or backs off has no process, and yet the next one must not begin beside it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::state::{LastRun, Timing};
use crate::lifecycle::stop::After;
use crate::lifecycle::time::Time;
use crate::lifecycle::unit::{Cx, Goal, Note, State, Unit};
use crate::units::spec::{Missed, Overlap};

/// How the reason of a report begins that tells of a moment which does not become a run.
pub const SKIPPED: &str = "a moment was skipped";

/// Why a unit is run by the clock.
pub(super) const COME: &str = "its moment has come";

/// The same, for one that was queued.
pub(super) const CAME: &str = "a moment had come while it ran";

/// What a unit with a schedule remembers of its moments and runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Timed {
    /// A moment has come, and its random delay is over then.
    pub(super) at: Option<Time>,
    /// A moment has come whose run follows the present one.
    pub(super) queued: bool,
    /// A run is under way since.
    pub(super) began: Option<Time>,
    /// How the last one was.
    pub(super) last: Option<LastRun>,
    /// Runs that have begun.
    pub(super) runs: u64,
    /// Runs that have not ended well.
    pub(super) failed: u64,
    /// Moments that have not become runs.
    pub(super) skipped: u64,
    /// Why the last of them has not.
    pub(super) skipped_why: String,
}

impl Timed {
    fn end(&mut self, is_well: bool, why: &str, now: Time) {
        if let Some(began) = self.began.take() {
            self.failed += u64::from(!is_well);
            self.last = Some(LastRun { began, ended: now, is_well, why: why.to_owned() });
        }
    }

    fn begin(&mut self, now: Time) {
        self.began = Some(now);
        self.runs += 1;
    }

    /// What is kept for later does not come.
    fn drop_kept(&mut self) {
        let kept = u64::from(std::mem::take(&mut self.queued)) + u64::from(self.at.take().is_some());
        self.skipped += kept;
    }
}

impl Unit {
    /// It is run by the clock.
    pub(super) fn is_timed(&self) -> bool {
        self.spec.schedule.is_some()
    }

    /// For whoever looks.
    pub(super) fn timing(&self) -> Option<Timing> {
        let Timed { at, queued, began, last, runs, failed, skipped, skipped_why: _ } = self.timed.clone();
        self.is_timed().then_some(Timing { delayed: at, queued, began, last, runs, failed, skipped })
    }

    /// Moments of its schedule have come: the last of them just now, if it is `on_time`, and `missed` others while nobody
    /// looked.
    pub(super) fn on_due(&mut self, is_on_time: bool, missed: u32, cx: &mut Cx<'_>) {
        let Some(rule) = self.spec.schedule.as_ref() else { return };
        if self.goal == Goal::Down && !planted(Bug::MomentStartsStopped) {
            return;
        }
        let (is_run, skipped) = match (is_on_time, rule.missed) {
            (true, _) => (true, missed),
            (false, Missed::Once) => (missed > 0, missed.saturating_sub(1)),
            (false, Missed::Skip) => (false, missed),
        };
        let jitter = rule.jitter;
        if skipped > 0 {
            self.skip(skipped, "it passed while nobody looked");
        }
        if !is_run {
            return;
        }
        if self.timed.at.is_some() {
            self.skip(1, "the one before it still has its delay");
        } else if jitter.is_zero() {
            self.on_moment(cx);
        } else {
            let delay = jitter.mul_f64(cx.chance.share());
            self.timed.at = Some(cx.now.after(delay.max(Duration::from_micros(1))));
        }
    }

    /// Its random delay may be over.
    pub(super) fn watch_delay(&mut self, cx: &mut Cx<'_>) {
        if self.timed.at.is_some_and(|at| cx.now >= at) {
            self.timed.at = None;
            self.on_moment(cx);
        }
    }

    fn on_moment(&mut self, cx: &mut Cx<'_>) {
        let Some(overlap) = self.spec.schedule.as_ref().map(|rule| rule.overlap) else { return };
        if self.paused {
            return self.skip(1, "it is paused");
        }
        let begins_anew = self.pending == Some(After::StartAgain)
            || matches!(&self.state, State::Stopping(stopping) if stopping.after == After::StartAgain);
        match &self.state {
            State::Inactive | State::Completed | State::Failed | State::Scheduled => self.run_now(COME, cx),
            // Its next try would be the same run; that one is given up.
            State::Backoff { .. } => {
                let why = self.why.clone();
                self.timed.end(false, &why, cx.now);
                self.run_now(COME, cx);
            }
            State::Waiting => self.skip(1, "the run before it still waits"),
            _ if begins_anew => self.skip(1, "the next run is about to begin"),
            State::Gate(_)
            | State::Preparing(_)
            | State::Starting(_)
            | State::Ready(_)
            | State::Stopping(_) => self.on_overlap(overlap, cx),
        }
    }

    /// A moment has come while a run is under way.
    fn on_overlap(&mut self, overlap: Overlap, cx: &mut Cx<'_>) {
        if planted(Bug::OverlapIgnored) {
            return self.run_now(COME, cx);
        }
        if planted(Bug::SkipUncounted) && overlap == Overlap::Skip {
            return;
        }
        match overlap {
            Overlap::Skip => self.skip(1, "the run before it is not over"),
            Overlap::Queue | Overlap::Kill if self.timed.queued => self.skip(1, "one is queued already"),
            Overlap::Queue => self.timed.queued = true,
            Overlap::Kill => {
                self.timed.queued = true;
                if !matches!(self.state, State::Stopping(_)) && !planted(Bug::KillForgotten) {
                    self.ask_stop(After::StartAgain, "its next moment came (overlap = \"kill\")", cx);
                }
            }
        }
    }

    /// The state and its reason stay as they are; the report of the count tells why.
    fn skip(&mut self, count: u32, why: &str) {
        self.timed.skipped += u64::from(count);
        self.timed.skipped_why =
            if count == 1 { format!("{SKIPPED}: {why}") } else { format!("{SKIPPED}, {count} times: {why}") };
    }

    /// Another run takes the place of whatever would follow this one's failure.
    pub(super) fn is_overtaken(&self) -> bool {
        self.timed.queued
    }

    /// From a state without a process.
    fn run_now(&mut self, why: &str, cx: &mut Cx<'_>) {
        self.retries.clear();
        self.timed.begin(cx.now);
        self.enter(State::Waiting, why, cx);
        cx.notes.push(Note::RunBegins);
    }

    /// It is asked for beside the clock.
    pub(super) fn begin_asked_run(&mut self, now: Time) {
        if self.is_timed() && self.timed.began.is_none() {
            self.timed.begin(now);
        }
    }

    /// It has ended and begins anew, as somebody has asked or because one is queued.
    pub(super) fn begin_run_again(&mut self, is_well: bool, why: &str, now: Time) {
        if self.is_timed() {
            self.timed.end(is_well, why, now);
            self.timed.queued = false;
            self.timed.begin(now);
        }
    }

    /// It goes down: nothing of it is to come.
    pub(super) fn disarm(&mut self) {
        self.timed.drop_kept();
    }

    /// Where a unit comes to when it has ended. One with a schedule is never done, nor has it failed for good.
    pub(super) fn rest_of(&mut self, state: State, why: String, now: Time) -> (State, String) {
        if !self.is_timed() {
            return (state, why);
        }
        match state {
            State::Completed | State::Failed => {
                self.timed.end(matches!(state, State::Completed), &why, now);
                if self.paused || planted(Bug::QueueForgotten) {
                    self.timed.skipped += u64::from(self.timed.queued && !planted(Bug::QueueForgotten));
                    self.timed.queued = false;
                }
                if std::mem::take(&mut self.timed.queued) {
                    self.retries.clear();
                    self.timed.begin(now);
                    return (State::Waiting, CAME.to_owned());
                }
                (if planted(Bug::FirstRunIsLast) { state } else { State::Scheduled }, why)
            }
            State::Inactive => {
                self.timed.end(false, &why, now);
                self.timed.drop_kept();
                (state, why)
            }
            State::Scheduled
            | State::Backoff { .. }
            | State::Waiting
            | State::Gate(_)
            | State::Preparing(_)
            | State::Starting(_)
            | State::Ready(_)
            | State::Stopping(_) => (state, why),
        }
    }

    /// It has another definition from here on: perhaps with a schedule for the first time, perhaps without.
    pub(super) fn take_schedule(&mut self, cx: &mut Cx<'_>) {
        if !self.is_timed() {
            self.timed = Timed::default();
            if matches!(self.state, State::Scheduled) {
                self.enter(State::Waiting, "it has no schedule any more", cx);
                cx.notes.push(Note::LookAgain);
            }
        } else if self.goal == Goal::Up && matches!(self.state, State::Completed | State::Failed) {
            self.enter(State::Scheduled, "it has a schedule from here on", cx);
        }
    }

    /// What went wrong is forgotten.
    pub(super) fn forget_failed_run(&mut self) {
        self.timed.last.take_if(|last| !last.is_well);
    }
}
