//! One service: its instances, and the one repair that is under way.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::manager::recovery::fact::Ailing;
use crate::manager::recovery::fact::Attempt;
use crate::manager::recovery::fact::Sign;
use crate::manager::recovery::fact::Time;
use crate::manager::recovery::fact::Tried;
use crate::manager::recovery::policy::Policy;
use crate::manager::recovery::policy::Rung;
use crate::manager::recovery::tally::Came;
use crate::manager::recovery::tally::Tally;

/// Decisions that are remembered for `svmanager why`.
const NOTES_MAX: usize = 32;

/// What was tried is remembered for an alert; budgets keep it far below that.
const TRIED_MAX: usize = 16;

/// What recovery knows of a service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) policy: Policy,
    pub(super) instances: BTreeMap<Arc<str>, Instance>,
    pub(super) phase: Phase,
    pub(super) paused_until: Option<Time>,
    /// Requests wait at the gate because of us.
    pub(super) is_parked: bool,
    /// When the last actions were, the oldest first.
    pub(super) actions: VecDeque<Time>,
    /// When it last went between well and not, the oldest first.
    pub(super) flips: VecDeque<Time>,
    /// Actions in a row that have not helped.
    pub(super) failures: u32,
    /// Nothing is done before that.
    pub(super) not_before: Time,
    /// What keeps us from acting, so that it is noted once and not at every look.
    pub(super) held_by: Option<String>,
    pub(super) notes: VecDeque<(Time, &'static str, String)>,
    pub(super) tally: Tally,
    /// What has not helped since it was last well, or let go on from the first rung.
    pub(super) tried: VecDeque<Tried>,
}

/// One place where it runs.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) sign: Sign,
    /// Since when it is (or is not) well.
    pub(super) since: Time,
    /// Where on the ladder it is.
    pub(super) rung: usize,
    /// How often in a row a second look has not confirmed what the first one saw.
    pub(super) doubts: u32,
}

/// The repair that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// None.
    Rest,
    /// It may become well by itself until then.
    Waiting { instance: Arc<str>, until: Time },
    /// A second look is being taken, until then at the latest.
    Confirming { instance: Arc<str>, attempt: Attempt, by: Time },
    /// An action runs, which has to end by then.
    Acting { instance: Arc<str>, attempt: Attempt, rung: Rung, by: Time },
    /// An action has ended, and it has to be well by then.
    Proving { instance: Arc<str>, rung: Rung, by: Time },
    /// What was tried has not helped; the next is tried then.
    Cooling { instance: Arc<str>, until: Time },
    /// Nothing has helped. Left alone until then.
    Quarantined { until: Time },
}

impl Phase {
    /// The instance that it is about.
    pub(super) fn instance(&self) -> Option<&Arc<str>> {
        match self {
            Self::Waiting { instance, .. }
            | Self::Confirming { instance, .. }
            | Self::Acting { instance, .. }
            | Self::Proving { instance, .. }
            | Self::Cooling { instance, .. } => Some(instance),
            Self::Rest | Self::Quarantined { .. } => None,
        }
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            Self::Waiting { until, .. } | Self::Cooling { until, .. } | Self::Quarantined { until } => {
                Some(*until)
            }
            Self::Confirming { by, .. } | Self::Acting { by, .. } | Self::Proving { by, .. } => Some(*by),
            Self::Rest => None,
        }
    }

    /// In a word.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Rest => "at rest",
            Self::Waiting { .. } => "waiting",
            Self::Confirming { .. } => "confirming",
            Self::Acting { .. } => "acting",
            Self::Proving { .. } => "proving",
            Self::Cooling { .. } => "cooling",
            Self::Quarantined { .. } => "quarantined",
        }
    }
}

impl Service {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            instances: BTreeMap::new(),
            phase: Phase::Rest,
            paused_until: None,
            is_parked: false,
            actions: VecDeque::new(),
            flips: VecDeque::new(),
            failures: 0,
            not_before: Time(0),
            held_by: None,
            notes: VecDeque::new(),
            tally: Tally::default(),
            tried: VecDeque::new(),
        }
    }

    /// How many of its instances are well.
    pub(super) fn healthy(&self) -> usize {
        self.instances.values().filter(|instance| instance.sign == Sign::Well).count()
    }

    /// None of its instances is well, and at least one is known not to be.
    pub(super) fn is_sick(&self) -> bool {
        self.healthy() == 0 && self.instances.values().any(|instance| instance.sign.is_sick())
    }

    /// Nobody serves, also because a person has stopped it.
    pub(super) fn is_away(&self) -> bool {
        let is_away = |sign: &Sign| sign.is_sick() || matches!(sign, Sign::Held(_));
        self.healthy() == 0 && self.instances.values().any(|instance| is_away(&instance.sign))
    }

    /// Those of its instances that are not well.
    pub(super) fn ailing(&self, name: &Arc<str>) -> Vec<Ailing> {
        let sick = self.instances.iter().filter(|(_, known)| known.sign.is_sick());
        sick.map(|(instance, known)| Ailing {
            service: Arc::clone(name),
            instance: Arc::clone(instance),
            sign: known.sign.clone(),
        })
        .collect()
    }

    /// It begins from the first rung, as if nothing had been tried.
    pub(super) fn begin_anew(&mut self) {
        self.failures = 0;
        self.tried.clear();
    }

    /// This has not helped.
    pub(super) fn has_tried(&mut self, instance: &Arc<str>, rung: Rung, came: Came, why: &str) {
        if self.tried.len() >= TRIED_MAX {
            self.tried.pop_front();
        }
        self.tried.push_back(Tried { instance: Arc::clone(instance), rung, came, why: why.to_owned() });
    }

    /// The instance that is to be looked after next: the one that is worst off, then by name.
    pub(super) fn next_patient(&self) -> Option<Arc<str>> {
        let urgency = |sign: &Sign| match sign {
            Sign::Down(_) => 0,
            Sign::Ill(_) => 1,
            Sign::Well | Sign::Coming(_) | Sign::Held(_) | Sign::Unseen(_) | Sign::Gone => 2,
            // Whoever can be helped is first.
            Sign::Lost(_) => 3,
        };
        let sick = self.instances.iter().filter(|(_, instance)| instance.sign.is_sick());
        sick.min_by_key(|(name, instance)| (instance.doubts, urgency(&instance.sign), (*name).clone()))
            .map(|(name, _)| Arc::clone(name))
    }

    /// Forgets what is too long ago to count.
    pub(super) fn forget(&mut self, now: Time) {
        let (window, flap_window) = (self.policy.window, self.policy.flap_window);
        while self.actions.front().is_some_and(|at| at.0 + window <= now.0) {
            self.actions.pop_front();
        }
        while self.flips.front().is_some_and(|at| at.0 + flap_window <= now.0) {
            self.flips.pop_front();
        }
        for instance in self.instances.values_mut() {
            if instance.sign == Sign::Well && instance.since.0 + window <= now.0 {
                instance.rung = 0;
            }
        }
    }

    /// Goes by another policy. What was spent stays spent, and what is under way goes on.
    pub(super) fn set_policy(&mut self, policy: Policy) {
        if policy.ladder != self.policy.ladder {
            // Where it stood on another ladder says nothing about this one.
            self.instances.values_mut().for_each(|instance| instance.rung = 0);
        }
        self.policy = policy;
    }

    /// The action that is under way, or whose use is to be seen, has come to this.
    pub(super) fn conclude(&mut self, came: Came) {
        if let Phase::Acting { rung, .. } | Phase::Proving { rung, .. } = self.phase {
            self.tally.count(rung, came);
        }
    }

    /// What waits waits no longer.
    pub(super) fn hurry(&mut self, now: Time) {
        if let Phase::Waiting { until, .. } | Phase::Cooling { until, .. } = &mut self.phase {
            *until = (*until).min(now);
        }
    }

    pub(super) fn remember(&mut self, now: Time, decision: &'static str, why: &str) {
        if self.notes.len() >= NOTES_MAX {
            self.notes.pop_front();
        }
        self.notes.push_back((now, decision, why.to_owned()));
    }
}
