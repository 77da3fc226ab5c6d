//! The documents that are made from the table of verbs; `UPDATE=1 cargo test documents` writes them.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Command;

use crate::cli::svctl::arguments;
use crate::cli::svctl::completions;
use crate::cli::svctl::help;
use crate::cli::svctl::verbs;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;

/// Compares `text` with the file at `path`, or writes it.
fn same(path: &str, text: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
    }
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(known == text, "{path} is not what the table of verbs says: UPDATE=1 cargo test documents");
}

fn examples(verb: &Verb) -> String {
    let line = |(call, what): &(&str, &str)| {
        if what.is_empty() { format!("    {call}\n") } else { format!("    {call}    # {what}\n") }
    };
    verb.examples.iter().map(line).collect()
}

#[test]
fn the_reference_is_up_to_date() {
    let mut text = "# svctl\n\n<!-- Made from the table of verbs: UPDATE=1 cargo test documents -->\n\n\
        `svctl VERB [UNIT]... [--json] [--socket PATH]` controls the svinit of this container; from outside, \
        `docker exec CONTAINER svctl ...`.\n\nUNIT is a name, an alias, a glob such as `'web*'`, or `all`. In a pipe the \
        output is plain and stable; colours, fitted widths and hints are for terminals (`NO_COLOR`, `CLICOLOR` and \
        `CLICOLOR_FORCE` are respected). The socket is the first that answers of `--socket` or `SVINIT_SOCKET` (then no \
        other), `/run/svinit/control.sock`, `$XDG_RUNTIME_DIR/svinit/control.sock`, `/tmp/svinit-UID/control.sock`.\n\n\
        ## Exit status\n\n| status | means |\n|---:|---|\n"
        .to_owned();
    for (code, meaning) in help::STATUSES {
        let _ = writeln!(text, "| {code} | {meaning} |");
    }
    text.push_str("\n`run` and `exec` end with the status of what they ran.\n");
    for group in Group::ALL {
        let _ = write!(text, "\n## {}\n\n| verb | what it does |\n|---|---|\n", group.title());
        let of_group = || verbs::VERBS.iter().filter(|verb| verb.group == group);
        for verb in of_group() {
            let _ = writeln!(text, "| [`{0}`](#{0}) | {1} |", verb.name, verb.about);
        }
        for verb in of_group() {
            let usage = arguments::command(verb).render_usage().to_string();
            let _ = write!(text, "\n### {}\n\n{}.", verb.name, verb.about);
            if !verb.aliases.is_empty() {
                let _ = write!(
                    text,
                    " Also called {}.",
                    verb.aliases.iter().map(|a| format!("`{a}`")).collect::<Vec<_>>().join(", ")
                );
            }
            if !verb.details.is_empty() {
                let _ = write!(text, "\n\n{}", verb.details);
            }
            let _ = write!(text, "\n\n    {}\n", usage.trim_start_matches("Usage: ").trim());
            text.push_str(&options(verb));
            if !verb.examples.is_empty() {
                let _ = write!(text, "\nFor example:\n\n{}", examples(verb));
            }
        }
    }
    same("docs/svctl.md", &text);
}

/// The options of `verb` that not every verb has.
fn options(verb: &Verb) -> String {
    let command = arguments::command(verb);
    let mut text = String::new();
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        let Some(long) = arg.get_long().filter(|long| !["json", "socket", "help"].contains(long)) else {
            continue;
        };
        let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
        let value = if arg.get_action().takes_values() {
            arg.get_value_names()
                .and_then(|names| names.first())
                .map(|name| format!(" {name}"))
                .unwrap_or_default()
        } else {
            String::new()
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "- {short}`--{long}{value}`: {help}");
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

fn page(command: Command, title: &str) -> String {
    let mut bytes = Vec::new();
    let man =
        clap_mangen::Man::new(command).title(title).section("1").date("").source("svinit").manual("svinit");
    man.render(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_manual_is_up_to_date() {
    for verb in verbs::VERBS {
        let name = format!("svctl-{}", verb.name);
        let command = arguments::command(verb).display_name(name.clone());
        same(&format!("man/{name}.1"), &page(command, &name.to_uppercase()));
    }
    let mut statuses = "Exit status:\n".to_owned();
    for (code, meaning) in help::STATUSES {
        let _ = writeln!(statuses, "{code}: {meaning}");
    }
    let whole = Command::new("svctl")
        .about("control svinit, the supervisor of this container")
        .override_usage("svctl VERB [UNIT]... [--json] [--socket PATH]")
        .disable_help_subcommand(true)
        .subcommands(verbs::VERBS.iter().map(|verb| arguments::command(verb)))
        .after_long_help(statuses);
    same("man/svctl.1", &page(whole, "SVCTL"));
}

#[test]
fn every_verb_is_whole() {
    let mut words: Vec<&str> = Vec::new();
    for verb in verbs::VERBS {
        arguments::command(verb).debug_assert();
        words.extend(std::iter::once(verb.name).chain(verb.aliases.iter().copied()));
        assert!(!verb.about.ends_with('.') && verb.about.starts_with(char::is_uppercase), "{}", verb.name);
        let takes_units = arguments::command(verb)
            .get_arguments()
            .any(|arg| arg.get_id() == "units" && arg.is_positional());
        if takes_units && verb.completes != Completes::Files {
            assert_eq!(verb.completes, Completes::Units, "{}", verb.name);
        }
        for shell in ["bash", "zsh", "fish"] {
            assert!(completions::script(shell).contains(verb.name), "{shell} {}", verb.name);
        }
        assert!(verb.examples.iter().all(|(call, _)| call.contains("svctl ")), "{}", verb.name);
    }
    let count = words.len();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), count, "a word that means two verbs");
}
