//! `svctl schema`: the JSON Schemas of the files, for editors.

use clap::Arg;
use clap::builder::PossibleValuesParser;

use crate::cli::exit::Exit;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::units::schema;

/// Files that there is a schema of.
const FILES: &[&str] = &["unit", "svinit"];

pub(super) const SCHEMA: Verb = Verb {
    name: "schema",
    aliases: &[],
    group: Group::Configure,
    about: "Print the JSON Schema of unit files, or of svinit.toml",
    details: "An editor that knows TOML schemas completes and checks the files with it: put `#:schema ./unit.schema.json` \
              into the first line of a unit.",
    examples: &[
        ("svctl schema > unit.schema.json", "of unit files"),
        ("svctl schema svinit > svinit.schema.json", "of svinit.toml"),
    ],
    completes: Completes::Words(FILES),
    arguments: |command| {
        let file = Arg::new("file").value_name("FILE").default_value("unit").help("unit or svinit");
        command.arg(
            file.value_parser(PossibleValuesParser::new(FILES.iter().copied())).hide_possible_values(true),
        )
    },
    run: |session, matches| {
        let of_daemon = matches.get_one::<String>("file").is_some_and(|file| file == "svinit");
        session.out.text(if of_daemon { schema::DAEMON_SCHEMA } else { schema::UNIT_SCHEMA });
        Ok(Exit::Done)
    },
};
