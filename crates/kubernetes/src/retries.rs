//! How long to wait before the API server is asked again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use kube::runtime::utils::Backoff;

/// The first wait.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait. All nodes of a cluster ask one server, but containers start meanwhile.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits that double, each between half of that and all of it: what failed for all at once should not be
/// tried by all at once.
#[derive(Debug)]
pub struct Retries {
    next: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Iterator for Retries {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        // Hashers are seeded at random, each anew.
        let random = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
        Some(wait.mul_f64(0.5 + random / 2.0))
    }
}

impl Backoff for Retries {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        let mut retries = Retries::default();
        let waits: Vec<Duration> = retries.by_ref().take(20).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST, "{waits:?}");
        assert!(waits[19] >= LONGEST / 2 && waits[19] <= LONGEST, "{waits:?}");
        retries.reset();
        assert!(retries.next().is_some_and(|wait| wait <= FIRST));
    }
}
