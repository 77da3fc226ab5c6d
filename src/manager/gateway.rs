//! What all connections share: the configuration in force, the services, the counts, and whether the gateway is about to end.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use crate::manager::access::Record;
use crate::manager::config::spec::{Config, Route};
use crate::manager::gate::{Gate, HEALTH_BACKLOG, Health};
use crate::manager::journal::Journal;
use crate::manager::router::Router;
use crate::manager::service::{Live, Services};
use crate::manager::traffic::Traffic;

/// A configuration that is in force, and what is made of it.
pub struct Running {
    /// It.
    pub config: Config,
    /// Its routes.
    pub router: Router,
    /// What goes through each of them, in the same order.
    traffic: Vec<Arc<Mutex<Traffic>>>,
}

impl Running {
    /// Makes what is needed of it.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let router = Router::new(config.routes.clone());
        let traffic = router.routes().iter().map(|_| Arc::default()).collect();
        Self { router, config, traffic }
    }

    /// Goes on with what was counted of routes that are the same.
    fn taking_over(mut self, before: &Self) -> Self {
        let is_same = |a: &Route, b: &Route| (&a.host, &a.path, a.exact) == (&b.host, &b.path, b.exact);
        for (route, traffic) in self.router.routes().iter().zip(&mut self.traffic) {
            let mut known = before.router.routes().iter().zip(&before.traffic);
            if let Some((_, counted)) = known.find(|(old, _)| is_same(old, route)) {
                *traffic = counted.clone();
            }
        }
        self
    }

    /// What goes through `route`, which is one of its routes.
    #[must_use]
    pub fn traffic(&self, route: &Route) -> Option<Arc<Mutex<Traffic>>> {
        let place = self.router.routes().iter().position(|own| std::ptr::eq(own, route))?;
        self.traffic.get(place).cloned()
    }

    /// All routes, in the order in which they are tried, and what has gone through each.
    pub fn measured(&self) -> impl Iterator<Item = (&Route, Traffic)> {
        self.router
            .routes()
            .iter()
            .zip(&self.traffic)
            .map(|(route, traffic)| (route, traffic.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

/// Adds a request to what goes through its route.
fn measure(traffic: &Mutex<Traffic>, record: &Record, second: u64) {
    let mut traffic = traffic.lock().unwrap_or_else(PoisonError::into_inner);
    traffic.add(record.took, record.status >= 500, second);
}

/// What all connections share.
pub struct Gateway {
    running: Mutex<Arc<Running>>,
    /// All services.
    pub services: Arc<Services>,
    /// Where lines go.
    pub journal: Journal,
    began: Instant,
    leaving: watch::Sender<bool>,
    health: broadcast::Sender<Health>,
    seed: u64,
    ids: AtomicU64,
    /// Answers by the first digit of their status; at 0 those without.
    answers: [AtomicU64; 6],
}

impl Gateway {
    /// Nothing is served yet: [`Gateway::take_over`] brings the services up.
    #[must_use]
    pub fn new(config: Config, journal: Journal) -> Self {
        Self {
            running: Mutex::new(Arc::new(Running::new(config))),
            services: Arc::default(),
            journal,
            began: Instant::now(),
            leaving: watch::Sender::new(false),
            health: broadcast::Sender::new(HEALTH_BACKLOG),
            // Random keys of the process: ids of two managers do not meet.
            seed: RandomState::new().hash_one(0),
            ids: AtomicU64::new(0),
            answers: Default::default(),
        }
    }

    /// What is in force now.
    #[must_use]
    pub fn running(&self) -> Arc<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves by `config` from the next request on. Services that are new are returned, so that they get their tasks.
    #[must_use]
    pub fn take_over(&self, config: Config) -> Vec<Arc<Live>> {
        let make = |spec| Live::new(spec, self.health.clone(), self.journal.clone());
        let fresh = self.services.take_over(&config.services, make);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running = Arc::new(Running::new(config).taking_over(&running));
        drop(running);
        fresh
    }

    /// What recovery may do.
    #[must_use]
    pub fn gate(&self) -> Gate {
        Gate::new(self.services.clone(), self.health.clone())
    }

    /// Becomes true when the gateway is about to end.
    #[must_use]
    pub fn leaving(&self) -> watch::Receiver<bool> {
        self.leaving.subscribe()
    }

    /// From now on every connection ends with the answer that it is waiting for.
    pub fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// An id for a request.
    #[must_use]
    pub fn new_id(&self) -> String {
        format!("{:016x}{:08x}", self.seed, self.ids.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff)
    }

    /// Which second of its life this is.
    #[must_use]
    pub fn second(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    /// Counts how a request has ended, and for its route.
    pub fn tally(&self, record: &Record, traffic: Option<&Mutex<Traffic>>) {
        if let Some(traffic) = traffic {
            measure(traffic, record, self.second());
        }
        let class = usize::from(record.status / 100);
        if let Some(counter) = self.answers.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests so far, by the first digit of their status.
    #[must_use]
    pub fn answers(&self) -> [u64; 6] {
        [0, 1, 2, 3, 4, 5].map(|class: usize| self.answers[class].load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
