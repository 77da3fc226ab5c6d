//! The control socket as it is served, with nobody behind it: jobs are refused, logs and figures are empty.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use svinit::api::command::JobRequest;
use svinit::client::head;
use svinit::control::peer::Policy;
use svinit::control::server;
use svinit::lifecycle::supervisor::{Settings, Supervisor};
use svinit::lifecycle::time::Time;
use svinit::runtime::handle::{Ask, Board, Handle, Info, Logs, Program, Reader};
use svinit::runtime::update::Unplanned;
use svinit::units::reading;
use svinit::units::source::Source;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::target::{Target, panicked_since, panics};
use crate::wire::wait;

/// Longer than any answer takes; the time bound of a head that does not end is not waited for, since we close.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a stream that does not end is listened to.
const FOLLOWED: Duration = Duration::from_millis(10);

thread_local! {
    /// Served by the runtime of this thread as long as somebody waits on it.
    static SERVED: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// Whole requests, or what pretends to be one.
pub const CONTROL: Target = Target {
    name: "control",
    read: |bytes| {
        let before = panics();
        let answer = wait(ask(bytes))?;
        if panicked_since(before) {
            return Err("the server has panicked".to_owned());
        }
        round_trip(bytes)?;
        judge(&answer)
    },
    dictionary: &[
        "GET ",
        "POST ",
        "HEAD ",
        "DELETE ",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        "Host: x\r\n",
        "Content-Length: ",
        "Transfer-Encoding: chunked\r\n",
        "Content-Type: application/json\r\n",
        "Connection: close\r\n",
        "\r\n\r\n",
        "\r\n",
        "Expect: 100-continue\r\n",
        "/v1/units",
        "/v1/jobs",
        "/v1/logs",
        "/v1/events",
        "/v1/health/",
        "/v1/shutdown",
        "/v1/supervisor",
        "/definition",
        "/environment",
        "?usage=true",
        "&units=",
        "?lines=5&follow=true",
        "initial=true",
        "%2e%2e",
        "%00",
        "{\"verb\":\"restart\",\"units\":[\"web\"]}",
        "\"verb\"",
        "\"units\"",
        "\"signal\"",
        "[\"all\"]",
        "\"w*b\"",
        "\"tree\":true",
        "\"wait\":false",
        "web",
        "0\r\n\r\n",
        "5\r\nhello\r\n",
    ],
    most: 20_000,
    runs: 1_000,
};

async fn ask(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let path = SERVED.with_borrow_mut(|served| served.get_or_insert_with(serve).path().join("sock"));
    let told = |error: std::io::Error| error.to_string();
    let mut stream = UnixStream::connect(path).await.map_err(told)?;
    let mut answer = Vec::new();
    let exchange = async {
        let (mut from, mut to) = stream.split();
        // It may have heard enough before all is sent, and closed: that is an answer too.
        let send = async {
            let _ = to.write_all(bytes).await;
            let _ = to.shutdown().await;
        };
        let read = from.read_to_end(&mut answer);
        let _ = tokio::join!(send, read);
    };
    // Whoever has asked to be told what happens, and then asks for half of something more, is told.
    let follows = [&b"/v1/events"[..], b"follow"]
        .iter()
        .any(|word| bytes.windows(word.len()).any(|part| part == *word));
    match timeout(if follows { FOLLOWED } else { PATIENCE }, exchange).await {
        Err(_) if !follows => Err("the connection stays open for ever".to_owned()),
        Ok(()) | Err(_) => Ok(answer),
    }
}

/// To be called on the runtime.
fn serve() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let sources = [
        Source::unit("/u/web.toml", "command = [\"true\"]\naliases = [\"www\"]\n"),
        Source::unit("/u/db.toml", "command = [\"true\"]\n"),
    ];
    let set = reading::read(&sources, &|_| None).unwrap().set;
    let settings = Settings { seed: 1, shutdown_timeout: PATIENCE, fork_rate: 50, limits_enforced: false };
    let views = Supervisor::new(&set, settings, Time::ZERO).views();
    let info = Info {
        started: Time::ZERO,
        pid: 1,
        unit_paths: vec!["/u".into()],
        http: None,
        tracking: "tag",
        wall_us_at_start: 0,
        clock: || Time::ZERO,
        effective: svinit::units::show::effective,
        program: Program::default(),
    };
    let (asks, mut asked) = mpsc::channel(64);
    let handle =
        Handle::new(Reader::new(Board::new(Arc::new(set), views, info)).with_usage(asks.clone()), asks);
    let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
    let policy =
        Policy { own_uid: nix::unistd::geteuid().as_raw(), group: None, allow_other_namespaces: true };
    tokio::spawn(server::serve(listener, handle, policy, Vec::new()));
    tokio::spawn(async move {
        while let Some(ask) = asked.recv().await {
            match ask {
                Ask::Logs { reply, .. } => drop(reply.send(Logs { kept: Vec::new(), coming: None })),
                Ask::Usage { reply, .. } => drop(reply.send(Default::default())),
                Ask::Environment { reply, .. } => drop(reply.send(Ok(Default::default()))),
                Ask::Update { reply, .. } => {
                    drop(reply.send(Err(Unplanned::Refused("nothing is updated here".to_owned()))));
                }
                Ask::Job { .. } | Ask::Upgrade { .. } | Ask::Shutdown { .. } | Ask::ReopenLogs => {}
            }
        }
    });
    dir
}

/// What is read as a job is the same when it is written and read again.
fn round_trip(bytes: &[u8]) -> Result<(), String> {
    let body = head::end_of(bytes).map_or(bytes, |end| &bytes[end..]);
    let Ok(request) = serde_json::from_slice::<JobRequest>(body) else { return Ok(()) };
    let written = serde_json::to_string(&request).map_err(|error| error.to_string())?;
    match serde_json::from_str::<JobRequest>(&written) {
        Ok(again) if again == request => Ok(()),
        again => Err(format!("{request:?} is written {written}, and read {again:?}")),
    }
}

/// Nothing, or answers of HTTP of which our own client understands the first.
fn judge(answer: &[u8]) -> Result<(), String> {
    if answer.is_empty() {
        return Ok(());
    }
    let shown = || String::from_utf8_lossy(&answer[..answer.len().min(500)]).into_owned();
    if !answer.starts_with(b"HTTP/1.") {
        return Err(format!("no HTTP: {}", shown()));
    }
    let end = head::end_of(answer).ok_or_else(|| format!("no whole head: {}", shown()))?;
    let head = head::parse(&answer[..end]).map_err(|why| format!("{why}: {}", shown()))?;
    if head.status >= 500 && head.status != 503 {
        return Err(format!("it is our own fault: {}", shown()));
    }
    let (length, body) = match head.framing {
        head::Framing::Length(length) => (usize::try_from(length).unwrap_or(usize::MAX), &answer[end..]),
        head::Framing::Chunked | head::Framing::UntilClose => return Ok(()),
    };
    let is_json = answer[..end].windows(16).any(|part| part.eq_ignore_ascii_case(b"application/json"));
    // The answer to HEAD names a length and has no body.
    let body = &body[..length.min(body.len())];
    if is_json
        && body.len() == length
        && length > 0
        && serde_json::from_slice::<Value>(body).is_err()
        && !body.starts_with(b"HTTP/")
    {
        return Err(format!("no JSON: {}", shown()));
    }
    Ok(())
}
