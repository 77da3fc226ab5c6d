//! Questions that are asked over the network or of the file system, each as a task of its own.
//!
//! How long one may take is the machine's business: it cancels. What may block a thread (name look-ups by libc, files on
//! a dead network share are the exception nobody can avoid) must not be called from here: this is the driver's thread.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::lifecycle::event::{Event, RunId};
use crate::net::http1::{self, Status};
use crate::net::resolve;
use crate::os::error;
use crate::units::spec::{Check, HostPort, HttpUrl};

/// The end of one probe: which, and what went wrong if anything did.
pub type Answer = (RunId, Result<(), String>);

/// The probes that have no answer yet. At most one a unit, so the channel is bounded by the number of units.
pub struct Probes {
    tasks: BTreeMap<RunId, (Check, AbortHandle)>,
    answers: mpsc::UnboundedSender<Answer>,
}

impl Probes {
    /// Nothing is being asked; answers will come out of the receiver.
    #[must_use]
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Answer>) {
        let (answers, receiver) = mpsc::unbounded_channel();
        (Self { tasks: BTreeMap::new(), answers }, receiver)
    }

    /// Asks.
    pub fn start(&mut self, run: RunId, check: Check) {
        let (answers, asked) = (self.answers.clone(), check.clone());
        let task = tokio::spawn(async move {
            let answer = ask(&asked).await;
            // The driver has gone: so will this task.
            let _ = answers.send((run, answer));
        });
        self.tasks.insert(run, (check, task.abort_handle()));
    }

    /// What has no answer yet: the next svinit asks it again.
    #[must_use]
    pub fn save(&self) -> Vec<(RunId, Check)> {
        self.tasks.iter().map(|(run, (check, _))| (*run, check.clone())).collect()
    }

    /// Nobody waits for this one any longer.
    pub fn cancel(&mut self, run: RunId) {
        if let Some((_, task)) = self.tasks.remove(&run) {
            task.abort();
        }
    }

    /// The fact that an answer is; none when it had been cancelled.
    pub fn end(&mut self, (run, answer): Answer) -> Option<Event> {
        self.tasks.remove(&run)?;
        Some(match answer {
            Ok(()) => Event::Passed { run },
            Err(why) => Event::NotPassed { run, why },
        })
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        for (_, task) in self.tasks.values() {
            task.abort();
        }
    }
}

/// Asks once; what went wrong comes in words, "connection refused".
///
/// # Errors
/// When the answer is not the hoped-for one.
pub async fn ask(check: &Check) -> Result<(), String> {
    let words = |error| error::cause(&error);
    match check {
        Check::Http(url) => match http(url).await.map_err(words)? {
            status if status.is_well() => Ok(()),
            status => Err(format!("answered with status {}", status.0)),
        },
        Check::Tcp(at) => tcp(at).await.map_err(words),
        Check::Unix(path) => UnixStream::connect(path).await.map(drop).map_err(words),
        Check::File(path) => std::fs::metadata(path).map(drop).map_err(words),
        Check::Exec(_) => Err("a check by command is a process, not a probe".to_owned()),
    }
}

async fn tcp(at: &HostPort) -> io::Result<()> {
    let mut last = no_address(at);
    for ip in resolve::resolve(&at.host).await? {
        match TcpStream::connect(SocketAddr::new(ip, at.port)).await {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The status of the first address that answers; else why the last one did not.
async fn http(url: &HttpUrl) -> io::Result<Status> {
    let host = authority(&url.at);
    let mut last = no_address(&url.at);
    for ip in resolve::resolve(&url.at.host).await? {
        match http1::get(SocketAddr::new(ip, url.at.port), &host, &url.path).await {
            Ok(status) => return Ok(status),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What goes into the `Host` header.
fn authority(at: &HostPort) -> String {
    let host = if at.host.contains(':') { format!("[{}]", at.host) } else { at.host.clone() };
    if at.port == 80 { host } else { format!("{host}:{}", at.port) }
}

fn no_address(at: &HostPort) -> io::Error {
    io::Error::other(format!("{} has no address", at.host))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, UnixListener};

    use super::{Probes, ask, authority};
    use crate::lifecycle::event::{Event, RunId};
    use crate::units::spec::{Check, HostPort, HttpUrl};

    fn local(port: u16) -> HostPort {
        HostPort { host: "127.0.0.1".to_owned(), port }
    }

    /// Answers one request with `answer` and returns its port.
    async fn server(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        port
    }

    async fn get(answer: &'static str) -> Result<(), String> {
        let at = local(server(answer).await);
        ask(&Check::Http(HttpUrl { at, path: "/health".to_owned() })).await
    }

    #[tokio::test]
    async fn http_passes_from_200_to_399() {
        assert_eq!(get("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await, Ok(()));
        assert_eq!(get("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n").await, Ok(()));
        let refused = get("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
        assert_eq!(refused, Err("answered with status 503".to_owned()));
    }

    #[tokio::test]
    async fn a_connection_is_enough_for_tcp_and_unix() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(ask(&Check::Tcp(local(port))).await, Ok(()));
        drop(listener);
        assert_eq!(ask(&Check::Tcp(local(port))).await, Err("connection refused".to_owned()));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        assert_eq!(ask(&Check::Unix(path.clone())).await, Ok(()));
        assert_eq!(ask(&Check::File(path)).await, Ok(()));
        let missing = ask(&Check::File(PathBuf::from("/no/such/file"))).await;
        assert_eq!(missing, Err("no such file or directory".to_owned()));
    }

    #[tokio::test]
    async fn a_cancelled_probe_has_no_answer() {
        let (mut probes, mut answers) = Probes::new();
        probes.start(RunId(1), Check::File(PathBuf::from("/")));
        probes.start(RunId(2), Check::File(PathBuf::from("/")));
        let first = answers.recv().await.unwrap();
        probes.cancel(RunId(1));
        assert_eq!(probes.end(first), None);
        let second = answers.recv().await.unwrap();
        assert_eq!(probes.end(second), Some(Event::Passed { run: RunId(2) }));
    }

    #[test]
    fn the_host_header_brackets_ipv6_and_leaves_out_port_80() {
        assert_eq!(authority(&HostPort { host: "::1".to_owned(), port: 8000 }), "[::1]:8000");
        assert_eq!(authority(&HostPort { host: "web".to_owned(), port: 80 }), "web");
    }
}
