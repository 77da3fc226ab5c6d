//! Tells the machine what is seen, and carries out what it wishes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::manager::audit::Audit;
use crate::manager::gate::Cause;
use crate::manager::gate::Gate;
use crate::manager::gate::Health;
use crate::manager::gate::Report;
use crate::manager::gate::Standing;
use crate::manager::news::Kind;
use crate::manager::news::News;
use crate::manager::reach::Instance;
use crate::manager::reach::wire;
use crate::manager::reach::wire::Place;
use crate::manager::recovery::fact::Ailing;
use crate::manager::recovery::fact::Attempt;
use crate::manager::recovery::fact::Fact;
use crate::manager::recovery::fact::Sign;
use crate::manager::recovery::fact::Time;
use crate::manager::recovery::fact::Tried;
use crate::manager::recovery::fact::Wish;
use crate::manager::recovery::machine::Recovery;
use crate::manager::recovery::policy::Policy;
use crate::manager::recovery::policy::Rung;
use crate::manager::repair::Acted;
use crate::manager::repair::Detections;
use crate::manager::repair::Say;
use crate::manager::repair::Told;
use crate::manager::repair::ears::Ears;
use crate::manager::repair::known::Known;
use crate::manager::repair::patient::Patient;
use crate::manager::repair::patient::Roster;
use crate::manager::repair::second_look::look_again;
use crate::manager::repair::watch::LIST_EVERY;
use crate::manager::repair::watch::Watch;
use crate::manager::repair::work;
use crate::manager::repair::work::Done;
use crate::units::spec::HttpUrl;

/// For requests that are at an instance before it is taken away from others that are well.
const DRAIN: Duration = Duration::from_secs(5);

/// For who takes alerts to answer.
const WEBHOOK: Duration = Duration::from_secs(3);

/// The machine, and all that is needed to carry its wishes out.
pub(super) struct Hands {
    pub(super) patients: BTreeMap<Arc<str>, Arc<Patient>>,
    /// What follows each of them.
    pub(super) watches: BTreeMap<Arc<str>, AbortHandle>,
    /// Who listens to the engine, while there is a service that it is asked about.
    pub(super) ears: Option<AbortHandle>,
    /// What a new file says of services on which an action runs, which is waited for; `None`: they are no more looked after.
    pub(super) coming: BTreeMap<Arc<str>, Option<(Arc<Patient>, Policy)>>,
    pub(super) machine: Recovery,
    pub(super) known: BTreeMap<(Arc<str>, Arc<str>), (Instance, Known)>,
    pub(super) detections: BTreeMap<Arc<str>, Detections>,
    pub(super) gate: Gate,
    /// Nowhere while another manager acts: it is the one who writes there, and a chain has one hand.
    pub(super) audit: Audit,
    pub(super) audit_path: PathBuf,
    pub(super) webhook: Option<HttpUrl>,
    pub(super) say: Say,
    pub(super) news: News,
    pub(super) tell: mpsc::Sender<Told>,
    /// Who has asked for the action that is about to be wished for; told its end, or why there is none.
    pub(super) asker: Option<oneshot::Sender<Acted>>,
    /// Why the last wish of a person was refused.
    pub(super) refusal: Option<String>,
}

impl Hands {
    pub(super) fn step(&mut self, fact: Fact, now: Time) {
        for wish in self.machine.step(fact, now) {
            self.carry_out(wish);
        }
    }

    /// Begins to follow a service, and ends to follow it as it was before.
    pub(super) fn watch(&mut self, patient: Arc<Patient>) {
        let name = Arc::clone(&patient.name);
        self.patients.insert(Arc::clone(&name), Arc::clone(&patient));
        self.listen();
        let (tell, news) = (self.tell.clone(), self.news.clone());
        let watch = Watch { patient, tell, news, every: LIST_EVERY, again: Notify::new() };
        if let Some(before) = self.watches.insert(name, tokio::spawn(watch.run()).abort_handle()) {
            before.abort();
        }
    }

    /// Listens to the engine as long as that is of use to anybody.
    fn listen(&mut self) {
        match self.patients.values().find_map(|patient| patient.reach.engine()) {
            Some(engine) if self.ears.is_none() => {
                let (gate, say) = (self.gate.clone(), Arc::clone(&self.say));
                let ears = Ears { engine: Arc::clone(engine), gate, say };
                self.ears = Some(tokio::spawn(ears.run()).abort_handle());
            }
            Some(_) => {}
            None => {
                if let Some(ears) = self.ears.take() {
                    ears.abort();
                }
            }
        }
    }

    /// These are looked after from now on, and nobody else. Whoever is being repaired is so to the end by what was said before.
    pub(super) fn look_after(&mut self, roster: Roster, now: Time) {
        self.coming = self.patients.keys().map(|name| (Arc::clone(name), None)).collect();
        self.coming.extend(roster.0.into_iter().map(|(name, next)| (name, Some(next))));
        self.settle(now);
        for name in self.coming.keys() {
            (self.say)(&format!("what the file says of {name} waits for the action that is under way"));
        }
    }

    /// Takes over what waits to be, as far as no action is under way.
    pub(super) fn settle(&mut self, now: Time) {
        let is_ready = |name: &&Arc<str>| !self.machine.is_acting(name);
        let ready: Vec<Arc<str>> = self.coming.keys().filter(is_ready).cloned().collect();
        for name in ready {
            if let Some(next) = self.coming.remove(&name) {
                self.replace(name, next, now);
            }
        }
    }

    fn replace(&mut self, name: Arc<str>, next: Option<(Arc<Patient>, Policy)>, now: Time) {
        let Some((patient, policy)) = next else {
            if let Some(watch) = self.watches.remove(&name) {
                watch.abort();
            }
            self.patients.remove(&name);
            self.listen();
            self.detections.remove(&name);
            self.known.retain(|(service, _), _| *service != name);
            return self.step(Fact::Ruled { service: name, policy: None }, now);
        };
        let before = self.patients.get(&name).cloned();
        if before.as_ref().is_some_and(|before| !before.has_instances_of(&patient)) {
            let of = self.known.keys().filter(|(service, _)| *service == name);
            let instances: Vec<Arc<str>> = of.map(|(_, instance)| Arc::clone(instance)).collect();
            for instance in instances {
                self.known.remove(&(Arc::clone(&name), Arc::clone(&instance)));
                self.step(Fact::Seen { service: Arc::clone(&name), instance, sign: Sign::Gone }, now);
            }
        }
        self.step(Fact::Ruled { service: Arc::clone(&name), policy: Some(policy) }, now);
        if !before.is_some_and(|before| before.is_as(&patient)) {
            self.watch(patient);
        }
    }

    /// Who acts writes the audit log, from where whoever acted before has left it.
    pub(super) fn write_if(&mut self, is_leader: bool) {
        if is_leader && !self.machine.is_leader() {
            self.audit = Audit::open(&self.audit_path).unwrap_or_else(|why| {
                (self.say)(&format!("decisions are in this log only: {why}"));
                Audit::nowhere()
            });
        }
    }

    /// svinit, or the engine, says so.
    pub(super) fn on_pushed(&mut self, patient: &Arc<Patient>, instance: Instance, sign: Sign, now: Time) {
        if !self.patients.get(&patient.name).is_some_and(|own| Arc::ptr_eq(own, patient)) {
            return;
        }
        let service = &patient.name;
        let id: Arc<str> = Arc::from(instance.id.as_str());
        let key = (Arc::clone(service), Arc::clone(&id));
        let was_sick = self.known.get(&key).is_some_and(|(_, known)| known.sign().is_sick());
        // A container that has just ended has no address any more; where it was is where nobody is now. Told once: another one may
        // get that address.
        let before = self.known.get(&key).and_then(|(before, _)| before.address);
        let last_seen = Instance { address: instance.address.or(before), ..instance.clone() };
        self.report(service, &last_seen, &sign);
        if sign == Sign::Gone {
            self.known.remove(&key);
        } else {
            let entry = self.known.entry(key).or_insert_with(|| (instance.clone(), Known::default()));
            entry.0 = instance;
            if entry.1.cut.is_some() {
                (self.say)(&format!("{service} {id}: its svinit answers again"));
            }
            entry.1.push(sign.clone());
        }
        let sign =
            self.known.get(&(Arc::clone(service), Arc::clone(&id))).map_or(sign, |(_, known)| known.sign());
        if sign.is_sick() && !was_sick {
            self.detections.entry(Arc::clone(service)).or_default().push += 1;
        }
        self.step(Fact::Seen { service: Arc::clone(service), instance: id, sign }, now);
    }

    /// Neither its svinit nor its engine can be reached.
    pub(super) fn on_cut(&mut self, patient: &Arc<Patient>, instance: Instance, why: &str, now: Time) {
        if !self.patients.get(&patient.name).is_some_and(|own| Arc::ptr_eq(own, patient)) {
            return;
        }
        let (service, id) = (Arc::clone(&patient.name), Arc::from(instance.id.as_str()));
        let entry = self.known.entry((Arc::clone(&service), Arc::clone(&id)));
        let (_, known) = entry.or_insert_with(|| (instance, Known::default()));
        if known.cut.is_none() {
            (self.say)(&format!("{service} {id}: its svinit cannot be asked: {why}"));
        }
        known.cut(why);
        let sign = known.sign();
        self.step(Fact::Seen { service, instance: id, sign }, now);
    }

    /// What svinit says goes to the gateway, which sends nobody to who is away.
    fn report(&self, service: &str, instance: &Instance, sign: &Sign) {
        for address in self.addresses(service, instance) {
            match sign {
                Sign::Well => self.gate.report(service, address, Report::Ready),
                Sign::Coming(why) | Sign::Down(why) | Sign::Held(why) => {
                    self.gate.report(service, address, Report::NotReady(why.clone()));
                }
                Sign::Ill(_) | Sign::Unseen(_) | Sign::Lost(_) | Sign::Gone => {}
            }
        }
    }

    /// What waits is let go. Then the gateway tries all instances, but for those that svinit says are still away: nobody has brought
    /// them back.
    fn unpark(&self, service: &Arc<str>) {
        self.gate.end_away(service);
        let own = self.known.iter().filter(|((name, _), _)| name == service);
        for (instance, known) in own.map(|(_, known)| known) {
            if let Some(sign @ (Sign::Coming(_) | Sign::Down(_) | Sign::Held(_))) = &known.pushed {
                self.report(service, instance, sign);
            }
        }
    }

    /// The gateway thinks otherwise of an instance. Only what it has seen itself is news: the rest is what it was told from here.
    pub(super) fn on_changed(&mut self, changed: &Health, now: Time) {
        if !matches!(changed.cause, Cause::Check(_) | Cause::Requests(_)) {
            return;
        }
        let sign = match changed.standing {
            Standing::Up => Sign::Well,
            Standing::Unknown => return,
            Standing::Ill | Standing::Gone => Sign::Ill(changed.cause.to_string()),
        };
        self.on_checked(&changed.service, changed.instance, sign, now);
    }

    /// A check of the gateway's says so.
    fn on_checked(&mut self, service: &Arc<str>, at: SocketAddr, sign: Sign, now: Time) {
        let of_address = |address: Option<IpAddr>| -> Vec<Arc<str>> {
            let own = self.known.iter().filter(|((name, _), _)| name == service);
            let there = own.filter(|(_, (instance, _))| instance.address == address);
            there.map(|((_, id), _)| Arc::clone(id)).collect()
        };
        // One without an address may be anywhere, but not where another one is.
        let mut of = of_address(Some(at.ip()));
        if of.is_empty() {
            of = of_address(None);
        }
        // One that svinit has not told of yet will be asked about when it does.
        let [id] = of.as_slice() else { return };
        let Some((_, known)) = self.known.get_mut(&(Arc::clone(service), Arc::clone(id))) else { return };
        let was_sick = known.sign().is_sick();
        known.checked = Some(sign);
        let sign = known.sign();
        if sign.is_sick() && !was_sick {
            self.detections.entry(Arc::clone(service)).or_default().poll += 1;
        }
        self.step(Fact::Seen { service: Arc::clone(service), instance: Arc::clone(id), sign }, now);
    }

    /// Changes were missed: all of it again.
    pub(super) fn look_at_gate(&mut self, now: Time) {
        for service in self.gate.services() {
            for instance in service.instances {
                let sign = match instance.standing {
                    Standing::Up => Sign::Well,
                    Standing::Unknown => continue,
                    Standing::Ill | Standing::Gone => Sign::Ill(instance.why),
                };
                self.on_checked(&service.name, instance.address, sign, now);
            }
        }
    }

    /// Where the gateway knows this instance.
    fn addresses(&self, service: &str, instance: &Instance) -> Vec<SocketAddr> {
        let views = self.gate.services();
        let view = views.iter().find(|view| *view.name == *service);
        let all = view.into_iter().flat_map(|view| &view.instances);
        let own: Vec<SocketAddr> = all
            .filter(|known| instance.address.is_none_or(|address| address == known.address.ip()))
            .map(|known| known.address)
            .collect();
        // Which of several is meant cannot be told without an address.
        if instance.address.is_none() && own.len() > 1 { Vec::new() } else { own }
    }

    fn carry_out(&mut self, wish: Wish) {
        match wish {
            Wish::Park(service) => self.gate.begin_away(&service),
            Wish::Unpark(service) => self.unpark(&service),
            Wish::Confirm { service, instance, attempt } => self.confirm(&service, &instance, attempt),
            Wish::Act { service, instance, rung, attempt } => self.act(&service, &instance, rung, attempt),
            Wish::Alert { service, why, ailing, tried } => {
                self.alert(service.as_deref(), &why, &ailing, &tried);
            }
            Wish::Note { service, decision, why } => {
                if decision == "refused" {
                    self.refusal = Some(why.clone());
                }
                self.note(service.as_deref(), decision, &why);
            }
        }
    }

    /// A line, a line of the audit log, and news.
    pub(super) fn note(&mut self, service: Option<&str>, decision: &str, why: &str) {
        let ts = jiff::Timestamp::now().to_string();
        let named = service.unwrap_or("all services");
        (self.say)(&format!("recovery: {named}: {decision}: {why}"));
        self.news.tell(Kind::Recovery, service, None, decision, why);
        if let Err(why) = self.audit.add(ts, service, decision, why) {
            (self.say)(&why);
        }
    }

    /// A person wants it done now; the answer comes when it has ended, or at once when it is refused.
    pub(super) fn on_asked(
        &mut self,
        service: Arc<str>,
        rung: Rung,
        who: String,
        answer: oneshot::Sender<Acted>,
        now: Time,
    ) {
        self.asker = Some(answer);
        self.refusal = None;
        self.step(Fact::Asked { service, rung, who }, now);
        if let Some(answer) = self.asker.take() {
            let why = self.refusal.take().unwrap_or_else(|| "recovery does not look after it".to_owned());
            // Who asked may have left.
            let _ = answer.send(Acted::Refused(why));
        }
    }

    fn confirm(&self, service: &Arc<str>, instance: &Arc<str>, attempt: Attempt) {
        let Some(patient) = self.patients.get(service).cloned() else { return };
        let address =
            self.known.get(&(Arc::clone(service), Arc::clone(instance))).and_then(|(known, _)| known.address);
        let (tell, service, instance) = (self.tell.clone(), Arc::clone(service), Arc::clone(instance));
        tokio::spawn(async move {
            // Silence passes no judgement.
            if let Some(ill) = look_again(&patient, &instance, address).await {
                let _ = tell.send(Told::Fact(Fact::Confirmed { service, attempt, ill })).await;
            }
        });
    }

    fn act(&mut self, service: &Arc<str>, instance: &Arc<str>, rung: Rung, attempt: Attempt) {
        let asker = self.asker.take();
        let Some(patient) = self.patients.get(service).cloned() else { return };
        let known = self.known.get(&(Arc::clone(service), Arc::clone(instance)));
        let is_well = known.is_some_and(|(_, known)| known.sign() == Sign::Well);
        let addresses = known.map(|(instance, _)| self.addresses(service, instance)).unwrap_or_default();
        let drained: Vec<SocketAddr> = if is_well && rung.takes_away() { addresses } else { Vec::new() };
        let (tell, gate) = (self.tell.clone(), self.gate.clone());
        let (service, instance) = (Arc::clone(service), Arc::clone(instance));
        tokio::spawn(async move {
            for address in &drained {
                gate.drain(&service, *address);
                gate.drained(&service, *address, DRAIN).await;
            }
            let Done { result, outcome } = work::carry_out(&patient, &instance, rung).await;
            drained.iter().for_each(|address| gate.undrain(&service, *address));
            if let Some(asker) = asker {
                let instance = instance.to_string();
                // Who asked may have left.
                let _ = asker.send(Acted::Ended { instance, result: result.clone(), outcome });
            }
            let _ = tell.send(Told::Fact(Fact::Done { service, attempt, result })).await;
        });
    }

    fn alert(&self, service: Option<&str>, why: &str, ailing: &[Ailing], tried: &[Tried]) {
        (self.say)(&format!("ALERT: {}: {why}", service.unwrap_or("all services")));
        self.news.tell(Kind::Alert, service, None, "alert", why);
        let Some(url) = self.webhook.clone() else { return };
        let body = alert_of(service, why, ailing, tried).to_string();
        let say = Arc::clone(&self.say);
        tokio::spawn(async move {
            let request =
                wire::Request { method: "POST", path: &url.path, body: Some(body.as_bytes()), token: None };
            match wire::ask(&Place::Tcp(url.at.clone()), &request, WEBHOOK).await {
                Ok(answer) if answer.status < 400 => {}
                Ok(answer) => say(&format!("the alert was not taken: status {}", answer.status)),
                Err(error) => say(&format!("the alert was not taken: {error}")),
            }
        });
    }
}

/// What is posted: `why` for people, and its parts for programs.
fn alert_of(service: Option<&str>, why: &str, ailing: &[Ailing], tried: &[Tried]) -> serde_json::Value {
    let ailing = ailing.iter().map(|one| {
        let (service, instance) = (&*one.service, &*one.instance);
        json!({ "service": service, "instance": instance, "sign": one.sign.word(), "why": one.sign.why() })
    });
    let tried = tried.iter().map(|one| {
        let (step, result) = (one.rung.as_str(), one.came.as_str());
        json!({ "instance": &*one.instance, "step": step, "result": result, "why": one.why })
    });
    json!({
        "service": service,
        "why": why,
        "ailing": ailing.collect::<Vec<_>>(),
        "tried": tried.collect::<Vec<_>>(),
    })
}
