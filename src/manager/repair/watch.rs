//! Follows the instances of a service, and what svinit says about its unit in each of them.
//!
//! Which instances there are is asked when the engine tells that something has happened, and from time to time, since a stream of
//! events may be away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::sleep_until;

use crate::api::event::UnitEvent;
use crate::manager::news::Kind;
use crate::manager::news::News;
use crate::manager::reach::Instance;
use crate::manager::reach::engine::fates::End;
use crate::manager::reach::fault::Fault;
use crate::manager::recovery::fact::Sign;
use crate::manager::repair::Told;
use crate::manager::repair::halted::halted;
use crate::manager::repair::known::sign;
use crate::manager::repair::known::sign_of;
use crate::manager::repair::patient::Patient;

/// Between two looks at which instances there are, where an engine has to be asked and tells nothing.
pub(super) const LIST_EVERY: Duration = Duration::from_secs(5);

/// Before a stream that has ended is opened again: the first time, and at most.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// One service whose instances are followed.
pub(super) struct Watch {
    pub(super) patient: Arc<Patient>,
    pub(super) tell: mpsc::Sender<Told>,
    pub(super) news: News,
    /// [`LIST_EVERY`].
    pub(super) every: Duration,
    /// Instances are to be looked at again at once.
    pub(super) again: Notify,
}

/// Nobody listens any more.
struct Over;

/// When it will be known how it has ended.
fn judged_at(instance: &Instance) -> Option<Instant> {
    match instance.end {
        Some(End::Fresh { judged_at, .. }) => Some(judged_at),
        Some(End::Own(_) | End::Asked(_)) | None => None,
    }
}

impl Watch {
    /// Follows all instances of it, until it is aborted.
    pub(super) async fn run(self) {
        let watch = Arc::new(self);
        // They end with it.
        let mut tasks = JoinSet::new();
        let mut followed: BTreeMap<String, (Instance, AbortHandle)> = BTreeMap::new();
        let mut changes = watch.patient.reach.engine().map(|engine| engine.changes());
        loop {
            while tasks.try_join_next().is_some() {}
            let mut next = Instant::now() + watch.every;
            let listed = match watch.patient.reach.instances().await {
                Ok(found) => {
                    next = found.iter().filter_map(judged_at).fold(next, Instant::min);
                    watch.take_over(found, &mut followed, &mut tasks).await
                }
                Err(fault) => watch.lose_sight(&fault, &followed).await,
            };
            if listed.is_err() {
                return;
            }
            let changed = async {
                match &mut changes {
                    // The engine outlives its watches.
                    Some(changes) => drop(changes.changed().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep_until(next) => {}
                () = changed => {}
                () = watch.again.notified() => {}
            }
        }
    }

    /// These are the instances from now on.
    async fn take_over(
        self: &Arc<Self>,
        found: Vec<Instance>,
        followed: &mut BTreeMap<String, (Instance, AbortHandle)>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), Over> {
        let gone: Vec<String> =
            followed.keys().filter(|id| !found.iter().any(|one| one.id == **id)).cloned().collect();
        for id in gone {
            if let Some((instance, task)) = followed.remove(&id) {
                task.abort();
                self.push(instance, Sign::Gone).await?;
            }
        }
        for instance in found {
            if let Some(sign) = halted(&instance) {
                if let Some((_, task)) = followed.remove(&instance.id) {
                    task.abort();
                }
                self.push(instance, sign).await?;
            } else if !followed.contains_key(&instance.id) {
                let task = tasks.spawn(Arc::clone(self).follow(instance.clone()));
                followed.insert(instance.id.clone(), (instance, task));
            }
        }
        Ok(())
    }

    /// The engine cannot be asked, which says nothing about its containers.
    async fn lose_sight(
        &self,
        fault: &Fault,
        followed: &BTreeMap<String, (Instance, AbortHandle)>,
    ) -> Result<(), Over> {
        for (instance, _) in followed.values() {
            self.cut(instance.clone(), fault.to_string()).await?;
        }
        Ok(())
    }

    /// Tells every change of one instance's unit; opens the stream again whenever it ends.
    async fn follow(self: Arc<Self>, instance: Instance) {
        let mut pause = AGAIN_MIN;
        loop {
            let Ok(ended) = self.follow_once(&instance, &mut pause).await else { return };
            if let Err(fault) = ended {
                let words = fault.to_string();
                let told = if fault.is_halted() {
                    // How it stands is the engine's to say.
                    self.again.notify_one();
                    Ok(())
                } else if let Some(why) = self.patient.reach.is_cut(&fault).await {
                    self.cut(instance.clone(), why).await
                } else {
                    self.push(instance.clone(), Sign::Unseen(words)).await
                };
                if told.is_err() {
                    return;
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(AGAIN_MAX);
        }
    }

    async fn follow_once(
        &self,
        instance: &Instance,
        pause: &mut Duration,
    ) -> Result<Result<(), Fault>, Over> {
        let mut events = match self.patient.reach.follow(&instance.id, &self.patient.unit).await {
            Ok(events) => events,
            Err(fault) => return Ok(Err(fault)),
        };
        loop {
            let event = match events.next().await {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(Ok(())),
                Err(fault) => return Ok(Err(fault)),
            };
            *pause = AGAIN_MIN;
            if !event.initial {
                let (service, subject) = (Some(&*self.patient.name), Some(instance.id.as_str()));
                self.news.tell(Kind::Unit, service, subject, &event.state, &event.why);
            }
            let sign = self.seen(instance, &event).await;
            self.push(instance.clone(), sign).await?;
        }
    }

    /// What an event says. Whether a unit that does not run was stopped by a person is only in its status.
    async fn seen(&self, instance: &Instance, event: &UnitEvent) -> Sign {
        match event.state.as_str() {
            "inactive" | "completed" => {
                match self.patient.reach.status(&instance.id, &self.patient.unit).await {
                    Ok(status) => sign_of(&status),
                    Err(fault) => Sign::Unseen(fault.to_string()),
                }
            }
            state => sign(state, &event.health, &event.why, false),
        }
    }

    async fn cut(&self, instance: Instance, why: String) -> Result<(), Over> {
        let patient = Arc::clone(&self.patient);
        self.tell.send(Told::Cut { patient, instance, why }).await.map_err(|_| Over)
    }

    async fn push(&self, instance: Instance, sign: Sign) -> Result<(), Over> {
        let patient = Arc::clone(&self.patient);
        self.tell.send(Told::Pushed { patient, instance, sign }).await.map_err(|_| Over)
    }
}

#[cfg(test)]
mod tests;
