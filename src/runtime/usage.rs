//! What units use: measured when somebody asks, never by the clock.

use std::collections::BTreeMap;

use crate::lifecycle::event::{Event, RunId};
use crate::os::usage::Usage;
use crate::runtime::hands::Hands;
use crate::units::name::UnitName;

impl Hands {
    /// What the trees of these units use (none given: of all); units without a process are left out.
    pub(super) fn usage(&self, units: &[UnitName]) -> BTreeMap<UnitName, Usage> {
        self.runs
            .mains()
            .filter(|(_, unit, _)| units.is_empty() || units.contains(unit))
            .map(|(run, unit, _)| (unit.clone(), self.trees.usage(run)))
            .collect()
    }

    /// Answers `Action::Measure`.
    pub(super) fn measure(&mut self, run: RunId) {
        let memory = self.trees.usage(run).memory;
        self.facts.push_back(Event::Measured { run, memory });
    }
}
