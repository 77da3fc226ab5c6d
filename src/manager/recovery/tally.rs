//! How often what was done, and what came of it: counts for metrics, which decide nothing.

use std::collections::BTreeMap;

use crate::manager::recovery::policy::Rung;

/// What came of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Came {
    /// It was well after it.
    Healed,
    /// It failed, did not end, or the service was not well in time.
    NoHelp,
    /// It could not be done, and has touched nothing.
    Skipped,
    /// A person had stopped it.
    LeftAlone,
    /// Its instance was none any more.
    Gone,
}

impl Came {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Healed, Self::NoHelp, Self::Skipped, Self::LeftAlone, Self::Gone];

    /// As it is written, which is the word of the decision in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healed => "healed",
            Self::NoHelp => "no-help",
            Self::Skipped => "skipped",
            Self::LeftAlone => "left-alone",
            Self::Gone => "gone",
        }
    }
}

/// Of one service, since it is looked after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Actions that are over.
    pub actions: BTreeMap<(Rung, Came), u64>,
    /// How often it was given up for a while.
    pub quarantines: u64,
}

impl Tally {
    /// One more.
    pub(super) fn count(&mut self, rung: Rung, came: Came) {
        *self.actions.entry((rung, came)).or_default() += 1;
    }
}
