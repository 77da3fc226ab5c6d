//! Carries out what the machine wishes: one arm an action, each a call. No policy.

use crate::lifecycle::action::Action;
use crate::lifecycle::event::Whom;
use crate::lifecycle::time::Time;
use crate::runtime::closing::Wanted;
use crate::runtime::driver::Driver;
use crate::runtime::hands::Spawn;

impl Driver {
    /// Carries out one action. Spawns are gathered and launched together at the end of the turn, which no other action
    /// of the turn can be about: nobody knows of a run before it has been spawned.
    pub(super) fn perform_one(&mut self, action: Action, now: Time) {
        let hands = &mut self.hands;
        match action {
            Action::Spawn { run, unit, purpose, argv, extra_env } => {
                hands.spawns.push(Spawn { run, unit, purpose, argv, extra_env });
            }
            Action::Signal { run, signal, whom: Whom::Main } => hands.signal_main(run, &signal),
            Action::Signal { run, signal, whom: Whom::Tree } => hands.signal_tree(run, &signal),
            Action::Kill { run, whom: Whom::Main } => hands.kill_main(run),
            Action::Kill { run, whom: Whom::Tree } => hands.close_tree(run, Wanted::Killed),
            Action::AwaitTree { run } => hands.close_tree(run, Wanted::Gone),
            Action::Probe { run, unit: _, check } => hands.probes.start(run, check),
            Action::CancelProbe { run } => hands.probes.cancel(run),
            Action::ReadPidFile { run, unit } => hands.read_pid_file(run, &unit),
            Action::Measure { run } => hands.measure(run),
            Action::Report(report) => self.report(&report, now),
            Action::Answer { job, outcome } => {
                let view = self.shown(&outcome.unit);
                self.jobs.answer(job, outcome, view);
            }
            Action::Define { spec } => self.define(&spec),
            Action::Forget { unit } => self.forget(&unit),
            Action::JobDone { job } => self.jobs.close(job),
            Action::End(end) => self.end = Some(end),
        }
    }
}
