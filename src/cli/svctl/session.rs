//! What every verb works with: where it writes, whom it asks, what was asked for in common.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::api::place::socket_places;
use crate::api::status::UnitStatus;
use crate::cli::exit::Exit;
use crate::cli::render::out::Out;
use crate::cli::svctl::failure::Failure;
use crate::client::connection::Client;
use crate::client::connection::Patience;
use crate::client::query::Path;

/// One call of `svctl`.
pub(in crate::cli) struct Session {
    /// Results.
    pub(in crate::cli) out: Out,
    /// Complaints.
    pub(in crate::cli) err: Out,
    /// `--json`.
    pub(in crate::cli) json: bool,
    /// `--timeout`.
    pub(in crate::cli) timeout: Option<Duration>,
    socket: Option<PathBuf>,
    env: fn(&str) -> Option<String>,
    now_ms: fn() -> i64,
    zone: fn() -> TimeZone,
}

impl Session {
    /// On this process's own stdout, stderr and environment.
    pub(in crate::cli) fn real() -> Self {
        let env = |name: &str| std::env::var(name).ok();
        let now_ms = || jiff::Timestamp::now().as_millisecond();
        Self {
            out: Out::stdout(&env),
            err: Out::stderr(&env),
            json: false,
            timeout: None,
            socket: None,
            env,
            now_ms,
            zone: TimeZone::system,
        }
    }

    /// Writes to `out` and `err`; it is always half past three in 1970.
    #[cfg(test)]
    pub(in crate::cli) fn for_test(out: Out, err: Out, socket: PathBuf) -> Self {
        let now_ms = || 12_600_000;
        Self {
            out,
            err,
            json: false,
            timeout: None,
            socket: Some(socket),
            env: |_| None,
            now_ms,
            zone: || TimeZone::UTC,
        }
    }

    /// Takes what `matches` has of the common options.
    pub(in crate::cli) fn take(&mut self, matches: &ArgMatches) {
        self.json = matches.try_get_one::<bool>("json").ok().flatten().copied().unwrap_or(false);
        self.timeout = matches.try_get_one::<Duration>("timeout").ok().flatten().copied();
        if let Some(socket) = matches.try_get_one::<PathBuf>("socket").ok().flatten() {
            self.socket = Some(socket.clone());
        }
    }

    /// Writes what is left; a stdout that could not be written to is a failure of its own.
    pub(in crate::cli) fn finish(mut self, exit: Exit) -> Exit {
        self.out.flush();
        let failure = self.out.failure();
        if let Some(text) = &failure {
            self.err.line(format!("svctl: {text}"));
        }
        self.err.flush();
        if failure.is_some() && exit == Exit::Done { Exit::Failed } else { exit }
    }

    /// The supervisor, within `--timeout`.
    pub(in crate::cli) fn client(&self) -> Client {
        self.client_until(self.timeout)
    }

    /// The supervisor, for questions beside the one that `--timeout` is about.
    pub(in crate::cli) fn client_at_ease(&self) -> Client {
        self.client_until(None)
    }

    fn client_until(&self, stream: Option<Duration>) -> Client {
        let places = socket_places(self.socket.clone(), &|name| (self.env)(name), effective_user());
        Client::new(places, Patience { stream, ..Patience::default() })
    }

    /// A variable of the environment.
    pub(in crate::cli) fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// Milliseconds since 1970.
    pub(in crate::cli) fn now_ms(&self) -> i64 {
        (self.now_ms)()
    }

    /// Where times of day are told; only what other tools print in local time needs it.
    pub(in crate::cli) fn zone(&self) -> TimeZone {
        (self.zone)()
    }

    /// `value` for programs.
    pub(in crate::cli) fn print_json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|why| Failure::failed(format!("cannot write the answer as JSON: {why}")))?;
        self.out.line(text);
        Ok(())
    }

    /// `value` for programs that read line by line.
    pub(in crate::cli) fn print_json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|why| Failure::failed(format!("cannot write the answer as JSON: {why}")))?;
        self.out.line(text);
        Ok(())
    }

    /// Says that a stream has left out `count` of `what`, in its place.
    pub(in crate::cli) fn tell_missed(&mut self, count: u64, what: &str) {
        if count > 0 {
            self.out.flush();
            let plural = if count == 1 { "" } else { "s" };
            self.err
                .line(format!("svctl: {count} {what}{plural} left out here, they came too fast to be read"));
            self.err.flush();
        }
    }

    /// The units that `names` mean, all of them when there are none.
    pub(in crate::cli) fn units(&self, names: &[String]) -> Result<Vec<UnitStatus>, Failure> {
        Ok(self.client_at_ease().get(&Path::new("/v1/units").units(names).with("usage", "true"))?)
    }

    /// One unit by its name.
    pub(in crate::cli) fn unit(&self, name: &str) -> Result<UnitStatus, Failure> {
        Ok(self.client_at_ease().get(&Path::new("/v1/units").segment(name).with("usage", "true"))?)
    }
}

/// Whom we act as.
pub(in crate::cli) fn effective_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}
