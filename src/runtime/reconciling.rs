//! After a crash: what was written down against what is. What follows from it is decided in `lifecycle::recovery`.
//!
//! The turn in which svinit crashed was not written down, but for what it was about to tell the machine. A process that
//! ended in it was perhaps reaped already; one that was made in it is known to nobody but by its tag.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::lifecycle::action::Purpose;
use crate::lifecycle::event::{Event, Pid, RunId};
use crate::lifecycle::recovery::{Again, Follows, Found};
use crate::lifecycle::time::Time;
use crate::os::clock;
use crate::os::posture::Posture;
use crate::os::procfs;
use crate::runtime::closing::Wanted;
use crate::runtime::hands::Hands;
use crate::runtime::runs::Ended;
use crate::units::spec::LogLevel;

/// For what was made in the turn of the crash, from being killed to being gone. What cannot be killed is not awaited.
const STRAYS_WITHIN: Duration = Duration::from_secs(2);

impl Hands {
    /// Puts right what is not as it was written down, and has told again what was `heard` since. Returns the number of the
    /// latest run that there is.
    pub(super) fn reconcile(&mut self, last: RunId, heard: Vec<Event>, again: Again) -> RunId {
        let tree = self.trees.save();
        let known: BTreeSet<RunId> = self.runs.ids().chain(tree.into_iter().map(|(run, ..)| run)).collect();
        let vanished = self.vanished();
        let written: Vec<RunId> = known.iter().copied().collect();
        let strangers: Vec<(Pid, RunId)> = self.trees.survivors(&written);
        let living = strangers.iter().map(|(_, run)| *run).collect();
        // What was left over from the turn before was written down, and was heard with the rest.
        if !heard.is_empty() && again == Again::Everything {
            self.facts.clear();
        }
        let runs = vanished.iter().map(|(run, _)| *run).collect();
        let Follows { facts, strays, last } =
            Found { known, vanished: runs, living, heard, last }.follows(again);
        for (run, pid) in vanished {
            self.say_vanished(run, pid, &facts);
        }
        for fact in facts {
            self.hear_again(fact);
        }
        for (pid, run) in strangers.into_iter().filter(|(_, run)| strays.contains(run)) {
            let text = format!(
                "process {pid} was made while svinit crashed; it is killed with all of its run {run}"
            );
            self.pump.say(None, LogLevel::Warn, &text);
            self.close_tree(run, Wanted::Killed);
        }
        self.strays = (strays, clock::now().after(STRAYS_WITHIN));
        last
    }

    /// The machine waits: what was made in the turn of the crash could meet what it wishes next.
    pub(super) fn awaits_strays(&self) -> bool {
        self.strays_until().is_some_and(|until| clock::now() < until)
    }

    /// Until then at most.
    pub(super) fn strays_until(&self) -> Option<Time> {
        (!self.strays.0.is_empty()).then_some(self.strays.1).filter(|until| clock::now() < *until)
    }

    /// Main processes that were written down and are no more; they are taken off.
    fn vanished(&mut self) -> Vec<(RunId, Pid)> {
        let written: Vec<(RunId, Pid)> = self.runs.processes().collect();
        let gone = written.into_iter().filter(|(run, pid)| !self.is_there(*run, *pid));
        let gone: Vec<(RunId, Pid)> = gone.collect();
        let mut vanished = Vec::new();
        for (run, pid) in gone {
            self.trees.ended(pid);
            // The one that it has named as its main process is looked at by itself.
            if let Some(Ended::Main(run)) = self.runs.end(pid) {
                vanished.push((run, pid));
            }
            if self.runs.get(run).is_some_and(|run| run.purpose != Purpose::Main) {
                self.pipes_closed.remove(&run);
                self.lingering.insert(run);
            }
        }
        vanished
    }

    fn say_vanished(&mut self, run: RunId, pid: Pid, facts: &[Event]) {
        let Some(unit) = self.runs.get(run).map(|run| run.unit.clone()) else { return };
        let of = |event: &&Event| matches!(event, Event::Exited { run: of, .. } if *of == run);
        let is_unseen = facts.iter().find(of).is_none_or(Event::is_unseen_end);
        let how = if is_unseen { "; nobody saw how" } else { "" };
        let text = format!("process {pid} has ended while svinit crashed{how}");
        self.pump.say(Some(&unit), LogLevel::Warn, &text);
    }

    fn hear_again(&mut self, fact: Event) {
        match &fact {
            // It changes what is known of the run as well.
            Event::Signed { .. } => self.on_sign(fact),
            Event::Tick
            | Event::Due { .. }
            | Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::Exited { .. }
            | Event::TreeGone { .. }
            | Event::Passed { .. }
            | Event::NotPassed { .. }
            | Event::MainFound { .. }
            | Event::MainNotFound { .. }
            | Event::Measured { .. }
            | Event::Asked { .. }
            | Event::ShutdownAsked { .. } => self.facts.push_back(fact),
        }
    }

    /// The process is there, or waits to be reaped: a child of ours that is dead keeps its number until then.
    fn is_there(&self, run: RunId, pid: Pid) -> bool {
        let own = Pid(Posture::look().pid);
        let is_child = procfs::stat(pid).is_some_and(|stat| stat.parent == own);
        is_child || crate::os::tag::of(pid) == Some(run)
    }
}
