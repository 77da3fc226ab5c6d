//! `svctl scale`: so many instances of a group.

use std::collections::BTreeMap;

use clap::Arg;
use clap::ArgMatches;

use crate::api::command::ScaleRequest;
use crate::cli::exit::Exit;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::update;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::client::query::Path;

pub(super) const SCALE: Verb = Verb {
    name: "scale",
    aliases: &[],
    group: Group::Act,
    about: "Run so many instances of a group",
    details: "A group is what a file with instances = N makes: NAME@1 to NAME@N. The highest numbers are started or \
              stopped, by their own [ready] and [stop]; the others notice nothing. Files are not read for it. The \
              number stands until svinit is started again, or the file says another one and svctl update takes that \
              over. To stop all of a group is svctl stop.",
    examples: &[
        ("svctl scale web=5", "web@1 to web@5"),
        ("svctl scale web=2 worker=8 --dry-run", "what would be done"),
    ],
    completes: Completes::Units,
    arguments: |command| {
        let numbers = Arg::new("numbers")
            .value_name("GROUP=N")
            .num_args(1..)
            .required(true)
            .value_parser(number)
            .help("A group, and how many instances of it there are to be");
        arguments::no_wait(arguments::timeout(command.arg(numbers)))
            .arg(arguments::flag("dry-run", "Show what would be done, and do nothing"))
    },
    run: scale,
};

fn scale(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let mut instances = BTreeMap::new();
    for (group, number) in matches.get_many::<(String, u32)>("numbers").into_iter().flatten() {
        if instances.insert(group.clone(), *number).is_some() {
            return Err(Failure::usage(format!("{group} is named twice")));
        }
    }
    let request =
        ScaleRequest { instances, dry_run: matches.get_flag("dry-run"), wait: !matches.get_flag("no-wait") };
    let lines = session.client().post_and_follow(&Path::new("/v1/scale"), &request)?;
    update::follow(session, lines, (request.dry_run, request.wait), "nothing to do: there are so many")
}

/// `web=5`.
fn number(text: &str) -> Result<(String, u32), String> {
    let words = "write a group and a number, such as web=5";
    let (group, number) = text.split_once('=').ok_or(words)?;
    let number = number.parse().map_err(|_| words)?;
    if group.is_empty() { Err(words.to_owned()) } else { Ok((group.to_owned(), number)) }
}
