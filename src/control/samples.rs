//! CPU as a share: what was used between two looks.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::control::convert::Measure;
use crate::lifecycle::time::Time;
use crate::runtime::handle::Usage;
use crate::units::name::UnitName;

/// Looks that are closer than this show the same share again: in less time the kernel's own counting is too coarse.
const APART_MIN: Duration = Duration::from_millis(200);

/// The last look at each unit, shared by all clients. Bounded by the number of units.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    last: Mutex<BTreeMap<UnitName, Sample>>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Time,
    cpu_us: u64,
    percent: Option<f64>,
}

impl Samples {
    /// Adds to `usage` what follows from the look before. Units for which `exists` is false are forgotten.
    pub(crate) fn look(
        &self,
        now: Time,
        usage: BTreeMap<UnitName, Usage>,
        exists: impl Fn(&UnitName) -> bool,
    ) -> BTreeMap<UnitName, Measure> {
        // Nobody panics while holding it.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|name, _| exists(name));
        let measured = usage.into_iter().map(|(name, usage)| {
            let sample = next(last.get(&name).copied(), now, usage.cpu_us);
            last.insert(name.clone(), sample);
            (name, Measure { usage, cpu_percent: sample.percent })
        });
        measured.collect()
    }
}

fn next(before: Option<Sample>, now: Time, cpu_us: u64) -> Sample {
    match before {
        Some(before) if now.since(before.at) < APART_MIN => before,
        // It goes back when processes have ended or another run has begun: there is nothing to compare with.
        Some(before) if cpu_us >= before.cpu_us => {
            Sample { at: now, cpu_us, percent: Some(percent(cpu_us - before.cpu_us, now.since(before.at))) }
        }
        Some(_) | None => Sample { at: now, cpu_us, percent: None },
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share with one decimal digit")]
fn percent(cpu_us: u64, over: Duration) -> f64 {
    let share = 100.0 * cpu_us as f64 / (over.as_secs_f64() * 1e6);
    (share * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Samples;
    use crate::lifecycle::time::Time;
    use crate::runtime::handle::Usage;
    use crate::units::name::UnitName;

    #[test]
    fn a_share_needs_two_looks_and_survives_a_third_that_is_too_soon() {
        let samples = Samples::default();
        let web = UnitName::new("web").unwrap();
        let look = |ms, cpu_us| {
            let usage = BTreeMap::from([(web.clone(), Usage { cpu_us, ..Usage::default() })]);
            samples.look(Time::from_millis(ms), usage, |_| true)["web"].cpu_percent
        };
        assert_eq!(look(1000, 0), None);
        assert_eq!(look(2000, 255_000), Some(25.5));
        assert_eq!(look(2001, 256_000), Some(25.5));
        assert_eq!(look(3000, 1_000), None, "another run");
        assert_eq!(look(4000, 1_000), Some(0.0));
    }

    #[test]
    fn units_that_are_gone_are_forgotten() {
        let samples = Samples::default();
        let usage = BTreeMap::from([(UnitName::new("web").unwrap(), Usage::default())]);
        let _ = samples.look(Time::ZERO, usage, |_| true);
        let _ = samples.look(Time::ZERO, BTreeMap::new(), |_| false);
        assert!(samples.last.lock().unwrap().is_empty());
    }
}
