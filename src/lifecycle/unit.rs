//! One unit: its state, what it is asked, and what others see of it.
//!
//! ```text
//!              ask_start                 others are up            hooks ran            its sign came
//!  Inactive ─────────────▶ Waiting ───────────────────▶ Preparing ─────────▶ Starting ──────────────▶ Ready
//!  Completed ─┘   ▲   ▲       (Gate: the outside, once)     │                    │                      │
//!  Failed ────┘   │   │                                     ▼                    ▼                      │
//!                 │   └── After::StartAgain ───────────── Stopping ◀────────────────────────────────────┘
//!                 │                                         │        ask_stop, its end, illness, ...
//!              Backoff ◀──── After::Judge: by policy ───────┼──▶ Completed | Failed
//!                                                           └──▶ Inactive   After::StayDown
//! ```
//!
//! Everything that ends goes through `Stopping`, whatever ended it: there the rest of its processes is cleared away
//! and `post_stop` runs, so that a replacement never meets what its predecessor left behind. Easy to get wrong: an
//! event may be about a run that is over. [`Unit::on_event`] compares run numbers before anything else.
//!
//! A unit with `[schedule]` ends in `Scheduled` instead of `Completed` and `Failed`; see `schedule`.
//!
//! The way up is in `start`, life in `running`, the way down in `stop`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::action::{Action, Report};
use crate::lifecycle::backoff::{ForkRate, Retries};
use crate::lifecycle::chance::Chance;
use crate::lifecycle::event::{Event, Pid, Reach, RunId, Whom};
use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::running::Ready;
use crate::lifecycle::saved;
use crate::lifecycle::schedule::Timed;
use crate::lifecycle::start::{Gate, Preparing, Starting};
use crate::lifecycle::state::{Aside, Health, Label, LastExit, UnitView};
use crate::lifecycle::stop::{After, Cause, Stopping};
use crate::lifecycle::succession::Beside;
use crate::lifecycle::time::Time;
use crate::lifecycle::update::Coming;
use crate::lifecycle::why;
use crate::units::name::UnitName;
use crate::units::spec::UnitSpec;

/// What a unit needs of the world while it decides.
pub(super) struct Cx<'a> {
    /// The time.
    pub(super) now: Time,
    /// The wishes so far.
    pub(super) out: &'a mut Vec<Action>,
    /// Who owns which run.
    pub(super) runs: &'a mut Runs,
    /// For jitter.
    pub(super) chance: &'a mut Chance,
    /// The bound on automatic restarts of all units together.
    pub(super) fork_rate: &'a mut ForkRate,
    /// What the supervisor must know beyond what can be seen.
    pub(super) notes: &'a mut Vec<Note>,
    /// `memory_max` is kept by a cgroup; else it is watched here.
    pub(super) limits_enforced: bool,
}

impl Cx<'_> {
    pub(super) fn new_run(&mut self, unit: &UnitName) -> RunId {
        self.runs.new_run(unit)
    }

    pub(super) fn forget_run(&mut self, run: RunId) {
        if !planted(Bug::AcceptStaleExit) {
            self.runs.owner.remove(&run);
        }
    }
}

/// Run numbers and whose they are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Runs {
    pub(super) last: u64,
    /// Dropped when the last process of the run is gone: from then on, events about it are about nobody.
    pub(super) owner: std::collections::BTreeMap<RunId, UnitName>,
}

impl Runs {
    /// Whatever is made from here on has a later number.
    pub(super) fn last(&self) -> RunId {
        RunId(self.last)
    }

    fn new_run(&mut self, unit: &UnitName) -> RunId {
        self.last += 1;
        let run = RunId(self.last);
        self.owner.insert(run, unit.clone());
        run
    }
}

/// What a unit tells the supervisor.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Note {
    /// Its main process ended unasked; what is `part_of` it follows.
    Ended,
    /// It is about to take the next step up after some time: does what it builds on still stand?
    LookAgain,
    /// It is about to be restarted after its test has passed, or a new one has taken its place; what is `part_of` it
    /// follows.
    Restarting,
    /// A reload is over.
    Reloaded(Result<(), Unwell>),
    /// The restart that was asked for does not come: its test has said no, or the new one did not come up. The old
    /// process stays.
    NotRestarted(Unwell),
    /// A run by the clock has begun: what it needs is to run as well.
    RunBegins,
    /// Everything is to end with this status: a limit or a health check says so.
    ShutDown {
        /// For the container.
        status: u8,
        /// In words.
        why: String,
    },
}

/// Something did not go well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unwell {
    /// In words.
    pub(super) why: String,
    /// Its last lines.
    pub(super) said: String,
}

/// Where the unit is to be, as far as people and definitions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Goal {
    /// Not running.
    Down,
    /// Running, or completed.
    Up,
}

/// The main process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Main {
    pub(super) run: RunId,
    /// `None` until exec has succeeded, and between a forking unit's parent and its daemon.
    pub(super) pid: Option<Pid>,
    pub(super) spawned: Time,
}

/// Runs whose processes are being cleared away. Nothing new is started, and no stop is over, while there are any.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tidying(pub(super) BTreeSet<RunId>);

impl Tidying {
    /// Kills all that is left of `run`.
    pub(super) fn clear(&mut self, run: RunId, cx: &mut Cx<'_>) {
        self.0.insert(run);
        cx.out.push(Action::Kill { run, whom: Whom::Tree });
    }

    /// Lets what is left of `run` end by itself.
    pub(super) fn await_end(&mut self, run: RunId, cx: &mut Cx<'_>) {
        self.0.insert(run);
        cx.out.push(Action::AwaitTree { run });
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty() || planted(Bug::SkipTreeWait)
    }

    /// Kills what is still awaited.
    pub(super) fn clear_all(&mut self, cx: &mut Cx<'_>) {
        cx.out.extend(self.0.iter().map(|&run| Action::Kill { run, whom: Whom::Tree }));
    }

    fn on_gone(&mut self, run: RunId) -> bool {
        self.0.remove(&run)
    }
}

/// Where a unit is, with what belongs to being there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum State {
    Inactive,
    Completed,
    Failed,
    Scheduled,
    /// `has_leave`: the bound on all restarts together was asked, and `until` is its answer.
    Backoff {
        until: Time,
        has_leave: bool,
    },
    Waiting,
    Gate(Gate),
    Preparing(Preparing),
    Starting(Starting),
    Ready(Ready),
    Stopping(Stopping),
}

/// One unit.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Unit {
    /// No part of the state that is saved: `Supervisor::restore` gives it back.
    #[serde(skip, default = "saved::nothing_to_run")]
    pub(super) spec: Arc<UnitSpec>,
    /// Another definition, which it takes over when that does no harm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) coming: Option<Coming>,
    /// It is among those that `Supervisor::take_unsaved` tells next.
    #[serde(skip)]
    pub(super) is_unsaved: bool,
    pub(super) state: State,
    pub(super) since: Time,
    pub(super) goal: Goal,
    /// A person has stopped it.
    pub(super) held: bool,
    /// A person is working on it.
    pub(super) paused: bool,
    /// To be stopped as soon as those that build on it are down.
    pub(super) pending: Option<After>,
    pub(super) why: String,
    /// Last lines of what made it fail; dropped when it starts again.
    pub(super) said: String,
    pub(super) waits_for: Vec<String>,
    pub(super) tidying: Tidying,
    /// What `kill = "process"` has left alive; cleared away before the next start.
    pub(super) leftovers: BTreeSet<RunId>,
    pub(super) retries: Retries,
    pub(super) restarts: u32,
    /// Its latest main run, so that a job can tell the new one from the old.
    pub(super) latest: RunId,
    pub(super) last_exit: Option<LastExit>,
    /// For the container, should this be what ends it.
    pub(super) final_status: u8,
    /// `wait_for` has been satisfied once.
    pub(super) outside_answered: bool,
    pub(super) status_text: String,
    /// Why it is about to end, as it said itself.
    pub(super) reason: String,
    pub(super) start_took: Option<Duration>,
    pub(super) stop_took: Option<Duration>,
    /// It ended while it was paused and would have been started again.
    pub(super) start_on_resume: bool,
    /// It had to be killed when it was last stopped.
    pub(super) was_killed: bool,
    pub(super) seen: Option<(Seen, Option<RunId>)>,
    /// How far the restart goes that was asked for last.
    pub(super) reach: Reach,
    /// While it is replaced without a gap.
    pub(super) beside: Beside,
    /// If it is run by the clock.
    #[serde(default)]
    pub(super) timed: Timed,
}

/// What was last reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Seen {
    label: Label,
    health: Health,
    pid: Option<Pid>,
    why: String,
    waits_for: Vec<String>,
    restarts: u32,
    flags: [bool; 3],
    beside: Vec<Aside>,
    #[serde(default)]
    timing: Option<Timed>,
}

impl Unit {
    pub(super) fn new(spec: Arc<UnitSpec>, now: Time) -> Self {
        Self {
            spec,
            coming: None,
            state: State::Inactive,
            since: now,
            goal: Goal::Down,
            held: false,
            paused: false,
            pending: None,
            why: "not started".to_owned(),
            said: String::new(),
            waits_for: Vec::new(),
            tidying: Tidying::default(),
            leftovers: BTreeSet::new(),
            retries: Retries::default(),
            restarts: 0,
            latest: RunId(0),
            last_exit: None,
            final_status: 0,
            outside_answered: false,
            status_text: String::new(),
            reason: String::new(),
            start_took: None,
            stop_took: None,
            start_on_resume: false,
            was_killed: false,
            seen: None,
            reach: Reach::Alone,
            is_unsaved: false,
            beside: Beside::default(),
            timed: Timed::default(),
        }
    }

    pub(super) fn name(&self) -> &UnitName {
        &self.spec.name
    }

    /// Time has passed, or something has happened to one of its runs, or of those beside it.
    pub(super) fn on_event(&mut self, event: &Event, cx: &mut Cx<'_>) {
        self.on_own_event(event, cx);
        self.each_beside(cx, |unit, cx| unit.on_own_event(event, cx));
        self.watch_delay(cx);
    }

    fn on_own_event(&mut self, event: &Event, cx: &mut Cx<'_>) {
        // A process that could not be made leaves nothing behind, also when it was to be killed before that was known.
        if let Event::TreeGone { run } | Event::SpawnFailed { run, .. } = event
            && self.tidying.on_gone(*run)
        {
            cx.forget_run(*run);
            self.leftovers.remove(run);
        }
        match &self.state {
            State::Inactive | State::Completed | State::Failed | State::Scheduled | State::Waiting => {}
            State::Backoff { until, .. } => {
                if cx.now >= *until && (!self.paused || planted(Bug::PausedStillRestarts)) {
                    self.try_again(cx);
                }
            }
            State::Gate(_) => self.on_event_at_gate(event, cx),
            State::Preparing(_) => self.on_event_preparing(event, cx),
            State::Starting(_) => self.on_event_starting(event, cx),
            State::Ready(_) => self.on_event_ready(event, cx),
            State::Stopping(_) => self.on_event_stopping(event, cx),
        }
    }

    /// Goes to `state`, for the reason `why`.
    pub(super) fn enter(&mut self, state: State, why: impl Into<String>, cx: &Cx<'_>) {
        let was = self.label();
        (self.state, self.why) = self.rest_of(state, why.into(), cx.now);
        if self.label() != was {
            self.since = cx.now;
        }
        if !matches!(self.state, State::Waiting) {
            self.waits_for.clear();
        }
    }

    /// A person wants it up, or another unit needs it.
    pub(super) fn ask_start(&mut self, who: Who, cx: &mut Cx<'_>) {
        self.goal = Goal::Up;
        self.held = false;
        if who == Who::Person {
            self.retries.clear();
            self.restarts = u32::from(planted(Bug::CountPersonStart));
        }
        let only_arms = who.only_arms(self);
        match &mut self.state {
            State::Inactive if only_arms => self.enter(State::Scheduled, who.why(), cx),
            State::Inactive | State::Failed | State::Backoff { .. } => self.wait(who, cx),
            // A oneshot that another unit needs has done its work; a person who asks wants it done again.
            State::Completed | State::Scheduled if who == Who::Person => self.wait(who, cx),
            // A person's word stands above what the unit's policy would say about its end.
            State::Stopping(stopping)
                if stopping.after == After::StayDown
                    || (stopping.after == After::Judge && who == Who::Person) =>
            {
                stopping.after = After::StartAgain;
            }
            // It was about to be stopped and had not begun: the last word counts.
            State::Ready(_) | State::Starting(_) if self.pending == Some(After::StayDown) => {
                self.pending = None;
            }
            State::Completed
            | State::Scheduled
            | State::Waiting
            | State::Gate(_)
            | State::Preparing(_)
            | State::Starting(_)
            | State::Ready(_)
            | State::Stopping(_) => {}
        }
    }

    fn wait(&mut self, who: Who, cx: &Cx<'_>) {
        self.start_on_resume = false;
        self.begin_asked_run(cx.now);
        self.enter(State::Waiting, who.why(), cx);
    }

    /// It is to end; those that build on it come first, see `Supervisor::settle`.
    pub(super) fn ask_stop(&mut self, after: After, why: &str, cx: &mut Cx<'_>) {
        if after == After::StayDown {
            self.goal = Goal::Down;
            self.disarm();
        }
        // Whatever stops it is not to leave another one of it behind.
        self.withdraw_successor(why, cx);
        match &mut self.state {
            State::Inactive => {}
            // Between two runs there is nothing that could begin anew.
            State::Scheduled if after == After::StartAgain => {}
            State::Scheduled => self.enter(State::Inactive, why, cx),
            State::Completed | State::Failed | State::Backoff { .. } | State::Waiting => match after {
                After::StartAgain => self.enter(State::Waiting, why, cx),
                After::StayDown | After::Judge => self.enter(State::Inactive, why, cx),
            },
            State::Stopping(stopping) => stopping.after = after,
            // It has no main process yet: nobody builds on it, and it must not go on to get one.
            State::Gate(_) | State::Preparing(_) => {
                self.begin_stop(after, Cause::Asked, why.to_owned(), Time::NEVER, cx);
            }
            State::Starting(_) | State::Ready(_) => {
                self.pending = Some(after);
                why.clone_into(&mut self.why);
            }
        }
    }

    /// From `Backoff`, when its time has come and all units together have not started too many.
    fn try_again(&mut self, cx: &mut Cx<'_>) {
        let State::Backoff { has_leave, .. } = &self.state else { return };
        let is_free = *has_leave || planted(Bug::ForkRateOff);
        let from = if is_free { cx.now } else { cx.fork_rate.take(self.retries.turn(), cx.now) };
        if from > cx.now {
            self.state = State::Backoff { until: from, has_leave: true };
            return;
        }
        self.restarts = self.restarts.saturating_add(1);
        let why = format!("restart {} after: {}", self.restarts, self.why);
        self.enter(State::Waiting, why, cx);
    }

    pub(super) fn label(&self) -> Label {
        match &self.state {
            State::Inactive if self.beside.has_leavers() && !planted(Bug::LeaversUnseen) => Label::Stopping,
            State::Inactive => Label::Inactive,
            State::Completed => Label::Completed,
            State::Failed => Label::Failed,
            State::Scheduled => Label::Scheduled,
            State::Backoff { .. } => Label::Backoff,
            State::Waiting | State::Gate(_) => Label::Waiting,
            State::Preparing(_) | State::Starting(_) => Label::Starting,
            State::Ready(ready) if ready.is_reloading() => Label::Reloading,
            State::Ready(_) => Label::Ready,
            State::Stopping(_) => Label::Stopping,
        }
    }

    pub(super) fn health(&self) -> Health {
        match &self.state {
            State::Ready(ready) => ready.health(),
            State::Inactive
            | State::Completed
            | State::Failed
            | State::Scheduled
            | State::Backoff { .. }
            | State::Waiting
            | State::Gate(_)
            | State::Preparing(_)
            | State::Starting(_)
            | State::Stopping(_) => Health::Unknown,
        }
    }

    pub(super) fn main(&self) -> Option<Main> {
        match &self.state {
            State::Starting(starting) => Some(starting.main),
            State::Ready(ready) => Some(ready.main),
            State::Stopping(stopping) => stopping.main,
            State::Inactive
            | State::Completed
            | State::Failed
            | State::Scheduled
            | State::Backoff { .. }
            | State::Waiting
            | State::Gate(_)
            | State::Preparing(_) => None,
        }
    }

    /// Others may build on it: it is up and not about to go.
    pub(super) fn is_up(&self) -> bool {
        self.label().is_up() && self.pending.is_none()
    }

    /// None of its processes is left and none is under way.
    pub(super) fn is_down(&self) -> bool {
        self.is_down_itself() && self.beside.is_empty()
    }

    /// The same, whoever is beside it.
    pub(super) fn is_down_itself(&self) -> bool {
        match self.state {
            State::Inactive
            | State::Completed
            | State::Failed
            | State::Scheduled
            | State::Backoff { .. }
            | State::Waiting => self.tidying.is_done(),
            State::Gate(_)
            | State::Preparing(_)
            | State::Starting(_)
            | State::Ready(_)
            | State::Stopping(_) => false,
        }
    }

    /// Ended for good, well or not.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Completed | State::Failed)
    }

    /// On its way down, or about to be.
    pub(super) fn is_going(&self) -> bool {
        self.pending.is_some() || self.label() == Label::Stopping
    }

    /// Calls `f` with every moment that it waits for itself.
    fn each_own_deadline(&mut self, f: &mut dyn FnMut(&mut Time)) {
        if let Some(at) = &mut self.timed.at {
            f(at);
        }
        match &mut self.state {
            State::Inactive | State::Completed | State::Failed | State::Scheduled | State::Waiting => {}
            State::Backoff { until, .. } if !self.paused => f(until),
            State::Backoff { .. } => {}
            State::Gate(gate) => gate.each_deadline(f),
            State::Preparing(preparing) => preparing.each_deadline(f),
            State::Starting(starting) => starting.each_deadline(f),
            State::Ready(ready) => ready.each_deadline(self.paused, f),
            State::Stopping(stopping) => stopping.each_deadline(f),
        }
    }

    /// When it wants to be told the time.
    pub(super) fn next_deadline(&mut self) -> Option<Time> {
        let mut first = Time::NEVER;
        self.each_own_deadline(&mut |at| first = first.min(*at));
        for unit in self.beside.iter_mut() {
            unit.each_own_deadline(&mut |at| first = first.min(*at));
        }
        (first != Time::NEVER).then_some(first)
    }

    /// The machine was suspended for `gap`: nothing of what should have happened meanwhile could happen.
    pub(super) fn shift(&mut self, gap: Duration) {
        if !matches!(self.state, State::Backoff { .. }) {
            self.each_own_deadline(&mut |at| *at = at.after(gap));
        }
        for unit in self.beside.iter_mut() {
            unit.shift(gap);
        }
    }

    /// Tells what can be seen to be different from what was last told.
    pub(super) fn report(&mut self, cx: &mut Cx<'_>) {
        let seen = Seen {
            label: self.label(),
            health: self.health(),
            pid: self.main().and_then(|main| main.pid),
            why: self.why.clone(),
            waits_for: self.waits_for.clone(),
            restarts: self.restarts,
            flags: [self.held, self.paused, self.goal == Goal::Up],
            beside: self.beside.shown(),
            timing: self.is_timed().then(|| self.timed.clone()),
        };
        let run = self.main().map(|main| main.run);
        let skipped = |seen: &Seen| seen.timing.as_ref().map_or(0, |timed| timed.skipped);
        let has_skipped = self
            .seen
            .as_ref()
            .is_some_and(|(before, _)| before.label == seen.label && skipped(before) < skipped(&seen));
        if self.seen.as_ref().is_some_and(|(before, _)| *before == seen) {
            return;
        }
        let same_label = self.seen.as_ref().is_some_and(|(before, _)| before.label == seen.label);
        if same_label && planted(Bug::HealthUntold) {
            self.seen = Some((seen, run));
            return;
        }
        let (was, health_was, run_was) =
            self.seen.as_ref().map_or((Label::Inactive, Health::Unknown, None), |(before, run)| {
                (before.label, before.health, *run)
            });
        cx.out.push(Action::Report(Report {
            unit: self.name().clone(),
            was,
            label: seen.label,
            health_was,
            health: seen.health,
            run_was,
            run,
            why: if has_skipped { self.timed.skipped_why.clone() } else { seen.why.clone() },
        }));
        self.seen = Some((seen, run));
    }

    /// Everything that may be shown.
    pub(super) fn view(&self) -> UnitView {
        let main = self.main();
        UnitView {
            name: self.name().clone(),
            description: self.spec.description.clone(),
            label: self.label(),
            health: self.health(),
            health_why: if let State::Ready(ready) = &self.state {
                ready.health_why().to_owned()
            } else {
                String::new()
            },
            run: main.map(|main| main.run),
            pid: main.and_then(|main| main.pid),
            since: self.since,
            started: main.map(|main| main.spawned),
            restarts: self.restarts,
            last_exit: self.last_exit,
            why: if self.waits_for.is_empty() {
                self.why.clone()
            } else {
                format!("waits for {}", why::list(&self.waits_for))
            },
            waits_for: self.waits_for.clone(),
            status_text: self.status_text.clone(),
            retry_at: if let State::Backoff { until, .. } = self.state { Some(until) } else { None },
            held: self.held,
            paused: self.paused,
            wanted: self.goal == Goal::Up,
            start_took: self.start_took,
            stop_took: self.stop_took,
            beside: self.beside.shown(),
            schedule: self.timing(),
        }
    }

    /// Forgets restarts and failures.
    pub(super) fn reset(&mut self, cx: &Cx<'_>) {
        self.retries.clear();
        self.restarts = 0;
        self.forget_failed_run();
        if matches!(self.state, State::Failed) {
            self.goal = Goal::Down;
            self.enter(State::Inactive, "reset was asked for", cx);
        }
    }

    /// Shorthand for a stop for cause, when the main process may still be there.
    pub(super) fn end_for(&mut self, cause: Cause, why: impl Into<String>, cx: &mut Cx<'_>) {
        let after = self.pending.take().unwrap_or(self.after_its_own_end());
        self.begin_stop(after, cause, why.into(), Time::NEVER, cx);
    }
}

/// Who asks for a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Boot,
    Person,
    Unit,
    Update,
}

impl Who {
    fn why(self) -> &'static str {
        match self {
            Self::Boot => "enabled at boot",
            Self::Person => "start was asked for",
            Self::Update => "came with an update",
            Self::Unit => "another unit needs it",
        }
    }

    /// It is not run yet: its schedule says when.
    pub(super) fn only_arms(self, unit: &Unit) -> bool {
        let is_early = unit.spec.schedule.as_ref().is_some_and(|rule| !rule.at_start);
        is_early && matches!(self, Self::Boot | Self::Update)
    }
}
