//! What a schedule is about: a unit set, the manner of each unit's processes, and what people do and when.
//!
//! Everything is drawn from the seed before the first step. Times are small, so that much happens in few events:
//! the machine cannot tell two seconds from two hours.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::lifecycle::event::{Command, Otherwise, Reach, Whom};
use crate::lifecycle::sim::clocked::{self, Due};
use crate::lifecycle::sim::dice::Dice;
use crate::lifecycle::sim::{rolling, roster};
use crate::lifecycle::supervisor::Settings;
use crate::units::name::UnitName;
use crate::units::spec::{
    Argv, Check, Context, Health, Hooks, HostPort, KillMode, Kind, Limits, Log, Mode, OnFailure, OnLimit,
    Policy, Ready, ReadySign, Reload, ReloadHow, Restart, SignalName, Stop, UnitSet, UnitSpec, WaitFor,
};

/// One schedule, before it is run.
pub(super) struct Plan {
    /// The units.
    pub(super) set: UnitSet,
    /// The daemon's settings.
    pub(super) settings: Settings,
    /// How each unit's processes behave.
    pub(super) manners: BTreeMap<UnitName, Manner>,
    /// What people ask for, and when.
    pub(super) asked: Vec<(Duration, Command)>,
    /// Units of the set that are not there at boot.
    pub(super) absent: BTreeSet<UnitName>,
    /// Which units are defined otherwise, and when.
    pub(super) updates: Vec<(Duration, Vec<(UnitName, Edit)>)>,
    /// Which moments of units with a schedule come, and when.
    pub(super) due: Vec<(Duration, Due)>,
    /// How often, in a thousand, a person reacts at once to a change that is reported.
    pub(super) whims: u64,
    /// When svinit is asked to shut down, if that is before `quiet`.
    pub(super) shutdown: Option<Duration>,
    /// How long after the first a second request follows.
    pub(super) second: Option<Duration>,
    /// When the machine is suspended, and for how long.
    pub(super) suspensions: Vec<(Duration, Duration)>,
    /// How often, in a thousand, an event of an old run arrives late.
    pub(super) stale: u64,
    /// When faults cease and people have asked all that they will ask.
    pub(super) quiet: Duration,
    /// When the outside things that `wait_for` names begin to answer.
    pub(super) outside_from: Duration,
    /// Longest time from a fact to its delivery, in milliseconds.
    pub(super) latency_max: u64,
    /// How many process numbers there are.
    pub(super) pids: i32,
}

/// What an update does to the definition of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// It gets another one, of which only its next process has anything.
    NextProcess,
    /// It gets another one, which no process notices.
    AtOnce,
    /// It is defined no longer.
    Goes,
    /// It is defined, or defined again.
    Comes,
}

/// How a unit's processes behave until faults cease. Percentages of its runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Manner {
    /// End unasked after a while.
    pub(super) crash: u64,
    /// End in the first milliseconds, also after faults have ceased.
    pub(super) broken: bool,
    /// Never become ready.
    pub(super) never_ready: u64,
    /// Take no notice of the stop signal.
    pub(super) deaf: u64,
    /// Need long for ending.
    pub(super) slow: u64,
    /// Leave children behind.
    pub(super) litter: u64,
    /// Answer checks at random.
    pub(super) lies: u64,
    /// Become ill while running.
    pub(super) ill: u64,
    /// Are stopped (`T`) at some time.
    pub(super) frozen: u64,
    /// Cannot even be killed for a while (`D`).
    pub(super) stuck: u64,
    /// Cannot be made.
    pub(super) unmakeable: u64,
    /// Their hooks, tests and commands fail or hang.
    pub(super) helpers_fail: u64,
    /// Use more memory than allowed.
    pub(super) leaks: u64,
}

impl Plan {
    /// The plan of this seed.
    pub(super) fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let set = draw_set(&mut dice);
        let quiet = dice.millis(1_000, 25_000);
        let within = |dice: &mut Dice| {
            Duration::from_micros(dice.below(u64::try_from(quiet.as_micros()).expect("a short time")))
        };
        let asked = (0..dice.below(7)).map(|_| (within(&mut dice), draw_command(&mut dice, &set))).collect();
        let updates = if dice.percent(30) { draw_updates(&mut dice, &set, quiet) } else { Vec::new() };
        let shutdown = match dice.below(10) {
            0 => Some(dice.millis(0, 300)),
            1..5 => Some(within(&mut dice)),
            _ => None,
        };
        let suspensions = match dice.below(8) {
            0 => vec![(within(&mut dice), dice.millis(2_500, 200_000))],
            1 => (0..2).map(|_| (within(&mut dice), dice.millis(100, 30_000))).collect(),
            _ => Vec::new(),
        };
        let calm = dice.percent(15);
        let mut plan = Self {
            settings: Settings {
                seed: dice.roll(),
                shutdown_timeout: dice.round_millis(500, 9_500),
                limits_enforced: false,
                fork_rate: if dice.percent(30) {
                    u32::try_from(dice.number(1, 4)).expect("small")
                } else {
                    50
                },
            },
            manners: set.units.keys().map(|name| (name.clone(), draw_manner(&mut dice, calm))).collect(),
            asked,
            absent: BTreeSet::new(),
            updates,
            due: Vec::new(),
            whims: if dice.percent(40) { dice.below(60) } else { 0 },
            shutdown,
            second: dice.percent(30).then(|| dice.millis(0, 3_000)),
            suspensions,
            stale: if dice.percent(50) { 30 } else { 0 },
            quiet,
            outside_from: within(&mut dice),
            latency_max: if dice.percent(80) { 2 } else { 60 },
            pids: if dice.percent(10) { 6 } else { 48 },
            set,
        };
        // Dice of their own, so that the rest of the plan is the same without.
        rolling::multiply(&mut plan, &mut Dice::new(seed ^ 0x0060_0c0b));
        clocked::set_clocks(&mut plan, &mut Dice::new(seed ^ 0x00c1_0c4b));
        roster::draw(&mut plan, &mut Dice::new(seed ^ 0x0000_9057));
        plan
    }

    /// The definition of this unit.
    pub(super) fn spec(&self, unit: &UnitName) -> &Arc<UnitSpec> {
        &self.set.units[unit]
    }

    /// The units that are there at boot.
    pub(super) fn at_boot(&self) -> UnitSet {
        let is_there = |(name, _): &(&UnitName, &Arc<UnitSpec>)| !self.absent.contains(*name);
        let units = self.set.units.iter().filter(is_there);
        UnitSet {
            units: units.map(|(name, spec)| (name.clone(), Arc::clone(spec))).collect(),
            ..UnitSet::default()
        }
    }

    /// Some update is about this unit.
    pub(super) fn is_updated(&self, unit: &UnitName) -> bool {
        self.updates.iter().any(|(_, edits)| edits.iter().any(|(name, _)| name == unit))
    }

    /// These units and all that is started first for them. What is merely wanted and was stopped stays down.
    pub(super) fn pulled_by(
        &self,
        units: &BTreeSet<UnitName>,
        held: impl Fn(&UnitName) -> bool,
    ) -> BTreeSet<UnitName> {
        let on = |spec: &UnitSpec| {
            let wants = spec.wants.iter().filter(|want| !held(want));
            spec.requires.iter().chain(wants).cloned().collect()
        };
        units.iter().flat_map(|unit| reach(&self.set, unit, on)).collect()
    }

    /// All units that anything done to `unit` may touch, in whatever way.
    pub(super) fn around(&self, unit: &UnitName) -> BTreeSet<UnitName> {
        let linked = |a: &UnitSpec, b: &UnitName| {
            [&a.requires, &a.wants, &a.part_of, &a.conflicts].iter().any(|list| list.contains(b))
        };
        let on = |name: &UnitName| {
            let spec = self.spec(name);
            let near = |s: &&Arc<UnitSpec>| linked(s, name) || linked(spec, &s.name);
            self.set.units.values().filter(near).map(|s| s.name.clone()).collect()
        };
        closure(unit, on)
    }
}

fn reach(set: &UnitSet, from: &UnitName, on: impl Fn(&UnitSpec) -> Vec<UnitName>) -> BTreeSet<UnitName> {
    closure(from, |name| on(&set.units[name]))
}

pub(super) fn closure(from: &UnitName, on: impl Fn(&UnitName) -> Vec<UnitName>) -> BTreeSet<UnitName> {
    let mut found = BTreeSet::new();
    let mut todo = vec![from.clone()];
    while let Some(name) = todo.pop() {
        if !found.contains(&name) {
            todo.extend(on(&name));
            found.insert(name);
        }
    }
    found
}

fn draw_set(dice: &mut Dice) -> UnitSet {
    let count = usize::try_from(dice.pick(&[1, 1, 2, 2, 3, 3, 4, 5, 6, 8])).expect("small");
    let mut names: Vec<UnitName> = ["a", "b", "c", "d", "e", "f", "g", "h"]
        .iter()
        .map(|n| UnitName::new(n).expect("a letter"))
        .collect();
    // The names are shuffled, so that their order is not the order of the dependencies.
    for at in (1..names.len()).rev() {
        names.swap(at, usize::try_from(dice.below(at as u64 + 1)).expect("small"));
    }
    names.truncate(count);
    let mut specs: Vec<UnitSpec> = Vec::new();
    for at in 0..count {
        specs.push(draw_unit(dice, &names[at], &names[..at]));
    }
    let mut set = UnitSet {
        units: specs.into_iter().map(|s| (s.name.clone(), Arc::new(s))).collect(),
        aliases: BTreeMap::new(),
    };
    if count > 1 && dice.percent(15) {
        draw_conflict(dice, &mut set, &names);
    }
    set
}

/// Two units that nobody needs at the same time become enemies; at most one of them is enabled.
fn draw_conflict(dice: &mut Dice, set: &mut UnitSet, names: &[UnitName]) {
    let (one, other) = (dice.pick(names), dice.pick(names));
    let below = |set: &UnitSet, name: &UnitName| {
        reach(set, name, |s| [&s.requires[..], &s.wants[..], &s.part_of[..]].concat())
    };
    if one == other
        || set.units.keys().any(|n| below(set, n).is_superset(&[one.clone(), other.clone()].into()))
    {
        return;
    }
    for (from, to) in [(&one, &other), (&other, &one)] {
        let mut spec = UnitSpec::clone(&set.units[from]);
        spec.conflicts.push(to.clone());
        set.units.insert(from.clone(), Arc::new(spec));
    }
    let enabled: Vec<UnitName> =
        set.units.keys().filter(|n| below(set, n).contains(&other)).cloned().collect();
    for name in enabled {
        let mut spec = UnitSpec::clone(&set.units[&name]);
        spec.enabled = false;
        set.units.insert(name, Arc::new(spec));
    }
}

fn draw_unit(dice: &mut Dice, name: &UnitName, before: &[UnitName]) -> UnitSpec {
    let kind = match dice.below(10) {
        0..5 => Kind::Simple,
        5..7 => Kind::Notify,
        7..9 => Kind::Oneshot,
        _ => Kind::Forking { pid_file: PathBuf::from("/run/pid") },
    };
    let some = |dice: &mut Dice, percent: u64| -> Vec<UnitName> {
        before.iter().filter(|_| dice.percent(percent)).cloned().collect()
    };
    let requires = some(dice, 25);
    let wants: Vec<UnitName> = some(dice, 15).into_iter().filter(|n| !requires.contains(n)).collect();
    let after = some(dice, 15);
    let part_of = some(dice, 8);
    let ready = (kind == Kind::Simple || dice.percent(10)).then(|| draw_ready(dice, name)).flatten();
    let ready = if kind == Kind::Oneshot { None } else { ready };
    let restart = draw_restart(dice, &kind);
    let ready_timeout = if dice.percent(4) { Duration::ZERO } else { dice.round_millis(1_100, 4_000) };
    UnitSpec {
        instance: None,
        name: name.clone(),
        description: String::new(),
        command: argv(name, "main"),
        enabled: dice.percent(85),
        essential: dice.percent(8),
        aliases: Vec::new(),
        context: Context::default(),
        requires,
        wants,
        after,
        part_of,
        conflicts: Vec::new(),
        sockets: Vec::new(),
        wait_for: dice.percent(10).then(|| WaitFor {
            checks: (0..dice.number(1, 2)).map(|at| check(dice, name, &format!("outside{at}"))).collect(),
            timeout: dice.round_millis(300, 20_000),
            interval: dice.round_millis(50, 1_000),
        }),
        ready,
        ready_timeout,
        health: (kind != Kind::Oneshot && dice.percent(40)).then(|| draw_health(dice, name)),
        watchdog: (kind == Kind::Notify && dice.percent(50)).then(|| dice.round_millis(500, 3_000)),
        restart: restart.clone(),
        stop: Stop {
            signal: SignalName(dice.pick(&["TERM", "TERM", "QUIT", "INT"]).to_owned()),
            timeout: dice.round_millis(100, 3_000),
            command: dice.percent(15).then(|| argv(name, "stop")),
            kill: dice.pick(&[KillMode::Mixed, KillMode::Mixed, KillMode::Group, KillMode::Process]),
        },
        reload: Reload {
            how: match dice.below(3) {
                0 => Some(ReloadHow::Signal(SignalName("HUP".to_owned()))),
                1 => Some(ReloadHow::Command(argv(name, "reload"))),
                _ => None,
            },
            test: dice.percent(30).then(|| argv(name, "test")),
            timeout: dice.round_millis(100, 2_000),
        },
        hooks: draw_hooks(dice, name),
        log: Log::default(),
        limits: Limits {
            // A replacement that nobody has asked for is for the stories.
            memory_high: (dice.percent(8) && restart.mode == Mode::StopFirst).then_some(1 << 20),
            memory_for: dice.round_millis(0, 3_000),
            ..Limits::default()
        },
        schedule: None,
        kind,
        origin: PathBuf::from("/etc/svinit/units"),
    }
}

fn argv(name: &UnitName, what: &str) -> Argv {
    Argv(vec![what.to_owned(), name.to_string()])
}

/// A check that the world can tell from others: `what` is the host or the program.
fn check(dice: &mut Dice, name: &UnitName, what: &str) -> Check {
    if dice.percent(25) {
        Check::Exec(argv(name, what))
    } else {
        Check::Tcp(HostPort { host: format!("{what}.{name}"), port: 1 })
    }
}

/// What a check is about: the first word of [`check`].
pub(super) fn topic(check: &Check) -> &str {
    match check {
        Check::Exec(argv) => &argv.0[0],
        Check::Tcp(at) => at.host.split('.').next().unwrap_or(""),
        Check::Http(_) | Check::Unix(_) | Check::File(_) => "",
    }
}

fn draw_ready(dice: &mut Dice, name: &UnitName) -> Option<Ready> {
    let sign = match dice.below(10) {
        0..4 => ReadySign::Check(check(dice, name, "ready")),
        4 => ReadySign::Log("up".to_owned()),
        5 => ReadySign::Notify,
        6 => ReadySign::Fd(3),
        7 => ReadySign::Delay(dice.round_millis(10, 1_000)),
        _ => return None,
    };
    Some(Ready { sign, interval: dice.round_millis(50, 500) })
}

fn draw_health(dice: &mut Dice, name: &UnitName) -> Health {
    Health {
        check: check(dice, name, "health"),
        interval: dice.round_millis(200, 3_000),
        timeout: dice.round_millis(50, 1_000),
        retries: u32::try_from(dice.number(1, 3)).expect("small"),
        start_period: if dice.percent(50) { Duration::ZERO } else { dice.round_millis(200, 3_000) },
        on_failure: match dice.below(12) {
            0..6 => OnFailure::Restart,
            6..8 => OnFailure::Reload,
            8 => OnFailure::Signal(SignalName("USR1".to_owned())),
            9 => OnFailure::Exec(argv(name, "remedy")),
            10 => OnFailure::Shutdown,
            _ => OnFailure::None,
        },
    }
}

fn draw_restart(dice: &mut Dice, kind: &Kind) -> Restart {
    Restart {
        policy: if *kind == Kind::Oneshot {
            dice.pick(&[Policy::OnFailure, Policy::OnFailure, Policy::Never])
        } else {
            dice.pick(&[Policy::Always, Policy::Always, Policy::Always, Policy::OnFailure, Policy::Never])
        },
        success_codes: dice.pick(&[vec![0], vec![0], vec![0, 3]]),
        permanent_codes: dice.pick(&[vec![], vec![], vec![78]]),
        delay: dice.pick(&[
            Duration::ZERO,
            Duration::ZERO,
            Duration::from_millis(50),
            Duration::from_secs(1),
        ]),
        factor: dice.pick(&[2.0, 2.0, 1.0, 3.5]),
        max_delay: dice.round_millis(1_000, 4_000),
        jitter: dice.pick(&[0.1, 0.0, 0.5]),
        limit: u32::try_from(dice.pick(&[0u64, 1, 2, 3, 5, 8])).expect("small"),
        window: dice.round_millis(2_000, 20_000),
        on_limit: dice.pick(&[
            OnLimit::RetryLater,
            OnLimit::RetryLater,
            OnLimit::Fail,
            OnLimit::Fail,
            OnLimit::Shutdown,
        ]),
        mode: if *kind != Kind::Oneshot && !matches!(kind, Kind::Forking { .. }) && dice.percent(30) {
            Mode::StartFirst
        } else {
            Mode::StopFirst
        },
    }
}

fn draw_hooks(dice: &mut Dice, name: &UnitName) -> Hooks {
    let mut list = |what: &str| -> Vec<Argv> {
        if dice.percent(12) { (0..dice.number(1, 2)).map(|_| argv(name, what)).collect() } else { Vec::new() }
    };
    Hooks {
        pre_start: list("pre_start"),
        post_start: list("post_start"),
        pre_stop: list("pre_stop"),
        post_stop: list("post_stop"),
        timeout: dice.round_millis(100, 1_500),
    }
}

fn draw_manner(dice: &mut Dice, calm: bool) -> Manner {
    if calm || dice.percent(35) {
        return Manner::default();
    }
    let mut some = |percent: u64, most: u64| if dice.percent(percent) { dice.number(5, most) } else { 0 };
    Manner {
        crash: some(50, 100),
        never_ready: some(20, 60),
        deaf: some(25, 100),
        slow: some(25, 100),
        litter: some(30, 100),
        lies: some(20, 60),
        ill: some(25, 80),
        frozen: some(10, 50),
        stuck: some(4, 30),
        unmakeable: some(15, 50),
        helpers_fail: some(30, 70),
        leaks: some(30, 80),
        broken: dice.percent(8),
    }
}

/// Something that a person may ask for, of any unit, in whatever state it is.
pub(super) fn draw_command(dice: &mut Dice, set: &UnitSet) -> Command {
    let all: Vec<UnitName> = set.units.keys().cloned().collect();
    let units = match dice.below(10) {
        0 => all,
        1 => {
            let mut two = vec![dice.pick(&all), dice.pick(&all)];
            two.dedup();
            two
        }
        _ => vec![dice.pick(&all)],
    };
    match dice.below(20) {
        0..4 => Command::Start(units),
        4..8 => Command::Stop(units),
        8..10 => Command::Restart { units, reach: Reach::Alone },
        10 => Command::Restart { units, reach: Reach::WithDependants },
        11..14 => Command::Reload { units, otherwise: dice.pick(&[Otherwise::Refuse, Otherwise::Restart]) },
        14..16 => Command::Signal {
            units,
            signal: SignalName(dice.pick(&["USR1", "KILL", "TERM", "STOP"]).to_owned()),
            whom: dice.pick(&[Whom::Main, Whom::Tree]),
        },
        16 => Command::Reset(units),
        17..19 => Command::Pause(units),
        _ => Command::Resume(units),
    }
}

fn draw_updates(dice: &mut Dice, set: &UnitSet, quiet: Duration) -> Vec<(Duration, Vec<(UnitName, Edit)>)> {
    let mut changes = |at: Duration| {
        let restarting = dice.percent(60);
        let some = set.units.keys().filter_map(|name| {
            let edit = if restarting && dice.percent(60) { Edit::NextProcess } else { Edit::AtOnce };
            dice.percent(40).then(|| (name.clone(), edit))
        });
        (at, some.collect())
    };
    let count = 4;
    (1..count).map(|nth| changes(quiet * nth / count)).collect()
}

/// The units that a command names.
pub(super) fn named(command: &Command) -> &[UnitName] {
    match command {
        Command::Start(units)
        | Command::Stop(units)
        | Command::Restart { units, .. }
        | Command::Reload { units, .. }
        | Command::Signal { units, .. }
        | Command::Reset(units)
        | Command::Pause(units)
        | Command::Resume(units) => units,
    }
}
