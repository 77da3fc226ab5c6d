//! One GET over HTTP/1.1, as much of it as a probe needs: the status.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Longest response head that is read.
pub const HEAD_MAX: usize = 16 * 1024;

/// The status of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

impl Status {
    /// 200 to 399, as probes see it.
    #[must_use]
    pub fn is_well(self) -> bool {
        (200..400).contains(&self.0)
    }
}

/// Asks `address` for `path`. `host` goes into the Host header: `name` or `name:port`, IPv6 in brackets.
/// The connection is closed afterwards. The caller sets the time bound.
///
/// # Errors
/// No connection, or what came back is no HTTP.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> io::Result<Status> {
    ask(TcpStream::connect(address).await?, host, path).await
}

/// The same over a unix socket.
///
/// # Errors
/// The same.
pub async fn get_unix(socket: &Path, host: &str, path: &str) -> io::Result<Status> {
    ask(UnixStream::connect(socket).await?, host, path).await
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str, path: &str) -> io::Result<Status> {
    // Neither may end the line it is in and begin another one.
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain(host) || !is_plain(path) || !path.starts_with('/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such address can be asked for"));
    }
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: svinit\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    read_status(&mut stream).await
}

/// Reads heads until one is final: 1xx, but for 101, are followed by another. At most [`HEAD_MAX`] bytes, and 1 KiB.
///
/// # Errors
/// What comes is no HTTP, or does not come.
pub async fn read_status(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Status> {
    let mut head = Vec::new();
    let mut seen = 0;
    loop {
        while let Some(length) = end_of_head(&head) {
            let status = parse_status(&head)?;
            if !(100..200).contains(&status.0) || status.0 == 101 {
                return Ok(status);
            }
            head.drain(..length);
        }
        let before = head.len();
        if seen >= HEAD_MAX {
            return Err(no_http("its head is too long"));
        }
        let read = stream.take(1024).read_buf(&mut head).await?;
        seen += read;
        if read == 0 {
            // Servers of the first days end a head by closing.
            return if before == 0 { Err(no_http("it closed the connection")) } else { parse_status(&head) };
        }
    }
}

/// Length of the first head, with the empty line at its end.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut line_start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' {
            if matches!(&bytes[line_start..at], b"" | b"\r") {
                return Some(at + 1);
            }
            line_start = at + 1;
        }
    }
    None
}

/// The status in `HTTP/1.1 200 OK`.
fn parse_status(head: &[u8]) -> io::Result<Status> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line.get(..12).unwrap_or_default()).unwrap_or_default();
    let number = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(1..)?.strip_prefix(' '));
    match number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit())).map(str::parse) {
        Some(Ok(status @ 100..=599)) => Ok(Status(status)),
        _ => Err(no_http("it is no HTTP")),
    }
}

fn no_http(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("cannot understand the answer: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(answer: &[u8]) -> io::Result<Status> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read_status(&mut &*answer))
    }

    #[test]
    fn the_status_is_read_past_interim_answers() {
        assert_eq!(read(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), Status(204));
        assert_eq!(
            read(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 503 x\r\n\r\nbody").unwrap(),
            Status(503)
        );
        assert_eq!(read(b"HTTP/1.0 200\n\n").unwrap(), Status(200));
        assert_eq!(read(b"HTTP/1.1 101 x\r\n\r\n").unwrap(), Status(101));
        assert!(Status(302).is_well() && !Status(404).is_well());
    }

    #[test]
    fn what_is_no_http_is_refused() {
        for answer in [
            &b""[..],
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/2 200\r\n\r\n",
            b"HTTP/1.1 99 x\r\n\r\n",
            b"HTTP/1.1 +20 x\n\n",
        ] {
            assert!(read(answer).is_err(), "{answer:?}");
        }
        assert!(read(&vec![b'a'; 10 * HEAD_MAX]).unwrap_err().to_string().ends_with("too long"));
    }

    #[tokio::test]
    async fn a_server_is_asked_as_it_expects() {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 1024];
            let length = stream.read(&mut asked).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            String::from_utf8(asked[..length].to_vec()).unwrap()
        };
        let (status, asked) = tokio::join!(get(address, "web:80", "/health?x=1"), serve);
        assert_eq!(status.unwrap(), Status(200));
        assert!(asked.starts_with("GET /health?x=1 HTTP/1.1\r\nHost: web:80\r\n"), "{asked}");
        assert!(get(address, "a\r\nX: y", "/").await.is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(answer in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&answer);
            let _ = read(&[b"HTTP/1.1 ", &answer[..]].concat());
        }
    }
}
