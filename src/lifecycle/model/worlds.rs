//! The small worlds: two units and what is between them, each with one more thing that a unit can have.
//!
//! `one` is what the other, `two`, builds on. Times are round and few, so that states meet again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::lifecycle::event::ExitStatus;
use crate::lifecycle::supervisor::Settings;
use crate::units::name::UnitName;
use crate::units::spec::{
    Argv, Check, Health, HostPort, KillMode, Kind, OnFailure, OnLimit, Policy, Ready, ReadySign, ReloadHow,
    Restart, SignalName, UnitSet, UnitSpec, WaitFor,
};

/// Two units and how they are linked.
pub(super) struct World {
    pub(super) title: &'static str,
    pub(super) set: UnitSet,
    pub(super) settings: Settings,
    pub(super) names: [UnitName; 2],
    /// The machine is suspended now and then.
    pub(super) suspends: bool,
    /// One of the plainest: gone through more deeply than the others in every test run.
    pub(super) is_plain: bool,
}

const PLAIN: [&str; 5] = [
    "two requires one",
    "two wants one",
    "two comes after one",
    "two is part of one",
    "one and two conflict",
];

/// How `two` builds on `one`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Requires,
    Wants,
    After,
    PartOf,
    Conflicts,
}

impl World {
    fn new(
        title: &'static str,
        link: Link,
        names: [&str; 2],
        change: impl FnOnce(&mut UnitSpec, &mut UnitSpec),
    ) -> Self {
        let names = names.map(|name| UnitName::new(name).expect("a word"));
        let (mut one, mut two) = (plain(&names[0]), plain(&names[1]));
        let below = vec![names[0].clone()];
        match link {
            Link::Requires => two.requires = below,
            Link::Wants => two.wants = below,
            Link::After => two.after = below,
            Link::PartOf => (two.requires, two.part_of) = (below.clone(), below),
            Link::Conflicts => (two.conflicts, one.conflicts) = (below, vec![names[1].clone()]),
        }
        change(&mut one, &mut two);
        let units: BTreeMap<_, _> =
            [one, two].into_iter().map(|spec| (spec.name.clone(), Arc::new(spec))).collect();
        let settings = Settings {
            seed: 1,
            shutdown_timeout: Duration::from_millis(9500),
            fork_rate: 0,
            limits_enforced: false,
        };
        let set = UnitSet { units, aliases: BTreeMap::new() };
        Self { title, set, settings, names, suspends: false, is_plain: false }
    }

    pub(super) fn spec(&self, unit: usize) -> &Arc<UnitSpec> {
        &self.set.units[&self.names[unit]]
    }

    pub(super) fn index(&self, name: &UnitName) -> usize {
        usize::from(self.names[1] == *name)
    }

    /// The longest memory that a unit has of its restarts.
    pub(super) fn window(&self) -> Duration {
        self.spec(0).restart.window
    }

    /// Its policy starts it again after such an end.
    pub(super) fn wants_back(&self, unit: usize, status: ExitStatus) -> bool {
        let spec = self.spec(unit);
        let well = match status {
            ExitStatus::Code(code) => spec.restart.success_codes.contains(&code),
            ExitStatus::Signal { number, .. } => spec.kind != Kind::Oneshot && number == 15,
        };
        let permanent =
            matches!(status, ExitStatus::Code(code) if spec.restart.permanent_codes.contains(&code));
        match spec.restart.policy {
            Policy::Never => false,
            _ if well && spec.kind == Kind::Oneshot => false,
            Policy::OnFailure if well => false,
            Policy::OnFailure | Policy::Always => !permanent,
        }
    }
}

fn plain(name: &UnitName) -> UnitSpec {
    let plain = UnitSpec::new(name.clone(), argv("run"));
    let restart = Restart {
        jitter: 0.0,
        limit: 1,
        max_delay: Duration::from_secs(10),
        window: Duration::from_secs(30),
        ..plain.restart.clone()
    };
    UnitSpec { restart, ..plain }
}

fn argv(text: &str) -> Argv {
    Argv(vec![text.to_owned()])
}

fn tcp() -> Check {
    Check::Tcp(HostPort { host: "127.0.0.1".to_owned(), port: 80 })
}

fn health(on_failure: OnFailure) -> Option<Health> {
    Some(Health {
        check: tcp(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(3),
        retries: 1,
        start_period: Duration::ZERO,
        on_failure,
    })
}

fn ready(sign: ReadySign) -> Option<Ready> {
    Some(Ready { sign, interval: Duration::from_millis(100) })
}

fn wait_for() -> Option<WaitFor> {
    Some(WaitFor { checks: vec![tcp()], timeout: Duration::from_secs(20), interval: Duration::from_secs(1) })
}

/// All of them.
pub(super) fn all() -> Vec<World> {
    let words = ["one", "two"];
    let new = |title, link, change: fn(&mut UnitSpec, &mut UnitSpec)| World::new(title, link, words, change);
    let mut worlds = vec![
        new("two requires one", Link::Requires, |_, _| {}),
        World::new("two requires one, which sorts behind it", Link::Requires, ["unit", "base"], |_, _| {}),
        new("two wants one", Link::Wants, |_, _| {}),
        new("two comes after one", Link::After, |_, _| {}),
        new("two is part of one", Link::PartOf, |_, _| {}),
        new("one and two conflict", Link::Conflicts, |_, two| two.enabled = false),
        new("two is not enabled", Link::Requires, |_, two| two.enabled = false),
        new("one is a oneshot", Link::Requires, |one, _| one.kind = Kind::Oneshot),
        new("one is a oneshot that two wants", Link::Wants, |one, _| {
            one.kind = Kind::Oneshot;
            one.restart.on_limit = OnLimit::Fail;
        }),
        new("two is a oneshot", Link::Requires, |_, two| two.kind = Kind::Oneshot),
        new("one says when it is ready", Link::Requires, |one, _| {
            one.kind = Kind::Notify;
            one.reload.how = Some(ReloadHow::Signal(SignalName("HUP".to_owned())));
        }),
        new("one is ready when its check passes", Link::Requires, |one, _| {
            one.ready = ready(ReadySign::Check(tcp()));
            one.ready_timeout = Duration::from_secs(2);
        }),
        new("one is ready after a delay", Link::Wants, |one, _| {
            one.ready = ready(ReadySign::Delay(Duration::from_secs(1)));
        }),
        new("one forks its daemon", Link::Requires, |one, _| {
            one.kind = Kind::Forking { pid_file: PathBuf::from("/run/one.pid") };
            one.ready_timeout = Duration::from_secs(2);
        }),
        new("two prepares before it starts", Link::Requires, |_, two| {
            two.hooks.pre_start = vec![argv("prepare")]
        }),
        new("two waits for the outside", Link::Requires, |_, two| two.wait_for = wait_for()),
        new("one has hooks all around", Link::Requires, |one, _| {
            one.hooks.pre_start = vec![argv("pre_start")];
            one.hooks.post_start = vec![argv("post_start")];
            one.hooks.pre_stop = vec![argv("pre_stop")];
            one.hooks.post_stop = vec![argv("post_stop")];
        }),
        new("one is stopped by a command", Link::Requires, |one, _| one.stop.command = Some(argv("stop"))),
        new("one is killed as a group", Link::Requires, |one, _| one.stop.kill = KillMode::Group),
        new("one is killed alone", Link::Requires, |one, _| one.stop.kill = KillMode::Process),
        new("one is tested before it is reloaded", Link::Requires, |one, _| {
            one.reload.test = Some(argv("test"));
            one.reload.how = Some(ReloadHow::Command(argv("reload")));
        }),
        new("two is tested and part of one", Link::PartOf, |_, two| two.reload.test = Some(argv("test"))),
        new("one is watched", Link::Requires, |one, _| one.health = health(OnFailure::Restart)),
        new("one is watched and has a remedy", Link::Requires, |one, _| {
            one.health = health(OnFailure::Exec(argv("remedy")));
            one.reload.how = Some(ReloadHow::Command(argv("reload")));
        }),
        new("one is watched and ends all", Link::Wants, |one, _| one.health = health(OnFailure::Shutdown)),
        new("one has a bound of memory", Link::Requires, |one, _| {
            one.limits.memory_max = Some(1 << 20);
        }),
        new("one is never started again", Link::Requires, |one, _| one.restart.policy = Policy::Never),
        new("one is started again after failures", Link::Wants, |one, two| {
            one.restart =
                Restart { policy: Policy::OnFailure, permanent_codes: vec![3], ..one.restart.clone() };
            two.restart.policy = Policy::OnFailure;
        }),
        new("one fails at its limit", Link::Requires, |one, _| one.restart.on_limit = OnLimit::Fail),
        new("one ends all at its limit", Link::Requires, |one, _| one.restart.on_limit = OnLimit::Shutdown),
        new("one is essential", Link::After, |one, _| {
            one.essential = true;
            one.restart.policy = Policy::Never;
        }),
        new("one waits before each retry", Link::PartOf, |one, _| one.restart.delay = Duration::from_secs(1)),
    ];
    for world in &mut worlds {
        world.is_plain = PLAIN.contains(&world.title);
    }
    let mut suspended = new("two requires one, and the machine is suspended", Link::Requires, |one, two| {
        one.health = health(OnFailure::Restart);
        two.ready = ready(ReadySign::Delay(Duration::from_secs(5)));
    });
    suspended.suspends = true;
    worlds.push(suspended);
    let mut slow = new("restarts are rationed", Link::Requires, |one, two| {
        (one.restart.limit, two.restart.limit) = (0, 0);
    });
    slow.settings.fork_rate = 1;
    worlds.push(slow);
    worlds
}
