//! When a failed delivery is tried again, and when it is given up.

use std::time::Duration;

use wilco_store::Outcome;

use crate::{
    attempt::Verdict,
    policy::{OnDead, RetryPolicy},
};

/// The attempt that a verdict is about.
pub(crate) struct Tried {
    /// Its number, from 1.
    pub(crate) attempt: u32,
    /// How long the delivery has waited between attempts so far.
    pub(crate) waited: Duration,
    /// A random number from 0 to 1.
    pub(crate) chance: f64,
}

impl Verdict {
    /// The same verdict, with the wait that the destination asked for limited to `max`.
    pub(crate) fn asking_at_most(self, max: Duration) -> Self {
        match self {
            Self::Failed { not_before: Some(wait) } => {
                Self::Failed { not_before: Some(wait.min(max)) }
            }
            Self::Failed { not_before: None }
            | Self::Delivered
            | Self::Refused
            | Self::Unsendable => self,
        }
    }

    /// The outcome that follows from what a destination answered.
    ///
    /// The wait is a random time up to the backoff (full jitter), so that deliveries that failed
    /// together are not retried together. The age of a delivery is the sum of its waits, so that neither
    /// a changed clock nor a stop of wilco makes it die. The last attempt is made when that sum is
    /// reached, not at the last step of the backoff before it.
    pub(crate) fn outcome(self, tried: &Tried, retry: &RetryPolicy, on_dead: OnDead) -> Outcome {
        let dead = Outcome::Dead { holds_key: on_dead == OnDead::Block };
        let not_before = match self.asking_at_most(retry.max) {
            Self::Delivered => return Outcome::Delivered,
            Self::Refused | Self::Unsendable => return dead,
            Self::Failed { not_before } => not_before.unwrap_or_default(),
        };
        let left = retry.give_up_after.saturating_sub(tried.waited);
        if left.is_zero() {
            return dead;
        }
        let jittered = backoff(tried.attempt, retry).mul_f64(tried.chance.clamp(0.0, 1.0));
        let wait = jittered.max(not_before).max(WAIT_MIN).min(left);
        // The store keeps milliseconds.
        let wait = Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Outcome::Retry { after: wait, waited: tried.waited + wait }
    }
}

fn backoff(attempt: u32, retry: &RetryPolicy) -> Duration {
    let steps = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let secs = retry.first.as_secs_f64() * retry.factor.powi(steps);
    Duration::try_from_secs_f64(secs).unwrap_or(retry.max).min(retry.max)
}

/// The shortest wait: a random wait of zero would never let a delivery grow older.
const WAIT_MIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: RetryPolicy = RetryPolicy {
        first: Duration::from_secs(5),
        factor: 2.0,
        max: Duration::from_secs(60),
        give_up_after: Duration::from_secs(600),
    };
    const FAILED: Verdict = Verdict::Failed { not_before: None };
    const DEAD: Outcome = Outcome::Dead { holds_key: false };

    fn after(wait_ms: u64, waited_secs: u64) -> Outcome {
        let wait = Duration::from_millis(wait_ms);
        Outcome::Retry { after: wait, waited: Duration::from_secs(waited_secs) + wait }
    }

    fn check(verdict: Verdict, attempt: u32, waited: u64, chance: f64, expected: &Outcome) {
        let tried = Tried { attempt, waited: Duration::from_secs(waited), chance };
        let outcome = verdict.outcome(&tried, &RETRY, OnDead::Skip);
        assert_eq!(outcome, *expected, "{verdict:?}, attempt {attempt}, waited {waited}, {chance}");
    }

    #[test]
    fn waits_are_random_up_to_a_bound_that_doubles_up_to_the_longest() {
        for (attempt, chance, wait_ms) in [
            (1, 1.0, 5_000),
            (2, 1.0, 10_000),
            (3, 0.5, 10_000),
            (4, 0.25, 10_000),
            (5, 1.0, 60_000),
            (u32::MAX, 1.0, 60_000),
            (9, 0.0, 10),
        ] {
            check(FAILED, attempt, 0, chance, &after(wait_ms, 0));
        }
    }

    #[test]
    fn the_last_attempt_comes_when_all_waits_are_used_up() {
        check(FAILED, 9, 590, 1.0, &after(10_000, 590));
        check(FAILED, 9, 600, 1.0, &DEAD);
        check(FAILED, 9, 9_000, 0.0, &DEAD);
    }

    #[test]
    fn a_destination_can_ask_for_a_longer_wait_up_to_a_bound() {
        for (asked, wait_ms) in [(1, 5_000), (30, 30_000), (86_400, 60_000)] {
            let failed = Verdict::Failed { not_before: Some(Duration::from_secs(asked)) };
            check(failed, 1, 0, 1.0, &after(wait_ms, 0));
        }
        let failed = Verdict::Failed { not_before: Some(Duration::from_secs(30)) };
        check(failed, 1, 0, 0.0, &after(30_000, 0));
        check(failed, 1, 590, 0.0, &after(10_000, 590));
    }

    #[test]
    fn a_delivered_or_refused_event_is_not_tried_again() {
        check(Verdict::Delivered, 1, 700, 1.0, &Outcome::Delivered);
        check(Verdict::Refused, 1, 0, 1.0, &DEAD);
        check(Verdict::Unsendable, 1, 0, 1.0, &DEAD);
    }

    #[test]
    fn a_dead_delivery_holds_its_key_if_the_configuration_says_so() {
        let tried = Tried { attempt: 1, waited: RETRY.give_up_after, chance: 0.5 };
        for verdict in [Verdict::Refused, FAILED] {
            let outcome = verdict.outcome(&tried, &RETRY, OnDead::Block);
            assert_eq!(outcome, Outcome::Dead { holds_key: true });
        }
    }
}
