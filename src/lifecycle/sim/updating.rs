//! Promises about other definitions that come while everything runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::lifecycle::action::Action;
use crate::lifecycle::sim::book::{GivenUp, Version};
use crate::lifecycle::sim::promise::{Moment, Promise, Seen, Verdict, hold};
use crate::lifecycle::state::Label;
use crate::units::name::UnitName;
use crate::units::spec::{Mode, UnitSpec};

/// All of them.
pub(super) fn promises() -> Vec<Promise> {
    vec![
        Promise::new("an update touches only what has to be restarted for it", only_changed),
        Promise::new("an update changes nobody's goal", goals_stay),
        Promise::new(
            "a process lives and ends by the definition that it was started with",
            defined_without_process,
        ),
        Promise::new("what an update has asked for is in force when everything rests", in_force),
        Promise::new(
            "the definition in force is the one that the main process was started with",
            of_its_process,
        ),
        Promise::new("a definition whose process did not come up is given up", |seen| {
            stays_given_up(seen, GivenUp::DidNotComeUp)
        }),
        Promise::new("whoever had no turn in an update keeps its definition", |seen| {
            stays_given_up(seen, GivenUp::HadNoTurn)
        }),
    ]
}

fn only_changed(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Report(report)) = seen.moment else { return Ok(()) };
    let book = seen.book;
    if !book.updating || report.label == report.was {
        return Ok(());
    }
    let differ = book.renewed.iter().chain(&book.came).chain(&book.went);
    let near: BTreeSet<UnitName> = differ.flat_map(|name| book.plan.around(name)).collect();
    // What only follows one of them may have waited for what has become of it.
    let follows = book.spec(&report.unit).after.iter().any(|other| near.contains(other));
    let follows = follows || book.is_awaited(&report.unit);
    hold(follows || near.contains(&report.unit), || {
        format!("{} becomes {} for an update of others", report.unit, report.label.as_str())
    })
}

fn goals_stay(seen: &Seen<'_>) -> Verdict {
    let Moment::Settled(None, _) = seen.moment else { return Ok(()) };
    let book = seen.book;
    if !book.updating || book.is_ending() {
        return Ok(());
    }
    for view in seen.supervisor.views() {
        // What a restarted one conflicts with, or needs, follows it as it follows any restart.
        let is_free = book.spec(&view.name).conflicts.is_empty();
        let is_free = is_free && book.wanted.contains_key(&view.name);
        let had = book.goals.get(&view.name).copied().unwrap_or(view.wanted);
        hold(!is_free || !had || view.wanted, || {
            format!("{} was wanted, and is not after an update", view.name)
        })?;
    }
    Ok(())
}

fn defined_without_process(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Define { spec }) = seen.moment else { return Ok(()) };
    let Some(old) = seen.book.defined.get(&spec.name) else { return Ok(()) };
    let restarts = old.context.umask != spec.context.umask;
    // Beside the old one comes up the new one, which has it.
    let is_beside = spec.restart.mode == Mode::StartFirst;
    hold(!restarts || is_beside || !seen.book.has_main(&spec.name), || {
        format!("{} gets the definition of its next process while it has one", spec.name)
    })
}

fn in_force(seen: &Seen<'_>) -> Verdict {
    let Moment::Calm = seen.moment else { return Ok(()) };
    let book = seen.book;
    let takes = |name: &UnitName| {
        // A test that fails leaves the old one in force, and so do a new one that does not come up beside it, what never
        // comes up or goes down, and a person who has a word later.
        let unit = &book.units[name];
        let is_overtaken = unit.touched > book.updated_at;
        let spec = book.spec(name);
        let may_be_given_up = spec.reload.test.is_some()
            || book.given_up.contains_key(name)
            // It has its turn only if those before it have come up.
            || spec.instance.is_some();
        !may_be_given_up
            && !matches!(unit.label, Label::Starting | Label::Waiting | Label::Stopping)
            && !is_overtaken
    };
    for (name, wanted) in book.wanted.iter().filter(|(name, _)| takes(name)) {
        let asked_for = |defined: &Arc<UnitSpec>| {
            defined.context.umask == wanted.context.umask && defined.description == wanted.description
        };
        let defined = book.defined.get(name);
        hold(defined.is_none_or(asked_for), || format!("{name} is not as the last update has said"))?;
    }
    Ok(())
}

/// Whether the new one that comes up beside the old one takes over or fails.
fn of_its_process(seen: &Seen<'_>) -> Verdict {
    let Moment::Settled(..) = seen.moment else { return Ok(()) };
    let book = seen.book;
    for name in book.defined.keys().filter(|name| book.plan.is_updated(name)) {
        let (Some(view), Some(spec)) = (seen.supervisor.view(name), seen.supervisor.spec(name)) else {
            continue;
        };
        let Some(run) = view.run.and_then(|run| book.runs.get(&run)) else { continue };
        let (own, of) = (Version::of(&spec).process, run.version.process);
        hold(own == of, || format!("{name} was started with {of:?}, and its definition is {own:?}"))?;
        // A new one that has failed has its definition until it is cleared away.
        let is_alone = view.beside.is_empty();
        let told = Version::of(&book.defined[name]).process;
        hold(!is_alone || told == of, || {
            format!("{name} was started with {of:?}, and {told:?} is told to be in force")
        })?;
    }
    Ok(())
}

fn stays_given_up(seen: &Seen<'_>, how: GivenUp) -> Verdict {
    let Moment::Wished(Action::Define { spec }) = seen.moment else { return Ok(()) };
    let given_up = seen.book.given_up.get(&spec.name) == Some(&(Version::of(spec), how));
    hold(!given_up, || format!("{} has the definition again that was given up", spec.name))
}
