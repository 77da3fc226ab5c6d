//! Where recovery keeps things and whom it asks: what is no matter of the manager's file, because it is the container's.

use std::path::PathBuf;

use crate::units::spec::HostPort;
use crate::units::spec::HttpUrl;

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
