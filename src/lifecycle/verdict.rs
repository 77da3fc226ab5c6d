//! Is everything as it is meant to be? One answer for `/health`, `/readyz` and `svctl health`.
//!
//! Pure: what is seen of the units in, a verdict with its reason out. It says `Fail` where a load balancer should go
//! elsewhere, and `Warn` where things are as a person has asked, but not as the configuration says.

use std::collections::BTreeSet;

use crate::lifecycle::state::{Health, Label, Phase, Timing, UnitView};

/// How well something is. Ordered: the worse is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it is meant to be.
    Pass,
    /// It serves, but a person should know of something.
    Warn,
    /// It does not serve.
    Fail,
}

impl Verdict {
    /// As printed and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// A verdict, and in words why it is no better; empty for `Pass`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// How well.
    pub verdict: Verdict,
    /// Why.
    pub why: String,
}

impl Judgement {
    /// Nothing to say.
    #[must_use]
    pub const fn pass() -> Self {
        Self { verdict: Verdict::Pass, why: String::new() }
    }

    fn new(verdict: Verdict, why: impl Into<String>) -> Self {
        Self { verdict, why: why.into() }
    }
}

/// Whether a unit is started at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// `enabled = true`.
    Enabled,
    /// `enabled = false`.
    Disabled,
}

impl Boot {
    /// From `enabled`.
    #[must_use]
    pub const fn from_enabled(enabled: bool) -> Self {
        if enabled { Self::Enabled } else { Self::Disabled }
    }
}

/// Judges one unit.
///
/// | | |
/// |---|---|
/// | run by the clock, and wanted | pass; warn when its last run failed, or one waits or is tried again |
/// | paused by a person | warn: nobody watches it, so nothing it shows can be relied upon |
/// | its health check fails | fail |
/// | ready, reloading or completed | pass |
/// | failed, enabled or wanted | fail |
/// | failed, neither | warn |
/// | on its way up or down, or in back-off, and wanted | fail |
/// | down, not wanted, but enabled | warn: a person has stopped it |
/// | down, not wanted | pass |
#[must_use]
pub fn of_unit(view: &UnitView, boot: Boot) -> Judgement {
    let wanted = view.wanted;
    if view.paused {
        return Judgement::new(Verdict::Warn, told("paused", &view.why));
    }
    if let Some(timing) = view.schedule.as_ref().filter(|_| wanted) {
        return of_runs(view, timing);
    }
    if view.label.is_up() {
        return if view.health == Health::Fail {
            Judgement::new(Verdict::Fail, told("health check fails", &view.health_why))
        } else {
            Judgement::pass()
        };
    }
    let seen = told(view.label.as_str(), &view.why);
    let is_enabled = boot == Boot::Enabled;
    if wanted || (is_enabled && view.label == Label::Failed) {
        return Judgement::new(Verdict::Fail, seen);
    }
    if is_enabled || view.label == Label::Failed {
        return Judgement::new(Verdict::Warn, seen);
    }
    Judgement::pass()
}

/// Nobody is served by a unit that is run by the clock, so nobody has to go elsewhere; but a person should know.
fn of_runs(view: &UnitView, timing: &Timing) -> Judgement {
    if view.label == Label::Backoff || !view.waits_for.is_empty() {
        return Judgement::new(Verdict::Warn, told(view.label.as_str(), &view.why));
    }
    match &timing.last {
        Some(run) if !run.is_well => {
            Judgement::new(Verdict::Warn, format!("its last run failed: {}", run.why))
        }
        Some(_) | None => Judgement::pass(),
    }
}

/// The worst of all, in the order in which `units` come: the first of the worst gives the reason, with the number of
/// others that are as bad. While one instance of a group serves, the group does, and that another does not is for a
/// person to know. Everything fails while svinit leaves.
#[must_use]
pub fn overall<'a>(phase: Phase, units: impl IntoIterator<Item = (&'a UnitView, Boot)>) -> Judgement {
    if phase == Phase::Stopping {
        return Judgement::new(Verdict::Fail, "svinit is stopping");
    }
    let judged: Vec<_> = units.into_iter().map(|(view, boot)| (view, of_unit(view, boot))).collect();
    let group = |view: &'a UnitView| Some(view.name.parts()).filter(|(_, number)| *number > 0);
    let serves = |(view, judgement): &(&'a UnitView, Judgement)| {
        group(view).filter(|_| judgement.verdict == Verdict::Pass).map(|(group, _)| group)
    };
    let serving: BTreeSet<&str> = judged.iter().filter_map(serves).collect();
    let mut worst = Judgement::pass();
    let mut others = 0;
    for (view, mut judgement) in judged {
        if group(view).is_some_and(|(group, _)| serving.contains(group)) {
            judgement.verdict = judgement.verdict.min(Verdict::Warn);
        }
        if judgement.verdict > worst.verdict {
            worst = Judgement::new(judgement.verdict, format!("{}: {}", view.name, judgement.why));
            others = 0;
        } else if judgement.verdict == worst.verdict && judgement.verdict != Verdict::Pass {
            others += 1;
        }
    }
    if others > 0 {
        worst.why = format!("{} (and {others} more)", worst.why);
    }
    worst
}

/// May traffic come? Boot is over, nothing fails, and svinit is not leaving.
#[must_use]
pub fn readiness(phase: Phase, overall: Judgement) -> Judgement {
    match phase {
        Phase::Booting => Judgement::new(Verdict::Fail, "units are still coming up for the first time"),
        Phase::Running | Phase::Stopping => overall,
    }
}

fn told(what: &str, why: &str) -> String {
    if why.is_empty() || why == what { what.to_owned() } else { format!("{what}: {why}") }
}

#[cfg(test)]
mod tests;
