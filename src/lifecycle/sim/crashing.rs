//! Promises about crashes of svinit itself: what it knows afterwards, and what it leaves alone.
//!
//! The turn in which it crashes is watched by nobody but these: of all that was told and wished in it nothing may be left
//! but what really is, and what was heard is heard again.

use std::time::Duration;

use crate::lifecycle::sim::promise::{Moment, Promise, Seen, Verdict, hold};
use crate::lifecycle::state::Label;

/// From an order to stop to the beginning of the end, with all that a crash takes.
const HEED_WITHIN: Duration = Duration::from_secs(1);

/// All of them, but for those that look at two machines; see `schedule`.
pub(super) fn promises() -> Vec<Promise> {
    vec![
        Promise::new("no process lives of which svinit does not know", no_strays),
        Promise::new("what is shown as running runs", shown_is_there),
        Promise::new("an order to stop is carried out, whatever happens", orders_are_heeded),
    ]
}

fn no_strays(seen: &Seen<'_>) -> Verdict {
    let Moment::Settled(..) = seen.moment else { return Ok(()) };
    for (run, unit, purpose) in seen.world.living() {
        let is_known = seen.book.runs.contains_key(&run) || seen.world.was_stuck(unit);
        hold(is_known, || format!("a {purpose:?} process of {unit} lives, of {run}, which nobody knows"))?;
    }
    Ok(())
}

fn shown_is_there(seen: &Seen<'_>) -> Verdict {
    let Moment::Calm = seen.moment else { return Ok(()) };
    for view in seen.supervisor.views().iter().filter(|view| view.label == Label::Ready) {
        let lives = view.run.is_some_and(|run| seen.world.lives(run));
        // The news of its end may be on their way.
        let ends = seen.book.plan.manners[&view.name].broken || seen.world.was_stuck(&view.name);
        hold(lives || ends || view.pid.is_none() || seen.world.has_news_of(view.run), || {
            format!("{} is shown as ready and has no process", view.name)
        })?;
    }
    Ok(())
}

fn orders_are_heeded(seen: &Seen<'_>) -> Verdict {
    let (Moment::Settled(..), Some(at)) = (seen.moment, seen.book.ordered) else { return Ok(()) };
    let took = seen.book.lived.since(at);
    hold(seen.book.is_ending() || took <= HEED_WITHIN, || {
        format!("svinit was told to stop {took:?} ago, and does not")
    })
}
