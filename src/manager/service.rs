//! A service as it runs: its instances, the connections that are kept to them, and the requests that wait for one.
//!
//! All that is decided is decided in [`crate::manager::upstream`]. Locks are held for moments and never over an `await`: everything runs
//! on one thread, so they are never waited for either.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Notify, broadcast, oneshot};
use tokio::time::Instant;

use crate::manager::config::spec::Service;
use crate::manager::gate::{Counts, Floor, Health, Report, ServiceView};
use crate::manager::journal::Journal;
use crate::manager::upstream::{Change, Fact, Outcome, Rules, Upstream};

/// A connection that is kept but may be closed at the other end any moment is good enough only for requests that can be
/// repeated. Others get one that was used so shortly ago that this is most unlikely.
const FRESH: Duration = Duration::from_millis(500);

/// A service as it runs. It lives on when the configuration is read anew.
pub struct Live {
    /// Its name.
    pub name: Arc<str>,
    spec: Mutex<Arc<Service>>,
    upstream: Mutex<Upstream>,
    idle: Mutex<BTreeMap<SocketAddr, Vec<Idle>>>,
    drains: Mutex<Vec<(SocketAddr, oneshot::Sender<()>)>>,
    waiting: AtomicUsize,
    /// Somebody can take requests who could not before, or connections are to end.
    pub changed: Notify,
    /// Checks are wanted sooner, or of others.
    pub kicked: Notify,
    /// Names are to be looked up now.
    pub renamed: Notify,
    health: broadcast::Sender<Health>,
    journal: Journal,
    /// How requests have ended.
    pub tally: Tally,
}

/// Counts that only grow.
#[derive(Default)]
pub struct Tally {
    /// See [`Counts::requests`].
    pub requests: AtomicU64,
    /// See [`Counts::errors`].
    pub errors: AtomicU64,
    /// See [`Counts::failed`].
    pub failed: AtomicU64,
    /// See [`Counts::retried`].
    pub retried: AtomicU64,
    /// See [`Counts::parked`].
    pub parked: AtomicU64,
    /// See [`Counts::abandoned`].
    pub abandoned: AtomicU64,
}

/// One more.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

struct Idle {
    stream: TcpStream,
    since: Instant,
}

/// Why a request got no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// As many as may wait are waiting.
    Full,
    /// It has waited as long as it may.
    Late,
}

/// A place at an instance, for as long as the request or the upgraded connection lasts.
pub struct Place {
    live: Arc<Live>,
    /// Which instance.
    pub at: SocketAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let is_last = lock(&self.live.upstream).release(self.at);
        if is_last {
            lock(&self.live.drains).retain_mut(|(at, _)| *at != self.at);
        }
    }
}

/// One more waits.
struct Waiting<'a>(&'a Live);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// A service without instances so far.
    #[must_use]
    pub fn new(spec: Arc<Service>, health: broadcast::Sender<Health>, journal: Journal) -> Self {
        Self {
            name: spec.name.as_str().into(),
            upstream: Mutex::new(Upstream::new(Rules::of(&spec))),
            spec: Mutex::new(spec),
            idle: Mutex::default(),
            drains: Mutex::default(),
            waiting: AtomicUsize::new(0),
            changed: Notify::new(),
            kicked: Notify::new(),
            renamed: Notify::new(),
            health,
            journal,
            tally: Tally::default(),
        }
    }

    /// Its settings as they are now.
    #[must_use]
    pub fn spec(&self) -> Arc<Service> {
        lock(&self.spec).clone()
    }

    /// Goes on with other settings.
    pub fn set_spec(&self, spec: Arc<Service>) {
        if *lock(&self.spec) == spec {
            return;
        }
        lock(&self.upstream).set_rules(Rules::of(&spec));
        *lock(&self.spec) = spec;
        self.kicked.notify_waiters();
        self.renamed.notify_waiters();
    }

    /// Takes note of a fact, and tells whoever needs to know.
    pub fn tell(&self, fact: Fact) {
        let (changes, serving) = {
            let mut upstream = lock(&self.upstream);
            (upstream.step(fact, Instant::now()), upstream.serving())
        };
        if changes.is_empty() {
            return;
        }
        for Change { instance, standing, cause } in changes {
            self.journal.say(&format!("{} {instance}: {}: {cause}", self.name, standing.as_str()));
            let service = self.name.clone();
            // Nobody may be listening.
            let _ = self.health.send(Health { service, instance, standing, cause, serving });
        }
        self.changed.notify_waiters();
        self.kicked.notify_waiters();
    }

    /// These are its instances from now on. One that is new may take what waits, and is to be checked.
    pub fn list(&self, listed: BTreeSet<SocketAddr>) {
        let is_new =
            |at: &SocketAddr| !self.look(|upstream| upstream.listed().any(|(known, _)| known == *at));
        let has_new = listed.iter().any(is_new);
        self.tell(Fact::Listed(listed));
        if has_new {
            self.changed.notify_waiters();
            self.kicked.notify_waiters();
        }
    }

    /// An instance for a request, as soon as there is one. `until`: how long it may wait, or nothing when it has not waited yet.
    ///
    /// # Errors
    /// It may not wait, or not longer.
    pub async fn admit(
        self: &Arc<Self>,
        key: u64,
        wanted: Option<u64>,
        tried: &[SocketAddr],
        until: &mut Option<Instant>,
    ) -> Result<Place, TurnedAway> {
        if let Some(place) = self.try_admit(key, wanted, tried) {
            return Ok(place);
        }
        let park = self.spec().park.clone();
        if self.waiting.load(Ordering::Relaxed) >= park.max_requests {
            return Err(TurnedAway::Full);
        }
        count(&self.tally.parked);
        let until = *until.get_or_insert_with(|| Instant::now() + park.timeout);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(self);
        self.kicked.notify_waiters();
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(place) = self.try_admit(key, wanted, tried) {
                return Ok(place);
            }
            if tokio::time::timeout_at(until, changed).await.is_err() {
                return Err(TurnedAway::Late);
            }
        }
    }

    fn try_admit(self: &Arc<Self>, key: u64, wanted: Option<u64>, tried: &[SocketAddr]) -> Option<Place> {
        let at = lock(&self.upstream).pick(key, wanted, tried, Instant::now())?;
        Some(Place { live: self.clone(), at })
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How a request at `at` went.
    pub fn answered(&self, at: SocketAddr, outcome: Outcome) {
        if !matches!(outcome, Outcome::Good) {
            count(&self.tally.errors);
        }
        self.tell(Fact::Answered(at, outcome));
    }

    /// A connection to `at` that is kept and still good, if there is one. `can_repeat`: the request may be sent once more when it
    /// turns out that it was not.
    #[must_use]
    pub fn take_idle(&self, at: SocketAddr, can_repeat: bool) -> Option<TcpStream> {
        let patience = if can_repeat { self.spec().idle_connection_timeout } else { FRESH };
        let mut all = lock(&self.idle);
        let idle = all.get_mut(&at)?;
        while let Some(Idle { stream, since }) = idle.pop() {
            if since.elapsed() < patience && is_quiet(&stream) {
                return Some(stream);
            }
            if !can_repeat {
                // Those below it are older still; they stay for others.
                return None;
            }
        }
        None
    }

    /// Keeps a connection for later requests.
    pub fn keep(&self, at: SocketAddr, stream: TcpStream) {
        let most = self.spec().idle_connections;
        if lock(&self.upstream).is_leaving(at) {
            return;
        }
        let mut all = lock(&self.idle);
        let idle = all.entry(at).or_default();
        if idle.len() < most {
            idle.push(Idle { stream, since: Instant::now() });
        }
    }

    /// Closes all connections that are kept to `at`.
    pub fn forget(&self, at: SocketAddr) {
        lock(&self.idle).remove(&at);
    }

    /// Closes connections that were kept too long, or that the other end has closed. Whether any are left.
    pub fn sweep(&self) -> bool {
        let patience = self.spec().idle_connection_timeout;
        let mut all = lock(&self.idle);
        for idle in all.values_mut() {
            idle.retain(|kept| kept.since.elapsed() < patience && is_quiet(&kept.stream));
        }
        all.retain(|_, idle| !idle.is_empty());
        !all.is_empty()
    }

    /// Whether upgraded connections to `at` are to end.
    #[must_use]
    pub fn is_leaving(&self, at: SocketAddr) -> bool {
        lock(&self.upstream).is_leaving(at)
    }

    /// Something of what the instances are.
    pub fn look<T>(&self, look: impl FnOnce(&Upstream) -> T) -> T {
        look(&lock(&self.upstream))
    }

    fn leave(&self, at: Option<SocketAddr>) {
        match at {
            Some(at) => drop(lock(&self.idle).remove(&at)),
            None => lock(&self.idle).clear(),
        }
        self.changed.notify_waiters();
    }

    fn view(&self) -> ServiceView {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let upstream = lock(&self.upstream);
        ServiceView {
            name: self.name.clone(),
            instances: upstream.views(),
            parked: self.waiting(),
            is_away: upstream.is_away(),
            counts: Counts {
                requests: get(&self.tally.requests),
                errors: get(&self.tally.errors),
                failed: get(&self.tally.failed),
                retried: get(&self.tally.retried),
                parked: get(&self.tally.parked),
                abandoned: get(&self.tally.abandoned),
            },
        }
    }
}

/// Nothing has come on a connection on which nothing may come: neither its end nor an answer to nobody.
fn is_quiet(stream: &TcpStream) -> bool {
    let mut byte = [0];
    matches!(stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// All services that run.
#[derive(Default)]
pub struct Services(Mutex<BTreeMap<String, Arc<Live>>>);

impl Services {
    /// The service of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Live>> {
        lock(&self.0).get(name).cloned()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Live>> {
        lock(&self.0).values().cloned().collect()
    }

    /// Takes over what there is to be. Those that are new are returned; those that are no more are told no instances.
    pub fn take_over(
        &self,
        specs: &BTreeMap<String, Arc<Service>>,
        make: impl Fn(Arc<Service>) -> Live,
    ) -> Vec<Arc<Live>> {
        let mut all = lock(&self.0);
        let mut fresh = Vec::new();
        for (name, spec) in specs {
            match all.get(name) {
                Some(live) => live.set_spec(spec.clone()),
                None => {
                    let live = Arc::new(make(spec.clone()));
                    fresh.push(live.clone());
                    all.insert(name.clone(), live);
                }
            }
        }
        let gone: Vec<Arc<Live>> =
            all.iter().filter(|(name, _)| !specs.contains_key(*name)).map(|(_, live)| live.clone()).collect();
        all.retain(|name, _| specs.contains_key(name));
        drop(all);
        for live in gone {
            live.leave(None);
            live.tell(Fact::Listed(BTreeSet::new()));
        }
        fresh
    }
}

impl Floor for Services {
    fn begin_away(&self, service: &str) {
        if let Some(live) = self.get(service) {
            live.tell(Fact::AwayBegun);
            live.leave(None);
        }
    }

    fn end_away(&self, service: &str) {
        if let Some(live) = self.get(service) {
            live.tell(Fact::AwayEnded);
            live.changed.notify_waiters();
        }
    }

    fn look_up(&self) {
        for live in self.all() {
            live.renamed.notify_waiters();
        }
    }

    fn set_draining(&self, service: &str, instance: SocketAddr, is_draining: bool) {
        if let Some(live) = self.get(service) {
            live.tell(Fact::Draining(instance, is_draining));
            live.leave(Some(instance));
        }
    }

    fn report(&self, service: &str, instance: SocketAddr, report: Report) {
        if let Some(live) = self.get(service) {
            live.tell(Fact::Reported(instance, report));
        }
    }

    fn services(&self) -> Vec<ServiceView> {
        self.all().iter().map(|live| live.view()).collect()
    }

    fn when_drained(&self, service: &str, instance: SocketAddr) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        if let Some(live) = self.get(service)
            && live.look(|upstream| upstream.in_flight(instance)) > 0
        {
            lock(&live.drains).push((instance, sender));
        }
        receiver
    }
}
