//! A unit as it is in force: TOML with every key, which reads back as the same unit. Secrets appear by path only.

use crate::units::file::{
    HealthTable, HooksTable, KindWord, LimitsTable, LogTable, OptionalCommand, ReadyTable, ReloadTable,
    RestartTable, SandboxTable, ScheduleTable, StopTable, UnitFile, WaitForTable,
};
use crate::units::name::UnitName;
use crate::units::sockets;
use crate::units::source::Place;
use crate::units::spec::{Argv, Check, Forward, Instance, Kind, ReadySign, ReloadHow, UnitSpec, When};
use crate::units::table::{Key, Keys, Map, Shower, Table};
use crate::units::value::{
    AbsolutePath, Capability, Choice, Commands, Count, Int, Lasting, List, Number, Owner, Pattern, Percent,
    Rate, Size, SizeLimit, Umask,
};

/// `spec` as a file, with every key and its value in force.
#[must_use]
pub fn effective(spec: &UnitSpec) -> String {
    let mut shower = Shower::default();
    if let Some(Instance { group, number }) = &spec.instance {
        shower.remark(&format!("{} is number {number} of {group}", spec.name));
    }
    file_of(spec).show(&mut shower);
    shower.into_text()
}

/// Every key of `spec` that has a value, as `stop.timeout` and the value in TOML. Secrets by path only.
#[must_use]
pub fn values(spec: &UnitSpec) -> Vec<(String, String)> {
    let mut shower = Shower::default();
    file_of(spec).show(&mut shower);
    shower.into_values()
}

fn some<T>(value: Option<T>) -> Key<T> {
    Key { value, at: None }
}

fn table<T>(keys: T) -> Table<T> {
    Table { keys, at: None }
}

fn names(names: &[UnitName]) -> Key<List<UnitName>> {
    Key::of(List::of(names.iter().cloned()))
}

fn paths(map: &std::collections::BTreeMap<String, std::path::PathBuf>) -> Map<AbsolutePath> {
    let nowhere = Place::whole(0);
    Map(map.iter().map(|(name, path)| (name.clone(), (AbsolutePath(path.clone()), nowhere))).collect())
}

/// The file that says what `spec` is. Every field by its name: a new key does not compile until it is written here.
fn file_of(spec: &UnitSpec) -> UnitFile {
    let context = &spec.context;
    let (kind, pid_file) = match &spec.kind {
        Kind::Simple => (KindWord::Simple, None),
        Kind::Notify => (KindWord::Notify, None),
        Kind::Oneshot => (KindWord::Oneshot, None),
        Kind::Forking { pid_file } => (KindWord::Forking, Some(AbsolutePath(pid_file.clone()))),
    };
    let environment = context.environment.iter();
    UnitFile {
        description: Key::of(spec.description.clone()),
        command: Key::of(spec.command.clone()),
        shell: some(None),
        r#type: Key::of(Choice(kind)),
        pid_file: some(pid_file),
        watchdog: some(spec.watchdog.map(Lasting)),
        enabled: Key::of(spec.enabled),
        essential: Key::of(spec.essential),
        // It is one of them, not all.
        instances: Key::default(),
        aliases: names(&spec.aliases),
        user: some(context.user.clone().map(Owner)),
        group: some(context.group.clone().map(Owner)),
        groups: Key::of(List::of(context.groups.iter().cloned().map(Owner))),
        umask: some(context.umask.map(Umask)),
        working_dir: some(context.working_dir.clone().map(AbsolutePath)),
        environment_files: Key::of(List::of(context.environment_files.iter().cloned())),
        stdin: Key::of(Choice(context.stdin)),
        requires: names(&spec.requires),
        wants: names(&spec.wants),
        after: names(&spec.after),
        before: names(&[]),
        part_of: names(&spec.part_of),
        conflicts: names(&spec.conflicts),
        environment: Map(environment
            .map(|(name, value)| (name.clone(), (value.clone(), Place::whole(0))))
            .collect()),
        secrets: paths(&context.secrets),
        credentials: paths(&context.credentials),
        sockets: sockets::written(&spec.sockets),
        wait_for: table(wait_for(spec)),
        ready: table(ready(spec)),
        health: table(health(spec)),
        restart: table(restart(spec)),
        stop: table(StopTable {
            signal: Key::of(spec.stop.signal.clone()),
            timeout: Key::of(Lasting(spec.stop.timeout)),
            command: Key::of(OptionalCommand(spec.stop.command.clone())),
            kill: Key::of(Choice(spec.stop.kill)),
        }),
        reload: table(reload(spec)),
        hooks: table(HooksTable {
            pre_start: commands(&spec.hooks.pre_start),
            post_start: commands(&spec.hooks.post_start),
            pre_stop: commands(&spec.hooks.pre_stop),
            post_stop: commands(&spec.hooks.post_stop),
            timeout: Key::of(Lasting(spec.hooks.timeout)),
        }),
        log: table(log(spec)),
        limits: table(limits(spec)),
        sandbox: table(SandboxTable {
            no_new_privileges: some(context.sandbox.no_new_privileges),
            capabilities: some(
                context
                    .sandbox
                    .capabilities
                    .as_ref()
                    .map(|names| List::of(names.iter().cloned().map(Capability))),
            ),
        }),
        schedule: table(schedule(spec)),
    }
}

fn schedule(spec: &UnitSpec) -> ScheduleTable {
    let mut keys = ScheduleTable::default();
    let Some(schedule) = &spec.schedule else { return keys };
    match schedule.when.clone() {
        When::Cron { cron, zone } => (keys.cron, keys.timezone) = (Key::of(cron), Key::of(zone)),
        When::Every(every) => keys.every = Key::of(Lasting(every)),
    }
    keys.overlap = Key::of(Choice(schedule.overlap));
    keys.missed = Key::of(Choice(schedule.missed));
    keys.jitter = Key::of(Lasting(schedule.jitter));
    keys.at_start = Key::of(schedule.at_start);
    keys
}

fn commands(list: &[Argv]) -> Key<Commands> {
    Key::of(Commands(list.to_vec()))
}

fn wait_for(spec: &UnitSpec) -> WaitForTable {
    let mut keys = WaitForTable::default();
    let Some(wait_for) = &spec.wait_for else { return keys };
    let (mut tcp, mut http, mut unix, mut file, mut exec) = (vec![], vec![], vec![], vec![], vec![]);
    for check in wait_for.checks.iter().cloned() {
        match check {
            Check::Tcp(at) => tcp.push(at),
            Check::Http(url) => http.push(url),
            Check::Unix(path) => unix.push(AbsolutePath(path)),
            Check::File(path) => file.push(AbsolutePath(path)),
            Check::Exec(argv) => exec.push(argv),
        }
    }
    // A table without any check would be refused, so only those that there are.
    keys.tcp = some((!tcp.is_empty()).then(|| List::of(tcp)));
    keys.http = some((!http.is_empty()).then(|| List::of(http)));
    keys.unix = some((!unix.is_empty()).then(|| List::of(unix)));
    keys.file = some((!file.is_empty()).then(|| List::of(file)));
    keys.exec = some((!exec.is_empty()).then_some(Commands(exec)));
    keys.timeout = Key::of(Lasting(wait_for.timeout));
    keys.interval = Key::of(Lasting(wait_for.interval));
    keys
}

fn ready(spec: &UnitSpec) -> ReadyTable {
    let mut keys = ReadyTable { timeout: Key::of(Lasting(spec.ready_timeout)), ..ReadyTable::default() };
    let Some(ready) = &spec.ready else { return keys };
    keys.interval = Key::of(Lasting(ready.interval));
    match ready.sign.clone() {
        ReadySign::Check(Check::Http(url)) => keys.http = Key::of(url),
        ReadySign::Check(Check::Tcp(at)) => keys.tcp = Key::of(at),
        ReadySign::Check(Check::Unix(path)) => keys.unix = Key::of(AbsolutePath(path)),
        ReadySign::Check(Check::Exec(argv)) => keys.exec = Key::of(argv),
        ReadySign::Check(Check::File(path)) => keys.file = Key::of(AbsolutePath(path)),
        ReadySign::Log(pattern) => keys.log = Key::of(Pattern(pattern)),
        ReadySign::Notify => keys.notify = Key::of(true),
        ReadySign::Fd(fd) => keys.fd = Key::of(Int(fd.into())),
        ReadySign::Delay(delay) => keys.delay = Key::of(Lasting(delay)),
    }
    keys
}

fn health(spec: &UnitSpec) -> HealthTable {
    let mut keys = HealthTable::default();
    let Some(health) = &spec.health else { return keys };
    match health.check.clone() {
        Check::Http(url) => keys.http = Key::of(url),
        Check::Tcp(at) => keys.tcp = Key::of(at),
        Check::Unix(path) | Check::File(path) => keys.unix = Key::of(AbsolutePath(path)),
        Check::Exec(argv) => keys.exec = Key::of(argv),
    }
    keys.interval = Key::of(Lasting(health.interval));
    keys.timeout = Key::of(Lasting(health.timeout));
    keys.retries = Key::of(Int(health.retries.into()));
    keys.start_period = Key::of(Lasting(health.start_period));
    keys.on_failure = Key::of(health.on_failure.clone());
    keys
}

fn restart(spec: &UnitSpec) -> RestartTable {
    let restart = &spec.restart;
    let codes = |codes: &[u8]| Key::of(List::of(codes.iter().map(|code| Int((*code).into()))));
    RestartTable {
        policy: Key::of(Choice(restart.policy)),
        success_codes: codes(&restart.success_codes),
        permanent_codes: codes(&restart.permanent_codes),
        delay: Key::of(Lasting(restart.delay)),
        factor: Key::of(Number(restart.factor)),
        max_delay: Key::of(Lasting(restart.max_delay)),
        jitter: Key::of(Number(restart.jitter)),
        limit: Key::of(Int(restart.limit.into())),
        window: Key::of(Lasting(restart.window)),
        on_limit: Key::of(Choice(restart.on_limit)),
        mode: Key::of(Choice(restart.mode)),
    }
}

fn reload(spec: &UnitSpec) -> ReloadTable {
    let (signal, command) = match spec.reload.how.clone() {
        Some(ReloadHow::Signal(signal)) => (Some(signal), None),
        Some(ReloadHow::Command(argv)) => (None, Some(argv)),
        None => (None, None),
    };
    ReloadTable {
        signal: some(signal),
        command: some(command),
        test: Key::of(OptionalCommand(spec.reload.test.clone())),
        timeout: Key::of(Lasting(spec.reload.timeout)),
    }
}

fn log(spec: &UnitSpec) -> LogTable {
    let log = &spec.log;
    let forward: Forward = log.forward;
    LogTable {
        forward: Key::of(forward),
        file: some(log.file.clone().map(AbsolutePath)),
        timestamps: Key::of(log.timestamps),
        max_size: Key::of(Size(log.max_size)),
        max_age: Key::of(Lasting(log.max_age)),
        keep: Key::of(Int(log.keep.into())),
        compress: Key::of(log.compress),
        buffer: Key::of(Size(log.buffer)),
        when_blocked: Key::of(Choice(log.when_blocked)),
        rate: Key::of(Rate(log.rate)),
    }
}

fn limits(spec: &UnitSpec) -> LimitsTable {
    let (limits, each) = (&spec.limits, &spec.context.rlimits);
    LimitsTable {
        nofile: some(each.nofile.map(Count)),
        nproc: some(each.nproc.map(Count)),
        core: some(each.core.map(SizeLimit)),
        nice: some(each.nice.map(|nice| Int(nice.into()))),
        oom_score_adj: some(each.oom_score_adj.map(|score| Int(score.into()))),
        memory_high: some(limits.memory_high.map(Size)),
        memory_for: some(limits.memory_high.is_some().then_some(Lasting(limits.memory_for))),
        memory_max: some(limits.memory_max.map(Size)),
        cpu: some(limits.cpu_percent.map(Percent)),
        pids: some(limits.pids.map(|pids| Int(pids.into()))),
    }
}
