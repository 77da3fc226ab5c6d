//! Makes processes, many at once where many are wanted: at boot every unit that waits for nothing starts together.

use std::sync::Arc;

use crate::lifecycle::action::Purpose;
use crate::lifecycle::event::{Event, SpawnFailure};
use crate::os::cgroup::Cgroup;
use crate::os::limits;
use crate::os::oom::OomWatch;
use crate::os::spawn::{Child, Launch};
use crate::os::terminal;
use crate::runtime::hands::{Group, Hands, Spawn};
use crate::runtime::runs::Process;
use crate::units::name::UnitName;
use crate::units::spec::{LogLevel, UnitSpec};

impl Hands {
    /// Launches what was gathered in this turn and tells what came of each, in the order of the wishes.
    pub(super) fn launch(&mut self) {
        let spawns = std::mem::take(&mut self.spawns);
        if spawns.is_empty() {
            return;
        }
        self.lend_terminal(&spawns);
        let spawners = Arc::clone(&self.spawners);
        let mut ready = Vec::with_capacity(spawns.len());
        // The write ends of their pipes go with the launches, so that a closed pipe is seen as closed.
        let results =
            spawners.launch_all(spawns.into_iter().filter_map(|spawn| match self.prepare(&spawn) {
                Ok(launch) => {
                    ready.push((spawn, uid(&launch, self.setting.uid), launch.cgroup.clone()));
                    Some(launch)
                }
                Err(failure) => {
                    self.on_failure(&spawn, failure);
                    None
                }
            }));
        for ((spawn, uid, cgroup), result) in ready.into_iter().zip(results) {
            match result {
                Ok(child) => {
                    self.trees.started(spawn.run, child.pid, cgroup.as_ref());
                    self.on_child(spawn, uid, child);
                }
                Err(failure) => self.on_failure(&spawn, failure),
            }
        }
    }

    fn on_child(&mut self, spawn: Spawn, uid: u32, child: Child) {
        let (run, pid) = (spawn.run, child.pid);
        for warning in &child.warnings {
            self.warn_once(&spawn.unit, warning);
        }
        self.tally.spawned += 1;
        self.pump.set_pid(run, pid);
        self.runs.begin(run, spawn.unit, spawn.purpose, uid, Process { pid, pidfd: child.pidfd });
        self.facts.push_back(Event::Spawned { run, pid });
    }

    fn on_failure(&mut self, spawn: &Spawn, failure: SpawnFailure) {
        self.forget(spawn.run);
        self.withdraw_credentials(&spawn.unit, spawn.run);
        self.facts.push_back(Event::SpawnFailed { run: spawn.run, failure });
    }

    /// The control group of the unit, with its limits; none where none can be made.
    pub(super) fn cgroup(&mut self, spec: &UnitSpec, purpose: Purpose) -> Option<Arc<Cgroup>> {
        if let Some(group) = self.groups.get_mut(&spec.name) {
            if purpose == Purpose::Main {
                // What was killed of the main process before is not the end of this one.
                let _ = group.oom.has_risen();
            }
            return Some(Arc::clone(&group.cgroup));
        }
        if let Some(text) = limits::unenforced(&spec.limits, self.cgroups.as_ref()) {
            self.warn_once(&spec.name, &text);
        }
        match self.cgroups.as_ref()?.of(&spec.name, &spec.limits) {
            Ok(cgroup) => {
                let group = Group { oom: OomWatch::of(&cgroup), cgroup };
                let cgroup = Arc::clone(&group.cgroup);
                self.groups.insert(spec.name.clone(), group);
                Some(cgroup)
            }
            Err(error) => {
                self.warn_once(&spec.name, &error.to_string());
                None
            }
        }
    }

    /// The unit is at rest: its group goes when nothing is left in it.
    pub(super) fn withdraw_group(&mut self, unit: &UnitName) {
        self.groups.remove(unit);
    }

    pub(super) fn warn_once(&mut self, unit: &UnitName, text: &str) {
        if self.warned.insert((unit.clone(), text.to_owned())) {
            self.pump.say(Some(unit), LogLevel::Warn, text);
        }
    }

    /// Notes who has the terminal before the foreground unit gets it.
    fn lend_terminal(&mut self, spawns: &[Spawn]) {
        let is_foreground = |spawn: &Spawn| {
            spawn.purpose == Purpose::Main && self.setting.foreground.as_ref() == Some(&spawn.unit)
        };
        if self.terminal.is_none() && spawns.iter().any(is_foreground) {
            self.terminal = terminal::lend();
        }
    }
}

fn uid(launch: &Launch, own: u32) -> u32 {
    launch.ids.as_ref().map_or(own, |ids| ids.uid)
}
