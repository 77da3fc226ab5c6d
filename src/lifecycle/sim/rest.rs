//! Whether everything has come to rest: the sentence of liveness.

use std::collections::BTreeSet;

use crate::lifecycle::sim::book::Book;
use crate::lifecycle::sim::world::World;
use crate::lifecycle::state::{Label, UnitView};
use crate::lifecycle::supervisor::Supervisor;
use crate::units::name::UnitName;

/// The first thing that should not stay as it is once faults have ceased; `None` when all rests.
pub(super) fn restless(book: &Book, world: &World, supervisor: &Supervisor) -> Option<String> {
    let views = supervisor.views();
    let starving: Starving =
        views.iter().filter(|view| may_starve(book, view)).map(|v| v.name.clone()).collect();
    let of_units = || views.iter().find_map(|view| unit_restless(book, world, &starving, view));
    of_units().or_else(|| job_restless(book, &starving))
}

/// Units that may never come to rest, and nobody is to blame.
type Starving = BTreeSet<UnitName>;

fn may_starve(book: &Book, view: &UnitView) -> bool {
    let (name, restarts_with) = (&view.name, |whole: &UnitName| book.plan.manners[whole].broken);
    let comes_up = view.label == Label::Starting || !view.beside.is_empty();
    if !book.wanted.contains_key(name) {
        // Whatever becomes of others, it is on its way out.
        return false;
    }
    restarts_with(name)
        || book.spec(name).part_of.iter().any(restarts_with)
        || (book.spec(name).ready_timeout.is_zero() && comes_up)
}

fn unit_restless(book: &Book, world: &World, starving: &Starving, view: &UnitView) -> Option<String> {
    let name = &view.name;
    let say = |what: &str| Some(format!("{name} {what}: {}", view.why));
    if !world.was_stuck(name) && view.beside.iter().any(|aside| aside.label == Label::Stopping) {
        return say("has an old one beside it that never ends");
    }
    if starving.contains(name) {
        return None;
    }
    let waits = view.beside.iter().any(|aside| aside.label == Label::Waiting)
        && waits_for_reason(book, starving, name);
    if !view.beside.is_empty() && !waits && !world.was_stuck(name) {
        return say("is being replaced and never gets there");
    }
    match view.label {
        Label::Stopping if world.was_stuck(name) => None,
        Label::Stopping => say("is being stopped and never gets there"),
        Label::Reloading => say("is being reloaded and never gets there"),
        _ if view.paused => None,
        Label::Ready | Label::Completed | Label::Failed => {
            let up = view.label == Label::Ready;
            (up && !view.wanted).then(|| format!("{name} runs and is not to run"))
        }
        Label::Scheduled if view.schedule.as_ref().is_some_and(|timing| timing.delayed.is_some()) => {
            say("has a moment whose delay never ends")
        }
        Label::Scheduled => (!view.wanted).then(|| format!("{name} is armed and is not to run")),
        Label::Inactive if view.wanted => say("is to run and does not"),
        Label::Inactive => None,
        Label::Starting => say("is starting and never gets there"),
        Label::Backoff => say("is not tried again"),
        Label::Waiting if waits_for_reason(book, starving, name) => None,
        Label::Waiting => {
            say(&format!("waits for {:?} although all that it builds on is up", view.waits_for))
        }
    }
}

fn waits_for_reason(book: &Book, starving: &Starving, name: &UnitName) -> bool {
    let spec = book.spec(name);
    let mut ordered = spec.wants.iter().chain(&spec.after);
    let coming = |other: &&UnitName| match book.units[*other].label {
        Label::Starting => true,
        Label::Waiting => waits_for_reason(book, starving, other),
        _ => starving.contains(*other),
    };
    spec.requires.iter().any(|other| !is_firm(book, starving, other))
        || ordered.any(|other| coming(&other))
        || spec.part_of.iter().any(|other| book.units[other].held)
        || spec.conflicts.iter().any(|other| book.has_main(other) || starving.contains(other))
}

/// Up, and for a oneshot, what it builds on as well.
fn is_firm(book: &Book, starving: &Starving, name: &UnitName) -> bool {
    let label = book.units[name].label;
    let below = || book.spec(name).requires.iter().all(|other| is_firm(book, starving, other));
    label.is_up() && !starving.contains(name) && (label != Label::Completed || below())
}

fn job_restless(book: &Book, starving: &Starving) -> Option<String> {
    // Whoever waits behind a unit that never gets ready and may take for ever waits for ever.
    if !starving.is_empty() {
        return None;
    }
    let (id, job) = book.jobs.iter().find(|(_, job)| !job.done)?;
    Some(format!("job {} is never answered: {:?}", id.0, job.command))
}
