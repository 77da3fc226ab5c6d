//! What is the same about two machines that will behave the same: a fingerprint of everything that decides.
//!
//! Moments count from now, runs and jobs by their rank, and words not at all: so a unit in its hundredth life is the
//! same as in its first. Every structure is taken apart by name, without `..`: a new field must not compile until it
//! has been thought about. Easy to get wrong: what is left out here is never explored on its own account.

use crate::lifecycle::backoff::{ForkRate, Retries};
use crate::lifecycle::errand::{Errand, Means};
use crate::lifecycle::event::{ExitStatus, RunId};
use crate::lifecycle::health::HealthWatch;
use crate::lifecycle::job::Expect;
use crate::lifecycle::order::Units;
use crate::lifecycle::roll::{Begun, Roll, Turn};
use crate::lifecycle::running::{Chore, MemoryWatch, Ready};
use crate::lifecycle::schedule::Timed;
use crate::lifecycle::start::{Asking, Gate, Launch, Preparing, Starting};
use crate::lifecycle::stop::{Cause, Stage, Stopping};
use crate::lifecycle::succession::Beside;
use crate::lifecycle::supervisor::{Ending, Supervisor};
use crate::lifecycle::time::Time;
use crate::lifecycle::unit::{Main, State, Unit};
use crate::lifecycle::update::Coming;
use crate::lifecycle::watchdog::Watchdog;

/// A fingerprint being made: two lanes of 64 bits, so that ten million states do not meet by chance.
pub(in crate::lifecycle) struct Form<'a> {
    lanes: [u64; 2],
    now: Time,
    /// All runs that anybody knows of, in order.
    runs: &'a [RunId],
}

impl<'a> Form<'a> {
    pub(in crate::lifecycle) fn new(now: Time, runs: &'a [RunId]) -> Self {
        Self { lanes: [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344], now, runs }
    }

    pub(in crate::lifecycle) fn done(self) -> u128 {
        u128::from(self.lanes[0]) << 64 | u128::from(self.lanes[1])
    }

    pub(super) fn word(&mut self, word: u64) {
        let [a, b] = &mut self.lanes;
        *a = (*a ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ *b;
        *b = (*b ^ word.rotate_left(32)).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(31).wrapping_add(*a);
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.word(u64::from(flag));
    }

    pub(super) fn size(&mut self, size: usize) {
        self.word(size as u64);
    }

    /// A moment that is waited for: what is past is past, however long.
    pub(super) fn due(&mut self, at: Time) {
        self.word(if at == Time::NEVER { u64::MAX } else { at.0.saturating_sub(self.now.0) });
    }

    /// A moment that was, as far back as it matters.
    pub(super) fn past(&mut self, at: Time, matters: std::time::Duration) {
        let age = self.now.since(at).min(matters + std::time::Duration::from_micros(1));
        self.word(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn run(&mut self, run: RunId) {
        let rank = self.runs.binary_search(&run).map_or(u64::MAX, |rank| rank as u64);
        self.word(rank);
    }

    pub(super) fn maybe<T>(&mut self, what: Option<T>, add: impl FnOnce(&mut Self, T)) {
        self.flag(what.is_some());
        if let Some(what) = what {
            add(self, what);
        }
    }

    /// The whole machine. Between two steps its queues are empty.
    pub(in crate::lifecycle) fn machine(&mut self, machine: &Supervisor) {
        let Supervisor {
            units,
            links: _,
            runs,
            jobs,
            // Without jitter nobody asks it.
            chance: _,
            fork_rate,
            settings: _,
            // Both follow from the units, see `laws::timetable`.
            timetable: _,
            booked: _,
            leaving,
            rolls,
            booting,
            ending,
            now: _,
            out,
            notes,
            queue,
            came_to_rest,
            // For whoever saves.
            unsaved: _,
        } = machine;
        self.size(leaving.len());
        assert!(out.is_empty() && notes.is_empty() && queue.is_empty() && !came_to_rest, "a step is whole");
        for unit in units.values() {
            self.unit(unit);
            self.flag(booting.contains(unit.name()));
        }
        self.order_of_failures(units);
        self.size(runs.owner.len());
        for run in runs.owner.keys() {
            self.run(*run);
        }
        self.size(jobs.open.len());
        for expects in jobs.open.values() {
            for (name, unit) in units {
                self.maybe(expects.get(name), |form, expect| form.expect(*expect, unit));
            }
        }
        self.size(rolls.len());
        for Roll { queue, begun, done } in rolls.values() {
            self.size(queue.len());
            for Turn { unit, kind, reach } in queue {
                self.size(units.keys().position(|name| name == unit).unwrap_or(units.len()));
                self.word(*kind as u64);
                self.word(*reach as u64);
            }
            for (name, unit) in units {
                self.flag(done.contains(name));
                self.maybe(begun.get(name), |form, Begun { expect, told }| {
                    form.expect(*expect, unit);
                    form.maybe(told.as_ref(), |form, told| form.flag(told.is_ok()));
                });
            }
        }
        let ForkRate { apart: _, filled_until, firsts_until } = fork_rate;
        self.due(*filled_until);
        self.due(*firsts_until);
        self.maybe(ending.as_ref(), |form, ending| {
            let Ending { began: _, deadline, hurried, status, why: _, stopping: _, told } = ending;
            form.due(*deadline);
            form.maybe(*hurried, Self::due);
            // Behind `due` a hurry is over at once; its age decides when svinit leaves.
            form.maybe(*hurried, |form, at| form.past(at, std::time::Duration::from_secs(20)));
            form.word(u64::from(*status));
            form.flag(*told);
        });
    }

    fn expect(&mut self, expect: Expect, unit: &Unit) {
        match expect {
            Expect::Up { after } => {
                self.word(1);
                self.flag(unit.latest > after);
                let successor = unit.beside.successor.as_deref();
                self.flag(successor.is_some_and(|successor| successor.latest > after));
            }
            Expect::Down => self.word(2),
            Expect::Reloaded => self.word(3),
            Expect::Turn(kind) => self.word(4 + kind as u64),
        }
    }

    /// Who failed first decides about the status at the end.
    fn order_of_failures(&mut self, units: &Units) {
        let failed = |unit: &&Unit| matches!(unit.state, State::Failed);
        let first = units.values().filter(failed).min_by_key(|unit| unit.since);
        self.maybe(first, |form, first| {
            form.size(units.values().position(|unit| unit.name() == first.name()).unwrap_or(0));
        });
    }

    fn unit(&mut self, unit: &Unit) {
        let Unit {
            spec,
            coming,
            state,
            // Of failed units only the order counts.
            since: _,
            goal,
            held,
            paused,
            pending,
            why: _,
            said: _,
            waits_for,
            tidying,
            leftovers,
            retries,
            // Shown, never asked for.
            restarts: _,
            latest: _,
            last_exit: _,
            final_status,
            outside_answered,
            status_text: _,
            reason: _,
            start_took: _,
            stop_took: _,
            start_on_resume,
            was_killed: _,
            // What is seen is the state, see `laws::shown`.
            seen: _,
            reach,
            is_unsaved: _,
            beside,
            timed,
        } = unit;
        self.maybe(coming.as_ref(), |form, Coming { spec: _, restarts, waits }| {
            form.flag(*restarts);
            form.flag(*waits);
        });
        self.state(state, spec.restart.window);
        self.word(*goal as u64);
        self.flag(*held);
        self.flag(*paused);
        self.maybe(*pending, |form, after| form.word(after as u64));
        self.size(waits_for.len());
        self.size(tidying.0.len());
        for run in &tidying.0 {
            self.run(*run);
        }
        self.size(leftovers.len());
        for run in leftovers {
            self.run(*run);
        }
        self.retries(retries, spec.restart.window);
        self.word(u64::from(*final_status));
        self.flag(*outside_answered);
        self.flag(*start_on_resume);
        self.word(*reach as u64);
        // Counts are shown, never asked for; but what came of the last run is an answer.
        let Timed { at, queued, began, last, runs: _, failed: _, skipped: _, skipped_why: _ } = timed;
        self.maybe(*at, Self::due);
        self.flag(*queued);
        self.flag(began.is_some());
        self.maybe(last.as_ref(), |form, last| form.flag(last.is_well));
        let Beside { successor, brings: _, leavers } = beside;
        self.maybe(successor.as_deref(), Self::unit);
        self.flag(beside.brings_another());
        self.size(leavers.len());
        for leaver in leavers {
            self.unit(leaver);
        }
    }

    fn retries(&mut self, retries: &Retries, window: std::time::Duration) {
        let Retries { recent, in_a_row, tripped, starved } = retries;
        let counted = recent.iter().filter(|at| self.now.since(**at) <= window);
        let ages: Vec<Time> = counted.copied().collect();
        self.size(ages.len());
        for at in ages {
            self.past(at, window);
        }
        self.word(u64::from(*in_a_row));
        self.flag(*tripped);
        self.word(u64::from(*starved));
    }

    fn state(&mut self, state: &State, window: std::time::Duration) {
        match state {
            State::Inactive => self.word(1),
            State::Completed => self.word(2),
            State::Failed => self.word(3),
            State::Backoff { until, has_leave } => {
                self.word(4);
                self.due(*until);
                self.flag(*has_leave);
            }
            State::Waiting => self.word(5),
            State::Gate(Gate { next, asking, by }) => {
                self.word(6);
                self.size(*next);
                self.asking(asking);
                self.due(*by);
            }
            // Between two steps nothing is fresh.
            State::Preparing(Preparing { next, errand, is_fresh: _ }) => {
                self.word(7);
                self.size(*next);
                self.maybe(errand.as_ref(), Self::errand);
            }
            State::Starting(Starting { main, stage, by }) => {
                self.word(8);
                self.main(main);
                self.launch(stage);
                self.due(*by);
            }
            State::Ready(ready) => {
                self.word(9);
                self.ready(ready, window);
            }
            State::Scheduled => self.word(11),
            State::Stopping(stopping) => {
                self.word(10);
                self.stopping(stopping);
            }
        }
    }

    fn main(&mut self, main: &Main) {
        let Main { run, pid, spawned: _ } = main;
        self.run(*run);
        self.flag(pid.is_some());
    }

    fn errand(&mut self, errand: &Errand) {
        let Errand { run, means, by, allowed: _ } = errand;
        self.run(*run);
        self.flag(*means == Means::Process);
        self.due(*by);
    }

    fn asking(&mut self, asking: &Asking) {
        let Asking { errand, again, last: _ } = asking;
        self.maybe(errand.as_ref(), Self::errand);
        // Meaningless while a try is under way.
        if errand.is_none() {
            self.due(*again);
        }
    }

    fn launch(&mut self, stage: &Launch) {
        match stage {
            Launch::Exec => self.word(1),
            Launch::Work => self.word(2),
            Launch::Parent => self.word(3),
            Launch::PidFile { since, again, last: _ } => {
                self.word(4);
                self.past(*since, std::time::Duration::from_secs(8));
                self.due(*again);
            }
            Launch::Word => self.word(5),
            Launch::Delay { at } => {
                self.word(6);
                self.due(*at);
            }
            Launch::Check(asking) => {
                self.word(7);
                self.asking(asking);
            }
        }
    }

    fn ready(&mut self, ready: &Ready, window: std::time::Duration) {
        let Ready { main, since, health, memory, watchdog, chore, reloads_since, next } = ready;
        self.flag(reloads_since.is_some());
        self.main(main);
        self.past(*since, window);
        self.maybe(health.as_ref(), |form, watch| {
            let HealthWatch { state, failures, errand, next, lenient_until, why: _ } = watch;
            form.word(*state as u64);
            form.word(u64::from(*failures));
            form.maybe(errand.as_ref(), Self::errand);
            if errand.is_none() {
                form.due(*next);
            }
            form.due(*lenient_until);
        });
        self.maybe(memory.as_ref(), |form, watch| {
            let MemoryWatch { next, interval, above_since } = watch;
            form.due(*next);
            form.maybe(*above_since, |form, at| form.past(at, *interval * 6));
        });
        self.maybe(watchdog.as_ref(), |form, watchdog| {
            let Watchdog { window: _, by } = watchdog;
            form.due(*by);
        });
        self.maybe(chore.as_ref(), |form, chore| match chore {
            Chore::PostStart { index, errand } => {
                form.word(1);
                form.size(*index);
                form.errand(errand);
            }
            Chore::Test { errand, then } => {
                form.word(2);
                form.errand(errand);
                form.word(*then as u64);
            }
            Chore::Reload { errand } => {
                form.word(3);
                form.errand(errand);
            }
            // Only compared with what a service says of its own reloads.
            Chore::AwaitReload { by, since: _ } => {
                form.word(4);
                form.due(*by);
            }
            Chore::Remedy { errand } => {
                form.word(5);
                form.errand(errand);
            }
        });
        self.maybe(*next, |form, wish| form.word(wish as u64));
    }

    fn stopping(&mut self, stopping: &Stopping) {
        let Stopping { stage, after, main, cause, began: _, told, cap, killed } = stopping;
        self.word(*after as u64);
        self.maybe(main.as_ref(), Self::main);
        self.cause(*cause);
        self.flag(*told);
        self.due(*cap);
        self.flag(*killed);
        match stage {
            Stage::PreStop { next, errand } => {
                self.word(1);
                self.size(*next);
                self.maybe(errand.as_ref(), Self::errand);
            }
            Stage::Command { errand, kill_at } => {
                self.word(2);
                self.errand(errand);
                self.due(*kill_at);
            }
            Stage::Told { kill_at } => {
                self.word(3);
                self.due(*kill_at);
            }
            Stage::Killed { say_at } => {
                self.word(4);
                self.due(*say_at);
            }
            Stage::Clearing { kill_at } => {
                self.word(5);
                self.due(*kill_at);
            }
            Stage::PostStop { next, errand } => {
                self.word(6);
                self.size(*next);
                self.maybe(errand.as_ref(), Self::errand);
            }
        }
    }

    fn cause(&mut self, cause: Cause) {
        match cause {
            Cause::Asked => self.word(1),
            Cause::Ended(ExitStatus::Code(code)) => self.word(0x100 | u64::from(code)),
            Cause::Ended(ExitStatus::Signal { number, core: _ }) => {
                self.word(0x200 | u64::from(number.unsigned_abs()));
            }
            Cause::Spawn(why) => self.word(0x400 | why as u64),
            Cause::Hook => self.word(2),
            Cause::Outside => self.word(3),
            Cause::NotReady => self.word(4),
            Cause::Ill => self.word(5),
            Cause::Memory => self.word(6),
            Cause::Hung => self.word(7),
            Cause::Leaving => self.word(8),
        }
    }
}
