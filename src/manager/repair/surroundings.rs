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
    ///
    /// # Errors
    /// One of them is something else, and alerts or repairs would be missed without a word.
    pub fn of_this_process() -> Result<Self, String> {
        Self::of(|name| std::env::var(name).ok())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let engine = set("DOCKER_HOST").map(|host| {
            let path = host.strip_prefix("unix://").filter(|path| path.starts_with('/')).map(PathBuf::from);
            path.ok_or_else(|| format!("DOCKER_HOST is {host:?}: an engine is reached by unix:///PATH only"))
        });
        let webhook = set("SVMANAGER_WEBHOOK").map(|url| {
            webhook(&url).ok_or_else(|| {
                format!("SVMANAGER_WEBHOOK is {url:?}: alerts go to http://HOST[:PORT]/PATH only")
            })
        });
        Ok(Self {
            state: set("SVMANAGER_STATE").map_or_else(|| STATE_DEFAULT.into(), PathBuf::from),
            engine: engine.transpose()?.unwrap_or_else(|| ENGINE_DEFAULT.into()),
            webhook: webhook.transpose()?,
        })
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

#[cfg(test)]
mod tests {
    use super::Surroundings;

    fn with(name: &'static str, value: &'static str) -> Result<Surroundings, String> {
        Surroundings::of(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn what_is_not_understood_is_refused_and_not_left_out() {
        let webhook = with("SVMANAGER_WEBHOOK", "http://alerts:8080/hook").unwrap().webhook.unwrap();
        assert_eq!(
            (webhook.at.host.as_str(), webhook.at.port, webhook.path.as_str()),
            ("alerts", 8080, "/hook")
        );
        assert!(with("SVMANAGER_WEBHOOK", "").unwrap().webhook.is_none());
        for url in [
            "https://alerts/hook",
            "alerts",
            "http://",
            "http://alerts:0/",
            "http://alerts:x/",
            "http://a b/",
        ] {
            let why = with("SVMANAGER_WEBHOOK", url).unwrap_err();
            assert!(why.contains("alerts go to http://HOST[:PORT]/PATH only"), "{why}");
        }
        let engine = with("DOCKER_HOST", "unix:///run/docker.sock").unwrap().engine;
        assert_eq!(engine.to_str(), Some("/run/docker.sock"));
        assert!(with("DOCKER_HOST", "tcp://engine:2375").unwrap_err().contains("unix:///PATH only"));
    }
}
