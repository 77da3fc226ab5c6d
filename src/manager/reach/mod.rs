//! How a service's svinit is reached: by `svctl` in its container (docker), by its control socket on a shared volume
//! (socket), or by its control API over TCP (api). What can be asked is the same.
//!
//! Every call has a bound. What was begun inside a container goes on there when nobody waits any more, so `svctl` gets a
//! timeout of its own that is shorter than ours.

pub mod direct;
pub mod docker;
pub mod engine;
pub mod fault;
pub mod wire;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::api::command::Outcome;
use crate::api::event::UnitEvent;
use crate::api::status::UnitStatus;
use crate::manager::config::spec;
use crate::manager::reach::direct::Direct;
use crate::manager::reach::docker::Docker;
use crate::manager::reach::docker::Which;
use crate::manager::reach::engine::Engine;
use crate::manager::reach::engine::fates::End;
use crate::manager::reach::fault::Fault;
use crate::manager::reach::wire::Place;
use crate::net::token::Token;
use crate::os::credentials;

/// One place where a service runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// What calls about it are to name: a container's number, or where its svinit answers.
    pub id: String,
    /// For people.
    pub name: String,
    /// Where it can be connected to, as far as that is known.
    pub address: Option<IpAddr>,
    /// How its container is, in the engine's word; `running` where there is no engine to ask.
    pub state: String,
    /// How its container has ended, if it has and somebody has seen it.
    pub end: Option<End>,
}

/// What can be done with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Read the configuration again.
    Reload,
    /// A new process.
    Restart,
    /// And new ones of what requires it.
    RestartDependants,
    /// A new process, when there is none; else nothing.
    Start,
    /// No process, until it is started again.
    Stop,
}

/// One way to one service.
#[derive(Debug)]
pub enum Reach {
    /// `svctl` executed in its containers.
    Docker(Docker),
    /// Its svinit itself.
    Direct(Direct),
}

/// JSON values, as they come.
pub enum Lines {
    /// From the output of `svctl`.
    Docker(docker::Lines),
    /// From svinit itself.
    Direct(direct::Lines),
}

/// Changes of units, as they happen.
pub struct Events(Lines);

/// Which lines of output are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of this unit; `all` is all of them.
    pub unit: String,
    /// At most so many that are kept.
    pub lines: u32,
    /// And those to come.
    pub follow: bool,
}

impl Reach {
    /// The way to `service`; `None`: there is none.
    ///
    /// # Errors
    /// Its token cannot be read, or no container is named.
    pub fn to(service: &spec::Service, engine: &Arc<Engine>) -> Result<Option<Self>, String> {
        let Some(control) = &service.control else { return Ok(None) };
        Ok(Some(match &control.reach {
            spec::Reach::Docker { container } => {
                let which = match (container, &service.discover) {
                    (Some(name), _) => Which::Named(name.clone()),
                    (None, Some(discover)) => Which::Compose {
                        service: discover.compose_service.clone(),
                        project: discover.project.clone(),
                    },
                    (None, None) => {
                        return Err("neither a container nor a Compose service is named".to_owned());
                    }
                };
                Self::Docker(Docker::new(Arc::clone(engine), which))
            }
            spec::Reach::Socket { path } => Self::Direct(Direct::new(Place::Unix(path.clone()), None)),
            spec::Reach::Api { url, token_file } => {
                let text = credentials::read_secret(token_file).map_err(|error| error.to_string())?;
                let token = Token::new(&text)
                    .map_err(|why| format!("the token in {} {why}", token_file.display()))?;
                Self::Direct(Direct::new(Place::Tcp(url.at.clone()), Some(token)))
            }
        }))
    }

    /// Why there is no way at all to an instance, after it could not be asked because of `fault`: with Docker, that the engine cannot be
    /// asked either, which could restart its container; else that svinit is not there.
    pub async fn is_cut(&self, fault: &Fault) -> Option<String> {
        match self {
            Self::Docker(docker) => docker.instances().await.err().map(|fault| fault.to_string()),
            Self::Direct(_) => {
                matches!(fault, Fault::Unreachable(_) | Fault::Late(_)).then(|| fault.to_string())
            }
        }
    }

    /// Whether both lead to the same instances, by the names that they have.
    #[must_use]
    pub fn leads_where(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Docker(one), Self::Docker(other)) => one.which() == other.which(),
            (Self::Direct(one), Self::Direct(other)) => one.place() == other.place(),
            (Self::Docker(_), Self::Direct(_)) | (Self::Direct(_), Self::Docker(_)) => false,
        }
    }

    /// Whether both show the same token, or none.
    #[must_use]
    pub fn shows_what(&self, other: &Self) -> bool {
        match (self.token(), other.token()) {
            (Some(one), Some(other)) => one.is_same(other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// The engine that is asked; `None`: none is.
    #[must_use]
    pub fn engine(&self) -> Option<&Arc<Engine>> {
        match self {
            Self::Docker(docker) => Some(docker.engine()),
            Self::Direct(_) => None,
        }
    }

    fn token(&self) -> Option<&Token> {
        match self {
            Self::Docker(_) => None,
            Self::Direct(direct) => direct.token(),
        }
    }

    /// The places where the service runs, in the order of their names.
    ///
    /// # Errors
    /// As [`Fault`] says.
    pub async fn instances(&self) -> Result<Vec<Instance>, Fault> {
        match self {
            Self::Docker(docker) => docker.instances().await,
            Self::Direct(direct) => Ok(vec![direct.instance()]),
        }
    }

    /// How `unit` is there.
    ///
    /// # Errors
    /// As [`Fault`] says.
    pub async fn status(&self, instance: &str, unit: &str) -> Result<UnitStatus, Fault> {
        match self {
            Self::Docker(docker) => docker.status(instance, unit).await,
            Self::Direct(direct) => direct.status(unit).await,
        }
    }

    /// All units there, with what they use.
    ///
    /// # Errors
    /// As [`Fault`] says.
    pub async fn units(&self, instance: &str) -> Result<Vec<UnitStatus>, Fault> {
        match self {
            Self::Docker(docker) => docker.units(instance).await,
            Self::Direct(direct) => direct.units().await,
        }
    }

    /// Lines of output, as `svctl logs --json` prints them.
    ///
    /// # Errors
    /// As [`Fault`] says.
    pub async fn logs(&self, instance: &str, wanted: &Wanted) -> Result<Lines, Fault> {
        match self {
            Self::Docker(docker) => docker.logs(instance, wanted).await.map(Lines::Docker),
            Self::Direct(direct) => direct.logs(wanted).await.map(Lines::Direct),
        }
    }

    /// Does it with `unit`; the answer comes when it is done, or after `patience`.
    ///
    /// # Errors
    /// As [`Fault`] says. That the unit did not come up is an outcome that is not `ok`.
    pub async fn run(
        &self,
        instance: &str,
        act: Act,
        unit: &str,
        patience: Duration,
    ) -> Result<Outcome, Fault> {
        match self {
            Self::Docker(docker) => docker.run(instance, act, unit, patience).await,
            Self::Direct(direct) => direct.run(act, unit, patience).await,
        }
    }

    /// What happens to `unit` from now on, and first how it is.
    ///
    /// # Errors
    /// As [`Fault`] says.
    pub async fn follow(&self, instance: &str, unit: &str) -> Result<Events, Fault> {
        match self {
            Self::Docker(docker) => docker.follow(instance, unit).await.map(Lines::Docker).map(Events),
            Self::Direct(direct) => direct.follow(unit).await.map(Lines::Direct).map(Events),
        }
    }

    /// Restarts the whole container.
    ///
    /// # Errors
    /// As [`Fault`] says; also where no engine is asked.
    pub async fn restart_container(&self, instance: &str, stop: Duration) -> Result<(), Fault> {
        match self {
            Self::Docker(docker) => docker.restart_container(instance, stop).await,
            Self::Direct(_) => {
                Err(Fault::Denied("only the docker driver can restart a container".to_owned()))
            }
        }
    }
}

impl Events {
    /// The next one; `None`: the stream has ended as it should, and is to be opened again.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn next(&mut self) -> Result<Option<UnitEvent>, Fault> {
        while let Some(line) = self.0.next().await? {
            // What is no event says that some are missing: the next one tells the state again.
            if let Ok(event) = serde_json::from_slice(&line) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

impl Lines {
    /// The next one; `None`: there are no more.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        match self {
            Self::Docker(lines) => lines.next().await,
            Self::Direct(lines) => lines.next().await,
        }
    }
}
