//! After a crash of svinit: what was written down, what was heard since, and what is there. Decides what follows.
//!
//! The machine is as it was after the last turn that was written down; everything that the turn of the crash did has to be
//! made undone or known. What was heard in it is told again, and so falls into place as if it had come a moment later. Of
//! what was made in it nobody knows more than the number of its run: it is killed before anything else is made, or two
//! of one unit would meet.
//!
//! Easy to get wrong: what svinit was told may be what it has crashed by. So it is told again once; if it crashes again
//! soon, all is forgotten but the orders to stop, and of a process it is only known that it is gone.

use std::collections::BTreeSet;

use crate::lifecycle::event::{Event, ExitStatus, RunId};
use crate::lifecycle::planted::{Bug, planted};

/// What is told of a process of which nobody saw how it ended: no status that a program chooses.
pub const UNSEEN: ExitStatus = ExitStatus::Code(255);

/// How much of what was heard is told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// All of it.
    Everything,
    /// That svinit is to stop. All else may be what it crashes by.
    Orders,
}

/// How things are found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The runs that were written down.
    pub known: BTreeSet<RunId>,
    /// Those of them whose main process is awaited and is not there.
    pub vanished: Vec<RunId>,
    /// Those that have a process, written down or not.
    pub living: BTreeSet<RunId>,
    /// What was heard since, in order.
    pub heard: Vec<Event>,
    /// The number of the latest run that was written down.
    pub last: RunId,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follows {
    /// To be told, in order.
    pub facts: Vec<Event>,
    /// To be killed with all of their trees, before the machine is told anything.
    pub strays: BTreeSet<RunId>,
    /// New runs are numbered from here.
    pub last: RunId,
}

impl Event {
    /// It tells of an end that nobody has seen.
    #[must_use]
    pub fn is_unseen_end(&self) -> bool {
        matches!(self, Self::Exited { status: UNSEEN, oom: false, .. })
    }
}

impl Found {
    /// What follows from it.
    #[must_use]
    pub fn follows(self, again: Again) -> Follows {
        let is_of_use = |event: &Event| match event {
            // Whoever was asked is asked again.
            Event::Tick | Event::Passed { .. } | Event::NotPassed { .. } => false,
            // Whoever keeps the calendar wrote down which of them had been told, and tells the others again.
            Event::Due { .. } => false,
            Event::ShutdownAsked { .. } => true,
            Event::Asked { .. } => again == Again::Everything,
            Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::Exited { .. }
            | Event::TreeGone { .. }
            | Event::MainFound { .. }
            | Event::MainNotFound { .. }
            | Event::Signed { .. }
            | Event::Measured { .. } => {
                again == Again::Everything && event.run().is_some_and(|run| self.known.contains(&run))
            }
        };
        let mut facts: Vec<Event> = self.heard.into_iter().filter(is_of_use).collect();
        if planted(Bug::CrashForgetsNews) {
            facts.clear();
        }
        for run in self.vanished {
            let is_told = |event: &Event| matches!(event, Event::Exited { run: of, .. } if *of == run);
            if !facts.iter().any(is_told) && !planted(Bug::CrashHidesEnds) {
                facts.push(Event::Exited { run, status: UNSEEN, oom: false, said: String::new() });
            }
        }
        let mut strays: BTreeSet<RunId> = self.living.difference(&self.known).copied().collect();
        let mut last = strays.last().copied().map_or(self.last, |stray| stray.max(self.last));
        if planted(Bug::CrashLeavesStrays) {
            strays.clear();
        }
        if planted(Bug::CrashReusesRuns) {
            last = self.last;
        }
        if planted(Bug::CrashKillsAll) {
            strays = self.living;
        }
        Follows { facts, strays, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = "SIGTERM";

    fn exited(run: u64, status: ExitStatus) -> Event {
        Event::Exited { run: RunId(run), status, oom: false, said: String::new() }
    }

    fn found() -> Found {
        Found {
            known: [RunId(1), RunId(2), RunId(3)].into(),
            vanished: vec![RunId(1), RunId(2)],
            living: [RunId(3), RunId(5)].into(),
            heard: vec![
                exited(1, ExitStatus::Code(0)),
                exited(4, ExitStatus::Code(0)),
                Event::Passed { run: RunId(3) },
                Event::ShutdownAsked { why: ORDER.to_owned() },
            ],
            last: RunId(3),
        }
    }

    #[test]
    fn what_was_heard_is_told_again_and_ends_that_nobody_saw_are_told() {
        let follows = found().follows(Again::Everything);
        let order = Event::ShutdownAsked { why: ORDER.to_owned() };
        assert_eq!(follows.facts, [exited(1, ExitStatus::Code(0)), order, exited(2, UNSEEN)]);
        assert_eq!((follows.strays, follows.last), ([RunId(5)].into(), RunId(5)));
    }

    #[test]
    fn at_a_second_crash_only_orders_to_stop_are_told_again() {
        let follows = found().follows(Again::Orders);
        let order = Event::ShutdownAsked { why: ORDER.to_owned() };
        assert_eq!(follows.facts, [order, exited(1, UNSEEN), exited(2, UNSEEN)]);
    }
}
