//! A destination that only fails is left alone for a while; what is for it waits.

use jiff::Timestamp;
use wilco_store::Breaker;

use super::Verdict;
use crate::config;

impl config::Breaker {
    /// How the breaker stands after an attempt.
    pub(super) fn after(&self, breaker: Breaker, verdict: Verdict, now: Timestamp) -> Breaker {
        match verdict {
            // Whoever refuses one event is there for the next.
            Verdict::Delivered | Verdict::Refused => {
                Breaker { failures: 0, open_until: None, ..breaker }
            }
            Verdict::Failed { .. } => {
                if breaker.open_until.is_some_and(|until| now < until) {
                    // It was under way when the breaker opened, and says nothing new.
                    return breaker;
                }
                let failures = breaker.failures.saturating_add(1);
                let Some(probes) = failures.checked_sub(self.failures) else {
                    return Breaker { failures, open_until: None, ..breaker };
                };
                let wait = self.probe_after.saturating_mul(1 << probes.min(20)).min(self.probe_max);
                let until = now.checked_add(wait).unwrap_or(Timestamp::MAX);
                Breaker { failures, open_until: Some(until), ..breaker }
            }
        }
    }

    /// The same breaker, seen by a clock that may have been set back since.
    pub(super) fn seen(&self, breaker: Breaker, now: Timestamp) -> Breaker {
        let latest = now.checked_add(self.probe_max).unwrap_or(Timestamp::MAX);
        Breaker { open_until: breaker.open_until.map(|until| until.min(latest)), ..breaker }
    }

    /// How many attempts may begin, of so many that there is room for: all while it is closed, none while
    /// it is open, and one when it is time for a probe.
    pub(super) fn room(breaker: Breaker, running: usize, free: usize, now: Timestamp) -> usize {
        match breaker.open_until {
            None => free,
            Some(until) if now < until || running > 0 => 0,
            Some(_) => free.min(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CONFIG: config::Breaker = config::Breaker {
        failures: 3,
        probe_after: Duration::from_secs(30),
        probe_max: Duration::from_secs(100),
    };
    const FAILED: Verdict = Verdict::Failed { not_before: None };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn open(failures: u32, until: i64) -> Breaker {
        Breaker { failures, open_until: Some(at(until)), revision: 0 }
    }

    fn closed(failures: u32) -> Breaker {
        Breaker { failures, open_until: None, revision: 0 }
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_a_probe_that_does_well() {
        for (before, verdict, now, expected) in [
            (closed(0), FAILED, 0, closed(1)),
            (closed(1), FAILED, 0, closed(2)),
            (closed(2), FAILED, 0, open(3, 30)),
            (closed(2), Verdict::Delivered, 0, closed(0)),
            (closed(2), Verdict::Refused, 0, closed(0)),
            (open(3, 30), FAILED, 10, open(3, 30)),
            (open(3, 30), FAILED, 30, open(4, 90)),
            (open(4, 90), FAILED, 90, open(5, 190)),
            (open(u32::MAX, 90), FAILED, 90, open(u32::MAX, 190)),
            (open(5, 190), Verdict::Delivered, 190, closed(0)),
        ] {
            assert_eq!(CONFIG.after(before, verdict, at(now)), expected, "{before:?} {now}");
        }
    }

    #[test]
    fn while_it_is_open_nothing_begins_and_then_one_probe() {
        for (breaker, running, now, expected) in [
            (closed(2), 3, 0, 5),
            (open(3, 30), 0, 29, 0),
            (open(3, 30), 0, 30, 1),
            (open(3, 30), 1, 30, 0),
        ] {
            assert_eq!(
                config::Breaker::room(breaker, running, 5, at(now)),
                expected,
                "{breaker:?} {running} {now}"
            );
        }
        assert_eq!(config::Breaker::room(open(3, 30), 0, 0, at(30)), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_it_open_no_longer_than_the_longest() {
        assert_eq!(CONFIG.seen(open(3, 1_000_000), at(0)), open(3, 100));
        assert_eq!(CONFIG.seen(open(3, 50), at(0)), open(3, 50));
        assert_eq!(CONFIG.seen(closed(1), at(0)), closed(1));
    }
}
