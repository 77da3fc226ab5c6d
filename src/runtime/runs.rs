//! The processes that svinit has made and that have not been reaped, by run and by number.
//!
//! A number stands for a run only while the kernel cannot give it to somebody else: from the spawn until the moment
//! before the reap. Whoever reaps must therefore call [`Runs::end`] first and reap after.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lifecycle::action::Purpose;
use crate::lifecycle::event::{Pid, RunId};
use crate::os::pidfd::PidFd;
use crate::units::name::UnitName;

/// One process that svinit has made, and the one that its unit has named in its place.
#[derive(Debug)]
pub(super) struct Run {
    /// Whose.
    pub(super) unit: UnitName,
    /// What for.
    pub(super) purpose: Purpose,
    /// Of the unit's user, for those who say something about themselves.
    pub(super) uid: u32,
    /// The main process; `None` when it has ended.
    pub(super) main: Option<Process>,
    /// What svinit has made, when it is not the main process any more and still lives.
    first: Option<Pid>,
}

/// A living child, or a zombie of one.
#[derive(Debug)]
pub(super) struct Process {
    /// Its number.
    pub(super) pid: Pid,
    /// Through which it is signalled; `None` where the kernel has none to give.
    pub(super) pidfd: Option<PidFd>,
}

/// A run as it is left to the next svinit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedRun {
    run: RunId,
    unit: UnitName,
    purpose: Purpose,
    uid: u32,
    main: Option<Pid>,
    first: Option<Pid>,
}

/// What the end of a process means for its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was the main process.
    Main(RunId),
    /// It was the one that svinit had made; the main process is another by now.
    First(RunId),
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Runs {
    by_id: BTreeMap<RunId, Run>,
    by_pid: BTreeMap<i32, RunId>,
}

impl Runs {
    /// A process has been made. What is left in the table of an earlier main run of the unit goes.
    pub(super) fn begin(&mut self, id: RunId, unit: UnitName, purpose: Purpose, uid: u32, process: Process) {
        if purpose == Purpose::Main {
            self.by_id.retain(|_, run| run.unit != unit || run.purpose != Purpose::Main || run.is_alive());
        }
        self.by_pid.insert(process.pid.0, id);
        self.by_id.insert(id, Run { unit, purpose, uid, main: Some(process), first: None });
    }

    /// The run of this id.
    #[must_use]
    pub(super) fn get(&self, id: RunId) -> Option<&Run> {
        self.by_id.get(&id)
    }

    /// The run that this process is the first or the main process of.
    #[must_use]
    pub(super) fn of_pid(&self, pid: Pid) -> Option<RunId> {
        self.by_pid.get(&pid.0).copied()
    }

    /// The latest main run of `unit`.
    #[must_use]
    pub(super) fn main_of(&self, unit: &UnitName) -> Option<RunId> {
        self.by_id.iter().rev().find(|(_, run)| run.is_main_of(unit)).map(|(id, _)| *id)
    }

    /// The main runs that have a process.
    pub(super) fn mains(&self) -> impl Iterator<Item = (RunId, &UnitName, Pid)> {
        self.by_id
            .iter()
            .filter(|(_, run)| run.purpose == Purpose::Main)
            .filter_map(|(id, run)| Some((*id, &run.unit, run.main.as_ref()?.pid)))
    }

    /// Some process of `unit` that svinit has made is there.
    #[must_use]
    pub(super) fn is_alive(&self, unit: &UnitName) -> bool {
        self.by_id.values().any(|run| run.unit == *unit && run.is_alive())
    }

    /// From here on `process` is the main process of this run.
    pub(super) fn take_over(&mut self, id: RunId, process: Process) {
        let Some(run) = self.by_id.get_mut(&id) else { return };
        if run.main.as_ref().is_some_and(|main| main.pid == process.pid) {
            return;
        }
        self.by_pid.insert(process.pid.0, id);
        let before = run.main.replace(process);
        match (before, run.first) {
            (Some(before), None) => run.first = Some(before.pid),
            // Named twice: the one in between was never ours to wait for.
            (Some(before), Some(first)) if before.pid != first => {
                self.by_pid.remove(&before.pid.0);
            }
            (Some(_) | None, _) => {}
        }
    }

    /// A process has ended, and is about to be reaped.
    pub(super) fn end(&mut self, pid: Pid) -> Option<Ended> {
        let id = self.by_pid.remove(&pid.0)?;
        let run = self.by_id.get_mut(&id)?;
        if run.first == Some(pid) {
            run.first = None;
            return Some(Ended::First(id));
        }
        run.main = None;
        Some(Ended::Main(id))
    }

    /// For the next svinit.
    #[must_use]
    pub(super) fn save(&self) -> Vec<SavedRun> {
        let saved = |(id, run): (&RunId, &Run)| SavedRun {
            run: *id,
            unit: run.unit.clone(),
            purpose: run.purpose,
            uid: run.uid,
            main: run.main.as_ref().map(|main| main.pid),
            first: run.first,
        };
        self.by_id.iter().map(saved).collect()
    }

    /// From the svinit before. None of the processes was reaped since, so their numbers are still their own.
    #[must_use]
    pub(super) fn restore(saved: Vec<SavedRun>) -> Self {
        let mut runs = Self::default();
        for SavedRun { run, unit, purpose, uid, main, first } in saved {
            runs.by_pid.extend(main.iter().chain(&first).map(|pid| (pid.0, run)));
            let main = main.map(|pid| Process { pid, pidfd: PidFd::open(pid).ok() });
            runs.by_id.insert(run, Run { unit, purpose, uid, main, first });
        }
        runs
    }

    /// All that are known.
    pub(super) fn ids(&self) -> impl Iterator<Item = RunId> {
        self.by_id.keys().copied()
    }

    /// Every process that is there, with its run.
    pub(super) fn processes(&self) -> impl Iterator<Item = (RunId, Pid)> {
        self.by_pid.iter().map(|(pid, run)| (*run, Pid(*pid)))
    }

    /// The main process has ended without our having been told: it was not our child.
    pub(super) fn lose_main(&mut self, id: RunId) {
        if let Some(run) = self.by_id.get_mut(&id)
            && let Some(main) = run.main.take()
        {
            self.by_pid.remove(&main.pid.0);
        }
    }

    /// Nothing of the run is left.
    pub(super) fn forget(&mut self, id: RunId) {
        if self.by_id.get(&id).is_some_and(|run| !run.is_alive()) {
            self.by_id.remove(&id);
        }
    }
}

impl Run {
    /// What `unit` is there for.
    #[must_use]
    pub(super) fn is_main_of(&self, unit: &UnitName) -> bool {
        self.purpose == Purpose::Main && self.unit == *unit
    }

    /// A process of ours, not reaped yet.
    #[must_use]
    pub(super) fn is_alive(&self) -> bool {
        self.main.is_some() || self.first.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, Process, Runs};
    use crate::lifecycle::action::Purpose;
    use crate::lifecycle::event::{Pid, RunId};
    use crate::units::name::UnitName;

    fn web() -> UnitName {
        UnitName::new("web").unwrap()
    }

    fn process(pid: i32) -> Process {
        Process { pid: Pid(pid), pidfd: None }
    }

    fn begin(runs: &mut Runs, id: u64, pid: i32) {
        runs.begin(RunId(id), web(), Purpose::Main, 0, process(pid));
    }

    #[test]
    fn a_number_stands_for_its_run_until_it_ends() {
        let mut runs = Runs::default();
        begin(&mut runs, 1, 10);
        assert_eq!(runs.of_pid(Pid(10)), Some(RunId(1)));
        assert_eq!(runs.end(Pid(10)), Some(Ended::Main(RunId(1))));
        assert_eq!(runs.of_pid(Pid(10)), None);
        assert_eq!(runs.end(Pid(10)), None);
        begin(&mut runs, 2, 10);
        assert_eq!(runs.main_of(&web()), Some(RunId(2)));
        assert!(runs.get(RunId(1)).is_none(), "the old run goes when the new one begins");
    }

    #[test]
    fn a_daemon_that_takes_over_is_the_one_whose_end_counts() {
        let mut runs = Runs::default();
        begin(&mut runs, 1, 10);
        runs.take_over(RunId(1), process(11));
        assert_eq!(runs.end(Pid(10)), Some(Ended::First(RunId(1))));
        assert_eq!(runs.end(Pid(11)), Some(Ended::Main(RunId(1))));
    }

    #[test]
    fn a_daemon_may_be_named_after_the_first_process_has_ended() {
        let mut runs = Runs::default();
        begin(&mut runs, 1, 10);
        assert_eq!(runs.end(Pid(10)), Some(Ended::Main(RunId(1))));
        runs.take_over(RunId(1), process(11));
        runs.take_over(RunId(1), process(11));
        assert_eq!(runs.end(Pid(11)), Some(Ended::Main(RunId(1))));
        runs.forget(RunId(1));
        assert!(runs.get(RunId(1)).is_none());
    }

    #[test]
    fn naming_another_main_process_twice_leaves_no_number_behind() {
        let mut runs = Runs::default();
        begin(&mut runs, 1, 10);
        runs.take_over(RunId(1), process(11));
        runs.take_over(RunId(1), process(12));
        assert_eq!([10, 11, 12].map(|pid| runs.of_pid(Pid(pid)).is_some()), [true, false, true]);
    }
}
