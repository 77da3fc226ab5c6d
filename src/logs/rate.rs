//! `[log] rate`: how many lines a second pass. Pure: it is told the time.

use serde::{Deserialize, Serialize};

/// A bucket that fills at `rate` lines a second and holds one second's worth.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Bucket {
    rate: u32,
    /// Millionths of a line.
    level: u64,
    at_us: u64,
}

impl Bucket {
    /// Lets `rate` lines a second pass; 0 is no bound. A change begins with a full bucket.
    pub fn set(&mut self, rate: u32) {
        if rate != self.rate {
            *self = Self { rate, level: u64::from(rate) * 1_000_000, at_us: self.at_us };
        }
    }

    /// Whether there is a bound at all.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.rate > 0
    }

    /// Time has passed.
    pub fn fill(&mut self, now_us: u64) {
        let rate = u64::from(self.rate);
        let gain = now_us.saturating_sub(self.at_us).min(1_000_000) * rate;
        self.level = (self.level + gain).min(rate * 1_000_000);
        self.at_us = self.at_us.max(now_us);
    }

    /// Whether one more line passes.
    pub fn take(&mut self) -> bool {
        if self.rate == 0 {
            return true;
        }
        let passes = self.level >= 1_000_000;
        if passes {
            self.level -= 1_000_000;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(bucket: &mut Bucket, now_us: u64, lines: u32) -> usize {
        bucket.fill(now_us);
        (0..lines).filter(|_| bucket.take()).count()
    }

    #[test]
    fn a_second_lets_its_rate_pass_and_no_more() {
        let mut bucket = Bucket::default();
        bucket.set(10);
        assert_eq!(passed(&mut bucket, 5_000_000, 100), 10);
        assert_eq!(passed(&mut bucket, 5_500_000, 100), 5);
        assert_eq!(passed(&mut bucket, 5_500_000, 100), 0);
        assert_eq!(passed(&mut bucket, 99_000_000, 100), 10);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_adds_nothing() {
        let mut bucket = Bucket::default();
        bucket.set(1);
        assert_eq!(passed(&mut bucket, 9_000_000, 5), 1);
        assert_eq!(passed(&mut bucket, 1_000_000, 5), 0);
        assert_eq!(passed(&mut bucket, 9_400_000, 5), 0);
        assert_eq!(passed(&mut bucket, 10_000_000, 5), 1);
    }

    #[test]
    fn without_a_rate_everything_passes() {
        let mut bucket = Bucket::default();
        assert_eq!(passed(&mut bucket, 0, 1000), 1000);
        assert!(!bucket.is_bound());
    }
}
