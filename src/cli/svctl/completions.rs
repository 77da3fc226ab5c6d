//! `svctl completions`: a script for a shell, made from the table of verbs.
//!
//! The scripts are hand-written frames around generated words. Unit names are asked of the supervisor when Tab is pressed,
//! so that they are those that exist.

use std::fmt::Write as _;

use clap::Arg;
use clap::ArgMatches;
use clap::builder::PossibleValuesParser;

use crate::cli::exit::Exit;
use crate::cli::svctl::arguments;
use crate::cli::svctl::failure::Failure;
use crate::cli::svctl::session::Session;
use crate::cli::svctl::verbs;
use crate::cli::svctl::verbs::Completes;
use crate::cli::svctl::verbs::Group;
use crate::cli::svctl::verbs::Verb;
use crate::units::signal;

/// Shells that are known.
const SHELLS: &[&str] = &["bash", "zsh", "fish"];

pub(super) const COMPLETIONS: Verb = Verb {
    name: "completions",
    aliases: &[],
    group: Group::Other,
    about: "Print the completion script of a shell",
    details: "Unit names are completed from the running supervisor.",
    examples: &[
        ("source <(svctl completions bash)", "bash, for this session"),
        ("svctl completions zsh > ~/.zfunc/_svctl", "zsh, with ~/.zfunc in fpath"),
        ("svctl completions fish | source", "fish, for this session"),
    ],
    completes: Completes::Words(SHELLS),
    arguments: |command| {
        let shell = Arg::new("shell").value_name("SHELL").required(true).help("bash, zsh or fish");
        command.arg(
            shell.value_parser(PossibleValuesParser::new(SHELLS.iter().copied())).hide_possible_values(true),
        )
    },
    run,
};

fn run(session: &mut Session, matches: &ArgMatches) -> Result<Exit, Failure> {
    let script = script(matches.get_one::<String>("shell").map_or("bash", String::as_str));
    session.out.text(script);
    Ok(Exit::Done)
}

pub(super) fn script(shell: &str) -> String {
    match shell {
        "zsh" => zsh(),
        "fish" => fish(),
        _ => bash(),
    }
}

/// Options of `verb` that are shown, each with whether it takes a value.
fn options(verb: &Verb) -> Vec<(String, bool, String)> {
    let command = arguments::command(verb);
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    shown
        .filter_map(|arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            Some((format!("--{}", arg.get_long()?), arg.get_action().takes_values(), help))
        })
        .collect()
}

/// What comes after `verb`, as the name of a list that every script knows.
fn list(verb: &Verb) -> String {
    match verb.completes {
        Completes::Units => "units".to_owned(),
        Completes::SignalAndUnits => "signals units".to_owned(),
        Completes::Files => "files".to_owned(),
        Completes::Verbs => "verbs".to_owned(),
        Completes::Words(words) => format!("words {}", words.join(" ")),
        Completes::Nothing => String::new(),
    }
}

fn names(verb: &Verb) -> impl Iterator<Item = &'static str> {
    std::iter::once(verb.name).chain(verb.aliases.iter().copied())
}

fn verb_words() -> String {
    verbs::VERBS.iter().map(|verb| verb.name).collect::<Vec<_>>().join(" ")
}

/// `VERBS|ALIASES) set options and list ;;`, which bash and zsh both read.
fn cases() -> String {
    let mut text = String::new();
    for verb in verbs::VERBS {
        let pattern = names(verb).collect::<Vec<_>>().join("|");
        let options = options(verb).into_iter().map(|(name, _, _)| name).collect::<Vec<_>>().join(" ");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "        {pattern}) options='{options}'; list='{}' ;;", list(verb));
    }
    text
}

fn bash() -> String {
    format!(
        r#"# Completion of svctl for bash; made by svctl completions bash.
_svctl() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" verb='' word options='' list=''
    COMPREPLY=()
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in -*) ;; *) verb=$word; break ;; esac
    done
    case $previous in
        --socket|--config) COMPREPLY=($(compgen -f -- "$current")); return ;;
        --timeout|--lines) return ;;
        --for) COMPREPLY=($(compgen -W 'ready healthy completed inactive failed ended' -- "$current")); return ;;
    esac
    if [ -z "$verb" ]; then
        COMPREPLY=($(compgen -W '{verbs} --json --socket --help' -- "$current"))
        return
    fi
    case $verb in
{cases}    esac
    case $current in -*) COMPREPLY=($(compgen -W "$options" -- "$current")); return ;; esac
    case $list in
        *units*)
            local words="all $(svctl status --names 2>/dev/null)"
            case $list in signals*) words="{signals} $words" ;; esac
            COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
        files) COMPREPLY=($(compgen -f -- "$current")) ;;
        verbs) COMPREPLY=($(compgen -W '{verbs}' -- "$current")) ;;
        words*) COMPREPLY=($(compgen -W "${{list#words }}" -- "$current")) ;;
    esac
}}
complete -F _svctl svctl
"#,
        verbs = verb_words(),
        cases = cases(),
        signals = signals(),
    )
}

fn zsh() -> String {
    let mut described = String::new();
    for verb in verbs::VERBS {
        let _ = writeln!(
            described,
            "        '{}:{}'",
            verb.name,
            verb.about.replace('\'', "").replace(':', " -")
        );
    }
    format!(
        r#"#compdef svctl
# Completion of svctl for zsh; made by svctl completions zsh.
_svctl() {{
    local verb='' word options='' list=''
    local -a described units
    described=(
{described}    )
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        case $word in -*) ;; *) verb=$word; break ;; esac
    done
    case $words[CURRENT-1] in
        --socket|--config) _files; return ;;
        --timeout|--lines) return ;;
        --for) compadd ready healthy completed inactive failed ended; return ;;
    esac
    if [[ -z $verb ]]; then
        _describe 'verb' described
        return
    fi
    case $verb in
{cases}    esac
    if [[ $PREFIX == -* ]]; then
        compadd -- ${{=options}}
        return
    fi
    case $list in
        *units*)
            units=(all ${{(f)"$(svctl status --names 2>/dev/null)"}})
            [[ $list == signals* ]] && compadd {signals}
            compadd -- $units ;;
        files) _files ;;
        verbs) _describe 'verb' described ;;
        words*) compadd -- ${{=list#words }} ;;
    esac
}}
if [[ $funcstack[1] == _svctl ]]; then _svctl "$@"; else compdef _svctl svctl; fi
"#,
        cases = cases(),
        signals = signals(),
    )
}

fn fish() -> String {
    let mut text = "# Completion of svctl for fish; made by svctl completions fish.\n\
                    function __svctl_units\n    echo all\n    svctl status --names 2>/dev/null\nend\n\
                    complete -c svctl -f\n"
        .to_owned();
    let quoted = |text: &str| text.replace('\'', "\\'");
    for verb in verbs::VERBS {
        let about = quoted(verb.about);
        let _ = writeln!(text, "complete -c svctl -n __fish_use_subcommand -a {} -d '{about}'", verb.name);
        let seen = format!("-n '__fish_seen_subcommand_from {}'", names(verb).collect::<Vec<_>>().join(" "));
        for (name, takes_value, help) in options(verb) {
            let value = if takes_value { " -r" } else { "" };
            let _ = writeln!(
                text,
                "complete -c svctl {seen} -l {}{value} -d '{}'",
                name.trim_start_matches('-'),
                quoted(&help)
            );
        }
        let words = match verb.completes {
            Completes::Units => "-a '(__svctl_units)'".to_owned(),
            Completes::SignalAndUnits => format!("-a '{} (__svctl_units)'", signals()),
            Completes::Files => "-F".to_owned(),
            Completes::Verbs => format!("-a '{}'", verb_words()),
            Completes::Words(words) => format!("-a '{}'", words.join(" ")),
            Completes::Nothing => continue,
        };
        let _ = writeln!(text, "complete -c svctl {seen} {words}");
    }
    text
}

/// Signals that a person sends.
fn signals() -> String {
    let common = ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "KILL", "WINCH", "STOP", "CONT"];
    common.into_iter().filter(|name| signal::number(name).is_some()).collect::<Vec<_>>().join(" ")
}
