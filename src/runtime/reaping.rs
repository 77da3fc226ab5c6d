//! Takes note of every child that has ended, ours or orphaned, and lets it go.
//!
//! The order is peek, record, reap: until the reap the number cannot be given to another process, so nothing that is
//! done in between can hit the wrong one. SIGCHLD merges; the list is read to its end, in bounded parts.

use crate::lifecycle::action::Purpose;
use crate::lifecycle::event::{Event, ExitStatus, Pid, RunId};
use crate::lifecycle::recovery::UNSEEN;
use crate::logs::line::Stream;
use crate::os::procfs;
use crate::os::reap;
use crate::runtime::hands::Hands;
use crate::runtime::runs::Ended;
use crate::units::name::UnitName;

/// Children that are taken note of in one go; then signals and servers have their turn.
const REAPS_A_TURN: usize = 1024;

/// Lines of a unit among which those of one process are looked for.
const LINES_LOOKED_AT: usize = 200;

/// Lines of a process that are told with its end.
const LINES_SAID: usize = 20;

impl Hands {
    /// Reaps what has ended. Comes back early after [`REAPS_A_TURN`]; the driver asks again at its next turn.
    pub(super) fn reap(&mut self) {
        for _ in 0..REAPS_A_TURN {
            let Some(zombie) = reap::peek() else {
                self.unreaped = false;
                return;
            };
            self.hear_last_words(zombie.pid);
            self.trees.ended(zombie.pid);
            match self.runs.end(zombie.pid) {
                Some(Ended::Main(run)) => self.tell_end(run, zombie.pid, zombie.status),
                Some(Ended::First(run)) => self.on_first_ended(run, zombie.pid, zombie.status),
                None => match self.rehearsal.as_mut().filter(|rehearsal| rehearsal.pid == zombie.pid) {
                    Some(rehearsal) => rehearsal.status = Some(zombie.status),
                    None => self.tally.orphans += 1,
                },
            }
            reap::reap(zombie.pid);
            self.look |= !self.closing.is_empty();
        }
        self.unreaped = true;
    }

    /// What a main process has said before its end is known to be its own only as long as its number is: of one that was
    /// replaced without a gap it would else be taken for a word of the other.
    fn hear_last_words(&mut self, pid: Pid) {
        let run = self.runs.of_pid(pid).and_then(|run| self.runs.get(run));
        if let Some(unit) = run.filter(|run| run.purpose == Purpose::Main).map(|run| run.unit.clone()) {
            self.hear(&unit);
        }
    }

    /// The process that svinit has made has ended after naming another. If that one was not handed to us by this end,
    /// its own parent has reaped it before, and this is the end of the run.
    fn on_first_ended(&mut self, run: RunId, pid: Pid, status: ExitStatus) {
        let main = self.runs.get(run).and_then(|run| run.main.as_ref()).map(|main| main.pid);
        if main.is_some_and(|pid| self.trees.run_of(pid) != Some(run)) {
            self.runs.lose_main(run);
            self.tell_end(run, pid, status);
        }
    }

    /// A main process has ended that was another's child when it was named. Should it have fallen to us meanwhile, it is
    /// reaped as any other.
    pub(super) fn on_end_seen(&mut self, run: RunId, pid: Pid) {
        let is_main =
            self.runs.get(run).is_some_and(|run| run.main.as_ref().is_some_and(|main| main.pid == pid));
        if is_main && !self.trees.is_child(pid) {
            let status = procfs::exit_status(pid).unwrap_or(UNSEEN);
            self.runs.lose_main(run);
            self.tell_end(run, pid, status);
        }
    }

    fn tell_end(&mut self, run: RunId, pid: Pid, status: ExitStatus) {
        let Some((unit, purpose)) = self.runs.get(run).map(|run| (run.unit.clone(), run.purpose)) else {
            return;
        };
        // Last words first: whoever reads the log finds them before the reason of the end.
        let facts = self.pump.finish(run);
        let said = if purpose == Purpose::Main { self.last_lines(&unit, pid) } else { self.pump.said(run) };
        let oom = self.was_out_of_memory(&unit, status);
        self.facts.push_back(Event::Exited { run, status, oom, said });
        if purpose == Purpose::Main {
            self.take_terminal_back(&unit);
        } else {
            self.linger(run);
        }
        self.on_log_facts(&facts);
    }

    /// What a main process has said last, where it is one of two and the log of its unit is not its own; else whoever
    /// wants to know reads that.
    fn last_lines(&mut self, unit: &UnitName, pid: Pid) -> String {
        if !self.runs.mains().any(|(_, of, _)| of == unit) {
            return String::new();
        }
        let lines = self.pump.kept(std::slice::from_ref(unit), LINES_LOOKED_AT);
        let own = lines.iter().filter(|line| line.pid == Some(pid.0) && line.stream != Stream::Svinit);
        let own: Vec<_> = own.map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect();
        own[own.len().saturating_sub(LINES_SAID)..].join("\n")
    }

    /// What a hook has left behind may still write; its pipes are closed when it does not hold them any more.
    fn linger(&mut self, run: RunId) {
        if self.pipes_closed.remove(&run) {
            self.forget(run);
        } else {
            self.lingering.insert(run);
        }
    }

    fn take_terminal_back(&mut self, unit: &UnitName) {
        if self.setting.foreground.as_ref() == Some(unit)
            && let Some(lent) = self.terminal.take()
        {
            lent.take_back();
        }
    }

    /// Only the kernel says KILL for want of memory, and only a counter that has risen says that it was this.
    fn was_out_of_memory(&mut self, unit: &UnitName, status: ExitStatus) -> bool {
        if !matches!(status, ExitStatus::Signal { number: libc::SIGKILL, .. }) {
            return false;
        }
        match self.groups.get_mut(unit) {
            // It counts everything that was killed in there, whosever limit was the reason, and nothing else.
            Some(group) if group.oom.can_tell() => group.oom.has_risen(),
            Some(_) | None => self.oom.has_risen(),
        }
    }
}
