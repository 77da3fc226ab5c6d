//! Finding the socket, asking, and the beginning of the answer.
//!
//! The places are tried in order and the first that accepts is taken: an old socket file of a supervisor that is gone
//! does not hide a living one. A place that exists and may not be used ends the search, because going on would talk to
//! another supervisor than the one the caller meant.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path as FilePath;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::status::Refusal;
use crate::client::body::Body;
use crate::client::body::odd;
use crate::client::error::Error;
use crate::client::head;
use crate::client::head::HEAD_MAX;
use crate::client::head::Head;
use crate::client::query::Path;
use crate::client::stream::Lines;
use crate::client::stream::failure;

/// Bytes of a whole answer at most: 1,000 units with long reasons take about 1 MiB.
const ANSWER_MAX: u64 = 64 << 20;

/// How long we wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the head of an answer, and for the whole of one that is not a stream. svinit answers from memory, so this is
    /// reached only when it is stopped or is no svinit.
    pub answer: Duration,
    /// For a stream, from its request to its end; `None` is for ever.
    pub stream: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { answer: Duration::from_secs(10), stream: None }
    }
}

/// Asks one supervisor.
#[derive(Clone, Debug)]
pub struct Client {
    places: Vec<PathBuf>,
    patience: Patience,
}

/// A whole answer, whatever its status was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// As it came.
    pub body: Vec<u8>,
}

impl Client {
    /// Will look at `places`, in this order; connects when it is first asked something.
    #[must_use]
    pub fn new(places: Vec<PathBuf>, patience: Patience) -> Self {
        Self { places, patience }
    }

    /// The value at `path`.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn get<T: DeserializeOwned>(&self, path: &Path) -> Result<T, Error> {
        let (place, answer) = self.whole("GET", path, None)?;
        decode(&place, &accepted(&place, answer)?.body)
    }

    /// The answer at `path`, also when its status is one of failure: `/health` answers 503 with a report.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get_any(&self, path: &Path) -> Result<Answer, Error> {
        self.whole("GET", path, None).map(|(_, answer)| answer)
    }

    /// Sends `body` to `path` and has it accepted.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn post(&self, path: &Path, body: &impl Serialize) -> Result<Answer, Error> {
        let (place, answer) = self.whole("POST", path, Some(&encode(body)?))?;
        accepted(&place, answer)
    }

    /// The lines at `path`, as they come.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn follow<T: DeserializeOwned>(&self, path: &Path) -> Result<Lines<T>, Error> {
        self.stream("GET", path, None)
    }

    /// Sends `body` to `path`; the lines that answer it, as they come.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn post_and_follow<T: DeserializeOwned>(
        &self,
        path: &Path,
        body: &impl Serialize,
    ) -> Result<Lines<T>, Error> {
        self.stream("POST", path, Some(&encode(body)?))
    }

    fn whole(&self, method: &str, path: &Path, body: Option<&[u8]>) -> Result<(PathBuf, Answer), Error> {
        let (place, head, reader) = self.ask(method, path, body)?;
        let bytes = rest(Body::new(reader, head.framing)).map_err(|source| failure(&place, source))?;
        Ok((place, Answer { status: head.status, body: bytes }))
    }

    fn stream<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &Path,
        body: Option<&[u8]>,
    ) -> Result<Lines<T>, Error> {
        let (place, head, mut reader) = self.ask(method, path, body)?;
        if !is_success(head.status) {
            let bytes = rest(Body::new(reader, head.framing)).map_err(|source| failure(&place, source))?;
            return Err(refusal(&place, &Answer { status: head.status, body: bytes }));
        }
        reader.get_mut().by = self.patience.stream.map(|patience| now() + patience);
        Ok(Lines::new(Body::new(reader, head.framing), place))
    }

    /// Sends the request and reads the head of the answer.
    fn ask(
        &self,
        method: &str,
        path: &Path,
        body: Option<&[u8]>,
    ) -> Result<(PathBuf, Head, BufReader<Wire>), Error> {
        let (place, stream) = self.connect()?;
        let answer =
            self.patience.stream.map_or(self.patience.answer, |whole| whole.min(self.patience.answer));
        let mut wire = Wire { stream, by: Some(now() + answer) };
        let request = request(method, path, body);
        // A supervisor that refuses a request may close before it has read all of it; its answer says why.
        let sent = wire.send(&request);
        let mut reader = BufReader::new(wire);
        let head = read_head(&mut reader).map_err(|source| failure(&place, sent.err().unwrap_or(source)))?;
        Ok((place, head, reader))
    }

    fn connect(&self) -> Result<(PathBuf, UnixStream), Error> {
        let mut tried = Vec::new();
        for place in &self.places {
            match UnixStream::connect(place) {
                Ok(stream) => return Ok((place.clone(), stream)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(Error::Denied { place: place.clone() });
                }
                Err(error) => tried.push((place.clone(), error)),
            }
        }
        Err(Error::Unreachable { tried })
    }
}

/// A connection whose every read ends at one deadline, however slowly the bytes trickle in.
pub struct Wire {
    stream: UnixStream,
    by: Option<Instant>,
}

impl Wire {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write_all(bytes)
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(by) = self.by else { return Ok(None) };
        let left = by.saturating_duration_since(now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(into)
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a deadline on a socket; this floor cannot name os, and is no core"
)]
fn now() -> Instant {
    Instant::now()
}

/// One request a connection: nothing that an earlier answer left behind can be taken for a later one.
fn request(method: &str, path: &Path, body: Option<&[u8]>) -> Vec<u8> {
    let mut text = format!("{method} {} HTTP/1.1\r\nhost: svinit\r\nconnection: close\r\n", path.as_str());
    if let Some(body) = body {
        text.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body.unwrap_or_default());
    bytes
}

/// Reads up to the empty line, past answers of the 100 kind.
fn read_head(reader: &mut impl BufRead) -> io::Result<Head> {
    let mut seen = 0;
    loop {
        let mut bytes = Vec::new();
        while head::end_of(&bytes).is_none() {
            let before = bytes.len();
            reader.take((HEAD_MAX - seen) as u64).read_until(b'\n', &mut bytes)?;
            seen += bytes.len() - before;
            if bytes.len() == before {
                return Err(if seen >= HEAD_MAX {
                    odd("its head has no end".to_owned())
                } else {
                    io::ErrorKind::UnexpectedEof.into()
                });
            }
            if bytes.len() >= 5 && !bytes.starts_with(b"HTTP/") {
                // Not worth waiting for the rest of.
                return head::parse(&bytes).map_err(odd);
            }
        }
        let head = head::parse(&bytes).map_err(odd)?;
        if head.status >= 200 {
            return Ok(head);
        }
    }
}

fn rest(body: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    body.take(ANSWER_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > ANSWER_MAX { Err(odd("it is too long".to_owned())) } else { Ok(bytes) }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

fn accepted(place: &FilePath, answer: Answer) -> Result<Answer, Error> {
    if is_success(answer.status) { Ok(answer) } else { Err(refusal(place, &answer)) }
}

/// What an answer of failure says.
pub(crate) fn refusal(place: &FilePath, answer: &Answer) -> Error {
    match serde_json::from_slice::<Refusal>(&answer.body) {
        Ok(refusal) => Error::Refused { status: answer.status, refusal },
        Err(_) => Error::Protocol {
            place: place.to_owned(),
            what: format!("status {} without words", answer.status),
        },
    }
}

fn encode(body: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(body).map_err(|why| Error::Protocol {
        place: PathBuf::new(),
        what: format!("the request has no JSON form: {why}"),
    })
}

fn decode<T: DeserializeOwned>(place: &FilePath, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|why| Error::Protocol {
        place: place.to_owned(),
        what: format!("it is not what was asked for: {why}"),
    })
}

impl Answer {
    /// The body as a `T`.
    ///
    /// # Errors
    /// What the answer says instead, when its status is one of failure; else that it is no `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match serde_json::from_slice(&self.body) {
            Ok(value) => Ok(value),
            Err(_) if !is_success(self.status) => Err(refusal(FilePath::new("the control socket"), self)),
            Err(_) => decode(FilePath::new("the control socket"), &self.body),
        }
    }
}
