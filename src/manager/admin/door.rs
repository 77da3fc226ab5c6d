//! Who may come in: a pure function of a request's head and the token.
//!
//! The token is what counts. The rest is about browsers, which send requests for pages that their user only looks at: a page of
//! another site (`Origin`, `Sec-Fetch-Site`), or of a name that leads here for a moment (`Host`, DNS rebinding).

use std::net::IpAddr;

use hyper::Method;
use hyper::Request;
use hyper::header::AUTHORIZATION;
use hyper::header::HOST;
use hyper::header::HeaderName;
use hyper::header::ORIGIN;

use crate::manager::admin::refused::Refused;
use crate::net::token::Token;

/// Paths that hold no secret and change nothing.
const OPEN: &[&str] = &["/", "/health"];

/// Whether it may pass.
pub(super) fn admit<B>(request: &Request<B>, token: Option<&Token>) -> Result<(), Refused> {
    let host = one(request, &HOST)?.ok_or_else(|| Refused::bad_request("a request has a Host"))?;
    if token.is_none() && !is_private(host) {
        let why = "this is not asked by that name: use 127.0.0.1, localhost, or [admin] token_file";
        return Err(Refused::bad_request(why));
    }
    if OPEN.contains(&request.uri().path()) && matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    if let Some(origin) = one(request, &ORIGIN)? {
        let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if !own.is_some_and(|own| own.eq_ignore_ascii_case(host)) {
            return Err(Refused::bad_request("this is not for pages of another origin"));
        }
    }
    let site = one(request, &HeaderName::from_static("sec-fetch-site"))?;
    if site.is_some_and(|site| !["same-origin", "none"].contains(&site)) {
        return Err(Refused::bad_request("this is not for pages of another site"));
    }
    let Some(token) = token else { return Ok(()) };
    match one(request, &AUTHORIZATION)? {
        Some(shown) if token.is_in(shown.as_bytes()) => Ok(()),
        Some(_) => Err(Refused::not_permitted("this is not the token of this manager")),
        None => {
            let why = "show the token: \"Authorization: Bearer TOKEN\" ([admin] token_file)";
            Err(Refused::not_permitted(why))
        }
    }
}

/// The one value of a header.
fn one<'a, B>(request: &'a Request<B>, name: &HeaderName) -> Result<Option<&'a str>, Refused> {
    let mut all = request.headers().get_all(name).iter();
    let (first, second) = (all.next(), all.next());
    let text = first.map(|value| value.to_str()).transpose();
    match (text, second) {
        (Ok(text), None) => Ok(text),
        _ => Err(Refused::bad_request(format!("its {name} is not one plain line"))),
    }
}

/// A host that no other site can have: an address, or a name that is in no public zone.
fn is_private(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.parse::<IpAddr>().is_ok() || !name.is_empty() && !name.contains('.')
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::admit;
    use crate::net::token::Token;

    fn status(path: &str, headers: &[(&str, &str)], has_token: bool) -> u16 {
        let token = Token::new("0123456789abcdef").unwrap();
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let admitted = admit(&request.body(()).unwrap(), has_token.then_some(&token));
        admitted.err().map_or(200, |refused| refused.status.as_u16())
    }

    #[test]
    fn one_header_with_the_token_opens_and_nothing_else() {
        let host = ("host", "admin.example");
        let right = ("authorization", "Bearer 0123456789abcdef");
        assert_eq!(status("/api/services", &[host, right], true), 200);
        assert_eq!(status("/api/services", &[host], true), 401);
        assert_eq!(status("/api/services", &[host, ("authorization", "Bearer 0123456789abcdee")], true), 401);
        assert_eq!(status("/api/services", &[host, ("authorization", "Basic 0123456789abcdef")], true), 401);
        assert_eq!(status("/api/services", &[host, right, right], true), 400);
        assert_eq!(status("/api/services", &[right], true), 400);
        assert_eq!((status("/", &[host], true), status("/health", &[host], true)), (200, 200));
    }

    #[test]
    fn no_page_of_another_site_gets_in() {
        let right = ("authorization", "Bearer 0123456789abcdef");
        let host = ("host", "127.0.0.1:9600");
        let own = ("origin", "http://127.0.0.1:9600");
        for has_token in [false, true] {
            assert_eq!(status("/api/services", &[host, right, own], has_token), 200);
            for other in ["http://evil.example", "null", "http://127.0.0.1:96000", "127.0.0.1:9600"] {
                assert_eq!(
                    status("/api/services", &[host, right, ("origin", other)], has_token),
                    400,
                    "{other}"
                );
            }
            assert_eq!(
                status("/api/services", &[host, right, ("sec-fetch-site", "cross-site")], has_token),
                400
            );
            assert_eq!(
                status("/api/services", &[host, right, ("sec-fetch-site", "same-origin")], has_token),
                200
            );
        }
    }

    #[test]
    fn without_a_token_no_name_of_a_public_zone_leads_here() {
        for (host, expected) in [
            ("127.0.0.1:9600", 200),
            ("[::1]:9600", 200),
            ("localhost:9600", 200),
            ("manager", 200),
            ("rebound.example:9600", 400),
            ("127.0.0.1.evil.example", 400),
            ("", 400),
        ] {
            assert_eq!(status("/api/services", &[("host", host)], false), expected, "{host}");
        }
    }
}
