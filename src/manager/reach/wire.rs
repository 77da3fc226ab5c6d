//! One HTTP/1.1 request over a unix socket or TCP, and its answer piece by piece.
//!
//! One request a connection: nothing that an earlier answer left behind can be taken for a later one. Heads and sizes of
//! chunks are read by the strict reader of `client`. Whoever answers may be anything, so everything has a bound.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::AsyncBufRead;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::client::head;
use crate::client::head::Framing;
use crate::client::head::HEAD_MAX;
use crate::net::resolve;
use crate::net::token::Token;
use crate::units::spec::HostPort;

/// For a connection to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of the line that begins a chunk at most.
const CHUNK_LINE_MAX: u64 = 1024;

/// Bytes of one line of a stream at most.
const LINE_MAX: usize = 1 << 20;

/// Lines of trailers that are passed over.
const TRAILERS_MAX: usize = 64;

/// Where somebody answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A unix socket.
    Unix(PathBuf),
    /// Over TCP.
    Tcp(HostPort),
}

impl Place {
    /// As a person writes it.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            Self::Tcp(at) => format!("{}:{}", at.host, at.port),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// Path and query, escaped.
    pub path: &'a str,
    /// JSON.
    pub body: Option<&'a [u8]>,
    /// Shown to who asks for it.
    pub token: Option<&'a Token>,
}

/// Any stream.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What came back.
pub struct Answer {
    /// 200 and so on.
    pub status: u16,
    /// The rest.
    pub body: Body,
}

/// Asks `place`; the head of the answer has to come within `patience`.
///
/// # Errors
/// Nobody is there, or what answers speaks no HTTP.
pub async fn ask(place: &Place, request: &Request<'_>, patience: Duration) -> io::Result<Answer> {
    let mut stream = timeout(CONNECT_TIMEOUT, connect(place)).await.map_err(|_| late())??;
    let head = head_of(place, request);
    let answered = async {
        // Whoever refuses a request may close before all of it is read; the answer says why.
        let sent = match stream.write_all(&head).await {
            Ok(()) => stream.write_all(request.body.unwrap_or_default()).await,
            Err(error) => Err(error),
        };
        let mut stream = BufReader::new(stream);
        match read_head(&mut stream).await {
            Ok(head) => Ok((head, stream)),
            Err(error) => Err(sent.err().unwrap_or(error)),
        }
    };
    let (head, stream) = timeout(patience, answered).await.map_err(|_| late())??;
    Ok(Answer { status: head.status, body: Body::new(stream, head.framing) })
}

async fn connect(place: &Place) -> io::Result<Box<dyn Stream>> {
    match place {
        Place::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        Place::Tcp(at) => {
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for address in resolve::resolve(&at.host).await? {
                match TcpStream::connect((address, at.port)).await {
                    Ok(stream) => {
                        // A request is one write, and an answer is waited for.
                        let _ = stream.set_nodelay(true);
                        return Ok(Box::new(stream));
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

fn head_of(place: &Place, request: &Request<'_>) -> Vec<u8> {
    let host = match place {
        Place::Unix(_) => "localhost".to_owned(),
        Place::Tcp(at) if at.host.contains(':') => format!("[{}]:{}", at.host, at.port),
        Place::Tcp(at) => format!("{}:{}", at.host, at.port),
    };
    let mut text =
        format!("{} {} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", request.method, request.path);
    if let Some(token) = request.token {
        text.push_str(&format!("authorization: {}\r\n", token.header()));
    }
    if let Some(body) = request.body {
        text.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Reads up to the empty line, past answers of the 100 kind.
async fn read_head(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<head::Head> {
    let mut seen = 0;
    loop {
        let mut bytes = Vec::new();
        while head::end_of(&bytes).is_none() {
            let before = bytes.len();
            (&mut *stream).take((HEAD_MAX - seen) as u64).read_until(b'\n', &mut bytes).await?;
            seen += bytes.len() - before;
            if bytes.len() == before {
                let is_long = seen >= HEAD_MAX;
                return Err(if is_long {
                    odd("its head has no end")
                } else {
                    io::ErrorKind::UnexpectedEof.into()
                });
            }
            if bytes.len() >= 5 && !bytes.starts_with(b"HTTP/") {
                // Not worth waiting for the rest of.
                break;
            }
        }
        let head = head::parse(&bytes).map_err(odd)?;
        if head.status >= 200 {
            return Ok(head);
        }
    }
}

fn late() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// What is no answer.
pub(in crate::manager) fn odd(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// The body of an answer. One that is cut short is an error and never a short body.
pub struct Body {
    stream: BufReader<Box<dyn Stream>>,
    state: State,
    line: Vec<u8>,
}

enum State {
    /// So many bytes of the whole are left.
    Length(u64),
    /// So many bytes of this chunk are left.
    Chunk(u64),
    /// The size of the next chunk is to come; `first`: no line end of a chunk before it.
    ChunkHead {
        first: bool,
    },
    /// Everything up to the end of the connection.
    UntilClose,
    Done,
}

impl Body {
    fn new(stream: BufReader<Box<dyn Stream>>, framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkHead { first: true },
            Framing::UntilClose => State::UntilClose,
        };
        Self { stream, state, line: Vec::new() }
    }

    /// The next bytes, as they come; `None` at the end. Dropping the future in the midst of it loses nothing but for the
    /// line that begins a chunk, so that a stream is read by one reader to its end or given up.
    ///
    /// # Errors
    /// It is cut short, or framed wrongly.
    pub async fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let left = match self.state {
                State::Done => return Ok(None),
                State::ChunkHead { first } => {
                    self.state = self.next_chunk(first).await?;
                    continue;
                }
                State::Length(left) | State::Chunk(left) => left,
                State::UntilClose => u64::MAX,
            };
            let received = self.stream.fill_buf().await?;
            let count = received.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if count == 0 {
                if matches!(self.state, State::UntilClose) {
                    self.state = State::Done;
                    return Ok(None);
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let piece = received[..count].to_vec();
            self.stream.consume(count);
            let left = left - count as u64;
            self.state = match self.state {
                State::Length(_) if left == 0 => State::Done,
                State::Length(_) => State::Length(left),
                State::Chunk(_) if left == 0 => State::ChunkHead { first: false },
                State::Chunk(_) => State::Chunk(left),
                State::UntilClose | State::ChunkHead { .. } | State::Done => State::UntilClose,
            };
            return Ok(Some(piece));
        }
    }

    async fn next_chunk(&mut self, first: bool) -> io::Result<State> {
        if !first && !self.head_line().await?.is_empty() {
            return Err(odd("a chunk that is longer than it said"));
        }
        let size = head::chunk_size(&self.head_line().await?).map_err(odd)?;
        if size > 0 {
            return Ok(State::Chunk(size));
        }
        for _ in 0..TRAILERS_MAX {
            if self.head_line().await?.is_empty() {
                return Ok(State::Done);
            }
        }
        Err(odd("trailers without an end"))
    }

    async fn head_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.stream).take(CHUNK_LINE_MAX).read_until(b'\n', &mut line).await?;
        if line.pop() != Some(b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }

    /// All of it, at most `most` bytes, within `patience`.
    ///
    /// # Errors
    /// It is longer, later, or cut short.
    pub async fn whole(mut self, most: usize, patience: Duration) -> io::Result<Vec<u8>> {
        let read = async {
            let mut all = Vec::new();
            while let Some(piece) = self.piece().await? {
                all.extend_from_slice(&piece);
                if all.len() > most {
                    return Err(odd(format!("it is longer than {most} bytes")));
                }
            }
            Ok(all)
        };
        timeout(patience, read).await.map_err(|_| late())?
    }

    /// The next line that is not empty, without its end; `None` at the end of the body.
    ///
    /// # Errors
    /// The body is cut short, or the line is too long.
    pub async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.line) {
                let rest = self.line.split_off(end + 1);
                let line = std::mem::replace(&mut self.line, rest);
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line.trim_ascii().to_vec()));
                }
                continue;
            }
            if self.line.len() > LINE_MAX {
                return Err(odd("a line without an end"));
            }
            match self.piece().await? {
                Some(piece) => self.line.extend_from_slice(&piece),
                None if self.line.trim_ascii().is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.line).trim_ascii().to_vec())),
            }
        }
    }
}
