//! The instances of one service: how each stands, and which takes the next request. A state machine that is told facts.
//!
//! Reads no clock and does no I/O. What is easy to get wrong: an instance that nobody can reach (`Gone`) is never sent anything, and
//! requests wait for it; one that answers badly (`Ill`, ejected) is sent requests when there is no better one, because a bad
//! answer is better than none and the check may be what is wrong. So the last instance is never ejected.
//!
//! ```text
//!           listed                 check passes, ready
//!   (none) --------> Unknown ----------------------------> Up
//!                       |  check fails                    |  ^
//!                       v                 fails `fall` x  |  | passes `rise` x, ready
//!                   Gone / Ill <--------------------------+--+
//!                       ^      no connection: Gone at once
//! ```

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::manager::config::spec::{Balance, Eject, Service};
use crate::manager::gate::{Cause, InstanceView, Report, Standing};

/// What instances are judged and chosen by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Which is next.
    pub balance: Balance,
    /// Checks tell how it stands; without them requests do.
    pub is_checked: bool,
    /// Failed checks in a row.
    pub fall: u32,
    /// Passed checks in a row.
    pub rise: u32,
    /// For answers.
    pub eject: Eject,
    /// Until a new one has its full share.
    pub slow_start: Duration,
}

impl Rules {
    /// As the configuration says.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        Self {
            balance: service.balance,
            is_checked: service.health.is_some(),
            fall: service.health.as_ref().map_or(1, |health| health.fall),
            rise: service.health.as_ref().map_or(1, |health| health.rise),
            eject: service.eject.clone(),
            slow_start: service.slow_start,
        }
    }
}

/// Why a check has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ailing {
    /// Nobody is there.
    Gone(String),
    /// It answers, but not well.
    Ill(String),
}

/// How a request went, as far as the instance is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered with anything below 500.
    Good,
    /// It answered with 500 or above, too late, or not to the end.
    Bad(String),
    /// No connection could be made.
    NoConnection(String),
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// These are the instances.
    Listed(BTreeSet<SocketAddr>),
    /// A check has passed or failed. `true`: requests were waiting for it.
    Checked(SocketAddr, Result<(), Ailing>, bool),
    /// A request has ended.
    Answered(SocketAddr, Outcome),
    /// Recovery repairs the service.
    AwayBegun,
    /// It has ended that.
    AwayEnded,
    /// It gets no new requests from now on, or it does again.
    Draining(SocketAddr, bool),
    /// Recovery has heard something.
    Reported(SocketAddr, Report),
    /// Time has passed.
    Tick,
}

/// An instance stands otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub instance: SocketAddr,
    /// How.
    pub standing: Standing,
    /// Why.
    pub cause: Cause,
}

#[derive(Clone, Debug)]
struct Instance {
    standing: Standing,
    cause: Cause,
    /// Checks in a row that say otherwise than it stands.
    contrary: u32,
    /// Bad answers in a row.
    bad: u32,
    ejected_until: Option<Instant>,
    /// How often in a row it was ejected.
    ejections: u32,
    up_since: Option<Instant>,
    is_draining: bool,
    is_away: bool,
    /// It is no longer listed and ends with its last request.
    is_unlisted: bool,
    in_flight: usize,
    /// For taking turns by weight.
    credit: i64,
}

/// How well an instance serves for the next request; lower is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fitness {
    Good,
    /// There is no better one.
    Poor,
}

/// The instances of one service.
#[derive(Clone, Debug)]
pub struct Upstream {
    rules: Rules,
    instances: BTreeMap<SocketAddr, Instance>,
}

/// Full share of the requests, as a weight.
const WEIGHT: i64 = 100;

impl Upstream {
    /// No instance yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, instances: BTreeMap::new() }
    }

    /// Goes on by other rules.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Takes note of a fact. What stands otherwise now is returned.
    #[must_use]
    pub fn step(&mut self, fact: Fact, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        match fact {
            Fact::Listed(listed) => self.on_listed(&listed, now, &mut changes),
            Fact::Checked(at, result, is_awaited) => {
                self.on_checked(at, result, is_awaited, now, &mut changes)
            }
            Fact::Answered(at, outcome) => self.on_answered(at, outcome, now, &mut changes),
            Fact::AwayBegun => self.instances.values_mut().for_each(|instance| instance.is_away = true),
            Fact::AwayEnded => self.on_away_ended(now, &mut changes),
            Fact::Draining(at, is_draining) => {
                if let Some(instance) = self.instances.get_mut(&at) {
                    instance.is_draining = is_draining;
                }
            }
            Fact::Reported(at, report) => {
                let (standing, why) = match report {
                    Report::Ready => (Standing::Up, "it has said that it is ready".to_owned()),
                    Report::NotReady(why) => (Standing::Gone, why),
                };
                self.set(at, standing, Cause::Told(why), now, &mut changes);
            }
            Fact::Tick => {}
        }
        self.end_ejections(now, &mut changes);
        changes
    }

    fn on_listed(&mut self, listed: &BTreeSet<SocketAddr>, now: Instant, changes: &mut Vec<Change>) {
        let is_checked = self.rules.is_checked;
        for at in listed {
            let instance = self.instances.entry(*at).or_insert_with(|| Instance {
                standing: if is_checked { Standing::Unknown } else { Standing::Up },
                cause: Cause::Told("nothing is known of it yet".to_owned()),
                contrary: 0,
                bad: 0,
                ejected_until: None,
                ejections: 0,
                up_since: (!is_checked).then_some(now),
                is_draining: false,
                is_away: false,
                is_unlisted: false,
                in_flight: 0,
                credit: 0,
            });
            instance.is_unlisted = false;
        }
        for (at, instance) in &mut self.instances {
            if !listed.contains(at) && !instance.is_unlisted {
                instance.is_unlisted = true;
                changes.push(Change { instance: *at, standing: Standing::Gone, cause: Cause::Unlisted });
            }
        }
        self.instances.retain(|_, instance| !instance.is_unlisted || instance.in_flight > 0);
    }

    fn on_checked(
        &mut self,
        at: SocketAddr,
        result: Result<(), Ailing>,
        is_awaited: bool,
        now: Instant,
        changes: &mut Vec<Change>,
    ) {
        let (fall, rise) = (self.rules.fall, self.rules.rise);
        let is_checked = self.rules.is_checked;
        let Some(instance) = self.instances.get_mut(&at) else { return };
        let (standing, cause) = match result {
            Ok(()) if is_awaited && !is_checked => (Standing::Up, Cause::Knocked),
            Ok(()) => (Standing::Up, Cause::Check(None)),
            Err(Ailing::Gone(why)) => (Standing::Gone, Cause::Check(Some(why))),
            Err(Ailing::Ill(why)) => (Standing::Ill, Cause::Check(Some(why))),
        };
        if (standing == Standing::Up) == (instance.standing == Standing::Up)
            && instance.standing != Standing::Unknown
        {
            instance.contrary = 0;
            // Ill and gone are two kinds of not well, and which it is may change at once. But what was said to be away is away until a
            // check passes: the kernel accepts connections to a container that is paused, and nobody answers them.
            let is_told = instance.standing == Standing::Gone && matches!(instance.cause, Cause::Told(_));
            if standing != instance.standing && !is_told {
                self.set(at, standing, cause, now, changes);
            }
            return;
        }
        instance.contrary += 1;
        let needed = match (instance.standing, standing) {
            (Standing::Unknown, _) => 1,
            // Nobody was there, and now somebody answers: it has been started anew.
            (Standing::Gone, _) => 1,
            (_, Standing::Up) => rise,
            _ => fall,
        };
        if instance.contrary >= needed {
            self.set(at, standing, cause, now, changes);
        }
    }

    fn on_answered(&mut self, at: SocketAddr, outcome: Outcome, now: Instant, changes: &mut Vec<Change>) {
        let failures = self.rules.eject.failures;
        let Some(instance) = self.instances.get_mut(&at) else { return };
        match outcome {
            Outcome::Good => instance.bad = 0,
            Outcome::NoConnection(why) => self.set(at, Standing::Gone, Cause::Requests(why), now, changes),
            Outcome::Bad(why) => {
                instance.bad += 1;
                if failures > 0
                    && instance.bad >= failures
                    && instance.ejected_until.is_none()
                    && self.may_eject(at)
                {
                    self.eject(at, &why, now, changes);
                }
            }
        }
    }

    /// Whether another one is left, and not too many are ejected already.
    fn may_eject(&self, at: SocketAddr) -> bool {
        let listed = self.instances.values().filter(|instance| !instance.is_unlisted).count();
        let ejected = self.instances.values().filter(|instance| instance.ejected_until.is_some()).count();
        let percent = usize::try_from(self.rules.eject.percent).unwrap_or(100);
        let most = (listed * percent / 100).max(1);
        let others = self
            .instances
            .iter()
            .filter(|(other, instance)| **other != at && instance.fitness() == Some(Fitness::Good));
        ejected < most && others.count() > 0
    }

    fn eject(&mut self, at: SocketAddr, why: &str, now: Instant, changes: &mut Vec<Change>) {
        let Eject { duration, duration_max, .. } = self.rules.eject;
        let Some(instance) = self.instances.get_mut(&at) else { return };
        instance.ejections += 1;
        instance.ejected_until = Some(now + (duration * instance.ejections).min(duration_max));
        let cause = Cause::Requests(format!("{} bad answers in a row, the last one: {why}", instance.bad));
        instance.bad = 0;
        changes.push(Change { instance: at, standing: Standing::Ill, cause });
    }

    fn end_ejections(&mut self, now: Instant, changes: &mut Vec<Change>) {
        for (at, instance) in &mut self.instances {
            if instance.ejected_until.is_some_and(|until| until <= now) {
                instance.ejected_until = None;
                instance.up_since = Some(now);
                let cause = Cause::Requests("its time out is over".to_owned());
                changes.push(Change { instance: *at, standing: instance.standing, cause });
            }
        }
    }

    fn on_away_ended(&mut self, now: Instant, changes: &mut Vec<Change>) {
        let away: Vec<SocketAddr> =
            self.instances.iter().filter(|(_, instance)| instance.is_away).map(|(at, _)| *at).collect();
        for at in away {
            if let Some(instance) = self.instances.get_mut(&at) {
                instance.is_away = false;
                instance.ejected_until = None;
                instance.bad = 0;
            }
            self.set(at, Standing::Up, Cause::Told("its repair is over".to_owned()), now, changes);
        }
    }

    fn set(
        &mut self,
        at: SocketAddr,
        standing: Standing,
        cause: Cause,
        now: Instant,
        changes: &mut Vec<Change>,
    ) {
        let Some(instance) = self.instances.get_mut(&at) else { return };
        instance.contrary = 0;
        instance.cause = cause.clone();
        if instance.standing == standing {
            return;
        }
        instance.standing = standing;
        instance.up_since = (standing == Standing::Up).then_some(now);
        if standing == Standing::Up {
            instance.bad = 0;
        }
        changes.push(Change { instance: at, standing, cause });
    }

    /// The instance that takes the next request, which is in flight there until [`Upstream::release`]. `None`: none can.
    /// `key` is what a balance by hash goes by; `wanted` comes before all others that are well; `tried` come last.
    pub fn pick(
        &mut self,
        key: u64,
        wanted: Option<u64>,
        tried: &[SocketAddr],
        now: Instant,
    ) -> Option<SocketAddr> {
        let fit: Vec<(SocketAddr, Fitness)> =
            self.instances.iter().filter_map(|(at, instance)| Some((*at, instance.fitness()?))).collect();
        let best = fit.iter().map(|(at, fitness)| (tried.contains(at), *fitness)).min()?;
        let all: Vec<SocketAddr> = fit
            .into_iter()
            .filter(|(at, fitness)| (tried.contains(at), *fitness) == best)
            .map(|(at, _)| at)
            .collect();
        let sticky = wanted.and_then(|wanted| all.iter().copied().find(|at| mark(*at) == wanted));
        let chosen = match (sticky, all.as_slice(), self.rules.balance) {
            (Some(at), ..) => at,
            (None, [only], _) => *only,
            (None, _, Balance::RoundRobin) => self.in_turn(&all, now)?,
            (None, _, Balance::LeastConnections) => self.least(&all, now)?,
            (None, _, Balance::Hash) => all.into_iter().max_by_key(|at| ranked(*at, key))?,
        };
        self.instances.get_mut(&chosen)?.in_flight += 1;
        Some(chosen)
    }

    /// Smooth weighted turns: the one with the most credit, which pays for all.
    fn in_turn(&mut self, all: &[SocketAddr], now: Instant) -> Option<SocketAddr> {
        let slow_start = self.rules.slow_start;
        let mut total = 0;
        let mut best: Option<(i64, SocketAddr)> = None;
        for at in all {
            let instance = self.instances.get_mut(at)?;
            let weight = instance.weight(slow_start, now);
            instance.credit += weight;
            total += weight;
            if best.is_none_or(|(credit, _)| instance.credit > credit) {
                best = Some((instance.credit, *at));
            }
        }
        let (_, at) = best?;
        self.instances.get_mut(&at)?.credit -= total;
        Some(at)
    }

    /// The fewest requests for its weight; among equals, in turn.
    fn least(&mut self, all: &[SocketAddr], now: Instant) -> Option<SocketAddr> {
        let slow_start = self.rules.slow_start;
        let load = |instance: &Instance| {
            let requests = i64::try_from(instance.in_flight + 1).unwrap_or(i64::MAX / WEIGHT);
            requests * WEIGHT / instance.weight(slow_start, now)
        };
        let least = all.iter().filter_map(|at| self.instances.get(at)).map(load).min()?;
        let equals: Vec<SocketAddr> = all
            .iter()
            .copied()
            .filter(|at| self.instances.get(at).is_some_and(|instance| load(instance) == least))
            .collect();
        self.in_turn(&equals, now)
    }

    /// A request or an upgraded connection at `at` has ended. Whether it was the last one there.
    pub fn release(&mut self, at: SocketAddr) -> bool {
        let Some(instance) = self.instances.get_mut(&at) else { return true };
        instance.in_flight = instance.in_flight.saturating_sub(1);
        let is_last = instance.in_flight == 0;
        if is_last && instance.is_unlisted {
            self.instances.remove(&at);
        }
        is_last
    }

    /// Whether upgraded connections at `at` are to end.
    #[must_use]
    pub fn is_leaving(&self, at: SocketAddr) -> bool {
        self.instances
            .get(&at)
            .is_none_or(|instance| instance.is_draining || instance.is_away || instance.is_unlisted)
    }

    /// Requests and upgraded connections at `at`.
    #[must_use]
    pub fn in_flight(&self, at: SocketAddr) -> usize {
        self.instances.get(&at).map_or(0, |instance| instance.in_flight)
    }

    /// Instances that take requests.
    #[must_use]
    pub fn serving(&self) -> usize {
        self.instances.values().filter(|instance| instance.fitness() == Some(Fitness::Good)).count()
    }

    /// Whether recovery repairs it.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.instances.values().any(|instance| instance.is_away)
    }

    /// Those to be checked, and how each stands.
    pub fn listed(&self) -> impl Iterator<Item = (SocketAddr, Standing)> {
        self.instances
            .iter()
            .filter(|(_, instance)| !instance.is_unlisted)
            .map(|(at, instance)| (*at, instance.standing))
    }

    /// When [`Fact::Tick`] is due at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.instances.values().filter_map(|instance| instance.ejected_until).min()
    }

    /// As dashboards show them.
    #[must_use]
    pub fn views(&self) -> Vec<InstanceView> {
        let view = |(at, instance): (&SocketAddr, &Instance)| InstanceView {
            address: *at,
            standing: instance.standing,
            why: instance.cause.to_string(),
            is_ejected: instance.ejected_until.is_some(),
            is_draining: instance.is_draining || instance.is_unlisted,
            in_flight: instance.in_flight,
        };
        self.instances.iter().map(view).collect()
    }
}

impl Instance {
    /// `None`: it takes nothing.
    fn fitness(&self) -> Option<Fitness> {
        if self.is_draining || self.is_away || self.is_unlisted {
            return None;
        }
        match self.standing {
            Standing::Up if self.ejected_until.is_none() => Some(Fitness::Good),
            Standing::Up | Standing::Ill => Some(Fitness::Poor),
            Standing::Unknown | Standing::Gone => None,
        }
    }

    /// From a tenth to all of [`WEIGHT`], as its slow start goes on.
    fn weight(&self, slow_start: Duration, now: Instant) -> i64 {
        let since = self.up_since.map_or(slow_start, |since| now.saturating_duration_since(since));
        if since >= slow_start {
            return WEIGHT;
        }
        let share = since.as_millis() * 100 / slow_start.as_millis().max(1);
        i64::try_from(share).unwrap_or(WEIGHT).clamp(WEIGHT / 10, WEIGHT)
    }
}

/// What a sticky cookie calls an instance: nothing that tells its address.
#[must_use]
pub fn mark(at: SocketAddr) -> u64 {
    ranked(at, 0)
}

/// A number for a text, the same in every process of this version.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// How high `at` ranks for `key`: when one instance goes, only what it had goes elsewhere.
fn ranked(at: SocketAddr, key: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    at.hash(&mut hasher);
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
