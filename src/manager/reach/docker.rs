//! `svctl` executed in the containers of a service: the seed's `docker exec backend svctl restart gunicorn`, with its exit
//! status and its words.

use std::sync::Arc;
use std::time::Duration;

use crate::api::command::Outcome;
use crate::api::status::UnitStatus;
use crate::manager::reach::Act;
use crate::manager::reach::Instance;
use crate::manager::reach::Wanted;
use crate::manager::reach::engine::Engine;
use crate::manager::reach::engine::Ran;
use crate::manager::reach::engine::answers::Listed;
use crate::manager::reach::engine::answers::Networks;
use crate::manager::reach::engine::frames::Frames;
use crate::manager::reach::fault;
use crate::manager::reach::fault::Fault;
use crate::manager::reach::wire::Body;

/// For a question.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is waited longer than `svctl` itself waits: it tells more than we could.
const SLACK: Duration = Duration::from_secs(2);

/// Which containers are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one with this name.
    Named(String),
    /// Those of this Compose service, of this project if one is given.
    Compose {
        /// Its name in the Compose file.
        service: String,
        /// The project.
        project: Option<String>,
    },
}

/// The containers of one service.
#[derive(Debug)]
pub struct Docker {
    engine: Arc<Engine>,
    which: Which,
}

impl Docker {
    /// Those of `which` at `engine`.
    #[must_use]
    pub fn new(engine: Arc<Engine>, which: Which) -> Self {
        Self { engine, which }
    }

    pub(super) async fn instances(&self) -> Result<Vec<Instance>, Fault> {
        match &self.which {
            Which::Named(name) => {
                let container = self.engine.inspect(name).await?;
                let name = container.name.trim_start_matches('/').to_owned();
                let address = address(&container.network_settings);
                let end = self.engine.end(&container.id);
                Ok(vec![Instance { id: container.id, name, address, state: container.state.status, end }])
            }
            Which::Compose { service, project } => {
                let mut labels = vec![format!("com.docker.compose.service={service}")];
                labels.extend(project.iter().map(|project| format!("com.docker.compose.project={project}")));
                let listed = self.engine.list(&labels).await?;
                let mut found: Vec<Instance> =
                    listed.into_iter().map(|listed| instance(listed, &self.engine)).collect();
                found.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(found)
            }
        }
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(super) fn which(&self) -> &Which {
        &self.which
    }

    pub(super) async fn status(&self, instance: &str, unit: &str) -> Result<UnitStatus, Fault> {
        let units = self.statuses(instance, &["status", "--json", unit]).await?;
        units
            .into_iter()
            .next()
            .ok_or_else(|| Fault::NoUnit(format!("there is no unit {unit} in {instance}")))
    }

    pub(super) async fn units(&self, instance: &str) -> Result<Vec<UnitStatus>, Fault> {
        self.statuses(instance, &["status", "--json"]).await
    }

    async fn statuses(&self, instance: &str, args: &[&str]) -> Result<Vec<UnitStatus>, Fault> {
        let ran = self.engine.svctl(instance, args, PATIENCE).await?;
        serde_json::from_slice(&ran.stdout)
            .map_err(|error| complaint(&ran).unwrap_or_else(|| Fault::Odd(error.to_string())))
    }

    pub(super) async fn logs(&self, instance: &str, wanted: &Wanted) -> Result<Lines, Fault> {
        let lines = wanted.lines.to_string();
        let mut args = vec!["logs", "--json", "--lines", &lines];
        if wanted.follow {
            args.push("--follow");
        }
        args.push(&wanted.unit);
        let body = self.engine.follow_svctl(instance, &args).await?;
        Ok(Lines { body, frames: Frames::default(), ready: Vec::new() })
    }

    pub(super) async fn run(
        &self,
        instance: &str,
        act: Act,
        unit: &str,
        patience: Duration,
    ) -> Result<Outcome, Fault> {
        let inside = format!("{}ms", patience.saturating_sub(SLACK).max(SLACK).as_millis());
        let verb = match act {
            Act::Reload => "reload",
            Act::Restart | Act::RestartDependants => "restart",
            Act::Start => "start",
            Act::Stop => "stop",
        };
        let mut args = vec![verb, "--json", "--timeout", &inside];
        if act == Act::RestartDependants {
            args.push("--with-dependants");
        }
        args.push(unit);
        let ran = self.engine.svctl(instance, &args, patience).await?;
        let outcomes: Vec<Outcome> = serde_json::from_slice(&ran.stdout).unwrap_or_default();
        let found = outcomes.iter().find(|outcome| outcome.unit == unit).or(outcomes.first());
        match found {
            Some(outcome) => Ok(outcome.clone()),
            None => {
                Err(complaint(&ran)
                    .unwrap_or_else(|| Fault::Odd("svctl did not say what came of it".to_owned())))
            }
        }
    }

    pub(super) async fn follow(&self, instance: &str, unit: &str) -> Result<Lines, Fault> {
        let args = ["events", "--json", "--initial", unit];
        let body = self.engine.follow_svctl(instance, &args).await?;
        Ok(Lines { body, frames: Frames::default(), ready: Vec::new() })
    }

    pub(super) async fn restart_container(&self, instance: &str, stop: Duration) -> Result<(), Fault> {
        self.engine.restart(instance, stop).await
    }
}

fn instance(listed: Listed, engine: &Engine) -> Instance {
    let name =
        listed.names.first().map_or(listed.id.as_str(), |name| name.trim_start_matches('/')).to_owned();
    let (address, end) = (address(&listed.network_settings), engine.end(&listed.id));
    Instance { address, id: listed.id, name, state: listed.state, end }
}

fn address(networks: &Networks) -> Option<std::net::IpAddr> {
    networks.networks.values().find_map(|network| network.address.parse().ok())
}

/// What `svctl` says when it does not answer; its statuses are documented.
fn complaint(ran: &Ran) -> Option<Fault> {
    let words = String::from_utf8_lossy(&ran.stderr).trim().trim_start_matches("svctl: ").to_owned();
    Some(match ran.code {
        0 => return None,
        4 => Fault::NoUnit(words),
        5 => Fault::Denied(words),
        6 => Fault::Unreachable(words),
        7 => Fault::Late(words),
        _ => Fault::Failed(words),
    })
}

/// JSON values, from the output of `svctl`.
pub struct Lines {
    body: Body,
    frames: Frames,
    /// Lines that came and were not given yet, the last first.
    ready: Vec<Vec<u8>>,
}

impl Lines {
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        loop {
            if let Some(line) = self.ready.pop() {
                return Ok(Some(line));
            }
            let piece = self.body.piece().await.map_err(|error| fault::of_io("the engine", &error))?;
            let Some(piece) = piece else { return Ok(None) };
            self.frames.take(&piece).map_err(Fault::Odd)?;
            self.frames.stderr.clear();
            self.ready = self.frames.take_lines();
            self.ready.reverse();
        }
    }
}
