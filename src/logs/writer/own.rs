//! What svinit itself says: straight into the streams, and into an inbox from which the driver keeps it in memory.
//!
//! Any thread may speak at any time, so this must not wait for the driver.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::logs::format::{Head, OWN_NAME, Origin, Stamp};
use crate::logs::line::Stream;
use crate::logs::queue::{Chunk, Queue, SourceId};
use crate::logs::writer::{Shared, To, lock};
use crate::os::clock;
use crate::units::spec::{LogFormat, LogLevel, WhenBlocked};

/// Own lines that wait for the driver to keep them; then the oldest are not kept in memory.
const INBOX_MAX: usize = 256;

/// Bytes of own lines that may wait for a blocked stderr; then the oldest go and are counted.
const SHARE: u64 = 128 << 10;

/// Longest own line; the rest of a longer one is cut off.
const TEXT_MAX: usize = 8 << 10;

/// Own lines go to stderr, so that `docker run IMAGE COMMAND | ...` gets what COMMAND wrote and nothing else.
pub(super) const OWN_OUT: usize = 1;

/// Something that svinit has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) wall_us: i64,
    /// Whom it is about, if not svinit.
    pub(crate) unit: Option<Arc<str>>,
    pub(crate) text: String,
}

pub(super) struct Voice {
    source: SourceId,
    format: LogFormat,
    inbox: Mutex<VecDeque<Message>>,
    is_followed: AtomicBool,
}

impl Voice {
    pub(super) fn new(queue: &mut Queue, format: LogFormat) -> Self {
        let source = queue.add(Arc::from(OWN_NAME), SHARE, WhenBlocked::DropOldest);
        Self { source, format, inbox: Mutex::default(), is_followed: AtomicBool::new(false) }
    }

    /// Its place in the queue of the streams.
    pub(super) fn source(&self) -> SourceId {
        self.source
    }

    pub(super) fn take(&self) -> Vec<Message> {
        Vec::from(std::mem::take(&mut *lock(&self.inbox)))
    }

    pub(super) fn set_followed(&self, followed: bool) {
        self.is_followed.store(followed, Ordering::Relaxed);
    }

    fn keep(&self, message: Message) {
        let mut inbox = lock(&self.inbox);
        if inbox.len() >= INBOX_MAX {
            inbox.pop_front();
        }
        inbox.push_back(message);
    }

    /// The form on its way out.
    fn put(&self, out: &mut Vec<u8>, message: &Message, level: LogLevel) {
        let mut head = Head::default();
        let unit = message.unit.as_deref().unwrap_or(OWN_NAME);
        let origin = Origin { unit, pid: None, stream: Stream::Svinit, level: Some(level) };
        head.set(self.format, &mut Stamp::default(), message.wall_us, origin);
        head.put(out, message.text.as_bytes(), false);
    }
}

impl Shared {
    /// Each line of `text` by itself, so that none can pose as another's.
    pub(super) fn say(&self, unit: Option<&str>, level: LogLevel, text: &str) {
        for line in text.lines() {
            let mut bytes = Vec::new();
            self.note(&mut bytes, unit.map(Arc::from), level, line);
            let chunk = Chunk { bytes, lines: 1, out: OWN_OUT };
            self.streams.lock().queue.push(self.voice.source, chunk);
        }
        self.write_own(To::Streams);
        if self.voice.is_followed.load(Ordering::Relaxed) {
            self.ring();
        }
    }

    /// Keeps one line, and puts its form into `out` for a caller that writes it itself.
    pub(super) fn note(&self, out: &mut Vec<u8>, unit: Option<Arc<str>>, level: LogLevel, text: &str) {
        let text = text[..text.floor_char_boundary(TEXT_MAX)].to_owned();
        let message = Message { wall_us: clock::wall_us(), unit, text };
        self.voice.put(out, &message, level);
        self.voice.keep(message);
    }
}
