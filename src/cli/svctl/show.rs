//! `svctl show`, `cat` and `env`: a unit's facts, its files, its environment.

use clap::Arg;
use clap::ArgAction;
use clap::ArgMatches;
use serde_json::Value;

use crate::api::status::Definition;
use crate::api::status::Environment;
use crate::cli::exit::Exit;
use crate::cli::render::look::Tone;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::client::query::Path;

pub(super) const SHOW: Verb = Verb {
    name: "show",
    aliases: &["info", "describe"],
    group: Group::Understand,
    about: "Print every fact about units, one a line, for scripts",
    details: "Prints lines NAME=VALUE, values as in JSON but texts without quotes, nothing where there is none. \
              --property chooses some, --value leaves out their names.",
    examples: &[
        ("svctl show web", "all facts"),
        ("svctl show web -p pid --value", "the main process, for a script"),
    ],
    completes: Completes::Units,
    arguments: |command| {
        let property = Arg::new("property")
            .long("property")
            .short('p')
            .value_name("NAME")
            .action(ArgAction::Append)
            .value_delimiter(',')
            .help("Only this; may be given more than once");
        arguments::timeout(arguments::units(command))
            .arg(property)
            .arg(arguments::flag("value", "Print values without their names"))
    },
    run: show,
};

pub(super) const CAT: Verb = Verb {
    name: "cat",
    aliases: &[],
    group: Group::Configure,
    about: "Print a unit's files, and with --effective every key with its value",
    details: "The files are printed in the order in which they are laid over each other, the last one wins. Secrets \
              are shown by the path they are read from, never by value.",
    examples: &[("svctl cat --effective web", "every key, defaults included")],
    completes: Completes::Units,
    arguments: |command| {
        arguments::timeout(arguments::one_unit(command)).arg(
            arguments::flag("effective", "Every key with the value that is in force, as TOML").short('e'),
        )
    },
    run: cat,
};

pub(super) const ENV: Verb = Verb {
    name: "env",
    aliases: &["environment"],
    group: Group::Configure,
    about: "Print the environment that a unit's next process starts with",
    details: "Lines NAME=value, sorted. The values of secrets are shown as ***.",
    examples: &[("svctl env web", "what it will see")],
    completes: Completes::Units,
    arguments: |command| arguments::timeout(arguments::one_unit(command)),
    run: env,
};

fn show(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let units = session.units(&arguments::named(matches))?;
    if session.json {
        session.print_json(&units)?;
        return Ok(Exit::Done);
    }
    let wanted: Vec<&String> = matches.get_many("property").into_iter().flatten().collect();
    for (at, unit) in units.iter().enumerate() {
        let value = serde_json::to_value(unit)
            .map_err(|why| Failure::failed(format!("cannot show {}: {why}", unit.unit)))?;
        let facts =
            value.as_object().ok_or_else(|| Failure::failed("cannot show a unit: it has no facts"))?;
        if at > 0 && wanted.is_empty() {
            session.out.line("");
        }
        if let Some(odd) = wanted.iter().find(|name| !facts.contains_key(name.as_str())) {
            let known: Vec<&str> = facts.keys().map(String::as_str).collect();
            return Err(Failure::usage(format!(
                "no such property: {odd:?} (there are {})",
                known.join(", ")
            )));
        }
        for (name, value) in facts.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name)) {
            let text = plain(value);
            session.out.line(if matches.get_flag("value") { text } else { format!("{name}={text}") });
        }
    }
    Ok(Exit::Done)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace('\n', " "),
        Value::Array(all) if all.iter().all(Value::is_string) => {
            all.iter().map(plain).collect::<Vec<_>>().join(",")
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn cat(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let path = Path::new("/v1/units").segment(&arguments::the_one(matches));
    let definition: Definition =
        session.client().get(&Path::new(&format!("{}/definition", path.as_str())))?;
    if session.json {
        session.print_json(&definition)?;
    } else if matches.get_flag("effective") {
        session.out.text(&definition.effective);
    } else {
        for (at, (file, text)) in definition.files.iter().zip(&definition.texts).enumerate() {
            let heading = session.out.look.paint(Tone::Faint, &format!("# {file}")).into_owned();
            session.out.text(if at > 0 { "\n" } else { "" });
            session.out.line(heading);
            session.out.text(text);
            if !text.ends_with('\n') {
                session.out.line("");
            }
        }
    }
    Ok(Exit::Done)
}

fn env(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let path = Path::new("/v1/units").segment(&arguments::the_one(matches));
    let environment: Environment =
        session.client().get(&Path::new(&format!("{}/environment", path.as_str())))?;
    if session.json {
        session.print_json(&environment.variables)?;
    } else {
        for (name, value) in &environment.variables {
            session.out.line(format!("{name}={value}"));
        }
    }
    Ok(Exit::Done)
}
