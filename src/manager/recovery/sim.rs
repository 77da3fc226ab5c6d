//! Recovery on bad days: seeded worlds whose services crash, hang, come back by themselves, and whose repairs fail, lie or
//! never end, while people stop and pause things and another manager takes over and goes.
//!
//! Each sentence of the module's promise is a checker. A failure prints `SIM_SEED=73: ...` with the last happenings;
//! `SIM_SEED=73 cargo test recovery::sim` repeats it, `SIM_SEEDS=100000` tries more. Planted bugs show that each checker can
//! fail.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::manager::recovery::fact::Attempt;
use crate::manager::recovery::fact::Fact;
use crate::manager::recovery::fact::Failure;
use crate::manager::recovery::fact::Sign;
use crate::manager::recovery::fact::Time;
use crate::manager::recovery::fact::Wish;
use crate::manager::recovery::machine::Recovery;
use crate::manager::recovery::policy::Policy;
use crate::manager::recovery::policy::Rung;

/// How long bad things happen, and how long nothing new happens after that.
const BAD_DAY: u64 = 3_600_000;
const QUIET: u64 = 3_600_000;

/// Worlds of one test.
const SEEDS: u64 = 300;

/// Something that is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    ActsTwice,
    ForgetsToUnpark,
    DeafToPauses,
    DeafToPeople,
    DeafToLeaders,
    DeafToNeeds,
    SpendsWithoutLimit,
    NeverActs,
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// One instance, as it really is.
#[derive(Clone, Debug)]
struct Real {
    sign: Sign,
    held: bool,
}

/// An action that is under way.
#[derive(Clone, Debug)]
struct Running {
    instance: Arc<str>,
    attempt: Attempt,
    ends: Option<Time>,
    gives_up: Time,
    rung: Rung,
}

#[derive(Clone, Debug)]
enum Coming {
    Fact(Fact),
    Fault,
    Heal(Arc<str>, Arc<str>),
    End(Arc<str>, Attempt),
}

struct World {
    seed: u64,
    random: Random,
    bug: Bug,
    machine: Recovery,
    policies: BTreeMap<Arc<str>, Policy>,
    real: BTreeMap<(Arc<str>, Arc<str>), Real>,
    running: BTreeMap<Arc<str>, Running>,
    parked: BTreeMap<Arc<str>, bool>,
    paused: BTreeMap<Arc<str>, Time>,
    acted: BTreeMap<Arc<str>, Vec<(Time, Attempt)>>,
    leads: bool,
    agenda: BTreeMap<(Time, u64), Coming>,
    number: u64,
    now: Time,
    story: VecDeque<String>,
    acts: usize,
}

fn policies() -> BTreeMap<Arc<str>, Policy> {
    let of = |ladder: &[Rung], needs: &[&str]| Policy {
        ladder: ladder.to_vec(),
        needs: needs.iter().map(|need| Arc::from(*need)).collect(),
        ..Policy::default()
    };
    let all = [Rung::Reload, Rung::RestartUnit, Rung::RestartContainer, Rung::Alert];
    [
        ("backend", of(&all, &["database"])),
        ("database", of(&[Rung::RestartUnit, Rung::Alert], &[])),
        ("frontend", of(&[Rung::RestartUnit, Rung::RestartDependants, Rung::Alert], &["backend"])),
        ("mail", of(&all, &[])),
        ("search", of(&[Rung::RestartUnit, Rung::Alert], &[])),
    ]
    .map(|(name, policy)| (Arc::from(name), policy))
    .into()
}

/// What the machine is told of it.
fn told(bug: Bug, policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    match bug {
        Bug::DeafToNeeds => policy.needs.clear(),
        Bug::SpendsWithoutLimit => policy.budget = 1000,
        Bug::None
        | Bug::ActsTwice
        | Bug::ForgetsToUnpark
        | Bug::DeafToPauses
        | Bug::DeafToPeople
        | Bug::DeafToLeaders
        | Bug::NeverActs => {}
    }
    policy
}

impl World {
    fn new(seed: u64, bug: Bug) -> Self {
        let policies = policies();
        let told = policies.iter().map(|(name, policy)| (Arc::clone(name), told(bug, policy))).collect();
        let mut world = Self {
            seed,
            random: Random(seed),
            bug,
            machine: Recovery::new(told, seed),
            real: BTreeMap::new(),
            running: BTreeMap::new(),
            parked: BTreeMap::new(),
            paused: BTreeMap::new(),
            acted: BTreeMap::new(),
            leads: false,
            agenda: BTreeMap::new(),
            number: 0,
            now: Time(0),
            story: VecDeque::new(),
            acts: 0,
            policies,
        };
        let names: Vec<Arc<str>> = world.policies.keys().cloned().collect();
        for service in names {
            for number in 0..=world.random.below(3) {
                let instance: Arc<str> = format!("{number}").into();
                world.real.insert(
                    (Arc::clone(&service), Arc::clone(&instance)),
                    Real { sign: Sign::Well, held: false },
                );
                world.tell(Fact::Seen { service: Arc::clone(&service), instance, sign: Sign::Well });
            }
        }
        world.leads = true;
        world.tell(Fact::Led(true));
        let mut at = 1_000;
        while at < BAD_DAY {
            world.plan(Time(at), Coming::Fault);
            at += 1 + world.random.below(240_000);
        }
        world
    }

    fn plan(&mut self, at: Time, coming: Coming) {
        self.number += 1;
        self.agenda.insert((at, self.number), coming);
    }

    fn run(mut self) -> Result<usize, String> {
        loop {
            let planned = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let due = self.machine.next_deadline();
            let next = match (planned, due) {
                (Some(planned), Some(due)) => planned.min(due),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => break,
            };
            if next.0 > BAD_DAY + QUIET {
                break;
            }
            self.now = next.max(self.now);
            if planned == Some(next) {
                let (_, coming) = self.agenda.pop_first().expect("it was looked at");
                self.happen(coming)?;
            } else {
                let before = due;
                let wishes = self.machine.step(Fact::Tick, self.now);
                self.carry_out(wishes)?;
                if self.machine.next_deadline() == before {
                    return Err(self.fail("it names a deadline that has passed, again and again"));
                }
            }
        }
        self.is_quiet()?;
        Ok(self.acts)
    }

    fn happen(&mut self, coming: Coming) -> Result<(), String> {
        match coming {
            Coming::Fact(fact) => self.deliver(fact),
            Coming::Fault => self.fault(),
            Coming::Heal(service, instance) => self.set(&service, &instance, Sign::Well),
            Coming::End(service, attempt) => self.end(&service, attempt),
        }
    }

    /// Something bad, or a person.
    fn fault(&mut self) -> Result<(), String> {
        let keys: Vec<(Arc<str>, Arc<str>)> = self.real.keys().cloned().collect();
        let at = usize::try_from(self.random.below(keys.len() as u64)).expect("it is an index");
        let (service, instance) = keys[at].clone();
        let later = Time(self.now.0 + 200 + self.random.below(20_000));
        match self.random.below(13) {
            0 | 1 => self.set(&service, &instance, Sign::Down("failed".into())),
            2 | 3 => {
                self.plan(later, Coming::Heal(Arc::clone(&service), Arc::clone(&instance)));
                self.set(&service, &instance, Sign::Coming("killed".into()))
            }
            4 | 5 => self.set(&service, &instance, Sign::Ill("503".into())),
            6 => {
                self.plan(later, Coming::Heal(Arc::clone(&service), Arc::clone(&instance)));
                self.set(&service, &instance, Sign::Ill("slow".into()))
            }
            7 => {
                if let Some(real) = self.real.get_mut(&(Arc::clone(&service), Arc::clone(&instance))) {
                    real.held = true;
                }
                let back = Time(self.now.0 + 60_000 + self.random.below(600_000));
                self.plan(back, Coming::Heal(Arc::clone(&service), Arc::clone(&instance)));
                self.set(&service, &instance, Sign::Held("stopped by a person".into()))
            }
            8 => {
                let until = Time(self.now.0 + 10_000 + self.random.below(300_000));
                self.paused.insert(Arc::clone(&service), until);
                self.deliver(Fact::Paused { service: Some(service), until })
            }
            9 => {
                self.leads = false;
                let back = Time(self.now.0 + self.random.below(120_000));
                self.plan(back, Coming::Fact(Fact::Led(true)));
                self.deliver(Fact::Led(false))
            }
            10 => {
                // The network: much is ill at once, and is well again.
                for (service, instance) in keys {
                    let back = Time(self.now.0 + 30_000 + self.random.below(30_000));
                    let is_held = self
                        .real
                        .get(&(Arc::clone(&service), Arc::clone(&instance)))
                        .is_some_and(|real| real.held);
                    if !is_held {
                        self.plan(back, Coming::Heal(Arc::clone(&service), Arc::clone(&instance)));
                        self.set(&service, &instance, Sign::Ill("no route".into()))?;
                    }
                }
                Ok(())
            }
            11 => self.rule(&service),
            _ => {
                // It is seen again one day, and then it is well.
                let back = Time(self.now.0 + 60_000 + self.random.below(600_000));
                self.plan(back, Coming::Heal(Arc::clone(&service), Arc::clone(&instance)));
                let key = (Arc::clone(&service), Arc::clone(&instance));
                let is_sick = self.real.get(&key).is_some_and(|real| real.sign.is_sick());
                let why = "no route".to_owned();
                self.set(&service, &instance, if is_sick { Sign::Lost(why) } else { Sign::Unseen(why) })
            }
        }
    }

    /// Another file: another ladder, and sometimes it was not looked after for a moment. Never while an action runs.
    fn rule(&mut self, service: &Arc<str>) -> Result<(), String> {
        if self.machine.is_acting(service) {
            return Ok(());
        }
        let Some(policy) = self.policies.get_mut(service) else { return Ok(()) };
        policy.ladder.rotate_left(1);
        policy.ladder.retain(|rung| *rung != Rung::Alert);
        policy.ladder.push(Rung::Alert);
        policy.grace = 1_000 + self.random.below(10_000);
        let policy = told(self.bug, policy);
        if !self.random.one_in(3) {
            return self.deliver(Fact::Ruled { service: Arc::clone(service), policy: Some(policy) });
        }
        self.deliver(Fact::Ruled { service: Arc::clone(service), policy: None })?;
        if self.parked.get(service) == Some(&true) && self.bug != Bug::ForgetsToUnpark {
            return Err(self.fail(&format!("requests for {service} wait, and nobody looks after it")));
        }
        // What was known of it is gone with it: also what it has spent, and that it was paused.
        self.acted.remove(service);
        self.paused.remove(service);
        self.deliver(Fact::Ruled { service: Arc::clone(service), policy: Some(policy) })?;
        let own = self.real.iter().filter(|((of, _), _)| of == service);
        let signs: Vec<(Arc<str>, Sign)> =
            own.map(|((_, instance), real)| (Arc::clone(instance), real.sign.clone())).collect();
        for (instance, sign) in signs {
            self.deliver(Fact::Seen { service: Arc::clone(service), instance, sign })?;
        }
        Ok(())
    }

    /// The instance is like this from here on, and recovery is told.
    fn set(&mut self, service: &Arc<str>, instance: &Arc<str>, sign: Sign) -> Result<(), String> {
        let Some(real) = self.real.get_mut(&(Arc::clone(service), Arc::clone(instance))) else {
            return Ok(());
        };
        let is_person = matches!(sign, Sign::Held(_));
        if real.held && !is_person && sign != Sign::Well {
            // What a person has stopped neither crashes nor hangs.
            return Ok(());
        }
        if !is_person {
            real.held = false;
        }
        real.sign = sign.clone();
        self.deliver(Fact::Seen { service: Arc::clone(service), instance: Arc::clone(instance), sign })
    }

    fn end(&mut self, service: &Arc<str>, attempt: Attempt) -> Result<(), String> {
        let Some(running) = self.running.get(service).filter(|running| running.attempt == attempt).cloned()
        else {
            return Ok(());
        };
        self.running.remove(service);
        let key = (Arc::clone(service), Arc::clone(&running.instance));
        if self.real.get(&key).is_some_and(|real| real.held) {
            let result = Err(Failure::Held("stopped by a person".into()));
            return self.deliver(Fact::Done { service: Arc::clone(service), attempt, result });
        }
        let is_quiet = self.now.0 > BAD_DAY;
        let result = match self.random.below(8) {
            _ if is_quiet && running.rung != Rung::Reload => Ok(()),
            0 => Err(Failure::Failed("it did not come up".into())),
            1 if running.rung == Rung::Reload => Err(Failure::NotApplicable("has no [reload]".into())),
            _ => Ok(()),
        };
        // A reload helps sometimes, and a restart mostly.
        let helps = result.is_ok() && (running.rung != Rung::Reload || self.random.one_in(3));
        if helps && (is_quiet || !self.random.one_in(6)) {
            let at = Time(self.now.0 + self.random.below(3_000));
            self.plan(at, Coming::Heal(Arc::clone(service), Arc::clone(&running.instance)));
        }
        self.deliver(Fact::Done { service: Arc::clone(service), attempt, result })
    }

    fn deliver(&mut self, fact: Fact) -> Result<(), String> {
        if fact == Fact::Led(true) {
            self.leads = true;
        }
        let is_lost = matches!(
            (&fact, self.bug),
            (Fact::Paused { .. }, Bug::DeafToPauses)
                | (Fact::Led(false), Bug::DeafToLeaders)
                | (Fact::Seen { sign: Sign::Held(_), .. }, Bug::DeafToPeople)
        );
        if is_lost {
            if let Fact::Seen { service, instance, .. } = fact {
                let sign = Sign::Down("it has ended".into());
                let wishes = self.machine.step(Fact::Seen { service, instance, sign }, self.now);
                return self.carry_out(wishes);
            }
            return Ok(());
        }
        self.told(format!("{fact:?}"));
        let wishes = self.machine.step(fact, self.now);
        self.carry_out(wishes)
    }

    fn tell(&mut self, fact: Fact) {
        self.deliver(fact).expect("nothing has happened yet");
    }

    fn carry_out(&mut self, wishes: Vec<Wish>) -> Result<(), String> {
        for wish in wishes {
            self.told(format!("  {wish:?}"));
            match wish {
                Wish::Confirm { service, instance, attempt } => {
                    let real = self.real[&(Arc::clone(&service), instance)].clone();
                    let ill = match &real.sign {
                        Sign::Ill(why) | Sign::Down(why) | Sign::Coming(why) => Some(why.clone()),
                        Sign::Well | Sign::Held(_) | Sign::Unseen(_) | Sign::Lost(_) | Sign::Gone => None,
                    };
                    if !self.random.one_in(10) && !matches!(real.sign, Sign::Unseen(_)) {
                        let at = Time(self.now.0 + self.random.below(12_000));
                        self.plan(at, Coming::Fact(Fact::Confirmed { service, attempt, ill }));
                    }
                }
                Wish::Act { service, instance, rung, attempt } => {
                    self.act(service, instance, rung, attempt)?
                }
                Wish::Park(service) => {
                    if self.parked.insert(Arc::clone(&service), true) == Some(true) {
                        return Err(self.fail(&format!("{service} is parked twice")));
                    }
                }
                Wish::Unpark(service) => {
                    if self.bug != Bug::ForgetsToUnpark {
                        self.parked.insert(service, false);
                    }
                }
                Wish::Alert { .. } | Wish::Note { .. } => {}
            }
        }
        Ok(())
    }

    /// Checks what must hold when something is done, and begins it.
    fn act(
        &mut self,
        service: Arc<str>,
        instance: Arc<str>,
        rung: Rung,
        attempt: Attempt,
    ) -> Result<(), String> {
        if self.bug == Bug::NeverActs {
            return Ok(());
        }
        self.acts += 1;
        let policy = self.policies[&service].clone();
        let fail = |world: &Self, what: &str| Err(world.fail(&format!("{service}/{instance}: {what}")));
        if let Some(running) = self.running.get(&service)
            && running.gives_up > self.now
        {
            return fail(self, "acts while another action on the service runs");
        }
        if !self.leads {
            return fail(self, "acts although another manager leads");
        }
        if self.paused.get(&service).is_some_and(|until| *until > self.now) {
            return fail(self, "acts during a pause");
        }
        if self.real[&(Arc::clone(&service), Arc::clone(&instance))].held {
            return fail(self, "acts on what a person has stopped");
        }
        if matches!(self.real[&(Arc::clone(&service), Arc::clone(&instance))].sign, Sign::Lost(_)) {
            return fail(self, "acts on what cannot be reached");
        }
        for need in &policy.needs {
            if self.is_down(need) {
                return fail(self, &format!("acts although {need} is down"));
            }
        }
        if self.machine.is_frozen() {
            return fail(self, "acts while half of everything is ill");
        }
        let acted = self.acted.entry(Arc::clone(&service)).or_default();
        acted.retain(|(at, _)| at.0 + policy.window > self.now.0);
        acted.push((self.now, attempt));
        // Reloads that could not be done do not count, of which there is at most one for each action that does.
        if rung != Rung::Reload && acted.len() > policy.budget * 2 {
            return fail(self, "acts more often than its budget allows");
        }
        let never_ends = self.now.0 < BAD_DAY && self.random.one_in(12);
        let ends = Time(self.now.0 + 50 + self.random.below(20_000));
        let gives_up = Time(self.now.0 + policy.patience);
        let ends = if never_ends { None } else { Some(ends) };
        let running = Running { instance: Arc::clone(&instance), attempt, ends, gives_up, rung };
        if let Some(ends) = running.ends {
            self.plan(ends, Coming::End(Arc::clone(&service), attempt));
        }
        self.running.insert(Arc::clone(&service), running);
        if self.bug == Bug::ActsTwice {
            self.bug = Bug::None;
            return self.act(service, instance, rung, Attempt(attempt.0 + 1_000_000));
        }
        Ok(())
    }

    /// None of its instances is well, and one is known not to be.
    fn is_down(&self, service: &str) -> bool {
        let all = || self.real.iter().filter(|((of, _), _)| **of == *service).map(|(_, real)| &real.sign);
        let away = |sign: &Sign| sign.is_sick() || matches!(sign, Sign::Held(_));
        all().all(|sign| *sign != Sign::Well) && all().any(away)
    }

    /// After a long quiet time everything that can be healed is well, and nobody waits.
    fn is_quiet(&self) -> Result<(), String> {
        for ((service, instance), real) in &self.real {
            if real.sign.is_sick() {
                return Err(self.fail(&format!("{service}/{instance} is {:?} for ever", real.sign)));
            }
        }
        match self.parked.iter().find(|(_, is_parked)| **is_parked) {
            Some((service, _)) => Err(self.fail(&format!("requests for {service} wait for ever"))),
            None => Ok(()),
        }
    }

    fn told(&mut self, line: String) {
        if self.story.len() >= 30 {
            self.story.pop_front();
        }
        self.story.push_back(format!("{:>8} {line}", self.now.0));
    }

    fn fail(&self, what: &str) -> String {
        let story: Vec<&str> = self.story.iter().map(String::as_str).collect();
        format!("SIM_SEED={}: {what} (at {})\n{}", self.seed, self.now.0, story.join("\n"))
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_bad_day_breaks_a_promise() {
    if let Some(seed) = number("SIM_SEED") {
        World::new(seed, Bug::None).run().unwrap_or_else(|why| panic!("{why}"));
        return;
    }
    let mut acts = 0;
    for seed in 0..number("SIM_SEEDS").unwrap_or(SEEDS) {
        acts += World::new(seed, Bug::None).run().unwrap_or_else(|why| panic!("{why}"));
    }
    assert!(acts > 1_000, "the days were not bad enough: {acts} actions");
}

#[test]
fn every_planted_bug_is_found() {
    let bugs = [
        (Bug::ActsTwice, "acts while another action on the service runs"),
        (Bug::ForgetsToUnpark, "is parked twice"),
        (Bug::DeafToPauses, "acts during a pause"),
        (Bug::DeafToPeople, "acts on what a person has stopped"),
        (Bug::DeafToLeaders, "acts although another manager leads"),
        (Bug::DeafToNeeds, "acts although"),
        (Bug::SpendsWithoutLimit, "acts more often than its budget allows"),
        (Bug::NeverActs, "for ever"),
    ];
    for (bug, words) in bugs {
        let mut found = (0..SEEDS).filter_map(|seed| World::new(seed, bug).run().err());
        let is_seen = found.any(|why| why.lines().next().is_some_and(|first| first.contains(words)));
        assert!(is_seen, "{bug:?} is not seen by its checker");
    }
}
