//! Where a program seems to listen, by its arguments and its environment.
//!
//! A guess, so it is good for a warning only, and it must not cry wolf: a port may as well be that of another server to
//! which the program connects. What counts is an address that nobody connects to (`0.0.0.0:80`, `:80`), an option that
//! servers have, or one of a few variables.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::units::source::Place;
use crate::units::words;

/// Options whose value is a port or an address to listen at.
const OPTIONS: [&str; 13] = [
    "-b",
    "-p",
    "--addr",
    "--address",
    "--bind",
    "--http",
    "--http-port",
    "--listen",
    "--listen-address",
    "--listen-port",
    "--port",
    "-listen",
    "-port",
];

/// Of these the value may be anything but a port: `-p 4` are four processes to many a program.
const SHORT: [&str; 2] = ["-b", "-p"];

/// Options that say where the port of another option is.
const HOSTS: [&str; 4] = ["-h", "-H", "--host", "--hostname"];

/// Variables whose value is the port at which a program listens.
const VARIABLES: [&str; 10] = [
    "PORT",
    "BIND_PORT",
    "FLASK_RUN_PORT",
    "GRANIAN_PORT",
    "HTTPS_PORT",
    "HTTP_PORT",
    "HYPERCORN_PORT",
    "LISTEN_PORT",
    "SERVER_PORT",
    "UVICORN_PORT",
];

/// The lowest number that is taken for a port where it may be another number.
const PORT_LIKELY: u16 = 1024;

/// An address at which a program seems to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    /// As it was written.
    pub(super) text: String,
    pub(super) port: u16,
}

/// Where a command listens; its first word is the program.
pub(super) fn of_command(words: &[String]) -> Option<Listening> {
    let arguments = words.get(1..)?;
    // Each instance has a queue of its own then.
    if arguments.iter().any(|word| is_about_sharing(word)) || is_elsewhere(arguments) {
        return None;
    }
    let pairs =
        arguments.iter().zip(arguments.iter().skip(1)).map(|(name, value)| (name.as_str(), value.as_str()));
    let joined = arguments.iter().filter_map(|word| word.split_once('='));
    let by_option = pairs.chain(joined).find_map(|(name, value)| of_option(name, value));
    let alone = || {
        let values =
            arguments.iter().map(|word| word.split_once('=').map_or(word.as_str(), |(_, value)| value));
        values.into_iter().find_map(of_address_of_all)
    };
    by_option.or_else(alone)
}

/// Where a line for the shell listens. What the shell would make of it is not known.
pub(super) fn of_line(line: &str) -> Option<Listening> {
    let words = words::split(line).ok()?;
    let words: Vec<String> = std::iter::once(String::new()).chain(words).collect();
    of_command(&words)
}

/// What variables say of where a program listens, with the place of each.
pub(super) fn of_variables(variables: &BTreeMap<String, (String, Place)>) -> Vec<(Listening, Place)> {
    if variables.keys().any(|name| is_about_sharing(name)) {
        return Vec::new();
    }
    let one = |(name, (value, at)): (&String, &(String, Place))| {
        let found = match name.as_str() {
            "GUNICORN_CMD_ARGS" => of_line(value),
            _ if is_port_variable(name, variables) => port(value).map(|port| found(value, port)),
            _ => of_address_of_all(value).filter(|_| !value.starts_with(':')),
        };
        Some((found?, *at))
    };
    variables.iter().filter_map(one).collect()
}

fn is_about_sharing(word: &str) -> bool {
    word.to_ascii_lowercase().replace(['-', '_'], "").contains("reuseport")
}

/// The port is that of a server with a name: the program connects to it.
fn is_elsewhere(arguments: &[String]) -> bool {
    let pairs =
        arguments.iter().zip(arguments.iter().skip(1)).map(|(name, value)| (name.as_str(), value.as_str()));
    let joined = arguments.iter().filter_map(|word| word.split_once('='));
    pairs.chain(joined).any(|(name, value)| HOSTS.contains(&name) && is_name(value))
}

fn is_name(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    !matches!(host, "" | "*" | "localhost") && host.parse::<IpAddr>().is_err()
}

fn is_port_variable(name: &str, variables: &BTreeMap<String, (String, Place)>) -> bool {
    let is_one = VARIABLES.contains(&name) || name.ends_with("_LISTEN_PORT") || name.ends_with("_BIND_PORT");
    let host = name.strip_suffix("PORT").map(|stem| format!("{stem}HOST"));
    is_one && !host.and_then(|host| variables.get(&host)).is_some_and(|(host, _)| is_name(host))
}

fn of_option(name: &str, value: &str) -> Option<Listening> {
    if !OPTIONS.contains(&name) {
        return None;
    }
    let is_likely = |port: &u16| !SHORT.contains(&name) || *port >= PORT_LIKELY || [80, 443].contains(port);
    let number = port(value).filter(is_likely);
    Some(found(value, number.or_else(|| of_address(value))?))
}

/// `HOST:PORT` or `:PORT`, whatever stands before it.
fn of_address(text: &str) -> Option<u16> {
    let text = text.rsplit("//").next()?;
    let (host, number) = text.rsplit_once(':')?;
    if is_name(host) {
        return None;
    }
    port(number)
}

/// An address at which nobody but a listener can be.
fn of_address_of_all(text: &str) -> Option<Listening> {
    let is_of_all = text.starts_with(':')
        || text.starts_with("*:")
        || text.rsplit("//").next()?.parse::<SocketAddr>().is_ok_and(|at| at.ip().is_unspecified());
    is_of_all.then(|| of_address(text)).flatten().map(|port| found(text, port))
}

fn port(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // With 0 the kernel gives each another one.
    text.parse().ok().filter(|port| is_number && *port != 0)
}

fn found(text: &str, port: u16) -> Listening {
    Listening { text: text.to_owned(), port }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Option<u16> {
        let words: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
        of_command(&words).map(|found| found.port)
    }

    fn variables(all: &[(&str, &str)]) -> Vec<u16> {
        let one = |(name, value): &(&str, &str)| ((*name).to_owned(), ((*value).to_owned(), Place::whole(0)));
        let all = all.iter().map(one).collect();
        of_variables(&all).into_iter().map(|(found, _)| found.port).collect()
    }

    #[test]
    fn a_server_is_known_by_its_arguments() {
        for line in [
            "gunicorn -b 0.0.0.0:8000 app",
            "gunicorn --bind=127.0.0.1:8000 app",
            "gunicorn --bind=:8000 app",
            "uvicorn --host 127.0.0.1 --port 8000 app",
            "uvicorn --port=8000 app",
            "manage.py runserver 0.0.0.0:8000",
            "hypercorn --bind [::]:8000",
            "node server.js -p 8000",
            "server --listen tcp://0.0.0.0:8000",
            "server -addr=:8000",
        ] {
            assert_eq!(command(line), Some(8000), "{line}");
        }
    }

    #[test]
    fn what_may_be_anything_else_is_none() {
        for line in [
            "worker",
            "8000",
            "celery worker -c 8000",
            "worker --host db --port 5432",
            "worker redis:6379",
            "worker --redis=redis:6379",
            "worker --upstream 127.0.0.1:9000",
            "worker http://127.0.0.1:8000/",
            "mkdir -p /run/x",
            "worker -p 4",
            "worker -b 512",
            "server --port 0",
            "server --port auto",
            "server --port 99999",
            "server --reuse-port --port 8000",
            "python3 -m http.server --bind 127.0.0.1",
            "image:8000",
            "worker --time 12:30",
        ] {
            assert_eq!(command(line), None, "{line}");
        }
    }

    #[test]
    fn a_line_for_the_shell_is_looked_at_word_by_word() {
        assert_eq!(
            of_line("cd /app && exec gunicorn -b 0.0.0.0:8000 app").map(|found| found.port),
            Some(8000)
        );
        assert_eq!(of_line("exec serve --port $((8000 + SVINIT_INSTANCE))"), None);
        assert_eq!(of_line("exec serve --port 800$SVINIT_INSTANCE"), None);
        assert_eq!(of_line("it's broken"), None);
    }

    #[test]
    fn a_few_variables_are_about_the_program_itself() {
        assert_eq!(
            variables(&[("PORT", "8000"), ("UVICORN_PORT", "8001"), ("X_LISTEN_PORT", "8002")]),
            [8000, 8001, 8002]
        );
        assert_eq!(variables(&[("GUNICORN_CMD_ARGS", "--workers 2 --bind 0.0.0.0:8000")]), [8000]);
        assert_eq!(variables(&[("ADDRESS", "0.0.0.0:8000")]), [8000]);
        for other in ["PGPORT", "DB_PORT", "MYSQL_DB_PORT", "REDIS_PORT", "SMTP_PORT", "SUPPORT", "EXPORT"] {
            assert_eq!(variables(&[(other, "8000")]), [0; 0], "{other}");
        }
        assert_eq!(variables(&[("SERVER_PORT", "8000"), ("SERVER_HOST", "db")]), [0; 0]);
        assert_eq!(variables(&[("PORT", "8000"), ("REUSE_PORT", "1")]), [0; 0]);
        assert_eq!(variables(&[("PORT", "auto"), ("DISPLAY", ":1"), ("REDIS", "redis:6379")]), [0; 0]);
    }
}
