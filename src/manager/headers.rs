//! The header lines a service is sent, and those a client is sent back.
//!
//! Order matters: first what a client lists in `Connection` goes, then what is of one connection only, then whatever claims to
//! come from a proxy; only after that are our own lines written. So a client can neither set nor take away one of them.

use std::io::Write as _;
use std::net::IpAddr;

use crate::manager::config::spec::Cidr;
use crate::manager::filter::Admitted;
use crate::manager::wire::body::Framing;
use crate::manager::wire::head::{Head, members};

/// Of one connection only, or written by us; and `Proxy`, which old scripts take for `HTTP_PROXY`.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-real-ip",
    "x-request-id",
];

/// Beginnings of names that only proxies write.
const OURS_BEGIN: &[&str] = &["x-forwarded-", "x-svinit-"];

/// What an answer's lines may not be, since they are of one connection only.
const OF_CONNECTION: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Longest request id that is taken from a proxy.
const ID_MAX: usize = 128;

/// Who asks, as far as that can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The client: the peer, or who a trusted proxy says it asks for.
    pub client: IpAddr,
    /// All of `X-Forwarded-For`.
    pub chain: String,
    /// `http` or `https`, as the first trusted proxy was asked.
    pub scheme: String,
    /// As the first trusted proxy was asked.
    pub host: String,
    /// As the first trusted proxy was asked.
    pub port: String,
    /// The id of this request.
    pub id: String,
}

impl Asker {
    /// Who asks through a connection from `peer` to our `port`. `new_id` is used when there is none to be believed.
    #[must_use]
    pub fn of(
        head: &Head,
        admitted: &Admitted,
        peer: IpAddr,
        port: u16,
        trusted: &[Cidr],
        new_id: impl FnOnce() -> String,
    ) -> Self {
        let peer = peer.to_canonical();
        let is_trusted = |address: IpAddr| trusted.iter().any(|cidr| cidr.contains(address));
        let own_port = || {
            let at = admitted.authority.rfind(':').filter(|at| !admitted.authority[*at..].contains(']'));
            at.map_or_else(|| port.to_string(), |at| admitted.authority[at + 1..].to_owned())
        };
        if !is_trusted(peer) {
            return Self {
                client: peer,
                chain: peer.to_string(),
                scheme: "http".to_owned(),
                host: admitted.authority.clone(),
                port: own_port(),
                id: new_id(),
            };
        }
        let said = |name: &'static str| {
            head.get(name)
                .and_then(|value| std::str::from_utf8(value).ok())
                .filter(|value: &&str| is_plain(value))
        };
        let mut hops: Vec<IpAddr> = Vec::new();
        for hop in members(head.all("x-forwarded-for")) {
            match std::str::from_utf8(hop).ok().and_then(address) {
                Some(address) => hops.push(address),
                // Who writes nonsense has written what stands before it as well.
                None => hops.clear(),
            }
        }
        let client =
            hops.iter().rev().find(|hop| !is_trusted(**hop)).or(hops.first()).copied().unwrap_or(peer);
        let chain: Vec<String> = hops.iter().chain([&peer]).map(ToString::to_string).collect();
        let scheme = match said("x-forwarded-proto") {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss") => {
                "https"
            }
            _ => "http",
        };
        Self {
            client,
            chain: chain.join(", "),
            scheme: scheme.to_owned(),
            host: said("x-forwarded-host").map_or_else(|| admitted.authority.clone(), str::to_owned),
            port: said("x-forwarded-port")
                .filter(|port| port.parse::<u16>().is_ok())
                .map_or_else(|| if scheme == "https" { "443".to_owned() } else { own_port() }, str::to_owned),
            id: said("x-request-id").filter(|id| id.len() <= ID_MAX).map_or_else(new_id, str::to_owned),
        }
    }
}

/// No space, no comma, nothing that could end a line.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// An address, which some proxies write with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').split(']').next().unwrap_or_default();
    let parsed = text
        .parse()
        .or_else(|_| bare.parse())
        .or_else(|_| text.parse().map(|at: std::net::SocketAddr| at.ip()));
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

/// Whether a line of a request is passed on.
#[must_use]
pub fn passes(name: &[u8], listed: &[&[u8]]) -> bool {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    // CGI makes the same variable of `X_Real_IP` and `X-Real-IP`.
    !name.contains(&b'_')
        && !OURS.iter().any(|ours| is(ours.as_bytes()))
        && !OURS_BEGIN.iter().any(|start| {
            name.len() > start.len() && name[..start.len()].eq_ignore_ascii_case(start.as_bytes())
        })
        && !listed.iter().any(|listed| is(listed))
}

/// Writes the head of the request for `path`, as `service` is to see it.
pub fn request(
    out: &mut Vec<u8>,
    head: &Head,
    admitted: &Admitted,
    asker: &Asker,
    path: &str,
    service: &str,
    upgrade: Option<&str>,
) {
    out.extend_from_slice(head.slice(&admitted.method));
    out.push(b' ');
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(admitted.query.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(if admitted.authority.is_empty() {
        service.as_bytes()
    } else {
        admitted.authority.as_bytes()
    });
    out.extend_from_slice(b"\r\n");
    let listed: Vec<&[u8]> = members(head.all("connection")).collect();
    for (name, value) in head.lines().filter(|(name, _)| passes(name, &listed)) {
        line(out, name, value);
    }
    frame(out, admitted.framing);
    // Writing to memory does not fail.
    let _ = write!(
        out,
        "X-Forwarded-For: {}\r\nX-Forwarded-Proto: {}\r\nX-Forwarded-Port: {}\r\nX-Real-IP: {}\r\nX-Request-Id: {}\r\nVia: 1.{} svmanager\r\n",
        asker.chain, asker.scheme, asker.port, asker.client, asker.id, admitted.minor
    );
    if !asker.host.is_empty() {
        line(out, b"X-Forwarded-Host", asker.host.as_bytes());
    }
    if let Some(protocol) = upgrade {
        let _ = write!(out, "Connection: Upgrade\r\nUpgrade: {protocol}\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the lines of an answer that pass. `hides_cors`: those about other origins are ours to write.
pub fn answer(out: &mut Vec<u8>, head: &Head, hides_cors: bool) {
    let listed: Vec<&[u8]> = members(head.all("connection")).collect();
    for (name, value) in head.lines() {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let is_dropped = OF_CONNECTION.iter().any(|other| is(other.as_bytes()))
            || listed.iter().any(|listed| is(listed))
            || (hides_cors && name.len() > 15 && name[..15].eq_ignore_ascii_case(b"access-control-"));
        if !is_dropped {
            line(out, name, value);
        }
    }
}

/// Writes how the body ends.
pub fn frame(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::None | Framing::Close => {}
        Framing::Length(length) => {
            let _ = write!(out, "Content-Length: {length}\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

/// Writes one line.
pub fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::filter::admit;

    fn sent(lines: &str, peer: &str, trusted: &[&str]) -> String {
        let mut head = Head::default();
        head.read(format!("GET /a HTTP/1.1\r\nHost: app.example\r\n{lines}\r\n").as_bytes(), 100).unwrap();
        let admitted = admit(&head).unwrap();
        let trusted: Vec<Cidr> = trusted.iter().map(|text| Cidr::parse(text).unwrap()).collect();
        let asker = Asker::of(&head, &admitted, peer.parse().unwrap(), 80, &trusted, || "new".to_owned());
        let mut out = Vec::new();
        request(&mut out, &head, &admitted, &asker, &admitted.path, "backend", None);
        String::from_utf8(out).unwrap()
    }

    const PLAIN: &str = "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 80\r\nX-Real-IP: 192.0.2.9\r\n\
                         X-Request-Id: new\r\nVia: 1.1 svmanager\r\nX-Forwarded-Host: app.example\r\n\r\n";

    #[test]
    fn what_a_client_says_about_itself_is_not_believed() {
        let lies = "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-host: evil\r\nForwarded: for=1.1.1.1\r\nX-Real-Ip: 1.1.1.1\r\n\
                    X_Forwarded_Proto: https\r\nX-Svinit-User: root\r\nX-Request-Id: mine\r\nProxy: http://evil\r\nProxy-Connection: x\r\n\
                    TE: trailers\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive, X-Secret\r\nX-Secret: 1\r\nUpgrade: h2c\r\nA: b\r\n";
        assert_eq!(
            sent(lies, "192.0.2.9", &[]),
            format!("GET /a HTTP/1.1\r\nHost: app.example\r\nA: b\r\n{PLAIN}")
        );
        assert_eq!(sent(lies, "::ffff:192.0.2.9", &["10.0.0.0/8"]), sent(lies, "192.0.2.9", &[]));
    }

    #[test]
    fn a_trusted_proxy_is_believed_as_far_as_its_own_trust_goes() {
        let lines = "X-Forwarded-For: 1.1.1.1, 192.0.2.9, 10.0.0.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\nX-Request-Id: abc\r\n";
        let text = sent(lines, "10.0.0.1", &["10.0.0.0/8"]);
        for line in [
            "X-Forwarded-For: 1.1.1.1, 192.0.2.9, 10.0.0.2, 10.0.0.1\r\n",
            "X-Real-IP: 192.0.2.9\r\n",
            "X-Forwarded-Proto: https\r\n",
            "X-Forwarded-Port: 443\r\n",
            "X-Forwarded-Host: shop.example\r\n",
            "X-Request-Id: abc\r\n",
            "Host: app.example\r\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(
            sent("X-Forwarded-For: 1.1.1.1, x y, 192.0.2.9\r\n", "10.0.0.1", &["10.0.0.0/8"])
                .contains("X-Forwarded-For: 192.0.2.9, 10.0.0.1\r\n")
        );
        assert!(sent("X-Request-Id: a b\r\n", "10.0.0.1", &["10.0.0.0/8"]).contains("X-Request-Id: new\r\n"));
    }

    #[test]
    fn an_answer_loses_what_is_of_one_connection_only() {
        let mut head = Head::default();
        let lines = "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nTransfer-Encoding: chunked\r\n\
                     Access-Control-Allow-Origin: *\r\nSet-Cookie: a=b\r\nVia: 1.1 x\r\n\r\n";
        head.read(lines.as_bytes(), 100).unwrap();
        let text = |hides| {
            let mut out = Vec::new();
            answer(&mut out, &head, hides);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(true), "Set-Cookie: a=b\r\nVia: 1.1 x\r\n");
        assert_eq!(text(false), "Access-Control-Allow-Origin: *\r\nSet-Cookie: a=b\r\nVia: 1.1 x\r\n");
    }
}
