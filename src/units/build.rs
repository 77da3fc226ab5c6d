//! From a file that was decoded to a unit that is sound: what contradicts itself is noted, defaults are filled in.
//!
//! Other units are not looked at here; that is [`crate::units::links`].

use std::path::{Path, PathBuf};

use crate::units::file::{
    ControlTable, DaemonFile, DaemonLogTable, DefaultsTable, HealthTable, HooksTable, HttpTable, KindWord,
    LimitsTable, LogTable, ONE_OF, ReadyTable, ReloadTable, RestartTable, SandboxTable, ScheduleTable,
    StopTable, UnitFile, WaitForTable,
};
use crate::units::name::UnitName;
use crate::units::quantity::print_duration;
use crate::units::sockets;
use crate::units::source::Place;
use crate::units::spec::{
    Argv, Check, Context, DaemonSpec, Health, Hooks, Instance, Kind, Limits, Log, Mode, OnFailure, Policy,
    Ready, ReadySign, Reload, ReloadHow, Restart, Rlimits, Sandbox, Schedule, SignalName, Stdin, Stop,
    UnitSpec, WaitFor, When,
};
use crate::units::table::{INSTANCE_VARIABLE, Key, Map, Reader};
use crate::units::value::{AbsolutePath, Choice, Commands, Int, List};

/// Descriptors below which hardly a program can start.
const NOFILE_MIN: u64 = 16;

/// Variables that svinit sets by itself, or that mean something between it and a unit.
const RESERVED_VARIABLES: &[&str] = &[
    "NOTIFY_SOCKET",
    "FDSTORE",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "CREDENTIALS_DIRECTORY",
    "MAINPID",
    "SERVICE_RESULT",
    "EXIT_CODE",
    "EXIT_STATUS",
    INSTANCE_VARIABLE,
];

/// Notes what is wrong with `file`, whose defaults are filled in, taken by itself. `whole` is where a missing key is missed,
/// `kind_is_known` says that its `type` could be read.
pub(crate) fn check(
    name: &UnitName,
    file: &UnitFile,
    kind_is_known: bool,
    whole: Place,
    reader: &mut Reader<'_>,
) {
    if !file.command.is_written() && !file.shell.is_written() {
        reader.error_with_help(
            whole,
            "nothing says what is to be run",
            "write command = [\"PROGRAM\", \"ARGUMENT\"]",
        );
    }
    check_choices(file, reader);
    if kind_is_known {
        check_kind(file, reader);
    }
    check_stdin(name, file, reader);
    sockets::check(file, kind_is_known && file.r#type.value == Some(Choice(KindWord::Oneshot)), reader);
    check_variables(file, reader);
    check_restart(&file.restart.keys, reader);
    if kind_is_known {
        check_start_first(file, reader);
    }
    check_limits(&file.limits.keys, reader);
    if let (Some(at), []) = (file.health.at, &written(&health_places(&file.health.keys))[..]) {
        reader.error(at, "[health] asks nothing: it needs one of http, tcp, unix, exec");
    }
    if let Some(OnFailure::Reload) = file.health.keys.on_failure.value
        && !file.reload.keys.signal.is_written()
        && !file.reload.keys.command.is_written()
    {
        let at = file.health.keys.on_failure.at.unwrap_or(whole);
        reader.error(at, "on_failure = \"reload\" needs signal or command in [reload]");
    }
    check_schedule(file, kind_is_known, reader);
    if let (Some(log), Some(at)) = (&file.shell.value, file.shell.at)
        && log.trim().is_empty()
    {
        reader.error(at, "the command is empty");
    }
    if let Some(at) = file.wait_for.at
        && is_empty(&file.wait_for.keys)
    {
        reader.error(at, "[wait_for] waits for nothing: it needs one of tcp, http, unix, file, exec");
    }
}

type Places = Vec<(&'static str, Option<Place>)>;

fn health_places(keys: &HealthTable) -> Places {
    vec![("http", keys.http.at), ("tcp", keys.tcp.at), ("unix", keys.unix.at), ("exec", keys.exec.at)]
}

fn ready_places(keys: &ReadyTable) -> Places {
    let notify = keys.notify.at.filter(|_| keys.notify.value != Some(false));
    vec![
        ("http", keys.http.at),
        ("tcp", keys.tcp.at),
        ("unix", keys.unix.at),
        ("exec", keys.exec.at),
        ("file", keys.file.at),
        ("log", keys.log.at),
        ("notify", notify),
        ("fd", keys.fd.at),
        ("delay", keys.delay.at),
    ]
}

fn schedule_places(keys: &ScheduleTable) -> Places {
    vec![("cron", keys.cron.at), ("every", keys.every.at)]
}

fn written(places: &[(&'static str, Option<Place>)]) -> Vec<(&'static str, Place)> {
    let mut out: Vec<_> = places.iter().filter_map(|(name, at)| Some((*name, (*at)?))).collect();
    out.sort_by_key(|(_, at)| *at);
    out
}

/// Of some keys only one can hold.
fn check_choices(file: &UnitFile, reader: &mut Reader<'_>) {
    for (table, _) in ONE_OF {
        let places = match *table {
            "ready" => ready_places(&file.ready.keys),
            "health" => health_places(&file.health.keys),
            "reload" => {
                vec![("signal", file.reload.keys.signal.at), ("command", file.reload.keys.command.at)]
            }
            "schedule" => schedule_places(&file.schedule.keys),
            _ => vec![("command", file.command.at), ("shell", file.shell.at)],
        };
        let written = written(&places);
        if let [(first, _), others @ ..] = &written[..] {
            let inside = if table.is_empty() { String::new() } else { format!(" in [{table}]") };
            for (other, at) in others {
                reader.error(*at, format!("only one of {first} and {other} can stand{inside}"));
            }
        }
    }
}

/// `type` against the keys that only make sense with some types.
fn check_kind(file: &UnitFile, reader: &mut Reader<'_>) {
    let Some(Choice(kind)) = file.r#type.value else { return };
    let signs = written(&ready_places(&file.ready.keys));
    match (kind, file.pid_file.at) {
        (KindWord::Forking, None) => {
            let at = file.r#type.at.unwrap_or(Place::whole(0));
            reader.error(
                at,
                "type = \"forking\" needs pid_file: how else would its daemon be told from other processes",
            );
        }
        (KindWord::Simple | KindWord::Notify | KindWord::Oneshot, Some(at)) => {
            reader.error_with_help(
                at,
                "pid_file is read of type = \"forking\" only",
                "remove it, or write the type",
            );
        }
        (KindWord::Forking, Some(_)) | (_, None) => {}
    }
    if let (KindWord::Oneshot, Some(at)) = (kind, file.watchdog.at) {
        reader.error_with_help(
            at,
            "a oneshot is never up, so nobody watches whether it hangs",
            "remove watchdog; [ready] timeout bounds how long it may take",
        );
    }
    if kind == KindWord::Notify {
        for (name, at) in signs.iter().filter(|(name, _)| *name != "notify") {
            reader.error(
                *at,
                format!("type = \"notify\" is ready when it says so: {name} cannot stand beside it"),
            );
        }
        if let (Some(false), Some(at)) = (file.ready.keys.notify.value, file.ready.keys.notify.at) {
            reader.error(at, "type = \"notify\" and notify = false contradict each other");
        }
    }
    if kind == KindWord::Oneshot {
        for (name, at) in &signs {
            reader.error(*at, format!("a oneshot is ready when it has ended well: {name} cannot stand here"));
        }
        if let Some(at) = file.health.at {
            reader.error(
                at,
                "a oneshot has no process to look after once it is done: [health] cannot stand here",
            );
        }
        if let (Some(Choice(Policy::Always)), Some(at)) =
            (file.restart.keys.policy.value, file.restart.keys.policy.at)
        {
            let help = "use \"on-failure\", or type = \"simple\" for a service";
            reader.error_with_help(
                at,
                "a oneshot that ended well is done: \"always\" would run it for ever",
                help,
            );
        }
    }
    if let (Some(delay), Some(timeout), Some(at)) =
        (&file.ready.keys.delay.value, &file.ready.keys.timeout.value, file.ready.keys.delay.at)
        && !timeout.0.is_zero()
        && delay.0 >= timeout.0
    {
        reader.error(at, "delay must be less than timeout, or it can never be ready");
    }
}

fn check_stdin(name: &UnitName, file: &UnitFile, reader: &mut Reader<'_>) {
    if let (Some(Choice(Stdin::Tty)), Some(at)) = (file.stdin.value, file.stdin.at)
        && name.as_str() != "main"
    {
        reader.error(at, "only the unit \"main\" can have the terminal");
    }
}

/// Names of variables and credentials.
fn check_variables(file: &UnitFile, reader: &mut Reader<'_>) {
    let environment = file.environment.0.iter().map(|(name, (_, at))| (name, *at));
    let secrets = file.secrets.0.iter().map(|(name, (_, at))| (name, *at));
    for (name, at) in environment.chain(secrets) {
        if name.is_empty() || name.contains(|c: char| c == '=' || c.is_control() || c.is_whitespace()) {
            reader.error(
                at,
                "the name of a variable cannot be empty or hold \"=\", blanks or control characters",
            );
        } else if RESERVED_VARIABLES.contains(&name.as_str()) {
            reader.error(at, format!("{name} is set by svinit itself"));
        }
    }
    for (name, (_, at)) in &file.secrets.0 {
        if file.environment.0.contains_key(name) {
            reader.error(*at, format!("{name} stands in [environment] too: only one of them can hold"));
        }
    }
    for (name, (_, at)) in &file.credentials.0 {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 255 || name.starts_with('.') || !name.chars().all(plain) {
            reader.error(*at, "a credential is a file name of letters, digits, \".\", \"_\" and \"-\", and begins with no dot");
        }
    }
}

fn check_restart(keys: &RestartTable, reader: &mut Reader<'_>) {
    let zero = List::of([Int(0)]);
    let success = keys.success_codes.value.as_ref().unwrap_or(&zero);
    for (code, at) in keys.permanent_codes.value.iter().flat_map(|codes| &codes.0) {
        if success.0.iter().any(|(other, _)| other == code) {
            reader.error(*at, format!("{} is one of success_codes: it cannot be a failure as well", code.0));
        }
    }
    if let Some(at) = keys.success_codes.at
        && !success.0.iter().any(|(code, _)| code.0 == 0)
    {
        reader.warning(
            at,
            "0 is not among success_codes, so a clean end is a failure",
            "add 0 if that is not meant",
        );
    }
    if let (Some(delay), Some(max), Some(at)) =
        (keys.delay.value, keys.max_delay.value, keys.delay.at.or(keys.max_delay.at))
        && delay.0 > max.0
    {
        let help = format!("write max_delay too, which is {}", print_duration(max.0));
        reader.error_with_help(at, "delay is longer than max_delay", help);
    }
}

/// What there cannot be two of at the same time, or what would take the one for the other.
fn check_start_first(file: &UnitFile, reader: &mut Reader<'_>) {
    let (Some(Choice(Mode::StartFirst)), Some(at)) =
        (file.restart.keys.mode.value, file.restart.keys.mode.at)
    else {
        return;
    };
    let help = "write mode = \"stop-first\", or leave it away";
    match file.r#type.value {
        Some(Choice(KindWord::Oneshot)) => {
            reader.error_with_help(at, "a oneshot is never up, so nothing of it can be replaced", help);
        }
        Some(Choice(KindWord::Forking)) => {
            let message = "start-first needs two at a time, and a pid file can name one only";
            reader.error_with_help(at, message, help);
        }
        Some(Choice(KindWord::Simple | KindWord::Notify)) | None => {}
    }
    if let (Some(Choice(Stdin::Tty)), Some(at)) = (file.stdin.value, file.stdin.at) {
        reader.error(
            at,
            "two at a time cannot have the terminal: stdin = \"tty\" and start-first cannot both be",
        );
    }
    let keys = &file.ready.keys;
    let shared =
        [("http", keys.http.at), ("tcp", keys.tcp.at), ("unix", keys.unix.at), ("file", keys.file.at)];
    for (name, at) in written(&shared) {
        let message = format!(
            "the old one gives this sign as well while the new one is started beside it: {name} says nothing in [ready]"
        );
        let help = "with start-first use notify, log, fd or delay, or an exec that can tell them apart";
        reader.error_with_help(at, message, help);
    }
}

/// `[schedule]` against what makes no sense for a unit that is run now and then.
fn check_schedule(file: &UnitFile, kind_is_known: bool, reader: &mut Reader<'_>) {
    let Some(at) = file.schedule.at else { return };
    let keys = &file.schedule.keys;
    if written(&schedule_places(keys)).is_empty() {
        let help = "write cron = \"0 3 * * *\" or every = \"5m\"";
        reader.error_with_help(at, "[schedule] names no time: it needs one of cron, every", help);
    }
    if kind_is_known && file.r#type.value != Some(Choice(KindWord::Oneshot)) {
        let help = "write type = \"oneshot\", or take [schedule] away";
        reader.error_with_help(at, "only what ends by itself can be run by the clock", help);
    }
    if let (Some(true), Some(at)) = (file.essential.value, file.essential.at) {
        let message = "the container would end with its first run: essential and [schedule] cannot both be";
        reader.error_with_help(
            at,
            message,
            "write essential = true for the service that the container is for",
        );
    }
    if let Some((_, at)) = file.part_of.value.iter().flat_map(|list| &list.0).next() {
        let message = "it does not run along with another unit, but by the clock: part_of and [schedule] cannot both be";
        reader.error_with_help(*at, message, "write requires, which starts the other before each run");
    }
    if let (Some(at), true) = (keys.timezone.at, keys.every.is_written()) {
        let message = "every counts the time that passes, which is the same in every time zone";
        reader.error_with_help(at, message, "take timezone away, or write cron instead of every");
    }
    if let (Some(every), Some(jitter), Some(at)) = (keys.every.value, keys.jitter.value, keys.jitter.at)
        && jitter.0 > every.0
    {
        reader.error(at, "jitter is longer than every: a run could come after the next moment");
    }
}

fn check_limits(keys: &LimitsTable, reader: &mut Reader<'_>) {
    if let (Some(high), Some(max), Some(at)) =
        (keys.memory_high.value, keys.memory_max.value, keys.memory_high.at)
        && high.0 > max.0
    {
        reader.error(at, "memory_high is more than memory_max, so it would never be reached");
    }
    if let (Some(at), false) = (keys.memory_for.at, keys.memory_high.is_written()) {
        reader.warning(at, "memory_for means nothing without memory_high", "write memory_high too");
    }
    if let (Some(count), Some(at)) = (keys.nofile.value, keys.nofile.at)
        && (1..NOFILE_MIN).contains(&count.0)
    {
        reader.error(at, format!("with less than {NOFILE_MIN} descriptors hardly a program can start"));
    }
}

/// The unit that `file` describes, the defaults filled in already.
///
/// What was found wrong is replaced by a default: the caller throws the result away then.
pub(crate) fn unit(name: UnitName, instance: Option<Instance>, file: UnitFile, origin: &Path) -> UnitSpec {
    // Every field by its name and no "..": a new key does not compile until something is done with it.
    let UnitFile {
        description,
        command,
        shell,
        r#type,
        pid_file,
        watchdog,
        enabled,
        essential,
        instances: _,
        aliases,
        user,
        group,
        groups,
        umask,
        working_dir,
        environment_files,
        stdin,
        requires,
        wants,
        after,
        before: _,
        part_of,
        conflicts,
        environment,
        secrets,
        credentials,
        sockets,
        wait_for,
        ready,
        health,
        restart,
        stop,
        reload,
        hooks,
        log,
        limits,
        sandbox,
        schedule,
    } = file;
    let kind = match r#type.get().0 {
        KindWord::Simple => Kind::Simple,
        KindWord::Notify => Kind::Notify,
        KindWord::Oneshot => Kind::Oneshot,
        KindWord::Forking => Kind::Forking { pid_file: path(pid_file).unwrap_or_default() },
    };
    let has_ready_timeout = kind != Kind::Oneshot || ready.keys.timeout.is_written();
    let ready_timeout = if has_ready_timeout {
        ready.keys.timeout.value.map(|time| time.0).unwrap_or_default()
    } else {
        Default::default()
    };
    let shell = shell.value.map(|line| Argv(vec!["/bin/sh".to_owned(), "-c".to_owned(), line]));
    let (limits, rlimits) = limits_of(limits.keys);
    let context = Context {
        // Through a variable a unit that names its user can be told to be svinit's own: nothing that is written there is none.
        user: user.value.map(|user| user.0).filter(|user| user != "self"),
        group: group.value.map(|group| group.0),
        groups: groups.get().into_values().into_iter().map(|group| group.0).collect(),
        umask: umask.value.map(|mask| mask.0),
        working_dir: path(working_dir),
        environment: environment.0.into_iter().map(|(name, (value, _))| (name, value)).collect(),
        environment_files: environment_files.get().into_values(),
        secrets: paths(secrets),
        credentials: paths(credentials),
        stdin: stdin.get().0,
        rlimits,
        sandbox: sandbox_of(sandbox.keys),
    };
    UnitSpec {
        name,
        instance,
        description: description.get(),
        command: command.value.or(shell).unwrap_or(Argv(Vec::new())),
        enabled: enabled.get(),
        essential: essential.get(),
        aliases: aliases.get().into_values(),
        context,
        requires: requires.get().into_values(),
        wants: wants.get().into_values(),
        after: after.get().into_values(),
        part_of: part_of.get().into_values(),
        conflicts: conflicts.get().into_values(),
        sockets: sockets::specs(sockets),
        wait_for: wait_for_of(wait_for.keys),
        ready: ready_of(ready.keys, &kind),
        kind,
        ready_timeout,
        health: health_of(health.keys),
        watchdog: watchdog.value.map(|window| window.0),
        restart: restart_of(restart.keys),
        stop: stop_of(stop.keys),
        reload: reload_of(reload.keys),
        hooks: hooks_of(hooks.keys),
        log: log_of(log.keys),
        limits,
        schedule: schedule_of(schedule.keys),
        origin: origin.to_owned(),
    }
}

fn path(key: Key<AbsolutePath>) -> Option<PathBuf> {
    key.value.map(|path| path.0)
}

fn paths(map: Map<AbsolutePath>) -> std::collections::BTreeMap<String, PathBuf> {
    map.0.into_iter().map(|(name, (path, _))| (name, path.0)).collect()
}

fn commands(key: Key<Commands>) -> Vec<Argv> {
    key.get().0
}

fn is_empty(keys: &WaitForTable) -> bool {
    !keys.tcp.is_written()
        && !keys.http.is_written()
        && !keys.unix.is_written()
        && !keys.file.is_written()
        && !keys.exec.is_written()
}

fn wait_for_of(keys: WaitForTable) -> Option<WaitFor> {
    let WaitForTable { tcp, http, unix, file, exec, timeout, interval } = keys;
    let mut checks: Vec<Check> = tcp.get().into_values().into_iter().map(Check::Tcp).collect();
    checks.extend(http.get().into_values().into_iter().map(Check::Http));
    checks.extend(unix.get().into_values().into_iter().map(|path| Check::Unix(path.0)));
    checks.extend(file.get().into_values().into_iter().map(|path| Check::File(path.0)));
    checks.extend(commands(exec).into_iter().map(Check::Exec));
    (!checks.is_empty()).then(|| WaitFor { checks, timeout: timeout.get().0, interval: interval.get().0 })
}

fn ready_of(keys: ReadyTable, kind: &Kind) -> Option<Ready> {
    let ReadyTable { http, tcp, unix, exec, file, log, notify, fd, delay, timeout: _, interval } = keys;
    let check = check_of(http, tcp, unix, exec).or(path(file).map(Check::File)).map(ReadySign::Check);
    let notified = notify.value == Some(true) && *kind != Kind::Notify;
    let sign = check
        .or(log.value.map(|pattern| ReadySign::Log(pattern.0)))
        .or(notified.then_some(ReadySign::Notify))
        .or(fd.value.map(|fd| ReadySign::Fd(fd.to())))
        .or(delay.value.map(|delay| ReadySign::Delay(delay.0)))?;
    Some(Ready { sign, interval: interval.get().0 })
}

fn check_of(
    http: Key<crate::units::spec::HttpUrl>,
    tcp: Key<crate::units::spec::HostPort>,
    unix: Key<AbsolutePath>,
    exec: Key<Argv>,
) -> Option<Check> {
    let check = http.value.map(Check::Http).or(tcp.value.map(Check::Tcp));
    check.or(path(unix).map(Check::Unix)).or(exec.value.map(Check::Exec))
}

fn health_of(keys: HealthTable) -> Option<Health> {
    let HealthTable { http, tcp, unix, exec, interval, timeout, retries, start_period, on_failure } = keys;
    Some(Health {
        check: check_of(http, tcp, unix, exec)?,
        interval: interval.get().0,
        timeout: timeout.get().0,
        retries: retries.get().to(),
        start_period: start_period.get().0,
        on_failure: on_failure.get(),
    })
}

fn restart_of(keys: RestartTable) -> Restart {
    let RestartTable {
        policy,
        success_codes,
        permanent_codes,
        delay,
        factor,
        max_delay,
        jitter,
        limit,
        window,
        on_limit,
        mode,
    } = keys;
    Restart {
        policy: policy.get().0,
        success_codes: success_codes.get().into_values().into_iter().map(Int::to).collect(),
        permanent_codes: permanent_codes.get().into_values().into_iter().map(Int::to).collect(),
        delay: delay.get().0,
        factor: factor.get().0,
        max_delay: max_delay.get().0,
        jitter: jitter.get().0,
        limit: limit.get().to(),
        window: window.get().0,
        on_limit: on_limit.get().0,
        mode: mode.get().0,
    }
}

fn stop_of(keys: StopTable) -> Stop {
    let StopTable { signal, timeout, command, kill } = keys;
    Stop { signal: signal.get(), timeout: timeout.get().0, command: command.get().0, kill: kill.get().0 }
}

fn reload_of(keys: ReloadTable) -> Reload {
    let ReloadTable { signal, command, test, timeout } = keys;
    let signal: Key<SignalName> = signal;
    let how = signal.value.map(ReloadHow::Signal).or(command.value.map(ReloadHow::Command));
    Reload { how, test: test.get().0, timeout: timeout.get().0 }
}

fn hooks_of(keys: HooksTable) -> Hooks {
    let HooksTable { pre_start, post_start, pre_stop, post_stop, timeout } = keys;
    Hooks {
        pre_start: commands(pre_start),
        post_start: commands(post_start),
        pre_stop: commands(pre_stop),
        post_stop: commands(post_stop),
        timeout: timeout.get().0,
    }
}

fn log_of(keys: LogTable) -> Log {
    let LogTable { forward, file, timestamps, max_size, max_age, keep, compress, buffer, when_blocked, rate } =
        keys;
    Log {
        forward: forward.get(),
        file: path(file),
        timestamps: timestamps.get(),
        max_size: max_size.get().0,
        max_age: max_age.get().0,
        keep: keep.get().to(),
        compress: compress.get(),
        buffer: buffer.get().0,
        when_blocked: when_blocked.get().0,
        rate: rate.get().0,
    }
}

fn limits_of(keys: LimitsTable) -> (Limits, Rlimits) {
    let LimitsTable {
        nofile,
        nproc,
        core,
        nice,
        oom_score_adj,
        memory_high,
        memory_for,
        memory_max,
        cpu,
        pids,
    } = keys;
    let limits = Limits {
        memory_high: memory_high.value.map(|size| size.0),
        memory_for: memory_for.get().0,
        memory_max: memory_max.value.map(|size| size.0),
        cpu_percent: cpu.value.map(|percent| percent.0),
        pids: pids.value.map(Int::to),
    };
    let some =
        |count: Option<crate::units::value::Count>| count.map(|count| count.0).filter(|count| *count > 0);
    let rlimits = Rlimits {
        nofile: some(nofile.value),
        nproc: some(nproc.value),
        core: core.value.map(|size| size.0),
        nice: nice.value.map(Int::to),
        oom_score_adj: oom_score_adj.value.map(Int::to),
    };
    (limits, rlimits)
}

fn schedule_of(keys: ScheduleTable) -> Option<Schedule> {
    let ScheduleTable { cron, every, timezone, overlap, missed, jitter, at_start } = keys;
    let zone = timezone.get();
    let by_clock = cron.value.map(|cron| When::Cron { cron, zone });
    let when = by_clock.or(every.value.map(|every| When::Every(every.0)))?;
    Some(Schedule {
        when,
        overlap: overlap.get().0,
        missed: missed.get().0,
        jitter: jitter.get().0,
        at_start: at_start.get(),
    })
}

fn sandbox_of(keys: SandboxTable) -> Sandbox {
    let SandboxTable { no_new_privileges, capabilities } = keys;
    let names = |list: List<crate::units::value::Capability>| {
        list.into_values().into_iter().map(|name| name.0).collect()
    };
    Sandbox { no_new_privileges: no_new_privileges.value, capabilities: capabilities.value.map(names) }
}

/// Notes what contradicts itself in `svinit.toml`.
pub(crate) fn check_daemon(file: &DaemonFile, reader: &mut Reader<'_>) {
    let ControlTable { listen, token_file, .. } = &file.control.keys;
    let is_open = listen.value.is_some_and(|listen| listen.0.is_some());
    if let Some(at) = listen.at.filter(|_| is_open && !token_file.is_written()) {
        reader.error_with_help(
            at,
            "the control API is not served over TCP without a token",
            "write token_file = \"/run/secrets/svinit_token\", a file with 16 characters or more",
        );
    }
}

/// The daemon's settings and the defaults of units.
pub(crate) fn daemon(file: DaemonFile) -> (DaemonSpec, DefaultsTable) {
    let DaemonFile { shutdown_timeout, fork_rate, state_dir, control, http, log, defaults } = file;
    let ControlTable { socket_group, allow_other_namespaces, listen: remote, token_file } = control.keys;
    let HttpTable { listen } = http.keys;
    let DaemonLogTable { format, level, buffer_total } = log.keys;
    let spec = DaemonSpec {
        socket_group: socket_group.value.map(|group| group.0),
        allow_other_namespaces: allow_other_namespaces.get(),
        control_listen: remote.value.and_then(|listen| listen.0),
        control_token_file: token_file.value.map(|path| path.0),
        http_listen: listen.value.map(|listen| listen.0),
        log_format: format.value.map(|format| format.0),
        log_level: level.get().0,
        log_buffer_total: buffer_total.get().0,
        shutdown_timeout: shutdown_timeout.get().0,
        fork_rate: fork_rate.get().to(),
        state_dir: state_dir.get().0,
    };
    (spec, defaults.keys)
}
