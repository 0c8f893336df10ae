//! Delays refusals, so that a flood of unsigned requests costs signed ones little.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use crate::metrics::Metrics;

/// A rate in bytes, shared by all requests that are refused without a right signature. Their
/// answers wait for it: a sender that floods and reads the answers is slowed down, and one with a
/// wrong secret notices nothing unless others flood. Meanwhile only the connection of the request
/// is held.
#[derive(Debug)]
pub(super) struct Throttle {
    /// When all bytes so far have had their time.
    free_from: Mutex<Instant>,
    delayed: Counter,
}

impl Throttle {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self::with(metrics.counter(
            "refusals_delayed",
            "Answers to refused requests that waited because too much was refused",
        ))
    }

    fn with(delayed: Counter) -> Self {
        Self { free_from: Mutex::new(Instant::now()), delayed }
    }

    /// How long the answer to a request has to wait if `bytes` of it were read.
    pub(super) fn refuse(&self, bytes: usize, now: Instant) -> Duration {
        let wait = self.take(bytes.max(REFUSED_REQUEST_BYTES_MIN), now);
        if !wait.is_zero() {
            self.delayed.inc();
        }
        wait
    }

    /// How long to wait after `bytes` were read and discarded.
    pub(super) fn discard(&self, bytes: usize, now: Instant) -> Duration {
        self.take(bytes, now)
    }

    fn take(&self, bytes: usize, now: Instant) -> Duration {
        let mut free_from = self.free_from.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = free_from.saturating_duration_since(now + time_of(REFUSED_BURST_BYTES));
        // The wait has a limit, and so a flood is forgotten soon after it ends.
        let most = now + time_of(REFUSED_BURST_BYTES) + REFUSED_WAIT_MAX;
        *free_from = ((*free_from).max(now) + time_of(bytes)).min(most);
        wait
    }
}

fn time_of(bytes: usize) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    Duration::from_micros(bytes.saturating_mul(1_000_000) / THROTTLED_BYTES_PER_SEC)
}

/// Bytes of refused requests per second; above this, answers wait.
const THROTTLED_BYTES_PER_SEC: u64 = 8 << 20;
/// The least that a refused request counts, because its head and its answer take time as well.
const REFUSED_REQUEST_BYTES_MIN: usize = 16 << 10;
/// Bytes that may come at once before anything waits: 256 small requests.
const REFUSED_BURST_BYTES: usize = 4 << 20;
/// The longest wait.
const REFUSED_WAIT_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_later_answers_wait_for_the_rate_up_to_the_longest_wait() {
        // How many refusals at once, of how many bytes each; how long the first and the last one
        // wait.
        for (times, bytes, first, last) in [
            (1, 0, 0, 0),
            (256, 0, 0, 0),
            (257, 0, 0, 0),
            (512, 0, 0, 497),
            (64, 64 << 10, 0, 0),
            (129, 64 << 10, 0, 499),
            (100_000, 0, 0, 1_000),
        ] {
            let (throttle, now) = (Throttle::with(Counter::default()), Instant::now());
            let waits: Vec<_> = (0..times).map(|_| throttle.refuse(bytes, now)).collect();
            let found = (waits[0].as_millis(), waits[times - 1].as_millis());
            assert_eq!(found, (first, last), "{times} × {bytes}");
        }
    }

    #[test]
    fn a_flood_is_forgotten_shortly_after_it_ends() {
        let (throttle, now) = (Throttle::with(Counter::default()), Instant::now());
        for _ in 0..100_000 {
            throttle.discard(64 << 10, now);
        }
        assert_eq!(throttle.refuse(0, now), REFUSED_WAIT_MAX);
        assert_eq!(throttle.refuse(0, now + REFUSED_WAIT_MAX + time_of(1 << 20)), Duration::ZERO);
    }
}
