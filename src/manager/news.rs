//! What happens, for who listens at the admin listener: changes of units and instances, decisions, alerts.
//!
//! The last ones are kept, so that a page that is opened is not empty. Nobody who tells news ever waits for a listener.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::api::manager::Event;
use crate::manager::gate::Cause;
use crate::manager::gate::Gate;

/// Events that are kept, and that a listener may be behind; then it is told how many it has missed.
pub const KEPT: usize = 256;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The unit that serves, as its svinit says.
    Unit,
    /// An instance, as the gateway takes it.
    Instance,
    /// A decision of recovery.
    Recovery,
    /// People are to come.
    Alert,
}

impl Kind {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Instance => "instance",
            Self::Recovery => "recovery",
            Self::Alert => "alert",
        }
    }
}

/// All copies are the same news.
#[derive(Clone)]
pub struct News(Arc<Shared>);

struct Shared {
    kept: Mutex<Kept>,
    listeners: broadcast::Sender<Arc<Event>>,
}

#[derive(Default)]
struct Kept {
    last: u64,
    events: VecDeque<Arc<Event>>,
}

impl Default for News {
    fn default() -> Self {
        Self(Arc::new(Shared { kept: Mutex::default(), listeners: broadcast::Sender::new(KEPT) }))
    }
}

impl News {
    /// Tells it. `subject`: the instance that it is about.
    pub fn tell(&self, kind: Kind, service: Option<&str>, subject: Option<&str>, state: &str, why: &str) {
        let mut kept = self.kept();
        kept.last += 1;
        let event = Arc::new(Event {
            id: kept.last,
            ts: jiff::Timestamp::now().to_string(),
            kind: kind.as_str().to_owned(),
            service: service.map(str::to_owned),
            subject: subject.map(str::to_owned),
            state: state.to_owned(),
            why: why.to_owned(),
        });
        if kept.events.len() >= KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(Arc::clone(&event));
        // Within the lock, so that who begins to listen gets each event once. That nobody listens is no matter.
        let _ = self.0.listeners.send(event);
    }

    /// The last so many, and all that follow.
    #[must_use]
    pub fn follow(&self, last: usize) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let kept = self.kept();
        let skipped = kept.events.len().saturating_sub(last);
        (kept.events.iter().skip(skipped).cloned().collect(), self.0.listeners.subscribe())
    }

    /// Tells what the gateway says of instances, for ever.
    pub async fn follow_gate(self, gate: Gate) {
        let mut health = gate.health();
        loop {
            match health.recv().await {
                // What svinit has said is news already.
                Ok(changed) if matches!(changed.cause, Cause::Told(_)) => {}
                Ok(changed) => self.tell(
                    Kind::Instance,
                    Some(&changed.service),
                    Some(&changed.instance.to_string()),
                    changed.standing.as_str(),
                    &changed.cause.to_string(),
                ),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::KEPT;
    use super::Kind;
    use super::News;

    #[test]
    fn who_comes_late_is_told_the_last_ones_and_then_each_once() {
        let news = News::default();
        for round in 0..KEPT + 3 {
            news.tell(Kind::Recovery, Some("app"), None, "act", &round.to_string());
        }
        assert_eq!(news.follow(KEPT + 3).0.len(), KEPT);
        let (last, mut next) = news.follow(2);
        news.tell(Kind::Alert, None, None, "alert", "");
        let ids: Vec<u64> = last.iter().map(|event| event.id).chain([next.try_recv().unwrap().id]).collect();
        let end = KEPT as u64 + 3;
        assert_eq!(ids, [end - 1, end, end + 1]);
        assert!(next.try_recv().is_err());
    }
}
