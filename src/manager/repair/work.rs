//! One rung of a ladder, carried out by whoever reaches the service's svinit.

use std::time::Duration;

use crate::api::command::Outcome;
use crate::manager::reach::Act;
use crate::manager::reach::fault::Fault;
use crate::manager::recovery::fact::Failure;
use crate::manager::recovery::fact::Sign;
use crate::manager::recovery::policy::Policy;
use crate::manager::recovery::policy::Rung;
use crate::manager::repair::halted::halted;
use crate::manager::repair::patient::Patient;

/// For a container to end by itself before it is restarted.
const STOP: Duration = Duration::from_secs(10);

/// What came of it, in two tellings: for the machine, and in svinit's own words for who asked, if it has said any.
pub(super) struct Done {
    pub(super) result: Result<(), Failure>,
    pub(super) outcome: Option<Outcome>,
}

/// Does it.
pub(super) async fn carry_out(patient: &Patient, instance: &str, rung: Rung) -> Done {
    let patience = Duration::from_millis(Policy::default().patience);
    let act = match rung {
        Rung::Reload => Act::Reload,
        Rung::RestartUnit => Act::Restart,
        Rung::RestartDependants => Act::RestartDependants,
        Rung::RestartContainer => {
            let restarted = patient.reach.restart_container(instance, STOP).await;
            return Done { result: restarted.map_err(|fault| failure(&fault)), outcome: None };
        }
        Rung::Alert => return Done { result: Ok(()), outcome: None },
    };
    match patient.reach.run(instance, act, &patient.unit, patience).await {
        Ok(outcome) => {
            let result = if outcome.ok {
                Ok(())
            } else if outcome.why.starts_with("has no [reload]") {
                Err(Failure::NotApplicable(outcome.why.clone()))
            } else {
                Err(Failure::Failed(outcome.why.clone()))
            };
            Done { result, outcome: Some(outcome) }
        }
        Err(Fault::NotRunning(why)) => {
            Done { result: Err(halt(patient, instance, why).await), outcome: None }
        }
        Err(fault) => Done { result: Err(failure(&fault)), outcome: None },
    }
}

/// Nothing can be done inside a container that does not run. Whether a person wants that is asked of the engine.
async fn halt(patient: &Patient, instance: &str, why: String) -> Failure {
    let found = patient.reach.instances().await.unwrap_or_default();
    match found.iter().find(|one| one.id == instance).and_then(halted) {
        Some(Sign::Held(why)) => Failure::Held(why),
        _ => Failure::NotApplicable(why),
    }
}

fn failure(fault: &Fault) -> Failure {
    match fault {
        Fault::Paused(why) => Failure::Held(why.clone()),
        Fault::NotRunning(why) | Fault::Denied(why) | Fault::NoUnit(why) | Fault::NoSvctl(why) => {
            Failure::NotApplicable(why.clone())
        }
        Fault::Unreachable(why)
        | Fault::NoContainer(why)
        | Fault::Failed(why)
        | Fault::Late(why)
        | Fault::Odd(why) => Failure::Failed(why.clone()),
    }
}
