//! The only randomness of the core: a sequence that follows from a seed.

use serde::{Deserialize, Serialize};

/// `SplitMix64` (Steele, Lea, Flood 2014): enough for jitter, small, and the same everywhere.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to, not including, 1.
    pub(super) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        // 32 bits are exact in an f64 and more than jitter needs.
        f64::from(u32::try_from(mixed >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_splitmix64() {
        // The first three numbers of seed 0 as published; of each, the upper half is taken as a share.
        let published = [0xe220_a839_7b1d_cdaf_u64, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
        let mut chance = Chance::new(0);
        for number in published {
            let wanted = f64::from(u32::try_from(number >> 32).unwrap()) / 4_294_967_296.0;
            assert!((chance.share() - wanted).abs() < 1e-12, "{number:x}");
        }
    }
}
