//! The way up: the outside answers, hooks run, the process is made, its sign of readiness comes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::action::{Action, Purpose};
use crate::lifecycle::errand::{Errand, Verdict};
use crate::lifecycle::event::{Event, ExitStatus, Pid, Sign, SpawnCause};
use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::running::Ready;
use crate::lifecycle::stop::Cause;
use crate::lifecycle::time::Time;
use crate::lifecycle::unit::{Cx, Main, Note, State, Unit};
use crate::lifecycle::why;
use crate::units::spec::{Check, Kind, ReadySign};

/// Asking the outside things of `wait_for`, one after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Gate {
    /// Those before have answered.
    pub(super) next: usize,
    pub(super) asking: Asking,
    pub(super) by: Time,
}

/// A question that is asked until it is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Asking {
    pub(super) errand: Option<Errand>,
    /// When the next try is due; meaningless while one is under way.
    pub(super) again: Time,
    /// What came of the last one.
    pub(super) last: String,
}

impl Asking {
    fn from(now: Time) -> Self {
        Self { errand: None, again: now, last: "not asked yet".to_owned() }
    }

    fn each_deadline(&mut self, f: &mut dyn FnMut(&mut Time)) {
        match &mut self.errand {
            Some(errand) => f(&mut errand.by),
            None => f(&mut self.again),
        }
    }
}

/// Longest time for one try of a readiness or `wait_for` check; the whole has its own bound.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two looks at a pid file, the least and the most. Between these it is an eighth of the time waited so far: who
/// comes late is noticed little later than that, and who never comes costs nothing worth speaking of.
const PID_FILE_INTERVAL: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Running the `pre_start` hooks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Preparing {
    pub(super) next: usize,
    pub(super) errand: Option<Errand>,
    /// No time has passed since what it requires was seen to be up.
    pub(super) is_fresh: bool,
}

/// The main process has been asked for and is not ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Starting {
    pub(super) main: Main,
    pub(super) stage: Launch,
    pub(super) by: Time,
}

/// What the start waits for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Launch {
    /// For exec.
    Exec,
    /// For the end of a oneshot.
    Work,
    /// For the end of the process that forks the daemon.
    Parent,
    /// For the daemon's pid file.
    PidFile { since: Time, again: Time, last: String },
    /// For a word of its own: notify, descriptor, line.
    Word,
    /// For time to pass.
    Delay { at: Time },
    /// For a check to pass.
    Check(Asking),
}

impl Gate {
    pub(super) fn each_deadline(&mut self, f: &mut dyn FnMut(&mut Time)) {
        f(&mut self.by);
        self.asking.each_deadline(f);
    }
}

impl Preparing {
    pub(super) fn each_deadline(&mut self, f: &mut dyn FnMut(&mut Time)) {
        if let Some(errand) = &mut self.errand {
            f(&mut errand.by);
        }
    }
}

impl Starting {
    pub(super) fn each_deadline(&mut self, f: &mut dyn FnMut(&mut Time)) {
        f(&mut self.by);
        match &mut self.stage {
            Launch::Exec | Launch::Work | Launch::Parent | Launch::Word => {}
            Launch::PidFile { again, .. } => f(again),
            Launch::Delay { at } => f(at),
            Launch::Check(asking) => asking.each_deadline(f),
        }
    }

    /// What it would have taken to be ready, for the message when the time is over.
    fn lacks(&self) -> String {
        match &self.stage {
            Launch::Exec => "its program has not been executed".to_owned(),
            Launch::Work => "it has not ended".to_owned(),
            Launch::Parent => "the process that starts it has not ended".to_owned(),
            Launch::PidFile { last, .. } => format!("pid file: {last}"),
            Launch::Word => "it has not said that it is".to_owned(),
            Launch::Delay { .. } => "its delay is longer".to_owned(),
            Launch::Check(asking) => asking.last.clone(),
        }
    }
}

impl Unit {
    /// All units that it builds on are up.
    pub(super) fn release(&mut self, cx: &mut Cx<'_>) {
        self.said.clear();
        self.status_text.clear();
        self.reason.clear();
        for run in self.leftovers.clone() {
            self.tidying.clear(run, cx);
        }
        match &self.spec.wait_for {
            Some(outside) if !self.outside_answered && !planted(Bug::WaitForSkipped) => {
                let by = cx.now.after(outside.timeout);
                let gate = Gate { next: 0, asking: Asking::from(cx.now), by };
                let why = self.why.clone();
                self.enter(State::Gate(gate), why, cx);
                self.on_event_at_gate(&Event::Tick, cx);
            }
            _ => self.prepare(cx),
        }
    }

    pub(super) fn on_event_at_gate(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let spec = std::sync::Arc::clone(&self.spec);
        let (State::Gate(gate), Some(outside)) = (&mut self.state, &spec.wait_for) else { return };
        if let Some(verdict) =
            gate.asking.errand.as_ref().and_then(|errand| errand.on_event(event, &mut self.tidying, cx))
        {
            gate.asking.errand = None;
            match verdict {
                Verdict::Passed => {
                    gate.next += 1;
                    gate.asking = Asking::from(cx.now);
                }
                Verdict::Failed { why, .. } => {
                    gate.asking.last = why;
                    gate.asking.again = cx.now.after(outside.interval);
                }
            }
        }
        let Some(check) = outside.checks.get(gate.next) else {
            self.outside_answered = true;
            // What it builds on may have gone meanwhile: it waits as before, and for others this time.
            let why = self.why.clone();
            self.enter(State::Waiting, why, cx);
            cx.notes.push(Note::LookAgain);
            return;
        };
        let wanted = named(check);
        let waits_for = vec![format!("{wanted} ({})", gate.asking.last)];
        if cx.now >= gate.by {
            let why = format!(
                "{wanted} did not answer within {}: {}",
                why::span(outside.timeout),
                gate.asking.last
            );
            return self.end_for(Cause::Outside, why, cx);
        }
        if gate.asking.errand.is_none() && cx.now >= gate.asking.again {
            gate.asking.errand = Some(Errand::check(&spec.name, check, TRY_TIMEOUT, cx));
        }
        self.waits_for = waits_for;
    }

    fn prepare(&mut self, cx: &mut Cx<'_>) {
        let why = self.why.clone();
        self.enter(State::Preparing(Preparing { next: 0, errand: None, is_fresh: true }), why, cx);
        self.on_event_preparing(&Event::Tick, cx);
        if let State::Preparing(preparing) = &mut self.state {
            preparing.is_fresh = false;
        }
    }

    pub(super) fn on_event_preparing(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let spec = std::sync::Arc::clone(&self.spec);
        let State::Preparing(preparing) = &mut self.state else { return };
        if let Some(errand) = &preparing.errand {
            match errand.on_event(event, &mut self.tidying, cx) {
                None => return,
                Some(Verdict::Passed) => preparing.next += 1,
                Some(_) if planted(Bug::PreStartFailureIgnored) => preparing.next += 1,
                Some(Verdict::Failed { why, said }) => {
                    let why =
                        format!("pre_start {:?} {why}", spec.hooks.pre_start[preparing.next].0.join(" "));
                    preparing.errand = None;
                    self.said = said;
                    return self.end_for(Cause::Hook, why, cx);
                }
            }
            preparing.errand = None;
        }
        // What an earlier hook or run has left must be gone before the next process meets it.
        if !self.tidying.is_done() {
            return;
        }
        match spec.hooks.pre_start.get(preparing.next) {
            Some(argv) => {
                let timeout = spec.hooks.timeout;
                preparing.errand =
                    Some(Errand::command(&spec.name, Purpose::PreStart, argv, Vec::new(), timeout, cx));
            }
            None if preparing.is_fresh => self.launch(cx),
            None => cx.notes.push(Note::LookAgain),
        }
    }

    /// All that is left of the start is the main process.
    pub(super) fn is_prepared(&self) -> bool {
        let State::Preparing(Preparing { next, errand, .. }) = &self.state else { return false };
        errand.is_none() && *next >= self.spec.hooks.pre_start.len() && self.tidying.is_done()
    }

    /// Starts the main process, if what it requires has stood all the while; else it waits for that and begins anew.
    pub(super) fn take_last_step(&mut self, requirements_stand: bool, cx: &mut Cx<'_>) {
        if requirements_stand || planted(Bug::LastLookSkipped) {
            self.launch(cx);
        } else {
            self.enter(State::Waiting, "what it requires went down while it was prepared", cx);
            cx.notes.push(Note::LookAgain);
        }
    }

    fn launch(&mut self, cx: &mut Cx<'_>) {
        let run = cx.new_run(&self.spec.name);
        self.latest = run;
        cx.out.push(Action::Spawn {
            run,
            unit: self.spec.name.clone(),
            purpose: Purpose::Main,
            argv: self.spec.command.clone(),
            extra_env: Vec::new(),
        });
        let by = if self.spec.ready_timeout.is_zero() || self.is_ready_by_exec() {
            Time::NEVER
        } else {
            cx.now.after(self.spec.ready_timeout)
        };
        let main = Main { run, pid: None, spawned: cx.now };
        let why = self.why.clone();
        self.enter(State::Starting(Starting { main, stage: Launch::Exec, by }), why, cx);
    }

    fn is_ready_by_exec(&self) -> bool {
        self.spec.kind == Kind::Simple && self.spec.ready.is_none()
    }

    pub(super) fn on_event_starting(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let State::Starting(starting) = &mut self.state else { return };
        if event.run() != Some(starting.main.run) {
            return self.on_progress_starting(event, cx);
        }
        match event {
            Event::Spawned { pid, .. } => {
                starting.main.pid = Some(*pid);
                self.on_spawned(cx);
            }
            Event::SpawnFailed { run, failure } => {
                cx.forget_run(*run);
                self.final_status = match failure.cause {
                    SpawnCause::Missing => 127,
                    SpawnCause::NotExecutable => 126,
                    SpawnCause::NoResources | SpawnCause::Context => 1,
                };
                self.main_is_gone(Cause::Spawn(failure.cause), failure.why.clone(), cx);
            }
            Event::Exited { status: ExitStatus::Code(0), .. } if matches!(starting.stage, Launch::Parent) => {
                starting.main.pid = None;
                starting.stage =
                    Launch::PidFile { since: cx.now, again: cx.now, last: "not there yet".to_owned() };
                self.on_progress_starting(&Event::Tick, cx);
            }
            Event::Exited { status, oom, said, .. } => self.on_main_exit(*status, *oom, said, cx),
            Event::MainFound { pid, .. } => self.on_pid_file(Ok(*pid), cx),
            Event::MainNotFound { why, .. } => self.on_pid_file(Err(why), cx),
            Event::Signed { sign, .. } => self.on_sign_starting(sign, cx),
            Event::TreeGone { .. }
            | Event::Passed { .. }
            | Event::NotPassed { .. }
            | Event::Measured { .. }
            | Event::Tick
            | Event::Due { .. }
            | Event::Asked { .. }
            | Event::ShutdownAsked { .. } => {}
        }
    }

    fn on_pid_file(&mut self, found: Result<Pid, &String>, cx: &mut Cx<'_>) {
        let State::Starting(starting) = &mut self.state else { return };
        let Launch::PidFile { since, again, last } = &mut starting.stage else { return };
        match found {
            Ok(pid) => {
                starting.main.pid = Some(pid);
                self.await_sign(cx);
            }
            Err(why) => {
                last.clone_from(why);
                let [least, most] = PID_FILE_INTERVAL;
                *again = cx.now.after((cx.now.since(*since) / 8).clamp(least, most));
                self.check_ready_timeout(cx);
            }
        }
    }

    fn on_sign_starting(&mut self, sign: &Sign, cx: &mut Cx<'_>) {
        let State::Starting(starting) = &mut self.state else { return };
        match sign {
            Sign::Ready if matches!(starting.stage, Launch::Word) => self.become_ready(cx),
            Sign::Status(text) => self.status_text.clone_from(text),
            Sign::MainPid(pid) => starting.main.pid = Some(*pid),
            Sign::Reason(text) => self.reason.clone_from(text),
            Sign::MoreTime(time) => starting.by = cx.now.after(*time).max(starting.by),
            // The watch begins when it is ready; whoever asks for another interval says so again by then.
            Sign::Ready
            | Sign::Reloading(_)
            | Sign::Stopping
            | Sign::Alive
            | Sign::Hung
            | Sign::AliveEvery(_) => {}
        }
    }

    fn on_spawned(&mut self, cx: &mut Cx<'_>) {
        let State::Starting(starting) = &mut self.state else { return };
        match self.spec.kind {
            Kind::Oneshot => starting.stage = Launch::Work,
            Kind::Forking { .. } => starting.stage = Launch::Parent,
            Kind::Notify => starting.stage = Launch::Word,
            Kind::Simple => self.await_sign(cx),
        }
    }

    /// The process is there; what is left is its `[ready]`.
    fn await_sign(&mut self, cx: &mut Cx<'_>) {
        let State::Starting(starting) = &mut self.state else { return };
        starting.stage = match self.spec.ready.as_ref().map(|ready| &ready.sign) {
            Some(_) if planted(Bug::ReadyWithoutProbe) => return self.become_ready(cx),
            None => return self.become_ready(cx),
            Some(ReadySign::Log(_) | ReadySign::Notify | ReadySign::Fd(_)) => Launch::Word,
            Some(ReadySign::Delay(delay)) => Launch::Delay { at: cx.now.after(*delay) },
            Some(ReadySign::Check(_)) => Launch::Check(Asking::from(cx.now)),
        };
        self.on_progress_starting(&Event::Tick, cx);
    }

    /// What is under way while it starts: a check, a delay, a look at the pid file.
    fn on_progress_starting(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let spec = std::sync::Arc::clone(&self.spec);
        let State::Starting(starting) = &mut self.state else { return };
        match &mut starting.stage {
            Launch::Exec | Launch::Work | Launch::Parent | Launch::Word => {}
            Launch::Delay { at } => {
                if cx.now >= *at {
                    return self.become_ready(cx);
                }
            }
            Launch::PidFile { again, .. } => {
                if cx.now >= *again {
                    *again = Time::NEVER;
                    cx.out.push(Action::ReadPidFile { run: starting.main.run, unit: spec.name.clone() });
                }
            }
            Launch::Check(asking) => {
                let Some((check, interval)) = spec.ready.as_ref().and_then(|ready| match &ready.sign {
                    ReadySign::Check(check) => Some((check, ready.interval)),
                    ReadySign::Log(_) | ReadySign::Notify | ReadySign::Fd(_) | ReadySign::Delay(_) => None,
                }) else {
                    return;
                };
                if let Some(verdict) =
                    asking.errand.as_ref().and_then(|errand| errand.on_event(event, &mut self.tidying, cx))
                {
                    asking.errand = None;
                    match verdict {
                        Verdict::Passed => return self.become_ready(cx),
                        Verdict::Failed { why, .. } => {
                            asking.last = format!("{}: {why}", named(check));
                            asking.again = cx.now.after(interval);
                        }
                    }
                }
                if asking.errand.is_none() && cx.now >= asking.again {
                    asking.errand = Some(Errand::check(&spec.name, check, TRY_TIMEOUT, cx));
                }
            }
        }
        self.check_ready_timeout(cx);
    }

    fn check_ready_timeout(&mut self, cx: &mut Cx<'_>) {
        let State::Starting(starting) = &self.state else { return };
        if cx.now >= starting.by {
            let verb = if self.spec.kind == Kind::Oneshot { "completed" } else { "ready" };
            let why =
                format!("not {verb} within {}: {}", why::span(self.spec.ready_timeout), starting.lacks());
            self.end_for(Cause::NotReady, why, cx);
        }
    }

    pub(super) fn become_ready(&mut self, cx: &mut Cx<'_>) {
        let State::Starting(starting) = &self.state else { return };
        let main = starting.main;
        self.abandon_start_errands(cx);
        let took = cx.now.since(main.spawned);
        self.start_took = Some(took);
        let ready = Ready::new(&self.spec, main, cx);
        self.enter(State::Ready(ready), format!("up after {}", why::span(took)), cx);
        self.on_event_ready(&Event::Tick, cx);
    }

    /// Ends what the start has under way, but not the main process.
    pub(super) fn abandon_start_errands(&mut self, cx: &mut Cx<'_>) {
        let slot = if let State::Gate(gate) = &mut self.state {
            &mut gate.asking.errand
        } else if let State::Preparing(preparing) = &mut self.state {
            &mut preparing.errand
        } else if let State::Starting(Starting { stage: Launch::Check(asking), .. }) = &mut self.state {
            &mut asking.errand
        } else {
            return;
        };
        if let Some(errand) = slot.take() {
            errand.abandon(&mut self.tidying, cx);
        }
    }
}

/// A check as people call it: "tcp database:3306".
pub(super) fn named(check: &Check) -> String {
    match check {
        Check::Exec(argv) => format!("exec {}", argv.0.first().map_or("", String::as_str)),
        Check::Http(url) => format!("http://{}:{}{}", url.at.host, url.at.port, url.path),
        Check::Tcp(at) => format!("tcp {}:{}", at.host, at.port),
        Check::Unix(path) => format!("unix {}", path.display()),
        Check::File(path) => format!("file {}", path.display()),
    }
}
