//! A second look, by another kind of check than the one that failed, before anything is touched.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::manager::config::spec::Check;
use crate::manager::mysql;
use crate::manager::probe;
use crate::manager::recovery::fact::Sign;
use crate::manager::repair::known::sign_of;
use crate::manager::repair::patient::Patient;
use crate::manager::upstream::Ailing;
use crate::net::resolve;

/// For a name, and for the check.
const PATIENCE: Duration = Duration::from_secs(3);

/// By svinit's own word and by the service's check from here: why it is ill, or that it is not. `None`: nobody could look.
pub(super) async fn look_again(
    patient: &Patient,
    instance: &str,
    address: Option<IpAddr>,
) -> Option<Option<String>> {
    let status = patient.reach.status(instance, &patient.unit).await.ok();
    if let Some(sign) = status.as_ref().map(sign_of) {
        match sign {
            Sign::Ill(why) | Sign::Coming(why) | Sign::Down(why) => return Some(Some(why)),
            Sign::Held(_) => return Some(None),
            Sign::Well | Sign::Unseen(_) | Sign::Lost(_) | Sign::Gone => {}
        }
    }
    match place(patient, address).await {
        Some(at) => Some(checked(patient.check.as_ref(), at).await),
        // Where it serves is not known: svinit's word has to do.
        None => status.map(|_| None),
    }
}

/// Where it serves, as far as that can be found out.
async fn place(patient: &Patient, address: Option<IpAddr>) -> Option<SocketAddr> {
    let target = patient.targets.first()?;
    let address = match address {
        Some(address) => address,
        None => {
            let found = timeout(PATIENCE, resolve::resolve(&target.at.host)).await;
            found.ok()?.ok()?.into_iter().next()?
        }
    };
    Some(SocketAddr::new(address, target.at.port))
}

/// Why it is ill.
async fn checked(check: Option<&Check>, at: SocketAddr) -> Option<String> {
    let looked = match check {
        Some(Check::Http(path)) => probe::get(at, &at.to_string(), path, PATIENCE).await,
        Some(Check::Mysql(user)) => mysql::check(at, user, PATIENCE).await,
        // svinit was asked already; what is left is whether anybody is there.
        Some(Check::Tcp | Check::Svinit(_) | Check::Exec) | None => {
            probe::connect(at, PATIENCE).await.map(drop)
        }
    };
    match looked {
        Ok(()) => None,
        Err(Ailing::Gone(why) | Ailing::Ill(why)) => Some(format!("{at}: {why}")),
    }
}
