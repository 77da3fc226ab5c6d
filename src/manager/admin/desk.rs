//! Where handlers find everything: the gateway, recovery, news, and what svinit says in each container.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::api::manager::ContainerStatus;
use crate::manager::admin::refused::Refused;
use crate::manager::config::spec;
use crate::manager::gateway::Gateway;
use crate::manager::news::News;
use crate::manager::reach::Instance;
use crate::manager::reach::Reach;
use crate::manager::reach::engine::Engine;
use crate::manager::repair::Ask;
use crate::manager::repair::Asks;
use crate::manager::repair::Overview;
use crate::manager::repair::halted::halted;

/// What svinit has said is good for so long, so that a page that is open on ten screens asks no more than one.
const FRESH: Duration = Duration::from_secs(2);

/// For one svinit to answer. One that does not delays no other.
const PATIENCE: Duration = Duration::from_secs(3);

/// What svinit says, by service.
pub(super) type Containers = BTreeMap<String, Vec<ContainerStatus>>;

/// All copies are the same desk.
#[derive(Clone)]
pub(super) struct Desk(Arc<Drawers>);

struct Drawers {
    gateway: Arc<Gateway>,
    engine: Arc<Engine>,
    asks: Asks,
    news: News,
    began: Instant,
    seen: Mutex<Option<(Instant, Arc<Containers>)>>,
}

impl Desk {
    pub(super) fn new(gateway: Arc<Gateway>, engine: Arc<Engine>, asks: Asks, news: News) -> Self {
        Self(Arc::new(Drawers { gateway, engine, asks, news, began: Instant::now(), seen: Mutex::default() }))
    }

    pub(super) fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    pub(super) fn news(&self) -> &News {
        &self.0.news
    }

    /// Since the manager was started.
    pub(super) fn uptime(&self) -> Duration {
        self.0.began.elapsed()
    }

    /// Asks recovery.
    pub(super) async fn ask(&self, ask: Ask) -> Result<(), Refused> {
        self.0.asks.send(ask).await.map_err(|_| Refused::cannot("the manager is about to end"))
    }

    /// How everything stands with recovery.
    pub(super) async fn overview(&self) -> Result<Overview, Refused> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Overview(answer)).await?;
        answered.await.map_err(|_| Refused::cannot("the manager is about to end"))
    }

    /// The service of this name.
    pub(super) fn service(&self, name: &str) -> Result<Arc<spec::Service>, Refused> {
        let running = self.gateway().running();
        running.config.services.get(name).cloned().ok_or_else(|| Refused::no_such_service(name))
    }

    /// The way to its svinit, and the unit that serves.
    pub(super) fn reach(&self, service: &spec::Service) -> Result<(Reach, String), Refused> {
        let control = service.control.as_ref();
        match (control, Reach::to(service, &self.0.engine)) {
            (Some(control), Ok(Some(reach))) => Ok((reach, control.unit.as_str().to_owned())),
            (_, Err(why)) => Err(Refused::unreachable(why)),
            _ => {
                Err(Refused::cannot(format!("{} has no control, so its svinit is not reached", service.name)))
            }
        }
    }

    /// What svinit says everywhere.
    pub(super) async fn containers(&self) -> Arc<Containers> {
        // Whoever comes meanwhile waits for the same answer.
        let mut seen = self.0.seen.lock().await;
        if let Some((at, containers)) = &*seen
            && at.elapsed() < FRESH
        {
            return Arc::clone(containers);
        }
        let mut asked = JoinSet::new();
        for service in self.gateway().running().config.services.values().cloned() {
            let engine = Arc::clone(&self.0.engine);
            asked.spawn(async move { (service.name.clone(), containers_of(&service, &engine).await) });
        }
        let containers: Arc<Containers> = Arc::new(asked.join_all().await.into_iter().collect());
        *seen = Some((Instant::now(), Arc::clone(&containers)));
        containers
    }
}

async fn containers_of(service: &spec::Service, engine: &Arc<Engine>) -> Vec<ContainerStatus> {
    let unknown = |why: String| ContainerStatus {
        id: service.name.clone(),
        name: service.name.clone(),
        state: "unknown".to_owned(),
        address: None,
        error: Some(why),
        units: Vec::new(),
    };
    let reach = match Reach::to(service, engine) {
        Ok(Some(reach)) => Arc::new(reach),
        Ok(None) => return Vec::new(),
        Err(why) => return vec![unknown(why)],
    };
    let instances = match timeout(PATIENCE, reach.instances()).await {
        Ok(Ok(instances)) => instances,
        Ok(Err(fault)) => return vec![unknown(fault.to_string())],
        Err(_) => return vec![unknown("the engine does not answer in time".to_owned())],
    };
    let mut asked = JoinSet::new();
    for instance in instances {
        let reach = Arc::clone(&reach);
        asked.spawn(async move { container(&reach, instance).await });
    }
    let mut containers = asked.join_all().await;
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    containers
}

async fn container(reach: &Reach, instance: Instance) -> ContainerStatus {
    let (units, error) = match halted(&instance) {
        Some(sign) => (Vec::new(), Some(sign.why().to_owned())),
        None => match timeout(PATIENCE, reach.units(&instance.id)).await {
            Ok(Ok(units)) => (units, None),
            Ok(Err(fault)) => (Vec::new(), Some(fault.to_string())),
            Err(_) => (Vec::new(), Some("its svinit does not answer in time".to_owned())),
        },
    };
    ContainerStatus {
        id: instance.id,
        name: instance.name,
        state: instance.state,
        address: instance.address.map(|address| address.to_string()),
        error,
        units,
    }
}
