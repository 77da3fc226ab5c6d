//! Other definitions while everything runs: read as at the start, compared with what is in force, taken over by the
//! machine, and followed here when it says so, unit by unit.
//!
//! Files with any mistake change nothing at all. What is easy to get wrong: a unit takes its new definition over when it
//! can, not when it is read, so what is done for a process goes by the set that is kept here, and not by the files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::lifecycle::event::{JobId, Pid};
use crate::os::clock;
use crate::os::files;
use crate::os::own;
use crate::os::sockets::{Answerer, Part};
use crate::os::user;
use crate::runtime::boot::{self, ToCome};
use crate::runtime::driver::Driver;
use crate::runtime::handle::{JobNote, Renewal, SourceText, Sources};
use crate::runtime::hands::Hands;
use crate::runtime::kept::Which;
use crate::runtime::load;
use crate::runtime::obstacles::{self, Written};
use crate::runtime::prepare;
use crate::units::difference::{self, Difference, UnitChange};
use crate::units::instances;
use crate::units::name::{INSTANCES_MAX, UnitName};
use crate::units::problem::{Problem, Problems, Severity};
use crate::units::reading::{self, Reading};
use crate::units::socket::SocketSpec;
use crate::units::source::{Source, SourceKind};
use crate::units::spec::{LogLevel, UnitSet, UnitSpec};
use crate::units::table::Change;

/// What an update would do, or does.
#[derive(Debug)]
pub struct Planned {
    /// By unit.
    pub difference: Difference,
    /// What looks wrong but stops nothing.
    pub warnings: Vec<String>,
    /// The answers, if it is being done.
    pub job: Option<(JobId, mpsc::UnboundedReceiver<JobNote>)>,
}

/// Why nothing is changed.
#[derive(Debug)]
pub enum Unplanned {
    /// The files are not sound.
    Unsound(Problems),
    /// The files are sound, and sockets that they ask for cannot be had.
    Obstructed(Problems),
    /// It cannot be done like this; in words.
    Refused(String),
}

/// So many instances of a group as a person has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scaled {
    /// What the file said then. When it says something else, that holds.
    written: u32,
    asked: u32,
}

/// By group.
pub(super) type Scales = BTreeMap<UnitName, Scaled>;

struct Plan {
    set: UnitSet,
    scales: Scales,
    sources: Sources,
    difference: Difference,
    warnings: Vec<String>,
    /// What is wrong with sockets that it brings.
    obstacles: Vec<Problem>,
}

impl Driver {
    /// Says what the files would change, and changes it unless it is only to be said.
    pub(super) fn update(
        &mut self,
        renewal: &Renewal,
        is_dry: bool,
        who: &str,
    ) -> Result<Planned, Unplanned> {
        let (plan, what) = match renewal {
            Renewal::Files { units } => (self.plan(units)?, "update"),
            Renewal::Scale { instances } => (self.plan_scale(instances)?, "scale"),
        };
        let Plan { set, scales, mut sources, difference, mut warnings, obstacles } = plan;
        if obstacles.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(Unplanned::Obstructed(Problems(obstacles)));
        }
        warnings.extend(obstacles.iter().map(ToString::to_string));
        if is_dry {
            return Ok(Planned { difference, warnings, job: None });
        }
        self.hands.pump.say(None, LogLevel::Info, &format!("{what} by {who}: {}", words(&difference)));
        let (notes, answers) = mpsc::unbounded_channel();
        let job = self.surroundings.jobs.next();
        self.jobs.open(job, notes);
        let former = |name: &UnitName| Some((name.clone(), self.board.source(name)?));
        let mut before: Sources = difference.0.keys().filter_map(former).collect();
        // What an earlier update has begun goes on, unless this one says otherwise; and what was in force is that still.
        let awaiting = self.supervisor.awaiting();
        for name in &awaiting {
            let is_left = !difference.0.contains_key(name);
            if let Some(texts) = self.hands.coming.remove(name).filter(|_| is_left) {
                sources.insert(name.clone(), texts);
            }
            if let Some(texts) = self.hands.former.remove(name) {
                before.insert(name.clone(), texts);
            }
        }
        self.hands.former = before;
        self.hands.coming = sources;
        self.hands.scales = scales;
        self.hands.planned.clone_from(&set);
        let is_in_force = |name: &&UnitName| !difference.0.contains_key(*name) && !awaiting.contains(*name);
        for name in self.hands.coming.keys().filter(is_in_force) {
            self.board.set_source(name, self.hands.coming.get(name).cloned());
        }
        Arc::make_mut(&mut self.hands.setting.set).aliases.clone_from(&set.aliases);
        own::expect_descriptors(boot::descriptors(&set));
        self.hands.held.hand_on(&set);
        let now = clock::now();
        let actions = self.supervisor.adopt(job, &set, now);
        self.perform(actions, now);
        self.board.set_definitions(Arc::clone(&self.hands.setting.set));
        (self.has_moved, self.is_renewed) = (true, true);
        Ok(Planned { difference, warnings, job: Some((job, answers)) })
    }

    /// The files that made the units that are in force, and `svinit.toml`.
    pub(super) fn texts(&self) -> Vec<Source> {
        let mut units = Sources::clone(&self.board.all_sources());
        // One that a new one comes up beside is what it was until that has come.
        for name in self.supervisor.ahead().iter().map(|spec| &spec.name) {
            if let Some(texts) = self.hands.former.get(name) {
                units.insert(name.clone(), texts.clone());
            }
        }
        self.with_daemon(&units)
    }

    /// The files of an update that not every unit has taken over; none if there is no such update.
    pub(super) fn texts_to_come(&self) -> Vec<Source> {
        if self.supervisor.awaiting().is_empty() { Vec::new() } else { self.with_daemon(&self.hands.coming) }
    }

    fn with_daemon(&self, units: &Sources) -> Vec<Source> {
        let is_daemon = |source: &&Source| source.kind == SourceKind::Daemon;
        let daemon = self.surroundings.sources.iter().filter(is_daemon).cloned();
        let units = units.iter().flat_map(|(name, texts)| texts.iter().map(move |text| source(name, text)));
        daemon.chain(units).collect()
    }

    /// Goes on with the update of a svinit before.
    pub(super) fn go_on_with_update(&mut self, to_come: ToCome) {
        let ToCome { set, sources } = to_come;
        self.hands.former = Sources::clone(&self.board.all_sources());
        (self.hands.planned, self.hands.coming) = (set, sources);
        for spec in self.supervisor.ahead() {
            self.define(&spec);
        }
    }

    /// HUP: what comes of it is in the log.
    pub(super) fn update_by_signal(&mut self) {
        if let Err(why) = self.update(&Renewal::Files { units: Vec::new() }, false, "SIGHUP") {
            let text = match why {
                Unplanned::Unsound(problems) | Unplanned::Obstructed(problems) => problems.to_string(),
                Unplanned::Refused(why) => why,
            };
            for line in text.lines() {
                self.hands.pump.say(None, LogLevel::Error, line);
            }
            self.hands.pump.say(None, LogLevel::Error, "SIGHUP: nothing was changed");
        }
    }

    fn plan(&self, names: &[String]) -> Result<Plan, Unplanned> {
        let setting = &self.hands.setting;
        let own = &self.hands.scales;
        let scale = |group: &UnitName, written: u32| {
            own.get(group).filter(|scaled| scaled.written == written).map_or(written, |scaled| scaled.asked)
        };
        let env = |name: &str| std::env::var(name).ok();
        let loaded = load::load_scaled(&setting.paths, &env, &scale).map_err(Unplanned::Unsound)?;
        let mut scales = self.hands.scales.clone();
        let sources = loaded.by_unit();
        let mut warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        if loaded.daemon != setting.daemon {
            warnings.push(
                "svinit.toml differs: what it says of svinit itself is in force when svinit is next started"
                    .to_owned(),
            );
        }
        let mut set = loaded.set;
        let current = self.supervisor.definitions();
        if let Some(main) = setting.foreground.as_ref().and_then(|main| current.units.get(main)) {
            if let Some(other) = set.find(main.name.as_str()) {
                let place = other.origin.display();
                return Err(Unplanned::Refused(format!(
                    "{} runs the command that svinit was given, and {place} defines a unit of that name: rename it",
                    main.name
                )));
            }
            // It is of no file. What it waited for when it was started may be no more.
            let mut spec = UnitSpec::clone(main);
            spec.wants.retain(|name| set.units.contains_key(name));
            set.units.insert(spec.name.clone(), Arc::new(spec));
        }
        if !names.is_empty() {
            let wanted = resolve(names, &setting.set, &set)?;
            let is_meant = |group: &UnitName| wanted.iter().any(|name| name.parts().0 == group.as_str());
            scales.retain(|group, scaled| !is_meant(group) || stands(&loaded.instances, group, *scaled));
            set = difference::only(&current, &set, &wanted).map_err(Unplanned::Refused)?;
        }
        if names.is_empty() {
            scales.retain(|group, scaled| stands(&loaded.instances, group, *scaled));
        }
        if set.units.is_empty() {
            let why = "no unit would be left, and svinit would end: that is svctl shutdown";
            return Err(Unplanned::Refused(why.to_owned()));
        }
        let difference = Difference::between(&current, &set);
        let written = Written { places: &loaded.places, sources: &loaded.sources };
        let obstacles = self.obstacles(&set, &difference, written);
        Ok(Plan { set, scales, sources, difference, warnings, obstacles })
    }

    /// What keeps svinit from holding sockets that are new in `set`. What is in use by what `difference` ends or
    /// moves away will be free when its turn has come.
    fn obstacles(&self, set: &UnitSet, difference: &Difference, written: Written<'_>) -> Vec<Problem> {
        let current = self.supervisor.definitions();
        let is_opened = |spec: &UnitSpec| {
            let is_up = || self.supervisor.view(&spec.name).is_some_and(|view| view.wanted);
            spec.enabled || self.hands.held.has(spec) || is_up()
        };
        let is_known = |spec: &UnitSpec, socket: &SocketSpec| {
            let own = current.units.get(&spec.name).into_iter();
            let group = spec.group().map(|group| current.instances(group.as_str())).unwrap_or_default();
            let has =
                |old: &&Arc<UnitSpec>| old.sockets.contains(socket) && old.context.user == spec.context.user;
            own.chain(group).any(|old| has(&old))
        };
        let fresh = difference
            .0
            .keys()
            .filter_map(|name| set.units.get(name))
            .filter(|spec| is_opened(spec))
            .flat_map(|spec| spec.sockets.iter().map(move |socket| (&**spec, socket)))
            .filter(|(spec, socket)| !is_known(spec, socket));
        let ends = |pid: Pid| {
            let run = self.hands.trees.run_of(pid).and_then(|run| self.hands.runs.get(run));
            let change = run.and_then(|run| difference.0.get(&run.unit));
            change.is_some_and(|change| change.needs() == Change::Restart)
        };
        obstacles::find(fresh, written, |spec, socket, obstacle| {
            obstacle.part == Part::Address
                && (self.hands.held.is_had(spec, socket, set)
                    || match obstacle.holder {
                        Answerer::Nobody => false,
                        Answerer::Somebody(pid) => {
                            self.hands.held.makes_room(socket, set) || pid.is_some_and(ends)
                        }
                    })
        })
    }

    /// What is in force, with so many instances. Files are not read: what they say by now is for an update.
    fn plan_scale(&self, instances: &BTreeMap<String, u32>) -> Result<Plan, Unplanned> {
        let mut set = self.supervisor.definitions();
        let mut scales = self.hands.scales.clone();
        let mut sources = Sources::clone(&self.board.all_sources());
        let mut readings = Vec::new();
        for (word, &count) in instances {
            let group = self.group(word)?;
            if count == 0 {
                let why = format!("{group} cannot have no instance: svctl stop {group} stops all of them");
                return Err(Unplanned::Refused(why));
            }
            if count > INSTANCES_MAX {
                return Err(Unplanned::Refused(format!(
                    "{group} can have at most {INSTANCES_MAX} instances"
                )));
            }
            let there = set.instances(group.as_str());
            if let Some(changing) = there.iter().find(|spec| self.supervisor.is_changing(&spec.name)) {
                let why =
                    format!("{} has not taken its new definition over yet: try again then", changing.name);
                return Err(Unplanned::Refused(why));
            }
            let first = there.first().map(|spec| spec.name.clone()).unwrap_or_else(|| group.clone());
            for number in 1..=count {
                let texts = sources.get(&first).cloned().unwrap_or_default();
                sources.entry(group.instance(number)).or_insert(texts);
            }
            let (reading, texts) = self.read_instances(&group, count, &sources)?;
            let written = reading.instances.get(&group).copied().unwrap_or(count);
            let specs: Vec<_> = reading.set.instances(group.as_str()).into_iter().cloned().collect();
            readings.push((reading, texts));
            let has = |number| there.iter().find(|spec| spec.name.parts().1 == number).copied().cloned();
            let specs: Vec<_> = (1..).zip(specs).map(|(number, new)| has(number).unwrap_or(new)).collect();
            set = instances::scaled(&set, &group, &specs);
            scales.insert(group.clone(), Scaled { written, asked: count });
            scales.retain(|_, scaled| scaled.written != scaled.asked);
        }
        if set.units.len() > load::UNITS_MAX {
            return Err(Unplanned::Refused(format!("there would be more than {} units", load::UNITS_MAX)));
        }
        let difference = Difference::between(&self.supervisor.definitions(), &set);
        set.aliases.clone_from(&self.hands.setting.set.aliases);
        let of_one = |(reading, texts): &(Reading, Vec<Source>)| {
            self.obstacles(&set, &difference, Written { places: &reading.places, sources: texts })
        };
        // Each reading has the whole of the files, so that the last one has the places of all.
        let obstacles = readings.last().map(of_one).unwrap_or_default();
        Ok(Plan { set, scales, sources, difference, warnings: Vec::new(), obstacles })
    }

    /// The group that is meant.
    fn group(&self, word: &str) -> Result<UnitName, Unplanned> {
        let set = &self.hands.setting.set;
        match set.named(word).first().map(|spec| (spec.group(), &spec.name)) {
            Some((Some(group), name)) if name.as_str() != word => Ok(group.clone()),
            Some((Some(group), name)) => Err(Unplanned::Refused(format!(
                "{name} is one instance: say how many of {group} there are to be"
            ))),
            Some((None, name)) => Err(Unplanned::Refused(format!(
                "{name} is one unit and no group: write instances = 1 into its file, and svctl update"
            ))),
            None => Err(Unplanned::Refused(format!("no group is named {word:?}"))),
        }
    }

    /// The instances 1 to `count` of `group` as `sources` make them, and the texts of that.
    fn read_instances(
        &self,
        group: &UnitName,
        count: u32,
        sources: &Sources,
    ) -> Result<(Reading, Vec<Source>), Unplanned> {
        let of_daemon = self.texts().into_iter().filter(|source| source.kind == SourceKind::Daemon);
        let units = sources.iter().filter(|(name, _)| {
            let (of, number) = name.parts();
            of != group.as_str() || number <= count
        });
        let units = units.flat_map(|(name, texts)| texts.iter().map(move |text| source(name, text)));
        let all: Vec<Source> = of_daemon.chain(units).collect();
        let reading = reading::read(&all, &|name| std::env::var(name).ok()).map_err(Unplanned::Unsound)?;
        Ok((reading, all))
    }

    /// The unit is from here on as the machine says.
    pub(super) fn define(&mut self, spec: &Arc<UnitSpec>) {
        self.hands.define(spec);
        self.board.set_definitions(Arc::clone(&self.hands.setting.set));
        // A definition that is given up goes with its files: those before it are in force again.
        let is_planned = self.hands.planned.units.get(&spec.name).is_some_and(|planned| *planned == *spec);
        let texts = if is_planned { &self.hands.coming } else { &self.hands.former };
        self.board.set_source(&spec.name, texts.get(&spec.name).cloned());
        if let Some(view) = self.supervisor.view(&spec.name) {
            self.hands.heed_schedule(&view, self.supervisor.phase());
        }
        self.is_renewed = true;
    }

    /// The unit is no more.
    pub(super) fn forget(&mut self, unit: &UnitName) {
        self.hands.forget_unit(unit);
        self.board.forget(unit, Arc::clone(&self.hands.setting.set));
        self.is_renewed = true;
    }
}

fn source(unit: &UnitName, text: &SourceText) -> Source {
    Source::of(unit, text.path.clone(), text.text.clone())
}

/// The file says what it said when a person asked for another number.
fn stands(written: &BTreeMap<UnitName, u32>, group: &UnitName, scaled: Scaled) -> bool {
    written.get(group) == Some(&scaled.written)
}

/// The units that are meant, be they there or in the files only.
fn resolve(names: &[String], old: &UnitSet, new: &UnitSet) -> Result<BTreeSet<UnitName>, Unplanned> {
    let mut found = BTreeSet::new();
    for name in names {
        let (before, after) = (old.named(name), new.named(name));
        if before.is_empty() && after.is_empty() {
            let why = format!("no unit is named {name:?}, neither here nor in the files");
            return Err(Unplanned::Refused(why));
        }
        found.extend(before.into_iter().chain(after).map(|spec| spec.name.clone()));
    }
    Ok(found)
}

/// "web restarts; api is added".
fn words(difference: &Difference) -> String {
    let one = |(name, change): (&UnitName, &UnitChange)| match change {
        UnitChange::Added { .. } => format!("{name} is added"),
        UnitChange::Removed => format!("{name} is removed"),
        UnitChange::Changed(_) if change.needs() == Change::Restart => format!("{name} restarts"),
        UnitChange::Changed(_) => format!("{name} changes"),
    };
    let all: Vec<String> = difference.0.iter().map(one).collect();
    if all.is_empty() { "nothing differs".to_owned() } else { all.join("; ") }
}

impl Hands {
    /// What belongs to the unit follows its new definition.
    fn define(&mut self, spec: &Arc<UnitSpec>) {
        let name = &spec.name;
        let is_new = !self.setting.set.units.contains_key(name);
        Arc::make_mut(&mut self.setting.set).units.insert(name.clone(), Arc::clone(spec));
        self.pump.adopt(spec);
        self.warned.retain(|(unit, _)| unit != name);
        if !self.runs.is_alive(name) {
            // Both are made for the user and the limits of a definition, and are made again when they are needed.
            self.withdraw_group(name);
            self.signs.drop_socket(name);
        }
        if prepare::needs_dir(spec) && !self.setting.dir.exists() {
            // Whether it can be used is seen when something is put there.
            let above = self.setting.dir.parent().map_or(Ok(()), |above| files::make_dir(above, 0o711));
            let _ = above.and_then(|()| files::make_dir(&self.setting.dir, 0o711));
        }
        if self.held.has(spec) || (is_new && spec.enabled && !spec.sockets.is_empty()) {
            let is_used: BTreeSet<UnitName> =
                spec.group().filter(|group| self.is_in_use(group)).cloned().into_iter().collect();
            let (held, set) = (&mut self.held, &self.setting.set);
            let fitted = user::resolve(&spec.context)
                .and_then(|ids| held.fit(spec, set, |holder| is_used.contains(holder), ids.as_ref()));
            if let Err(error) = fitted {
                // Told, and tried again, when the unit is started.
                self.pump.say(Some(name), LogLevel::Debug, &error.to_string());
            }
        }
    }

    /// Nothing of the unit is left: neither is anything of ours for it.
    fn forget_unit(&mut self, unit: &UnitName) {
        let set = Arc::make_mut(&mut self.setting.set);
        set.units.remove(unit);
        set.aliases.retain(|_, own| own != unit);
        self.coming.remove(unit);
        self.former.remove(unit);
        self.held.release(unit);
        if let (Ok(group), true) = (UnitName::plain(unit.parts().0), unit.parts().1 > 0) {
            self.held.release_unwanted(&group, [&self.setting.set, &self.planned]);
        }
        self.arming.calendar.disarm(unit);
        self.signs.let_go(unit, &Which::All);
        self.signs.drop_socket(unit);
        self.withdraw_group(unit);
        self.credentials.remove(unit);
        self.warned.retain(|(warned, _)| warned != unit);
        self.pump.forget(unit);
    }
}
