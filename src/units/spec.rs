//! What a unit is once it has been read, expanded and found to be sound.
//!
//! Every value here is final: no `${VAR}`, no text that still has to be parsed, no name that does not exist.
//! Whoever holds a [`UnitSpec`] need not check anything again. The texts that people write are `units::file`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::cron::Cron;
use crate::units::name::UnitName;
use crate::units::socket::SocketSpec;

/// All units of one svinit, checked against each other: references exist, there is no cycle.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct UnitSet {
    /// By name, aliases not among the keys.
    pub units: BTreeMap<UnitName, Arc<UnitSpec>>,
    /// From alias to the unit or the group that answers to it.
    pub aliases: BTreeMap<UnitName, UnitName>,
}

impl UnitSet {
    /// The unit that answers to `name`, be it its own name or an alias.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<UnitSpec>> {
        self.units.get(name).or_else(|| self.units.get(self.aliases.get(name)?))
    }

    /// The instances of the group of this name, in the order of their numbers; none when there is no such group.
    #[must_use]
    pub fn instances(&self, group: &str) -> Vec<&Arc<UnitSpec>> {
        // Everything that begins with "web@" stands between these two.
        let (first, beyond) = (format!("{group}@"), format!("{group}A"));
        let range = (Bound::Excluded(first.as_str()), Bound::Excluded(beyond.as_str()));
        let mut found: Vec<_> = self.units.range::<str, _>(range).map(|(_, spec)| spec).collect();
        found.retain(|spec| spec.instance.is_some());
        found.sort_by_key(|spec| spec.name.parts().1);
        found
    }

    /// All that `name` means: one unit, or the instances of a group; none when it means nothing.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<&Arc<UnitSpec>> {
        let own = self.aliases.get(name).map_or(name, UnitName::as_str);
        self.units.get(own).map_or_else(|| self.instances(own), |spec| vec![spec])
    }
}

/// One unit: what is run, when, how it is watched and how it ends.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitSpec {
    /// Its own name: the file's, without `.toml`, and, of one of several instances, its number.
    pub name: UnitName,
    /// Which of several it is.
    pub instance: Option<Instance>,
    /// One line for people; may be empty.
    pub description: String,
    /// What is run.
    pub command: Argv,
    /// When it counts as up.
    pub kind: Kind,
    /// Started at boot.
    pub enabled: bool,
    /// When it ends for good, the container ends with its status.
    pub essential: bool,
    /// Further names it answers to.
    pub aliases: Vec<UnitName>,
    /// The context its processes run in: user, directory, environment, limits.
    pub context: Context,
    /// Started first and waited for; if one cannot run, neither can this; stopping one stops this.
    pub requires: Vec<UnitName>,
    /// Started first and waited for; a failure is tolerated.
    pub wants: Vec<UnitName>,
    /// Order only, when both are to run. The `before` of others is folded in here.
    pub after: Vec<UnitName>,
    /// Stopped and restarted along with these.
    pub part_of: Vec<UnitName>,
    /// Cannot run at the same time as these. Symmetric: both sides list each other.
    pub conflicts: Vec<UnitName>,
    /// Held by svinit and handed over in this order, from descriptor 3 on.
    pub sockets: Vec<SocketSpec>,
    /// Outside things that must answer before the first start.
    pub wait_for: Option<WaitFor>,
    /// How we know that it is up; `None` leaves it to `kind`.
    pub ready: Option<Ready>,
    /// Longest time from start to ready, and for each `type = "oneshot"` to completion; zero is for ever.
    pub ready_timeout: Duration,
    /// How we know that it is well.
    pub health: Option<Health>,
    /// It says `WATCHDOG=1` at least so often, or it hangs.
    pub watchdog: Option<Duration>,
    /// What follows its end.
    pub restart: Restart,
    /// How it is stopped.
    pub stop: Stop,
    /// What `svctl reload` does.
    pub reload: Reload,
    /// Commands before and after.
    pub hooks: Hooks,
    /// Where its output goes.
    pub log: Log,
    /// Whole-tree memory bounds and the like.
    pub limits: Limits,
    /// When it is run by the clock.
    pub schedule: Option<Schedule>,
    /// The file that defined it last, for messages.
    pub origin: PathBuf,
}

impl UnitSpec {
    /// The unit that a file with nothing but `command` makes: everything else by default.
    #[must_use]
    pub fn new(name: UnitName, command: Argv) -> Self {
        Self {
            name,
            instance: None,
            description: String::new(),
            command,
            kind: Kind::Simple,
            enabled: true,
            essential: false,
            aliases: Vec::new(),
            context: Context {
                umask: Some(0o022),
                working_dir: Some(PathBuf::from("/")),
                ..Context::default()
            },
            requires: Vec::new(),
            wants: Vec::new(),
            after: Vec::new(),
            part_of: Vec::new(),
            conflicts: Vec::new(),
            sockets: Vec::new(),
            wait_for: None,
            ready: None,
            ready_timeout: Duration::from_secs(30),
            health: None,
            watchdog: None,
            restart: Restart::default(),
            stop: Stop::default(),
            reload: Reload { how: None, test: None, timeout: Duration::from_secs(30) },
            hooks: Hooks { timeout: Duration::from_secs(30), ..Hooks::default() },
            log: Log::default(),
            limits: Limits { memory_for: Duration::from_secs(30), ..Limits::default() },
            schedule: None,
            origin: PathBuf::new(),
        }
    }
}

impl UnitSpec {
    /// The group that it belongs to.
    #[must_use]
    pub fn group(&self) -> Option<&UnitName> {
        self.instance.as_ref().map(|instance| &instance.group)
    }

    /// What it is called where nobody cares which of several it is.
    #[must_use]
    pub fn file_name(&self) -> &UnitName {
        self.group().unwrap_or(&self.name)
    }
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: Policy::Always,
            success_codes: vec![0],
            permanent_codes: Vec::new(),
            delay: Duration::ZERO,
            factor: 2.0,
            max_delay: Duration::from_secs(30),
            jitter: 0.1,
            limit: 10,
            window: Duration::from_secs(60),
            on_limit: OnLimit::RetryLater,
            mode: Mode::StopFirst,
        }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            signal: SignalName("TERM".to_owned()),
            timeout: Duration::from_secs(8),
            command: None,
            kill: KillMode::Mixed,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            forward: Forward::Yes,
            file: None,
            timestamps: false,
            max_size: 10 << 20,
            max_age: Duration::from_secs(7 * 24 * 3600),
            keep: 5,
            compress: true,
            buffer: 256 << 10,
            when_blocked: WhenBlocked::Block,
            rate: 0,
        }
    }
}

/// One of several units that one file makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// All of them together.
    pub group: UnitName,
    /// From 1 on.
    pub number: u32,
}

/// Program and arguments, at least one; looked up in `PATH` when it has no slash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argv(pub Vec<String>);

/// `type =`: when a unit counts as up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Up when exec has succeeded (and `ready`, if there is one, has passed).
    Simple,
    /// Up when one of its processes has sent `READY=1`.
    Notify,
    /// Up (completed) when it has ended well.
    Oneshot,
    /// Up when the started process has ended well and `pid_file` names a process of the unit.
    Forking {
        /// Written by the daemon.
        pid_file: PathBuf,
    },
}

/// What every process of the unit starts with.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Context {
    /// Name or number; `None` keeps svinit's own.
    pub user: Option<String>,
    /// Name or number; `None` takes the user's own group.
    pub group: Option<String>,
    /// Supplementary groups, names or numbers; the inherited ones are always dropped when the user changes.
    pub groups: Vec<String>,
    /// File mode creation mask; `None` is 022.
    pub umask: Option<u32>,
    /// `None` is `/`.
    pub working_dir: Option<PathBuf>,
    /// Set over the container's own environment.
    pub environment: BTreeMap<String, String>,
    /// Read at each start, in order; later ones win, `environment` wins over all.
    pub environment_files: Vec<EnvironmentFile>,
    /// Environment variables whose values are read from files at each start, and are never shown.
    pub secrets: BTreeMap<String, PathBuf>,
    /// File name in `$CREDENTIALS_DIRECTORY`, and where it is copied from at each start.
    pub credentials: BTreeMap<String, PathBuf>,
    /// Standard input.
    pub stdin: Stdin,
    /// Resource limits of each process.
    pub rlimits: Rlimits,
    /// What the processes may not do.
    pub sandbox: Sandbox,
}

/// One of `environment_files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentFile {
    /// Lines `NAME=value`.
    pub path: PathBuf,
    /// Written with a leading `-`: no error when it is not there.
    pub may_be_missing: bool,
}

/// `stdin =`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// The terminal that svinit itself was given (unit `main`).
    Tty,
}

/// Per-process limits; `None` leaves what svinit was given.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rlimits {
    /// `RLIMIT_NOFILE`.
    pub nofile: Option<u64>,
    /// `RLIMIT_NPROC`.
    pub nproc: Option<u64>,
    /// `RLIMIT_CORE`, in bytes. svinit itself never dumps core.
    pub core: Option<u64>,
    /// -20 to 19.
    pub nice: Option<i32>,
    /// -1000 to 1000; `None` is 0.
    pub oom_score_adj: Option<i32>,
}

/// `[sandbox]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Sandbox {
    /// `None`: on for units that change user.
    pub no_new_privileges: Option<bool>,
    /// The only capabilities that stay, by name without `CAP_`; `None` leaves them as they are for root and none for others.
    pub capabilities: Option<Vec<String>>,
}

/// One question that is asked of the outside: is it there, does it answer?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// Ends with status 0.
    Exec(Argv),
    /// Answers GET with a status of 200 to 399.
    Http(HttpUrl),
    /// Accepts a connection.
    Tcp(HostPort),
    /// Accepts a connection on a unix stream socket.
    Unix(PathBuf),
    /// Exists.
    File(PathBuf),
}

/// `host:port`; the host is a name, an IPv4 address or a bracketed IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    /// Without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

/// `http://host[:port]/path`. There is no TLS: a probe looks at its own container or its own network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpUrl {
    /// Where to connect.
    pub at: HostPort,
    /// Path and query, beginning with `/`.
    pub path: String,
}

/// `[wait_for]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitFor {
    /// All must pass, each once.
    pub checks: Vec<Check>,
    /// For all of them together.
    pub timeout: Duration,
    /// Between two tries.
    pub interval: Duration,
}

/// `[ready]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// The sign to wait for.
    pub sign: ReadySign,
    /// Between two tries of a check.
    pub interval: Duration,
}

/// The one sign of readiness.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadySign {
    /// This passes.
    Check(Check),
    /// A line of its output matches this regular expression (linear time, checked when read).
    Log(String),
    /// `READY=1` on `NOTIFY_SOCKET`.
    Notify,
    /// A newline on this descriptor (s6), 3 or above.
    Fd(i32),
    /// So much time has passed and it is still there.
    Delay(Duration),
}

/// `[health]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked.
    pub check: Check,
    /// From the end of one check to the beginning of the next.
    pub interval: Duration,
    /// Longest time for one check.
    pub timeout: Duration,
    /// So many failures in a row make it ill; at least 1.
    pub retries: u32,
    /// After it became ready, failures do not count for so long, or until a check has passed.
    pub start_period: Duration,
    /// What is done when it is ill.
    pub on_failure: OnFailure,
}

/// `[health] on_failure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Stop it and start it again; counts as an automatic restart.
    Restart,
    /// As `svctl reload` does.
    Reload,
    /// Send this to its main process.
    Signal(SignalName),
    /// Run this in its context.
    Exec(Argv),
    /// Shut everything down; the container ends with status 1.
    Shutdown,
    /// Show it only.
    None,
}

/// A signal by its name without `SIG`: "TERM", "USR1", "RTMIN+3". Numbers differ between machines, names do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalName(pub String);

/// `[restart]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Restart {
    /// When it is started again by itself.
    pub policy: Policy,
    /// Exit codes that count as success.
    pub success_codes: Vec<u8>,
    /// Exit codes after which a new try is of no use.
    pub permanent_codes: Vec<u8>,
    /// Before the first two retries.
    pub delay: Duration,
    /// Growth from the third retry on; at least 1.
    pub factor: f64,
    /// Where growth ends; also the pause of `retry-later`.
    pub max_delay: Duration,
    /// Share of a delay that is left to chance, 0 to 1, so that many do not come back at the same moment.
    pub jitter: f64,
    /// So many automatic restarts within `window` are the limit; 0 is none.
    pub limit: u32,
    /// Time in `ready` after which the count begins anew.
    pub window: Duration,
    /// What happens at the limit.
    pub on_limit: OnLimit,
    /// How a planned restart goes.
    pub mode: Mode,
}

/// `[restart] mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The old one has ended before the new one is started.
    StopFirst,
    /// The new one is up and well before the old one is told to stop.
    StartFirst,
}

/// `[restart] policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Whatever its end was.
    Always,
    /// When its end was no success. TERM, INT, HUP and PIPE are a success of anything but a oneshot, as in systemd.
    OnFailure,
    /// Never.
    Never,
}

/// `[restart] on_limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLimit {
    /// Failed for good, until a person asks.
    Fail,
    /// Everything is shut down with its status.
    Shutdown,
    /// One more try every `max_delay`.
    RetryLater,
}

/// `[stop]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Sent first, when there is no `command`.
    pub signal: SignalName,
    /// Then everything that is left is killed.
    pub timeout: Duration,
    /// Run instead of the signal; `MAINPID` is in its environment.
    pub command: Option<Argv>,
    /// Whom signal and kill reach.
    pub kill: KillMode,
}

/// `[stop] kill`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillMode {
    /// The signal to the main process; KILL to all that is left when that has ended.
    Mixed,
    /// The signal to every process of the unit; all of them have until the timeout.
    Group,
    /// Signal and KILL to the main process only; what is left of the unit is killed before its next start.
    Process,
}

/// `[reload]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reload {
    /// How; `None`: this unit cannot be reloaded, only restarted.
    pub how: Option<ReloadHow>,
    /// Must succeed before a reload, and before a restart that a person asked for.
    pub test: Option<Argv>,
    /// For `test` and a reload command, each.
    pub timeout: Duration,
}

/// The means of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadHow {
    /// To the main process.
    Signal(SignalName),
    /// In the unit's context; `MAINPID` is in its environment.
    Command(Argv),
}

/// `[hooks]`: each a list of commands, run one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Hooks {
    /// Before the command; a failure is a failed start.
    pub pre_start: Vec<Argv>,
    /// After it is ready; a failure is reported and changes nothing.
    pub post_start: Vec<Argv>,
    /// Before it is told to stop; a failure changes nothing.
    pub pre_stop: Vec<Argv>,
    /// After it and all its processes have ended, however; told `SERVICE_RESULT`, `EXIT_CODE` and `EXIT_STATUS`.
    pub post_stop: Vec<Argv>,
    /// For each command; then it and what it started are killed.
    pub timeout: Duration,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// To svinit's own stdout and stderr.
    pub forward: Forward,
    /// Into this file as well.
    pub file: Option<PathBuf>,
    /// RFC 3339 before each line in the file.
    pub timestamps: bool,
    /// The file is rotated when it would grow beyond; 0 never.
    pub max_size: u64,
    /// The file is rotated when it is older, and rotated files are removed when they are; zero never.
    pub max_age: Duration,
    /// Rotated files that are kept.
    pub keep: u32,
    /// Rotated files become `.gz`.
    pub compress: bool,
    /// Bytes kept in memory for `svctl logs`, and bytes that may wait for a blocked stdout or disk.
    pub buffer: u64,
    /// What happens when those are used up.
    pub when_blocked: WhenBlocked,
    /// Lines a second that pass, the others are counted; 0 is no bound.
    pub rate: u32,
}

/// `[log] forward`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// With the unit's name before each line.
    Yes,
    /// Not at all.
    No,
    /// The service writes to the container's own stdout and stderr by itself; nothing of it passes through svinit.
    Inherit,
}

/// `[log] when_blocked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBlocked {
    /// The unit waits in its write, no line is lost.
    Block,
    /// The oldest waiting lines go, and are counted.
    DropOldest,
}

/// `[schedule]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The moments.
    pub when: When,
    /// What one means while the run of an earlier one is not over.
    pub overlap: Overlap,
    /// What those mean that passed while nobody looked.
    pub missed: Missed,
    /// Each run begins at random up to so much later.
    pub jitter: Duration,
    /// It is run when it is armed, too.
    pub at_start: bool,
}

/// `[schedule] cron` or `every`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// By the wall clock.
    Cron {
        /// Its fields.
        cron: Cron,
        /// Whose clock.
        zone: Zone,
    },
    /// So much time from one to the next.
    Every(Duration),
}

/// `[schedule] timezone`. Whether there is such a zone is not known before the image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Coordinated universal time.
    Utc,
    /// That of the container.
    Local,
    /// A name of the time zone database.
    Named(String),
    /// Rules as in POSIX `TZ`, which need no database.
    Rules(String),
}

/// `[schedule] overlap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// It is skipped.
    Skip,
    /// Its run follows.
    Queue,
    /// Its run begins as soon as the present one has been stopped.
    Kill,
}

/// `[schedule] missed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nothing is made up for.
    Skip,
    /// One run makes up for all.
    Once,
}

impl Zone {
    /// Reads `"UTC"`, `"local"`, `"Europe/Zurich"`, `"CET-1CEST,M3.5.0,M10.5.0/3"`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "UTC" | "utc" | "Etc/UTC" => return Some(Self::Utc),
            "local" => return Some(Self::Local),
            _ => {}
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-+".contains(c);
        let part =
            |part: &str| part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(plain);
        let is_rules =
            text.contains(|c: char| c.is_ascii_digit()) && !text.contains('/') || text.contains([',', '<']);
        if is_rules {
            return jiff::tz::TimeZone::posix(text).ok().map(|_| Self::Rules(text.to_owned()));
        }
        text.split('/').all(part).then(|| Self::Named(text.to_owned()))
    }
}

impl std::fmt::Display for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Utc => "UTC",
            Self::Local => "local",
            Self::Named(text) | Self::Rules(text) => text,
        })
    }
}

/// Bounds for the whole tree of the unit: by cgroup v2 where one can be made, else watched.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes; above it for `memory_for`, a graceful restart.
    pub memory_high: Option<u64>,
    /// How long it may be above `memory_high`.
    pub memory_for: Duration,
    /// Bytes; never more than this.
    pub memory_max: Option<u64>,
    /// Percent of one CPU.
    pub cpu_percent: Option<u32>,
    /// Tasks.
    pub pids: Option<u32>,
}

/// The port of `/health` when nobody chooses one.
pub const HTTP_PORT: u16 = 9500;

/// `svinit.toml`: the daemon's own settings.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonSpec {
    /// Group (name or number) that may use the control socket besides its owner.
    pub socket_group: Option<String>,
    /// Accept a peer whose PID namespace is another, so that its credentials cannot be trusted.
    pub allow_other_namespaces: bool,
    /// Where the control API is served over TCP; `None`: nowhere.
    pub control_listen: Option<SocketAddr>,
    /// Whoever knows what is in this file may use that.
    pub control_token_file: Option<PathBuf>,
    /// The public listener: `Some(None)` is off, `None` leaves it to the command line and the default.
    pub http_listen: Option<Option<SocketAddr>>,
    /// Text or JSON lines.
    pub log_format: Option<LogFormat>,
    /// How much svinit says about itself.
    pub log_level: LogLevel,
    /// Bytes for all log buffers together.
    pub log_buffer_total: u64,
    /// One deadline for the whole shutdown.
    pub shutdown_timeout: Duration,
    /// Automatic restarts a second, all units together.
    pub fork_rate: u32,
    /// Where svinit keeps what outlives it.
    pub state_dir: PathBuf,
}

/// The form of the one log stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `gunicorn | line`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log] level` of svinit's own messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// Only what is broken.
    Error,
    /// And what looks wrong.
    Warn,
    /// And every change of state.
    #[default]
    Info,
    /// And each probe and decision.
    Debug,
}

impl Default for DaemonSpec {
    fn default() -> Self {
        Self {
            socket_group: None,
            allow_other_namespaces: false,
            control_listen: None,
            control_token_file: None,
            http_listen: None,
            log_format: None,
            log_level: LogLevel::Info,
            log_buffer_total: 64 << 20,
            shutdown_timeout: Duration::from_millis(9500),
            fork_rate: 50,
            state_dir: PathBuf::from("/var/lib/svinit"),
        }
    }
}
