//! The scheduler of one destination: how many attempts may begin now, given concurrency, rate and circuit
//! breaker, and what an answer changes.

use std::time::Duration;

use jiff::Timestamp;
use wilco_store::{Claim, DestinationStatus, Outcome};

use crate::{
    attempt::Verdict,
    breaker::Breaker,
    policy::{BreakerPolicy, Policy},
    rate::RateLimiter,
    retry::Tried,
    time::until,
};

/// The schedule of one destination.
pub(crate) struct Scheduler {
    policy: Policy,
    /// The breaker as stored, kept here to avoid reading it for each attempt.
    breaker: Breaker,
    rate: Option<RateLimiter>,
}

/// A point in time on two clocks: the wall clock, which may be changed, and the time since the worker was
/// opened, which only grows.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time of the wall clock.
    pub now: Timestamp,
    /// How long the worker has been open.
    pub since_opened: Duration,
}

/// A breaker that changed.
#[derive(Clone, Copy, Debug)]
pub struct BreakerChange {
    /// The breaker before.
    pub before: Breaker,
    /// The breaker after.
    pub after: Breaker,
}

impl Scheduler {
    /// The schedule of a destination whose status is not known yet.
    pub(crate) fn new(policy: Policy) -> Self {
        let rate = policy.rate.map(RateLimiter::new);
        Self { policy, breaker: Breaker::default(), rate }
    }

    /// Applies the stored status, unless a later change of the breaker is still to be written.
    pub(crate) fn apply(&mut self, status: &DestinationStatus, now: Timestamp) {
        if status.breaker.revision >= self.breaker.revision {
            let breaker = Breaker::of(status.breaker, now);
            self.breaker = self.policy.breaker.seen(breaker, self.policy.retry.max, now);
        }
    }

    /// Whether the breaker is open because of failures.
    pub(crate) fn is_open(&self, breaker: Breaker) -> bool {
        self.policy.breaker.is_open(breaker)
    }

    /// The breaker as far as this worker knows it.
    pub(crate) fn breaker(&self) -> Breaker {
        self.breaker
    }

    /// How many attempts may begin, in addition to those that hold a slot.
    pub(crate) fn allowed(&mut self, slots_taken: usize, at: Moment) -> usize {
        // The clock may have been set back since it opened.
        self.breaker = self.policy.breaker.seen(self.breaker, self.policy.retry.max, at.now);
        // More may be running than `concurrency` allows: they began under an earlier configuration.
        let free = self.policy.concurrency.saturating_sub(slots_taken);
        let free = self.rate.as_ref().map_or(free, |rate| rate.allowed(free, at.since_opened));
        BreakerPolicy::allowed(self.breaker, slots_taken, free, at.now)
    }

    /// Counts attempts that begin against the rate.
    pub(crate) fn began(&mut self, attempts: usize, at: Moment) {
        if let Some(rate) = &mut self.rate {
            rate.began(attempts, at.since_opened);
        }
    }

    /// Applies a verdict to the breaker. The change is written with the outcome.
    pub(crate) fn answered(&mut self, verdict: Verdict, now: Timestamp) -> Option<BreakerChange> {
        let before = self.breaker;
        let verdict = verdict.asking_at_most(self.policy.retry.max);
        self.breaker = self.policy.breaker.after(before, verdict, now);
        if self.breaker == before {
            return None;
        }
        // Attempts end concurrently, so changes are numbered to tell which is the latest.
        self.breaker.revision += 1;
        Some(BreakerChange { before, after: self.breaker })
    }

    /// The outcome of a delivery that follows from what the destination answered.
    pub(crate) fn outcome(&self, claim: &Claim, verdict: Verdict, chance: f64) -> Outcome {
        let tried = Tried { attempt: claim.attempt(), waited: claim.waited(), chance };
        verdict.outcome(&tried, &self.policy.retry, self.policy.on_dead)
    }

    /// How long the breaker or the rate allows no attempt. `None` if neither prevents one: then all slots
    /// are taken, and the worker continues when an attempt ends.
    pub(crate) fn wait(&self, at: Moment) -> Option<Duration> {
        let until_probe = self.breaker.open_until.map(|open_until| until(open_until, at.now));
        let until_rate = self.rate.as_ref().map(|rate| rate.wait(at.since_opened));
        let waits = [until_probe, until_rate].into_iter().flatten();
        waits.filter(|wait| !wait.is_zero()).max()
    }
}
