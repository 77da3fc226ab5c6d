//! From a host name to addresses: literals, `/etc/hosts`, and the name servers of `/etc/resolv.conf` by UDP.
//!
//! The C library's `getaddrinfo` loads modules at run time, which a static executable cannot, and blocks a thread.

mod config;
pub mod message;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use self::config::Config;
use self::message::{Answer, Kind, Question};

/// Longest of the two files that is read.
const FILE_MAX: u64 = 1 << 20;

/// Longest answer by UDP: what fits into one packet nearly everywhere.
const DATAGRAM_MAX: usize = 4096;

/// Where names are looked up. The paths are read at each question, since containers rewrite them.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// `/etc/hosts`.
    pub hosts: PathBuf,
    /// `/etc/resolv.conf`.
    pub config: PathBuf,
    /// Port of the name servers: 53.
    pub port: u16,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { hosts: "/etc/hosts".into(), config: "/etc/resolv.conf".into(), port: 53 }
    }
}

/// The addresses of `host`, IPv4 before IPv6, at least one. Takes as long as `resolv.conf` allows: callers set their own bound.
///
/// # Errors
/// `NotFound`: there is no such name. `TimedOut` and others: no server has answered.
pub async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    Resolver::default().resolve(host).await
}

impl Resolver {
    /// As [`resolve`], with these files.
    ///
    /// # Errors
    /// As there.
    pub async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![address]);
        }
        let known = config::hosts(&read(&self.hosts), host);
        if !known.is_empty() {
            return Ok(known);
        }
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(vec![IpAddr::from([127, 0, 0, 1])]);
        }
        let config = Config::parse(&read(&self.config));
        let mut last = not_found(host);
        for name in config.candidates(host) {
            match self.look_up(&config, &name).await {
                Ok(found) if !found.is_empty() => return Ok(found),
                Ok(_) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Both kinds of address, asked for at the same time. One of them is enough.
    async fn look_up(&self, config: &Config, name: &str) -> io::Result<Vec<IpAddr>> {
        let (four, six) = tokio::join!(self.ask(config, name, Kind::V4), self.ask(config, name, Kind::V6));
        match (four, six) {
            (Ok(four), six) => Ok(four.into_iter().chain(six.unwrap_or_default()).collect()),
            (Err(_), Ok(six)) if !six.is_empty() => Ok(six),
            (Err(error), _) => Err(error),
        }
    }

    /// Asks the servers in their order, so many times as the configuration says.
    async fn ask(&self, config: &Config, name: &str, kind: Kind) -> io::Result<Vec<IpAddr>> {
        let mut last = io::Error::new(io::ErrorKind::TimedOut, "no name server has answered");
        for _ in 0..config.attempts {
            for server in &config.servers {
                let server = SocketAddr::new(*server, self.port);
                match ask_server(server, name, kind, config.timeout).await {
                    Ok(Answer::Addresses(found)) => return Ok(found),
                    Ok(Answer::NoSuchName) => return Ok(Vec::new()),
                    Ok(Answer::Refused(why)) => last = io::Error::other(format!("{server} says {why}")),
                    Ok(Answer::Truncated) => last = io::Error::other(format!("{server} cuts its answer")),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }
}

/// One question to one server; by TCP when the answer does not fit into a datagram.
async fn ask_server(server: SocketAddr, name: &str, kind: Kind, patience: Duration) -> io::Result<Answer> {
    let question = Question::new(name, kind)?;
    let until = Instant::now() + patience;
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("{server} did not answer in time"));
    match timeout_at(until, by_udp(server, &question)).await.map_err(late)?? {
        Answer::Truncated => timeout_at(until, by_tcp(server, &question)).await.map_err(late)?,
        answer @ (Answer::Addresses(_) | Answer::NoSuchName | Answer::Refused(_)) => Ok(answer),
    }
}

async fn by_udp(server: SocketAddr, question: &Question) -> io::Result<Answer> {
    let any = if server.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0_u16; 8]) };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    // Connected: the kernel drops what others send, and tells when nobody listens there.
    socket.connect(server).await?;
    socket.send(question.bytes()).await?;
    let mut room = vec![0; DATAGRAM_MAX];
    loop {
        let length = socket.recv(&mut room).await?;
        // An answer to another question is somebody's attempt or an old one: the right one may follow.
        if let Some(answer) = question.answer(room.get(..length).unwrap_or_default()) {
            return Ok(answer);
        }
    }
}

async fn by_tcp(server: SocketAddr, question: &Question) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.bytes().len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes(), question.bytes()].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    question.answer(&answer).ok_or_else(|| io::Error::other(format!("{server} answers something else")))
}

fn not_found(host: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no host {host}"))
}

/// The file's text, or nothing: both files may be missing.
fn read(path: &Path) -> String {
    use std::io::Read;
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        // Half a file is as good as none for the lines that are missing.
        let _ = file.take(FILE_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
