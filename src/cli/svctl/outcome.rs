//! What came of a unit, in one line: `web: ready, pid 12 -> 34, took 130 ms`.

use crate::api::command::Outcome;
use crate::api::command::Verb;
use crate::cli::render::look::Look;
use crate::cli::render::look::Tone;
use crate::cli::render::look::tone_of_state;
use crate::cli::render::words;

/// A start that takes no longer has found the unit up.
const ALREADY_MAX_MS: f64 = 10.0;

/// The line for one unit.
pub(super) fn line(outcome: &Outcome, verb: Verb, look: Look) -> String {
    let unit = look.paint(Tone::Strong, &outcome.unit);
    let took = words::took(outcome.took_ms);
    if !outcome.ok {
        let why = words::printable(if outcome.why.is_empty() { "it did not work" } else { &outcome.why });
        let state = look.paint(Tone::Bad, &outcome.state);
        return format!("{unit}: cannot {}: {why} ({state}, took {took})", word(verb));
    }
    let state = look.paint(tone_of_state(&outcome.state), &outcome.state);
    match verb {
        Verb::Start | Verb::Stop | Verb::Restart | Verb::Reload => {
            format!("{unit}: {state}{}, took {took}", processes(outcome, verb))
        }
        Verb::Signal => {
            let pid =
                outcome.old_pid.or(outcome.new_pid).map(|pid| format!(" to pid {pid}")).unwrap_or_default();
            format!("{unit}: signal sent{pid}")
        }
        Verb::Pause => format!("{unit}: paused ({state})"),
        Verb::Resume => format!("{unit}: resumed ({state})"),
        Verb::Reset => format!("{unit}: reset ({state})"),
    }
}

fn processes(outcome: &Outcome, verb: Verb) -> String {
    match (outcome.old_pid, outcome.new_pid) {
        (None, None) if verb == Verb::Stop => " already".to_owned(),
        // One that was on its way when it was asked for has been waited for.
        (Some(old), Some(new)) if old == new && verb == Verb::Start && outcome.took_ms < ALREADY_MAX_MS => {
            format!(" already, pid {new}")
        }
        (Some(old), Some(new)) if old == new => format!(", pid {new}"),
        (Some(old), Some(new)) => format!(", pid {old} -> {new}"),
        (Some(old), None) => format!(", pid {old} ended"),
        (None, Some(new)) => format!(", pid {new}"),
        (None, None) => String::new(),
    }
}

/// The verb as it is typed.
pub(super) const fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Start => "start",
        Verb::Stop => "stop",
        Verb::Restart => "restart",
        Verb::Reload => "reload",
        Verb::Signal => "signal",
        Verb::Reset => "reset",
        Verb::Pause => "pause",
        Verb::Resume => "resume",
    }
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::api::command::Outcome;
    use crate::api::command::Verb;
    use crate::cli::render::look::Look;

    fn outcome(state: &str, old_pid: Option<i32>, new_pid: Option<i32>) -> Outcome {
        let (unit, why, said) = ("web".to_owned(), String::new(), String::new());
        Outcome { unit, ok: true, state: state.to_owned(), old_pid, new_pid, took_ms: 130.4, why, said }
    }

    #[test]
    fn one_line_says_what_came_of_it() {
        let failed = Outcome {
            ok: false,
            why: "exited with status 1".to_owned(),
            ..outcome("backoff", Some(12), None)
        };
        let lines = [
            (Verb::Restart, outcome("ready", Some(12), Some(34))),
            (Verb::Start, outcome("ready", None, Some(34))),
            (Verb::Start, Outcome { took_ms: 0.2, ..outcome("ready", Some(34), Some(34)) }),
            (Verb::Start, outcome("completed", None, None)),
            (Verb::Stop, outcome("inactive", Some(34), None)),
            (Verb::Stop, outcome("inactive", None, None)),
            (Verb::Reload, outcome("ready", Some(34), Some(34))),
            (Verb::Signal, outcome("ready", Some(34), Some(34))),
            (Verb::Pause, outcome("ready", Some(34), Some(34))),
            (Verb::Restart, failed),
        ];
        let text: Vec<String> =
            lines.iter().map(|(verb, outcome)| line(outcome, *verb, Look::default())).collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        web: ready, pid 12 -> 34, took 130 ms
        web: ready, pid 34, took 130 ms
        web: ready already, pid 34, took 0.2 ms
        web: completed, took 130 ms
        web: inactive, pid 34 ended, took 130 ms
        web: inactive already, took 130 ms
        web: ready, pid 34, took 130 ms
        web: signal sent to pid 34
        web: paused (ready)
        web: cannot restart: exited with status 1 (backoff, took 130 ms)
        ");
    }
}
