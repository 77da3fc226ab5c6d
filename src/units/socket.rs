//! What a held socket is: its name, its address, and which addresses get in each other's way.
//!
//! Easy to get wrong: two addresses that are not equal can still clash. `0.0.0.0:80` has `127.0.0.1:80` in it, and
//! `[::]:80` has all of IPv4 in it unless it is told otherwise.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Longest name, in bytes: systemd's bound.
pub const NAME_MAX: usize = 255;

/// Longest path of a unix socket, in bytes: what the kernel has room for, without the NUL.
pub const PATH_MAX: usize = 107;

/// Mode of a unix socket when nobody says otherwise.
pub const MODE_DEFAULT: u32 = 0o660;

/// Connections that may wait when nobody says otherwise; the kernel's own bound since Linux 5.4.
pub const BACKLOG_DEFAULT: u32 = 4096;

/// One of `[sockets]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketSpec {
    /// What the unit finds it by, in `LISTEN_FDNAMES`.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddress,
    /// The address has the number of an instance in it: no other instance has this one.
    pub is_of_instance: bool,
    /// Connections or messages.
    pub r#type: SocketType,
    /// Connections that may wait.
    pub backlog: u32,
    /// Others may listen at the same address, each with a share of the connections.
    pub reuse_port: bool,
    /// Nobody waits in `accept`.
    pub nonblocking: bool,
    /// An IPv6 address takes no IPv4.
    pub v6only: bool,
    /// Mode of a unix socket.
    pub mode: u32,
    /// Name or number of a unix socket's owner; `None` is the unit's user.
    pub owner: Option<String>,
    /// Name or number of a unix socket's group; `None` is the unit's group.
    pub group: Option<String>,
}

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketType {
    /// Connections: TCP, or a unix stream.
    Stream,
    /// Messages: UDP, or unix datagrams.
    Datagram,
}

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAddress {
    /// An IPv4 or IPv6 address and a port that is not 0.
    Inet(SocketAddr),
    /// A path.
    Unix(PathBuf),
}

impl SocketAddress {
    /// Reads `0.0.0.0:80`, `[::]:80` or `unix:/run/app.sock`.
    ///
    /// # Errors
    /// What is wrong with it, if there is more to say than that, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, (Option<String>, Option<String>)> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path).map_err(|(why, help)| (Some(why), help));
        }
        if text.starts_with('/') {
            return Err((None, Some(format!("write \"unix:{text}\""))));
        }
        if let Ok(at) = text.parse::<SocketAddr>() {
            return inet(at).map_err(|why| (Some(why), None));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let port = port.parse::<u16>().ok().filter(|port| *port != 0);
        Err(match (host, port) {
            ("" | "*", Some(port)) => {
                (None, Some(format!("write \"0.0.0.0:{port}\" or \"[::]:{port}\" for every address")))
            }
            ("localhost", Some(port)) => (
                Some("a name is no address".to_owned()),
                Some(format!("write \"127.0.0.1:{port}\" or \"[::1]:{port}\"")),
            ),
            (host, Some(port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (
                Some("an IPv6 address stands in brackets".to_owned()),
                Some(format!("write \"[{host}]:{port}\"")),
            ),
            (host, Some(_)) if host.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                (Some("a name is no address: it could mean another one tomorrow".to_owned()), None)
            }
            (_, _) => (None, None),
        })
    }

    /// Whether two sockets cannot be open at the same time, unless both share their port.
    #[must_use]
    pub fn clashes(&self, own: (SocketType, bool), other: &Self, others: (SocketType, bool)) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Inet(one), Self::Inet(other)) => {
                own.0 == others.0
                    && one.port() == other.port()
                    && (takes(one.ip(), own.1, other.ip()) || takes(other.ip(), others.1, one.ip()))
            }
            (Self::Inet(_), Self::Unix(_)) | (Self::Unix(_), Self::Inet(_)) => false,
        }
    }
}

impl SocketSpec {
    /// Whether both cannot be open at the same time, unless both share their port.
    #[must_use]
    pub fn clashes(&self, other: &Self) -> bool {
        let own = (self.r#type, self.v6only);
        self.address.clashes(own, &other.address, (other.r#type, other.v6only))
    }
}

/// Whether a socket at `own` gets what is sent to `other`.
pub(crate) fn takes(own: IpAddr, v6only: bool, other: IpAddr) -> bool {
    match (own, other) {
        (IpAddr::V6(own), IpAddr::V4(_)) => own.is_unspecified() && !v6only,
        (own, other) => own == other || (own.is_unspecified() && own.is_ipv4() == other.is_ipv4()),
    }
}

fn unix(path: &str) -> Result<SocketAddress, (String, Option<String>)> {
    if path.starts_with('@') {
        let why =
            "an abstract socket has neither owner nor mode: everybody in the network namespace could use it";
        return Err((why.to_owned(), Some("write unix: and a path".to_owned())));
    }
    if !path.starts_with('/') {
        return Err(("after \"unix:\" comes an absolute path".to_owned(), None));
    }
    if path.ends_with('/') {
        return Err(("a socket's path does not end with \"/\"".to_owned(), None));
    }
    if path.len() > PATH_MAX {
        return Err((
            format!("the kernel has room for {PATH_MAX} bytes, and these are {}", path.len()),
            None,
        ));
    }
    Ok(SocketAddress::Unix(path.into()))
}

fn inet(at: SocketAddr) -> Result<SocketAddress, String> {
    if at.port() == 0 {
        return Err("with port 0 the kernel would choose one, and nobody could find it".to_owned());
    }
    if at.ip().is_multicast() {
        return Err("a multicast address takes no connections".to_owned());
    }
    if let SocketAddr::V6(v6) = at
        && let Some(v4) = v6.ip().to_ipv4_mapped()
    {
        return Err(format!("that is an IPv4 address: {v4}"));
    }
    Ok(SocketAddress::Inet(at))
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(at) => write!(f, "{at}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for SocketSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, self.r#type) {
            (SocketAddress::Inet(_), SocketType::Datagram) => write!(f, "{} (UDP)", self.address),
            (SocketAddress::Unix(_), SocketType::Datagram) => write!(f, "{} (datagrams)", self.address),
            (_, SocketType::Stream) => write!(f, "{}", self.address),
        }
    }
}

/// Takes `text` as the name of a socket, or says what is wrong with it. As in systemd, since it travels in
/// `LISTEN_FDNAMES`, whose names stand between colons.
///
/// # Errors
/// A sentence that says why.
pub fn check_name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("the name of a socket cannot be empty".to_owned());
    }
    if text.len() > NAME_MAX {
        return Err(format!("the name of a socket has at most {NAME_MAX} characters"));
    }
    if text.contains(':') {
        return Err(
            "the name of a socket has no colon: names stand between colons in LISTEN_FDNAMES".to_owned()
        );
    }
    if !text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err("the name of a socket is of ASCII characters without control characters".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddress {
        SocketAddress::parse(text).unwrap_or_else(|why| panic!("{text}: {why:?}"))
    }

    #[test]
    fn addresses_are_read_and_printed() {
        for text in ["0.0.0.0:8000", "127.0.0.1:1", "[::]:80", "[::1]:65535", "unix:/run/app.sock"] {
            assert_eq!(address(text).to_string(), text);
        }
    }

    #[test]
    fn others_are_refused_with_what_to_write() {
        for (text, why, help) in [
            (":80", "", "write \"0.0.0.0:80\" or \"[::]:80\" for every address"),
            ("80", "", "write \"0.0.0.0:80\" or \"[::]:80\" for every address"),
            ("*:80", "", "write \"0.0.0.0:80\" or \"[::]:80\" for every address"),
            ("localhost:80", "a name is no address", "write \"127.0.0.1:80\" or \"[::1]:80\""),
            ("database:80", "a name is no address: it could mean another one tomorrow", ""),
            ("::1:80", "an IPv6 address stands in brackets", "write \"[::1]:80\""),
            ("0.0.0.0:0", "with port 0 the kernel would choose one, and nobody could find it", ""),
            ("[::ffff:10.0.0.1]:80", "that is an IPv4 address: 10.0.0.1", ""),
            ("224.0.0.1:80", "a multicast address takes no connections", ""),
            ("/run/app.sock", "", "write \"unix:/run/app.sock\""),
            ("unix:run/app.sock", "after \"unix:\" comes an absolute path", ""),
            ("unix:/run/", "a socket's path does not end with \"/\"", ""),
            ("", "", ""),
            ("1.2.3.4", "", ""),
            ("1.2.3.4:99999", "", ""),
        ] {
            let refused = SocketAddress::parse(text).unwrap_err();
            let told = (refused.0.unwrap_or_default(), refused.1.unwrap_or_default());
            assert_eq!((told.0.as_str(), told.1.as_str()), (why, help), "{text}");
        }
        assert!(SocketAddress::parse("unix:@app").unwrap_err().0.unwrap().contains("neither owner nor mode"));
        let path = |length: usize| format!("unix:/{}", "x".repeat(length - 1));
        assert!(SocketAddress::parse(&path(PATH_MAX)).is_ok());
        let why = SocketAddress::parse(&path(PATH_MAX + 1)).unwrap_err().0.unwrap();
        assert_eq!(why, "the kernel has room for 107 bytes, and these are 108");
    }

    #[test]
    fn addresses_that_have_each_other_in_them_clash() {
        let stream = (SocketType::Stream, false);
        let only = (SocketType::Stream, true);
        for (one, own, other, others, clash) in [
            ("0.0.0.0:80", stream, "0.0.0.0:80", stream, true),
            ("0.0.0.0:80", stream, "0.0.0.0:81", stream, false),
            ("0.0.0.0:80", stream, "127.0.0.1:80", stream, true),
            ("127.0.0.2:80", stream, "127.0.0.1:80", stream, false),
            ("127.0.0.1:80", stream, "[::]:80", stream, true),
            ("0.0.0.0:80", stream, "[::]:80", stream, true),
            ("0.0.0.0:80", stream, "[::]:80", only, false),
            ("0.0.0.0:80", stream, "[::1]:80", stream, false),
            ("[::]:80", only, "[::1]:80", only, true),
            ("0.0.0.0:80", stream, "0.0.0.0:80", (SocketType::Datagram, false), false),
            ("unix:/a", stream, "unix:/a", (SocketType::Datagram, false), true),
            ("unix:/a", stream, "unix:/b", stream, false),
            ("unix:/a", stream, "0.0.0.0:80", stream, false),
        ] {
            assert_eq!(address(one).clashes(own, &address(other), others), clash, "{one} and {other}");
            assert_eq!(address(other).clashes(others, &address(one), own), clash, "{other} and {one}");
        }
    }

    #[test]
    fn names_are_those_of_systemd() {
        for good in ["http", "a b", "x.sock-1_2", &"n".repeat(NAME_MAX)] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", "a:b", "ü", "a\nb", "\x7f", &"n".repeat(NAME_MAX + 1)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
