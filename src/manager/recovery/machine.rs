//! The machine: which service is looked after, when, and how.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::manager::recovery::fact::Ailing;
use crate::manager::recovery::fact::Attempt;
use crate::manager::recovery::fact::Fact;
use crate::manager::recovery::fact::Failure;
use crate::manager::recovery::fact::Sign;
use crate::manager::recovery::fact::Time;
use crate::manager::recovery::fact::Tried;
use crate::manager::recovery::fact::Wish;
use crate::manager::recovery::policy::BACKOFF_MAX;
use crate::manager::recovery::policy::BACKOFF_MIN;
use crate::manager::recovery::policy::Policy;
use crate::manager::recovery::policy::Rung;
use crate::manager::recovery::service::Instance;
use crate::manager::recovery::service::Phase;
use crate::manager::recovery::service::Service;
use crate::manager::recovery::tally::Came;
use crate::manager::recovery::tally::Tally;
use crate::manager::recovery::told;

/// For a second look.
const CONFIRM_PATIENCE: u64 = 10_000;

/// How often the pause doubles before one is looked at again of which two checks say different things.
const DOUBTS_MAX: u32 = 6;

/// Services that are ill at once, of their own, before everything is taken to be.
const FREEZE_MIN: usize = 2;

/// How long nothing is touched because of that.
const FREEZE_MAX: u64 = 900_000;

/// Recovery of all services.
#[derive(Clone, Debug)]
pub struct Recovery {
    services: BTreeMap<Arc<str>, Service>,
    is_leader: bool,
    freeze: Freeze,
    freezes: u64,
    paused_until: Option<Time>,
    last_attempt: u64,
    random: u64,
}

/// Whether everything stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Freeze {
    No,
    /// Until then at the latest: by then somebody would have repaired a host.
    Until(Time),
    /// It was, and what is ill is still ill: it is tried all the same.
    Over,
}

/// How a service stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub service: Arc<str>,
    /// What recovery does about it, in a word.
    pub phase: &'static str,
    /// Why it does not do more, if it would.
    pub held_by: Option<String>,
    /// Each instance with its sign.
    pub instances: Vec<(Arc<str>, Sign)>,
    /// Left alone until then, by a person.
    pub paused_until: Option<Time>,
    /// Actions that are left in this window.
    pub budget: usize,
    /// What was decided, the oldest first.
    pub notes: Vec<(Time, &'static str, String)>,
    /// What may be tried, one after the other.
    pub ladder: Vec<Rung>,
    /// What was done so far.
    pub tally: Tally,
}

impl Recovery {
    /// Looks after these services. `seed` decides about the jitter of pauses.
    #[must_use]
    pub fn new(services: BTreeMap<Arc<str>, Policy>, seed: u64) -> Self {
        let services = services.into_iter().map(|(name, policy)| (name, Service::new(policy))).collect();
        Self {
            services,
            is_leader: false,
            freeze: Freeze::No,
            freezes: 0,
            paused_until: None,
            last_attempt: 0,
            random: seed | 1,
        }
    }

    /// Tells it what has happened. The caller carries out what is returned, in order.
    #[must_use]
    pub fn step(&mut self, fact: Fact, now: Time) -> Vec<Wish> {
        let mut out = Vec::new();
        match fact {
            Fact::Seen { service, instance, sign } => self.on_seen(&service, instance, sign, now, &mut out),
            Fact::Confirmed { service, attempt, ill } => {
                self.on_confirmed(&service, attempt, ill, now, &mut out)
            }
            Fact::Done { service, attempt, result } => self.on_done(&service, attempt, result, now, &mut out),
            Fact::Paused { service, until } => self.on_paused(service.as_ref(), until, now, &mut out),
            Fact::Resumed { service } => self.on_resumed(service.as_ref(), now, &mut out),
            Fact::Asked { service, rung, who } => self.on_asked(&service, rung, &who, now, &mut out),
            Fact::Ruled { service, policy } => self.on_ruled(&service, policy, now, &mut out),
            Fact::Led(is_leader) => self.on_led(is_leader, &mut out),
            Fact::Tick => {}
        }
        self.weigh(now, &mut out);
        // A change of one may let another go on; each is looked at once, in the order of their names.
        let names: Vec<Arc<str>> = self.services.keys().cloned().collect();
        for name in &names {
            self.go_on(name, now, &mut out);
            self.gate(name, &mut out);
        }
        out
    }

    /// When `step(Fact::Tick, now)` is due at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let of = |service: &Service| [service.phase.deadline(), service.paused_until];
        let thaw = match self.freeze {
            Freeze::Until(until) => Some(until),
            Freeze::No | Freeze::Over => None,
        };
        let all = self.services.values().flat_map(of).chain([self.paused_until, thaw]);
        all.flatten().min()
    }

    /// How each service stands.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        self.services.iter().map(|(name, service)| view(name, service)).collect()
    }

    /// Everything stands still, because half of everything is ill.
    #[must_use]
    pub const fn is_frozen(&self) -> bool {
        matches!(self.freeze, Freeze::Until(_))
    }

    /// How often everything was made to stand still.
    #[must_use]
    pub const fn freezes(&self) -> u64 {
        self.freezes
    }

    /// An action on this service is under way.
    #[must_use]
    pub fn is_acting(&self, service: &str) -> bool {
        self.services.get(service).is_some_and(|service| matches!(service.phase, Phase::Acting { .. }))
    }

    /// All services are left alone until then, by a person.
    #[must_use]
    pub const fn paused_until(&self) -> Option<Time> {
        self.paused_until
    }

    /// Whether this manager is the one that acts.
    #[must_use]
    pub const fn is_leader(&self) -> bool {
        self.is_leader
    }

    fn on_seen(&mut self, name: &Arc<str>, instance: Arc<str>, sign: Sign, now: Time, out: &mut Vec<Wish>) {
        let Some(service) = self.services.get_mut(name) else { return };
        service.forget(now);
        if sign == Sign::Gone {
            service.instances.remove(&instance);
            if service.phase.instance() == Some(&instance) {
                note(name, service, now, "gone", format!("{instance} is no instance any more"), out);
                service.conclude(Came::Gone);
                service.phase = Phase::Rest;
            }
            return;
        }
        let is_new = !service.instances.contains_key(&instance);
        let known = service.instances.entry(Arc::clone(&instance)).or_insert_with(|| Instance {
            sign: sign.clone(),
            since: now,
            rung: 0,
            doubts: 0,
        });
        // That it cannot be looked at makes nobody well or ill.
        if matches!(sign, Sign::Unseen(_)) && known.sign.is_sick() {
            return;
        }
        let (was_well, is_well) = (known.sign == Sign::Well, sign == Sign::Well);
        let was_sick = known.sign.is_sick();
        if known.sign != sign {
            known.doubts = 0;
        }
        known.sign = sign.clone();
        if was_well != is_well && !is_new {
            known.since = now;
            // Its own repair makes it go down as well, which is no flapping.
            let is_ours = matches!(&service.phase, Phase::Acting { instance: of, .. } | Phase::Proving { instance: of, .. } if *of == instance);
            if !is_ours && (sign.is_sick() || was_sick) {
                service.flips.push_back(now);
            }
        }
        self.on_changed(name, &instance, &sign, now, out);
    }

    /// What a new sign means for the repair that is under way.
    fn on_changed(
        &mut self,
        name: &Arc<str>,
        instance: &Arc<str>,
        sign: &Sign,
        now: Time,
        out: &mut Vec<Wish>,
    ) {
        let Some(service) = self.services.get_mut(name) else { return };
        let is_patient = service.phase.instance() == Some(instance);
        match sign {
            Sign::Well if is_patient => match service.phase.clone() {
                Phase::Proving { rung, .. } => {
                    service.conclude(Came::Healed);
                    service.begin_anew();
                    service.phase = Phase::Rest;
                    service.not_before = Time(now.0 + service.policy.cooldown);
                    note(
                        name,
                        service,
                        now,
                        "healed",
                        format!("{instance} is well after {}", rung.as_str()),
                        out,
                    );
                }
                // The action tells itself when it has ended.
                Phase::Acting { .. } => {}
                Phase::Waiting { .. } | Phase::Confirming { .. } | Phase::Cooling { .. } => {
                    service.begin_anew();
                    service.phase = Phase::Rest;
                    note(name, service, now, "recovered", format!("{instance} is well by itself"), out);
                }
                Phase::Rest | Phase::Quarantined { .. } => {}
            },
            Sign::Well => {
                if matches!(service.phase, Phase::Quarantined { .. })
                    && !service.instances.values().any(|known| known.sign.is_sick())
                {
                    // What has flapped is believed when it has been well for as long as flaps are counted.
                    if service.flips.len() < service.policy.flaps {
                        service.phase = Phase::Rest;
                        service.begin_anew();
                        note(name, service, now, "released", format!("{instance} is well"), out);
                    }
                }
            }
            Sign::Held(why) if is_patient && !matches!(service.phase, Phase::Acting { .. }) => {
                service.conclude(Came::LeftAlone);
                service.phase = Phase::Rest;
                note(name, service, now, "left-alone", format!("{instance}: {why}"), out);
            }
            // Nobody will bring it up: there is nothing to wait for.
            Sign::Down(_) if is_patient => {
                if let Phase::Waiting { until, .. } = &mut service.phase {
                    *until = now;
                }
            }
            Sign::Ill(_)
            | Sign::Coming(_)
            | Sign::Down(_)
            | Sign::Held(_)
            | Sign::Unseen(_)
            | Sign::Lost(_)
            | Sign::Gone => {}
        }
    }

    fn on_confirmed(
        &mut self,
        name: &Arc<str>,
        attempt: Attempt,
        ill: Option<String>,
        now: Time,
        out: &mut Vec<Wish>,
    ) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Phase::Confirming { instance, attempt: asked, .. } = &service.phase else { return };
        if *asked != attempt {
            return;
        }
        let instance = Arc::clone(instance);
        match ill {
            Some(why) => {
                note(name, service, now, "confirmed", format!("{instance}: {why}"), out);
                service.phase = Phase::Cooling { instance, until: now };
            }
            None => {
                // One kind of check says ill and another well: looked at again, and nothing is touched.
                // Another one may need it more, and it is asked ever more rarely.
                note(name, service, now, "doubted", format!("a second check of {instance} passes"), out);
                if let Some(known) = service.instances.get_mut(&instance) {
                    known.doubts = known.doubts.saturating_add(1);
                }
                service.phase = Phase::Rest;
            }
        }
    }

    fn on_done(
        &mut self,
        name: &Arc<str>,
        attempt: Attempt,
        result: Result<(), Failure>,
        now: Time,
        out: &mut Vec<Wish>,
    ) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Phase::Acting { instance, attempt: asked, rung, .. } = service.phase.clone() else { return };
        if asked != attempt {
            return;
        }
        match result {
            Ok(()) => {
                let is_well = service.instances.get(&instance).is_some_and(|known| known.sign == Sign::Well);
                let by = Time(now.0 + service.policy.patience);
                service.phase = Phase::Proving { instance: Arc::clone(&instance), rung, by };
                if is_well {
                    self.on_changed(name, &instance, &Sign::Well, now, out);
                }
            }
            Err(Failure::Held(why)) => {
                note(name, service, now, "left-alone", format!("{instance}: {why}"), out);
                if let Some(known) = service.instances.get_mut(&instance) {
                    known.sign = Sign::Held(why);
                }
                service.conclude(Came::LeftAlone);
                service.phase = Phase::Rest;
            }
            Err(Failure::NotApplicable(why)) => {
                // It has touched nothing, so it does not count, and the next rung need not wait.
                service.actions.pop_back();
                service.conclude(Came::Skipped);
                service.has_tried(&instance, rung, Came::Skipped, &why);
                note(name, service, now, "skipped", format!("{} of {instance}: {why}", rung.as_str()), out);
                climb(service, &instance);
                service.not_before = now;
                service.phase = Phase::Cooling { instance, until: now };
            }
            Err(Failure::Failed(why)) => self.on_no_help(name, &instance, rung, &why, now, out),
        }
    }

    /// What was tried has not helped: the next rung, after a pause.
    fn on_no_help(
        &mut self,
        name: &Arc<str>,
        instance: &Arc<str>,
        rung: Rung,
        why: &str,
        now: Time,
        out: &mut Vec<Wish>,
    ) {
        let draw = self.draw();
        let Some(service) = self.services.get_mut(name) else { return };
        service.tally.count(rung, Came::NoHelp);
        service.has_tried(instance, rung, Came::NoHelp, why);
        service.failures = service.failures.saturating_add(1);
        climb(service, instance);
        let whole = BACKOFF_MIN.saturating_mul(1 << service.failures.min(20)).min(BACKOFF_MAX);
        // Full jitter, but never less than the least: many managers must not come back at the same moment.
        let pause = BACKOFF_MIN + draw % whole;
        note(name, service, now, "no-help", format!("{} of {instance}: {why}", rung.as_str()), out);
        let until = Time(now.0 + pause.max(service.policy.cooldown));
        service.not_before = until;
        service.phase = Phase::Cooling { instance: Arc::clone(instance), until };
    }

    fn on_paused(&mut self, of: Option<&Arc<str>>, until: Time, now: Time, out: &mut Vec<Wish>) {
        let why = format!("left alone for {} s", until.0.saturating_sub(now.0) / 1000);
        match of {
            Some(name) => {
                let Some(service) = self.services.get_mut(name) else { return };
                service.paused_until = Some(until);
                note(name, service, now, "paused", why, out);
            }
            None => {
                self.paused_until = Some(until);
                out.push(Wish::Note { service: None, decision: "paused", why });
            }
        }
    }

    fn on_resumed(&mut self, of: Option<&Arc<str>>, now: Time, out: &mut Vec<Wish>) {
        match of {
            Some(name) => {
                let Some(service) = self.services.get_mut(name) else { return };
                service.paused_until = None;
                // Whoever says go on has looked at it.
                if matches!(service.phase, Phase::Quarantined { .. }) {
                    service.phase = Phase::Rest;
                }
                service.begin_anew();
                service.flips.clear();
                service.actions.clear();
                service.not_before = now;
                service.instances.values_mut().for_each(|instance| instance.rung = 0);
                service.hurry(now);
                note(name, service, now, "resumed", "asked for".to_owned(), out);
            }
            None => {
                self.paused_until = None;
                self.services.values_mut().for_each(|service| service.hurry(now));
                out.push(Wish::Note { service: None, decision: "resumed", why: "asked for".to_owned() });
            }
        }
    }

    /// A person may do it outside of any budget, but not two things at once, and not with the last instance that is well
    /// beside others.
    fn on_asked(&mut self, name: &Arc<str>, rung: Rung, who: &str, now: Time, out: &mut Vec<Wish>) {
        let is_leader = self.is_leader;
        let attempt = Attempt(self.last_attempt + 1);
        let Some(service) = self.services.get_mut(name) else { return };
        if !is_leader {
            note(name, service, now, "refused", format!("asked for by {who}: another manager acts"), out);
            return;
        }
        if let Phase::Acting { rung, .. } | Phase::Proving { rung, .. } = service.phase {
            note(
                name,
                service,
                now,
                "refused",
                format!("asked for by {who}: {} is under way", rung.as_str()),
                out,
            );
            return;
        }
        let chosen = service.next_patient().or_else(|| {
            let well = service.instances.iter().find(|(_, known)| !matches!(known.sign, Sign::Held(_)));
            well.map(|(instance, _)| Arc::clone(instance))
        });
        let Some(instance) = chosen else {
            note(name, service, now, "refused", format!("asked for by {who}: it has no instance"), out);
            return;
        };
        let is_serving = service.instances.get(&instance).is_some_and(|known| known.sign == Sign::Well);
        if is_serving && service.instances.len() > 1 && service.healthy() <= service.policy.healthy_min {
            let why =
                format!("asked for by {who}: {instance} is the last that is well beside others that are not");
            note(name, service, now, "refused", why, out);
            return;
        }
        note(name, service, now, "asked", format!("{} of {instance}, by {who}", rung.as_str()), out);
        let by = Time(now.0 + service.policy.patience);
        service.phase = Phase::Acting { instance: Arc::clone(&instance), attempt, rung, by };
        park_for(name, service, rung, &instance, out);
        out.push(Wish::Act { service: Arc::clone(name), instance, rung, attempt });
        self.last_attempt = attempt.0;
    }

    /// What is known of budgets, of what was tried and of people's wishes is not thrown away for another file.
    fn on_ruled(&mut self, name: &Arc<str>, policy: Option<Policy>, now: Time, out: &mut Vec<Wish>) {
        let Some(policy) = policy else {
            let Some(service) = self.services.remove(name) else { return };
            let why = "it is not looked after any more".to_owned();
            out.push(Wish::Note { service: Some(Arc::clone(name)), decision: "ruled", why });
            if service.is_parked {
                out.push(Wish::Unpark(Arc::clone(name)));
            }
            return;
        };
        let words = format!("looked after by {}", policy.words());
        let service = match self.services.get_mut(name) {
            Some(service) if service.policy == policy => return,
            Some(service) => {
                service.set_policy(policy);
                service
            }
            None => self.services.entry(Arc::clone(name)).or_insert_with(|| Service::new(policy)),
        };
        note(name, service, now, "ruled", words, out);
    }

    fn on_led(&mut self, is_leader: bool, out: &mut Vec<Wish>) {
        if self.is_leader == is_leader {
            return;
        }
        self.is_leader = is_leader;
        let why = if is_leader { "this manager acts" } else { "another manager acts" };
        out.push(Wish::Note { service: None, decision: "leader", why: why.to_owned() });
    }

    /// Whether so much is ill that it cannot be the services.
    fn weigh(&mut self, now: Time, out: &mut Vec<Wish>) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            out.push(Wish::Note { service: None, decision: "resumed", why: "the pause is over".to_owned() });
        }
        let is_explained = |service: &Service| {
            service.policy.needs.iter().any(|need| self.services.get(need).is_some_and(Service::is_sick))
        };
        let ill =
            self.services.values().filter(|service| service.is_sick() && !is_explained(service)).count();
        let all = self.services.len();
        let is_too_much = ill >= FREEZE_MIN && ill * 2 >= all;
        match self.freeze {
            Freeze::No if is_too_much => {
                self.freeze = Freeze::Until(Time(now.0 + FREEZE_MAX));
                self.freezes += 1;
                let ailing: Vec<Ailing> =
                    self.services.iter().flat_map(|(name, service)| service.ailing(name)).collect();
                let why = format!(
                    "{ill} of {all} services are ill at once: this is the host or the network, nothing is touched; {}",
                    told::of_all(&ailing)
                );
                out.push(Wish::Note { service: None, decision: "frozen", why: why.clone() });
                out.push(Wish::Alert { service: None, why, ailing, tried: Vec::new() });
            }
            Freeze::Until(until) if is_too_much && until <= now => {
                self.freeze = Freeze::Over;
                let why =
                    format!("{ill} of {all} services are still ill, and nobody has come: each is tried");
                out.push(Wish::Note { service: None, decision: "thawed", why });
            }
            Freeze::Until(_) if !is_too_much => {
                self.freeze = Freeze::No;
                let why = format!("{ill} of {all} services are ill");
                out.push(Wish::Note { service: None, decision: "thawed", why });
            }
            Freeze::Over if !is_too_much => self.freeze = Freeze::No,
            Freeze::No | Freeze::Until(_) | Freeze::Over => {}
        }
    }

    /// What is due for this service.
    fn go_on(&mut self, name: &Arc<str>, now: Time, out: &mut Vec<Wish>) {
        let Some(service) = self.services.get_mut(name) else { return };
        service.forget(now);
        if service.paused_until.is_some_and(|until| until <= now) {
            service.paused_until = None;
            note(name, service, now, "resumed", "the pause is over".to_owned(), out);
        }
        match service.phase.clone() {
            Phase::Waiting { instance, until } if until <= now => {
                self.try_to_act(name, &instance, false, now, out)
            }
            Phase::Confirming { instance, by, .. } if by <= now => {
                // A check that does not come back passes no judgement.
                note(name, service, now, "doubted", format!("nobody could look at {instance} again"), out);
                if let Some(known) = service.instances.get_mut(&instance) {
                    known.doubts = known.doubts.saturating_add(1);
                }
                service.phase = Phase::Rest;
            }
            Phase::Acting { instance, rung, by, .. } if by <= now => {
                self.on_no_help(name, &instance, rung, "it has not ended in time", now, out);
            }
            Phase::Proving { instance, rung, by } if by <= now => {
                self.on_no_help(name, &instance, rung, "it is not well in time", now, out);
            }
            Phase::Cooling { instance, until } if until <= now => {
                self.try_to_act(name, &instance, true, now, out)
            }
            Phase::Quarantined { until } if until <= now => {
                service.phase = Phase::Rest;
                service.begin_anew();
                service.flips.clear();
                service.instances.values_mut().for_each(|instance| instance.rung = 0);
                note(name, service, now, "released", "it is tried again".to_owned(), out);
            }
            Phase::Rest
            | Phase::Waiting { .. }
            | Phase::Confirming { .. }
            | Phase::Acting { .. }
            | Phase::Proving { .. }
            | Phase::Cooling { .. }
            | Phase::Quarantined { .. } => {}
        }
        // Also when what was due turned out to be over: another one may have waited for it.
        if self.services.get(name).is_some_and(|service| service.phase == Phase::Rest) {
            self.begin(name, now, out);
        }
    }

    /// Begins to look after the next one that needs it.
    fn begin(&mut self, name: &Arc<str>, now: Time, out: &mut Vec<Wish>) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(instance) = service.next_patient() else {
            service.held_by = None;
            return;
        };
        let Instance { sign, doubts, .. } = service.instances[&instance].clone();
        let (what, wait) = match &sign {
            Sign::Down(why) => (why.clone(), 0),
            Sign::Ill(why) | Sign::Coming(why) | Sign::Lost(why) => {
                (why.clone(), service.policy.grace.max(1_000) << doubts.min(DOUBTS_MAX))
            }
            Sign::Well | Sign::Held(_) | Sign::Unseen(_) | Sign::Gone => return,
        };
        if doubts == 0 {
            note(name, service, now, "ill", format!("{instance}: {what}"), out);
        }
        let until = Time(now.0 + wait);
        service.phase = Phase::Waiting { instance: Arc::clone(&instance), until };
        if wait == 0 {
            self.try_to_act(name, &instance, false, now, out);
        }
    }

    /// Acts on the instance unless something speaks against it; `is_sure`: a second look was taken.
    fn try_to_act(
        &mut self,
        name: &Arc<str>,
        instance: &Arc<str>,
        is_sure: bool,
        now: Time,
        out: &mut Vec<Wish>,
    ) {
        let is_patient =
            |service: &Service| service.instances.get(instance).is_some_and(|known| known.sign.is_sick());
        if !self.services.get(name).is_some_and(is_patient) {
            // What cannot be looked at any more, or is well or was stopped meanwhile, is left as it is.
            if let Some(service) = self.services.get_mut(name) {
                service.phase = Phase::Rest;
            }
            return;
        }
        if self.is_beyond(name, instance, is_sure, now, out) {
            return;
        }
        let against = self.against(name, now);
        let attempt = if against.is_none() { self.next_attempt() } else { Attempt(0) };
        let Some(service) = self.services.get_mut(name) else { return };
        if let Some((why, until)) = against {
            if service.held_by.as_ref() != Some(&why) {
                note(name, service, now, "held", why.clone(), out);
                service.held_by = Some(why);
            }
            service.phase = if is_sure {
                Phase::Cooling { instance: Arc::clone(instance), until }
            } else {
                Phase::Waiting { instance: Arc::clone(instance), until }
            };
            return;
        }
        service.held_by = None;
        let Some(known) = service.instances.get(instance) else { return };
        // svinit's own word that it is down needs no second opinion.
        if !is_sure && !matches!(known.sign, Sign::Down(_) | Sign::Coming(_)) {
            let by = Time(now.0 + CONFIRM_PATIENCE);
            service.phase = Phase::Confirming { instance: Arc::clone(instance), attempt, by };
            let (service, instance) = (Arc::clone(name), Arc::clone(instance));
            out.push(Wish::Confirm { service, instance, attempt });
            return;
        }
        let mut rung = service.policy.ladder.get(known.rung).copied().unwrap_or(Rung::Alert);
        // What does not run cannot read its configuration again.
        if rung == Rung::Reload && !matches!(known.sign, Sign::Ill(_)) {
            climb(service, instance);
            let place = service.instances.get(instance).map_or(0, |known| known.rung);
            rung = service.policy.ladder.get(place).copied().unwrap_or(Rung::Alert);
        }
        let sign = service.instances.get(instance).map_or(Sign::Gone, |known| known.sign.clone());
        let flaps = service.flips.len() >= service.policy.flaps;
        let is_spent = service.actions.len() >= service.policy.budget;
        if rung == Rung::Alert || flaps || is_spent {
            let why = if flaps {
                format!(
                    "{instance} goes up and down: {} times in {} s",
                    service.flips.len(),
                    service.policy.flap_window / 1000
                )
            } else if is_spent {
                format!(
                    "{} actions in {} s have not helped {instance}",
                    service.actions.len(),
                    service.policy.window / 1000
                )
            } else {
                format!("nothing on its ladder has helped {instance}")
            };
            let why = format!("{why}; it is {}; {}", told::of(&sign), told::tried(&service.tried));
            quarantine(name, service, why, now, out);
            return;
        }
        service.actions.push_back(now);
        let by = Time(now.0 + service.policy.patience);
        note(name, service, now, "act", format!("{} of {instance}: {}", rung.as_str(), sign.why()), out);
        service.phase = Phase::Acting { instance: Arc::clone(instance), attempt, rung, by };
        park_for(name, service, rung, instance, out);
        out.push(Wish::Act { service: Arc::clone(name), instance: Arc::clone(instance), rung, attempt });
    }

    /// There is no way to the instance. Nothing of its budget is spent on it, and its ladder is not climbed: when there is a way again it
    /// is looked after at once. People are told, once.
    fn is_beyond(
        &mut self,
        name: &Arc<str>,
        instance: &Arc<str>,
        is_sure: bool,
        now: Time,
        out: &mut Vec<Wish>,
    ) -> bool {
        let Some(service) = self.services.get_mut(name) else { return false };
        let Some(Sign::Lost(why)) = service.instances.get(instance).map(|known| known.sign.clone()) else {
            return false;
        };
        if service.held_by.as_ref() != Some(&why) {
            note(name, service, now, "held", why.clone(), out);
            if self.is_leader {
                out.push(alert(name, service, why.clone()));
            }
            service.held_by = Some(why);
        }
        let until = Time(now.0 + 1_000);
        service.phase = match service.next_patient() {
            // Another one can be helped.
            Some(other) if other != *instance => Phase::Rest,
            _ if is_sure => Phase::Cooling { instance: Arc::clone(instance), until },
            _ => Phase::Waiting { instance: Arc::clone(instance), until },
        };
        true
    }

    /// What speaks against acting now, and until when at least.
    fn against(&self, name: &Arc<str>, now: Time) -> Option<(String, Time)> {
        // It is looked at again at every fact, and at the latest then.
        let later = Time(now.0 + 1_000);
        let service = self.services.get(name)?;
        if !self.is_leader {
            return Some(("another manager acts".to_owned(), later));
        }
        if let Some(until) = service.paused_until.max(self.paused_until) {
            return Some(("it is paused by a person".to_owned(), until));
        }
        if self.is_frozen() {
            return Some(("half of everything is ill".to_owned(), later));
        }
        for need in &service.policy.needs {
            if self.services.get(need).is_some_and(|other| other.is_away() || is_under_repair(other)) {
                return Some((format!("it needs {need}, which is not well"), later));
            }
        }
        (service.not_before > now).then(|| ("the last action was just now".to_owned(), service.not_before))
    }

    /// Lets requests wait while nobody can answer them, and lets them go again.
    fn gate(&mut self, name: &Arc<str>, out: &mut Vec<Wish>) {
        let Some(service) = self.services.get_mut(name) else { return };
        let is_given_up = matches!(service.phase, Phase::Quarantined { .. });
        let is_acting = match &service.phase {
            Phase::Acting { rung, .. } | Phase::Proving { rung, .. } => rung.takes_away(),
            Phase::Rest
            | Phase::Waiting { .. }
            | Phase::Confirming { .. }
            | Phase::Cooling { .. }
            | Phase::Quarantined { .. } => false,
        };
        // svinit said that it is away, and it or we bring it back.
        let is_away = service.instances.values().any(|known| match known.sign {
            Sign::Coming(_) => true,
            Sign::Down(_) => !is_given_up && service.held_by.is_none(),
            Sign::Well | Sign::Ill(_) | Sign::Held(_) | Sign::Unseen(_) | Sign::Lost(_) | Sign::Gone => false,
        });
        let others = service.instances.iter().any(|(instance, known)| {
            known.sign == Sign::Well && !(is_acting && service.phase.instance() == Some(instance))
        });
        let wanted = !others && (is_acting || is_away);
        if wanted != service.is_parked {
            service.is_parked = wanted;
            out.push(if wanted { Wish::Park(Arc::clone(name)) } else { Wish::Unpark(Arc::clone(name)) });
        }
    }

    fn next_attempt(&mut self) -> Attempt {
        self.last_attempt += 1;
        Attempt(self.last_attempt)
    }

    /// A number that nobody can tell beforehand without the seed (xorshift).
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

fn is_under_repair(service: &Service) -> bool {
    matches!(service.phase, Phase::Acting { .. } | Phase::Proving { .. })
}

fn climb(service: &mut Service, instance: &Arc<str>) {
    if let Some(known) = service.instances.get_mut(instance) {
        known.rung = (known.rung + 1).min(service.policy.ladder.len());
    }
}

/// Requests wait before the instance goes, not after.
fn park_for(name: &Arc<str>, service: &mut Service, rung: Rung, instance: &Arc<str>, out: &mut Vec<Wish>) {
    let others = service.instances.iter().any(|(other, known)| other != instance && known.sign == Sign::Well);
    if rung.takes_away() && !others && !service.is_parked {
        service.is_parked = true;
        out.push(Wish::Park(Arc::clone(name)));
    }
}

fn quarantine(name: &Arc<str>, service: &mut Service, why: String, now: Time, out: &mut Vec<Wish>) {
    service.phase = Phase::Quarantined { until: Time(now.0 + service.policy.quarantine) };
    service.tally.quarantines += 1;
    note(name, service, now, "quarantined", why.clone(), out);
    out.push(alert(name, service, why));
}

fn alert(name: &Arc<str>, service: &Service, why: String) -> Wish {
    let tried: Vec<Tried> = service.tried.iter().cloned().collect();
    Wish::Alert { service: Some(Arc::clone(name)), why, ailing: service.ailing(name), tried }
}

fn note(
    name: &Arc<str>,
    service: &mut Service,
    now: Time,
    decision: &'static str,
    why: String,
    out: &mut Vec<Wish>,
) {
    service.remember(now, decision, &why);
    out.push(Wish::Note { service: Some(Arc::clone(name)), decision, why });
}

fn view(name: &Arc<str>, service: &Service) -> View {
    View {
        service: Arc::clone(name),
        phase: service.phase.label(),
        held_by: service.held_by.clone(),
        instances: service
            .instances
            .iter()
            .map(|(name, known)| (Arc::clone(name), known.sign.clone()))
            .collect(),
        paused_until: service.paused_until,
        budget: service.policy.budget.saturating_sub(service.actions.len()),
        notes: service.notes.iter().cloned().collect(),
        ladder: service.policy.ladder.clone(),
        tally: service.tally.clone(),
    }
}
