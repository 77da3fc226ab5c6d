//! From an executed program to a driver that runs: what must come before what.
//!
//! 1. [`early`], first thing in `main`: signal handlers before any thread and any child, since PID 1 gets no signal
//!    without one, and a thread that does not block what others block could kill it. Then orphans are made ours.
//! 2. The caller reads the units; nothing was started when they are bad.
//! 3. [`assemble`]: listeners, the log's threads, the threads that make processes. No thread is made after that: at
//!    `pids.max` it would panic.
//! 4. `Driver::run`, until everything has ended; then [`Traces`] are dropped.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tracing_subscriber::layer::SubscriberExt;

use crate::lifecycle::supervisor::{Settings, Supervisor};
use crate::logs::own::Own;
use crate::logs::pump::Pump;
use crate::logs::writer::{Files, Streams, Writer};
use crate::os::cgroup::{Cgroups, Places};
use crate::os::clock;
use crate::os::error::{Doing, Error};
use crate::os::files;
use crate::os::hold;
use crate::os::oom::OomWatch;
use crate::os::outer::Outer;
use crate::os::own::{self, Given};
use crate::os::poll::Poller;
use crate::os::posture::{self, Posture};
use crate::os::reap;
use crate::os::signals::Signals;
use crate::os::spawn::Spawners;
use crate::os::tree::Trees;
use crate::os::user;
use crate::runtime::driver::{Driver, Sources};
use crate::runtime::environment::Inherited;
use crate::runtime::handle::{ASKS_BACKLOG, Board, Handle, Info, Reader, Sources as SourceTexts};
use crate::runtime::hands::{Hands, Setting, Tools};
use crate::runtime::load::Paths;
use crate::runtime::prepare;
use crate::runtime::probe::Probes;
use crate::runtime::signals::Role;
use crate::units::name::UnitName;
use crate::units::show;
use crate::units::spec::{DaemonSpec, LogFormat, LogLevel, UnitSet};

/// Mode of the control socket without and with a group.
const SOCKET_MODES: [u32; 2] = [0o600, 0o660];

/// A process, two pipes, and two more while it is made.
const DESCRIPTORS_PER_UNIT: usize = 6;

/// With fewer units at boot, threads to make them cost more than they save.
const UNITS_WORTH_THREADS: usize = 8;

/// More of them only wait for the same locks of the kernel.
const SPAWNERS_MAX: usize = 4;

/// What was done first.
pub struct Early {
    /// Caught from here on.
    pub signals: Signals,
    /// Where we are.
    pub posture: Posture,
    /// The limits that svinit was given, before it changed its own.
    pub given: Given,
    /// To be said once there is a log.
    pub warnings: Vec<String>,
}

/// Catches signals, adopts orphans, and gives up what svinit must not do. Before any thread and any child.
///
/// # Errors
/// Without signal handlers nothing may be started.
pub fn early() -> Result<Early, Error> {
    let signals = Signals::install()?;
    let posture = Posture::look();
    let mut warnings = Vec::new();
    if !posture.is_pid1 {
        warnings.extend(reap::become_subreaper().err().map(|error| error.to_string()));
    }
    let given = Given::look();
    posture::harden();
    Ok(Early { signals, posture, given, warnings })
}

/// What is to be run, and how svinit is to be reached.
pub struct Wishes {
    /// The units, `main` among them.
    pub set: UnitSet,
    /// `svinit.toml`.
    pub daemon: DaemonSpec,
    /// Where the units were read from.
    pub unit_paths: Vec<PathBuf>,
    /// The files of each unit.
    pub sources: SourceTexts,
    /// From where they are read again.
    pub paths: Paths,
    /// Units, or one command.
    pub role: Role,
    /// The unit that was made of COMMAND.
    pub foreground: Option<UnitName>,
    /// The form of the log.
    pub log_format: LogFormat,
    /// How grave svinit's own words must be to be said.
    pub log_level: LogLevel,
    /// Where the control socket may be, best first.
    pub socket_places: Vec<PathBuf>,
    /// Somebody named the place, so there is no other.
    pub socket_asked: bool,
    /// Where `/health` is served.
    pub http: HttpWish,
}

/// Where `/health` is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpWish {
    /// Nowhere.
    Off,
    /// Here, if that is possible.
    Default(SocketAddr),
    /// Here, or svinit does not start.
    Asked(SocketAddr),
}

/// A driver that can be run, and what belongs to it.
pub struct Assembled {
    /// To be run.
    pub driver: Driver,
    /// For the control server.
    pub handle: Handle,
    /// For the control server.
    pub control: Option<UnixListener>,
    /// For the public server.
    pub http: Option<TcpListener>,
    /// What is removed at the end.
    pub traces: Traces,
}

/// Files that svinit has made for as long as it lives. They go with this value, also when the start is given up half
/// way.
pub struct Traces {
    socket: Option<PathBuf>,
    dir: Option<PathBuf>,
}

impl Drop for Traces {
    /// What cannot be removed is in nobody's way: the next svinit replaces it.
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
        if let Some(dir) = &self.dir {
            let _ = std::fs::remove_dir_all(dir);
            // The directory above is shared; it goes when it is empty.
            if let Some(above) = dir.parent() {
                let _ = std::fs::remove_dir(above);
            }
        }
    }
}

/// Puts everything together. To be called on the runtime that runs the driver.
///
/// # Errors
/// What was asked for by name and cannot be had, or there is no descriptor left.
pub fn assemble(early: Early, wishes: Wishes) -> Result<Assembled, Error> {
    let started = clock::now();
    own::expect_descriptors(descriptors(&wishes.set));
    let control = control_listener(&wishes)?;
    let mut traces = Traces { socket: control.path.clone(), dir: None };
    let http = http_listener(wishes.http)?;
    let mut warnings = early.warnings;
    warnings.extend(control.warning.clone());
    warnings.extend(http.warning.clone());

    let buffer_total = wishes.daemon.log_buffer_total;
    let writer = Writer::start(Streams::own(wishes.log_format, buffer_total), files(&wishes.set));
    let voice = Own::new(&writer, wishes.log_level);
    // Only fails when there is one already, as in tests.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(voice.layer()));
    let poller = Arc::new(Poller::new().doing(|| "make an epoll".to_owned())?);
    let mut pump = Pump::new(writer, voice, Arc::clone(&poller), buffer_total)?;

    let (inherited, odd) = Inherited::own();
    let outer = std::env::var_os("NOTIFY_SOCKET").map(|place| Outer::connect(&place)).transpose();
    let outer = outer.unwrap_or_else(|error| {
        warnings.push(error.to_string());
        None
    });
    warnings.extend(odd.iter().map(|name| format!("{name} is not UTF-8 and is not passed on to services")));
    let (dir, warning) = runtime_dir(&wishes.set, &inherited, early.posture.pid);
    traces.dir = Some(dir.clone());
    warnings.extend(warning);
    pump.say(None, LogLevel::Info, &first_words(&early.posture, &control, &http, wishes.set.units.len()));
    if !early.posture.is_pid1 {
        // In front of one command nobody expects more of us.
        let level = if wishes.role == Role::Command { LogLevel::Info } else { LogLevel::Warn };
        pump.say(
            None,
            level,
            "not PID 1: looks after what its own services leave behind, not after all others",
        );
    }
    for warning in &warnings {
        pump.say(None, LogLevel::Warn, warning);
    }

    // In this order: the last moves svinit.
    let places = Places::read();
    let oom = OomWatch::container(&places);
    let cgroups = Cgroups::detect(&places);
    let settings = Settings {
        seed: RandomState::new().hash_one(started.0),
        shutdown_timeout: wishes.daemon.shutdown_timeout,
        fork_rate: wishes.daemon.fork_rate,
        limits_enforced: cgroups.as_ref().is_some_and(|groups| groups.has("memory")),
    };
    let supervisor = Supervisor::new(&wishes.set, settings, started);
    let trees = Trees::detect();
    let info = Info {
        started,
        pid: early.posture.pid,
        unit_paths: wishes.unit_paths,
        http: http.listener.as_ref().and_then(|listener| listener.local_addr().ok()),
        tracking: trees.kind(),
        wall_us_at_start: clock::wall_of(started),
        clock: clock::now,
        effective: show::effective,
    };
    let spawners = Spawners::new(spawners(&wishes.set));
    let set = Arc::new(wishes.set);
    let board = Board::new(Arc::clone(&set), supervisor.views(), info);
    board.set_sources(wishes.sources);
    let (probes, answers) = Probes::new();
    let (asks, asked) = mpsc::channel(ASKS_BACKLOG);
    let setting = Setting {
        set,
        paths: wishes.paths,
        daemon: wishes.daemon,
        role: wishes.role,
        foreground: wishes.foreground,
        inherited,
        dir,
        given: early.given,
        uid: early.posture.uid,
    };
    let hands = Hands::new(setting, Tools { trees, cgroups, oom, pump, poller, probes, spawners });
    let reader = Reader::new(Arc::clone(&board)).with_usage(asks.clone());
    let handle = Handle::new(reader, asks);
    let sources = Sources { signals: early.signals, asks: asked, answers };
    let driver =
        Driver::new(supervisor, hands, board, sources, outer).doing(|| "start the main loop".to_owned())?;
    Ok(Assembled { driver, handle, control: control.listener, http: http.listener, traces })
}

/// How many descriptors these units need at most.
pub(super) fn descriptors(set: &UnitSet) -> usize {
    let sockets: usize = set.units.values().map(|unit| unit.sockets.len()).sum();
    // One that is held, and one that is handed over.
    set.units.len() * DESCRIPTORS_PER_UNIT + 2 * sockets
}

/// Who we are and how we are reached.
fn first_words(posture: &Posture, control: &Control, http: &Http, units: usize) -> String {
    let mut words = format!("svinit {} as PID {}", env!("CARGO_PKG_VERSION"), posture.pid);
    words += &if units == 1 { ", 1 unit".to_owned() } else { format!(", {units} units") };
    if let Some(path) = &control.path {
        words += &format!(", control socket {}", path.display());
    }
    if let Some(at) = http.listener.as_ref().and_then(|listener| listener.local_addr().ok()) {
        words += &format!(", health at http://{at}/health");
    }
    words
}

#[derive(Default)]
struct Control {
    listener: Option<UnixListener>,
    path: Option<PathBuf>,
    warning: Option<String>,
}

/// The first place where the control socket can be made. That it can be made nowhere stops svinit only when the place
/// was asked for.
fn control_listener(wishes: &Wishes) -> Result<Control, Error> {
    let group = wishes.daemon.socket_group.as_deref().map(user::group).transpose()?;
    let mode = SOCKET_MODES[usize::from(group.is_some())];
    let mut last = None;
    for path in &wishes.socket_places {
        match listen(path, mode, group) {
            Ok(listener) => {
                return Ok(Control { listener: Some(listener), path: Some(path.clone()), warning: None });
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if wishes.socket_asked => Err(error),
        last => {
            let why = last.map_or_else(|| "there is no place for it".to_owned(), |error| error.to_string());
            let warning = Some(format!("no control socket, so no svctl: {why}; give --socket PATH"));
            Ok(Control { warning, ..Control::default() })
        }
    }
}

fn listen(path: &Path, mode: u32, group: Option<u32>) -> Result<UnixListener, Error> {
    make_parent(path)?;
    let listener = hold::listen_unix(path, mode, group)?;
    UnixListener::from_std(listener).doing(|| format!("listen on {}", path.display())).inspect_err(|_| {
        // It was made just now, and nobody will serve it.
        let _ = std::fs::remove_file(path);
    })
}

/// Only what is not there: a directory that somebody else has made is used as it is.
fn make_parent(path: &Path) -> Result<(), Error> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() && !dir.exists() => files::make_dir(dir, 0o711),
        _ => Ok(()),
    }
}

struct Http {
    listener: Option<TcpListener>,
    warning: Option<String>,
}

fn http_listener(wish: HttpWish) -> Result<Http, Error> {
    let bind = |at: SocketAddr| -> io::Result<TcpListener> {
        let listener = std::net::TcpListener::bind(at)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    let doing = |at: SocketAddr| move || format!("serve /health at {at}");
    match wish {
        HttpWish::Off => Ok(Http { listener: None, warning: None }),
        HttpWish::Asked(at) => Ok(Http { listener: Some(bind(at).doing(doing(at))?), warning: None }),
        HttpWish::Default(at) => Ok(match bind(at).doing(doing(at)) {
            Ok(listener) => Http { listener: Some(listener), warning: None },
            Err(error) => {
                let warning = format!("{error}; going on without, choose another with --http ADDR or off");
                Http { listener: None, warning: Some(warning) }
            }
        }),
    }
}

fn files(set: &UnitSet) -> Files {
    if set.units.values().any(|unit| unit.log.file.is_some()) { Files::Some } else { Files::None }
}

/// A directory of this process alone, for notify sockets and credentials: made only if some unit needs it, so that
/// svinit does not wait for a disk. What an earlier svinit of the same number has left there is removed: it cannot live
/// any more.
fn runtime_dir(set: &UnitSet, inherited: &Inherited, pid: i32) -> (PathBuf, Option<String>) {
    let unmade = || PathBuf::from("/run/svinit").join(pid.to_string());
    if !set.units.values().any(|unit| prepare::needs_dir(unit)) {
        return (unmade(), None);
    }
    match files::runtime_dir(inherited.get("XDG_RUNTIME_DIR").map(Path::new), &pid.to_string()) {
        Ok(dir) => (dir, None),
        Err(error) => {
            let warning = format!("{error}; units with type = \"notify\" or credentials cannot start");
            (unmade(), Some(warning))
        }
    }
}

/// How many threads help to make processes.
fn spawners(set: &UnitSet) -> usize {
    if set.units.values().filter(|unit| unit.enabled).count() < UNITS_WORTH_THREADS {
        return 0;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(SPAWNERS_MAX) - 1
}
