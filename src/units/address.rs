//! `host:port` and `http://host:port/path`, as probes need them.

use std::fmt;

use crate::units::spec::{HostPort, HttpUrl};

impl HostPort {
    /// Reads `host:port`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = split_port(text)?;
        let port = port.ok_or("the port is missing: host:port")?;
        Ok(Self { host: host_of(host)?, port: port_of(port)? })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl HttpUrl {
    /// Reads `http://host[:port]/path`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("https://") {
            return Err("probes speak plain http: ask the service at its own address, or use exec".to_owned());
        }
        let rest = text.strip_prefix("http://").ok_or("it begins with http://")?;
        if let Some(bad) = rest.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
            return Err(format!("{bad:?} cannot stand in it"));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("a user and password cannot stand in it".to_owned());
        }
        let (host, port) = split_port(authority)?;
        let port = port.map_or(Ok(80), port_of)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { at: HostPort { host: host_of(host)?, port }, path })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.at, self.path)
    }
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("the bracket is not closed")?;
        return match after.strip_prefix(':') {
            _ if host.parse::<std::net::Ipv6Addr>().is_err() => {
                Err("between the brackets is no IPv6 address".to_owned())
            }
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err("after the bracket comes a colon".to_owned()),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            Err("an IPv6 address stands in brackets: [::1]:80".to_owned())
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn host_of(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the host is missing".to_owned());
    }
    if text.len() > 253 {
        return Err("a host name has at most 253 characters".to_owned());
    }
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !"._-:".contains(*c)) {
        Some(bad) => Err(format!("{bad:?} cannot stand in a host name")),
        None => Ok(text.to_owned()),
    }
}

fn port_of(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let port = if digits { text.parse().ok().filter(|port| *port != 0) } else { None };
    port.ok_or_else(|| "a port is a number from 1 to 65535".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::units::spec::{HostPort, HttpUrl};

    #[test]
    fn addresses_are_read_and_printed() {
        for text in ["db:3306", "127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(HostPort::parse(text).unwrap().to_string(), text);
        }
        for (text, full) in [
            ("http://a", "http://a:80/"),
            ("http://a:8000/health?x=1", "http://a:8000/health?x=1"),
            ("http://[::1]/x", "http://[::1]:80/x"),
            ("http://a?q", "http://a:80/?q"),
        ] {
            assert_eq!(HttpUrl::parse(text).unwrap().to_string(), full);
        }
    }

    #[test]
    fn others_are_refused() {
        for text in ["", "db", ":1", "db:", "db:0", "db:65536", "db:+1", "::1:80", "[x]:1", "[::1]", "a b:1"]
        {
            assert!(HostPort::parse(text).is_err(), "{text}");
        }
        for text in [
            "https://a/",
            "a/",
            "http://",
            "http://u@a/",
            "http://a/ b",
            "http://a/#x",
            "http://a:x/",
            "http://a/\r\n",
        ] {
            assert!(HttpUrl::parse(text).is_err(), "{text}");
        }
    }
}
