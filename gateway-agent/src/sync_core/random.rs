//! Randomness that a seed decides: the same seed, the same waits.

use std::time::Duration;

use kit::backoff::Backoff;

/// SplitMix64: good enough to keep gateways apart.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn spread(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        f64::from(u32::try_from(mixed >> 40).unwrap_or(0)) / f64::from(1_u32 << 24)
    }

    /// Milliseconds of 75 to 100 % of a wait: gateways that act together do not act together again.
    pub fn jittered(&mut self, wait: Duration) -> u64 {
        let wait = wait.mul_f64(0.75 + 0.25 * self.spread());
        u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
    }

    /// The same of the wait after so many failures.
    pub fn wait(&mut self, backoff: Backoff, failures: u32) -> u64 {
        self.jittered(backoff.wait(failures))
    }
}
