//! Reproducible pseudo-random numbers: SplitMix64.

use std::time::Duration;

pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u32, most: u32) -> u32 {
        let sides = u64::from(most - least) + 1;
        least + u32::try_from(self.roll() % sides).unwrap()
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        let last = u32::try_from(len - 1).unwrap();
        usize::try_from(self.between(0, last)).unwrap()
    }

    /// True in this percentage of cases.
    pub(crate) fn is_lucky(&mut self, percent: u32) -> bool {
        self.between(1, 100) <= percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    pub(crate) fn millis(&mut self, least: u32, most: u32) -> Duration {
        Duration::from_millis(self.between(least, most).into())
    }

    /// From 0 to 1, and often exactly one of them.
    pub(crate) fn chance(&mut self) -> f64 {
        match self.between(0, 9) {
            0 => 0.0,
            1 => 1.0,
            _ => f64::from(self.between(0, u32::MAX)) / f64::from(u32::MAX),
        }
    }
}
