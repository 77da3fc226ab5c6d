//! Recovery as it runs: looks at services, tells the machine, and carries out what it wishes.
//!
//! It decides nothing: [`crate::manager::recovery::machine`] does. Three things tell it how an instance is: svinit's stream of
//! events (a crash is known when it happens), the gateway's own checks, and svinit's answer when it is asked. svinit's word that a
//! unit is down, held or coming is believed before any check; a check that fails is believed before svinit's word that all is well.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::sleep_until;
use tokio::time::timeout;

use crate::api::event::UnitEvent;
use crate::api::status::UnitStatus;
use crate::manager::audit::Audit;
use crate::manager::config::spec;
use crate::manager::config::spec::Check;
use crate::manager::gate::Cause;
use crate::manager::gate::Gate;
use crate::manager::gate::Health;
use crate::manager::gate::Report;
use crate::manager::gate::Standing;
use crate::manager::leader::Leader;
use crate::manager::reach::Act;
use crate::manager::reach::Instance;
use crate::manager::reach::Reach;
use crate::manager::reach::direct::Direct;
use crate::manager::reach::docker::Docker;
use crate::manager::reach::docker::Which;
use crate::manager::reach::engine::Engine;
use crate::manager::reach::fault::Fault;
use crate::manager::reach::wire;
use crate::manager::reach::wire::Place;
use crate::manager::recovery::fact::Attempt;
use crate::manager::recovery::fact::Fact;
use crate::manager::recovery::fact::Failure;
use crate::manager::recovery::fact::Sign;
use crate::manager::recovery::fact::Time;
use crate::manager::recovery::fact::Wish;
use crate::manager::recovery::machine::Recovery;
use crate::manager::recovery::machine::View;
use crate::manager::recovery::policy::Policy;
use crate::manager::recovery::policy::Rung;
use crate::net::http1;
use crate::net::token::Token;
use crate::units::spec::HostPort;
use crate::units::spec::HttpUrl;

/// Between two looks at which instances there are, where an engine has to be asked.
const LIST_EVERY: Duration = Duration::from_secs(5);

/// Before a stream that has ended is opened again: the first time, and at most.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// For a check of our own, when a second look is taken.
const LOOK: Duration = Duration::from_secs(3);

/// Facts that may wait for the machine; who tells them waits then.
const FACTS_MAX: usize = 1024;

/// For requests that are at an instance before it is taken away from others that are well.
const DRAIN: Duration = Duration::from_secs(5);

/// For a container to end by itself before it is restarted.
const STOP: Duration = Duration::from_secs(10);

/// Where it writes and whom it asks.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The audit log and the leader's lock are in there.
    pub state: PathBuf,
    /// The engine's socket, or better the guard's.
    pub engine: PathBuf,
    /// Alerts are posted there.
    pub webhook: Option<HttpUrl>,
}

/// Where the audit log and the leader's lock are, when nobody says otherwise.
const STATE_DEFAULT: &str = "/var/lib/svmanager";

/// Where the guard makes its socket.
const ENGINE_DEFAULT: &str = "/run/guard/guard.sock";

impl Surroundings {
    /// As the environment says: `SVMANAGER_STATE`, `DOCKER_HOST` (`unix:///PATH`), `SVMANAGER_WEBHOOK` (`http://HOST[:PORT]/PATH`).
    #[must_use]
    pub fn of_this_process() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let engine = set("DOCKER_HOST").and_then(|host| host.strip_prefix("unix://").map(PathBuf::from));
        Self {
            state: set("SVMANAGER_STATE").map_or_else(|| STATE_DEFAULT.into(), PathBuf::from),
            engine: engine.unwrap_or_else(|| ENGINE_DEFAULT.into()),
            webhook: set("SVMANAGER_WEBHOOK").and_then(|url| webhook(&url)),
        }
    }
}

/// `http://host[:port][/path]`.
fn webhook(url: &str) -> Option<HttpUrl> {
    let rest = url.strip_prefix("http://")?;
    let (at, path) = rest.split_once('/').map_or((rest, String::new()), |(at, path)| (at, path.to_owned()));
    let (host, port) = at.rsplit_once(':').unwrap_or((at, "80"));
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let path = format!("/{path}");
    let at = HostPort { host: host.trim_matches(['[', ']']).to_owned(), port };
    (is_plain(&at.host) && is_plain(&path)).then_some(HttpUrl { at, path })
}

/// Where lines for people go.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// What a person asks of it.
pub enum Ask {
    /// How everything stands.
    Views(oneshot::Sender<Vec<View>>),
    /// This is to be told to the machine; `now` is put in by us.
    Tell(Box<dyn FnOnce(Time) -> Fact + Send>),
}

/// For who asks.
pub type Asks = mpsc::Sender<Ask>;

/// One service as it is repaired.
struct Patient {
    name: Arc<str>,
    unit: String,
    reach: Arc<Reach>,
    check: Option<Check>,
    targets: Vec<spec::Target>,
}

/// Begins to look after `services`; ends when the runtime does. What can be asked goes through the answer.
#[must_use]
pub fn start(
    services: &BTreeMap<String, Arc<spec::Service>>,
    gate: Gate,
    around: Surroundings,
    say: Say,
) -> Asks {
    let (asks, asked) = mpsc::channel(64);
    let engine = Arc::new(Engine::new(around.engine.clone()));
    let mut patients = BTreeMap::new();
    for service in services.values() {
        match patient(service, &engine) {
            Ok(Some(patient)) => {
                patients.insert(Arc::clone(&patient.name), Arc::new(patient));
            }
            Ok(None) => {}
            Err(why) => say(&format!("{} is not repaired: {why}", service.name)),
        }
    }
    let policies = services.values().filter(|service| patients.contains_key(service.name.as_str()));
    let policies = policies.map(|service| (Arc::from(service.name.as_str()), policy(service))).collect();
    tokio::spawn(run(patients, policies, gate, around, say, asked));
    asks
}

fn patient(service: &spec::Service, engine: &Arc<Engine>) -> Result<Option<Patient>, String> {
    let Some(control) = &service.control else { return Ok(None) };
    let reach = match &control.reach {
        spec::Reach::Docker { container } => {
            let which = match (container, &service.discover) {
                (Some(name), _) => Which::Named(name.clone()),
                (None, Some(discover)) => Which::Compose {
                    service: discover.compose_service.clone(),
                    project: discover.project.clone(),
                },
                (None, None) => return Err("neither a container nor a Compose service is named".to_owned()),
            };
            Reach::Docker(Docker::new(Arc::clone(engine), which))
        }
        spec::Reach::Socket { path } => Reach::Direct(Direct::new(Place::Unix(path.clone()), None)),
        spec::Reach::Api { url, token_file } => {
            let text = crate::os::credentials::read_secret(token_file).map_err(|error| error.to_string())?;
            let token =
                Token::new(&text).map_err(|why| format!("the token in {} {why}", token_file.display()))?;
            Reach::Direct(Direct::new(Place::Tcp(url.at.clone()), Some(token)))
        }
    };
    Ok(Some(Patient {
        name: Arc::from(service.name.as_str()),
        unit: control.unit.as_str().to_owned(),
        reach: Arc::new(reach),
        check: service.health.as_ref().map(|health| health.check.clone()),
        targets: service.targets.clone(),
    }))
}

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

/// What is known of an instance from its two sources.
#[derive(Clone, Debug, Default)]
struct Known {
    pushed: Option<Sign>,
    checked: Option<Sign>,
}

impl Known {
    /// Both in one.
    fn sign(&self) -> Sign {
        match (&self.pushed, &self.checked) {
            (
                Some(sign @ (Sign::Coming(_) | Sign::Down(_) | Sign::Held(_) | Sign::Ill(_) | Sign::Gone)),
                _,
            ) => sign.clone(),
            (_, Some(sign)) => sign.clone(),
            (Some(sign), None) => sign.clone(),
            (None, None) => Sign::Unseen("it has not been looked at yet".to_owned()),
        }
    }
}

/// What the tasks tell.
enum Told {
    Pushed { service: Arc<str>, instance: Instance, sign: Sign },
    Fact(Fact),
}

async fn run(
    patients: BTreeMap<Arc<str>, Arc<Patient>>,
    policies: BTreeMap<Arc<str>, Policy>,
    gate: Gate,
    around: Surroundings,
    say: Say,
    mut asked: mpsc::Receiver<Ask>,
) {
    let began = Instant::now();
    let now = || Time(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    let mut health = gate.health();
    let (tell, mut told) = mpsc::channel(FACTS_MAX);
    for patient in patients.values() {
        tokio::spawn(look(Arc::clone(patient), tell.clone()));
    }
    let seed = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0);
    let mut hands = Hands {
        patients,
        machine: Recovery::new(policies, seed),
        known: BTreeMap::new(),
        gate,
        audit: open_audit(&around, &say),
        webhook: around.webhook.clone(),
        say: Arc::clone(&say),
        tell,
    };
    let mut leader = Leader::new(&around.state);
    let mut next_vote = Instant::now();
    let mut is_open = true;
    loop {
        let due = hands.machine.next_deadline().map(|at| began + Duration::from_millis(at.0));
        tokio::select! {
            told = told.recv() => match told {
                Some(Told::Pushed { service, instance, sign }) => hands.on_pushed(&service, instance, sign, now()),
                Some(Told::Fact(fact)) => hands.step(fact, now()),
                None => return,
            },
            changed = health.recv() => match changed {
                Ok(changed) => hands.on_changed(&changed, now()),
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => hands.look_at_gate(now()),
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            },
            ask = asked.recv(), if is_open => match ask {
                Some(Ask::Views(answer)) => {
                    let _ = answer.send(hands.machine.views());
                }
                Some(Ask::Tell(fact)) => hands.step(fact(now()), now()),
                // Nobody will ask any more; the rest goes on.
                None => is_open = false,
            },
            () = sleep_until(due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))), if due.is_some() => {
                hands.step(Fact::Tick, now());
            }
            () = sleep_until(next_vote) => {
                let is_leader = leader.vote();
                hands.step(Fact::Led(is_leader), now());
                // Who has the lock keeps it; only who waits for it looks again.
                next_vote = Instant::now() + if is_leader { Leader::REST } else { Leader::EVERY };
            }
        }
    }
}

fn open_audit(around: &Surroundings, say: &Say) -> Audit {
    Audit::open(&around.state.join("audit.jsonl")).unwrap_or_else(|why| {
        say(&format!("decisions are in this log only: {why}"));
        Audit::nowhere()
    })
}

/// What carries out wishes.
struct Hands {
    patients: BTreeMap<Arc<str>, Arc<Patient>>,
    machine: Recovery,
    known: BTreeMap<(Arc<str>, Arc<str>), (Instance, Known)>,
    gate: Gate,
    audit: Audit,
    webhook: Option<HttpUrl>,
    say: Say,
    tell: mpsc::Sender<Told>,
}

impl Hands {
    fn step(&mut self, fact: Fact, now: Time) {
        for wish in self.machine.step(fact, now) {
            self.carry_out(wish);
        }
    }

    /// svinit, or the engine, says so.
    fn on_pushed(&mut self, service: &Arc<str>, instance: Instance, sign: Sign, now: Time) {
        let id: Arc<str> = Arc::from(instance.id.as_str());
        let key = (Arc::clone(service), Arc::clone(&id));
        for address in self.addresses(service, &instance) {
            match &sign {
                Sign::Well => self.gate.report(service, address, Report::Ready),
                Sign::Coming(why) | Sign::Down(why) | Sign::Held(why) => {
                    self.gate.report(service, address, Report::NotReady(why.clone()));
                }
                Sign::Ill(_) | Sign::Unseen(_) | Sign::Gone => {}
            }
        }
        if sign == Sign::Gone {
            self.known.remove(&key);
        } else {
            let entry = self.known.entry(key).or_insert_with(|| (instance.clone(), Known::default()));
            entry.0 = instance;
            // svinit has just said that it is ready: a check that failed before is of the process before.
            if sign == Sign::Well && entry.1.pushed.as_ref() != Some(&Sign::Well) {
                entry.1.checked = None;
            }
            entry.1.pushed = Some(sign.clone());
        }
        let sign =
            self.known.get(&(Arc::clone(service), Arc::clone(&id))).map_or(sign, |(_, known)| known.sign());
        self.step(Fact::Seen { service: Arc::clone(service), instance: id, sign }, now);
    }

    /// The gateway thinks otherwise of an instance. Only what it has seen itself is news: the rest is what it was told from here.
    fn on_changed(&mut self, changed: &Health, now: Time) {
        if !matches!(changed.cause, Cause::Check(_) | Cause::Requests(_)) {
            return;
        }
        let sign = match changed.standing {
            Standing::Up => Sign::Well,
            Standing::Unknown => return,
            Standing::Ill | Standing::Gone => Sign::Ill(changed.cause.to_string()),
        };
        self.on_checked(&changed.service, changed.instance, changed.container.as_deref(), sign, now);
    }

    /// A check of the gateway's says so.
    fn on_checked(
        &mut self,
        service: &Arc<str>,
        at: SocketAddr,
        container: Option<&str>,
        sign: Sign,
        now: Time,
    ) {
        let of: Vec<Arc<str>> = self
            .known
            .iter()
            .filter(|((name, _), _)| name == service)
            .filter(|(_, (instance, _))| {
                container.is_some_and(|name| name == instance.id || name == instance.name)
                    || instance.address.is_none_or(|address| address == at.ip())
            })
            .map(|((_, id), _)| Arc::clone(id))
            .collect();
        // One that svinit has not told of yet will be asked about when it does.
        let [id] = of.as_slice() else { return };
        let Some((_, known)) = self.known.get_mut(&(Arc::clone(service), Arc::clone(id))) else { return };
        known.checked = Some(sign);
        let sign = known.sign();
        self.step(Fact::Seen { service: Arc::clone(service), instance: Arc::clone(id), sign }, now);
    }

    /// Changes were missed: all of it again.
    fn look_at_gate(&mut self, now: Time) {
        for service in self.gate.services() {
            for instance in service.instances {
                let sign = match instance.standing {
                    Standing::Up => Sign::Well,
                    Standing::Unknown => continue,
                    Standing::Ill | Standing::Gone => Sign::Ill(instance.why),
                };
                self.on_checked(&service.name, instance.address, instance.container.as_deref(), sign, now);
            }
        }
    }

    /// Where the gateway knows this instance.
    fn addresses(&self, service: &str, instance: &Instance) -> Vec<SocketAddr> {
        let views = self.gate.services();
        let view = views.iter().find(|view| *view.name == *service);
        let all = view.into_iter().flat_map(|view| &view.instances);
        let own: Vec<SocketAddr> = all
            .filter(|known| {
                known.container.as_deref().is_some_and(|name| name == instance.id || name == instance.name)
                    || instance.address.is_none_or(|address| address == known.address.ip())
            })
            .map(|known| known.address)
            .collect();
        // Which of several is meant cannot be told without an address.
        if instance.address.is_none() && own.len() > 1 { Vec::new() } else { own }
    }

    fn carry_out(&mut self, wish: Wish) {
        match wish {
            Wish::Park(service) => self.gate.begin_away(&service),
            Wish::Unpark(service) => self.gate.end_away(&service),
            Wish::Confirm { service, instance, attempt } => self.confirm(&service, &instance, attempt),
            Wish::Act { service, instance, rung, attempt } => self.act(&service, &instance, rung, attempt),
            Wish::Alert { service, why } => self.alert(service.as_deref(), &why),
            Wish::Note { service, decision, why } => {
                let ts = jiff::Timestamp::now().to_string();
                let named = service.as_deref().unwrap_or("all services");
                (self.say)(&format!("recovery: {named}: {decision}: {why}"));
                if let Err(why) = self.audit.add(ts, service.as_deref(), decision, &why) {
                    (self.say)(&why);
                }
            }
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

    fn act(&self, service: &Arc<str>, instance: &Arc<str>, rung: Rung, attempt: Attempt) {
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
            let result = carry_out(&patient, &instance, rung).await;
            drained.iter().for_each(|address| gate.undrain(&service, *address));
            let _ = tell.send(Told::Fact(Fact::Done { service, attempt, result })).await;
        });
    }

    fn alert(&self, service: Option<&str>, why: &str) {
        (self.say)(&format!("ALERT: {}: {why}", service.unwrap_or("all services")));
        let Some(url) = self.webhook.clone() else { return };
        let body = serde_json::json!({ "service": service, "why": why }).to_string();
        let say = Arc::clone(&self.say);
        tokio::spawn(async move {
            let request =
                wire::Request { method: "POST", path: &url.path, body: Some(body.as_bytes()), token: None };
            match wire::ask(&Place::Tcp(url.at.clone()), &request, LOOK).await {
                Ok(answer) if answer.status < 400 => {}
                Ok(answer) => say(&format!("the alert was not taken: status {}", answer.status)),
                Err(error) => say(&format!("the alert was not taken: {error}")),
            }
        });
    }
}

async fn carry_out(patient: &Patient, instance: &str, rung: Rung) -> Result<(), Failure> {
    let patience = Duration::from_millis(Policy::default().patience);
    let act = match rung {
        Rung::Reload => Act::Reload,
        Rung::RestartUnit => Act::Restart,
        Rung::RestartDependants => Act::RestartDependants,
        Rung::RestartContainer => {
            return patient.reach.restart_container(instance, STOP).await.map_err(|fault| failure(&fault));
        }
        Rung::Alert => return Ok(()),
    };
    match patient.reach.run(instance, act, &patient.unit, patience).await {
        Ok(outcome) if outcome.ok => Ok(()),
        Ok(outcome) if outcome.why.starts_with("has no [reload]") => Err(Failure::NotApplicable(outcome.why)),
        Ok(outcome) => Err(Failure::Failed(outcome.why)),
        Err(fault) => Err(failure(&fault)),
    }
}

fn failure(fault: &Fault) -> Failure {
    match fault {
        fault if fault.is_deliberate() => Failure::Held(fault.to_string()),
        Fault::Denied(why) | Fault::NoUnit(why) | Fault::NoSvctl(why) => Failure::NotApplicable(why.clone()),
        fault => Failure::Failed(fault.to_string()),
    }
}

/// A second look, by svinit's own word and by the service's check from here. The outer `None`: nobody could look.
async fn look_again(patient: &Patient, instance: &str, address: Option<IpAddr>) -> Option<Option<String>> {
    let status = patient.reach.status(instance, &patient.unit).await.ok();
    if let Some(sign) = status.as_ref().map(sign_of) {
        match sign {
            Sign::Ill(why) | Sign::Coming(why) | Sign::Down(why) => return Some(Some(why)),
            Sign::Held(_) => return Some(None),
            Sign::Well | Sign::Unseen(_) | Sign::Gone => {}
        }
    }
    let target = patient.targets.first();
    let port = target.map(|target| target.at.port)?;
    let address = match (address, target) {
        (Some(address), _) => address,
        (None, Some(target)) => timeout(LOOK, crate::net::resolve::resolve(&target.at.host))
            .await
            .ok()?
            .ok()?
            .into_iter()
            .next()?,
        (None, None) => return status.map(|_| None),
    };
    let at = SocketAddr::new(address, port);
    let looked = match &patient.check {
        Some(Check::Http(path)) => match timeout(LOOK, http1::get(at, &at.to_string(), path)).await {
            Ok(Ok(answer)) if answer.is_well() => None,
            Ok(Ok(answer)) => Some(format!("{path} answers {}", answer.0)),
            Ok(Err(error)) => Some(format!("{path}: {error}")),
            Err(_) => Some(format!("{path} does not answer")),
        },
        Some(Check::Tcp | Check::Svinit(_)) | None => {
            match timeout(LOOK, tokio::net::TcpStream::connect(at)).await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(format!("{at}: {error}")),
                Err(_) => Some(format!("{at} does not answer")),
            }
        }
    };
    Some(looked)
}

/// Follows all instances of a service for ever.
async fn look(patient: Arc<Patient>, tell: mpsc::Sender<Told>) {
    let mut followed: BTreeMap<String, (Instance, tokio::task::AbortHandle)> = BTreeMap::new();
    loop {
        match patient.reach.instances().await {
            Ok(found) => {
                let gone: Vec<String> =
                    followed.keys().filter(|id| !found.iter().any(|one| one.id == **id)).cloned().collect();
                for id in gone {
                    if let Some((instance, task)) = followed.remove(&id) {
                        task.abort();
                        let (service, sign) = (Arc::clone(&patient.name), Sign::Gone);
                        if tell.send(Told::Pushed { service, instance, sign }).await.is_err() {
                            return;
                        }
                    }
                }
                for instance in found {
                    let is_running = instance.state == "running";
                    if !is_running {
                        if let Some((_, task)) = followed.remove(&instance.id) {
                            task.abort();
                        }
                        let sign = Sign::Held(format!("its container is {}", instance.state));
                        let service = Arc::clone(&patient.name);
                        if tell.send(Told::Pushed { service, instance, sign }).await.is_err() {
                            return;
                        }
                        continue;
                    }
                    if !followed.contains_key(&instance.id) {
                        let task = tokio::spawn(follow(Arc::clone(&patient), instance.clone(), tell.clone()));
                        followed.insert(instance.id.clone(), (instance, task.abort_handle()));
                    }
                }
            }
            Err(fault) => {
                for (instance, _) in followed.values() {
                    let sign = Sign::Unseen(fault.to_string());
                    let (service, instance) = (Arc::clone(&patient.name), instance.clone());
                    if tell.send(Told::Pushed { service, instance, sign }).await.is_err() {
                        return;
                    }
                }
            }
        }
        sleep(LIST_EVERY).await;
    }
}

/// Tells every change of one instance's unit; opens the stream again whenever it ends.
async fn follow(patient: Arc<Patient>, instance: Instance, tell: mpsc::Sender<Told>) {
    let mut pause = AGAIN_MIN;
    let push =
        |sign: Sign| Told::Pushed { service: Arc::clone(&patient.name), instance: instance.clone(), sign };
    loop {
        let fault = match patient.reach.follow(&instance.id, &patient.unit).await {
            Ok(mut events) => loop {
                match events.next().await {
                    Ok(Some(event)) => {
                        pause = AGAIN_MIN;
                        let sign = seen(&patient, &instance, &event).await;
                        if tell.send(push(sign)).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => break None,
                    Err(fault) => break Some(fault),
                }
            },
            Err(fault) => Some(fault),
        };
        if let Some(fault) = fault {
            let sign = if fault.is_deliberate() {
                Sign::Held(fault.to_string())
            } else {
                Sign::Unseen(fault.to_string())
            };
            if tell.send(push(sign)).await.is_err() {
                return;
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(AGAIN_MAX);
    }
}

/// What an event says. Whether a unit that does not run was stopped by a person is only in its status.
async fn seen(patient: &Patient, instance: &Instance, event: &UnitEvent) -> Sign {
    match event.state.as_str() {
        "inactive" | "completed" => match patient.reach.status(&instance.id, &patient.unit).await {
            Ok(status) => sign_of(&status),
            Err(fault) => Sign::Unseen(fault.to_string()),
        },
        state => sign(state, &event.health, &event.why, false),
    }
}

fn sign_of(status: &UnitStatus) -> Sign {
    if status.paused {
        return Sign::Held("a person has paused it".to_owned());
    }
    let why = status.health_why.as_deref().filter(|_| status.health == "fail").unwrap_or(&status.why);
    sign(&status.state, &status.health, why, status.held)
}

fn sign(state: &str, health: &str, why: &str, held: bool) -> Sign {
    let why = if why.is_empty() { state.to_owned() } else { format!("{state}: {why}") };
    match state {
        "ready" | "reloading" if health == "fail" => Sign::Ill(format!("svinit's check fails: {why}")),
        "ready" | "reloading" => Sign::Well,
        "failed" => Sign::Down(why),
        "inactive" | "completed" if held => Sign::Held(why),
        "inactive" | "completed" => Sign::Down(why),
        _ => Sign::Coming(why),
    }
}

#[cfg(test)]
mod tests {
    use super::Known;
    use super::sign;
    use crate::manager::recovery::fact::Sign;

    #[test]
    fn what_a_unit_is_says_what_may_be_done_about_it() {
        for (state, health, held, expected) in [
            ("ready", "pass", false, "Well"),
            ("ready", "unknown", false, "Well"),
            ("ready", "fail", false, "Ill"),
            ("backoff", "unknown", false, "Coming"),
            ("starting", "unknown", false, "Coming"),
            ("stopping", "unknown", false, "Coming"),
            ("failed", "unknown", false, "Down"),
            ("inactive", "unknown", false, "Down"),
            ("inactive", "unknown", true, "Held"),
        ] {
            let told = format!("{:?}", sign(state, health, "", held));
            assert!(told.starts_with(expected), "{state} {health} {held}: {told}");
        }
    }

    #[test]
    fn svinit_is_believed_that_it_is_down_and_checks_that_it_is_ill() {
        let known =
            |pushed: Sign, checked: Sign| Known { pushed: Some(pushed), checked: Some(checked) }.sign();
        let ill = || Sign::Ill("503".into());
        assert_eq!(known(Sign::Well, ill()), ill());
        assert_eq!(known(Sign::Well, Sign::Well), Sign::Well);
        assert_eq!(known(Sign::Down("x".into()), Sign::Well), Sign::Down("x".into()));
        assert_eq!(known(Sign::Held("x".into()), ill()), Sign::Held("x".into()));
        assert_eq!(known(Sign::Unseen("x".into()), Sign::Well), Sign::Well);
        assert_eq!(Known { pushed: Some(Sign::Well), checked: None }.sign(), Sign::Well);
    }
}
