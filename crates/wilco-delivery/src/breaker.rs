//! The circuit breaker: pauses a destination after consecutive failures, or if it asks for time. Its
//! deliveries wait.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    attempt::Verdict,
    policy::BreakerPolicy,
    time::{later, until},
};

/// A circuit breaker as a worker sees it: closed while `open_until` is `None`.
///
/// The store uses a separate clock, so it stores this time as a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Consecutive failures.
    pub failures: u32,
    /// No attempt is made before this time, by the clock of the worker; then one is, as a probe.
    pub open_until: Option<Timestamp>,
    /// Counts the changes of this breaker.
    pub revision: u64,
}

impl Breaker {
    /// The breaker from the store, read at `now`.
    pub fn of(stored: wilco_store::Breaker, now: Timestamp) -> Self {
        let wilco_store::Breaker { failures, open_for, revision } = stored;
        Self { failures, open_until: open_for.map(|wait| later(now, wait)), revision }
    }

    /// The breaker as it is written to the store at `now`.
    pub fn stored(self, now: Timestamp) -> wilco_store::Breaker {
        let Self { failures, open_until, revision } = self;
        let open_for = open_until.map(|open_until| until(open_until, now));
        wilco_store::Breaker { failures, open_for, revision }
    }
}

impl BreakerPolicy {
    /// The breaker after an attempt. If the destination asked for a wait (`not_before`), no attempt
    /// begins before that is over, even if few attempts have failed.
    pub(crate) fn after(&self, breaker: Breaker, verdict: Verdict, now: Timestamp) -> Breaker {
        let until = breaker.open_until.filter(|until| now < *until);
        match verdict {
            // A destination that refuses an event is up. But an attempt that began before the
            // destination asked for a wait does not end that wait.
            Verdict::Delivered | Verdict::Refused => {
                let open_until = until.filter(|_| !self.is_open(breaker));
                Breaker { failures: 0, open_until, ..breaker }
            }
            // The destination was not contacted, so nothing new is known about it.
            Verdict::Unsendable => breaker,
            Verdict::Failed { not_before } => {
                let asked = not_before.filter(|wait| !wait.is_zero()).map(|wait| later(now, wait));
                if until.is_some() {
                    // This attempt began before the breaker opened, so it says nothing new, unless the
                    // destination asks for more time.
                    return Breaker { open_until: until.max(asked), ..breaker };
                }
                let failures = breaker.failures.saturating_add(1);
                let probe = failures.checked_sub(self.failures).map(|probes| {
                    let wait = self.probe_after.saturating_mul(1 << probes.min(20));
                    later(now, wait.min(self.probe_max))
                });
                Breaker { failures, open_until: probe.max(asked), ..breaker }
            }
        }
    }

    /// Whether it is open because of failures. If not, `open_until` is the wait that the destination
    /// asked for.
    pub(crate) fn is_open(&self, breaker: Breaker) -> bool {
        breaker.open_until.is_some() && breaker.failures >= self.failures
    }

    /// The same breaker, seen by a clock that may have been set back since. `asked_max` is the longest
    /// wait that a destination may ask for.
    pub(crate) fn seen(&self, breaker: Breaker, asked_max: Duration, now: Timestamp) -> Breaker {
        let latest = later(now, self.probe_max.max(asked_max));
        Breaker { open_until: breaker.open_until.map(|until| until.min(latest)), ..breaker }
    }

    /// How many attempts may begin now, at most `free`: all while the breaker is closed, none while it is
    /// open, and one when a probe is due.
    pub(crate) fn allowed(breaker: Breaker, running: usize, free: usize, now: Timestamp) -> usize {
        match breaker.open_until {
            None => free,
            Some(until) if now < until || running > 0 => 0,
            Some(_) => free.min(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BreakerPolicy = BreakerPolicy {
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
    fn it_opens_after_consecutive_failures_and_closes_after_a_successful_probe() {
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
            // An event that cannot be sent says nothing about the destination, even if it was the probe.
            (closed(2), Verdict::Unsendable, 0, closed(2)),
            (open(3, 30), Verdict::Unsendable, 10, open(3, 30)),
            (open(3, 30), Verdict::Unsendable, 30, open(3, 30)),
        ] {
            assert_eq!(CONFIG.after(before, verdict, at(now)), expected, "{before:?} {now}");
        }
    }

    #[test]
    fn a_wait_that_a_destination_asks_for_is_kept_whatever_else_was_in_progress() {
        let asked = |secs| Verdict::Failed { not_before: Some(Duration::from_secs(secs)) };
        for (before, verdict, now, expected) in [
            (closed(0), asked(500), 0, open(1, 500)),
            (closed(0), asked(0), 0, closed(1)),
            // Concurrent attempts fail, ask for less or more time, or deliver.
            (open(1, 500), FAILED, 1, open(1, 500)),
            (open(1, 500), asked(5), 1, open(1, 500)),
            (open(1, 500), asked(500), 1, open(1, 501)),
            (open(1, 500), Verdict::Delivered, 1, open(0, 500)),
            (open(1, 500), Verdict::Refused, 1, open(0, 500)),
            // The first attempt after it.
            (open(1, 500), Verdict::Delivered, 500, closed(0)),
            (open(0, 500), FAILED, 500, closed(1)),
            (open(1, 500), asked(7), 500, open(2, 507)),
            // It fails for too long as well: whichever wait is longer.
            (open(2, 500), asked(7), 500, open(3, 530)),
            (open(2, 500), asked(70), 500, open(3, 570)),
            (open(3, 530), asked(70), 510, open(3, 580)),
            (open(3, 530), Verdict::Delivered, 510, closed(0)),
        ] {
            let after = CONFIG.after(before, verdict, at(now));
            assert_eq!(after, expected, "{before:?} {verdict:?} {now}");
        }
        for (breaker, expected) in
            [(open(2, 500), false), (open(3, 500), true), (closed(3), false), (closed(0), false)]
        {
            assert_eq!(CONFIG.is_open(breaker), expected, "{breaker:?}");
        }
    }

    #[test]
    fn while_it_is_open_nothing_starts_and_then_one_probe_does() {
        for (breaker, running, now, expected) in [
            (closed(2), 3, 0, 5),
            (open(3, 30), 0, 29, 0),
            (open(3, 30), 0, 30, 1),
            (open(3, 30), 1, 30, 0),
        ] {
            assert_eq!(
                BreakerPolicy::allowed(breaker, running, 5, at(now)),
                expected,
                "{breaker:?} {running} {now}"
            );
        }
        assert_eq!(BreakerPolicy::allowed(open(3, 30), 0, 0, at(30)), 0);
    }

    #[test]
    fn a_clock_set_back_keeps_it_open_no_longer_than_the_longest_wait() {
        for (asked_max, before, expected) in [
            (0, open(3, 1_000_000), open(3, 100)),
            (200, open(1, 1_000_000), open(1, 200)),
            (0, open(3, 50), open(3, 50)),
            (0, closed(1), closed(1)),
        ] {
            let asked_max = Duration::from_secs(asked_max);
            assert_eq!(CONFIG.seen(before, asked_max, at(0)), expected, "{before:?}");
        }
    }
}
