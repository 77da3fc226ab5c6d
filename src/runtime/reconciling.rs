//! After a crash: what was written down against what is.
//!
//! The turn in which svinit crashed was not written down. A process that ended in it was perhaps reaped already, and how it
//! ended is lost; one that was made in it is known to nobody but by its tag. The first is told as an end that nobody saw,
//! the second is killed with its tree: the machine will ask for it again.

use crate::lifecycle::action::Purpose;
use crate::lifecycle::event::{Event, ExitStatus, Pid, RunId};
use crate::os::posture::Posture;
use crate::os::procfs;
use crate::runtime::closing::Wanted;
use crate::runtime::hands::Hands;
use crate::units::spec::LogLevel;

/// What is told of a process of which nobody saw how it ended: no status that a program chooses.
const UNSEEN: ExitStatus = ExitStatus::Code(255);

impl Hands {
    /// Puts right what is not as it was written down. Returns the number of the latest run that there is.
    pub(super) fn reconcile(&mut self, last: RunId) -> RunId {
        let written: Vec<(RunId, Pid)> = self.runs.processes().collect();
        for (run, pid) in written {
            if self.is_there(run, pid) {
                continue;
            }
            self.trees.ended(pid);
            let Some(unit) = self.runs.get(run).map(|run| run.unit.clone()) else { continue };
            let is_main = self.runs.get(run).is_some_and(|run| run.purpose == Purpose::Main);
            if self.runs.end(pid).is_some() {
                let text = format!("process {pid} has ended while svinit crashed; nobody saw how");
                self.pump.say(Some(&unit), LogLevel::Warn, &text);
                self.facts.push_back(Event::Exited { run, status: UNSEEN, oom: false, said: String::new() });
            }
            if !is_main {
                self.pipes_closed.remove(&run);
                self.lingering.insert(run);
            }
        }
        let known: Vec<RunId> =
            self.runs.ids().chain(self.trees.save().into_iter().map(|(run, ..)| run)).collect();
        let mut latest = last;
        for (pid, run) in self.trees.survivors(&known) {
            latest = latest.max(run);
            let text = format!(
                "process {pid} was made while svinit crashed; it is killed with all of its run {run}"
            );
            self.pump.say(None, LogLevel::Warn, &text);
            self.close_tree(run, Wanted::Killed);
        }
        latest
    }

    /// The process is there, or waits to be reaped: a child of ours that is dead keeps its number until then.
    fn is_there(&self, run: RunId, pid: Pid) -> bool {
        let own = Pid(Posture::look().pid);
        let is_child = procfs::stat(pid).is_some_and(|stat| stat.parent == own);
        is_child || crate::os::tag::of(pid) == Some(run)
    }
}
