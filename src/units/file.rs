//! The file formats: every key of a unit's file and of `svinit.toml`, its meaning, its default.
//!
//! This is the one place where a key is described; see [`crate::units::table`] for what is made of it. A field that is
//! added here does not compile until [`crate::units::build`] reads it and [`crate::units::show`] writes it.

use toml::de::DeValue;

use crate::units::cron::Cron;
use crate::units::name::UnitName;
use crate::units::socket::{SocketAddress, SocketType};
use crate::units::sockets::Sockets;
use crate::units::spec::{
    Argv, EnvironmentFile, Forward, HostPort, HttpUrl, KillMode, LogFormat, LogLevel, Missed,
    Mode as RestartMode, OnFailure, OnLimit, Overlap, Policy, SignalName, Stdin, WhenBlocked, Zone,
};
use crate::units::table::{Item, Key, Map, Reader, Shape, Table, Value, table};
use crate::units::value::{
    AbsolutePath, Capability, Choice, Commands, Count, Int, Lasting, List, Listen, Mode, Number, Owner,
    Pattern, Percent, Rate, Size, SizeLimit, Umask, Words,
};

/// Tables with keys of which only one can hold. Within one file two of them contradict each other; a later layer that
/// has one of them replaces whichever an earlier one had.
pub const ONE_OF: &[(&str, &[&str])] = &[
    ("", &["command", "shell"]),
    ("ready", &["http", "tcp", "unix", "exec", "file", "log", "notify", "fd", "delay"]),
    ("health", &["http", "tcp", "unix", "exec"]),
    ("reload", &["signal", "command"]),
    ("schedule", &["cron", "every"]),
];

table! {
    /// A unit's file.
    pub struct UnitFile {
        /// One line for people.
        description: Key<String> = "\"\"", AtOnce;
        /// What is run: a list of arguments, or text that is split into words (quotes and `\` as in a shell, but no
        /// shell). A program without a slash is looked up in `PATH`. Either this or `shell` must be there.
        command: Key<Argv> => "`shell` is there instead", Restart;
        /// Instead of `command`: a line for `/bin/sh -c`. Begin it with `exec`, so that the signals reach the service.
        shell: Key<String> => "`command` is there instead", Restart;
        /// When it counts as up. `simple`: when the program was started (and `[ready]` has passed). `notify`: when it has sent
        /// `READY=1` (sd_notify). `oneshot`: when it has ended well. `forking`: when it has ended well and left a daemon,
        /// whose number is in `pid_file`.
        r#type: Key<Choice<KindWord>> = "\"simple\"", Restart;
        /// Where a `forking` daemon writes its number.
        pid_file: Key<AbsolutePath> => "for `forking` only", Restart;
        /// From when it is ready it says `WATCHDOG=1` on `NOTIFY_SOCKET` at least so often, as `sd_watchdog_enabled`
        /// tells it; else it hangs, is ended by SIGABRT, and has failed.
        watchdog: Key<Lasting<100>> => "not watched", Restart;
        /// Started at boot. Else it is started when it is asked for or something requires it.
        enabled: Key<bool> = "true", Boot;
        /// When it ends for good, the container ends with its status.
        essential: Key<bool> = "false", AtOnce;
        /// So many of it, 1 to 100, as `NAME@1`, `NAME@2` and so on; together they are the group `NAME`. Each has its number in
        /// `SVINIT_INSTANCE`, in its environment and in `${SVINIT_INSTANCE}` here. They share the sockets.
        instances: Key<Int<1, 100>> => "one, called as the file", AtOnce;
        /// Further names it answers to.
        aliases: Key<List<UnitName>> = "[]", AtOnce;
        /// User its processes run as, by name or number; `self` is svinit's own, whoever that is.
        user: Key<Owner> => "svinit's own user", Restart;
        /// Group its processes run as, by name or number.
        group: Key<Owner> => "the user's own group", Restart;
        /// Supplementary groups. Inherited ones are dropped whenever the user changes.
        groups: Key<List<Owner>> = "[]", Restart;
        /// File mode creation mask, octal.
        umask: Key<Umask> = "\"022\"", Restart;
        /// Directory its processes start in.
        working_dir: Key<AbsolutePath> = "\"/\"", Restart;
        /// Files of `NAME=value` lines, read at each start; later ones win, `[environment]` wins over all. With `-` before
        /// the path the file may be missing.
        environment_files: Key<List<EnvironmentFile>> = "[]", Restart;
        /// Standard input: `/dev/null`, or the terminal that svinit was given (unit `main` only).
        stdin: Key<Choice<Stdin>> = "\"null\"", Restart;
        /// Started first and waited for. If one of these cannot run, neither can this; stopping one stops this.
        requires: Key<List<UnitName>> = "[]", AtOnce;
        /// Started first and waited for; their failure is tolerated.
        wants: Key<List<UnitName>> = "[]", AtOnce;
        /// Order only, when both are to run: this starts after these are ready, and stops before them.
        after: Key<List<UnitName>> = "[]", AtOnce;
        /// Order only, the other way round.
        before: Key<List<UnitName>> = "[]", AtOnce;
        /// Stopped and restarted along with these.
        part_of: Key<List<UnitName>> = "[]", AtOnce;
        /// Cannot run at the same time as these. It is enough that one side says so.
        conflicts: Key<List<UnitName>> = "[]", Restart;
        /// Variables set over the container's own environment, which every unit has.
        environment: Map<String>, Restart;
        /// Variables whose values are read from files at each start; exported to the unit, never shown, logged or returned.
        secrets: Map<AbsolutePath>, Restart;
        /// Files copied into a private directory at each start: mode 0400, owned by the unit's user, found by
        /// `$CREDENTIALS_DIRECTORY`.
        credentials: Map<AbsolutePath>, Restart;
        /// Sockets that svinit opens and holds: they stay open while the unit is started again. Each has a name and
        /// an address, or a table of the keys below.
        sockets: Sockets, Restart;
        /// Outside things that must answer, each once, before the first start.
        wait_for: Table<WaitForTable>, Within;
        /// How we know that it is up: one of `http`, `tcp`, `unix`, `exec`, `file`, `log`, `notify`, `fd`, `delay`.
        ready: Table<ReadyTable>, Within;
        /// How we know that it is well: one of `http`, `tcp`, `unix`, `exec`.
        health: Table<HealthTable>, Within;
        /// What follows its end.
        restart: Table<RestartTable>, Within;
        /// How it is stopped. Whatever way, its whole process tree is gone afterwards.
        stop: Table<StopTable>, Within;
        /// What `svctl reload` does; without `signal` and `command` a unit can only be restarted.
        reload: Table<ReloadTable>, Within;
        /// Commands run before and after, in the unit's context, one after the other. Each item is one command: text that
        /// is split into words, or a list of arguments.
        hooks: Table<HooksTable>, Within;
        /// Where its output goes.
        log: Table<LogTable>, Within;
        /// Bounds. `nofile`, `nproc`, `core`, `nice` and `oom_score_adj` are of each process; the others of the whole
        /// tree, by cgroup v2 where one can be made, else watched.
        limits: Table<LimitsTable>, Within;
        /// What its processes may not do.
        sandbox: Table<SandboxTable>, Within;
        /// When a `oneshot` is run by the clock: at the moments of `cron`, or each time that `every` has passed. It is armed at boot
        /// and runs then, not at boot; what it requires and wants is started before each run, but for what a person has stopped.
        schedule: Table<ScheduleTable>, Within;
    }
}

table! {
    /// One of `[sockets]`.
    pub struct SocketTable {
        /// `"IPV4:PORT"`, `"[IPV6]:PORT"` or `"unix:/PATH"`. `NAME = "ADDRESS"` is the same as a table with nothing but this.
        address: Key<SocketAddress> => "must be there", Restart;
        /// `stream`: connections. `datagram`: messages.
        r#type: Key<Choice<SocketType>> => "`\"stream\"`", Restart;
        /// Connections that may wait until they are accepted; the kernel lowers it to `net.core.somaxconn`.
        backlog: Key<Int<1, 65_535>> => "`4096`", Restart;
        /// Others may listen at the same address, each with a share of the connections.
        reuse_port: Key<bool> => "`false`", Restart;
        /// Handed over with `O_NONBLOCK`: for programs that take it for granted, as nginx does, and hang in `accept` otherwise.
        nonblocking: Key<bool> => "`false`", Restart;
        /// An IPv6 address takes no IPv4.
        v6only: Key<bool> => "`false`", Restart;
        /// Of a unix socket, octal. Who may write to it may connect.
        mode: Key<Mode> => "`\"0660\"`", Restart;
        /// Of a unix socket: user, by name or number.
        owner: Key<Owner> => "the unit's user", Restart;
        /// Of a unix socket: group, by name or number.
        group: Key<Owner> => "the unit's group", Restart;
    }
}

table! {
    /// `[wait_for]`.
    pub struct WaitForTable {
        /// Addresses `host:port` that must accept a connection.
        tcp: Key<List<HostPort>> = "[]", NextStart;
        /// URLs that must answer GET with a status of 200 to 399.
        http: Key<List<HttpUrl>> = "[]", NextStart;
        /// Unix sockets that must accept a connection.
        unix: Key<List<AbsolutePath>> = "[]", NextStart;
        /// Files that must exist.
        file: Key<List<AbsolutePath>> = "[]", NextStart;
        /// Commands that must succeed.
        exec: Key<Commands> = "[]", NextStart;
        /// For all of them together; then the start has failed. `"0"`: for ever.
        timeout: Key<Lasting> = "\"60s\"", NextStart;
        /// Between two tries.
        interval: Key<Lasting<10>> = "\"250ms\"", NextStart;
    }
}

table! {
    /// `[ready]`.
    pub struct ReadyTable {
        /// This URL answers GET with a status of 200 to 399.
        http: Key<HttpUrl> => "no such check", NextStart;
        /// This `host:port` accepts a connection.
        tcp: Key<HostPort> => "no such check", NextStart;
        /// This unix socket accepts a connection.
        unix: Key<AbsolutePath> => "no such check", NextStart;
        /// This command succeeds.
        exec: Key<Argv> => "no such check", NextStart;
        /// This file exists.
        file: Key<AbsolutePath> => "no such check", NextStart;
        /// A line of its output matches this regular expression.
        log: Key<Pattern> => "no such check", NextStart;
        /// It sends `READY=1` (sd_notify); the same as `type = "notify"`.
        notify: Key<bool> => "as `type` says", NextStart;
        /// It writes a newline to this descriptor (s6).
        fd: Key<Int<3, 1023>> => "no such check", NextStart;
        /// So much time has passed and it is still there.
        delay: Key<Lasting<1>> => "no such check", NextStart;
        /// Longest time from start to ready, of a oneshot to its end; `"0"`: for ever. A oneshot has no limit unless
        /// this is written.
        timeout: Key<Lasting> = "\"30s\"", NextStart;
        /// Between two tries of a check.
        interval: Key<Lasting<10>> = "\"100ms\"", NextStart;
    }
}

table! {
    /// `[health]`.
    pub struct HealthTable {
        /// This URL answers GET with a status of 200 to 399.
        http: Key<HttpUrl> => "no such check", AtOnce;
        /// This `host:port` accepts a connection.
        tcp: Key<HostPort> => "no such check", AtOnce;
        /// This unix socket accepts a connection.
        unix: Key<AbsolutePath> => "no such check", AtOnce;
        /// This command succeeds.
        exec: Key<Argv> => "no such check", AtOnce;
        /// From the end of one check to the beginning of the next.
        interval: Key<Lasting<100>> = "\"10s\"", AtOnce;
        /// Longest time for one check.
        timeout: Key<Lasting<10>> = "\"3s\"", AtOnce;
        /// So many failures in a row make it ill.
        retries: Key<Int<1, 1_000_000>> = "3", AtOnce;
        /// After it became ready, failures do not count for so long, or until a check has passed.
        start_period: Key<Lasting> = "\"10s\"", AtOnce;
        /// What is done when it is ill: `restart`, `reload`, `shutdown` (the container ends), `none`, a signal to its main
        /// process (`signal:USR1`) or a command (`exec:...`).
        on_failure: Key<OnFailure> = "\"restart\"", AtOnce;
    }
}

table! {
    /// `[restart]`.
    pub struct RestartTable {
        /// When it is started again by itself. Of a `oneshot` the default is `on-failure`, and `always` makes no sense; of one with
        /// `[schedule]` it is `never`, since its next moment is its next try.
        policy: Key<Choice<Policy>> = "\"always\"", AtOnce;
        /// Exit codes that count as success.
        success_codes: Key<List<Int<0, 255>>> = "[0]", AtOnce;
        /// Exit codes after which a new try is of no use: it has failed for good.
        permanent_codes: Key<List<Int<0, 255>>> = "[]", AtOnce;
        /// Before the first retry. With `"0s"` the first is at once, the second after 100 ms.
        delay: Key<Lasting> = "\"0s\"", AtOnce;
        /// Growth of the delay from one retry to the next.
        factor: Key<Number<1, 100>> = "2.0", AtOnce;
        /// Where growth ends; also the pause of `retry-later`.
        max_delay: Key<Lasting<100>> = "\"30s\"", AtOnce;
        /// Share of a delay that is left to chance, so that many do not come back at the same moment.
        jitter: Key<Number<0, 1>> = "0.1", AtOnce;
        /// So many automatic restarts within `window` are the limit; 0 is none.
        limit: Key<Int<0, 1_000_000>> = "10", AtOnce;
        /// Time in `ready` after which the count begins anew.
        window: Key<Lasting<1>> = "\"60s\"", AtOnce;
        /// At the limit: `fail` for good, `shutdown` everything, or `retry-later`, one more try every `max_delay`.
        on_limit: Key<Choice<OnLimit>> = "\"retry-later\"", AtOnce;
        /// How a restart goes that was asked for. `stop-first`: the old one has ended before the new one is started.
        /// `start-first`: the new one is started beside the old one, which is told to stop when the new one is ready and
        /// has passed its health check once; if it does not come up, the old one goes on and the restart has failed.
        mode: Key<Choice<RestartMode>> = "\"stop-first\"", AtOnce;
    }
}

table! {
    /// `[stop]`.
    pub struct StopTable {
        /// Sent first, when there is no `command`.
        signal: Key<SignalName> = "\"SIGTERM\"", AtOnce;
        /// Then everything that is left is killed.
        timeout: Key<Lasting> = "\"8s\"", AtOnce;
        /// Run instead of the signal, with `$MAINPID` in its environment; `[]` is none.
        command: Key<OptionalCommand> = "[]", AtOnce;
        /// `mixed`: the signal to the main process, KILL to all that is left. `group`: the signal to all, too. `process`: both
        /// to the main process only.
        kill: Key<Choice<KillMode>> = "\"mixed\"", AtOnce;
    }
}

table! {
    /// `[reload]`.
    pub struct ReloadTable {
        /// Sent to the main process.
        signal: Key<SignalName> => "it cannot be reloaded by a signal", AtOnce;
        /// Run in the unit's context, with `$MAINPID` in its environment.
        command: Key<Argv> => "it cannot be reloaded by a command", AtOnce;
        /// Must succeed before a reload, and before a restart that a person asked for; `[]` is none.
        test: Key<OptionalCommand> = "[]", AtOnce;
        /// For `test` and `command`, each.
        timeout: Key<Lasting<100>> = "\"30s\"", AtOnce;
    }
}

table! {
    /// `[hooks]`.
    pub struct HooksTable {
        /// Before the command; a failure is a failed start.
        pre_start: Key<Commands> = "[]", NextStart;
        /// After it is ready; a failure is reported and changes nothing.
        post_start: Key<Commands> = "[]", NextStart;
        /// Before it is told to stop; a failure changes nothing.
        pre_stop: Key<Commands> = "[]", AtOnce;
        /// After all its processes have ended, however; told `SERVICE_RESULT`, `EXIT_CODE` and `EXIT_STATUS` as in systemd.
        post_stop: Key<Commands> = "[]", AtOnce;
        /// For each command; then it and what it started are killed.
        timeout: Key<Lasting<100>> = "\"30s\"", AtOnce;
    }
}

table! {
    /// `[log]`.
    pub struct LogTable {
        /// To svinit's own output, with the unit's name before each line; or `"inherit"`: the service writes to the
        /// container's output by itself, and nothing of it passes through svinit.
        forward: Key<Forward> = "true", Restart;
        /// Into this file as well.
        file: Key<AbsolutePath> => "no file", AtOnce;
        /// The time before each line in the file.
        timestamps: Key<bool> = "false", AtOnce;
        /// The file is rotated when it would grow beyond this; `"0"`: never.
        max_size: Key<Size> = "\"10M\"", AtOnce;
        /// The file is rotated, and rotated ones are removed, when they are older; `"0"`: never.
        max_age: Key<Lasting> = "\"7d\"", AtOnce;
        /// Rotated files that are kept.
        keep: Key<Int<0, 10_000>> = "5", AtOnce;
        /// Rotated files become `.gz`.
        compress: Key<bool> = "true", AtOnce;
        /// Bytes kept in memory for `svctl logs`, and bytes that may wait for a blocked output or disk.
        buffer: Key<Size<16_384>> = "\"256K\"", AtOnce;
        /// When those are used up: `block`, the unit waits in its write and no line is lost; `drop-oldest`, the oldest
        /// waiting lines go and are counted.
        when_blocked: Key<Choice<WhenBlocked>> = "\"block\"", AtOnce;
        /// Lines a second that pass; others are counted. 0 is no bound.
        rate: Key<Rate> = "\"0\"", AtOnce;
    }
}

table! {
    /// `[limits]`.
    pub struct LimitsTable {
        /// Open descriptors (at least 16), or `"unlimited"`.
        nofile: Key<Count> => "as svinit was given", Restart;
        /// Processes of its user, or `"unlimited"`; 0 leaves it as svinit was given.
        nproc: Key<Count> => "as svinit was given", Restart;
        /// Size of core files, or `"unlimited"`; 0 is none.
        core: Key<SizeLimit> => "as svinit was given", Restart;
        /// Priority; less is more.
        nice: Key<Int<-20, 19>> => "as svinit was given", Restart;
        /// How likely the kernel kills it when memory is short; more is likelier.
        oom_score_adj: Key<Int<-1000, 1000>> => "0", Restart;
        /// Memory of the whole tree; above it for `memory_for`, the unit is restarted gracefully.
        memory_high: Key<Size<1_048_576>> => "no bound", AtOnce;
        /// How long it may be above `memory_high`.
        memory_for: Key<Lasting> = "\"30s\"", AtOnce;
        /// Memory of the whole tree, never more.
        memory_max: Key<Size<1_048_576>> => "no bound", Restart;
        /// CPU time of the whole tree, in percent of one CPU.
        cpu: Key<Percent> => "no bound", Restart;
        /// Processes and threads of the whole tree.
        pids: Key<Int<1, 4_194_304>> => "no bound", Restart;
    }
}

table! {
    /// `[schedule]`.
    pub struct ScheduleTable {
        /// Five fields: minute, hour, day of the month, month, day of the week (0 or 7 is Sunday), each `*`, a number, a name
        /// (`jan`, `mon`), a range, a list or a step; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. When both days are
        /// restricted, one of them must fit; when one begins with `*`, both must. A time of day that the clock leaves out in spring
        /// comes at the change, one that it gives twice in autumn comes once; with a minute or hour that begins with `*` it goes by
        /// the minutes that really pass.
        cron: Key<Cron> => "`every` is there instead", AtOnce;
        /// So much time from one moment to the next, the first so long after it was armed. Steps of the wall clock do not matter.
        every: Key<Lasting<100>> => "`cron` is there instead", AtOnce;
        /// By which clock `cron` goes: `UTC`; `local`, which is `TZ` of the container or else `/etc/localtime`; a name, for which the
        /// image must have time zone data (package `tzdata`); or rules that need none, like `CET-1CEST,M3.5.0,M10.5.0/3`.
        timezone: Key<Zone> = "\"UTC\"", AtOnce;
        /// What a moment means while the run of an earlier one is not over. `skip`: nothing, it is counted. `queue`: the next run
        /// begins when that one is over; further moments are skipped. `kill`: that one is stopped as `[stop]` says, and then it begins.
        overlap: Key<Choice<Overlap>> = "\"skip\"", AtOnce;
        /// When moments passed while svinit was down, the machine was suspended or the clock was put forward. `once`: one run makes
        /// up for all of them, at once. `skip`: none, they are counted.
        missed: Key<Choice<Missed>> = "\"once\"", AtOnce;
        /// Each run begins at random up to so much later, so that not all containers begin together.
        jitter: Key<Lasting> = "\"0s\"", AtOnce;
        /// It is run when it is armed, too: at boot, or when it comes with an update.
        at_start: Key<bool> = "false", Boot;
    }
}

table! {
    /// `[sandbox]`.
    pub struct SandboxTable {
        /// No program it starts can gain privileges (setuid, file capabilities).
        no_new_privileges: Key<bool> => "true for a unit that changes user, else false", Restart;
        /// The only capabilities it keeps, also when it changes user.
        capabilities: Key<List<Capability>> => "as they are for root, none for others", Restart;
    }
}

table! {
    /// `svinit.toml`.
    pub struct DaemonFile {
        /// One deadline for the whole shutdown. The default is just within the 10 s that Docker gives.
        shutdown_timeout: Key<Lasting<100>> = "\"9.5s\"", Boot;
        /// Automatic restarts a second, all units together.
        fork_rate: Key<Int<1, 10_000>> = "50", Boot;
        /// Where svinit keeps what outlives it: up to when the moments of units with `[schedule]` were seen to. Nothing is written
        /// there without such a unit.
        state_dir: Key<AbsolutePath> = "\"/var/lib/svinit\"", Boot;
        /// The control socket.
        control: Table<ControlTable>, Within;
        /// The public listener of `/health` and `/metrics`.
        http: Table<HttpTable>, Within;
        /// svinit's own output.
        log: Table<DaemonLogTable>, Within;
        /// What holds for every unit that does not say otherwise.
        defaults: Table<DefaultsTable>, Within;
    }
}

table! {
    /// `[control]`.
    pub struct ControlTable {
        /// Group, by name or number, that may use the control socket besides its owner.
        socket_group: Key<Owner> => "the owner only", Boot;
        /// Accept a peer from another PID namespace, whose credentials cannot be trusted.
        allow_other_namespaces: Key<bool> = "false", Boot;
        /// Address and port where the same API is served over TCP to who has the token, or `"off"`. Put no more than a
        /// private network of containers there: it is not encrypted.
        listen: Key<Listen> => "off", Boot;
        /// File with the token for `listen`: one line of 16 characters or more. svinit does not start without it.
        token_file: Key<AbsolutePath> => "none, so `listen` cannot be set", Boot;
    }
}

table! {
    /// `[http]`.
    pub struct HttpTable {
        /// Address and port, or `"off"`.
        listen: Key<Listen> => "0.0.0.0:9500 as PID 1, else 127.0.0.1:9500", Boot;
    }
}

table! {
    /// `[log]` of `svinit.toml`.
    pub struct DaemonLogTable {
        /// Form of the one log stream.
        format: Key<Choice<LogFormat>> => "text", Boot;
        /// How much svinit says about itself.
        level: Key<Choice<LogLevel>> = "\"info\"", Boot;
        /// Bytes for the log buffers of all units together.
        buffer_total: Key<Size<65_536>> = "\"64M\"", Boot;
    }
}

table! {
    /// `[defaults]`.
    pub struct DefaultsTable {
        /// As `[restart]` of a unit.
        restart: Table<RestartTable>, Within;
        /// As `[stop]` of a unit.
        stop: Table<StopTable>, Within;
        /// As `[log]` of a unit.
        log: Table<LogTable>, Within;
    }
}

/// A command, or the empty list for none, so that a later layer can take it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionalCommand(pub Option<Argv>);

impl Value for OptionalCommand {
    fn read(item: Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if let DeValue::Array(items) = item.value
            && items.is_empty()
        {
            return Some(Self(None));
        }
        Argv::read(item, reader).map(|argv| Self(Some(argv)))
    }

    fn show(&self) -> String {
        self.0.as_ref().map_or_else(|| "[]".to_owned(), Argv::show)
    }

    fn shape() -> Shape {
        Argv::shape()
    }
}

/// `type =`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindWord {
    /// `simple`
    Simple,
    /// `notify`
    Notify,
    /// `oneshot`
    Oneshot,
    /// `forking`
    Forking,
}

impl Words for KindWord {
    const ALL: &'static [(&'static str, Self)] = &[
        ("simple", Self::Simple),
        ("notify", Self::Notify),
        ("oneshot", Self::Oneshot),
        ("forking", Self::Forking),
    ];
}

impl Words for Stdin {
    const ALL: &'static [(&'static str, Self)] = &[("null", Self::Null), ("tty", Self::Tty)];
}

impl Words for Policy {
    const ALL: &'static [(&'static str, Self)] =
        &[("always", Self::Always), ("on-failure", Self::OnFailure), ("never", Self::Never)];
}

impl Words for RestartMode {
    const ALL: &'static [(&'static str, Self)] =
        &[("stop-first", Self::StopFirst), ("start-first", Self::StartFirst)];
}

impl Words for OnLimit {
    const ALL: &'static [(&'static str, Self)] =
        &[("fail", Self::Fail), ("shutdown", Self::Shutdown), ("retry-later", Self::RetryLater)];
}

impl Words for KillMode {
    const ALL: &'static [(&'static str, Self)] =
        &[("mixed", Self::Mixed), ("group", Self::Group), ("process", Self::Process)];
}

impl Words for Overlap {
    const ALL: &'static [(&'static str, Self)] =
        &[("skip", Self::Skip), ("queue", Self::Queue), ("kill", Self::Kill)];
}

impl Words for Missed {
    const ALL: &'static [(&'static str, Self)] = &[("once", Self::Once), ("skip", Self::Skip)];
}

impl Words for WhenBlocked {
    const ALL: &'static [(&'static str, Self)] = &[("block", Self::Block), ("drop-oldest", Self::DropOldest)];
}

impl Words for LogFormat {
    const ALL: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Words for LogLevel {
    const ALL: &'static [(&'static str, Self)] =
        &[("error", Self::Error), ("warn", Self::Warn), ("info", Self::Info), ("debug", Self::Debug)];
}
