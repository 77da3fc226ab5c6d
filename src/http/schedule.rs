//! The runs of a unit with a schedule, as `/health` and the control API show them.

use std::time::Duration;

use crate::api::status::{LastRun, Schedule};
use crate::http::moment;
use crate::lifecycle::state::{self, UnitView};
use crate::runtime::handle::{Info, Reader};
use crate::units::quantity::print_duration;
use crate::units::spec::{UnitSpec, When};

/// Those of the unit that `view` shows, if it has any.
pub(crate) fn of(reader: &Reader, view: &UnitView, spec: Option<&UnitSpec>) -> Option<Schedule> {
    let timing = view.schedule.as_ref()?;
    let when = match spec?.schedule.as_ref()?.when.clone() {
        When::Cron { cron, zone } => format!("{} {zone}", cron.as_str()),
        When::Every(every) => format!("every {}", print_duration(every)),
    };
    let info = reader.info();
    Some(Schedule {
        when,
        next: reader.next_run(&view.name).map(moment::of_wall_ms),
        running: timing.began.is_some(),
        queued: timing.queued,
        delay_ms: timing.delayed.map(|at| millis(at.since((info.clock)()))),
        last: timing.last.as_ref().map(|run| last(info, run)),
        runs: timing.runs,
        failed: timing.failed,
        skipped: timing.skipped,
    })
}

fn last(info: &Info, run: &state::LastRun) -> LastRun {
    LastRun {
        ok: run.is_well,
        began: moment::of(info, run.began),
        ended: moment::of(info, run.ended),
        took_ms: millis(run.ended.since(run.began)),
        why: run.why.clone(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
