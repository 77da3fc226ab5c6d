//! When a unit that has ended is tried again, and how often all of them together may be.
//!
//! One crash is not a crash loop: the first two retries come after `delay`, which is no time at all by default. The third
//! waits 100 ms or `delay`, whichever is longer, and each further one `factor` times as long, up to `max_delay`.
//! Time in `ready` longer than `window` wipes the slate, and so does a person's start, which never counts.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::chance::Chance;
use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::time::Time;
use crate::units::spec::{OnLimit, Restart};

/// Retries that come after plain `delay`, before growth begins.
const QUICK_RETRIES: u32 = 2;

/// The least pause once growth has begun: below it a crash loop is a busy loop.
const GROWTH_FROM: Duration = Duration::from_millis(100);

/// The memory of one unit's automatic restarts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Retries {
    /// Moments of automatic restarts, oldest first; as many as `limit` at most.
    pub(super) recent: VecDeque<Time>,
    /// Since the slate was last wiped.
    pub(super) in_a_row: u32,
    /// The limit was reached: from here on one try every `max_delay` until the slate is wiped.
    pub(super) tripped: bool,
    /// Tries in a row for which the machine had no room. Not the unit's fault, so they do not count towards the limit.
    pub(super) starved: u32,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again then.
    At(Time),
    /// The limit is reached; one more try then.
    HalfOpen(Time),
    /// The limit is reached, and this is what it means.
    Limit(OnLimit),
}

impl Retries {
    /// It was well for long enough, or a person has asked: what was is forgotten.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// It has failed.
    pub(super) fn after_failure(&mut self, rule: &Restart, now: Time, chance: &mut Chance) -> Next {
        self.starved = 0;
        if self.tripped {
            return Next::HalfOpen(now.after(rule.max_delay));
        }
        while self.recent.front().is_some_and(|&at| now.since(at) > rule.window) {
            self.recent.pop_front();
        }
        if rule.limit > 0
            && !planted(Bug::NoLimit)
            && self.recent.len() >= usize::try_from(rule.limit).unwrap_or(usize::MAX)
        {
            return self.at_limit(rule, now);
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        if rule.limit > 0 {
            self.recent.push_back(now);
        }
        Next::At(now.after(jittered(growing(rule, self.in_a_row), rule.jitter, chance)))
    }

    fn at_limit(&mut self, rule: &Restart, now: Time) -> Next {
        match rule.on_limit {
            OnLimit::RetryLater => {
                self.tripped = true;
                Next::HalfOpen(now.after(rule.max_delay))
            }
            OnLimit::Fail | OnLimit::Shutdown => Next::Limit(rule.on_limit),
        }
    }

    /// Whose turn the retry is that has just been granted.
    pub(super) fn turn(&self) -> Turn {
        if self.in_a_row == 1 && self.starved == 0 && !self.tripped { Turn::First } else { Turn::Again }
    }

    /// There was no room for a process: tried again soon, then more slowly, for ever.
    pub(super) fn after_starvation(&mut self, rule: &Restart, now: Time, chance: &mut Chance) -> Time {
        self.starved = self.starved.saturating_add(1);
        let pause = growing(rule, QUICK_RETRIES.saturating_add(self.starved));
        now.after(jittered(pause, rule.jitter, chance))
    }
}

/// The pause before the `nth` retry in a row, the first being 1.
fn growing(rule: &Restart, nth: u32) -> Duration {
    if nth <= QUICK_RETRIES || planted(Bug::BackoffNotGrowing) {
        return rule.delay.min(rule.max_delay);
    }
    let from = rule.delay.max(GROWTH_FROM);
    let exponent = i32::try_from(nth - QUICK_RETRIES - 1).unwrap_or(i32::MAX);
    let grown = from.as_secs_f64() * rule.factor.max(1.0).powi(exponent);
    // The comparison comes first: a product that has become infinite is no Duration.
    if grown >= rule.max_delay.as_secs_f64() { rule.max_delay } else { Duration::from_secs_f64(grown) }
}

/// Chance only shortens, so `max_delay` stays the bound.
fn jittered(pause: Duration, share: f64, chance: &mut Chance) -> Duration {
    // Of a pause of ages the product would be rounded, upwards too.
    pause.mul_f64(1.0 - share.clamp(0.0, 1.0) * chance.share()).min(pause)
}

/// Which retry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The first since the unit was well, or since a person has asked for it.
    First,
    /// One of a unit that may be in a crash loop.
    Again,
}

/// How many automatic restarts a second are let through, all units together: a burst of one second's worth, then evenly.
///
/// First retries have a queue of their own, of the same rate: behind two hundred crash loops a good unit that has crashed
/// once would wait for seconds. What they take is taken from the loops, so in the long run both keep to the one rate.
///
/// The generic cell rate algorithm (ITU-T I.371): one number of state, no refill to be computed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ForkRate {
    pub(super) apart: Duration,
    /// When the bucket would be empty again.
    pub(super) filled_until: Time,
    /// The same for first retries alone.
    pub(super) firsts_until: Time,
}

/// The burst that may come at once.
const BURST: Duration = Duration::from_secs(1);

impl ForkRate {
    /// `a_second` restarts a second; 0 is no bound.
    pub(super) fn new(a_second: u32) -> Self {
        // Whole microseconds, as all moments are: a rest would make a wait of no time at all, and that is a busy loop.
        let apart = if a_second == 0 { 0 } else { BURST.as_micros() / u128::from(a_second) };
        let apart = Duration::from_micros(u64::try_from(apart).unwrap_or(0));
        Self { apart, filled_until: Time::ZERO, firsts_until: Time::ZERO }
    }

    /// Takes leave for one restart, and says from when on it is given.
    ///
    /// Who has to wait has its place from here on: were it to ask again, one that asks more often would always be first.
    pub(super) fn take(&mut self, turn: Turn, now: Time) -> Time {
        let mut from = self.filled_until.max(now);
        self.filled_until = from.after(self.apart);
        if turn == Turn::First {
            from = self.firsts_until.max(now);
            self.firsts_until = from.after(self.apart);
        }
        now.after((from.since(now) + self.apart).saturating_sub(BURST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Restart {
        Restart { jitter: 0.0, ..Restart::default() }
    }

    fn pauses(rule: &Restart, count: usize) -> Vec<Next> {
        let (mut retries, mut chance) = (Retries::default(), Chance::new(1));
        (0..count).map(|_| retries.after_failure(rule, Time::ZERO, &mut chance)).collect()
    }

    #[test]
    fn the_first_two_retries_come_at_once_and_then_the_pause_doubles() {
        let at = |ms| Next::At(Time::from_millis(ms));
        assert_eq!(pauses(&rule(), 6), [at(0), at(0), at(100), at(200), at(400), at(800)]);
    }

    #[test]
    fn the_pause_never_exceeds_max_delay_nor_overflows() {
        let rule = Restart { limit: 0, factor: 1e300, ..rule() };
        assert_eq!(pauses(&rule, 5000).last(), Some(&Next::At(Time::from_millis(30_000))));
    }

    #[test]
    fn beyond_the_limit_there_is_one_try_every_max_delay() {
        let last = pauses(&rule(), 12);
        assert_eq!(last[10], Next::HalfOpen(Time::from_millis(30_000)));
        assert_eq!(last[11], Next::HalfOpen(Time::from_millis(30_000)));
    }

    #[test]
    fn restarts_older_than_the_window_do_not_count_towards_the_limit() {
        let (rule, mut retries, mut chance) = (rule(), Retries::default(), Chance::new(1));
        for minute in 0..100 {
            let next = retries.after_failure(&rule, Time::from_millis(minute * 61_000), &mut chance);
            assert!(matches!(next, Next::At(_)), "{next:?}");
        }
    }

    #[test]
    fn jitter_shortens_and_stays_within_its_share() {
        let (rule, mut chance) = (Restart { jitter: 0.1, ..rule() }, Chance::new(7));
        for _ in 0..1000 {
            let pause = jittered(Duration::from_secs(10), rule.jitter, &mut chance);
            assert!(pause > Duration::from_secs(9) && pause <= Duration::from_secs(10), "{pause:?}");
        }
    }

    #[test]
    fn the_fork_rate_lets_a_seconds_worth_through_and_then_evenly() {
        let mut rate = ForkRate::new(50);
        let given: Vec<_> = (0..53).map(|_| rate.take(Turn::Again, Time::ZERO)).collect();
        assert!(given[..50].iter().all(|at| *at == Time::ZERO));
        assert_eq!(given[50..], [20, 40, 60].map(Time::from_millis));
    }

    #[test]
    fn one_crash_does_not_wait_behind_crash_loops_and_is_taken_from_their_share() {
        let mut rate = ForkRate::new(50);
        let loops: Vec<_> = (0..250).map(|_| rate.take(Turn::Again, Time::ZERO)).collect();
        assert_eq!(loops.last(), Some(&Time::from_millis(4_000)));
        let firsts: Vec<_> = (0..51).map(|_| rate.take(Turn::First, Time::ZERO)).collect();
        assert!(
            firsts[..50].iter().all(|at| *at == Time::ZERO),
            "a mass of first crashes keeps the rate too"
        );
        assert_eq!(firsts[50], Time::from_millis(20));
        assert_eq!(rate.take(Turn::Again, Time::ZERO), Time::from_millis(4_000 + 52 * 20));
    }

    proptest::proptest! {
        /// Whatever a file may say, and whenever it is asked.
        #[test]
        fn a_pause_is_bounded_and_never_overflows(
            delay in 0_u64..u64::MAX / 1000,
            max in 100_u64..u64::MAX / 1000,
            factor in 1.0_f64..=100.0,
            jitter in 0.0_f64..=1.0,
            limit in 0_u32..20,
            nows in proptest::collection::vec(proptest::num::u64::ANY, 1..60),
        ) {
            let (delay, max_delay) = (Duration::from_millis(delay), Duration::from_millis(max));
            let rule = Restart { delay, max_delay, factor, jitter, limit, ..Restart::default() };
            let (mut retries, mut chance) = (Retries::default(), Chance::new(3));
            for now in nows {
                let now = Time(now);
                let starved = retries.after_starvation(&rule, now, &mut chance);
                let next = match retries.after_failure(&rule, now, &mut chance) {
                    Next::At(at) | Next::HalfOpen(at) => at,
                    Next::Limit(_) => now,
                };
                for at in [starved, next] {
                    proptest::prop_assert!(at >= now && at <= now.after(max_delay), "{at:?} {now:?}");
                }
            }
        }
    }

    #[test]
    fn a_fork_rate_that_does_not_divide_a_second_gives_a_later_moment_or_now() {
        let mut rate = ForkRate::new(3);
        let given: Vec<_> = (0..5).map(|_| rate.take(Turn::Again, Time::ZERO)).collect();
        assert_eq!(given, [0, 0, 0, 333_332, 666_665].map(Time));
    }
}
