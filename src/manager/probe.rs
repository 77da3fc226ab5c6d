//! Checks of instances: by HTTP, by TCP, by a handshake of MySQL, or by asking the svinit beside them.
//!
//! One task a service, which sleeps until the next check is due. While requests wait, instances that nobody can reach are tried
//! again and again at once: the first who answers is who they wait for.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::manager::config::spec::{Check, Service};
use crate::manager::gate::Standing;
use crate::manager::mysql;
use crate::manager::reach::Reach;
use crate::manager::reach::engine::Engine;
use crate::manager::recovery::fact::Sign;
use crate::manager::repair::known;
use crate::manager::service::Live;
use crate::manager::upstream::{Ailing, Fact, hash};
use crate::net::http1;

/// Where the svinit of a container tells its health.
const SVINIT_PORT: u16 = 9500;

/// Between two tries of an instance that requests wait for.
const AWAITED: Duration = Duration::from_millis(50);

/// Between two tries of an instance without a check that nobody could reach.
const UNREACHED: Duration = Duration::from_secs(2);

/// Longest try of such a one.
const UNREACHED_TIMEOUT: Duration = Duration::from_secs(2);

/// What a check has found; `None`: it could not be made, which says nothing about the instance.
type Verdict = Option<Result<(), Ailing>>;

/// Checks one service for as long as it is there.
pub async fn run(live: Arc<Live>, engine: Arc<Engine>) {
    // When each was checked last; while it is being checked, nothing.
    let mut last: BTreeMap<SocketAddr, Option<Instant>> = BTreeMap::new();
    let mut checks: JoinSet<(SocketAddr, Verdict)> = JoinSet::new();
    loop {
        let kicked = live.kicked.notified();
        tokio::pin!(kicked);
        kicked.as_mut().enable();
        let spec = live.spec();
        let listed: Vec<(SocketAddr, Standing)> = live.look(|upstream| upstream.listed().collect());
        last.retain(|at, checked| checked.is_none() || listed.iter().any(|(other, _)| other == at));
        let now = Instant::now();
        let mut wake = live.look(|upstream| upstream.next_deadline());
        if wake.is_some_and(|at| at <= now) {
            live.tell(Fact::Tick);
            continue;
        }
        for (at, standing) in listed {
            let Some(pause) = pause(&spec, standing, live.waiting() > 0) else { continue };
            let due = match last.get(&at) {
                None => now,
                Some(None) => continue,
                Some(Some(checked)) => *checked + jittered(pause, at),
            };
            if due <= now {
                last.insert(at, None);
                let (spec, engine) = (spec.clone(), engine.clone());
                checks.spawn(async move { (at, check(&spec, at, &engine).await) });
            } else {
                wake = Some(wake.map_or(due, |wake| wake.min(due)));
            }
        }
        let asleep = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = checks.join_next(), if !checks.is_empty() => {
                if let Ok((at, verdict)) = done {
                    last.insert(at, Some(Instant::now()));
                    if let Some(result) = verdict {
                        live.tell(Fact::Checked(at, result, live.waiting() > 0));
                    }
                }
            }
            () = asleep => {}
            () = kicked => {}
        }
    }
}

/// How long after its last check an instance is checked again; `None`: not at all.
fn pause(spec: &Service, standing: Standing, is_awaited: bool) -> Option<Duration> {
    match (&spec.health, standing) {
        (_, Standing::Gone | Standing::Unknown) if is_awaited => Some(AWAITED),
        (Some(health), Standing::Up) => Some(health.interval),
        (Some(health), Standing::Unknown | Standing::Ill | Standing::Gone) => Some(health.unhealthy_interval),
        (None, Standing::Gone) => Some(UNREACHED),
        (None, Standing::Up | Standing::Unknown | Standing::Ill) => None,
    }
}

/// Up to a tenth less, always the same for the same instance, so that not all are checked at the same moment.
fn jittered(pause: Duration, at: SocketAddr) -> Duration {
    let share = u32::try_from(hash(at.to_string().as_bytes()) % 100).unwrap_or(0);
    pause - pause / 1000 * share
}

/// Checks one instance once.
async fn check(spec: &Service, at: SocketAddr, engine: &Arc<Engine>) -> Verdict {
    let Some(health) = &spec.health else {
        return Some(connect(at, UNREACHED_TIMEOUT).await.map(drop));
    };
    let port = health.port.unwrap_or(at.port());
    let at = SocketAddr::new(at.ip(), port);
    // Frameworks that look at Host know the name the service has, not the address of an instance.
    let host = spec.targets.first().map_or_else(|| spec.name.clone(), |target| target.at.to_string());
    Some(match &health.check {
        Check::Tcp => connect(at, health.timeout).await.map(drop),
        Check::Http(path) => get(at, &host, path, health.timeout).await,
        Check::Mysql(user) => mysql::check(at, user, health.timeout).await,
        Check::Exec => return ask_inside(spec, at, engine, health.timeout).await,
        Check::Svinit(unit) => {
            let port = health.port.unwrap_or(SVINIT_PORT);
            get(SocketAddr::new(at.ip(), port), "svinit", &format!("/health/{unit}"), health.timeout).await
        }
    })
}

/// What the unit's own check in the container says. No program of the manager's file is executed in there: whoever takes the
/// manager over must not be able to run one.
async fn ask_inside(spec: &Service, at: SocketAddr, engine: &Arc<Engine>, timeout: Duration) -> Verdict {
    let reach = Reach::to(spec, engine).ok()??;
    let unit = &spec.control.as_ref()?.unit;
    let asked = async {
        let instances = reach.instances().await.ok()?;
        let is_there = |instance: &&crate::manager::reach::Instance| {
            instance.address.is_none_or(|address| address == at.ip())
        };
        let mut there = instances.iter().filter(is_there);
        // Which of several is meant cannot be told without an address.
        let (Some(instance), None) = (there.next(), there.next()) else { return None };
        reach.status(&instance.id, unit.as_str()).await.ok()
    };
    let status = tokio::time::timeout(timeout, asked).await.ok()??;
    match known::sign_of(&status) {
        Sign::Well => Some(Ok(())),
        Sign::Ill(why) => Some(Err(Ailing::Ill(why))),
        Sign::Coming(why) | Sign::Down(why) | Sign::Held(why) => Some(Err(Ailing::Gone(why))),
        Sign::Unseen(_) | Sign::Lost(_) | Sign::Gone => None,
    }
}

/// A connection, or why there is none.
pub(in crate::manager) async fn connect(at: SocketAddr, timeout: Duration) -> Result<TcpStream, Ailing> {
    match tokio::time::timeout(timeout, TcpStream::connect(at)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Ailing::Gone(words(&error))),
        Err(_) => Err(Ailing::Gone("no connection in time".to_owned())),
    }
}

/// Whether a GET is answered well.
pub(in crate::manager) async fn get(
    at: SocketAddr,
    host: &str,
    path: &str,
    timeout: Duration,
) -> Result<(), Ailing> {
    match tokio::time::timeout(timeout, http1::get(at, host, path)).await {
        Ok(Ok(status)) if status.is_well() => Ok(()),
        Ok(Ok(status)) => Err(Ailing::Ill(format!("{path} answers {}", status.0))),
        Ok(Err(error)) if is_nobody(&error) => Err(Ailing::Gone(words(&error))),
        Ok(Err(error)) => Err(Ailing::Ill(words(&error))),
        Err(_) => Err(Ailing::Ill(format!("{path} does not answer in time"))),
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
    )
}

/// An error of the system without its number.
#[must_use]
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
