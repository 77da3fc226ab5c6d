//! The guard's socket: takes requests, has them judged, asks the engine, and shows what may be seen of the answer.
//!
//! A container is looked at before it is touched, and then named by its number: a name may have gone to another one
//! meanwhile.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use http_body_util::BodyExt;
use http_body_util::Either;
use http_body_util::Full;
use http_body_util::Limited;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::body::Frame;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use serde_json::Value;
use serde_json::json;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::manager::guard::rules;
use crate::manager::guard::rules::Call;
use crate::manager::guard::rules::Permits;
use crate::manager::guard::shown;
use crate::manager::reach::wire;
use crate::manager::reach::wire::Place;

/// Connections at a time; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;

/// Bytes of a request's body, and for how long it may come.
const BODY_MAX: usize = 16 << 10;
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// For the head of an answer of the engine; a restart takes its own time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer that is not a stream.
const ANSWER_MAX: usize = 16 << 20;

/// Execs that are remembered; the oldest is forgotten, and can be asked about no more.
const EXECS_MAX: usize = 1024;

/// Pieces of a stream that a slow reader may be behind; then the engine waits.
const PIECES_MAX: usize = 64;

/// Where lines for people go: refusals, and what was done.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// What the guard is.
#[derive(Clone)]
pub struct Guard {
    engine: Place,
    permits: Permits,
    say: Say,
    execs: Arc<Mutex<VecDeque<Made>>>,
}

/// An exec that was made here.
#[derive(Clone, Debug)]
struct Made {
    id: String,
    /// It may be started once.
    is_started: bool,
}

type Shown = Response<Either<Full<Bytes>, Pieces>>;

impl Guard {
    /// In front of the engine at `socket`.
    #[must_use]
    pub fn new(socket: PathBuf, permits: Permits, say: Say) -> Self {
        Self { engine: Place::Unix(socket), permits, say, execs: Arc::default() }
    }

    /// Serves until it is dropped.
    pub async fn serve(self, listener: UnixListener) {
        let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let served = self.clone().visit(stream);
                    tokio::spawn(async move {
                        served.await;
                        drop(seat);
                    });
                }
                Err(error) => {
                    // Without a descriptor it would fail again at once.
                    (self.say)(&format!("cannot accept a connection: {error}"));
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    async fn visit(self, stream: UnixStream) {
        let service = service_fn(move |request: Request<Incoming>| {
            let guard = self.clone();
            async move { Ok::<_, Infallible>(guard.answer(request).await) }
        });
        // How a client ends is its own affair.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(32)
            .max_buf_size(16 << 10)
            .half_close(false)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Shown {
        let (parts, body) = request.into_parts();
        let (method, target) = (parts.method.as_str().to_owned(), parts.uri.to_string());
        let whole = timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX).collect()).await;
        let Ok(Ok(body)) = whole else {
            return self.refuse(&method, &target, "its body is too long or too slow");
        };
        // An upgrade would turn the connection into one that nobody reads.
        if parts.headers.contains_key(hyper::header::UPGRADE) {
            return self.refuse(&method, &target, "connections are not upgraded");
        }
        match rules::judge(&method, &target, &body.to_bytes(), self.permits) {
            Ok(call) => match self.carry_out(call).await {
                Ok(shown) => shown,
                Err(Refused::No(why)) => self.refuse(&method, &target, &why),
                Err(Refused::Engine(error)) => {
                    (self.say)(&format!("cannot reach the engine: {error}"));
                    said(
                        StatusCode::BAD_GATEWAY,
                        &json!({ "message": format!("the engine is out of reach: {error}") }),
                    )
                }
                Err(Refused::Answered(status, value)) => {
                    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                    said(status, &value)
                }
            },
            Err(why) => self.refuse(&method, &target, &why),
        }
    }

    fn refuse(&self, method: &str, target: &str, why: &str) -> Shown {
        let shown: String = target.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
        (self.say)(&format!("refused {method} {shown}: {why}"));
        said(
            StatusCode::FORBIDDEN,
            &json!({ "message": format!("the guard does not let this through: {why}") }),
        )
    }

    async fn carry_out(&self, call: Call) -> Result<Shown, Refused> {
        match call {
            Call::Version => Ok(said(StatusCode::OK, &shown::version(&self.value(&call).await?))),
            Call::List { .. } => Ok(said(StatusCode::OK, &shown::list(&self.value(&call).await?))),
            Call::Inspect { container } => {
                let value = self.managed(container).await?;
                Ok(said(StatusCode::OK, &shown::container(&value)))
            }
            Call::MakeExec { container, command } => {
                let container = id(&self.managed(container).await?)?;
                let words = command[1..].join(" ");
                let made = self.value(&Call::MakeExec { container: container.clone(), command }).await?;
                let exec = id(&made)?;
                self.remember(exec);
                (self.say)(&format!("svctl {words} in {}", &container[..container.len().min(12)]));
                Ok(said(StatusCode::CREATED, &shown::made(&made)))
            }
            Call::StartExec { ref exec } => {
                self.may_start(exec)?;
                let answer = self.ask(&call, PATIENCE).await?;
                Ok(stream(answer.body, "application/vnd.docker.multiplexed-stream", Some))
            }
            Call::InspectExec { ref exec } => {
                if !self.execs().iter().any(|made| made.id == *exec) {
                    return Err(Refused::No("this exec was not made here".to_owned()));
                }
                Ok(said(StatusCode::OK, &shown::exec(&self.value(&call).await?)))
            }
            Call::Restart { container, stop } => {
                let container = id(&self.managed(container).await?)?;
                (self.say)(&format!("restart of the container {}", &container[..container.len().min(12)]));
                let patience = Duration::from_secs(stop) + PATIENCE;
                self.ask(&Call::Restart { container, stop }, patience).await?;
                let empty = Either::Left(Full::default());
                let mut answer = Response::new(empty);
                *answer.status_mut() = StatusCode::NO_CONTENT;
                Ok(answer)
            }
            Call::Events => {
                let answer = self.ask(&call, PATIENCE).await?;
                Ok(events(answer.body))
            }
        }
    }

    /// The container, as the engine shows it, if it may be touched.
    async fn managed(&self, container: String) -> Result<Value, Refused> {
        let value = self.value(&Call::Inspect { container }).await?;
        if shown::is_managed(&value) {
            Ok(value)
        } else {
            Err(Refused::No("the container has no label svinit.managed=true".to_owned()))
        }
    }

    async fn value(&self, call: &Call) -> Result<Value, Refused> {
        let answer = self.ask(call, PATIENCE).await?;
        let bytes = answer.body.whole(ANSWER_MAX, PATIENCE).await.map_err(Refused::Engine)?;
        serde_json::from_slice(&bytes).map_err(|error| Refused::Engine(wire::odd(error.to_string())))
    }

    async fn ask(&self, call: &Call, patience: Duration) -> Result<wire::Answer, Refused> {
        let (method, path, body) = call.request();
        let request = wire::Request { method, path: &path, body: body.as_deref(), token: None };
        let answer = wire::ask(&self.engine, &request, patience).await.map_err(Refused::Engine)?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let status = answer.status;
        let bytes = answer.body.whole(ANSWER_MAX, PATIENCE).await.unwrap_or_default();
        let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Err(Refused::Answered(status, shown::problem(&value)))
    }

    fn execs(&self) -> MutexGuard<'_, VecDeque<Made>> {
        // Nobody panics while holding it.
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, id: String) {
        let mut execs = self.execs();
        if execs.len() >= EXECS_MAX {
            execs.pop_front();
        }
        execs.push_back(Made { id, is_started: false });
    }

    fn may_start(&self, id: &str) -> Result<(), Refused> {
        let mut execs = self.execs();
        match execs.iter_mut().find(|made| made.id == id) {
            Some(made) if !made.is_started => {
                made.is_started = true;
                Ok(())
            }
            Some(_) => Err(Refused::No("this exec was started before".to_owned())),
            None => Err(Refused::No("this exec was not made here".to_owned())),
        }
    }
}

/// Why there is nothing to show.
enum Refused {
    /// The guard's own no.
    No(String),
    /// The engine's, with its status.
    Answered(u16, Value),
    /// Nobody answers, or not sensibly.
    Engine(io::Error),
}

fn id(value: &Value) -> Result<String, Refused> {
    let id =
        value.get("Id").and_then(Value::as_str).filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    id.map(str::to_owned).ok_or_else(|| Refused::Engine(wire::odd("it has no number")))
}

fn said(status: StatusCode, value: &Value) -> Shown {
    let mut answer = Response::new(Either::Left(Full::from(value.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    answer
}

/// Passes pieces on as they come.
fn stream(
    mut body: wire::Body,
    kind: &'static str,
    show: impl Fn(Vec<u8>) -> Option<Vec<u8>> + Send + 'static,
) -> Shown {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    tokio::spawn(async move {
        loop {
            // Who reads no more ends it, also while the engine is silent.
            let piece = tokio::select! {
                piece = body.piece() => piece,
                () = sender.closed() => return,
            };
            let sent = match piece {
                Ok(Some(piece)) => match show(piece) {
                    Some(piece) => sender.send(Ok(piece)).await,
                    None => Ok(()),
                },
                Ok(None) => return,
                Err(error) => {
                    // Nothing that was cut short looks whole.
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    flowing(pieces, kind)
}

/// Passes events on, each as far as it is shown.
fn events(mut body: wire::Body) -> Shown {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    tokio::spawn(async move {
        loop {
            let line = tokio::select! {
                line = body.line() => line,
                () = sender.closed() => return,
            };
            let sent = match line {
                Ok(Some(line)) => {
                    let event =
                        serde_json::from_slice::<Value>(&line).ok().and_then(|value| shown::event(&value));
                    match event {
                        Some(event) => sender.send(Ok(format!("{event}\n").into_bytes())).await,
                        None => Ok(()),
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    flowing(pieces, "application/json")
}

fn flowing(pieces: mpsc::Receiver<io::Result<Vec<u8>>>, kind: &'static str) -> Shown {
    let mut answer = Response::new(Either::Right(Pieces(pieces)));
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    answer
}

/// A body that goes on for as long as pieces come.
pub struct Pieces(mpsc::Receiver<io::Result<Vec<u8>>>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0
            .poll_recv(cx)
            .map(|piece| piece.map(|piece| piece.map(|piece| Frame::data(Bytes::from(piece)))))
    }
}
