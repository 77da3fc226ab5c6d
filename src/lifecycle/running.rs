//! Life: health, memory, reloads and what else is done to a unit that is up.
//!
//! At most one chore at a time: a reload that is asked for while `post_start` still runs waits for it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::action::{Action, Purpose};
use crate::lifecycle::errand::{Errand, Verdict};
use crate::lifecycle::event::{Event, Sign, Whom};
use crate::lifecycle::health::HealthWatch;
use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::state::Health;
use crate::lifecycle::stop::{After, Cause};
use crate::lifecycle::time::Time;
use crate::lifecycle::unit::{Cx, Main, Note, State, Unit, Unwell, Who};
use crate::lifecycle::watchdog::Watchdog;
use crate::lifecycle::why;
use crate::units::spec::{Kind, Limits, Mode, OnFailure, ReadySign, ReloadHow, UnitSpec};

/// Up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) main: Main,
    pub(super) since: Time,
    pub(super) health: Option<HealthWatch>,
    pub(super) memory: Option<MemoryWatch>,
    pub(super) watchdog: Option<Watchdog>,
    pub(super) chore: Option<Chore>,
    /// When the reload began that it is in by its own word, if it has told that as well.
    pub(super) reloads_since: Option<Time>,
    /// Done when the chore is.
    pub(super) next: Option<Wish>,
}

/// Something that is being done to a unit that is up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Chore {
    /// The hook with this index.
    PostStart { index: usize, errand: Errand },
    /// A test, and what follows when it passes.
    Test { errand: Errand, then: Wish },
    /// `[reload] command`.
    Reload { errand: Errand },
    /// The signal is sent, or it reloads by itself; `READY=1` is to come.
    AwaitReload {
        by: Time,
        /// When it was asked to: a `READY=1` that ends a reload from before then is not its answer.
        since: Time,
    },
    /// `on_failure = "exec:..."`.
    Remedy { errand: Errand },
}

/// What is to be done next; the later in this list, the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Wish {
    /// `on_failure = "exec:..."`.
    Remedy,
    /// `[reload]`.
    Reload,
    /// Stop and start.
    Restart,
}

/// Looks at the memory of the whole tree now and then, while there is a bound to keep.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MemoryWatch {
    pub(super) next: Time,
    pub(super) interval: Duration,
    pub(super) above_since: Option<Time>,
}

impl MemoryWatch {
    pub(super) fn new(limits: &Limits, enforced: bool, now: Time) -> Option<Self> {
        let watched = limits.memory_high.is_some() || (limits.memory_max.is_some() && !enforced);
        let interval = (limits.memory_for / 5).clamp(Duration::from_secs(1), Duration::from_secs(10));
        watched.then(|| Self { next: now.after(interval), interval, above_since: None })
    }
}

impl Ready {
    pub(super) fn new(spec: &Arc<UnitSpec>, main: Main, cx: &mut Cx<'_>) -> Self {
        let health = spec.health.as_ref().map(|rule| HealthWatch::new(rule, cx.now));
        let memory = MemoryWatch::new(&spec.limits, cx.limits_enforced, cx.now);
        let watchdog = spec.watchdog.map(|window| Watchdog::new(window, cx.now));
        let mut ready = Self {
            main,
            since: cx.now,
            health,
            memory,
            watchdog,
            chore: None,
            reloads_since: None,
            next: None,
        };
        ready.chore = ready.post_start(spec, 0, cx);
        ready
    }

    fn post_start(&self, spec: &UnitSpec, index: usize, cx: &mut Cx<'_>) -> Option<Chore> {
        let argv = spec.hooks.post_start.get(index)?;
        let errand =
            Errand::command(&spec.name, Purpose::PostStart, argv, self.main_env(), spec.hooks.timeout, cx);
        Some(Chore::PostStart { index, errand })
    }

    fn main_env(&self) -> Vec<(String, String)> {
        main_env(&self.main)
    }

    pub(super) fn is_reloading(&self) -> bool {
        match &self.chore {
            Some(Chore::Test { then, .. }) => *then == Wish::Reload,
            Some(Chore::Reload { .. } | Chore::AwaitReload { .. }) => true,
            Some(Chore::PostStart { .. } | Chore::Remedy { .. }) | None => false,
        }
    }

    /// It reloads, or does so as soon as what is done to it is done.
    pub(super) fn is_to_reload(&self) -> bool {
        self.is_reloading() || self.next == Some(Wish::Reload)
    }

    pub(super) fn health(&self) -> Health {
        self.health.as_ref().map_or(Health::Unknown, |watch| watch.state)
    }

    pub(super) fn health_why(&self) -> &str {
        self.health.as_ref().map_or("", |watch| &watch.why)
    }

    pub(super) fn each_deadline(&mut self, paused: bool, f: &mut dyn FnMut(&mut Time)) {
        if let (Some(health), false) = (&mut self.health, paused) {
            health.each_deadline(f);
        }
        if let (Some(memory), false) = (&mut self.memory, paused) {
            f(&mut memory.next);
        }
        if let (Some(watchdog), false) = (&mut self.watchdog, paused) {
            f(&mut watchdog.by);
        }
        match &mut self.chore {
            Some(
                Chore::PostStart { errand, .. }
                | Chore::Test { errand, .. }
                | Chore::Reload { errand }
                | Chore::Remedy { errand },
            ) => f(&mut errand.by),
            Some(Chore::AwaitReload { by, .. }) => f(by),
            None => {}
        }
    }

    /// A person wants it restarted as soon as its test has passed or what is done to it is done.
    pub(super) fn is_to_restart(&self) -> bool {
        let tests = matches!(self.chore, Some(Chore::Test { then: Wish::Restart, .. }));
        tests || self.next == Some(Wish::Restart)
    }

    /// Something is being done to it or is about to be.
    pub(super) fn is_busy(&self) -> bool {
        self.chore.is_some() || self.next.is_some()
    }

    /// For how long it has been up.
    pub(super) fn age(&self, now: Time) -> Duration {
        now.since(self.since)
    }
}

/// Lets a command know whom it is about.
pub(super) fn main_env(main: &Main) -> Vec<(String, String)> {
    main.pid.map(|pid| ("MAINPID".to_owned(), pid.to_string())).into_iter().collect()
}

impl Unit {
    pub(super) fn on_event_ready(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let State::Ready(ready) = &mut self.state else { return };
        let run = ready.main.run;
        if event.run() == Some(run)
            || (planted(Bug::AcceptStaleExit) && matches!(event, Event::Exited { .. }))
        {
            if let Event::Exited { status, oom, said, .. } = event {
                return self.on_main_exit(*status, *oom, said, cx);
            } else if let Event::Measured { memory, .. } = event {
                return self.on_measured(*memory, cx);
            } else if let Event::Signed { sign, .. } = event {
                self.on_sign_ready(sign, cx);
            }
        }
        self.go_on_with_chore(event, cx);
        self.watch_silence(cx);
        self.watch_health(event, cx);
        // A remedy may have asked for a check as soon as possible, which is now.
        self.watch_health(&Event::Tick, cx);
        self.watch_memory(cx);
    }

    fn on_sign_ready(&mut self, sign: &Sign, cx: &mut Cx<'_>) {
        let timeout = self.spec.reload.timeout;
        let State::Ready(ready) = &mut self.state else { return };
        match sign {
            Sign::Ready => {
                let began = ready.reloads_since.take();
                if let Some(Chore::AwaitReload { since, .. }) = ready.chore
                    && (began.is_none_or(|began| began >= since) || planted(Bug::EarlierReloadCounts))
                {
                    self.reloaded(cx);
                }
            }
            Sign::Reloading(began) => {
                ready.reloads_since = *began;
                if ready.chore.is_none() {
                    // It reloads by itself; until it says that it is ready again, others should know.
                    ready.chore = Some(await_reload(timeout, cx.now));
                    ready.reloads_since = None;
                }
            }
            Sign::Stopping => self.leave(cx),
            Sign::Status(text) => self.status_text.clone_from(text),
            Sign::MainPid(pid) => ready.main.pid = Some(*pid),
            Sign::Reason(text) => self.reason.clone_from(text),
            Sign::Alive => {
                if let Some(watchdog) = &mut ready.watchdog
                    && !planted(Bug::AliveUnheard)
                {
                    watchdog.heard(cx.now);
                }
            }
            Sign::AliveEvery(window) => ready.watchdog = Some(Watchdog::new(*window, cx.now)),
            Sign::Hung => {
                self.end_for(Cause::Hung, "said by itself that it hangs (WATCHDOG=trigger)".to_owned(), cx);
            }
            Sign::MoreTime(time) => {
                if let Some(Chore::AwaitReload { by, .. }) = &mut ready.chore {
                    *by = cx.now.after(*time).max(*by);
                }
            }
        }
    }

    fn watch_silence(&mut self, cx: &mut Cx<'_>) {
        let (State::Ready(Ready { watchdog: Some(watchdog), .. }), false) = (&mut self.state, self.paused)
        else {
            return;
        };
        if watchdog.is_silent(cx.now) && planted(Bug::SilenceIgnored) {
            watchdog.heard(cx.now);
        }
        if watchdog.is_silent(cx.now) {
            let why = format!("hangs: no WATCHDOG=1 for {}", why::span(watchdog.window));
            self.end_for(Cause::Hung, why, cx);
        }
    }

    fn watch_health(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let spec = Arc::clone(&self.spec);
        let (State::Ready(ready), Some(rule), false) = (&mut self.state, &spec.health, self.paused) else {
            return;
        };
        let Some(watch) = &mut ready.health else { return };
        let before = watch.state;
        let ill = watch.on_event(&spec.name, rule, event, &mut self.tidying, cx);
        if before == Health::Fail && watch.state == Health::Pass {
            "well again".clone_into(&mut self.why);
        }
        if let Some(why) = ill {
            self.on_illness(&rule.on_failure, why, cx);
        }
    }

    fn on_illness(&mut self, remedy: &OnFailure, why: String, cx: &mut Cx<'_>) {
        let State::Ready(ready) = &self.state else { return };
        let run = ready.main.run;
        self.why.clone_from(&why);
        if planted(Bug::IllButLeftAlone) {
            return;
        }
        match remedy {
            OnFailure::Restart => self.end_for(Cause::Ill, why, cx),
            OnFailure::Reload => self.wish(Wish::Reload, cx),
            OnFailure::Signal(signal) => {
                cx.out.push(Action::Signal { run, signal: signal.clone(), whom: Whom::Main });
            }
            OnFailure::Exec(_) => self.wish(Wish::Remedy, cx),
            OnFailure::Shutdown => {
                let why = format!("{}: {why}", self.spec.name);
                cx.notes.push(Note::ShutDown { status: 1, why });
            }
            OnFailure::None => {}
        }
    }

    fn watch_memory(&mut self, cx: &mut Cx<'_>) {
        let (State::Ready(ready), false) = (&mut self.state, self.paused) else { return };
        let run = ready.main.run;
        if let Some(watch) = &mut ready.memory
            && cx.now >= watch.next
        {
            watch.next = cx.now.after(watch.interval);
            cx.out.push(Action::Measure { run });
        }
    }

    fn on_measured(&mut self, memory: u64, cx: &mut Cx<'_>) {
        let limits = &self.spec.limits;
        let (State::Ready(ready), false) = (&mut self.state, self.paused) else { return };
        let Some(watch) = &mut ready.memory else { return };
        if let Some(max) = limits.memory_max
            && memory > max
            && !cx.limits_enforced
        {
            let why = format!("uses {} of memory, memory_max is {}", size(memory), size(max));
            return self.end_for(Cause::Memory, why, cx);
        }
        let Some(high) = limits.memory_high else { return };
        if memory <= high {
            watch.above_since = None;
            return;
        }
        let since = *watch.above_since.get_or_insert(cx.now);
        if cx.now.since(since) >= limits.memory_for {
            let why = format!(
                "uses {} of memory, above memory_high {} for {}",
                size(memory),
                size(high),
                why::span(cx.now.since(since))
            );
            if self.spec.restart.mode == Mode::StopFirst {
                return self.end_for(Cause::Memory, why, cx);
            }
            // It still serves, and does so until the new one does. Should that fail, it is measured anew.
            watch.above_since = None;
            if !self.is_being_replaced() {
                self.begin_succession(&why, cx);
            }
        }
    }

    /// Does it now, or when the chore under way is done.
    pub(super) fn wish(&mut self, wish: Wish, cx: &mut Cx<'_>) {
        let spec = Arc::clone(&self.spec);
        // What is restarted for another definition is tested by that.
        let coming = self.coming_next().filter(|_| wish == Wish::Restart).map(Arc::clone);
        let State::Ready(ready) = &mut self.state else { return };
        if ready.chore.is_some() {
            // The stronger wish stays: a restart does what a reload would have done, and a remedy can be tried again.
            ready.next = ready.next.max(Some(wish));
            return;
        }
        match (wish, &coming.as_ref().unwrap_or(&spec).reload.test) {
            (Wish::Reload | Wish::Restart, Some(test)) => {
                let errand = Errand::command(
                    &spec.name,
                    Purpose::Test,
                    test,
                    ready.main_env(),
                    spec.reload.timeout,
                    cx,
                );
                ready.chore = Some(Chore::Test { errand, then: wish });
            }
            (Wish::Reload | Wish::Restart | Wish::Remedy, _) => self.fulfil(wish, cx),
        }
    }

    fn fulfil(&mut self, wish: Wish, cx: &mut Cx<'_>) {
        match wish {
            Wish::Reload => self.reload(cx),
            // It is about to be stopped anyhow, and who asked for that asked later.
            Wish::Restart if self.pending.is_some() => {}
            Wish::Restart if self.spec_to_come().restart.mode == Mode::StartFirst => {
                self.begin_succession("restart was asked for", cx);
            }
            Wish::Restart => {
                self.pending = Some(After::StartAgain);
                "restart was asked for".clone_into(&mut self.why);
                cx.notes.push(Note::Restarting);
            }
            Wish::Remedy => self.remedy(cx),
        }
    }

    fn reload(&mut self, cx: &mut Cx<'_>) {
        let spec = Arc::clone(&self.spec);
        let State::Ready(ready) = &mut self.state else { return };
        match &spec.reload.how {
            None => self.reload_failed("it has no [reload]".to_owned(), String::new(), cx),
            Some(ReloadHow::Command(argv)) => {
                let timeout = spec.reload.timeout;
                let env = ready.main_env();
                let errand = Errand::command(&spec.name, Purpose::ReloadCommand, argv, env, timeout, cx);
                ready.chore = Some(Chore::Reload { errand });
            }
            Some(ReloadHow::Signal(signal)) => {
                let run = ready.main.run;
                cx.out.push(Action::Signal { run, signal: signal.clone(), whom: Whom::Main });
                if says_ready(&spec) {
                    ready.chore = Some(await_reload(spec.reload.timeout, cx.now));
                } else {
                    self.reloaded(cx);
                }
            }
        }
    }

    fn reloaded(&mut self, cx: &mut Cx<'_>) {
        "reloaded".clone_into(&mut self.why);
        // Whoever asked meanwhile is answered when their own reload is done, and with them whoever asked before.
        if !matches!(&self.state, State::Ready(ready) if ready.next == Some(Wish::Reload)) {
            cx.notes.push(Note::Reloaded(Ok(())));
        }
        if let State::Ready(Ready { health: Some(watch), .. }) = &mut self.state {
            watch.check_soon(cx.now);
        }
        self.chore_done(cx);
    }

    fn reload_failed(&mut self, why: String, said: String, cx: &mut Cx<'_>) {
        let why = format!("reload failed, it goes on as it was: {why}");
        self.why.clone_from(&why);
        cx.notes.push(Note::Reloaded(Err(Unwell { why, said })));
        self.chore_done(cx);
    }

    fn remedy(&mut self, cx: &mut Cx<'_>) {
        let spec = Arc::clone(&self.spec);
        let State::Ready(ready) = &mut self.state else { return };
        let Some(OnFailure::Exec(argv)) = spec.health.as_ref().map(|rule| &rule.on_failure) else { return };
        let errand =
            Errand::command(&spec.name, Purpose::Remedy, argv, ready.main_env(), spec.hooks.timeout, cx);
        ready.chore = Some(Chore::Remedy { errand });
    }

    fn go_on_with_chore(&mut self, event: &Event, cx: &mut Cx<'_>) {
        let State::Ready(ready) = &mut self.state else { return };
        let Some(chore) = &ready.chore else { return };
        let errand = match chore {
            Chore::AwaitReload { by, .. } => {
                if cx.now >= *by {
                    let why = format!("no READY=1 within {}", why::span(self.spec.reload.timeout));
                    self.reload_failed(why, String::new(), cx);
                }
                return;
            }
            Chore::PostStart { errand, .. }
            | Chore::Test { errand, .. }
            | Chore::Reload { errand }
            | Chore::Remedy { errand } => errand,
        };
        if let Some(verdict) = errand.on_event(event, &mut self.tidying, cx) {
            self.on_chore_verdict(verdict, cx);
        }
    }

    fn on_chore_verdict(&mut self, verdict: Verdict, cx: &mut Cx<'_>) {
        let spec = Arc::clone(&self.spec);
        let State::Ready(ready) = &mut self.state else { return };
        let Some(chore) = ready.chore.take() else { return };
        match (chore, verdict) {
            (Chore::PostStart { index, .. }, verdict) => {
                if let Verdict::Failed { why, .. } = verdict {
                    self.why =
                        format!("up, but post_start {:?} {why}", spec.hooks.post_start[index].0.join(" "));
                }
                ready.chore = ready.post_start(&spec, index + 1, cx);
                if ready.chore.is_none() {
                    self.chore_done(cx);
                }
            }
            (Chore::Test { then, .. }, Verdict::Passed) => self.fulfil(then, cx),
            (Chore::Test { then, .. }, Verdict::Failed { .. }) if planted(Bug::TestIgnored) => {
                self.fulfil(then, cx);
            }
            (Chore::Test { then: Wish::Restart | Wish::Remedy, .. }, Verdict::Failed { why, said }) => {
                let why = format!("not restarted, it goes on as it was: its test {why}");
                // Whoever asked meanwhile is answered by the test of their own, and with them whoever asked before.
                let is_last = ready.next != Some(Wish::Restart);
                self.why.clone_from(&why);
                if is_last {
                    self.coming = None;
                    cx.notes.push(Note::NotRestarted(Unwell { why, said }));
                }
                self.chore_done(cx);
            }
            (Chore::Test { then: Wish::Reload, .. }, Verdict::Failed { why, said }) => {
                self.reload_failed(format!("its test {why}"), said, cx);
            }
            (Chore::Reload { .. }, Verdict::Passed) => self.reloaded(cx),
            (Chore::Reload { .. }, Verdict::Failed { .. }) if planted(Bug::ReloadAlwaysWell) => {
                self.reloaded(cx)
            }
            (Chore::Reload { .. }, Verdict::Failed { why, said }) => self.reload_failed(why, said, cx),
            (Chore::Remedy { .. }, Verdict::Failed { why, .. }) => {
                self.why = format!("{}; the remedy {why}", self.why);
                self.chore_done(cx);
            }
            (Chore::Remedy { .. }, Verdict::Passed) => self.chore_done(cx),
            (Chore::AwaitReload { .. }, _) => {}
        }
    }

    fn chore_done(&mut self, cx: &mut Cx<'_>) {
        let State::Ready(ready) = &mut self.state else { return };
        ready.chore = None;
        if let Some(wish) = ready.next.take() {
            self.wish(wish, cx);
        }
    }

    /// Ends what is being done to it, but not its main process.
    pub(super) fn abandon_running_errands(&mut self, cx: &mut Cx<'_>) {
        let State::Ready(ready) = &mut self.state else { return };
        if let Some(watch) = &mut ready.health {
            watch.abandon(&mut self.tidying, cx);
        }
        match ready.chore.take() {
            Some(
                Chore::PostStart { errand, .. }
                | Chore::Test { errand, .. }
                | Chore::Reload { errand }
                | Chore::Remedy { errand },
            ) => errand.abandon(&mut self.tidying, cx),
            Some(Chore::AwaitReload { .. }) | None => {}
        }
    }

    /// A person wants to work on it undisturbed.
    pub(super) fn pause(&mut self, cx: &mut Cx<'_>) {
        self.paused = true;
        if let State::Ready(Ready { health: Some(watch), .. }) = &mut self.state {
            watch.abandon(&mut self.tidying, cx);
        }
        self.each_beside(cx, Unit::pause);
    }

    /// The person is done: checks begin anew, and what ended meanwhile is started.
    pub(super) fn resume(&mut self, cx: &mut Cx<'_>) {
        self.each_beside(cx, Unit::resume);
        if !std::mem::replace(&mut self.paused, false) {
            return;
        }
        let spec = Arc::clone(&self.spec);
        if let State::Ready(ready) = &mut self.state {
            ready.health = spec.health.as_ref().map(|rule| HealthWatch::new(rule, cx.now));
            ready.memory = MemoryWatch::new(&spec.limits, cx.limits_enforced, cx.now);
            if let Some(watchdog) = &mut ready.watchdog {
                watchdog.heard(cx.now);
            }
            self.watch_health(&Event::Tick, cx);
        } else if self.start_on_resume && matches!(self.state, State::Failed) {
            self.ask_start(Who::Person, cx);
        } else {
            self.on_event(&Event::Tick, cx);
        }
    }
}

/// From now on its `READY=1` is the end of a reload.
fn await_reload(timeout: Duration, now: Time) -> Chore {
    Chore::AwaitReload { by: now.after(timeout), since: now }
}

/// It tells when it is ready, so the end of a reload can be awaited.
fn says_ready(spec: &UnitSpec) -> bool {
    spec.kind == Kind::Notify
        || matches!(spec.ready.as_ref().map(|ready| &ready.sign), Some(ReadySign::Notify))
}

/// "512M", "1.5G".
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    for (one, letter) in UNITS {
        if bytes >= one {
            let tenths = bytes.saturating_mul(10) / one;
            return if tenths.is_multiple_of(10) || tenths >= 100 {
                format!("{}{letter}", tenths / 10)
            } else {
                format!("{}.{}{letter}", tenths / 10, tenths % 10)
            };
        }
    }
    format!("{bytes}B")
}
