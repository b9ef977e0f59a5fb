//! The export's rate limit: so many events a minute, as many at once.

use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// A bucket of tokens, one for each event, that fills within a minute.
pub(super) struct RateLimit {
    per_minute: u64,
    tokens: f64,
    filled: Instant,
    dropped: u64,
    report_at: Option<Instant>,
}

impl RateLimit {
    /// A full bucket of `per_minute` tokens.
    pub(super) fn new(per_minute: u64, now: Instant) -> Self {
        let tokens = per_minute as f64;
        Self { per_minute, tokens, filled: now, dropped: 0, report_at: None }
    }

    /// Whether an event may pass now; counts it when not.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        let limit = self.per_minute as f64;
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * limit / MINUTE.as_secs_f64()).min(limit);
        self.filled = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return true;
        }
        self.dropped += 1;
        self.report_at.get_or_insert(now + MINUTE);
        false
    }

    /// When [`RateLimit::due`] will have something to tell.
    pub(super) fn report_at(&self) -> Option<Instant> {
        self.report_at
    }

    /// How many events were dropped, a minute after the first of them.
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        if self.report_at? > now {
            return None;
        }
        self.take()
    }

    /// How many events were dropped and not told yet.
    pub(super) fn take(&mut self) -> Option<u64> {
        self.report_at = None;
        Some(std::mem::take(&mut self.dropped)).filter(|dropped| *dropped > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_the_limit_then_what_the_time_refills() {
        let start = Instant::now();
        let mut limit = RateLimit::new(60, start);
        let passed = (0..100).filter(|_| limit.allow(start)).count();
        assert_eq!(passed, 60);
        let later = start + Duration::from_secs(10);
        let passed = (0..100).filter(|_| limit.allow(later)).count();
        assert_eq!(passed, 10);
        assert_eq!(limit.due(later), None);
        assert_eq!(limit.report_at(), Some(start + MINUTE));
        assert_eq!(limit.due(start + MINUTE), Some(40 + 90));
        assert_eq!(limit.due(start + 2 * MINUTE), None);
    }

    #[test]
    fn a_long_pause_fills_no_more_than_the_limit() {
        let start = Instant::now();
        let mut limit = RateLimit::new(2, start);
        let later = start + 100 * MINUTE;
        assert_eq!((0..10).filter(|_| limit.allow(later)).count(), 2);
    }
}
