//! The one source of chance of a schedule: SplitMix64, so that a seed means the same on every machine.

use std::time::Duration;

/// Dice that fall the same way for the same seed.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Dice for this seed. Neighbouring seeds give unrelated rows.
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Self(seed ^ 0x5851_f42d_4c95_7f2d);
        dice.roll();
        dice
    }

    /// The next number.
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `end` exclusive.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    /// True `percent` times in a hundred.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// True `per_mille` times in a thousand.
    pub(super) fn per_mille(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of these.
    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let at = usize::try_from(self.below(from.len() as u64)).expect("an index of a slice");
        from[at].clone()
    }

    /// A number from `low` to `high` inclusive.
    pub(super) fn number(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// From `low` to `high` milliseconds inclusive, with microseconds.
    pub(super) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.number(low * 1000, high * 1000))
    }

    /// From `low` to `high` milliseconds inclusive, in whole milliseconds, as people write them.
    pub(super) fn round_millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.number(low, high))
    }
}
