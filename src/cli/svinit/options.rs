//! The supervisor's command line and the environment variables that stand in for it.
//!
//! Flag before environment before `svinit.toml` before default; the last two are not known here, so what was not given
//! stays `None`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::units::spec::LogFormat;

/// Where units are when nobody says otherwise.
pub const UNITS_DEFAULT: &str = "/etc/svinit/units";

/// What svinit was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `--units` or `SVINIT_UNITS`; empty: the default directory, which may be absent.
    pub units: Vec<PathBuf>,
    /// `--config` or `SVINIT_CONFIG`.
    pub config: Option<PathBuf>,
    /// `--socket` or `SVINIT_SOCKET`.
    pub socket: Option<PathBuf>,
    /// `--http` or `SVINIT_HTTP`; `Some(None)` is `off`.
    pub http: Option<Option<SocketAddr>>,
    /// `--log-format` or `SVINIT_LOG_FORMAT`.
    pub log_format: Option<LogFormat>,
    /// What to do.
    pub task: Task,
    /// The command of unit `main`; may be empty.
    pub command: Vec<String>,
}

/// What svinit is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Supervise.
    Run,
    /// Check the units and start nothing.
    Check,
    /// Make links to the other names in this directory.
    Link(PathBuf),
}

/// Reads `args` (with the program's name first) and what `env` answers.
///
/// # Errors
/// What is to be printed instead, which for `--help` and `--version` is no mistake; see [`clap::Error::exit_code`].
pub fn read(args: Vec<OsString>, env: &dyn Fn(&str) -> Option<String>) -> Result<Options, clap::Error> {
    let mut command = definition();
    let matches = command.try_get_matches_from_mut(args)?;
    options(&matches, env).map_err(|why| command.error(clap::error::ErrorKind::ValueValidation, why))
}

fn options(matches: &ArgMatches, env: &dyn Fn(&str) -> Option<String>) -> Result<Options, String> {
    let given = |name: &str| env(name).filter(|value| !value.is_empty());
    let path = |flag: &str, variable: &str| {
        matches.get_one::<PathBuf>(flag).cloned().or_else(|| given(variable).map(PathBuf::from))
    };
    let units = match matches.get_many::<PathBuf>("units") {
        Some(paths) => paths.cloned().collect(),
        None => given("SVINIT_UNITS").iter().flat_map(|list| split_paths(list)).collect(),
    };
    let http = match matches.get_one::<Option<SocketAddr>>("http") {
        Some(choice) => Some(*choice),
        None => given("SVINIT_HTTP").map(|text| named("SVINIT_HTTP", listener(&text))).transpose()?,
    };
    let log_format = match matches.get_one::<LogFormat>("log-format") {
        Some(format) => Some(*format),
        None => {
            given("SVINIT_LOG_FORMAT").map(|text| named("SVINIT_LOG_FORMAT", format(&text))).transpose()?
        }
    };
    Ok(Options {
        units,
        config: path("config", "SVINIT_CONFIG"),
        socket: path("socket", "SVINIT_SOCKET"),
        http,
        log_format,
        task: task(matches),
        command: matches.get_many::<String>("COMMAND").into_iter().flatten().cloned().collect(),
    })
}

fn task(matches: &ArgMatches) -> Task {
    if let Some(dir) = matches.get_one::<PathBuf>("link") {
        return Task::Link(dir.clone());
    }
    if matches.get_flag("check") { Task::Check } else { Task::Run }
}

fn split_paths(list: &str) -> Vec<PathBuf> {
    list.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

fn named<T>(variable: &str, read: Result<T, String>) -> Result<T, String> {
    read.map_err(|why| format!("{variable}: {why}"))
}

fn listener(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| format!("{text:?} is no address: give IP:PORT, such as 0.0.0.0:9500, or off"))
}

fn format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is neither text nor json")),
    }
}

/// The command line, for parsing, help, completions and the manual.
#[must_use]
pub fn definition() -> Command {
    Command::new("svinit")
        .version(env!("CARGO_PKG_VERSION"))
        .about("PID 1 for containers: starts services from TOML units, watches them and repairs one without the others")
        .override_usage("svinit [OPTIONS] [--] [COMMAND [ARG]...]")
        .disable_help_subcommand(true)
        .arg(units())
        .arg(path("config", "FILE", "The daemon's own settings [default: /etc/svinit/svinit.toml, if it is there]"))
        .arg(path("socket", "PATH", "The control socket [default: /run/svinit/control.sock, or the first that can be made of $XDG_RUNTIME_DIR/svinit/ and /tmp/svinit-UID/]"))
        .arg(
            Arg::new("http")
                .long("http")
                .value_name("ADDR|off")
                .value_parser(ValueParser::new(listener))
                .help("Where /health and /metrics are served, read-only [default: 0.0.0.0:9500 as PID 1, else 127.0.0.1:9500]"),
        )
        .arg(
            Arg::new("log-format")
                .long("log-format")
                .value_name("text|json")
                .value_parser(ValueParser::new(format))
                .help("One log line: \"UNIT | TEXT\" or a JSON object [default: text]"),
        )
        .arg(flag("check", "Check the units and whether their sockets can be had here, as svctl check --here does, and start nothing: status 0 or 78"))
        .arg(path("link", "DIR", "Make links to the other names of this program (svctl) in DIR, and leave"))
        .arg(
            Arg::new("as")
                .long("as")
                .value_name("NAME")
                .help("Be svinit or svctl, whatever the name this was called by; must come first"),
        )
        .arg(
            Arg::new("COMMAND")
                .help("Run this in the foreground as unit main, when all units are ready, and end with it and its status")
                .num_args(0..)
                .trailing_var_arg(true)
                .value_parser(value_parser!(String)),
        )
        .after_help(AFTER_HELP)
}

const AFTER_HELP: &str = "\
Environment: SVINIT_UNITS (paths with colons between), SVINIT_CONFIG, SVINIT_SOCKET, SVINIT_HTTP and
SVINIT_LOG_FORMAT stand in for the options of the same name.

Exit status: 0 after a shutdown that was asked for; the status of the essential unit or COMMAND that ended (128+N for
signal N, 126 and 127 as in a shell); 0 when nothing is left to run and all of it completed well, else the status of
the first unit that failed for good; 2 usage; 78 bad configuration.";

fn units() -> Arg {
    path("units", "PATH", "A directory of NAME.toml files, or one file; repeatable, a later one overrides an earlier one key by key [default: /etc/svinit/units]")
        .action(ArgAction::Append)
}

fn path(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).value_parser(value_parser!(PathBuf)).help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Options, Task, read};
    use crate::units::spec::LogFormat;

    fn with(args: &[&str], env: &[(&str, &str)]) -> Result<Options, clap::Error> {
        let args = ["svinit"].iter().chain(args).map(Into::into).collect();
        read(args, &|name| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    fn paths(list: &[&str]) -> Vec<PathBuf> {
        list.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn everything_after_the_first_word_belongs_to_the_command() {
        let options = with(&["--units", "a", "sh", "-c", "--check", "--units"], &[]).unwrap();
        assert_eq!(options.units, paths(&["a"]));
        assert_eq!(options.command, ["sh", "-c", "--check", "--units"]);
        assert_eq!(options.task, Task::Run);
        assert_eq!(with(&["--", "-x"], &[]).unwrap().command, ["-x"]);
        assert_eq!(with(&["echo", "", "a b"], &[]).unwrap().command, ["echo", "", "a b"]);
    }

    #[test]
    fn flags_win_over_the_environment() {
        let env = [("SVINIT_UNITS", "/a::/b"), ("SVINIT_HTTP", "off"), ("SVINIT_LOG_FORMAT", "json")];
        let from_env = with(&[], &env).unwrap();
        assert_eq!(from_env.units, paths(&["/a", "/b"]));
        assert_eq!(from_env.http, Some(None));
        assert_eq!(from_env.log_format, Some(LogFormat::Json));
        let from_flags = with(&["--units=c", "--units", "d", "--http", "[::1]:0", "--log-format=text"], &env);
        let from_flags = from_flags.unwrap();
        assert_eq!(from_flags.units, paths(&["c", "d"]));
        assert_eq!(from_flags.http, Some(Some("[::1]:0".parse().unwrap())));
        assert_eq!(from_flags.log_format, Some(LogFormat::Text));
    }

    #[test]
    fn what_was_not_given_stays_open() {
        let options = with(&[], &[("SVINIT_SOCKET", "")]).unwrap();
        let open = Options {
            units: Vec::new(),
            config: None,
            socket: None,
            http: None,
            log_format: None,
            task: Task::Run,
            command: Vec::new(),
        };
        assert_eq!(options, open);
    }

    #[test]
    fn mistakes_are_told_with_status_2_wherever_they_were_made() {
        for (args, env, expected) in [
            (vec!["--http", "9500"], vec![], "\"9500\" is no address"),
            (vec![], vec![("SVINIT_HTTP", "on")], "SVINIT_HTTP: \"on\" is no address"),
            (vec!["--log-format", "xml"], vec![], "\"xml\" is neither text nor json"),
            (vec!["--unit", "a"], vec![], "--units"),
        ] {
            let error = with(&args, &env).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn help_and_version_are_no_mistakes() {
        assert_eq!(with(&["--help"], &[]).unwrap_err().exit_code(), 0);
        assert!(with(&["--version"], &[]).unwrap_err().to_string().contains(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn the_definition_is_sound() {
        super::definition().debug_assert();
    }
}
