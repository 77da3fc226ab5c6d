//! What would become of a request, step by step, without sending it: the same filter, routes and header lines as for real ones.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::manager::config::spec::{Balance, Config, Route, Service};
use crate::manager::cors;
use crate::manager::filter::{Admitted, Refused, admit};
use crate::manager::headers::{self, Asker};
use crate::manager::names;
use crate::manager::router::{Router, rewritten};
use crate::manager::wire::head::Head;
use crate::net::resolve::Resolver;

/// A request to be explained.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its method.
    pub method: String,
    /// `http://HOST/PATH`, or a path alone.
    pub url: String,
    /// `Name: value`.
    pub headers: Vec<String>,
    /// Who asks.
    pub from: IpAddr,
}

/// The explanation, and whether a service would be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// In words.
    pub text: String,
    /// A service would be asked.
    pub is_served: bool,
}

/// Explains what `config` makes of `question`. Only names are looked up.
///
/// # Errors
/// The question is none.
pub async fn explain(config: &Config, question: &Question, resolver: &Resolver) -> Result<Explained, String> {
    let (head, admitted) = match asked(question)? {
        (head, Ok(admitted)) => (head, admitted),
        (_, Err(refused)) => {
            let text = format!("refused with {}: {}\n", refused.status, refused.why);
            return Ok(Explained { text, is_served: false });
        }
    };
    let mut out = String::new();
    if let Some(cors) = &config.cors
        && cors::is_preflight(question.method.as_bytes(), &head)
    {
        let mut lines = Vec::new();
        cors.preflight(&head, &mut lines);
        let _ = write!(out, "preflight: answered here with 204\n{}", indented(&lines));
        return Ok(Explained { text: out, is_served: false });
    }
    let router = Router::new(config.routes.clone());
    let found = router.find(&admitted.host, &admitted.path);
    let _ =
        writeln!(out, "request   {} {}{}{}", question.method, admitted.host, admitted.path, admitted.query);
    let Some(route) = found else {
        let _ = writeln!(out, "route     none: answered with 404; there are");
        for route in router.routes() {
            let _ = writeln!(out, "            {}", described(route));
        }
        return Ok(Explained { text: out, is_served: false });
    };
    let service = config.services.get(&route.service).ok_or("the service of this route is not there")?;
    let _ = writeln!(out, "route     {}", described(route));
    let path = rewritten(route, &admitted.path);
    if path != admitted.path {
        let _ = writeln!(out, "path      {path}");
    }
    let _ = writeln!(out, "service   {}: {}", service.name, instances(service, resolver).await);
    tell_limits(config, route, service, &mut out);
    let upgrade = admitted.upgrade.as_deref();
    let taken = upgrade.filter(|wanted| service.upgrade.iter().any(|known| known == wanted));
    match (upgrade, taken) {
        (Some(protocol), Some(_)) => {
            let _ = writeln!(out, "upgrade   to {protocol}, if the service agrees");
        }
        (Some(protocol), None) => {
            let _ =
                writeln!(out, "upgrade   not to {protocol}: upgrade of {} does not list it", service.name);
        }
        (None, _) => {}
    }
    tell_headers(config, &head, &admitted, question, &path, service, taken, &mut out);
    Ok(Explained { text: out, is_served: true })
}

/// The head of the request, and what the filter says about it.
fn asked(question: &Question) -> Result<(Head, Result<Admitted, Refused>), String> {
    let url = question.url.strip_prefix("http://").or_else(|| question.url.strip_prefix("https://"));
    let (host, target) = match url {
        Some(rest) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        None if question.url.starts_with('/') => ("localhost", question.url.as_str()),
        None => return Err(format!("{:?} is neither http://HOST/PATH nor /PATH", question.url)),
    };
    let target = if target.is_empty() { "/" } else { target };
    let mut text = format!("{} {target} HTTP/1.1\r\n", question.method);
    let is_host =
        |line: &String| line.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case("host"));
    if !question.headers.iter().any(is_host) {
        let _ = write!(text, "Host: {host}\r\n");
    }
    for line in &question.headers {
        let _ = write!(text, "{line}\r\n");
    }
    text.push_str("\r\n");
    let mut head = Head::default();
    let read = head.read(text.as_bytes(), 1000);
    let admitted = match read {
        Ok(()) => admit(&head),
        Err(flaw) => Err(Refused { status: 400, why: flaw.to_string(), closes: true }),
    };
    Ok((head, admitted))
}

fn described(route: &Route) -> String {
    let host = route.host.as_deref().unwrap_or("every host");
    let kind = if route.exact { "exactly" } else { "below" };
    format!("{kind} {} of {host} -> {}", route.path, route.service)
}

async fn instances(service: &Service, resolver: &Resolver) -> String {
    let how = match service.balance {
        Balance::RoundRobin => "in turn",
        Balance::LeastConnections => "the one with the fewest requests",
        Balance::Hash => "by hash",
    };
    match names::look_up(service, resolver).await {
        Ok(found) => {
            let all: Vec<String> = found.iter().map(SocketAddr::to_string).collect();
            match all.as_slice() {
                [one] => one.clone(),
                all => format!("{how}, of {}", all.join(", ")),
            }
        }
        Err(error) => format!("requests wait, since its instances are not known: {error}"),
    }
}

fn tell_limits(config: &Config, route: &Route, service: &Service, out: &mut String) {
    use crate::units::quantity::{print_duration, print_size};
    let limit = route.body_size.unwrap_or(config.limits.body_size);
    let limit = if limit == 0 { "any size".to_owned() } else { print_size(limit) };
    let timeout = route.response_timeout.unwrap_or(service.response_timeout);
    let timeout = if timeout.is_zero() { "any time".to_owned() } else { print_duration(timeout) };
    let _ = writeln!(
        out,
        "limits    body {limit}, answer within {timeout}, {} retries, {} wait for {} at most",
        service.retries,
        service.park.max_requests,
        print_duration(service.park.timeout)
    );
}

#[expect(clippy::too_many_arguments, reason = "all that is known about one request")]
fn tell_headers(
    config: &Config,
    head: &Head,
    admitted: &Admitted,
    question: &Question,
    path: &str,
    service: &Service,
    upgrade: Option<&str>,
    out: &mut String,
) {
    let port = config.listen.first().map_or(80, SocketAddr::port);
    let asker =
        Asker::of(head, admitted, question.from, port, &config.trusted_proxies, || "(new)".to_owned());
    let mut sent = Vec::new();
    headers::request(&mut sent, head, admitted, &asker, path, &service.name, upgrade);
    let shown = |(name, value): (&[u8], &[u8])| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    let before: BTreeSet<String> = head.lines().map(shown).collect();
    let mut after = Head::default();
    if after.read(&sent, 2000).is_err() {
        return;
    }
    let _ = writeln!(out, "sends     {}", String::from_utf8_lossy(after.first()));
    let lines: Vec<String> = after.lines().map(shown).collect();
    for line in before.iter().filter(|line| !lines.contains(line)) {
        let _ = writeln!(out, "        - {line}");
    }
    for line in &lines {
        let _ = writeln!(out, "        {} {line}", if before.contains(line) { ' ' } else { '+' });
    }
    if let Some(cors) = &config.cors {
        let mut lines = Vec::new();
        cors.answer(head.get("origin"), &mut lines);
        let _ = write!(out, "answers   with\n{}", indented(&lines));
    }
}

fn indented(lines: &[u8]) -> String {
    String::from_utf8_lossy(lines).lines().map(|line| format!("        + {line}\n")).collect()
}
