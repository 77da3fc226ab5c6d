//! The one table of verbs. What is in it has help, completions, a manual page and a place in `docs/svctl.md`.

use clap::ArgMatches;
use clap::Command;

use crate::cli::exit::Exit;
use crate::cli::svctl::check;
use crate::cli::svctl::completions;
use crate::cli::svctl::events;
use crate::cli::svctl::exec;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::graph;
use crate::cli::svctl::health;
use crate::cli::svctl::help;
use crate::cli::svctl::jobs;
use crate::cli::svctl::logs;
use crate::cli::svctl::run;
use crate::cli::svctl::scale;
use crate::cli::svctl::schema;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::show;
use crate::cli::svctl::shutdown;
use crate::cli::svctl::status;
use crate::cli::svctl::update;
use crate::cli::svctl::upgrade;
use crate::cli::svctl::version;
use crate::cli::svctl::wait;
use crate::cli::svctl::why;

/// One thing that `svctl` can do.
pub(super) struct Verb {
    /// As it is typed.
    pub(super) name: &'static str,
    /// Other words for it, from other tools.
    pub(super) aliases: &'static [&'static str],
    /// Where it stands in the help.
    pub(super) group: Group,
    /// One line, imperative, no full stop.
    pub(super) about: &'static str,
    /// What else must be known: sentences.
    pub(super) details: &'static str,
    /// Calls and what they do.
    pub(super) examples: &'static [(&'static str, &'static str)],
    /// What its arguments may be completed with.
    pub(super) completes: Completes,
    /// Adds its options to the common ones.
    pub(super) arguments: fn(Command) -> Command,
    /// Does it.
    pub(super) run: fn(&mut Session, &ArgMatches) -> Result<Exit, Failure>,
}

/// Kinds of verbs, in the order of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Look,
    Act,
    Understand,
    Configure,
    Other,
}

impl Group {
    pub(super) const ALL: [Self; 5] = [Self::Look, Self::Act, Self::Understand, Self::Configure, Self::Other];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Look => "See what is",
            Self::Act => "Change it",
            Self::Understand => "Understand it",
            Self::Configure => "Units and their files",
            Self::Other => "More",
        }
    }
}

/// What the arguments of a verb are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completes {
    /// Names of units.
    Units,
    /// A signal, then names of units.
    SignalAndUnits,
    /// Files.
    Files,
    /// Names of verbs.
    Verbs,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Nothing.
    Nothing,
}

/// All of them, in the order of the help.
pub(super) const VERBS: &[&Verb] = &[
    &status::STATUS,
    &logs::LOGS,
    &events::EVENTS,
    &health::HEALTH,
    &status::IS_ACTIVE,
    &wait::WAIT,
    &jobs::START,
    &jobs::STOP,
    &jobs::RESTART,
    &jobs::RELOAD,
    &update::UPDATE,
    &scale::SCALE,
    &jobs::SIGNAL,
    &jobs::PAUSE,
    &jobs::RESUME,
    &jobs::RESET,
    &run::RUN,
    &exec::EXEC,
    &upgrade::UPGRADE,
    &shutdown::SHUTDOWN,
    &why::WHY,
    &show::SHOW,
    &show::CAT,
    &show::ENV,
    &graph::GRAPH,
    &check::CHECK,
    &schema::SCHEMA,
    &completions::COMPLETIONS,
    &version::VERSION,
    &help::HELP,
];

/// The verb that `word` means.
pub(super) fn find(word: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == word || verb.aliases.contains(&word)).copied()
}

/// What is said to a word that is no verb.
pub(super) fn unknown(word: &str) -> Failure {
    let names = VERBS.iter().flat_map(|verb| std::iter::once(&verb.name).chain(verb.aliases));
    let nearest = names
        .map(|name| (strsim::damerau_levenshtein(&word.to_ascii_lowercase(), name), *name))
        .filter(|(slips, name)| *slips <= name.len().max(3) / 3)
        .min();
    let near = nearest.map(|(_, name)| format!("; did you mean \"{name}\"?")).unwrap_or_default();
    Failure::usage(format!("no such verb: {word:?}{near} (svctl help lists them)"))
}
