//! From the names of targets to instances, again and again: when Compose scales a service, its name has other addresses.
//!
//! Docker says that an answer holds for ten minutes, which would be ten minutes of requests to a container that is gone. So names
//! are looked up every other second whatever the answer says, and at once when the engine tells that a container has started or
//! ended.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::manager::config::spec::Service;
use crate::manager::journal::Journal;
use crate::manager::service::Live;
use crate::net::resolve::Resolver;

/// Between two look-ups of a name.
const EVERY: Duration = Duration::from_secs(2);

/// While requests wait for an instance.
const AWAITED: Duration = Duration::from_millis(250);

/// Longest look-up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Instances of one service; what a name has beyond that is left out.
const INSTANCES_MAX: usize = 256;

/// Follows the names of one service for as long as it is there.
pub async fn run(live: Arc<Live>, resolver: Resolver, journal: Journal) {
    let mut said: Option<String> = None;
    loop {
        let renamed = live.renamed.notified();
        tokio::pin!(renamed);
        renamed.as_mut().enable();
        let spec = live.spec();
        let began = Instant::now();
        match look_up(&spec, &resolver).await {
            Ok(listed) => {
                said = None;
                live.list(listed);
            }
            // What was there before stays: a name server that fails is no reason to stop serving.
            Err(error) => {
                let why = format!("{}: cannot look its instances up: {error}", live.name);
                if said.as_ref() != Some(&why) {
                    journal.say(&why);
                    said = Some(why);
                }
            }
        }
        if is_literal(&spec) {
            // Addresses do not change.
            renamed.await;
            continue;
        }
        let until = began + if live.waiting() > 0 { AWAITED } else { EVERY };
        let kicked = async {
            // A request that begins to wait brings the next look-up nearer.
            loop {
                live.kicked.notified().await;
                if live.waiting() > 0 {
                    tokio::time::sleep_until(began + AWAITED).await;
                    return;
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = renamed => {}
            () = kicked => {}
        }
    }
}

fn is_literal(spec: &Service) -> bool {
    spec.discover.is_none()
        && spec.targets.iter().all(|target| target.at.host.parse::<std::net::IpAddr>().is_ok())
}

/// The addresses of all names of a service.
///
/// # Errors
/// None of them is known.
pub async fn look_up(spec: &Service, resolver: &Resolver) -> io::Result<BTreeSet<SocketAddr>> {
    let named = spec.targets.iter().map(|target| (target.at.host.as_str(), target.at.port));
    let discovered = spec.discover.iter().map(|discover| (discover.compose_service.as_str(), discover.port));
    let mut found: BTreeSet<SocketAddr> = BTreeSet::new();
    let mut failed = None;
    for (host, port) in named.chain(discovered) {
        match tokio::time::timeout(PATIENCE, resolver.resolve(host)).await {
            Ok(Ok(addresses)) => {
                found.extend(addresses.into_iter().map(|address| SocketAddr::new(address, port)));
            }
            Ok(Err(error)) => failed = Some(error),
            Err(_) => {
                failed = Some(io::Error::new(io::ErrorKind::TimedOut, format!("nobody knows {host} in time")))
            }
        }
    }
    match failed {
        // Of several names one may be down for good; the others serve. But an answer that may be half is not taken for all
        // while the other half is known from before: that is what the caller keeps.
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found.into_iter().take(INSTANCES_MAX).collect()),
    }
}
