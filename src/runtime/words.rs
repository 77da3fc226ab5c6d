//! What svinit says about its units in the one log stream: a line for each change that a person would want to know.
//!
//! The machine says why; this says it so that it can be read down a screen. What happens on the way from down to up is
//! for `log.level = "debug"`: the line that counts is `ready`.

use std::time::Duration;

use crate::lifecycle::action::Report;
use crate::lifecycle::event::ExitStatus;
use crate::lifecycle::schedule::SKIPPED;
use crate::lifecycle::state::{Health, Label, UnitView};
use crate::units::spec::LogLevel;

/// The line for `report`, and how much it matters. `view` is the unit after it.
#[must_use]
pub fn line(report: &Report, view: &UnitView) -> (LogLevel, String) {
    if report.label == report.was && report.health != report.health_was {
        return health_line(report);
    }
    if report.label == report.was && report.why.starts_with(SKIPPED) && view.schedule.is_some() {
        return (LogLevel::Warn, report.why.clone());
    }
    if report.label == Label::Ready && report.was == Label::Ready && report.run != report.run_was {
        return (LogLevel::Info, format!("replaced: {}{}", report.label.as_str(), particulars(view)));
    }
    if report.label == Label::Stopping && report.was != Label::Stopping && view.pid.is_none() {
        return end_line(report, view);
    }
    if report.label == Label::Scheduled {
        return run_line(report, view);
    }
    (level(report), label_line(report, view))
}

/// A run by the clock is over, or the unit is armed.
fn run_line(report: &Report, view: &UnitView) -> (LogLevel, String) {
    let last = view.schedule.as_ref().and_then(|timing| timing.last.as_ref());
    match last.filter(|_| report.was != report.label && report.was != Label::Inactive) {
        Some(run) if run.is_well => {
            (LogLevel::Info, format!("run done after {}", short(run.ended.since(run.began))))
        }
        Some(run) => {
            let took = short(run.ended.since(run.began));
            (LogLevel::Error, with_reason(&format!("run failed after {took}"), &run.why))
        }
        None if report.was == report.label => (LogLevel::Debug, report.why.clone()),
        None => (LogLevel::Info, with_reason(report.label.as_str(), &report.why)),
    }
}

/// It has ended by itself; what is left of it is being looked for. The state that this leads to says how it goes on.
fn end_line(report: &Report, view: &UnitView) -> (LogLevel, String) {
    let is_success = view.last_exit.is_some_and(|exit| exit.status == ExitStatus::Code(0));
    let level = if is_success { LogLevel::Debug } else { LogLevel::Info };
    (level, report.why.clone())
}

fn health_line(report: &Report) -> (LogLevel, String) {
    let level = match report.health {
        Health::Fail => LogLevel::Warn,
        Health::Pass if report.health_was == Health::Fail => LogLevel::Info,
        Health::Pass | Health::Unknown => LogLevel::Debug,
    };
    (level, with_reason(&format!("health {}", report.health.as_str()), &report.why))
}

fn level(report: &Report) -> LogLevel {
    if report.label == report.was {
        // The same state for another reason: someone held, paused or counted.
        return LogLevel::Debug;
    }
    match report.label {
        Label::Failed => LogLevel::Error,
        Label::Backoff => LogLevel::Warn,
        Label::Waiting | Label::Starting => LogLevel::Debug,
        Label::Inactive
        | Label::Ready
        | Label::Reloading
        | Label::Stopping
        | Label::Completed
        | Label::Scheduled => LogLevel::Info,
    }
}

fn label_line(report: &Report, view: &UnitView) -> String {
    let label = report.label.as_str();
    if report.label == Label::Ready && report.was != Label::Reloading {
        // It says by itself how it came up; the reason would only be "it is ready".
        return format!("{label}{}", particulars(view));
    }
    if report.label == Label::Inactive
        && report.was == Label::Stopping
        && let Some(took) = view.stop_took
    {
        return format!("stopped after {}", short(took));
    }
    with_reason(label, &report.why)
}

fn particulars(view: &UnitView) -> String {
    let pid = view.pid.map(|pid| format!("pid {pid}"));
    let took = view.start_took.map(|took| format!("took {}", short(took)));
    let known: Vec<String> = pid.into_iter().chain(took).collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

fn with_reason(what: &str, why: &str) -> String {
    if why.is_empty() || why == what { what.to_owned() } else { format!("{what}: {why}") }
}

/// A duration with as many digits as a person reads: "0.4ms", "130ms", "2.5s", "3m 20s".
#[must_use]
pub fn short(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 10.0 {
        format!("{ms:.1}ms")
    } else if ms < 1000.0 {
        format!("{ms:.0}ms")
    } else if ms < 60_000.0 {
        format!("{:.1}s", ms / 1000.0)
    } else {
        format!("{}m {}s", duration.as_secs() / 60, duration.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{line, short};
    use crate::lifecycle::action::Report;
    use crate::lifecycle::event::{ExitStatus, Pid, RunId};
    use crate::lifecycle::state::{Health, Label, LastExit, UnitView};
    use crate::lifecycle::time::Time;
    use crate::units::name::UnitName;
    use crate::units::spec::LogLevel;

    fn web() -> UnitName {
        UnitName::new("web").unwrap()
    }

    fn report(was: Label, label: Label, why: &str) -> Report {
        let (health_was, health) = (Health::Unknown, Health::Unknown);
        let run = Some(RunId(1));
        Report { unit: web(), was, label, health_was, health, run_was: run, run, why: why.to_owned() }
    }

    fn view() -> UnitView {
        UnitView {
            name: web(),
            description: String::new(),
            label: Label::Ready,
            health: Health::Unknown,
            health_why: String::new(),
            run: None,
            pid: Some(Pid(12)),
            since: Time::ZERO,
            started: None,
            restarts: 0,
            last_exit: None,
            why: String::new(),
            waits_for: Vec::new(),
            status_text: String::new(),
            retry_at: None,
            held: false,
            paused: false,
            wanted: true,
            start_took: Some(Duration::from_micros(130_400)),
            stop_took: None,
            beside: Vec::new(),
            schedule: None,
        }
    }

    #[test]
    fn ready_tells_the_pid_and_how_long_it_took() {
        let (level, text) = line(&report(Label::Starting, Label::Ready, "exec has succeeded"), &view());
        assert_eq!((level, text.as_str()), (LogLevel::Info, "ready (pid 12, took 130ms)"));
    }

    #[test]
    fn a_state_comes_with_its_reason() {
        let crash = report(Label::Ready, Label::Backoff, "exited with code 1; restart 3 in 200ms");
        let expected = "backoff: exited with code 1; restart 3 in 200ms";
        assert_eq!(line(&crash, &view()), (LogLevel::Warn, expected.to_owned()));
        assert_eq!(line(&report(Label::Ready, Label::Inactive, ""), &view()).1, "inactive");
    }

    #[test]
    fn an_end_by_itself_is_told_once_and_a_good_one_is_left_to_the_state_that_follows() {
        let exit = |code| LastExit { status: ExitStatus::Code(code), oom: false, at: Time::ZERO };
        let gone = |code| UnitView { pid: None, last_exit: Some(exit(code)), ..view() };
        let end = report(Label::Ready, Label::Stopping, "exited with code 3");
        assert_eq!(line(&end, &gone(3)), (LogLevel::Info, "exited with code 3".to_owned()));
        assert_eq!(line(&end, &gone(0)).0, LogLevel::Debug);
        let asked = report(Label::Stopping, Label::Stopping, "stop was asked for");
        assert_eq!(line(&asked, &gone(3)).0, LogLevel::Debug);
    }

    #[test]
    fn the_way_up_is_for_debugging_only() {
        assert_eq!(
            line(&report(Label::Inactive, Label::Waiting, "for postgres"), &view()).0,
            LogLevel::Debug
        );
        assert_eq!(line(&report(Label::Waiting, Label::Starting, ""), &view()).0, LogLevel::Debug);
    }

    #[test]
    fn a_change_of_health_is_told_as_such() {
        let ill = Report { health: Health::Fail, ..report(Label::Ready, Label::Ready, "connection refused") };
        assert_eq!(line(&ill, &view()), (LogLevel::Warn, "health fail: connection refused".to_owned()));
        let well = Report { health: Health::Pass, ..report(Label::Ready, Label::Ready, "") };
        assert_eq!(line(&well, &view()).0, LogLevel::Debug);
    }

    #[test]
    fn durations_have_as_many_digits_as_one_reads() {
        let cases = [(400, "0.4ms"), (12_300, "12ms"), (2_540_000, "2.5s"), (200_000_000, "3m 20s")];
        for (us, expected) in cases {
            assert_eq!(short(Duration::from_micros(us)), expected);
        }
    }
}
