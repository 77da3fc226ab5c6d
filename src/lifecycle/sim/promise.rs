//! A promise of svinit, and the one who watches over it.

use crate::lifecycle::action::Action;
use crate::lifecycle::event::Event;
use crate::lifecycle::sim::book::Book;
use crate::lifecycle::sim::world::World;
use crate::lifecycle::supervisor::Supervisor;

/// What can be looked at.
pub(super) struct Seen<'a> {
    pub(super) book: &'a Book,
    pub(super) world: &'a World,
    pub(super) supervisor: &'a Supervisor,
    pub(super) moment: Moment<'a>,
}

/// When it is looked at.
#[derive(Clone, Copy)]
pub(super) enum Moment<'a> {
    /// The supervisor is about to be told this.
    Told(&'a Event),
    /// It wishes this; nothing of it has been done or written down.
    Wished(&'a Action),
    /// The step is over and written down; nothing of it has been done. The event, if it was no boot, and all wishes.
    Settled(Option<&'a Event>, &'a [Action]),
    /// Faults have ceased and every unit has come to rest.
    Calm,
    /// The schedule is over.
    Over,
}

/// `Err` says how the promise was broken.
pub(super) type Verdict = Result<(), String>;

/// A sentence that is always true.
pub(super) struct Promise {
    pub(super) sentence: &'static str,
    pub(super) watch: Box<dyn FnMut(&Seen<'_>) -> Verdict>,
}

impl Promise {
    pub(super) fn new(sentence: &'static str, watch: impl FnMut(&Seen<'_>) -> Verdict + 'static) -> Self {
        Self { sentence, watch: Box::new(watch) }
    }
}

/// Says that the promise is broken, if it is.
pub(super) fn hold(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}
