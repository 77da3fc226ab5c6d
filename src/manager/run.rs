//! The manager as a program: from its file to listeners and tasks, through every reload, to an orderly end.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::manager::admin::server::{self, Listening, Lock};
use crate::manager::config::reading::{self, Reading};
use crate::manager::config::spec::{Admin, Config};
use crate::manager::gateway::Gateway;
use crate::manager::journal::Journal;
use crate::manager::listener::{self, Given, Seats};
use crate::manager::names;
use crate::manager::news::News;
use crate::manager::probe::{self, words};
use crate::manager::reach::engine::Engine;
use crate::manager::repair::patient::Roster;
use crate::manager::repair::surroundings::Surroundings;
use crate::manager::repair::{self, Ask, Asks};
use crate::manager::service::Live;
use crate::net::resolve::Resolver;
use crate::net::token::Token;
use crate::os::clock;
use crate::os::files;
use crate::os::inherited;
use crate::os::outer::Outer;
use crate::os::posture;
use crate::os::signals::{self, Signals};
use crate::units::problem::{Problem, Problems};
use crate::units::source::Source;

/// Where the manager's file is, when nobody says otherwise.
pub const CONFIG_DEFAULT: &str = "/etc/svinit/manager.toml";

/// Bytes of the file; a longer one is refused.
const FILE_MAX: usize = 256 << 10;

/// Between two looks at connections that are kept for nobody.
const SWEEP: Duration = Duration::from_secs(5);

/// The files that are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `manager.toml`.
    pub config: PathBuf,
    /// Instead of `/etc/hosts`.
    pub hosts: Option<PathBuf>,
    /// Instead of `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
}

impl Files {
    /// How names are looked up.
    #[must_use]
    pub fn resolver(&self) -> Resolver {
        let usual = Resolver::default();
        Resolver {
            hosts: self.hosts.clone().unwrap_or(usual.hosts),
            config: self.resolv_conf.clone().unwrap_or(usual.config),
            port: usual.port,
        }
    }
}

/// Why the manager does not run.
#[derive(Debug)]
pub enum Failure {
    /// Its file is wrong.
    Config(Problems),
    /// In words.
    Start(String),
}

/// Reads the manager's file, with the environment of this process.
///
/// # Errors
/// Every problem of it.
pub fn load(path: &Path) -> Result<Reading, Problems> {
    let one = |message: String| Problems(vec![Problem::of_file(path, message)]);
    let bytes = files::read_capped(path, FILE_MAX).map_err(|error| one(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| one("it is not UTF-8".to_owned()))?;
    reading::read(&Source::manager(path, text), &|name| std::env::var(name).ok())
}

/// Serves until it is told to stop.
///
/// # Errors
/// It could not begin.
pub fn run(files: &Files) -> Result<(), Failure> {
    posture::harden();
    // Before anything is opened.
    let given = Given::new(inherited::listeners(|name| std::env::var(name).ok()));
    let outer = Supervisor::of_this_process();
    // Before the first thread, which inherits what is blocked.
    let signals = Signals::install().map_err(|error| Failure::Start(error.to_string()))?;
    let Reading { config, warnings } = load(&files.config).map_err(Failure::Config)?;
    let start = |error: io::Error| Failure::Start(format!("cannot start: {}", words(&error)));
    let journal = Journal::start().map_err(start)?;
    for warning in &warnings {
        journal.say(&warning.to_string());
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(start)?;
    let begin = Beginning { config, given, outer };
    let served = runtime.block_on(serve(begin, files, signals, journal.clone()));
    journal.flush();
    served.map_err(Failure::Start)
}

/// What it begins with.
struct Beginning {
    config: Config,
    given: Given,
    outer: Supervisor,
}

/// Who has started it and wants to be told, by `sd_notify(3)`; often nobody.
struct Supervisor(Option<Outer>);

impl Supervisor {
    fn of_this_process() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET").and_then(|place| Outer::connect(&place).ok()))
    }

    fn tell(&self, text: &str) {
        if let Some(outer) = &self.0 {
            outer.say(text);
        }
    }
}

/// What runs besides connections.
struct Works {
    gateway: Arc<Gateway>,
    seats: Arc<Seats>,
    resolver: Resolver,
    /// Sockets that were held for it, and are taken rather than opened.
    given: Given,
    engine: Arc<Engine>,
    listeners: BTreeMap<SocketAddr, watch::Sender<bool>>,
    tasks: BTreeMap<Arc<str>, Vec<AbortHandle>>,
    /// Recovery.
    asks: Asks,
    news: News,
    office: Option<Office>,
}

/// The admin listener that is open. It closes, and each of its connections, when this is dropped.
struct Office {
    at: Option<SocketAddr>,
    lock: Lock,
    accepting: AbortHandle,
}

impl Drop for Office {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What a new file makes of the admin listener.
enum Move {
    /// It stays where it is, with this token.
    Stay(Option<Token>),
    /// Another one, or none.
    To(Option<Listening>),
}

async fn serve(
    begin: Beginning,
    files: &Files,
    mut signals: Signals,
    journal: Journal,
) -> Result<(), String> {
    let Beginning { config, given, outer } = begin;
    let readable = signals.as_fd().try_clone_to_owned().and_then(watch_fd).map_err(|error| words(&error))?;
    let seats = Arc::new(Seats::new(config.limits.connections));
    let gateway = Arc::new(Gateway::new(config.clone(), journal.clone()));
    let around = Surroundings::of_this_process()?;
    let engine = Arc::new(Engine::new(around.engine.clone()));
    let mut given = given;
    let admin = Listening::open(&config.admin, &mut given)?;
    let (roster, complaints) = Roster::of(&config.services, &engine);
    let news = News::default();
    let told = journal.clone();
    let say: repair::Say = Arc::new(move |line: &str| told.say(line));
    let asks = repair::start(roster, gateway.gate(), around, news.clone(), say);
    let mut works = Works {
        gateway,
        seats,
        resolver: files.resolver(),
        given,
        engine,
        listeners: BTreeMap::new(),
        tasks: BTreeMap::new(),
        asks,
        news: news.clone(),
        office: None,
    };
    let opened = works.open(&config.listen)?;
    let at = config.admin.listen;
    works.take_over(config, opened);
    complaints.iter().for_each(|why| journal.say(why));
    tokio::spawn(news.follow_gate(works.gateway.gate()));
    works.move_to(at, Move::To(admin));
    outer.tell("READY=1");
    tokio::spawn(sweep(works.gateway.clone()));
    loop {
        let Ok(mut ready) = readable.readable().await else {
            return Err("cannot wait for signals".to_owned());
        };
        ready.clear_ready();
        for signal in signals.pending() {
            match signals::name(signal).as_str() {
                "TERM" | "INT" | "QUIT" | "PWR" | "RTMIN+3" => {
                    outer.tell("STOPPING=1");
                    journal.say(&format!("stopping, as SIG{} asks", signals::name(signal)));
                    return end(&works, &readable, &mut signals).await;
                }
                "HUP" => {
                    outer.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::now().0));
                    works.reload(files).await;
                    outer.tell("READY=1");
                }
                // Any process beside this one may send any signal; the others mean nothing.
                _ => {}
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "the other form is unsafe, for what an OwnedFd can promise by its type: to stay open"
)]
fn watch_fd(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// Lets what is open end, for as long as that may take. A second signal ends it at once.
async fn end(works: &Works, readable: &AsyncFd<OwnedFd>, signals: &mut Signals) -> Result<(), String> {
    let gateway = &works.gateway;
    let patience = gateway.running().config.shutdown_timeout;
    gateway.leave();
    let again = async {
        loop {
            let Ok(mut ready) = readable.readable().await else { return };
            ready.clear_ready();
            if signals
                .pending()
                .any(|signal| matches!(signals::name(signal).as_str(), "TERM" | "INT" | "QUIT"))
            {
                return;
            }
        }
    };
    tokio::select! {
        () = works.seats.all_free() => gateway.journal.say("stopped: every request was answered"),
        () = tokio::time::sleep(patience) => {
            gateway.journal.say(&format!("stopped: {} connections were still open", works.seats.taken()));
        }
        () = again => gateway.journal.say("stopped at once, as a second signal asks"),
    }
    Ok(())
}

impl Works {
    /// Opens listeners that are not open yet, or takes those that were held for it.
    fn open(&mut self, wanted: &[SocketAddr]) -> Result<Vec<(SocketAddr, TcpListener)>, String> {
        let fresh: Vec<SocketAddr> =
            wanted.iter().filter(|at| !self.listeners.contains_key(at)).copied().collect();
        fresh.into_iter().map(|at| Ok((at, self.given.listener(at)?))).collect()
    }

    /// Serves by `config` from now on.
    fn take_over(&mut self, config: Config, opened: Vec<(SocketAddr, TcpListener)>) {
        let gateway = &self.gateway;
        self.listeners.retain(|at, stop| {
            let stays = config.listen.contains(at);
            stop.send_replace(!stays);
            stays
        });
        self.tasks.retain(|name, tasks| {
            let stays = config.services.contains_key(&**name);
            if !stays {
                tasks.iter().for_each(AbortHandle::abort);
            }
            stays
        });
        for live in gateway.take_over(config) {
            self.tasks
                .insert(live.name.clone(), tasks_of(&live, &self.resolver, &self.engine, &gateway.journal));
        }
        for (at, listener) in opened {
            let stop = watch::Sender::new(false);
            let local = listener.local_addr().unwrap_or(at);
            let serving = listener::serve(listener, gateway.clone(), self.seats.clone(), stop.subscribe());
            tokio::spawn(serving);
            self.listeners.insert(at, stop);
            gateway.journal.say(&format!("listening on {local}"));
        }
    }

    /// What `admin` makes of the listener; nothing has changed yet.
    fn moving(&mut self, admin: &Admin) -> Result<Move, String> {
        if self.office.as_ref().and_then(|office| office.at) == admin.listen {
            return Ok(Move::Stay(server::token_of(admin)?));
        }
        Ok(Move::To(Listening::open(admin, &mut self.given)?))
    }

    fn move_to(&mut self, at: Option<SocketAddr>, to: Move) {
        let listening = match (to, &self.office) {
            (Move::Stay(token), Some(office)) => return office.lock.change(token),
            (Move::Stay(_), None) => return,
            (Move::To(listening), _) => listening,
        };
        self.office = listening.map(|listening| {
            if let Some(at) = listening.address() {
                self.gateway.journal.say(&format!("admin listener on {at}"));
            }
            let (gateway, engine) = (self.gateway.clone(), self.engine.clone());
            let (lock, serving) = listening.serve(gateway, engine, self.asks.clone(), self.news.clone());
            Office { at, lock, accepting: tokio::spawn(serving).abort_handle() }
        });
    }

    /// Reads the file again. When anything is wrong with it, everything stays as it is.
    async fn reload(&mut self, files: &Files) {
        let journal = self.gateway.journal.clone();
        let Reading { config, warnings } = match load(&files.config) {
            Ok(reading) => reading,
            Err(problems) => {
                journal.say(&format!(
                    "the file is not taken over, since it is wrong:\n{}",
                    problems.to_string().trim_end()
                ));
                return;
            }
        };
        let (roster, complaints) = Roster::of(&config.services, &self.engine);
        if !complaints.is_empty() {
            journal.say(&format!("the file is not taken over:\n{}", complaints.join("\n")));
            return;
        }
        let prepared = self.open(&config.listen).and_then(|opened| Ok((opened, self.moving(&config.admin)?)));
        match prepared {
            Ok((opened, moving)) => {
                for warning in &warnings {
                    journal.say(&warning.to_string());
                }
                let (routes, services) = (config.routes.len(), config.services.len());
                if config.limits.connections != self.seats.all() {
                    journal.say("limits.connections is in force when svmanager is next started");
                }
                let at = config.admin.listen;
                self.take_over(config, opened);
                // What repairs goes on by it too: it is always there to be told.
                let _ = self.asks.send(Ask::LookAfter(roster)).await;
                self.move_to(at, moving);
                journal.say(&format!("taken over: {routes} routes, {services} services"));
            }
            Err(why) => journal.say(&format!("the file is not taken over: {why}")),
        }
    }
}

fn tasks_of(
    live: &Arc<Live>,
    resolver: &Resolver,
    engine: &Arc<Engine>,
    journal: &Journal,
) -> Vec<AbortHandle> {
    vec![
        tokio::spawn(names::run(live.clone(), resolver.clone(), journal.clone())).abort_handle(),
        tokio::spawn(probe::run(live.clone(), engine.clone())).abort_handle(),
    ]
}

/// Closes connections that nobody has used for long.
async fn sweep(gateway: Arc<Gateway>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        for live in gateway.services.all() {
            live.sweep();
        }
    }
}
