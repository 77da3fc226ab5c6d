//! The process trees that somebody waits for the end of.
//!
//! The end of a process that is not our child is told to its own parent, not to us. What is left of a tree is therefore
//! looked at after every batch of reaping (the last of a tree is always adopted by us and so ends with a SIGCHLD), and
//! while something is to be killed also after a short pause, for a fork that raced with the last sweep.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::event::RunId;
use crate::lifecycle::time::Time;

/// Between two sweeps, at first; it doubles while the same processes resist.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// What cannot be killed is in an uninterruptible sleep; there is no use in looking often.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What is wanted of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Wanted {
    /// That it ends by itself.
    Gone,
    /// That it is killed.
    Killed,
}

/// All of them, and when to look again.
#[derive(Debug, Default)]
pub(super) struct Closing {
    trees: BTreeMap<RunId, Wanted>,
    pause: Duration,
    again_at: Option<Time>,
}

impl Closing {
    /// Somebody waits for the end of the tree of `run`. A kill is not taken back by a later wait.
    pub(super) fn add(&mut self, run: RunId, wanted: Wanted) {
        let entry = self.trees.entry(run).or_insert(wanted);
        if wanted == Wanted::Killed {
            *entry = Wanted::Killed;
            self.pause = PAUSE_MIN;
        }
    }

    /// For the next svinit, which adds them again.
    #[must_use]
    pub(super) fn save(&self) -> Vec<(RunId, Wanted)> {
        self.trees.iter().map(|(run, wanted)| (*run, *wanted)).collect()
    }

    /// Nobody waits for anything.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// Looks at each tree with `left`, which kills where that is wanted and says whether something is left. Returns the
    /// runs that are gone.
    pub(super) fn look(&mut self, now: Time, mut left: impl FnMut(RunId, Wanted) -> bool) -> Vec<RunId> {
        let mut gone = Vec::new();
        self.trees.retain(|run, wanted| {
            let stays = left(*run, *wanted);
            if !stays {
                gone.push(*run);
            }
            stays
        });
        self.again_at = None;
        if self.trees.values().any(|wanted| *wanted == Wanted::Killed) {
            self.again_at = Some(now.after(self.pause));
            self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        }
        gone
    }

    /// When to look again without being told to.
    #[must_use]
    pub(super) fn again_at(&self) -> Option<Time> {
        self.again_at
    }
}

#[cfg(test)]
mod tests {
    use super::{Closing, Wanted};
    use crate::lifecycle::event::RunId;
    use crate::lifecycle::time::Time;

    #[test]
    fn a_tree_is_told_gone_once() {
        let mut closing = Closing::default();
        closing.add(RunId(1), Wanted::Gone);
        assert!(closing.look(Time::ZERO, |_, _| true).is_empty());
        assert_eq!(closing.look(Time::ZERO, |_, _| false), [RunId(1)]);
        assert!(closing.is_empty());
        assert!(closing.look(Time::ZERO, |_, _| false).is_empty());
    }

    #[test]
    fn only_a_kill_needs_a_look_without_cause_and_less_and_less_often() {
        let mut closing = Closing::default();
        closing.add(RunId(1), Wanted::Gone);
        let _ = closing.look(Time::ZERO, |_, _| true);
        assert_eq!(closing.again_at(), None);
        closing.add(RunId(2), Wanted::Killed);
        let pauses: Vec<u64> = (0..9)
            .map(|_| {
                let _ = closing.look(Time::ZERO, |_, _| true);
                closing.again_at().unwrap().0 / 1000
            })
            .collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(closing.look(Time::ZERO, |run, _| run == RunId(1)), [RunId(2)]);
        assert_eq!(closing.again_at(), None);
    }

    #[test]
    fn a_wait_does_not_take_a_kill_back() {
        let mut closing = Closing::default();
        closing.add(RunId(1), Wanted::Killed);
        closing.add(RunId(1), Wanted::Gone);
        let _ = closing.look(Time::ZERO, |_, wanted| {
            assert_eq!(wanted, Wanted::Killed);
            true
        });
    }
}
