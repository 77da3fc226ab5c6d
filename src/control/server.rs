//! The socket's accept loop: who comes in, how many, and for how long.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};

use crate::api::status::Refusal;
use crate::control::events;
use crate::control::jobs;
use crate::control::logs;
use crate::control::peer::{Access, Peer, Policy, Who};
use crate::control::refusal::Refused;
use crate::control::routes::app;
use crate::control::stream::{self, Form, Line, Topic};
use crate::http::door::{self, Limits, Pause};
use crate::runtime::clients::{Answer, Clients, Door, Rejoined, Watched, Wire};
use crate::runtime::handle::Handle;

/// Connections at a time. A further one is answered 503 at once.
const CONNECTIONS_MAX: usize = 64;

/// Of those, of one user that is neither root nor svinit's own.
const CONNECTIONS_OF_ONE_MAX: usize = 8;

/// The head may take as long as an idle connection may stay. Streams live on.
pub(super) const LIMITS: Limits =
    Limits { head_timeout: Duration::from_secs(5), head_bytes: 16 << 10, headers: 64 };

/// Who makes a request, as its connection was judged.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Who.
    pub who: Who,
    /// What it may do, or why nothing.
    pub admitted: Result<Access, String>,
}

/// Serves until it is dropped.
pub async fn serve(listener: UnixListener, handle: Handle, policy: Policy, rejoined: Vec<Rejoined>) {
    let app = app(handle.clone());
    let seats = Seats::default();
    let clients = handle.clients().clone();
    for Rejoined { fd, answer, .. } in rejoined {
        let stream = UnixStream::from_std(std::os::unix::net::UnixStream::from(fd));
        match (stream, answer) {
            (Ok(stream), Some(answer)) => go_on(stream, Door::Control, answer, &handle, seats.take(None)),
            (Ok(stream), None) => receive(stream, &app, &seats, &policy, &clients),
            // It is none, and nothing is lost with it.
            (Err(_), _) => {}
        }
    }
    let mut pause = Pause::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) if !door::leaves_room(&stream) => {
                turn_away(&stream);
                drop(stream);
                pause.after("the control socket", &door::few_are_left()).await;
            }
            Ok((stream, _)) => {
                pause.over("the control socket");
                receive(stream, &app, &seats, &policy, &clients);
            }
            Err(error) => pause.after("the control socket", &error).await,
        }
    }
}

fn receive(stream: UnixStream, app: &Router, seats: &Seats, policy: &Policy, clients: &Clients) {
    let Ok(credentials) = stream.peer_cred() else {
        // It was gone before it could be looked at.
        return;
    };
    let peer = Peer { pid: credentials.pid(), uid: credentials.uid(), gid: credentials.gid() };
    let admitted = policy.admit(&peer);
    // A refused peer is counted by its user too, whoever it says it is: strangers must not take all seats.
    let counted = if admitted.is_ok() && policy.is_owner(&peer) { None } else { Some(peer.uid) };
    match seats.take(counted) {
        Some(seat) => {
            let plugged = clients.plug(stream.as_raw_fd(), Door::Control);
            let visited = visit(
                stream,
                app.clone(),
                Visitor { who: Who::Local(peer), admitted },
                Arc::clone(&plugged.wire),
            );
            tokio::spawn(async move {
                visited.await;
                drop(plugged);
                drop(seat);
            });
        }
        None => turn_away(&stream),
    }
}

/// Goes on with an answer that a svinit before this one has begun.
pub(super) fn go_on(
    stream: impl AsyncRead + AsyncWrite + AsRawFd + Unpin + Send + 'static,
    door: Door,
    answer: Answer,
    handle: &Handle,
    seat: Option<Seat>,
) {
    let Answer { framing, topic, notes, changes, lines } = answer;
    // One whose topic nobody understands any more sees its connection end.
    let Ok(topic) = serde_json::from_value::<Topic>(topic) else { return };
    let plugged = handle.clients().plug(stream.as_raw_fd(), door);
    let (wire, reader) = (Arc::clone(&plugged.wire), handle.reader().clone());
    let line = Line { wire: Arc::clone(&wire), framing, topic: topic.clone() };
    tokio::spawn(async move {
        match topic {
            Topic::Job(story) => {
                // Without its command it cannot be told what became of it.
                let Some(notes) = notes else { return };
                let task = |sink| jobs::go_on(sink, reader, story, wire, notes, changes);
                stream::go_on(stream, line, Form::Lines, task).await;
            }
            Topic::Events { units, form } => {
                stream::go_on(stream, line, form, |sink| events::go_on(sink, reader, units, changes)).await;
            }
            Topic::Logs { units } => {
                stream::go_on(stream, line, Form::Lines, |sink| logs::go_on(sink, units, lines)).await;
            }
            // An answer with an end of its own is never left.
            Topic::Whole => {}
            Topic::Upgrade => stream::go_on(stream, line, Form::Lines, async |_| Ok(())).await,
        }
        drop((seat, plugged));
    });
}

async fn visit(stream: UnixStream, app: Router, visitor: Visitor, wire: Arc<Wire>) {
    let app = TowerToHyperService::new(app);
    let stream = Watched::new(stream, Arc::clone(&wire));
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(visitor.clone());
        request.extensions_mut().insert(Arc::clone(&wire));
        let (answer, wire) = (app.call(request), Arc::clone(&wire));
        async move {
            let answer = answer.await;
            wire.is_about_to_be_answered();
            answer
        }
    });
    door::connection(stream, service, LIMITS).await;
}

/// Tells a connection that there are too many, without giving it anything that could wait.
fn turn_away(stream: &UnixStream) {
    let refused =
        Refused::busy("there are too many connections to the control socket; close some, or try again");
    let _ = stream.try_write(canned(&refused.refusal).as_bytes());
}

pub(super) fn canned(refusal: &Refusal) -> String {
    let body = serde_json::to_string(refusal).expect("texts in a struct are always JSON");
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// How many are here, and of which users.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats {
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_user: BTreeMap<u32, usize>,
}

/// One connection; dropping it makes room for another.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    user: Option<u32>,
}

impl Seats {
    /// `user` is the one to count it for, if any.
    pub(super) fn take(&self, user: Option<u32>) -> Option<Seat> {
        let mut taken = self.lock();
        if taken.all >= CONNECTIONS_MAX {
            return None;
        }
        if let Some(user) = user {
            let of_one = taken.by_user.entry(user).or_default();
            if *of_one >= CONNECTIONS_OF_ONE_MAX {
                return None;
            }
            *of_one += 1;
        }
        taken.all += 1;
        Some(Seat { seats: self.clone(), user })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        // Nobody panics while holding it.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.all -= 1;
        if let Some(user) = self.user {
            let left = taken.by_user.get(&user).map_or(0, |count| count - 1);
            if left == 0 {
                taken.by_user.remove(&user);
            } else {
                taken.by_user.insert(user, left);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
