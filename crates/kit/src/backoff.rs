//! Waiting longer after each failure. Pure: the caller brings the randomness.

use std::time::Duration;

/// `first`, doubled for each failure, never above `most`.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    pub first: Duration,
    pub most: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row (1 = the first), without jitter.
    #[must_use]
    pub fn wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        self.first
            .checked_mul(1 << doublings)
            .map_or(self.most, |wait| wait.min(self.most))
    }

    /// The wait with jitter: `spread` in 0..=1 moves it between 75 % and 100 %, so that gateways
    /// that failed together do not come back together.
    #[must_use]
    pub fn wait_with_jitter(&self, failures: u32, spread: f64) -> Duration {
        self.wait(failures)
            .mul_f64(0.75 + 0.25 * spread.clamp(0.0, 1.0))
    }
}

/// A number in 0..=1 that differs from call to call, good enough for jitter.
#[must_use]
pub fn spread() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(0_u8);
    f64::from(u32::try_from(random & 0xffff).unwrap_or(0)) / 65535.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_bound() {
        let backoff = Backoff {
            first: Duration::from_secs(15),
            most: Duration::from_secs(3600),
        };
        let waits: Vec<u64> = (1..=10).map(|n| backoff.wait(n).as_secs()).collect();
        assert_eq!(waits, [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(backoff.wait(u32::MAX).as_secs(), 3600);
        assert!(backoff.wait_with_jitter(1, 0.0) < backoff.wait_with_jitter(1, 1.0));
    }
}
