//! How often a policy may ask: a few times at once, then now and then. A policy that matches all the time
//! must not make the machine flood whoever it asks.

use std::time::{Duration, Instant};

/// Requests at once.
const BURST: u32 = 10;
/// Time after which there is one more.
const EACH: Duration = Duration::from_secs(1);

/// What is left.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    since: Option<Instant>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: BURST, since: None }
    }
}

impl Allowance {
    /// Takes one. False: there is none now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let more = now.saturating_duration_since(since).as_secs() / EACH.as_secs();
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(BURST);
            self.since = Some(if self.left == BURST { now } else { since + EACH * more });
        }
        let some = self.left > 0;
        self.left -= u32::from(some);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_at_once_then_one_a_second() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut allowance = Allowance::default();
        let taken = |allowance: &mut Allowance, millis: u64| {
            (0..100).filter(|_| allowance.take(at(millis))).count()
        };
        assert_eq!(taken(&mut allowance, 0), 10);
        assert_eq!(taken(&mut allowance, 999), 0);
        assert_eq!(taken(&mut allowance, 1000), 1);
        assert_eq!(taken(&mut allowance, 1999), 0);
        assert_eq!(taken(&mut allowance, 3500), 2);
        assert_eq!(taken(&mut allowance, 4000), 1, "half a second was left over");
        assert_eq!(taken(&mut allowance, 1 << 40), 10);
        // The clock of another CPU may be behind.
        assert_eq!(taken(&mut allowance, 0), 0);
    }
}
