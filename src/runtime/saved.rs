//! The hands as they are left to the next svinit: processes, trees, pipes, sockets, checks under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::lifecycle::action::Purpose;
use crate::lifecycle::event::{Event, Pid, RunId};
use crate::os::credentials::Credentials;
use crate::os::handover::{Kept, Left, Luggage};
use crate::os::terminal::Lent;
use crate::runtime::closing::Wanted;
use crate::runtime::hands::{Hands, Tally};
use crate::runtime::held::{Held, SavedHeld};
use crate::runtime::runs::{Runs, SavedRun};
use crate::runtime::schedule::SavedEntry;
use crate::runtime::signs::SavedSigns;
use crate::runtime::update::Scales;
use crate::units::name::UnitName;
use crate::units::spec::Check;

/// All of it but the log.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SavedHands {
    /// Not told to the machine yet.
    facts: VecDeque<Event>,
    runs: Vec<SavedRun>,
    /// The first process of each run, and whether it is in its unit's control group.
    firsts: Vec<(RunId, Pid, bool)>,
    /// Units with a control group.
    groups: BTreeSet<UnitName>,
    closing: Vec<(RunId, Wanted)>,
    lingering: BTreeSet<RunId>,
    pipes_closed: BTreeSet<RunId>,
    signs: SavedSigns,
    held: SavedHeld,
    probes: Vec<(RunId, Check)>,
    terminal: Option<Lent>,
    credentials: BTreeMap<UnitName, Vec<(RunId, PathBuf)>>,
    heeded: u64,
    barriers: Vec<(u64, Kept)>,
    warned: BTreeSet<(UnitName, String)>,
    /// Numbers of instances that a person has asked for.
    #[serde(default)]
    scales: Scales,
    tally: Tally,
    /// Units that are run by the clock, and up to when they were.
    #[serde(default)]
    calendar: BTreeMap<UnitName, SavedEntry>,
}

impl Hands {
    /// What the next svinit must know. Between two turns nothing waits to be launched.
    #[must_use]
    pub(super) fn save(&self, luggage: &mut Luggage) -> SavedHands {
        let dirs = |(unit, placed): (&UnitName, &Vec<(RunId, Credentials)>)| {
            (unit.clone(), placed.iter().map(|(run, placed)| (*run, placed.dir().to_owned())).collect())
        };
        SavedHands {
            facts: self.facts.clone(),
            runs: self.runs.save(),
            firsts: self.trees.save(),
            groups: self.groups.keys().cloned().collect(),
            closing: self.closing.save(),
            lingering: self.lingering.clone(),
            pipes_closed: self.pipes_closed.clone(),
            signs: self.signs.save(luggage),
            held: self.held.save(luggage),
            probes: self.probes.save(),
            terminal: self.terminal,
            credentials: self.credentials.iter().map(dirs).collect(),
            heeded: self.heeded,
            barriers: self.barriers.iter().map(|(told, fd)| (*told, luggage.fd(fd))).collect(),
            warned: self.warned.clone(),
            scales: self.scales.clone(),
            tally: self.tally,
            calendar: self.arming.calendar.save(),
        }
    }

    /// Goes on with what was left.
    pub(super) fn restore(&mut self, saved: SavedHands, left: &mut Left) {
        self.facts = saved.facts;
        self.runs = Runs::restore(saved.runs);
        self.scales = saved.scales;
        (self.warned, self.tally, self.terminal) = (saved.warned, saved.tally, saved.terminal);
        for unit in &saved.groups {
            // Made again where it is: a group is known by its name.
            if let Some(spec) = self.setting.set.units.get(unit).cloned() {
                let _ = self.cgroup(&spec, Purpose::PostStop);
            }
        }
        for (run, first, is_grouped) in saved.firsts {
            let unit = self.runs.get(run).map(|run| run.unit.clone());
            let group = unit.filter(|_| is_grouped).and_then(|unit| self.groups.get(&unit));
            self.trees.restore(run, first, group.map(|group| &group.cgroup));
        }
        for (run, pid) in self.runs.processes() {
            self.trees.knows(run, pid);
        }
        for (run, wanted) in saved.closing {
            self.close_tree(run, wanted);
        }
        (self.lingering, self.pipes_closed) = (saved.lingering, saved.pipes_closed);
        self.signs.restore(saved.signs, left);
        let mains: Vec<_> = self.runs.mains().map(|(run, _, pid)| (run, pid)).collect();
        for (run, pid) in mains {
            self.watch_end(run, pid);
        }
        self.held = Held::restore(saved.held, &self.setting.set, left);
        for (run, check) in saved.probes {
            self.probes.start(run, check);
        }
        let placed = |(run, dir)| (run, Credentials::placed_before(dir));
        let all =
            |(unit, dirs): (UnitName, Vec<(RunId, PathBuf)>)| (unit, dirs.into_iter().map(placed).collect());
        self.credentials = saved.credentials.into_iter().map(all).collect();
        for (unit, saved) in saved.calendar {
            self.rearm(&unit, saved);
        }
        self.heeded = saved.heeded;
        let waits = |(told, fd)| Some((told, left.fd(fd)?));
        self.barriers = saved.barriers.into_iter().filter_map(waits).collect();
        // Whoever ended meanwhile, or whose end was not looked at before.
        self.unreaped = true;
    }
}
