//! The rate limiter: how many attempts may begin in a given time.

use std::time::Duration;

use crate::policy::RateLimit;

/// Counts attempts against a rate. Times are those since the worker was opened.
///
/// Attempts that were not made can be made up for, but only those of the last tenth of a second: a
/// rate is for a destination that cannot take bursts.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    interval: Duration,
    next: Duration,
}

impl RateLimiter {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self { interval: limit.per / limit.count, next: Duration::ZERO }
    }

    /// How many attempts may begin now, at most `free`.
    pub(crate) fn allowed(&self, free: usize, now: Duration) -> usize {
        let Some(since) = now.checked_sub(self.next.max(now.saturating_sub(CATCH_UP))) else {
            return 0;
        };
        let more = since.as_nanos() / self.interval.as_nanos().max(1);
        free.min(usize::try_from(more).unwrap_or(usize::MAX).saturating_add(1))
    }

    /// Counts attempts that begin now.
    pub(crate) fn began(&mut self, attempts: usize, now: Duration) {
        let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
        let from = self.next.max(now.saturating_sub(CATCH_UP));
        self.next = from.saturating_add(self.interval.saturating_mul(attempts));
    }

    /// How long until the next attempt may begin.
    pub(crate) fn wait(&self, now: Duration) -> Duration {
        self.next.saturating_sub(now)
    }
}

const CATCH_UP: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(count: u32, secs: u64, step_ms: usize) -> Vec<u64> {
        let mut limiter = RateLimiter::new(RateLimit { count, per: Duration::from_secs(secs) });
        let mut begun = Vec::new();
        for ms in (0..10_000).step_by(step_ms) {
            let now = Duration::from_millis(ms);
            let allowed = limiter.allowed(1_000_000, now);
            limiter.began(allowed, now);
            begun.extend(std::iter::repeat_n(ms, allowed));
        }
        begun
    }

    #[test]
    fn attempts_are_spread_over_the_interval() {
        assert_eq!(begun(2, 1, 1)[..4], [0, 500, 1_000, 1_500]);
        assert_eq!(begun(60, 60, 1), (0..10).map(|second| second * 1_000).collect::<Vec<_>>());
        let fast = begun(1_000, 1, 7).len();
        assert!((9_900..=10_101).contains(&fast), "{fast} in 10 s at 1000/s, looked at each 7 ms");
    }

    #[test]
    fn idle_time_is_not_made_up_for_in_one_burst() {
        let mut limiter = RateLimiter::new(RateLimit { count: 100, per: Duration::from_secs(1) });
        assert_eq!(limiter.allowed(1_000, Duration::from_secs(60)), 11);
        limiter.began(11, Duration::from_secs(60));
        assert_eq!(limiter.allowed(1_000, Duration::from_secs(60)), 0);
        assert_eq!(limiter.wait(Duration::from_secs(60)), Duration::from_millis(10));
        assert_eq!(limiter.allowed(1_000, Duration::from_millis(60_010)), 1);
    }
}
