//! `/etc/hosts` and `/etc/resolv.conf`, with the bounds that resolv.conf(5) names.

use std::net::IpAddr;
use std::time::Duration;

/// Name servers that are asked, at most.
const SERVERS_MAX: usize = 3;

/// Domains that are tried, at most.
const SEARCH_MAX: usize = 6;

/// What `resolv.conf` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) servers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
    pub(super) attempts: usize,
    pub(super) timeout: Duration,
}

impl Config {
    pub(super) fn parse(text: &str) -> Self {
        let mut config = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            attempts: 2,
            timeout: Duration::from_secs(5),
        };
        for line in text.lines().map(|line| line.split(['#', ';']).next().unwrap_or_default()) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => config.servers.extend(words.next().and_then(address)),
                // The last of these lines counts.
                Some("search" | "domain") => {
                    config.search = words.map(|domain| domain.trim_matches('.').to_owned()).collect();
                }
                Some("options") => words.for_each(|option| config.option(option)),
                _ => {}
            }
        }
        config.servers.truncate(SERVERS_MAX);
        config.search.truncate(SEARCH_MAX);
        if config.servers.is_empty() {
            config.servers.push(IpAddr::from([127, 0, 0, 1]));
        }
        config
    }

    fn option(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<u16>() else { return };
        match name {
            "ndots" => self.ndots = usize::from(value.min(15)),
            "attempts" => self.attempts = usize::from(value.clamp(1, 5)),
            "timeout" => self.timeout = Duration::from_secs(u64::from(value.clamp(1, 30))),
            _ => {}
        }
    }

    /// The names to ask for, in order: as it is first when it has dots enough, else last.
    pub(super) fn candidates(&self, host: &str) -> Vec<String> {
        if let Some(whole) = host.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let mut names: Vec<String> = self
            .search
            .iter()
            .filter(|domain| !domain.is_empty())
            .map(|domain| format!("{host}.{domain}"))
            .collect();
        let dots = host.bytes().filter(|byte| *byte == b'.').count();
        let position = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(position, host.to_owned());
        names
    }
}

/// An address; the interface that may follow one of a link is left out.
fn address(text: &str) -> Option<IpAddr> {
    text.split('%').next()?.parse().ok()
}

/// The addresses of `host` in the text of `/etc/hosts`, IPv4 first.
pub(super) fn hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut found: Vec<IpAddr> = lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = address(words.next()?)?;
            words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
        })
        .collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_read_within_their_bounds() {
        let text = "# comment\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver bad\n\
            search a.example. b.example ; c\noptions ndots:5 timeout:99 attempts:0 rotate\n";
        let config = Config::parse(text);
        assert_eq!(config.servers, ["10.0.0.1".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
        assert_eq!((config.ndots, config.attempts, config.timeout), (5, 1, Duration::from_secs(30)));
        assert_eq!(config.candidates("web"), ["web.a.example", "web.b.example", "web"]);
        assert_eq!(config.candidates("web."), ["web"]);
        assert_eq!(Config::parse("search x").candidates("a.b"), ["a.b", "a.b.x"]);
        assert_eq!(Config::parse("").servers, [IpAddr::from([127, 0, 0, 1])]);
    }

    #[test]
    fn hosts_are_found_by_any_of_their_names_in_any_case() {
        let text = "::1 localhost ip6-localhost\n127.0.0.1 localhost # web\n10.0.0.9\tWeb db\n";
        assert_eq!(hosts(text, "web"), [IpAddr::from([10, 0, 0, 9])]);
        assert_eq!(hosts(text, "localhost").len(), 2);
        assert!(hosts(text, "localhost")[0].is_ipv4());
        assert!(hosts(text, "we").is_empty());
    }
}
