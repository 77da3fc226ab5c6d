//! svinit's own control API, over its socket or over TCP.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::api::command::JobLine;
use crate::api::command::JobRequest;
use crate::api::command::Outcome;
use crate::api::command::Verb;
use crate::api::status::Refusal;
use crate::api::status::UnitStatus;
use crate::client::query::Path;
use crate::manager::reach::Act;
use crate::manager::reach::Instance;
use crate::manager::reach::Wanted;
use crate::manager::reach::fault;
use crate::manager::reach::fault::Fault;
use crate::manager::reach::wire;
use crate::manager::reach::wire::Answer;
use crate::manager::reach::wire::Body;
use crate::manager::reach::wire::Place;
use crate::manager::reach::wire::Request;
use crate::net::token::Token;

/// For the head of an answer: svinit answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer at most.
const ANSWER_MAX: usize = 4 << 20;

/// One svinit.
#[derive(Debug)]
pub struct Direct {
    place: Place,
    token: Option<Token>,
}

impl Direct {
    /// At `place`, where `token` is shown if there is one.
    #[must_use]
    pub fn new(place: Place, token: Option<Token>) -> Self {
        Self { place, token }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// The one place it has.
    #[must_use]
    pub fn instance(&self) -> Instance {
        let id = self.place.words();
        let address = match &self.place {
            Place::Tcp(at) => at.host.parse().ok(),
            Place::Unix(_) => None,
        };
        Instance { name: id.clone(), id, address, state: "running".to_owned(), end: None }
    }

    pub(super) async fn status(&self, unit: &str) -> Result<UnitStatus, Fault> {
        let path = Path::new("/v1/units").segment(unit);
        let answer = self.ask("GET", &path, None, PATIENCE).await?;
        self.read(answer).await
    }

    pub(super) async fn units(&self) -> Result<Vec<UnitStatus>, Fault> {
        let answer = self.ask("GET", &Path::new("/v1/units").with("usage", "true"), None, PATIENCE).await?;
        self.read(answer).await
    }

    pub(super) async fn logs(&self, wanted: &Wanted) -> Result<Lines, Fault> {
        let path = Path::new("/v1/logs")
            .units(std::slice::from_ref(&wanted.unit))
            .with("lines", &wanted.lines.to_string())
            .with("follow", if wanted.follow { "true" } else { "false" });
        let answer = self.ask("GET", &path, None, PATIENCE).await?;
        Ok(Lines { body: answer.body, whom: self.place.words() })
    }

    pub(super) async fn run(&self, act: Act, unit: &str, patience: Duration) -> Result<Outcome, Fault> {
        let verb = match act {
            Act::Reload => Verb::Reload,
            Act::Restart | Act::RestartDependants => Verb::Restart,
            Act::Start => Verb::Start,
            Act::Stop => Verb::Stop,
        };
        let request = JobRequest {
            verb,
            units: vec![unit.to_owned()],
            signal: None,
            tree: false,
            with_dependants: act == Act::RestartDependants,
            or_restart: false,
            wait: true,
        };
        let body = serde_json::to_vec(&request).map_err(|error| Fault::Odd(error.to_string()))?;
        let whole = async {
            let mut answer = self.ask("POST", &Path::new("/v1/jobs"), Some(&body), PATIENCE).await?;
            let mut found = None;
            while let Some(line) = self.line::<JobLine>(&mut answer.body).await? {
                match line {
                    // The unit may have been called by an alias; what is asked for is the first of its job.
                    JobLine::Outcome(outcome) if found.is_none() || outcome.unit == unit => {
                        found = Some(outcome)
                    }
                    JobLine::Done { .. } => break,
                    JobLine::Outcome(_)
                    | JobLine::Plan { .. }
                    | JobLine::Accepted { .. }
                    | JobLine::Progress { .. }
                    | JobLine::Lagged { .. } => {}
                }
            }
            found.ok_or_else(|| {
                Fault::Odd(format!("svinit at {} did not say what came of it", self.place.words()))
            })
        };
        tokio::time::timeout(patience, whole)
            .await
            .map_err(|_| Fault::Late(format!("svinit at {} has not done it in time", self.place.words())))?
    }

    pub(super) async fn follow(&self, unit: &str) -> Result<Lines, Fault> {
        let path = Path::new("/v1/events").units(&[unit.to_owned()]).with("initial", "true");
        let answer = self.ask("GET", &path, None, PATIENCE).await?;
        Ok(Lines { body: answer.body, whom: self.place.words() })
    }

    async fn ask(
        &self,
        method: &str,
        path: &Path,
        body: Option<&[u8]>,
        patience: Duration,
    ) -> Result<Answer, Fault> {
        let request = Request { method, path: path.as_str(), body, token: self.token.as_ref() };
        let answer = wire::ask(&self.place, &request, patience).await.map_err(|error| self.lost(&error))?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let status = answer.status;
        let bytes = answer.body.whole(ANSWER_MAX, PATIENCE).await.map_err(|error| self.lost(&error))?;
        Err(match serde_json::from_slice::<Refusal>(&bytes) {
            Ok(refusal) => match refusal.error.as_str() {
                "no_such_unit" => Fault::NoUnit(refusal.message),
                "not_permitted" => Fault::Denied(refusal.message),
                "shutting_down" => Fault::NotRunning(refusal.message),
                _ => Fault::Failed(refusal.message),
            },
            Err(_) => Fault::Odd(format!("{} answers {status}; is it svinit?", self.place.words())),
        })
    }

    async fn read<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, Fault> {
        let bytes = answer.body.whole(ANSWER_MAX, PATIENCE).await.map_err(|error| self.lost(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.odd(&error))
    }

    async fn line<T: DeserializeOwned>(&self, body: &mut Body) -> Result<Option<T>, Fault> {
        let Some(line) = body.line().await.map_err(|error| self.lost(&error))? else { return Ok(None) };
        serde_json::from_slice(&line).map(Some).map_err(|error| self.odd(&error))
    }

    fn odd(&self, error: &serde_json::Error) -> Fault {
        Fault::Odd(format!("cannot understand svinit at {}: {error}", self.place.words()))
    }

    fn lost(&self, error: &std::io::Error) -> Fault {
        fault::of_io(&format!("svinit at {}", self.place.words()), error)
    }
}

/// JSON values, from svinit itself.
pub struct Lines {
    body: Body,
    whom: String,
}

impl Lines {
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let line = self.body.line().await;
        line.map_err(|error| fault::of_io(&format!("svinit at {}", self.whom), &error))
    }
}
