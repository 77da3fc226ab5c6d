//! What units use, measured at most once a second however many ask.
//!
//! Measuring reads `/proc` and is the driver's work; a flood of scrapes must not become a flood of measurements.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::lifecycle::time::Time;
use crate::runtime::handle::{Reader, Usage};
use crate::units::name::UnitName;

/// How old a measurement may be when it is shown.
const AGE_MAX: Duration = Duration::from_secs(1);

/// How long a scrape waits for the driver; then it shows what was measured before.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// What one unit uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// As it was measured.
    pub(crate) now: Usage,
    /// CPU time that was seen to be used since the first measurement, microseconds. Never less than before, which the
    /// sum over living processes is each time one of them ends; what a process uses between its last measurement and
    /// its end is missed.
    pub(crate) cpu_us_total: u64,
}

/// The last measurement. Bounded by the number of units: what does not run is forgotten, but for its total.
#[derive(Default)]
pub(crate) struct Measured {
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    at: Option<Time>,
    units: BTreeMap<UnitName, Use>,
    totals: BTreeMap<UnitName, u64>,
}

impl Measured {
    /// What units that run use.
    pub(crate) async fn look(&self, reader: &Reader) -> BTreeMap<UnitName, Use> {
        let mut last = self.last.lock().await;
        let now = (reader.info().clock)();
        if last.at.is_none_or(|at| now.since(at) >= AGE_MAX) {
            // Also when the driver does not answer: who scrapes next must not wait for it again.
            last.at = Some(now);
            if let Ok(Some(usage)) = tokio::time::timeout(WAIT_MAX, reader.usage()).await {
                let set = reader.set();
                last.totals.retain(|name, _| set.units.contains_key(name));
                last.take(usage);
            }
        }
        last.units.clone()
    }
}

impl Last {
    fn take(&mut self, usage: BTreeMap<UnitName, Usage>) {
        let mut units = BTreeMap::new();
        for (name, now) in usage {
            let before = self.units.get(&name).map_or(0, |unit| unit.now.cpu_us);
            // Less than before: processes have ended, or it is another run. All of it may have been counted.
            let used = now.cpu_us.saturating_sub(before);
            let total = self.totals.entry(name.clone()).or_default();
            *total += used;
            units.insert(name, Use { now, cpu_us_total: *total });
        }
        self.units = units;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Last;
    use crate::runtime::handle::Usage;
    use crate::units::name::UnitName;

    fn used(cpu_us: u64) -> BTreeMap<UnitName, Usage> {
        BTreeMap::from([(UnitName::new("a").unwrap(), Usage { cpu_us, ..Usage::default() })])
    }

    #[test]
    fn cpu_time_never_goes_back() {
        let mut last = Last::default();
        let mut totals = Vec::new();
        for cpu in [100, 250, 40, 90] {
            last.take(used(cpu));
            totals.push(last.units["a"].cpu_us_total);
        }
        assert_eq!(totals, [100, 250, 250, 300]);
        last.take(BTreeMap::new());
        assert!(last.units.is_empty());
        last.take(used(10));
        assert_eq!(last.units["a"].cpu_us_total, 310);
    }
}
