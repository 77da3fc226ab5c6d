//! Which requests are let in at all: decides each question on which a gateway and a service could disagree.
//!
//! Pure. What is refused here reaches no service; `tests/manager/filter.rs` counts that.

use std::ops::Range;

use crate::manager::path;
use crate::manager::wire::body::{Framing, Unframed, framing, keeps_alive};
use crate::manager::wire::head::{Head, RequestLine, members, request_line};

/// A request that was let in.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Where the method stands in the head.
    pub method: Range<usize>,
    /// The path in its normal form.
    pub path: String,
    /// With its question mark; empty when there is none.
    pub query: String,
    /// In small letters, without the port.
    pub host: String,
    /// As it was asked for, with the port; empty for HTTP/1.0 without one.
    pub authority: String,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor: u8,
    /// Of its body; never [`Framing::Close`].
    pub framing: Framing,
    /// The connection stays open afterwards.
    pub keeps_alive: bool,
    /// The client waits for 100 before it sends the body.
    pub expects_continue: bool,
    /// The protocol it wants to switch to, in small letters.
    pub upgrade: Option<String>,
}

/// A request that is answered without asking anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// With this.
    pub status: u16,
    /// Why.
    pub why: String,
    /// The connection is closed, since nobody knows where the next request begins.
    pub closes: bool,
}

impl Refused {
    fn bad(why: impl Into<String>) -> Self {
        Self { status: 400, why: why.into(), closes: true }
    }

    fn with(status: u16, why: &str) -> Self {
        Self { status, why: why.to_owned(), closes: true }
    }
}

/// Header lines that mean something from end to end: whoever lists one in `Connection` wants it gone on the way, so that the
/// service believes something else.
const END_TO_END: &[&str] = &[
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "forwarded",
    "host",
    "origin",
    "range",
    "via",
    "x-real-ip",
    "x-request-id",
];

/// Decides about the request whose head this is.
///
/// # Errors
/// How it is answered instead.
pub fn admit(head: &Head) -> Result<Admitted, Refused> {
    let line = request_line(head.first()).map_err(|flaw| Refused::bad(flaw.to_string()))?;
    let Some(RequestLine { method, target, minor }) = line else {
        return Err(Refused::with(505, "only HTTP/1.0 and HTTP/1.1 are spoken here"));
    };
    match head.slice(&method) {
        b"CONNECT" => return Err(Refused::with(501, "this is no tunnel")),
        b"TRACE" | b"TRACK" => {
            return Err(Refused::with(501, "this method shows headers to scripts, so it is not served"));
        }
        _ => {}
    }
    let host = one_host(head, minor)?;
    let framing = framing(head, minor).map_err(unframed)?.unwrap_or(Framing::None);
    let (listed_upgrade, upgrade) = connection(head)?;
    let expects_continue = expects(head, minor)?;
    let target =
        std::str::from_utf8(head.slice(&target)).map_err(|_| Refused::bad("its target is no text"))?;
    let (path, query) = split_target(target, head.slice(&method), &host)?;
    let path = path::normal(path).map_err(|why| Refused::bad(why.to_string()))?.into_owned();
    let upgrade = upgrade.filter(|_| listed_upgrade && minor == 1);
    let has_body = !matches!(framing, Framing::None | Framing::Length(0));
    if upgrade.is_some() && has_body {
        return Err(Refused::bad("a request for an upgrade has a body"));
    }
    Ok(Admitted {
        method,
        path,
        query: query.to_owned(),
        host: without_port(&host).to_ascii_lowercase(),
        authority: host,
        minor,
        framing,
        keeps_alive: keeps_alive(head, minor),
        expects_continue,
        upgrade,
    })
}

fn unframed(why: Unframed) -> Refused {
    match why {
        Unframed::Both => Refused::bad("Content-Length and Transfer-Encoding contradict each other"),
        Unframed::Twice => Refused::bad("its length is told twice"),
        Unframed::Length => Refused::bad("its Content-Length is no number"),
        Unframed::OldVersion => Refused::bad("HTTP/1.0 knows no Transfer-Encoding"),
        Unframed::Coding => Refused::with(501, "the only transfer coding is chunked"),
    }
}

/// The one Host; HTTP/1.0 may have none.
fn one_host(head: &Head, minor: u8) -> Result<String, Refused> {
    let mut hosts = head.all("host");
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Refused::bad("there are two Host lines")),
        (None, None) if minor == 1 => return Err(Refused::bad("the Host line is missing")),
        (None, None) => return Ok(String::new()),
        (Some(host), None) => host,
    };
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-:[]".contains(byte);
    if host.is_empty() || host.len() > 260 || !host.iter().all(is_host) {
        return Err(Refused::bad("its Host is no host"));
    }
    let host = String::from_utf8_lossy(host).into_owned();
    let name = without_port(&host);
    let port = host.get(name.len()..).unwrap_or_default();
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let is_plain = !name.is_empty()
        && (name.starts_with('[') == name.ends_with(']'))
        && (name.starts_with('[') || !name.contains([':', '[', ']']));
    if is_port && is_plain { Ok(host) } else { Err(Refused::bad("its Host is no host")) }
}

/// The name in `name:port` or `[address]:port`.
fn without_port(host: &str) -> &str {
    let from = if host.starts_with('[') { host.find(']').unwrap_or(0) } else { 0 };
    host[from..].find(':').map_or(host, |at| &host[..from + at])
}

/// Whether `Connection` lists `upgrade`, and the protocol that `Upgrade` names.
fn connection(head: &Head) -> Result<(bool, Option<String>), Refused> {
    let mut upgrades = false;
    for token in members(head.all("connection")) {
        let is = |name: &&str| token.eq_ignore_ascii_case(name.as_bytes());
        if END_TO_END.iter().any(is)
            || token.get(..12).is_some_and(|start| start.eq_ignore_ascii_case(b"x-forwarded-"))
        {
            let why = format!(
                "Connection lists {}, which is not of this connection alone",
                String::from_utf8_lossy(token)
            );
            return Err(Refused::bad(why));
        }
        upgrades |= token.eq_ignore_ascii_case(b"upgrade");
    }
    let protocol =
        members(head.all("upgrade")).next().map(|token| String::from_utf8_lossy(token).to_ascii_lowercase());
    Ok((upgrades, protocol))
}

fn expects(head: &Head, minor: u8) -> Result<bool, Refused> {
    match head.get("expect") {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(minor == 1),
        Some(_) => Err(Refused::with(417, "the only expectation that is known is 100-continue")),
    }
}

/// Path and query of `target`, which may be the whole address of this host.
fn split_target<'a>(target: &'a str, method: &[u8], host: &str) -> Result<(&'a str, &'a str), Refused> {
    if target == "*" {
        return if method == b"OPTIONS" {
            Ok(("/", ""))
        } else {
            Err(Refused::bad("* is for OPTIONS alone"))
        };
    }
    let origin = if target.starts_with('/') {
        target
    } else {
        let scheme = target.get(..7).filter(|start| start.eq_ignore_ascii_case("http://"));
        let Some(rest) = scheme.map(|_| &target[7..]) else {
            return Err(Refused::bad("its target is neither a path nor an address of this host"));
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        if !rest[..end].eq_ignore_ascii_case(host) {
            return Err(Refused::with(421, "this is not the host that was asked for"));
        }
        match &rest[end..] {
            "" => "/",
            origin if origin.starts_with('/') => origin,
            _ => return Err(Refused::bad("its path is missing")),
        }
    };
    if origin.contains('#') {
        return Err(Refused::bad("a fragment is not sent"));
    }
    Ok(origin.split_at(origin.find('?').unwrap_or(origin.len())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(text: &str) -> Result<Admitted, Refused> {
        let mut head = Head::default();
        head.read(text.as_bytes(), 100).map_err(|flaw| Refused::bad(flaw.to_string()))?;
        admit(&head)
    }

    #[test]
    fn requests_that_mean_one_thing_are_let_in() {
        let get = asked("GET /a/./b?x=/../y HTTP/1.1\r\nHost: App.Example:8080\r\n\r\n").unwrap();
        assert_eq!((get.path.as_str(), get.query.as_str()), ("/a/b", "?x=/../y"));
        assert_eq!((get.host.as_str(), get.authority.as_str()), ("app.example", "App.Example:8080"));
        assert!(get.keeps_alive && get.framing == Framing::None && get.upgrade.is_none());
        assert_eq!(asked("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().path, "/b");
        assert_eq!(asked("GET http://a HTTP/1.1\r\nHost: A\r\n\r\n").unwrap().path, "/");
        assert_eq!(asked("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").unwrap().host, "[::1]");
        let old = asked("GET / HTTP/1.0\r\n\r\n").unwrap();
        assert!(!old.keeps_alive && old.host.is_empty());
        assert!(asked("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
        let upgrade =
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
        assert_eq!(asked(upgrade).unwrap().upgrade.as_deref(), Some("websocket"));
        assert!(asked("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n").unwrap().upgrade.is_none());
        assert!(
            !asked("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n")
                .unwrap()
                .keeps_alive
        );
        assert!(
            asked("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
                .unwrap()
                .expects_continue
        );
    }

    #[test]
    fn each_refusal_has_its_status() {
        for (text, status) in [
            ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
            ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
            ("PRI * HTTP/2.0\r\n\r\n", 505),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
            ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 421),
            ("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /../a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-Host\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive, COOKIE\r\n\r\n", 400),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\n",
                400,
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417),
        ] {
            assert_eq!(asked(text).map(|_| ()).map_err(|refused| refused.status), Err(status), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_head_makes_it_panic(target in "[ -~]{1,20}", host in "[ -~]{0,20}", name in "[A-Za-z-]{1,20}", value in "[ -~]{0,20}") {
            let _ = asked(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{name}: {value}\r\n\r\n"));
        }
    }
}
