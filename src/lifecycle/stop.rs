//! The way down, for whatever reason: told to stop, given time, killed, cleared away, and what follows.
//!
//! ```text
//!  PreStop ──▶ Command ─┐
//!     └──────▶ Told ────┼─(its end)──▶ Clearing ──▶ PostStop ──▶ by After
//!                 └──▶ Killed ─(its end)─▲
//! ```
//!
//! Easy to get wrong: the main process may end at every stage, and time may be cut short at every stage, when the whole
//! of svinit has a deadline.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::action::{Action, Purpose};
use crate::lifecycle::backoff::Next;
use crate::lifecycle::errand::{Errand, Verdict};
use crate::lifecycle::event::{Event, ExitStatus, RunId, Sign, SpawnCause, Whom};
use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::running::main_env;
use crate::lifecycle::state::LastExit;
use crate::lifecycle::time::Time;
use crate::lifecycle::unit::{Cx, Goal, Main, Note, State, Unit};
use crate::lifecycle::why;
use crate::units::signal;
use crate::units::spec::{KillMode, Kind, OnLimit, Policy, SignalName};

/// On its way down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stopping {
    pub(super) stage: Stage,
    pub(super) after: After,
    /// Until it has ended.
    pub(super) main: Option<Main>,
    pub(super) cause: Cause,
    pub(super) began: Time,
    /// The stop signal or command has been given.
    pub(super) told: bool,
    /// Then everything is killed and no hook is waited for any longer.
    pub(super) cap: Time,
    pub(super) killed: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum After {
    /// Nothing: it was asked to.
    StayDown,
    /// A new start: it was asked to, or something that it is part of restarts.
    StartAgain,
    /// What `[restart]` says.
    Judge,
}

/// What brought it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cause {
    /// Somebody asked.
    Asked,
    /// The main process ended by itself.
    Ended(ExitStatus),
    /// There was no process.
    Spawn(SpawnCause),
    /// `pre_start` failed.
    Hook,
    /// `wait_for` was not satisfied.
    Outside,
    /// Its sign of readiness did not come.
    NotReady,
    /// Its health check said so.
    Ill,
    /// It used too much memory.
    Memory,
    /// It did not say that it is alive.
    Hung,
    /// It said that it ends (`STOPPING=1`); when it has, that is the cause.
    Leaving,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Stage {
    PreStop {
        next: usize,
        errand: Option<Errand>,
    },
    Command {
        errand: Errand,
        kill_at: Time,
    },
    Told {
        kill_at: Time,
    },
    /// SIGKILL was sent. Should it not help within the time, that is said, once.
    Killed {
        say_at: Time,
    },
    /// The main process is gone; what is left of the unit has until then.
    Clearing {
        kill_at: Time,
    },
    PostStop {
        next: usize,
        errand: Option<Errand>,
    },
}

/// A process that is still there so long after SIGKILL is stuck in the kernel.
const STUCK_AFTER: Duration = Duration::from_secs(5);

impl Stopping {
    pub(super) fn each_deadline(&mut self, f: &mut dyn FnMut(&mut Time)) {
        match &mut self.stage {
            Stage::PreStop { errand: Some(errand), .. } | Stage::PostStop { errand: Some(errand), .. } => {
                f(&mut errand.by);
                f(&mut self.cap);
            }
            Stage::PreStop { errand: None, .. } | Stage::PostStop { errand: None, .. } => {}
            Stage::Command { errand, kill_at } => {
                f(&mut errand.by);
                f(kill_at);
            }
            Stage::Told { kill_at } | Stage::Clearing { kill_at } => f(kill_at),
            Stage::Killed { say_at } => f(say_at),
        }
    }
}

impl Unit {
    /// Its turn to be stopped has come: those that build on it are down. `cap` bounds it besides its own timeout.
    pub(super) fn begin_pending_stop(&mut self, cap: Time, cx: &mut Cx<'_>) {
        if let Some(after) = self.pending.take() {
            let why = self.why.clone();
            self.begin_stop(after, Cause::Asked, why, cap, cx);
        }
    }

    /// Begins the way down from wherever it is.
    pub(super) fn begin_stop(&mut self, after: After, cause: Cause, why: String, cap: Time, cx: &mut Cx<'_>) {
        let main = self.main();
        let was_ready = matches!(self.state, State::Ready(_));
        if let State::Ready(ready) = &self.state
            && ready.age(cx.now) > self.spec.restart.window
        {
            self.retries.clear();
        }
        self.abandon_start_errands(cx);
        self.abandon_running_errands(cx);
        if was_ready && after == After::Judge {
            cx.notes.push(Note::Ended);
        }
        // Hooks that ask it to go quietly are for one that is up and well enough to be asked.
        let is_to_be_asked = was_ready && main.is_some() && cause != Cause::Hung;
        let next = if is_to_be_asked { 0 } else { usize::MAX };
        let stage = Stage::PreStop { next, errand: None };
        let stopping = Stopping { stage, after, main, cause, began: cx.now, told: false, cap, killed: false };
        self.enter(State::Stopping(stopping), why, cx);
        self.go_down(cx);
    }

    /// It has said that it ends: it gets the time that it would have had, but no signal and no command.
    pub(super) fn leave(&mut self, cx: &mut Cx<'_>) {
        let State::Ready(ready) = &self.state else { return };
        let main = Some(ready.main);
        let wanted_anew = ready.is_to_restart();
        if self.pending.is_none() {
            cx.notes.push(Note::Ended);
        }
        if wanted_anew {
            self.withdraw_successor("a newer one was asked for", cx);
        }
        let unasked = if wanted_anew { After::StartAgain } else { self.after_its_own_end() };
        let after = self.pending.take().unwrap_or(unasked);
        self.begin_stop_without_main(after, Cause::Leaving, "said by itself that it stops".to_owned(), cx);
        let kill_at = cx.now.after(self.spec.stop.timeout);
        if let State::Stopping(stopping) = &mut self.state {
            stopping.main = main;
            stopping.stage = Stage::Told { kill_at };
        }
        if planted(Bug::LeavingIsTold) {
            self.send_stop_signal(cx);
        }
    }

    /// The main process has ended, asked or unasked, at whatever point of its life.
    pub(super) fn on_main_exit(&mut self, status: ExitStatus, oom: bool, said: &str, cx: &mut Cx<'_>) {
        if !said.is_empty() {
            said.clone_into(&mut self.said);
        }
        self.last_exit = Some(LastExit { status, oom, at: cx.now });
        self.final_status = status.shell_code();
        let mut why = why::ended(status, oom);
        if matches!(self.state, State::Starting(_)) && self.spec.kind != Kind::Oneshot {
            why.push_str(" before it was ready");
        }
        if !self.reason.is_empty() {
            why = format!("{why}, and gave {} as the reason", self.reason);
        }
        self.main_is_gone(Cause::Ended(status), why, cx);
    }

    /// There is no main process any longer, or there never was one.
    pub(super) fn main_is_gone(&mut self, cause: Cause, why: String, cx: &mut Cx<'_>) {
        if let State::Stopping(stopping) = &mut self.state {
            let main = stopping.main.take();
            if stopping.cause == Cause::Leaving {
                stopping.cause = cause;
                self.why = if stopping.killed { format!("{}: {why}", self.why) } else { why };
            }
            if let Some(main) = main {
                self.clear_up_after(main.run, cx);
            }
            return self.go_down(cx);
        }
        let main = self.main();
        // Somebody waits for a new process; that the old one has ended by itself meanwhile changes nothing.
        let wanted_anew = matches!(&self.state, State::Ready(ready) if ready.is_to_restart());
        if self.pending.is_none() {
            cx.notes.push(Note::Ended);
        }
        if wanted_anew {
            self.withdraw_successor("a newer one was asked for", cx);
        }
        let unasked = if wanted_anew { After::StartAgain } else { self.after_its_own_end() };
        let after = self.pending.take().unwrap_or(unasked);
        self.begin_stop_without_main(after, cause, why, cx);
        if let (Some(main), false) = (main, matches!(cause, Cause::Spawn(_))) {
            self.clear_up_after(main.run, cx);
        }
        self.go_down(cx);
    }

    fn begin_stop_without_main(&mut self, after: After, cause: Cause, why: String, cx: &mut Cx<'_>) {
        if let State::Ready(ready) = &self.state
            && ready.age(cx.now) > self.spec.restart.window
        {
            self.retries.clear();
        }
        self.abandon_start_errands(cx);
        self.abandon_running_errands(cx);
        let stage = Stage::PreStop { next: usize::MAX, errand: None };
        let stopping = Stopping {
            stage,
            after,
            main: None,
            cause,
            began: cx.now,
            told: false,
            cap: Time::NEVER,
            killed: false,
        };
        self.enter(State::Stopping(stopping), why, cx);
    }

    /// What the ended process has left behind: killed, waited for, or left until the next start.
    fn clear_up_after(&mut self, run: RunId, cx: &mut Cx<'_>) {
        let State::Stopping(stopping) = &mut self.state else { return };
        match self.spec.stop.kill {
            KillMode::Mixed => self.tidying.clear(run, cx),
            KillMode::Group if stopping.killed => self.tidying.clear(run, cx),
            KillMode::Group => {
                if !stopping.told {
                    let signal = self.spec.stop.signal.clone();
                    cx.out.push(Action::Signal { run, signal, whom: Whom::Tree });
                }
                self.tidying.await_end(run, cx);
            }
            KillMode::Process => {
                self.leftovers.insert(run);
            }
        }
    }

    pub(super) fn on_event_stopping(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let State::Stopping(stopping) = &mut self.state else { return };
        let Some(main) = stopping.main.as_mut().filter(|main| event.run() == Some(main.run)) else {
            return self.go_down_with(event, cx);
        };
        if let Event::Exited { status, oom, said, .. } = event {
            return self.on_main_exit(*status, *oom, said, cx);
        }
        if let Event::SpawnFailed { run, .. } = event {
            cx.forget_run(*run);
            stopping.main = None;
        } else if let Event::Signed { sign, .. } = event {
            self.on_sign_stopping(sign, cx);
        } else if let Event::MainFound { pid, .. } = event {
            main.pid = Some(*pid);
        } else if let Event::Spawned { pid, .. } = event {
            // It was told to stop before it was there to be told.
            main.pid = Some(*pid);
            if stopping.killed { self.kill_main(cx) } else { self.send_stop_signal(cx) }
        }
        self.go_down(cx);
    }

    fn on_sign_stopping(&mut self, sign: &Sign, cx: &mut Cx<'_>) {
        let State::Stopping(stopping) = &mut self.state else { return };
        match (sign, &mut stopping.stage) {
            (Sign::MoreTime(time), Stage::Told { kill_at } | Stage::Command { kill_at, .. }) => {
                *kill_at = cx.now.after(*time).max(*kill_at).min(stopping.cap);
            }
            (Sign::Status(text), _) => self.status_text.clone_from(text),
            (Sign::Reason(text), _) => self.reason.clone_from(text),
            _ => {}
        }
    }

    fn go_down(&mut self, cx: &mut Cx<'_>) {
        self.go_down_with(&Event::Tick, cx);
    }

    /// Takes the next steps down, as many as are possible now.
    fn go_down_with(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let spec = Arc::clone(&self.spec);
        let State::Stopping(stopping) = &mut self.state else { return };
        let out_of_time = cx.now >= stopping.cap;
        match &mut stopping.stage {
            Stage::PreStop { next, errand } => {
                if let Some(under_way) = errand {
                    if out_of_time {
                        under_way.abandon(&mut self.tidying, cx);
                    } else if under_way.on_event(event, &mut self.tidying, cx).is_none() {
                        return;
                    }
                    *errand = None;
                    *next += 1;
                }
                if stopping.main.is_none() {
                    return self.begin_clearing(cx);
                }
                match spec.hooks.pre_stop.get(*next) {
                    Some(argv) if !out_of_time => {
                        let env = stopping.main.iter().flat_map(main_env).collect();
                        let timeout = spec.hooks.timeout;
                        *errand = Some(Errand::command(&spec.name, Purpose::PreStop, argv, env, timeout, cx));
                    }
                    Some(_) | None => self.tell(cx),
                }
            }
            Stage::Command { errand, kill_at } => {
                let kill_at = *kill_at;
                if cx.now >= kill_at {
                    errand.abandon(&mut self.tidying, cx);
                    return self.kill(cx);
                }
                let Some(verdict) = errand.on_event(event, &mut self.tidying, cx) else { return };
                stopping.stage = Stage::Told { kill_at };
                if stopping.main.is_none() {
                    return self.begin_clearing(cx);
                }
                if let Verdict::Failed { why, .. } = verdict {
                    self.why = format!("{}; its stop command {why}, so it was sent the signal", self.why);
                    self.send_stop_signal(cx);
                }
            }
            Stage::Told { kill_at } => {
                if stopping.main.is_none() {
                    self.begin_clearing(cx);
                } else if cx.now >= *kill_at {
                    self.kill(cx);
                }
            }
            Stage::Killed { say_at } => {
                if stopping.main.is_none() {
                    self.begin_clearing(cx);
                } else if cx.now >= *say_at {
                    *say_at = Time::NEVER;
                    "SIGKILL was sent and it is still there: stuck in the kernel".clone_into(&mut self.why);
                }
            }
            Stage::Clearing { kill_at } => {
                if self.tidying.is_done() {
                    stopping.stage = Stage::PostStop { next: 0, errand: None };
                    return self.go_down(cx);
                }
                if cx.now >= *kill_at {
                    *kill_at = Time::NEVER;
                    stopping.killed = true;
                    self.tidying.clear_all(cx);
                }
            }
            Stage::PostStop { next, errand } => {
                if let Some(under_way) = errand {
                    if out_of_time {
                        under_way.abandon(&mut self.tidying, cx);
                    } else if under_way.on_event(event, &mut self.tidying, cx).is_none() {
                        return;
                    }
                    *errand = None;
                    *next += 1;
                }
                if !self.tidying.is_done() {
                    return;
                }
                match spec.hooks.post_stop.get(*next) {
                    Some(argv) if !out_of_time => {
                        let env = result_env(stopping.cause, self.last_exit.as_ref(), stopping.killed);
                        let timeout = spec.hooks.timeout;
                        *errand =
                            Some(Errand::command(&spec.name, Purpose::PostStop, argv, env, timeout, cx));
                    }
                    Some(_) | None => self.conclude(cx),
                }
            }
        }
    }

    /// Tells it to stop, by command or by signal.
    fn tell(&mut self, cx: &mut Cx<'_>) {
        let spec = Arc::clone(&self.spec);
        let State::Stopping(stopping) = &mut self.state else { return };
        let Some(main) = stopping.main else { return };
        let timeout = if planted(Bug::ForgetKillTimer) { Duration::MAX } else { spec.stop.timeout };
        let kill_at = cx.now.after(timeout).min(stopping.cap);
        stopping.told = true;
        match &spec.stop.command {
            Some(argv) if cx.now < kill_at && main.pid.is_some() && stopping.cause != Cause::Hung => {
                let env = main_env(&main);
                let errand =
                    Errand::command(&spec.name, Purpose::StopCommand, argv, env, kill_at.since(cx.now), cx);
                stopping.stage = Stage::Command { errand, kill_at };
            }
            Some(_) | None => {
                stopping.stage = Stage::Told { kill_at };
                self.send_stop_signal(cx);
                if cx.now >= kill_at {
                    self.kill(cx);
                } else if main.pid.is_none() && matches!(spec.kind, Kind::Forking { .. }) {
                    // Between the parent's end and the daemon's pid file there is no main process to be told.
                    self.kill(cx);
                }
            }
        }
    }

    fn send_stop_signal(&mut self, cx: &mut Cx<'_>) {
        let State::Stopping(stopping) = &self.state else { return };
        let Some(main) = stopping.main else { return };
        let whom = match self.spec.stop.kill {
            KillMode::Mixed | KillMode::Process => Whom::Main,
            KillMode::Group => Whom::Tree,
        };
        // One that hangs is asked for nothing but a trace of where it does.
        let hangs = stopping.cause == Cause::Hung;
        let signal = if hangs { SignalName("ABRT".to_owned()) } else { self.spec.stop.signal.clone() };
        cx.out.push(Action::Signal { run: main.run, signal, whom });
    }

    fn kill(&mut self, cx: &mut Cx<'_>) {
        let State::Stopping(stopping) = &mut self.state else { return };
        if stopping.main.is_some() {
            self.why = format!("{}; it did not end in time and was killed", self.why);
        }
        stopping.killed = true;
        stopping.stage = Stage::Killed { say_at: cx.now.after(STUCK_AFTER) };
        if stopping.main.is_none() {
            // It has ended while its stop command still ran; what it has left has had its time as well.
            self.tidying.clear_all(cx);
        }
        self.kill_main(cx);
        self.go_down(cx);
    }

    fn kill_main(&mut self, cx: &mut Cx<'_>) {
        let forking = matches!(self.spec.kind, Kind::Forking { .. });
        let State::Stopping(stopping) = &mut self.state else { return };
        let Some(main) = stopping.main else { return };
        match self.spec.stop.kill {
            KillMode::Mixed | KillMode::Group => self.tidying.clear(main.run, cx),
            KillMode::Process => cx.out.push(Action::Kill { run: main.run, whom: Whom::Main }),
        }
        if forking && main.pid.is_none() {
            // The parent's end was told long ago; no other will be.
            self.tidying.clear(main.run, cx);
            if let State::Stopping(stopping) = &mut self.state {
                stopping.main = None;
            }
        }
    }

    fn begin_clearing(&mut self, cx: &mut Cx<'_>) {
        let timeout = self.spec.stop.timeout;
        let State::Stopping(stopping) = &mut self.state else { return };
        let kill_at = match &stopping.stage {
            Stage::Told { kill_at } | Stage::Command { kill_at, .. } => *kill_at,
            Stage::Killed { .. } => Time::NEVER,
            Stage::PreStop { .. } | Stage::Clearing { .. } | Stage::PostStop { .. } => {
                cx.now.after(timeout).min(stopping.cap)
            }
        };
        stopping.stage = Stage::Clearing { kill_at };
        self.go_down(cx);
    }

    /// The whole of svinit ends by then: what has begun is cut short.
    pub(super) fn hurry(&mut self, cap: Time, cx: &mut Cx<'_>) {
        self.each_beside(cx, |unit, cx| unit.hurry(cap, cx));
        let State::Stopping(stopping) = &mut self.state else { return };
        stopping.cap = stopping.cap.min(cap);
        match &mut stopping.stage {
            Stage::Command { kill_at, .. } | Stage::Told { kill_at } => *kill_at = cap.min(*kill_at),
            // What was killed once needs no second deadline.
            Stage::Clearing { kill_at } if *kill_at != Time::NEVER => *kill_at = cap.min(*kill_at),
            Stage::Clearing { .. }
            | Stage::PreStop { .. }
            | Stage::Killed { .. }
            | Stage::PostStop { .. } => {}
        }
        self.go_down(cx);
    }

    /// Everything is gone. What now?
    fn conclude(&mut self, cx: &mut Cx<'_>) {
        let State::Stopping(stopping) = &self.state else { return };
        let (after, cause) = (stopping.after, stopping.cause);
        self.stop_took = Some(cx.now.since(stopping.began));
        self.was_killed = stopping.killed;
        let why = std::mem::take(&mut self.why);
        match after {
            After::StayDown => self.enter(State::Inactive, why, cx),
            After::StartAgain => {
                let is_well = self.is_success(cause);
                self.begin_run_again(is_well, &why, cx.now);
                self.enter(State::Waiting, why, cx);
            }
            After::Judge if self.goal == Goal::Down => self.enter(State::Inactive, why, cx),
            After::Judge => self.judge(cause, why, cx),
        }
    }

    /// It ended unasked: what do its definition and its past say?
    fn judge(&mut self, cause: Cause, why: String, cx: &mut Cx<'_>) {
        let spec = Arc::clone(&self.spec);
        if !matches!(cause, Cause::Ended(_) | Cause::Spawn(_)) {
            self.final_status = 1;
        }
        let well = self.is_success(cause);
        if well && self.has_done_its_work() {
            self.retries.clear();
            return self.enter(State::Completed, why, cx);
        }
        if self.is_overtaken() {
            return self.enter(State::Failed, why, cx);
        }
        if let Cause::Ended(ExitStatus::Code(code)) = cause
            && spec.restart.permanent_codes.contains(&code)
            && !planted(Bug::PermanentCodeIgnored)
        {
            return self.enter(State::Failed, format!("{why}, which it means for good"), cx);
        }
        if spec.restart.policy == Policy::Never && !planted(Bug::PolicyIgnored) {
            return self.enter(State::Failed, why, cx);
        }
        if self.paused && !planted(Bug::PausedStillRestarts) {
            self.start_on_resume = !self.is_timed();
            return self.enter(State::Failed, format!("{why}; paused, so it is not started again"), cx);
        }
        if cause == Cause::Spawn(SpawnCause::NoResources) {
            let until = self.retries.after_starvation(&spec.restart, cx.now, cx.chance);
            return self.back_off(until, why, cx);
        }
        match self.retries.after_failure(&spec.restart, cx.now, cx.chance) {
            Next::At(until) => self.back_off(until, why, cx),
            Next::HalfOpen(_) if planted(Bug::OnLimitRetryNever) => self.enter(State::Failed, why, cx),
            Next::HalfOpen(until) => {
                let limit =
                    format!("{} restarts within {}", spec.restart.limit, why::span(spec.restart.window));
                if self.is_timed() {
                    // It is tried again at its next moment.
                    return self.enter(State::Failed, format!("{why}; {limit} did not help"), cx);
                }
                self.back_off(until, format!("{why}; {limit} did not help"), cx);
            }
            Next::Limit(on_limit) => {
                let why = format!(
                    "{why}; {} restarts within {} did not help",
                    spec.restart.limit,
                    why::span(spec.restart.window)
                );
                if on_limit == OnLimit::Shutdown {
                    let why = format!("{}: {why}", spec.name);
                    cx.notes.push(Note::ShutDown { status: self.final_status.max(1), why });
                }
                self.enter(State::Failed, why, cx);
            }
        }
    }

    /// Waits until then, which may be now.
    fn back_off(&mut self, until: Time, why: String, cx: &mut Cx<'_>) {
        let why = if until > cx.now {
            format!("{why}; next try in {}", why::span(until.since(cx.now)))
        } else {
            why
        };
        self.enter(State::Backoff { until, has_leave: false }, why, cx);
        self.on_event(&Event::Tick, cx);
    }

    fn is_success(&self, cause: Cause) -> bool {
        // As in systemd: a daemon that ends by one of these was asked to, by whomever.
        const POLITE: [&str; 4] = ["HUP", "INT", "TERM", "PIPE"];
        match cause {
            Cause::Ended(ExitStatus::Code(code)) => self.spec.restart.success_codes.contains(&code),
            Cause::Ended(ExitStatus::Signal { number, .. }) => {
                self.spec.kind != Kind::Oneshot && POLITE.contains(&signal::name(number).as_str())
            }
            Cause::Asked
            | Cause::Spawn(_)
            | Cause::Hook
            | Cause::Outside
            | Cause::NotReady
            | Cause::Ill
            | Cause::Memory
            | Cause::Hung
            | Cause::Leaving => false,
        }
    }

    /// After a success, is there anything left to do for it?
    fn has_done_its_work(&self) -> bool {
        self.spec.kind == Kind::Oneshot || self.spec.restart.policy != Policy::Always
    }
}

/// What `post_stop` is told, in systemd's words.
fn result_env(cause: Cause, exit: Option<&LastExit>, killed: bool) -> Vec<(String, String)> {
    let result = match (cause, exit) {
        (_, Some(LastExit { oom: true, .. })) => "oom-kill",
        (Cause::NotReady | Cause::Outside, _) => "timeout",
        (Cause::Asked | Cause::Leaving, _) if killed => "timeout",
        (Cause::Ill | Cause::Hung, _) => "watchdog",
        (Cause::Spawn(_) | Cause::Memory, _) => "resources",
        (Cause::Hook, _) => "exit-code",
        (Cause::Asked | Cause::Leaving, _) | (Cause::Ended(ExitStatus::Code(0)), _) => "success",
        (Cause::Ended(ExitStatus::Code(_)), _) => "exit-code",
        (Cause::Ended(ExitStatus::Signal { core: true, .. }), _) => "core-dump",
        (Cause::Ended(ExitStatus::Signal { .. }), _) => "signal",
    };
    let (code, status) = match exit.map(|exit| exit.status) {
        None => (String::new(), String::new()),
        Some(ExitStatus::Code(code)) => ("exited".to_owned(), code.to_string()),
        Some(ExitStatus::Signal { number, core }) => {
            (if core { "dumped" } else { "killed" }.to_owned(), signal::name(number))
        }
    };
    vec![
        ("SERVICE_RESULT".to_owned(), result.to_owned()),
        ("EXIT_CODE".to_owned(), code),
        ("EXIT_STATUS".to_owned(), status),
    ]
}
