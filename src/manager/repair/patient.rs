//! One service as it is repaired: how it is reached, what is looked at, and what may be done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::manager::config::spec;
use crate::manager::config::spec::Check;
use crate::manager::reach::Reach;
use crate::manager::reach::engine::Engine;
use crate::manager::recovery::policy::Policy;
use crate::manager::recovery::policy::Rung;

/// One service.
pub(super) struct Patient {
    pub(super) name: Arc<str>,
    pub(super) unit: String,
    pub(super) reach: Reach,
    pub(super) check: Option<Check>,
    pub(super) targets: Vec<spec::Target>,
}

impl Patient {
    /// Its instances, and what is known of them, are those of `other` too.
    pub(super) fn has_instances_of(&self, other: &Self) -> bool {
        self.unit == other.unit && self.reach.leads_where(&other.reach)
    }

    /// Nothing about it is different.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.has_instances_of(other)
            && self.reach.shows_what(&other.reach)
            && (&self.check, &self.targets) == (&other.check, &other.targets)
    }

    /// `None`: its svinit is not reached, so that nothing can be done about it.
    pub(super) fn of(service: &spec::Service, engine: &Arc<Engine>) -> Result<Option<Self>, String> {
        let (Some(control), Some(reach)) = (&service.control, Reach::to(service, engine)?) else {
            return Ok(None);
        };
        Ok(Some(Self {
            name: Arc::from(service.name.as_str()),
            unit: control.unit.as_str().to_owned(),
            reach,
            check: service.health.as_ref().map(|health| health.check.clone()),
            targets: service.targets.clone(),
        }))
    }
}

/// Who is looked after, and by which rules; made of the manager's file.
#[derive(Default)]
pub struct Roster(pub(super) BTreeMap<Arc<str>, (Arc<Patient>, Policy)>);

impl Roster {
    /// Of these services those whose svinit is reached; and why others, which should be, are not.
    #[must_use]
    pub fn of(services: &BTreeMap<String, Arc<spec::Service>>, engine: &Arc<Engine>) -> (Self, Vec<String>) {
        let (mut roster, mut complaints) = (Self::default(), Vec::new());
        for service in services.values() {
            match Patient::of(service, engine) {
                Ok(Some(patient)) => {
                    let named = Arc::clone(&patient.name);
                    roster.0.insert(named, (Arc::new(patient), policy(service)));
                }
                Ok(None) => {}
                Err(why) => complaints.push(format!("{} is not repaired: {why}", service.name)),
            }
        }
        (roster, complaints)
    }
}

/// What may be done about it.
fn policy(service: &spec::Service) -> Policy {
    let rung = |rung: &spec::Rung| match rung {
        spec::Rung::Reload => Rung::Reload,
        spec::Rung::RestartUnit => Rung::RestartUnit,
        spec::Rung::RestartDependents => Rung::RestartDependants,
        spec::Rung::RestartContainer => Rung::RestartContainer,
        spec::Rung::Alert => Rung::Alert,
    };
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Policy {
        needs: service.recovery.needs.iter().map(|need| Arc::from(need.as_str())).collect(),
        grace: ms(service.recovery.grace),
        ladder: service.recovery.ladder.iter().map(rung).collect(),
        cooldown: ms(service.recovery.cooldown),
        ..Policy::default()
    }
}
