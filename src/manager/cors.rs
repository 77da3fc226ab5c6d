//! What pages of other origins may do: preflights are answered here, and every answer, our own errors as well, says who may read
//! it. Without the lines on an error a browser would show "CORS error" instead of the error.

use std::io::Write as _;

use crate::manager::config::spec::Cors;
use crate::manager::headers::line;
use crate::manager::wire::head::Head;

/// Whether a request is a preflight.
#[must_use]
pub fn is_preflight(method: &[u8], head: &Head) -> bool {
    method == b"OPTIONS"
        && head.get("origin").is_some()
        && head.get("access-control-request-method").is_some()
}

impl Cors {
    /// Whether pages of `origin` may read answers.
    #[must_use]
    pub fn allows(&self, origin: &[u8]) -> bool {
        let Ok(origin) = std::str::from_utf8(origin) else { return false };
        // What every sandboxed page and every file sends.
        if origin == "null" {
            return false;
        }
        self.any_origin
            || self.origins.iter().any(|allowed| allowed == origin)
            || self.patterns.iter().any(|pattern| pattern.is_match(origin))
    }

    /// Whether a page of `origin` may open a connection that is upgraded, which no browser asks about: its own or an allowed one.
    #[must_use]
    pub fn allows_upgrade(&self, origin: Option<&[u8]>, authority: &str) -> bool {
        let Some(origin) = origin else { return true };
        let own = std::str::from_utf8(origin).ok().and_then(|origin| origin.split_once("://"));
        own.is_some_and(|(_, host)| host.eq_ignore_ascii_case(authority)) || self.allows(origin)
    }

    /// Writes the lines of an answer to a request of `origin`.
    pub fn answer(&self, origin: Option<&[u8]>, out: &mut Vec<u8>) {
        self.allow(origin, out);
        if !self.expose.is_empty() && origin.is_some_and(|origin| self.allows(origin)) {
            line(out, b"Access-Control-Expose-Headers", self.expose.as_bytes());
        }
        // Also when it is not allowed: a cache must not give one origin's answer to another.
        line(out, b"Vary", b"Origin");
    }

    /// Writes the lines of the answer to a preflight.
    pub fn preflight(&self, head: &Head, out: &mut Vec<u8>) {
        let origin = head.get("origin");
        if self.allow(origin, out) {
            line(out, b"Access-Control-Allow-Methods", self.methods.as_bytes());
            match head.get("access-control-request-headers") {
                Some(asked) if self.headers.is_empty() => line(out, b"Access-Control-Allow-Headers", asked),
                Some(_) => line(out, b"Access-Control-Allow-Headers", self.headers.as_bytes()),
                None => {}
            }
            if self.private_network && head.get("access-control-request-private-network") == Some(b"true") {
                line(out, b"Access-Control-Allow-Private-Network", b"true");
            }
            // Writing to memory does not fail.
            let _ = write!(out, "Access-Control-Max-Age: {}\r\n", self.max_age.as_secs());
        }
        line(out, b"Vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    }

    fn allow(&self, origin: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else { return false };
        let shown = if self.any_origin && !self.credentials { b"*" } else { origin };
        line(out, b"Access-Control-Allow-Origin", shown);
        if self.credentials {
            line(out, b"Access-Control-Allow-Credentials", b"true");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cors(credentials: bool, any_origin: bool) -> Cors {
        Cors {
            any_origin,
            origins: vec!["https://app.example".to_owned()],
            patterns: vec![regex_lite::Regex::new("^(?:https://[a-z]+\\.preview\\.example)$").unwrap()],
            credentials,
            methods: "GET, POST".to_owned(),
            headers: String::new(),
            expose: "X-Total".to_owned(),
            max_age: Duration::from_secs(600),
            private_network: false,
        }
    }

    #[test]
    fn origins_are_compared_as_a_whole() {
        let cors = cors(true, false);
        for (origin, allowed) in [
            ("https://app.example", true),
            ("https://pr.preview.example", true),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("https://app.example.evil", false),
            ("https://evilapp.example", false),
            ("https://APP.example", false),
            ("https://pr.preview.example.evil", false),
            ("xhttps://pr.preview.example", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(cors.allows(origin.as_bytes()), allowed, "{origin}");
        }
    }

    fn answered(cors: &Cors, origin: Option<&str>) -> String {
        let mut out = Vec::new();
        cors.answer(origin.map(str::as_bytes), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_names_the_one_origin_and_always_varies() {
        assert_eq!(
            answered(&cors(true, false), Some("https://app.example")),
            "Access-Control-Allow-Origin: https://app.example\r\nAccess-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: X-Total\r\nVary: Origin\r\n"
        );
        assert_eq!(answered(&cors(true, false), Some("https://evil.example")), "Vary: Origin\r\n");
        assert_eq!(answered(&cors(true, false), None), "Vary: Origin\r\n");
        assert!(
            answered(&cors(false, true), Some("https://any.example"))
                .starts_with("Access-Control-Allow-Origin: *\r\n")
        );
        assert_eq!(answered(&cors(false, true), Some("null")), "Vary: Origin\r\n");
    }

    #[test]
    fn a_preflight_is_told_what_it_asks_for() {
        let mut head = Head::default();
        let text = "OPTIONS / HTTP/1.1\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-a\r\n\r\n";
        head.read(text.as_bytes(), 100).unwrap();
        assert!(is_preflight(b"OPTIONS", &head) && !is_preflight(b"GET", &head));
        let mut out = Vec::new();
        cors(false, false).preflight(&head, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "Access-Control-Allow-Origin: https://app.example\r\nAccess-Control-Allow-Methods: GET, POST\r\nAccess-Control-Allow-Headers: x-a\r\n\
             Access-Control-Max-Age: 600\r\nVary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n"
        );
    }

    #[test]
    fn a_page_of_its_own_origin_may_upgrade_and_a_strange_one_may_not() {
        let cors = cors(true, false);
        assert!(cors.allows_upgrade(None, "localhost:8080"));
        assert!(cors.allows_upgrade(Some(b"http://localhost:8080"), "localhost:8080"));
        assert!(cors.allows_upgrade(Some(b"https://app.example"), "localhost:8080"));
        assert!(!cors.allows_upgrade(Some(b"https://evil.example"), "localhost:8080"));
    }
}
