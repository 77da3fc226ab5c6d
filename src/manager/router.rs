//! Which route a request takes, and what path its service is asked for. Pure; the same for `explain` and for requests.

use std::borrow::Cow;

use crate::manager::config::spec::Route;

/// The routes, the first that matches wins.
#[derive(Clone, Debug, Default)]
pub struct Router {
    routes: Vec<Route>,
}

impl Router {
    /// Puts `routes` in the order in which they are tried: by how exact the host is, then exact paths, then by length.
    #[must_use]
    pub fn new(mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| {
            let host = match &route.host {
                Some(host) if !host.starts_with("*.") => (0, 0),
                Some(host) => (1, usize::MAX - host.len()),
                None => (2, 0),
            };
            (host, !route.exact, usize::MAX - route.path.len())
        });
        Self { routes }
    }

    /// The route of a request for `path` (in its normal form) of `host` (in small letters, without a port).
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&Route> {
        self.routes.iter().find(|route| is_host(route, host) && is_path(route, path))
    }

    /// In the order in which they are tried.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

fn is_host(route: &Route, host: &str) -> bool {
    match route.host.as_deref() {
        None => true,
        Some(pattern) => match pattern.strip_prefix('*') {
            Some(end) => host.len() > end.len() && host.ends_with(end),
            None => host == pattern,
        },
    }
}

fn is_path(route: &Route, path: &str) -> bool {
    if route.exact {
        return path == route.path;
    }
    match path.strip_prefix(route.path.as_str()) {
        Some(rest) => rest.is_empty() || route.path.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

/// What the service is asked for instead of `path`, which took `route`. It is in its normal form again.
#[must_use]
pub fn rewritten<'a>(route: &Route, path: &'a str) -> Cow<'a, str> {
    let Some(rewrite) = &route.rewrite else { return Cow::Borrowed(path) };
    if route.exact {
        return Cow::Owned(rewrite.clone());
    }
    let rest = path.strip_prefix(route.path.as_str()).unwrap_or_default();
    match (rewrite.ends_with('/'), rest.starts_with('/')) {
        (true, true) => Cow::Owned(format!("{}{}", rewrite.trim_end_matches('/'), rest)),
        (false, false) if !rest.is_empty() || rewrite.is_empty() => Cow::Owned(format!("{rewrite}/{rest}")),
        _ => Cow::Owned(format!("{rewrite}{rest}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Route, Router, rewritten};
    use crate::manager::path;

    fn route(host: Option<&str>, at: &str, exact: bool, rewrite: Option<&str>) -> Route {
        Route {
            host: host.map(str::to_owned),
            path: at.to_owned(),
            exact,
            service: format!("{}{at}{}", host.unwrap_or(""), if exact { "!" } else { "" }),
            rewrite: rewrite.map(str::to_owned),
            body_size: None,
            response_timeout: None,
        }
    }

    #[test]
    fn the_most_exact_route_wins_whatever_their_order_is() {
        let router = Router::new(vec![
            route(None, "/", false, None),
            route(None, "/api", false, None),
            route(None, "/api/v2/", false, None),
            route(None, "/api/health", true, None),
            route(Some("*.example"), "/", false, None),
            route(Some("*.app.example"), "/", false, None),
            route(Some("app.example"), "/", false, None),
        ]);
        for (host, path, service) in [
            ("x", "/", "/"),
            ("x", "/apis", "/"),
            ("x", "/api", "/api"),
            ("x", "/api/a", "/api"),
            ("x", "/api/v2", "/api"),
            ("x", "/api/v2/", "/api/v2/"),
            ("x", "/api/health", "/api/health!"),
            ("x", "/api/health/", "/api"),
            ("app.example", "/api", "app.example/"),
            ("b.app.example", "/", "*.app.example/"),
            ("b.example", "/", "*.example/"),
            ("example", "/", "/"),
        ] {
            assert_eq!(router.find(host, path).unwrap().service, service, "{host}{path}");
        }
        assert!(Router::new(vec![route(None, "/a/", false, None)]).find("x", "/a").is_none());
    }

    #[test]
    fn paths_are_rewritten_without_lost_or_doubled_slashes() {
        for (at, exact, rewrite, path, becomes) in [
            ("/api/health", true, "/health", "/api/health", "/health"),
            ("/api/", false, "/", "/api/a/b", "/a/b"),
            ("/api", false, "", "/api/a", "/a"),
            ("/api", false, "", "/api", "/"),
            ("/api", false, "/", "/api/a", "/a"),
            ("/api", false, "/v2", "/api/a", "/v2/a"),
            ("/api/", false, "/v2", "/api/a", "/v2/a"),
            ("/api/", false, "/v2", "/api/", "/v2"),
            ("/", false, "/app/", "/a", "/app/a"),
            ("/", false, "/app", "/a", "/app/a"),
        ] {
            assert_eq!(
                rewritten(&route(None, at, exact, Some(rewrite)), path),
                becomes,
                "{at} {rewrite} {path}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_rewritten_path_is_normal_and_stays_below(tail in "[a./]{0,12}", rewrite in prop::sample::select(vec!["", "/", "/v2", "/v2/"])) {
            let Ok(path) = path::normal(&format!("/api/{tail}")).map(std::borrow::Cow::into_owned) else { return Ok(()) };
            let route = route(None, "/api", false, Some(rewrite));
            if Router::new(vec![route.clone()]).find("x", &path).is_some() {
                let out = rewritten(&route, &path);
                prop_assert_eq!(path::normal(&out).unwrap(), out.as_ref());
                prop_assert!(out.starts_with(rewrite.trim_end_matches('/')));
            }
        }
    }
}
