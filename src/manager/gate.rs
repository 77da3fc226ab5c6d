//! Where the two halves of the manager meet.
//!
//! Recovery holds a [`Gate`]: it says whose requests are to wait while it repairs, that names may have other addresses, and what it
//! has heard about an instance. The gateway says through [`Gate::health`] who became well
//! or ill, and why. Neither waits for the other: every call returns at once, but for [`Gate::drained`].

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

/// Changes of health that a listener may be behind; then it is told how many it has missed, and asks for [`Gate::services`].
pub const HEALTH_BACKLOG: usize = 1024;

/// An instance has become well or ill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The service.
    pub service: Arc<str>,
    /// Which of its instances.
    pub instance: SocketAddr,
    /// What it is from here on.
    pub standing: Standing,
    /// Why.
    pub cause: Cause,
    /// Instances of the service that take requests, this one counted as it is from here on.
    pub serving: usize,
}

/// How an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is known of it yet; it is not sent anything.
    Unknown,
    /// It is sent requests.
    Up,
    /// It answers, but not as it should. It is sent requests only when there is no better one.
    Ill,
    /// Nobody is there. It is sent nothing.
    Gone,
}

/// Why an instance has become well or ill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A check said so: why it failed, or nothing.
    Check(Option<String>),
    /// Requests showed it: no connection, so many bad answers.
    Requests(String),
    /// Recovery said so through [`Gate::report`].
    Told(String),
    /// It accepted a connection while requests were waiting for it.
    Knocked,
    /// It is no instance any more.
    Unlisted,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(None) => f.write_str("its check passes"),
            Self::Check(Some(why)) => write!(f, "its check fails: {why}"),
            Self::Requests(why) | Self::Told(why) => f.write_str(why),
            Self::Knocked => f.write_str("it accepts connections again"),
            Self::Unlisted => f.write_str("it is not there any more"),
        }
    }
}

impl Standing {
    /// As people read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Ill => "ill",
            Self::Gone => "gone",
        }
    }
}

/// What recovery has heard about an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It is ready, now: from svinit's event stream, or because its repair has succeeded.
    Ready,
    /// Its process has ended, or it does not work. It gets nothing until it is ready or a check passes.
    NotReady(String),
}

/// A service, for status, metrics and dashboards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceView {
    /// Its name.
    pub name: Arc<str>,
    /// Its instances, in order of their addresses.
    pub instances: Vec<InstanceView>,
    /// Requests that wait for it now.
    pub parked: usize,
    /// Recovery has said that it is away.
    pub is_away: bool,
    /// Requests since the manager was started, and how they ended.
    pub counts: Counts,
}

/// An instance, for status, metrics and dashboards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceView {
    /// Where it serves.
    pub address: SocketAddr,
    /// How it stands.
    pub standing: Standing,
    /// Why.
    pub why: String,
    /// Left out for a while for its answers.
    pub is_ejected: bool,
    /// It gets no new requests.
    pub is_draining: bool,
    /// Requests and upgraded connections at it now.
    pub in_flight: usize,
}

/// Requests, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that were routed to it.
    pub requests: u64,
    /// Answered with 500 to 599 by the service itself.
    pub errors: u64,
    /// Answered with an error of the gateway's own, because of the service.
    pub failed: u64,
    /// Tried again.
    pub retried: u64,
    /// Had to wait.
    pub parked: u64,
    /// Given up by the client.
    pub abandoned: u64,
}

/// What recovery may do with the gateway. All of its copies are the same gate.
#[derive(Clone)]
pub struct Gate {
    floor: Arc<dyn Floor>,
    health: broadcast::Sender<Health>,
}

/// What the gateway does for a [`Gate`]; each call returns at once.
pub trait Floor: Send + Sync {
    /// See [`Gate::begin_away`].
    fn begin_away(&self, service: &str);
    /// See [`Gate::end_away`].
    fn end_away(&self, service: &str);
    /// See [`Gate::look_up`].
    fn look_up(&self);
    /// See [`Gate::drain`].
    fn set_draining(&self, service: &str, instance: SocketAddr, is_draining: bool);
    /// See [`Gate::report`].
    fn report(&self, service: &str, instance: SocketAddr, report: Report);
    /// See [`Gate::services`].
    fn services(&self) -> Vec<ServiceView>;
    /// Called when `in_flight` of the instance is 0, or when there is no such instance.
    fn when_drained(&self, service: &str, instance: SocketAddr) -> tokio::sync::oneshot::Receiver<()>;
}

impl Gate {
    /// A gate to `floor`.
    #[must_use]
    pub fn new(floor: Arc<dyn Floor>, health: broadcast::Sender<Health>) -> Self {
        Self { floor, health }
    }

    /// From now on requests for `service` wait: the instances it has get no new ones, and requests that are at them go on.
    /// An instance that is listed later takes requests as soon as it is up. What waits longer than `park.timeout`, or is one too
    /// many, is answered with 503. Twice is as good as once.
    pub fn begin_away(&self, service: &str) {
        self.floor.begin_away(service);
    }

    /// Its instances take requests again, and what waits goes on. To be called when svinit says ready; also when the repair
    /// has failed, so that checks decide.
    pub fn end_away(&self, service: &str) {
        self.floor.end_away(service);
    }

    /// Containers have started or ended: names are looked up now, and not when it is their time.
    pub fn look_up(&self) {
        self.floor.look_up();
    }

    /// The instance gets no new requests, and its upgraded connections are told to come again. See [`Gate::drained`].
    pub fn drain(&self, service: &str, instance: SocketAddr) {
        self.floor.set_draining(service, instance, true);
    }

    /// Takes [`Gate::drain`] back.
    pub fn undrain(&self, service: &str, instance: SocketAddr) {
        self.floor.set_draining(service, instance, false);
    }

    /// Waits until nothing is in flight at the instance, for `patience` at most. Whether that came to pass.
    pub async fn drained(&self, service: &str, instance: SocketAddr, patience: Duration) -> bool {
        let drained = self.floor.when_drained(service, instance);
        // A sender that was dropped says that the instance is gone, and nothing is at it.
        tokio::time::timeout(patience, drained).await.is_ok()
    }

    /// What was heard about an instance from elsewhere, which is quicker than the gateway's own checks.
    pub fn report(&self, service: &str, instance: SocketAddr, report: Report) {
        self.floor.report(service, instance, report);
    }

    /// Every change of health from now on. The first state is in [`Gate::services`]: subscribe first, then look.
    #[must_use]
    pub fn health(&self) -> broadcast::Receiver<Health> {
        self.health.subscribe()
    }

    /// All services as they are now.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceView> {
        self.floor.services()
    }
}
