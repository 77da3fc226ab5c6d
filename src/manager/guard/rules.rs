//! Which requests are let through: a pure function from a request to a call, or to the reason why not.

use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use crate::client::query::Path;
use crate::manager::reach::engine::MANAGED;
use crate::manager::reach::engine::SVCTL;
use crate::manager::reach::engine::UNTIL_EOF;
use crate::manager::reach::engine::exec_of;
use crate::manager::reach::engine::is_until_eof;
use crate::units::name::UnitName;

/// Verbs of `svctl` that may be executed. None of them runs a program of the caller's choice, as `exec` and `run` would.
pub const VERBS: &[&str] =
    &["status", "health", "why", "events", "logs", "reload", "restart", "start", "stop"];

/// Options of `svctl` that may be given.
const SWITCHES: &[&str] = &["--json", "--initial", "--follow", UNTIL_EOF, "--with-dependants", "--no-wait"];

/// Words of one command at most.
const WORDS_MAX: usize = 16;

/// Labels that a list may be narrowed by.
const LABELS: &[&str] = &["com.docker.compose.service", "com.docker.compose.project", "svinit.service"];

/// Seconds that a container may be given to end before it is restarted.
const STOP_MAX: u64 = 600;

/// What may be asked of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Which version of the API it speaks.
    Version,
    /// Containers with the label, and these.
    List {
        /// `name=value`.
        labels: Vec<String>,
    },
    /// One container.
    Inspect {
        /// Its name or number.
        container: String,
    },
    /// `svctl`, in a container with the label.
    MakeExec {
        /// Its name or number.
        container: String,
        /// The whole command.
        command: Vec<String>,
    },
    /// One that was made here.
    StartExec {
        /// Its number.
        exec: String,
    },
    /// What became of one that was made here.
    InspectExec {
        /// Its number.
        exec: String,
    },
    /// The whole container, with the label.
    Restart {
        /// Its name or number.
        container: String,
        /// Seconds.
        stop: u64,
    },
    /// What happens to containers with the label.
    Events,
}

/// What a guard may let through beside what it always does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    /// Containers may be restarted.
    pub restart: bool,
}

/// What is asked for by this request.
///
/// # Errors
/// Why it is not let through.
pub fn judge(method: &str, target: &str, body: &[u8], permits: Permits) -> Result<Call, String> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = pairs(query)?;
    let path = unversioned(path)?;
    let words: Vec<&str> = path.split('/').skip(1).collect();
    let call = match (method, words.as_slice()) {
        ("GET", ["version"]) => {
            only(&query, &[])?;
            Call::Version
        }
        ("GET", ["containers", "json"]) => {
            only(&query, &["all", "filters"])?;
            Call::List { labels: labels(&query)? }
        }
        ("GET", ["containers", container, "json"]) => {
            only(&query, &[])?;
            Call::Inspect { container: reference(container)? }
        }
        ("POST", ["containers", container, "exec"]) => {
            only(&query, &[])?;
            return Ok(Call::MakeExec { container: reference(container)?, command: command(body)? });
        }
        ("POST", ["exec", exec, "start"]) => {
            only(&query, &[])?;
            attached(body)?;
            return Ok(Call::StartExec { exec: number(exec)? });
        }
        ("GET", ["exec", exec, "json"]) => {
            only(&query, &[])?;
            Call::InspectExec { exec: number(exec)? }
        }
        ("POST", ["containers", container, "restart"]) => {
            only(&query, &["t"])?;
            if !permits.restart {
                return Err("containers are not restarted here (--allow-restart)".to_owned());
            }
            Call::Restart { container: reference(container)?, stop: seconds(&query)? }
        }
        ("GET", ["events"]) => {
            only(&query, &["filters"])?;
            Call::Events
        }
        _ => return Err("no such call is let through".to_owned()),
    };
    if body.is_empty() { Ok(call) } else { Err("this call has no body".to_owned()) }
}

impl Call {
    /// The request that the engine gets: method, path and body.
    #[must_use]
    pub fn request(&self) -> (&'static str, String, Option<Vec<u8>>) {
        let path = |path: Path| path.as_str().to_owned();
        match self {
            Self::Version => ("GET", path(Path::new("/version")), None),
            Self::List { labels } => {
                let all: Vec<&str> = labels.iter().map(String::as_str).chain([MANAGED]).collect();
                let filters = json!({ "label": all }).to_string();
                (
                    "GET",
                    path(Path::new("/containers/json").with("all", "true").with("filters", &filters)),
                    None,
                )
            }
            Self::Inspect { container } => {
                ("GET", path(Path::new("/containers").segment(container).segment("json")), None)
            }
            Self::MakeExec { container, command } => {
                let body = exec_of(command);
                let at = Path::new("/containers").segment(container).segment("exec");
                ("POST", path(at), Some(body.to_string().into_bytes()))
            }
            Self::StartExec { exec } => {
                let body = json!({ "Detach": false, "Tty": false });
                (
                    "POST",
                    path(Path::new("/exec").segment(exec).segment("start")),
                    Some(body.to_string().into_bytes()),
                )
            }
            Self::InspectExec { exec } => {
                ("GET", path(Path::new("/exec").segment(exec).segment("json")), None)
            }
            Self::Restart { container, stop } => {
                let at = Path::new("/containers").segment(container).segment("restart");
                ("POST", path(at.with("t", &stop.to_string())), None)
            }
            Self::Events => {
                let filters = json!({ "type": ["container"], "label": [MANAGED] }).to_string();
                ("GET", path(Path::new("/events").with("filters", &filters)), None)
            }
        }
    }
}

/// Without `/v1.45`. The version is chosen by the guard.
fn unversioned(path: &str) -> Result<&str, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if !path.starts_with('/') || !path.bytes().all(is_plain) || path.contains("//") || path.contains("/.") {
        return Err("its path is not plain".to_owned());
    }
    let Some((first, rest)) = path[1..].split_once('/') else { return Ok(path) };
    let number = first.strip_prefix('v').and_then(|version| version.split_once('.'));
    let is_number =
        |text: &str| !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    match number {
        Some((major, minor)) if is_number(major) && is_number(minor) => {
            Ok(&path[path.len() - rest.len() - 1..])
        }
        _ => Ok(path),
    }
}

/// The name or number of a container.
fn reference(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins_well && text.len() <= 128 && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("no container can be called that".to_owned())
    }
}

/// The number of an exec.
fn number(text: &str) -> Result<String, String> {
    let is_number = (12..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_number { Ok(text.to_owned()) } else { Err("no exec has this number".to_owned()) }
}

/// Names and values of a query, unescaped.
fn pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pairs: Option<Vec<(String, String)>> = parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((unescaped(name)?, unescaped(value)?))
        })
        .collect();
    let pairs = pairs.ok_or_else(|| "its query is not plain".to_owned())?;
    for (at, (name, _)) in pairs.iter().enumerate() {
        if pairs[..at].iter().any(|(other, _)| other == name) {
            return Err(format!("its query has {name:?} twice"));
        }
    }
    Ok(pairs)
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let value = digit(rest.next())? * 16 + digit(rest.next())?;
                bytes.push(u8::try_from(value).ok()?);
            }
            // What a plus means depends on who reads it.
            b'+' => return None,
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

fn only(query: &[(String, String)], known: &[&str]) -> Result<(), String> {
    match query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(format!("{name:?} in its query is not let through")),
        None => Ok(()),
    }
}

fn labels(query: &[(String, String)]) -> Result<Vec<String>, String> {
    let Some((_, filters)) = query.iter().find(|(name, _)| name == "filters") else { return Ok(Vec::new()) };
    let odd = || "its filters are not those of a list by label".to_owned();
    let filters: Filters = serde_json::from_str(filters).map_err(|_| odd())?;
    let mut labels = Vec::new();
    for label in filters.label.into_iter().filter(|label| label != MANAGED) {
        let (name, value) = label.split_once('=').ok_or_else(odd)?;
        if !LABELS.contains(&name) || value.is_empty() || value.chars().any(char::is_control) {
            return Err(format!("a list is not narrowed by the label {name:?} here"));
        }
        labels.push(label);
    }
    Ok(labels)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filters {
    #[serde(default)]
    label: Vec<String>,
}

fn seconds(query: &[(String, String)]) -> Result<u64, String> {
    let Some((_, text)) = query.iter().find(|(name, _)| name == "t") else { return Ok(10) };
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if plain { text.parse().ok() } else { None };
    seconds.filter(|seconds| *seconds <= STOP_MAX).ok_or_else(|| "t is no number of seconds".to_owned())
}

/// The only body that an exec is made from. Another key, or one in other letters, is not let through.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exec {
    #[serde(rename = "AttachStdin", default)]
    attach_stdin: bool,
    #[serde(rename = "AttachStdout", default)]
    _attach_stdout: bool,
    #[serde(rename = "AttachStderr", default)]
    _attach_stderr: bool,
    #[serde(rename = "Tty", default)]
    tty: bool,
    #[serde(rename = "Privileged", default)]
    privileged: bool,
    #[serde(rename = "Cmd")]
    command: Vec<String>,
}

fn command(body: &[u8]) -> Result<Vec<String>, String> {
    let exec: Exec =
        serde_json::from_slice(body).map_err(|error| format!("an exec is not made from this: {error}"))?;
    if exec.tty || exec.privileged || (exec.attach_stdin && !is_until_eof(&exec.command)) {
        return Err(format!("an exec has no terminal, no privileges, and stdin only with {UNTIL_EOF} here"));
    }
    let (program, args) = exec.command.split_first().ok_or_else(|| "an exec has a command".to_owned())?;
    if program != SVCTL {
        return Err(format!("only {SVCTL} is executed"));
    }
    if args.len() > WORDS_MAX {
        return Err("its command is too long".to_owned());
    }
    let (verb, rest) = args.split_first().ok_or_else(|| "svctl is given a verb".to_owned())?;
    if !VERBS.contains(&verb.as_str()) {
        return Err(format!("svctl {verb:?} is not executed from outside"));
    }
    check_args(verb, rest)?;
    Ok(exec.command)
}

fn check_args(verb: &str, args: &[String]) -> Result<(), String> {
    let mut units = 0;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if SWITCHES.contains(&arg.as_str()) {
            continue;
        }
        if arg == "--timeout" {
            let time = args.next().map_or("", String::as_str);
            let digits = time.trim_end_matches(|c: char| c.is_ascii_lowercase());
            let is_time = (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            if !is_time || !["ms", "s", "m", "h"].contains(&&time[digits.len()..]) {
                return Err("--timeout is no time".to_owned());
            }
            continue;
        }
        if arg == "--lines" {
            let lines = args.next().map_or("", String::as_str);
            if !(1..=6).contains(&lines.len()) || !lines.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err("--lines is no number".to_owned());
            }
            continue;
        }
        UnitName::new(arg)
            .map_err(|_| format!("{arg:?} is no option that is let through, and no name of a unit"))?;
        // `all` is every unit, which nobody repairs from outside.
        if arg == "all" {
            return Err("units are named one by one".to_owned());
        }
        units += 1;
    }
    if units == 0 && !["status", "health", "events"].contains(&verb) {
        return Err(format!("svctl {verb} is given a unit"));
    }
    Ok(())
}

/// The only body that an exec is started with: attached, without a terminal.
fn attached(body: &[u8]) -> Result<(), String> {
    let odd = || "an exec is started attached and without a terminal".to_owned();
    if body.is_empty() {
        return Ok(());
    }
    let value: Value = serde_json::from_slice(body).map_err(|_| odd())?;
    let object = value.as_object().ok_or_else(odd)?;
    let is_off = |(name, value): (&String, &Value)| {
        ["Detach", "Tty"].contains(&name.as_str()) && *value == json!(false)
    };
    if object.iter().all(is_off) { Ok(()) } else { Err(odd()) }
}
