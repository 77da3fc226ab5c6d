//! Connections to svinit: they are left to the next svinit, which goes on with them.
//!
//! A connection can be left when nothing was asked that has no answer yet, or when the answer is one that goes on; and only
//! when all that was said is on its way: a client that does not read loses its connection. What an answer is about is the
//! server's business; here it is a text.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::{OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{broadcast, mpsc};

use crate::lifecycle::event::JobId;
use crate::logs::line::Line;
use crate::os::handover::{Kept, Left, Luggage};
use crate::runtime::handle::{Change, JobNote};

/// How the rest of an answer is marked in its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Framing {
    /// Each piece with its length before it, as HTTP/1.1 has it.
    Chunked,
    /// As it is, until the connection ends.
    Plain,
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    fd: RawFd,
    door: Door,
    /// Everything that was to be written to it has been.
    is_written: AtomicBool,
    /// Something was read of it that has no answer yet.
    is_asked: AtomicBool,
    /// There is an answer, and it has not been written yet.
    is_answered: AtomicBool,
    answer: Mutex<Option<Going>>,
    /// Nothing new is to be read; shared by all connections.
    is_settling: Arc<AtomicBool>,
    /// Who is to be woken when it may be read again.
    reader: Mutex<Option<Waker>>,
}

/// Where a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Door {
    /// The control socket.
    Control,
    /// The listener of `/health`.
    Public,
    /// The control API over TCP.
    Remote,
}

/// An answer that goes on.
#[derive(Debug)]
struct Going {
    framing: Framing,
    topic: Value,
    job: Option<JobId>,
    /// Tells whether pieces of it wait.
    has_waiting: Waiting,
}

/// Asked whether pieces wait.
struct Waiting(Box<dyn Fn() -> bool + Send>);

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

impl Wire {
    /// The answer on this connection goes on, about `topic`. `has_waiting` tells whether pieces of it wait.
    pub fn goes_on(
        &self,
        framing: Framing,
        topic: Value,
        job: Option<JobId>,
        has_waiting: impl Fn() -> bool + Send + 'static,
    ) {
        *self.lock() = Some(Going { framing, topic, job, has_waiting: Waiting(Box::new(has_waiting)) });
    }

    /// What it is about is different from here on.
    pub fn set_topic(&self, topic: Value) {
        if let Some(going) = &mut *self.lock() {
            going.topic = topic;
        }
    }

    /// It has ended.
    pub fn ends(&self) {
        *self.lock() = None;
    }

    /// Whether all that was to be written has been.
    pub fn set_written(&self, is_written: bool) {
        self.is_written.store(is_written, Ordering::Relaxed);
        if is_written && self.is_answered.swap(false, Ordering::Relaxed) {
            self.is_asked.store(false, Ordering::Relaxed);
        }
    }

    /// Something was read.
    pub fn asks(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
    }

    /// Nothing is to be read of it now. A request that was begun is read to its end.
    fn is_held(&self, cx: &Context<'_>) -> bool {
        if !self.is_settling.load(Ordering::Relaxed) || self.is_asked.load(Ordering::Relaxed) {
            return false;
        }
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        true
    }

    /// There is an answer, which is about to be written.
    pub fn is_about_to_be_answered(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
    }

    /// It can be left as it is.
    fn is_settled(&self) -> bool {
        let is_quiet = self.is_written.load(Ordering::Relaxed) && !self.is_asked.load(Ordering::Relaxed);
        is_quiet && self.lock().as_ref().is_none_or(|going| !(going.has_waiting.0)())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Going>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, luggage: &mut Luggage) -> Option<SavedClient> {
        if !self.is_settled() {
            return None;
        }
        let answer = match &*self.lock() {
            // An answer that has an end of its own is nothing that the next svinit could go on with.
            Some(going) if going.topic.is_null() => return None,
            Some(Going { framing, topic, job, .. }) => {
                Some(SavedAnswer { framing: *framing, topic: topic.clone(), job: *job })
            }
            None => None,
        };
        Some(SavedClient { fd: luggage.number(self.fd), door: self.door, answer })
    }
}

/// All connections to svinit.
#[derive(Clone, Debug, Default)]
pub struct Clients(Arc<Mutex<Connected>>);

#[derive(Debug, Default)]
struct Connected {
    last: u64,
    wires: BTreeMap<u64, Arc<Wire>>,
    is_settling: Arc<AtomicBool>,
}

/// A connection among the [`Clients`] for as long as this lives, which must not be longer than the descriptor is open.
#[derive(Debug)]
pub struct Plugged {
    clients: Clients,
    id: u64,
    /// The connection.
    pub wire: Arc<Wire>,
}

impl Clients {
    /// Adds the connection of this number.
    #[must_use]
    pub fn plug(&self, fd: RawFd, door: Door) -> Plugged {
        let mut connected = self.lock();
        let wire = Arc::new(Wire {
            is_settling: Arc::clone(&connected.is_settling),
            reader: Mutex::new(None),
            fd,
            door,
            is_written: AtomicBool::new(true),
            is_asked: AtomicBool::new(false),
            is_answered: AtomicBool::new(false),
            answer: Mutex::new(None),
        });
        connected.last += 1;
        let id = connected.last;
        connected.wires.insert(id, Arc::clone(&wire));
        drop(connected);
        Plugged { clients: self.clone(), id, wire }
    }

    /// From here on nothing new is read, so that all come to rest; or it is again.
    pub fn settle(&self, is_settling: bool) {
        let connected = self.lock();
        connected.is_settling.store(is_settling, Ordering::Relaxed);
        if !is_settling {
            for wire in connected.wires.values() {
                let waker = wire.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
                waker.into_iter().for_each(Waker::wake);
            }
        }
    }

    /// All of them can be left as they are.
    #[must_use]
    pub fn are_settled(&self) -> bool {
        self.lock().wires.values().all(|wire| wire.is_settled())
    }

    /// Those that can be left to the next svinit.
    #[must_use]
    pub fn save(&self, luggage: &mut Luggage) -> Vec<SavedClient> {
        self.lock().wires.values().filter_map(|wire| wire.save(luggage)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Connected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Plugged {
    fn drop(&mut self) {
        self.clients.lock().wires.remove(&self.id);
    }
}

/// As it is left to the next svinit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedClient {
    fd: Kept,
    door: Door,
    /// `None`: nothing was asked that has no answer yet.
    answer: Option<SavedAnswer>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedAnswer {
    framing: Framing,
    topic: Value,
    job: Option<JobId>,
}

/// A connection that was left.
pub struct Rejoined {
    /// Itself.
    pub fd: OwnedFd,
    /// Where it came in.
    pub door: Door,
    /// Its answer that goes on.
    pub answer: Option<Answer>,
}

/// An answer that goes on, with everything that there may be to tell from here on.
pub struct Answer {
    /// How it is marked.
    pub framing: Framing,
    /// What it is about.
    pub topic: Value,
    /// Answers to its command.
    pub notes: Option<mpsc::UnboundedReceiver<JobNote>>,
    /// Changes of units.
    pub changes: broadcast::Receiver<Arc<Change>>,
    /// Lines.
    pub lines: broadcast::Receiver<Arc<Line>>,
}

impl SavedClient {
    /// Goes on with it. `job` opens the command again of which it awaits the answer.
    pub(super) fn rejoin(
        self,
        left: &mut Left,
        changes: impl FnOnce() -> broadcast::Receiver<Arc<Change>>,
        lines: impl FnOnce() -> broadcast::Receiver<Arc<Line>>,
        job: impl FnOnce(JobId) -> mpsc::UnboundedReceiver<JobNote>,
    ) -> Option<Rejoined> {
        let Self { fd, door, answer } = self;
        let fd = left.fd(fd)?;
        let answer = answer.map(|SavedAnswer { framing, topic, job: id }| Answer {
            framing,
            topic,
            notes: id.map(job),
            changes: changes(),
            lines: lines(),
        });
        Some(Rejoined { fd, door, answer })
    }
}

/// A connection of which is known what can be left of it: hyper flushes when it has nothing more to write.
pub struct Watched<S> {
    stream: S,
    wire: Arc<Wire>,
}

impl<S> Watched<S> {
    /// Watches `stream`.
    pub fn new(stream: S, wire: Arc<Wire>) -> Self {
        Self { stream, wire }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.wire.is_held(cx) {
            return Poll::Pending;
        }
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if into.filled().len() > before {
            self.wire.asks();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.set_written(false);
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.set_written(false);
        Pin::new(&mut self.stream).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.wire.set_written(matches!(flushed, Poll::Ready(Ok(()))));
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
