//! The command line: which word is the verb, and the options that many verbs share.
//!
//! The verb is found before anything is parsed, so that only its own options have to be built.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;
use clap::Command;
use clap::value_parser;

use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::verbs::Verb;

/// Options that take a value and may stand before the verb.
const WITH_VALUE: [&str; 2] = ["--socket", "--timeout"];

/// A command line cut in two.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The first word that is no option.
    pub(super) verb: Option<String>,
    /// The program's name and everything but the verb, in order.
    pub(super) rest: Vec<OsString>,
}

/// Finds the verb in `args`, which begin with the program's name.
pub(super) fn split(args: Vec<OsString>) -> Result<Call, Failure> {
    let mut rest = Vec::with_capacity(args.len().max(1));
    let mut args = args.into_iter();
    rest.push(args.next().unwrap_or_else(|| "svctl".into()));
    while let Some(arg) = args.next() {
        let Some(text) = arg.to_str() else {
            return Err(Failure::usage(format!("{} is no verb: it is not text", arg.display())));
        };
        if !text.starts_with('-') {
            let verb = Some(text.to_owned());
            rest.extend(args);
            return Ok(Call { verb, rest });
        }
        let takes_value = WITH_VALUE.contains(&text);
        rest.push(arg);
        if takes_value {
            rest.extend(args.next());
        }
    }
    Ok(Call { verb: None, rest })
}

/// The options and arguments of `verb`, with its help.
pub(super) fn command(verb: &Verb) -> Command {
    let base = Command::new(verb.name)
        .bin_name(format!("svctl {}", verb.name))
        .about(verb.about)
        .long_about(format!("{}\n\n{}", verb.about, verb.details))
        .after_long_help(examples(verb))
        .disable_version_flag(true)
        .disable_help_flag(true)
        .visible_aliases(verb.aliases.iter().copied())
        .arg(
            Arg::new("socket")
                .long("socket")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .help("The supervisor's control socket [default: where svinit makes it; SVINIT_SOCKET]")
                .display_order(900),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print JSON for programs")
                .display_order(901),
        )
        .arg(
            Arg::new("help")
                .long("help")
                .short('h')
                .action(ArgAction::Help)
                .help("Print help (-h: short)")
                .display_order(902),
        );
    (verb.arguments)(base)
}

fn examples(verb: &Verb) -> String {
    if verb.examples.is_empty() {
        return String::new();
    }
    let width = verb.examples.iter().map(|(call, _)| call.len()).max().unwrap_or(0);
    let lines: Vec<String> =
        verb.examples.iter().map(|(call, what)| format!("  {call:width$}  {what}")).collect();
    format!("Examples:\n{}", lines.join("\n"))
}

/// `UNIT...`, at least one.
pub(super) fn units(command: Command) -> Command {
    command.arg(unit_arg("Names, aliases, globs such as 'web*', or all").num_args(1..).required(true))
}

/// `[UNIT]...`.
pub(super) fn some_units(command: Command) -> Command {
    command.arg(unit_arg("Names, aliases, globs such as 'web*', or all [default: all]").num_args(0..))
}

/// One `UNIT`.
pub(super) fn one_unit(command: Command) -> Command {
    command.arg(unit_arg("Name or alias").required(true))
}

fn unit_arg(help: &'static str) -> Arg {
    Arg::new("units").value_name("UNIT").help(help)
}

/// `--timeout`.
pub(super) fn timeout(command: Command) -> Command {
    command.arg(
        Arg::new("timeout")
            .long("timeout")
            .short('t')
            .value_name("TIME")
            .value_parser(duration)
            .help("Give up after so long, such as 30s or 2m, and exit with 7 [default: never]")
            .display_order(800),
    )
}

/// `--no-wait`.
pub(super) fn no_wait(command: Command) -> Command {
    command.arg(flag("no-wait", "Do not wait until it is done").display_order(801))
}

/// A switch.
pub(super) fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// What was given for `UNIT`.
pub(super) fn named(matches: &ArgMatches) -> Vec<String> {
    matches.get_many::<String>("units").into_iter().flatten().cloned().collect()
}

/// The same where exactly one is required by the parser.
pub(super) fn the_one(matches: &ArgMatches) -> String {
    matches.get_one::<String>("units").cloned().unwrap_or_default()
}

/// Reads `30`, `30s`, `500ms`, `2m` or `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("write a time such as 500ms, 30s, 2m or 1h".to_owned()),
    };
    let number: f64 = digits.parse().map_err(|_| "write a time such as 500ms, 30s, 2m or 1h".to_owned())?;
    match Duration::try_from_secs_f64(number * scale) {
        Ok(time) if !time.is_zero() && time < Duration::from_secs(100 * 365 * 86_400) => Ok(time),
        _ => Err("a time is more than 0 and less than a hundred years".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::time::Duration;

    use super::duration;
    use super::split;

    fn cut(line: &str) -> (Option<String>, String) {
        let call = split(line.split(' ').map(OsString::from).collect()).unwrap();
        (call.verb, call.rest.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn options_may_stand_before_the_verb() {
        assert_eq!(
            cut("svctl --socket /s status web"),
            (Some("status".into()), "svctl --socket /s web".into())
        );
        assert_eq!(
            cut("svctl --json --timeout=3 ls"),
            (Some("ls".into()), "svctl --json --timeout=3".into())
        );
        assert_eq!(cut("svctl --help"), (None, "svctl --help".into()));
        assert_eq!(cut("svctl --socket"), (None, "svctl --socket".into()));
    }

    #[test]
    fn times_are_seconds_unless_they_say_otherwise() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for odd in ["", "s", "-1", "0", "1y", "nan", "inf", "1e99"] {
            assert!(duration(odd).is_err(), "{odd}");
        }
    }
}
