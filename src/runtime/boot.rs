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
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tracing_subscriber::layer::SubscriberExt;

use crate::lifecycle::event::Event;
use crate::lifecycle::recovery::Again;
use crate::lifecycle::saved::Saved;
use crate::lifecycle::supervisor::{Settings, Supervisor};
use crate::lifecycle::time::Time;
use crate::logs::own::Own;
use crate::logs::pump::{Pump, SavedLogs};
use crate::logs::writer::{Files, Streams, Writer};
use crate::os::binary::Binary;
use crate::os::cgroup::{Cgroups, Places};
use crate::os::clock;
use crate::os::error::{Doing, Error};
use crate::os::files;
use crate::os::handover::{Left, Parcel};
use crate::os::haste;
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
use crate::runtime::clients::{Clients, Rejoined, SavedClient};
use crate::runtime::driver::{Driver, Sources};
use crate::runtime::environment::Inherited;
use crate::runtime::handle::{
    ASKS_BACKLOG, Board, Handle, Info, JobNumbers, Program, Reader, Sources as SourceTexts,
};
use crate::runtime::handover::{Arrival, Before, Document, Header, How, Place};
use crate::runtime::hands::{Hands, Setting, Tools};
use crate::runtime::load::Paths;
use crate::runtime::prepare;
use crate::runtime::probe::Probes;
use crate::runtime::safe;
use crate::runtime::saved::SavedHands;
use crate::runtime::signals::Role;
use crate::runtime::unknown::{Unclaimed, Unknown};
use crate::runtime::upgrade::Surroundings;
use crate::units::name::UnitName;
use crate::units::show;
use crate::units::source::Source;
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

/// The units of an update that not every unit has taken over, with their files.
#[derive(Debug, Default)]
pub struct ToCome {
    /// All of them.
    pub set: UnitSet,
    /// By unit.
    pub sources: SourceTexts,
}

/// What is to be run, and how svinit is to be reached.
pub struct Wishes {
    /// What some of the units are to be, in whose stead this svinit goes on with an update.
    pub to_come: ToCome,
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
    /// All files, as they were read.
    pub texts: Vec<Source>,
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
    /// For the same over TCP.
    pub remote: Option<TcpListener>,
    /// Its clients of before, who wait for the rest of an answer.
    pub rejoined: Vec<Rejoined>,
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
pub fn assemble(early: Early, mut wishes: Wishes, arrival: Option<Arrival>) -> Result<Assembled, Error> {
    let mut legacy = arrival.map(Legacy::of);
    let takes_over = legacy.is_some();
    let started = legacy.as_ref().map_or_else(clock::now, |legacy| legacy.place.started);
    own::expect_descriptors(descriptors(&wishes.set));
    let control = match &mut legacy {
        Some(legacy) => legacy.control(),
        None => control_listener(&wishes)?,
    };
    let mut traces = Traces { socket: control.path.clone(), dir: None };
    let http = match &mut legacy {
        Some(legacy) => legacy.http(),
        None => http_listener(wishes.http)?,
    };
    let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().doing(|| "copy a listener".to_owned());
    let remote = match &mut legacy {
        // One that the first svinit did not have is not opened by the next: the settings are those of the boot.
        Some(legacy) => legacy.remote(),
        None => remote_listener(&wishes.daemon)?,
    };
    let copy = |fd: BorrowedFd<'_>| or_fault(copy(fd), takes_over);
    let remote_copy = remote.as_ref().map(|listener| copy(listener.as_fd())).transpose()?;
    let control_copy = match (&control.listener, &control.path) {
        (Some(listener), Some(path)) => Some((copy(listener.as_fd())?, path.clone())),
        (Some(_) | None, _) => None,
    };
    let http_copy = http.listener.as_ref().map(|listener| copy(listener.as_fd())).transpose()?;
    let mut warnings = early.warnings;
    warnings.extend(control.warning.clone());
    warnings.extend(http.warning.clone());

    let buffer_total = wishes.daemon.log_buffer_total;
    let writer = Writer::start(Streams::own(wishes.log_format, buffer_total), files(&wishes.set));
    let voice = Own::new(&writer, wishes.log_level);
    // Only fails when there is one already, as in tests.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(voice.layer()));
    let poller = Arc::new(or_fault(Poller::new().doing(|| "make an epoll".to_owned()), takes_over)?);
    let mut pump = or_fault(Pump::new(writer, voice, Arc::clone(&poller), buffer_total), takes_over)?;
    if let Some(Legacy { logs, parcel, left, .. }) = &mut legacy {
        pump.restore(std::mem::take(logs), parcel, left, &wishes.set);
    }

    let (inherited, odd) = Inherited::own();
    let outer = std::env::var_os("NOTIFY_SOCKET").map(|place| Outer::connect(&place)).transpose();
    let outer = outer.unwrap_or_else(|error| {
        warnings.push(error.to_string());
        None
    });
    warnings.extend(odd.iter().map(|name| format!("{name} is not UTF-8 and is not passed on to services")));
    let dir = match &legacy {
        Some(legacy) => legacy.place.dir.clone(),
        None => {
            let (dir, warning) = runtime_dir(&wishes.set, &inherited, early.posture.pid);
            warnings.extend(warning);
            dir
        }
    };
    traces.dir = Some(dir.clone());
    let words = match &legacy {
        Some(legacy) => legacy.first_words(wishes.set.units.len()),
        None => first_words(&early.posture, &control, remote.as_ref(), &http, wishes.set.units.len()),
    };
    let level = match legacy.as_ref().map(|legacy| &legacy.how) {
        Some(How::Crash(_)) => LogLevel::Error,
        Some(How::Return(_)) => LogLevel::Warn,
        Some(How::Upgrade) | None => LogLevel::Info,
    };
    pump.say(None, level, &words);
    if !early.posture.is_pid1 && legacy.is_none() {
        // In front of one command nobody expects more of us.
        let level = if wishes.role == Role::Command { LogLevel::Info } else { LogLevel::Warn };
        pump.say(
            None,
            level,
            "not PID 1: looks after what its own services leave behind, not after all others",
        );
    }
    // Those of the first start were said then.
    for warning in warnings.iter().filter(|_| legacy.is_none()) {
        pump.say(None, LogLevel::Warn, warning);
    }

    // In this order: the last moves svinit.
    let places = legacy.as_ref().map_or_else(Places::read, |legacy| legacy.place.groups.clone());
    let oom = OomWatch::container(&places);
    let cgroups = match &mut legacy {
        Some(legacy) => legacy.place.own_group.take().map(Cgroups::restore),
        None => Cgroups::detect(&places),
    };
    let settings = Settings {
        limits_enforced: cgroups.as_ref().is_some_and(|groups| groups.has("memory")),
        ..settings(&wishes.daemon, RandomState::new().hash_one(started.0))
    };
    let mut supervisor = match legacy.as_mut().and_then(|legacy| legacy.machine.take()) {
        Some(saved) => {
            let restored = Supervisor::restore(saved, &wishes.set, &wishes.to_come.set, settings);
            or_fault(restored.map_err(|why| Error::new("read how the units were", why)), takes_over)?
        }
        None => Supervisor::new(&wishes.set, settings, started),
    };
    let path = legacy.as_ref().map(|legacy| legacy.path.clone());
    // Without /proc there is no way to find it, and no upgrade in place.
    let program = Binary::running(path).ok().map(Arc::new);
    let trees = Trees::detect();
    let info = Info {
        started,
        pid: early.posture.pid,
        unit_paths: wishes.unit_paths,
        http: http.listener.as_ref().and_then(|listener| listener.local_addr().ok()),
        tracking: trees.kind(),
        wall_us_at_start: legacy
            .as_ref()
            .map_or_else(|| clock::wall_of(started), |legacy| legacy.place.wall_us_at_start),
        clock: clock::now,
        effective: show::effective,
        program: Program {
            binary: program.clone(),
            upgrades: legacy.as_ref().map_or(0, |legacy| legacy.upgrades),
            paused: legacy.as_ref().map(|legacy| clock::now().since(legacy.stopped)),
        },
    };
    if let Some(niceness) = legacy.as_ref().and_then(|legacy| legacy.niceness) {
        haste::end(niceness);
    }
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
        given: legacy.as_ref().map_or(early.given, |legacy| legacy.place.given),
        uid: early.posture.uid,
    };
    let mut hands = Hands::new(setting, Tools { trees, cgroups, oom, pump, poller, probes, spawners });
    let clients = Clients::default();
    let jobs = JobNumbers::after(legacy.as_ref().map_or(0, |legacy| legacy.place.job_id));
    let surroundings = Surroundings {
        began: clock::now(),
        clients: clients.clone(),
        jobs: jobs.clone(),
        program,
        upgrades: legacy.as_ref().map_or(0, |legacy| legacy.upgrades),
        sources: std::mem::take(&mut wishes.texts),
        control: control_copy,
        http: http_copy,
        remote: remote_copy,
        groups: places,
        before: legacy.as_mut().and_then(|legacy| legacy.before.take()),
        recoveries: legacy.as_mut().map(|legacy| std::mem::take(&mut legacy.recoveries)).unwrap_or_default(),
        unknown: legacy.as_mut().map(|legacy| std::mem::take(&mut legacy.unknown)).unwrap_or_default(),
        unclaimed: Unclaimed::default(),
    };
    if let Some(legacy) = &mut legacy {
        board.go_on_from(legacy.place.change_id);
        hands.restore(std::mem::take(&mut legacy.hands), &mut legacy.left);
        if matches!(legacy.how, How::Crash(_)) {
            let again = legacy.how_much_again();
            let last = hands.reconcile(supervisor.last_run(), std::mem::take(&mut legacy.heard), again);
            supervisor.number_runs_from(last);
        }
    }
    let reader = Reader::new(Arc::clone(&board)).with_usage(asks.clone());
    let handle = Handle::new(reader, asks).with(jobs, clients);
    let sources = Sources { signals: early.signals, asks: asked, answers };
    let driver = Driver::new(supervisor, hands, board, sources, outer, surroundings);
    let mut driver = or_fault(driver.doing(|| "start the main loop".to_owned()), takes_over)?;
    let mut rejoined = Vec::new();
    if let Some(Legacy { clients, left, .. }) = &mut legacy {
        driver.succeed();
        driver.go_on_with_update(std::mem::take(&mut wishes.to_come));
        rejoined = driver.rejoin(std::mem::take(clients), left);
        driver.keep_unclaimed(left);
    }
    let (control, http) = (control.listener, http.listener);
    Ok(Assembled { driver, handle, control, remote, rejoined, http, traces })
}

/// Where something was left, a failure is a fault: who left it goes on, or safe mode does, with every descriptor still open. Coming
/// back with an error would close them, and end svinit with all that it looks after.
///
/// # Errors
/// `tried`, where nothing was left.
///
/// # Panics
/// Where something was.
pub fn or_fault<T>(tried: Result<T, Error>, takes_over: bool) -> Result<T, Error> {
    match tried {
        Err(error) if takes_over => panic!("cannot go on with what was left: {error}"),
        tried => tried,
    }
}

/// What the machine needs to know of `svinit.toml`.
#[must_use]
pub fn settings(daemon: &DaemonSpec, seed: u64) -> Settings {
    let DaemonSpec { shutdown_timeout, fork_rate, .. } = *daemon;
    Settings { seed, shutdown_timeout, fork_rate, limits_enforced: false }
}

/// What was heard before a second crash within this is not told again.
const AGAIN_WITHIN: Duration = Duration::from_secs(5);

/// What another svinit has left, while it is taken over piece by piece.
struct Legacy {
    version: String,
    path: PathBuf,
    upgrades: u64,
    stopped: Time,
    niceness: Option<i32>,
    machine: Option<Saved>,
    hands: SavedHands,
    logs: SavedLogs,
    place: Place,
    clients: Vec<SavedClient>,
    parcel: Parcel,
    left: Left,
    how: How,
    before: Option<Before>,
    recoveries: Vec<Time>,
    heard: Vec<Event>,
    unknown: Unknown,
}

impl Legacy {
    fn of(arrival: Arrival) -> Self {
        let Arrival { how, before, document, parcel, left, heard } = arrival;
        let Document { header, sources: _, coming: _, machine, hands, logs, place, clients, unknown } =
            document;
        let Header { version, path, stopped, niceness, upgrades, mut recoveries, .. } = header;
        // It was counted before it failed.
        let upgrades = if matches!(how, How::Return(_)) { upgrades.saturating_sub(1) } else { upgrades };
        if matches!(how, How::Crash(_)) {
            let now = clock::now();
            recoveries.retain(|at| safe::recent(&[*at], now) > 0);
            recoveries.push(now);
        }
        Self {
            version,
            path,
            upgrades,
            stopped,
            niceness,
            machine: Some(machine),
            hands,
            logs,
            place,
            clients,
            parcel,
            left,
            how,
            before,
            recoveries,
            heard,
            unknown,
        }
    }

    /// What was heard may be what svinit has crashed by, twice.
    fn how_much_again(&self) -> Again {
        let now = clock::now();
        let lately = self.recoveries.iter().filter(|at| now.since(**at) <= AGAIN_WITHIN).count();
        // This one is among them.
        if lately > 1 { Again::Orders } else { Again::Everything }
    }

    /// The listener that was there before; who is in its queue does not notice.
    fn control(&mut self) -> Control {
        let Some((fd, path)) = self.place.control.take() else { return Control::default() };
        let listener = self.left.fd(fd).map(std::os::unix::net::UnixListener::from);
        let listener = listener.and_then(|listener| UnixListener::from_std(listener).ok());
        Control { listener, path: Some(path), warning: None }
    }

    fn remote(&mut self) -> Option<TcpListener> {
        let listener = self.place.remote.take().and_then(|fd| self.left.fd(fd))?;
        TcpListener::from_std(std::net::TcpListener::from(listener)).ok()
    }

    fn http(&mut self) -> Http {
        let listener =
            self.place.http.take().and_then(|fd| self.left.fd(fd)).map(std::net::TcpListener::from);
        Http { listener: listener.and_then(|listener| TcpListener::from_std(listener).ok()), warning: None }
    }

    fn first_words(&self, units: usize) -> String {
        let own = env!("CARGO_PKG_VERSION");
        let units = if units == 1 { "1 unit".to_owned() } else { format!("{units} units") };
        match &self.how {
            How::Upgrade => {
                format!(
                    "svinit {own} goes on with {units} of svinit {}, upgrade {}",
                    self.version, self.upgrades
                )
            }
            How::Return(why) => {
                format!("svinit {own} goes on with {units}: the program on the disk could not: {why}")
            }
            How::Crash(why) => format!("svinit {own} has crashed ({why}) and goes on with {units}"),
        }
    }
}

/// How many descriptors these units need at most.
pub(super) fn descriptors(set: &UnitSet) -> usize {
    let sockets: usize = set.units.values().map(|unit| unit.sockets.len()).sum();
    // One that is held, and one that is handed over.
    set.units.len() * DESCRIPTORS_PER_UNIT + 2 * sockets
}

/// Who we are and how we are reached.
fn first_words(
    posture: &Posture,
    control: &Control,
    remote: Option<&TcpListener>,
    http: &Http,
    units: usize,
) -> String {
    let mut words = format!("svinit {} as PID {}", env!("CARGO_PKG_VERSION"), posture.pid);
    words += &if units == 1 { ", 1 unit".to_owned() } else { format!(", {units} units") };
    if let Some(path) = &control.path {
        words += &format!(", control socket {}", path.display());
    }
    if let Some(at) = remote.and_then(|listener| listener.local_addr().ok()) {
        words += &format!(", control API for who has the token at {at}");
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

fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(at)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Only where it was asked for, and then it must be possible.
fn remote_listener(daemon: &DaemonSpec) -> Result<Option<TcpListener>, Error> {
    let doing = |at: SocketAddr| move || format!("serve the control API at {at}");
    daemon.control_listen.map(|at| bind(at).doing(doing(at))).transpose()
}

fn http_listener(wish: HttpWish) -> Result<Http, Error> {
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
