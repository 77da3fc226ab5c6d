//! What all connections share: the configuration in force, the services, the counts, and whether the gateway is about to end.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, watch};

use crate::manager::access::Record;
use crate::manager::config::spec::Config;
use crate::manager::gate::{Gate, HEALTH_BACKLOG, Health};
use crate::manager::journal::Journal;
use crate::manager::router::Router;
use crate::manager::service::{Live, Services};

/// A configuration that is in force, and what is made of it.
pub struct Running {
    /// It.
    pub config: Config,
    /// Its routes.
    pub router: Router,
}

impl Running {
    /// Makes what is needed of it.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { router: Router::new(config.routes.clone()), config }
    }
}

/// What all connections share.
pub struct Gateway {
    running: Mutex<Arc<Running>>,
    /// All services.
    pub services: Arc<Services>,
    /// Where lines go.
    pub journal: Journal,
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
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Running::new(config));
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

    /// Counts how a request has ended.
    pub fn tally(&self, record: &Record) {
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
