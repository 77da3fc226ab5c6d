//! What units use: measured when somebody asks, never by the clock.

use std::collections::BTreeMap;

use crate::lifecycle::event::{Event, RunId};
use crate::os::usage::Usage;
use crate::runtime::hands::Hands;
use crate::units::name::UnitName;

impl Hands {
    /// What the trees of these units use (none given: of all); units without a process are left out.
    pub(super) fn usage(&self, units: &[UnitName]) -> BTreeMap<UnitName, Usage> {
        let mut usage: BTreeMap<UnitName, Usage> = BTreeMap::new();
        for (run, unit, _) in self.runs.mains() {
            if units.is_empty() || units.contains(unit) {
                // There are two while it is replaced without a gap.
                *usage.entry(unit.clone()).or_default() += self.trees.usage(run);
            }
        }
        usage
    }

    /// Answers `Action::Measure`.
    pub(super) fn measure(&mut self, run: RunId) {
        let memory = self.trees.usage(run).memory;
        self.facts.push_back(Event::Measured { run, memory });
    }
}
