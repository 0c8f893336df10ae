//! When a failed delivery is tried again, and when it is given up.

use std::time::Duration;

use jiff::Timestamp;
use wilco_store::Outcome;

use super::Verdict;
use crate::config::Retry;

impl Verdict {
    /// What follows from what a destination answered. A delivery that fails to the end has its last
    /// attempt at its deadline, not at the last step of the backoff before it.
    pub(super) fn outcome(
        self,
        attempt: u32,
        created_at: Timestamp,
        now: Timestamp,
        retry: &Retry,
    ) -> Outcome {
        let not_before = match self {
            Self::Delivered => return Outcome::Delivered,
            Self::Refused => return Outcome::Dead,
            Self::Failed { not_before } => not_before.unwrap_or_default(),
        };
        let deadline = later(created_at, retry.give_up_after);
        if now >= deadline {
            return Outcome::Dead;
        }
        let wait = backoff(attempt, retry).max(not_before.min(retry.max));
        Outcome::Retry(later(now, wait).min(deadline))
    }
}

fn backoff(attempt: u32, retry: &Retry) -> Duration {
    let steps = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let secs = retry.first.as_secs_f64() * retry.factor.powi(steps);
    Duration::try_from_secs_f64(secs).unwrap_or(retry.max).min(retry.max)
}

fn later(from: Timestamp, by: Duration) -> Timestamp {
    from.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry {
        first: Duration::from_secs(5),
        factor: 2.0,
        max: Duration::from_secs(60),
        give_up_after: Duration::from_secs(600),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn check(verdict: Verdict, attempt: u32, now: i64, expected: &Outcome) {
        let outcome = verdict.outcome(attempt, at(0), at(now), &RETRY);
        assert_eq!(outcome, *expected, "{verdict:?}, attempt {attempt}, at {now}");
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let failed = Verdict::Failed { not_before: None };
        for (attempt, wait) in [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (u32::MAX, 60)]
        {
            check(failed, attempt, 100, &Outcome::Retry(at(100 + wait)));
        }
    }

    #[test]
    fn the_last_attempt_is_at_the_deadline() {
        let failed = Verdict::Failed { not_before: None };
        check(failed, 9, 599, &Outcome::Retry(at(600)));
        check(failed, 9, 600, &Outcome::Dead);
    }

    #[test]
    fn a_destination_may_ask_for_more_time_but_not_for_ever() {
        for (asked, wait) in [(1, 5), (30, 30), (86_400, 60)] {
            let failed = Verdict::Failed { not_before: Some(Duration::from_secs(asked)) };
            check(failed, 1, 100, &Outcome::Retry(at(100 + wait)));
        }
    }

    #[test]
    fn what_arrived_or_was_refused_is_not_tried_again() {
        check(Verdict::Delivered, 1, 700, &Outcome::Delivered);
        check(Verdict::Refused, 1, 1, &Outcome::Dead);
    }
}
