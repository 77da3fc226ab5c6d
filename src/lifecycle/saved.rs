//! The state of the machine as it is handed from one svinit to the next: over a re-exec, and over a crash.
//!
//! Whole, or unit by unit as they change, so that keeping it current costs what has changed. Definitions are not in it:
//! they are read again from the same texts. Nor is what follows from the rest: links, deadlines. Easy to get wrong: a new
//! field of any state must have a value for those who saved without it (`#[serde(default)]`), or svinit could not be
//! upgraded any more; `tests/it/upgrade` and the golden file of the first format hold us to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::lifecycle::backoff::ForkRate;
use crate::lifecycle::chance::Chance;
use crate::lifecycle::event::RunId;
use crate::lifecycle::job::Jobs;
use crate::lifecycle::order::Units;
use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::roll::Rolls;
use crate::lifecycle::supervisor::{Ending, Settings, Supervisor};
use crate::lifecycle::time::Time;
use crate::lifecycle::unit::{Runs, Unit};
use crate::lifecycle::update::{self, Coming};
use crate::units::name::UnitName;
use crate::units::spec::{Argv, UnitSet, UnitSpec};

/// Everything the machine knows, without the definitions.
#[derive(Clone, Serialize, Deserialize)]
pub struct Saved {
    /// Unit by unit.
    units: BTreeMap<UnitName, Unit>,
    /// What is of no single unit.
    common: Common,
}

/// What is of no single unit.
#[derive(Clone, Serialize, Deserialize)]
pub struct Common {
    runs: Runs,
    jobs: Jobs,
    chance: Chance,
    fork_rate: ForkRate,
    booting: BTreeSet<UnitName>,
    /// Units that are defined no longer and are on their way out.
    #[serde(default)]
    leaving: BTreeSet<UnitName>,
    /// Instances that take turns.
    #[serde(default)]
    rolls: Rolls,
    ending: Option<Ending>,
    now: Time,
}

/// Stands where a definition was until [`Supervisor::restore`] has put it back.
pub(super) fn nothing_to_run() -> Arc<UnitSpec> {
    let name = UnitName::new("nothing").expect("it is a word of letters");
    Arc::new(UnitSpec::new(name, Argv(Vec::new())))
}

impl Saved {
    /// The end had begun.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.common.ending.is_some()
    }
}

impl Unit {
    /// It is `spec`, and is to be `new`. Who builds on whom was as `new` says at once.
    fn define(&mut self, spec: &Arc<UnitSpec>, new: Option<&Arc<UnitSpec>>) {
        self.spec = new.map_or_else(|| Arc::clone(spec), |new| update::related(spec, new));
        let Self { spec, beside, coming, .. } = self;
        beside.iter_mut().for_each(|beside| beside.spec = Arc::clone(spec));
        // Without a successor it means nothing, and stays as it was saved.
        beside.brings &= new.is_some() || beside.successor.is_none();
        if let (true, Some(new), Some(successor)) = (beside.brings, new, &mut beside.successor) {
            successor.spec = Arc::clone(new);
        }
        *coming = coming.take().zip(new).map(|(coming, new)| Coming { spec: Arc::clone(new), ..coming });
    }
}

impl Supervisor {
    /// All of it. Between two steps there is nothing else.
    #[must_use]
    pub fn save(&self) -> Saved {
        Saved { units: self.units.clone(), common: self.save_common() }
    }

    /// What is of no single unit.
    #[must_use]
    pub fn save_common(&self) -> Common {
        let mut jobs = self.jobs.clone();
        if planted(Bug::HandOverForgetsJobs) {
            jobs = Jobs::default();
        }
        Common {
            runs: self.runs.clone(),
            jobs,
            chance: self.chance.clone(),
            fork_rate: self.fork_rate.clone(),
            booting: self.booting.clone(),
            leaving: if planted(Bug::HandOverForgetsGoing) { BTreeSet::new() } else { self.leaving.clone() },
            rolls: if planted(Bug::HandOverForgetsTurns) { Rolls::new() } else { self.rolls.clone() },
            ending: self.ending.clone(),
            now: self.now,
        }
    }

    /// The units that may have changed since this was asked last.
    #[must_use]
    pub fn take_unsaved(&mut self) -> Vec<UnitName> {
        let names = std::mem::take(&mut self.unsaved);
        for name in &names {
            if let Some(unit) = self.units.get_mut(name) {
                unit.is_unsaved = false;
            }
        }
        names
    }

    /// All units, for who has saved nothing yet.
    pub fn nothing_is_saved(&mut self) {
        self.unsaved = self.units.keys().cloned().collect();
        self.units.values_mut().for_each(|unit| unit.is_unsaved = true);
    }

    /// The number of the latest run.
    #[must_use]
    pub fn last_run(&self) -> RunId {
        RunId(self.runs.last)
    }

    /// The next run comes after this one: after a crash there may have been some that nobody remembers.
    pub fn number_runs_from(&mut self, last: RunId) {
        self.runs.last = self.runs.last.max(last.0);
    }

    /// One unit.
    #[must_use]
    pub fn save_unit(&self, name: &UnitName) -> Option<impl Serialize> {
        self.units.get(name)
    }

    /// The machine that was saved, with the definitions that it had: those in force, and for each unit of
    /// [`Supervisor::awaiting`] the one that was to come. One that is not there does not come.
    ///
    /// # Errors
    /// In words, when these are the definitions of other units.
    pub fn restore(
        mut saved: Saved,
        set: &UnitSet,
        to_come: &UnitSet,
        settings: Settings,
    ) -> Result<Self, String> {
        let mut units = Units::new();
        for (name, spec) in &set.units {
            let Some(unit) = saved.units.remove(name) else {
                return Err(format!("unit {name} is defined, and nothing is known of it"));
            };
            let held = unit.held && !planted(Bug::HandOverForgetsHeld);
            let mut unit = Unit { held, ..unit };
            if planted(Bug::HandOverForgetsCounts) {
                unit.restarts = 0;
            }
            let new = to_come.units.get(name).filter(|_| !planted(Bug::HandOverForgetsUpdates));
            unit.define(spec, new);
            units.insert(name.clone(), unit);
        }
        if let Some(name) = saved.units.keys().next() {
            return Err(format!("there is a unit {name}, and no definition of it"));
        }
        let Common { runs, jobs, chance, fork_rate, booting, leaving, rolls, ending, now } = saved.common;
        let mut machine = Self {
            units,
            runs,
            jobs,
            chance,
            fork_rate,
            booting,
            leaving,
            rolls,
            ending,
            ..Self::new(set, settings, now)
        };
        let due: Vec<_> = machine.units.values_mut().map(|u| (u.name().clone(), u.next_deadline())).collect();
        for (name, at) in due.into_iter().filter(|_| !planted(Bug::HandOverForgetsDeadlines)) {
            machine.book(&name, at);
        }
        Ok(machine)
    }
}
