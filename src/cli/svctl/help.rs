//! `svctl help`: the table of verbs, and one of them at length.

use std::ffi::OsString;

use clap::Arg;
use clap::ArgMatches;
use clap::error::ErrorKind;

use crate::cli::exit::Exit;
use crate::cli::render::look::Look;
use crate::cli::render::look::Tone;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::verbs;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::cli::svctl::version;

pub(super) const HELP: Verb = Verb {
    name: "help",
    aliases: &[],
    group: Group::Other,
    about: "List the verbs, or explain one of them",
    details: "",
    examples: &[("svctl help restart", "the same as svctl restart --help")],
    completes: Completes::Verbs,
    arguments: |command| command.arg(Arg::new("verb").value_name("VERB").help("Which")),
    run,
};

/// What the exit statuses mean, for the manual and `docs/svctl.md`.
#[cfg(test)]
pub(super) const STATUSES: &[(u8, &str)] = &[
    (0, "done"),
    (1, "failed"),
    (2, "the command line makes no sense"),
    (3, "status UNIT, is-active: not up; health: not well"),
    (4, "no such unit"),
    (5, "not permitted"),
    (6, "no supervisor at the socket"),
    (7, "timed out waiting"),
    (78, "check: bad configuration"),
];

fn run(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    match matches.get_one::<String>("verb") {
        None => session.out.text(overview(session.out.look)),
        Some(word) => {
            let verb = verbs::find(word).ok_or_else(|| verbs::unknown(word))?;
            let text = arguments::command(verb).render_long_help().to_string();
            session.out.text(text);
        }
    }
    Ok(Exit::Done)
}

/// `svctl`, `svctl --help`, `svctl --version`.
pub(super) fn without_verb(session: &mut Session, rest: &[OsString]) -> Result<Exit, Failure> {
    let given = |names: [&str; 2]| rest.iter().skip(1).any(|arg| names.iter().any(|name| arg == name));
    if given(["--help", "-h"]) {
        session.out.text(overview(session.out.look));
        return Ok(Exit::Done);
    }
    if given(["--version", "-V"]) {
        session.out.line(format!("svctl {}", version::OWN));
        return Ok(Exit::Done);
    }
    session.err.text(overview(session.err.look));
    Ok(Exit::Usage)
}

/// What the parser has to say: help is an answer, the rest is a mistake.
pub(super) fn for_error(session: &mut Session, error: &clap::Error) -> Result<Exit, Failure> {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        session.out.text(text);
        return Ok(Exit::Done);
    }
    session.err.text(text.replacen("error: ", "svctl: ", 1));
    Ok(Exit::Usage)
}

/// All verbs by group, one line each.
pub(super) fn overview(look: Look) -> String {
    let width = verbs::VERBS.iter().map(|verb| verb.name.len()).max().unwrap_or(0);
    let mut text = format!(
        "{}\n\nUsage: svctl VERB [UNIT]... [--json] [--socket PATH]\n",
        look.paint(Tone::Strong, "svctl controls svinit, the supervisor of this container")
    );
    for group in Group::ALL {
        text.push_str(&format!("\n{}:\n", look.paint(Tone::Strong, group.title())));
        for verb in verbs::VERBS.iter().filter(|verb| verb.group == group) {
            text.push_str(&format!("  {:width$}  {}\n", verb.name, look.fit(width + 4, verb.about)));
        }
    }
    text.push_str("\nUNIT is a name, an alias, a glob such as 'web*', or all. ");
    text.push_str("svctl help VERB says more.\n");
    text
}
