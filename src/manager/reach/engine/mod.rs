//! The Docker engine, as much of it as recovery needs: find containers, execute `svctl`, restart, follow events.
//!
//! There is no call here that makes a container, mounts, or runs anything but `svctl`. It works the same through
//! `svmanager guard`, which lets through exactly these calls.

pub mod answers;
pub mod fates;
pub mod frames;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::client::query::Path;
use crate::manager::reach::engine::answers::Container;
use crate::manager::reach::engine::answers::ExecState;
use crate::manager::reach::engine::answers::Happening;
use crate::manager::reach::engine::answers::Listed;
use crate::manager::reach::engine::answers::Made;
use crate::manager::reach::engine::answers::Problem;
use crate::manager::reach::engine::answers::Version;
use crate::manager::reach::engine::fates::End;
use crate::manager::reach::engine::fates::Fates;
use crate::manager::reach::engine::frames::Frames;
use crate::manager::reach::fault;
use crate::manager::reach::fault::Fault;
use crate::manager::reach::wire;
use crate::manager::reach::wire::Answer;
use crate::manager::reach::wire::Body;
use crate::manager::reach::wire::Place;
use crate::manager::reach::wire::Request;

/// Where `svctl` is in every image.
pub const SVCTL: &str = "/usr/local/bin/svctl";

/// What lets a `svctl` that listens end with whoever listens to it: with its stdin, which the engine closes then.
pub const UNTIL_EOF: &str = "--until-eof";

/// A container that may be touched has this label.
pub const MANAGED: &str = "svinit.managed=true";

/// What we speak at most, and what an engine has to speak at least: 19.03.
const VERSION_MAX: (u32, u32) = (1, 45);
const VERSION_MIN: (u32, u32) = (1, 40);

/// For an answer that needs no work.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a restart of a container may take beside its own timeout: an engine that is waited for too shortly looks as if
/// it had failed while it works.
const SLACK: Duration = Duration::from_secs(5);

/// What events of a restart of ours may come later than its answer.
const ECHO: Duration = Duration::from_secs(10);

/// Bytes of an answer at most: a list of a thousand containers.
const ANSWER_MAX: usize = 16 << 20;

/// One engine.
#[derive(Debug)]
pub struct Engine {
    place: Place,
    version: OnceCell<String>,
    fates: Mutex<Fates>,
    changed: watch::Sender<()>,
}

/// What happens to containers, as it happens.
pub struct Happenings(Body);

impl Happenings {
    /// The next one; `None`: the stream has ended.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn next(&mut self) -> Result<Option<Happening>, Fault> {
        while let Some(line) = self.0.line().await.map_err(|error| fault::of_io("the engine", &error))? {
            if let Ok(happening) = serde_json::from_slice(&line) {
                return Ok(Some(happening));
            }
        }
        Ok(None)
    }
}

/// What came of an exec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit status.
    pub code: i64,
    /// What it has printed, capped.
    pub stdout: Vec<u8>,
    /// What it has complained about, capped.
    pub stderr: Vec<u8>,
}

impl Engine {
    /// Behind `socket`; it is first asked when it is needed.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self {
            place: Place::Unix(socket),
            version: OnceCell::new(),
            fates: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Containers that run or do not, of `labels` and [`MANAGED`].
    ///
    /// # Errors
    /// As [`Fault`] says.
    pub async fn list(&self, labels: &[String]) -> Result<Vec<Listed>, Fault> {
        let labels: Vec<&str> = labels.iter().map(String::as_str).chain([MANAGED]).collect();
        let filters = json!({ "label": labels }).to_string();
        let path = Path::new("/containers/json").with("all", "true").with("filters", &filters);
        self.get(&path).await
    }

    /// One container, by name or number.
    ///
    /// # Errors
    /// As [`Fault`] says.
    pub async fn inspect(&self, container: &str) -> Result<Container, Fault> {
        self.get(&Path::new("/containers").segment(container).segment("json")).await
    }

    /// Executes `svctl` with `args` in a container and waits for its end, for `patience`. Its own `--timeout` has to be
    /// shorter: the engine does not end what nobody waits for any more.
    ///
    /// # Errors
    /// As [`Fault`] says. That it ended with another status than 0 is none.
    pub async fn svctl(&self, container: &str, args: &[&str], patience: Duration) -> Result<Ran, Fault> {
        let exec = self.make_exec(container, args).await?;
        let mut body = self.start_exec(&exec).await?;
        let mut frames = Frames::default();
        let read = async {
            while let Some(piece) = body.piece().await.map_err(|error| self.lost(&error))? {
                frames
                    .take(&piece)
                    .map_err(|why| Fault::Odd(format!("cannot read the output of svctl: {why}")))?;
            }
            Ok(())
        };
        timeout(patience, read)
            .await
            .map_err(|_| Fault::Late(format!("svctl in {container} has not ended in time")))??;
        if frames.is_torn() {
            return Err(Fault::Odd("the output of svctl is cut short".to_owned()));
        }
        let code = self.code(container, &exec).await?;
        Ok(Ran { code, stdout: frames.stdout, stderr: frames.stderr })
    }

    /// Begins `svctl` with `args`, whose output is to be followed. It ends when the body is dropped.
    ///
    /// # Errors
    /// As [`Fault`] says.
    pub async fn follow_svctl(&self, container: &str, args: &[&str]) -> Result<Body, Fault> {
        let args: Vec<&str> = args.iter().copied().chain([UNTIL_EOF]).collect();
        let exec = self.make_exec(container, &args).await?;
        self.start_exec(&exec).await
    }

    async fn make_exec(&self, container: &str, args: &[&str]) -> Result<String, Fault> {
        let command: Vec<&str> = std::iter::once(SVCTL).chain(args.iter().copied()).collect();
        let body = exec_of(&command);
        let path = Path::new("/containers").segment(container).segment("exec");
        let made: Made = self.post(&path, Some(&body), PATIENCE).await?;
        Ok(made.id)
    }

    async fn start_exec(&self, exec: &str) -> Result<Body, Fault> {
        let path = Path::new("/exec").segment(exec).segment("start");
        let answer =
            self.ask("POST", &path, Some(&json!({ "Detach": false, "Tty": false })), PATIENCE).await?;
        Ok(self.accepted(answer).await?.body)
    }

    /// A program that is not there is answered 200 as well; only its status, 126 or 127, tells.
    async fn code(&self, container: &str, exec: &str) -> Result<i64, Fault> {
        let state: ExecState = self.get(&Path::new("/exec").segment(exec).segment("json")).await?;
        match state.exit_code {
            Some(code @ (126 | 127)) => Err(Fault::NoSvctl(format!(
                "cannot run {SVCTL} in {container}: status {code} (does its image have svinit?)"
            ))),
            Some(code) => Ok(code),
            None => Err(Fault::Odd(format!("svctl in {container} has ended without a status"))),
        }
    }

    /// Restarts the container of this number, which gets `stop` to end by itself.
    ///
    /// # Errors
    /// As [`Fault`] says.
    pub async fn restart(&self, container: &str, stop: Duration) -> Result<(), Fault> {
        self.with_fates(|fates| fates.begin_own(container, stop + SLACK + ECHO, Instant::now()));
        let path = Path::new("/containers")
            .segment(container)
            .segment("restart")
            .with("t", &stop.as_secs().to_string());
        let answer = self.ask("POST", &path, None, stop + SLACK).await?;
        self.accepted(answer).await.map(drop)
    }

    /// What happens to containers with [`MANAGED`] from now on. One task follows it, for ever, and tells it by
    /// [`Engine::happened`].
    ///
    /// # Errors
    /// As [`Fault`] says.
    pub async fn events(&self) -> Result<Happenings, Fault> {
        let filters = json!({ "type": ["container"], "label": [MANAGED] }).to_string();
        let answer = self.ask("GET", &Path::new("/events").with("filters", &filters), None, PATIENCE).await?;
        let body = self.accepted(answer).await?.body;
        // What happened before is known to nobody.
        self.with_fates(Fates::forget);
        self.changed.send_replace(());
        Ok(Happenings(body))
    }

    /// This has happened. Whether it may change which containers there are and how they are; then who watches them is woken.
    pub fn happened(&self, happening: &Happening) -> bool {
        let is_news = self.with_fates(|fates| fates.step(happening, Instant::now()));
        if is_news {
            self.changed.send_replace(());
        }
        is_news
    }

    /// Told whenever containers are to be looked at again.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// How the container of this number has ended; `None`: nobody has seen it.
    pub fn end(&self, container: &str) -> Option<End> {
        self.with_fates(|fates| fates.end(container, Instant::now()))
    }

    fn with_fates<T>(&self, with: impl FnOnce(&mut Fates) -> T) -> T {
        with(&mut self.fates.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn get<T: DeserializeOwned>(&self, path: &Path) -> Result<T, Fault> {
        let answer = self.ask("GET", path, None, PATIENCE).await?;
        self.read(self.accepted(answer).await?).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &Path,
        body: Option<&serde_json::Value>,
        patience: Duration,
    ) -> Result<T, Fault> {
        let answer = self.ask("POST", path, body, patience).await?;
        self.read(self.accepted(answer).await?).await
    }

    async fn read<T: DeserializeOwned>(&self, answer: Answer) -> Result<T, Fault> {
        let bytes = answer.body.whole(ANSWER_MAX, PATIENCE).await.map_err(|error| self.lost(&error))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Fault::Odd(format!("cannot understand the engine: {error}")))
    }

    async fn ask(
        &self,
        method: &str,
        path: &Path,
        body: Option<&serde_json::Value>,
        patience: Duration,
    ) -> Result<Answer, Fault> {
        let version = self.version.get_or_try_init(|| self.negotiate()).await?;
        let path = format!("/v{version}{}", path.as_str());
        self.ask_plainly(method, &path, body, patience).await
    }

    async fn ask_plainly(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
        patience: Duration,
    ) -> Result<Answer, Fault> {
        let body = body.map(|body| body.to_string().into_bytes());
        let request = Request { method, path, body: body.as_deref(), token: None };
        wire::ask(&self.place, &request, patience).await.map_err(|error| self.lost(&error))
    }

    /// The newest version that both speak.
    async fn negotiate(&self) -> Result<String, Fault> {
        let answer = self.ask_plainly("GET", "/version", None, PATIENCE).await?;
        let version: Version = self.read(self.accepted(answer).await?).await?;
        agree(&version)
    }

    async fn accepted(&self, answer: Answer) -> Result<Answer, Fault> {
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let status = answer.status;
        let bytes = answer.body.whole(ANSWER_MAX, PATIENCE).await.unwrap_or_default();
        let words = serde_json::from_slice::<Problem>(&bytes).map_or_else(
            |_| format!("the engine answers {status}"),
            |problem| problem.message.trim().to_owned(),
        );
        Err(refused(status, words))
    }

    fn lost(&self, error: &std::io::Error) -> Fault {
        fault::of_io(&format!("the engine at {}", self.place.words()), error)
    }
}

/// The body that an exec is made from. Its stdin, to which nothing is ever written, is attached where `command` ends with it.
pub fn exec_of<S: AsRef<str> + Serialize>(command: &[S]) -> serde_json::Value {
    let mut body = json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": command });
    if is_until_eof(command) {
        body["AttachStdin"] = json!(true);
    }
    body
}

/// Whether a command ends with its stdin.
pub fn is_until_eof<S: AsRef<str>>(command: &[S]) -> bool {
    command.iter().any(|word| word.as_ref() == UNTIL_EOF)
}

fn agree(version: &Version) -> Result<String, Fault> {
    let number = |text: &str| -> Option<(u32, u32)> {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let odd = || Fault::Odd(format!("the engine speaks version {:?} of its API, which is none", version.api));
    let theirs = number(&version.api).ok_or_else(odd)?;
    let least = version.least.as_deref().and_then(number).unwrap_or(VERSION_MIN);
    let ours = theirs.min(VERSION_MAX);
    if ours < VERSION_MIN || ours < least {
        let (min, max) = (VERSION_MIN, VERSION_MAX);
        return Err(Fault::Odd(format!(
            "the engine speaks {} to {} of its API, and svmanager {}.{} to {}.{}",
            version.least.as_deref().unwrap_or("?"),
            version.api,
            min.0,
            min.1,
            max.0,
            max.1
        )));
    }
    Ok(format!("{}.{}", ours.0, ours.1))
}

/// What the engine says, as a state of the container.
fn refused(status: u16, words: String) -> Fault {
    match status {
        403 => Fault::Denied(words),
        404 => Fault::NoContainer(words),
        409 if words.contains("paused") => Fault::Paused(words),
        // Of one that is being restarted as well: it will be asked again.
        409 => Fault::NotRunning(words),
        304 => Fault::Failed("the container is in that state already".to_owned()),
        _ => Fault::Failed(words),
    }
}

#[cfg(test)]
mod tests {
    use super::agree;
    use super::answers::Version;
    use super::refused;

    fn version(api: &str, least: &str) -> Version {
        Version { api: api.to_owned(), least: Some(least.to_owned()) }
    }

    #[test]
    fn the_newest_version_that_both_speak_is_spoken() {
        assert_eq!(agree(&version("1.41", "1.12")).unwrap(), "1.41");
        assert_eq!(agree(&version("1.53", "1.44")).unwrap(), "1.45");
        assert_eq!(agree(&version("1.40", "1.12")).unwrap(), "1.40");
        for (api, least) in [("1.39", "1.12"), ("1.60", "1.50"), ("2", "1"), ("", "")] {
            assert!(agree(&version(api, least)).is_err(), "{api}");
        }
    }

    #[test]
    fn answers_of_failure_are_states_of_the_container() {
        for (status, words, kind) in [
            (404, "No such container: x", "no-container"),
            (409, "Container abc is paused, unpause the container before exec", "paused"),
            (409, "container abc is not running", "not-running"),
            (409, "Container abc is restarting, wait until the container is running", "not-running"),
            (403, "the guard does not let this through", "denied"),
            (500, "oh no", "failed"),
        ] {
            assert_eq!(refused(status, words.to_owned()).kind(), kind, "{words}");
        }
    }
}
