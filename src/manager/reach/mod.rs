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
use std::time::Duration;

use crate::api::command::Outcome;
use crate::api::event::UnitEvent;
use crate::api::status::UnitStatus;
use crate::manager::reach::direct::Direct;
use crate::manager::reach::docker::Docker;
use crate::manager::reach::fault::Fault;

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

/// Changes of units, as they happen.
pub enum Events {
    /// From the output of `svctl events`.
    Docker(docker::Events),
    /// From svinit itself.
    Direct(direct::Events),
}

impl Reach {
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
            Self::Docker(docker) => docker.follow(instance, unit).await.map(Events::Docker),
            Self::Direct(direct) => direct.follow(unit).await.map(Events::Direct),
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
        match self {
            Self::Docker(events) => events.next().await,
            Self::Direct(events) => events.next().await,
        }
    }
}
