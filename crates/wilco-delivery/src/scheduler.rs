//! What a worker may begin, and when it has to look again: all that it decides, told the time and the
//! chance, and doing nothing. The worker does it.

use std::time::Duration;

use jiff::Timestamp;
use wilco_store::{Claim, DestinationStatus, OutboundStore, Outcome, StoreError};

use crate::{
    attempt::Verdict,
    breaker::Breaker,
    policy::{BreakerPolicy, OnDead, Policy},
    rate::RateLimiter,
    retry::Tried,
};

/// The schedule of one destination.
pub struct Scheduler {
    policy: Policy,
    /// As it stands in the store; kept here so that it is not read for each attempt.
    breaker: Breaker,
    rate: Option<RateLimiter>,
}

/// A moment: what the clock says, which may be set, and how long the worker has been open, which only
/// grows.
#[derive(Clone, Copy)]
pub struct Moment {
    /// What the clock says.
    pub now: Timestamp,
    /// How long the worker has been open.
    pub since_opened: Duration,
}

/// A breaker that changed.
pub struct BreakerChange {
    /// The breaker before.
    pub before: Breaker,
    /// The breaker after.
    pub after: Breaker,
}

/// Takes up how a destination stands, when its worker is opened.
///
/// # Errors
///
/// [`StoreError`] where the store cannot be read or written.
pub async fn apply_status(
    name: &str,
    policy: &Policy,
    store: &dyn OutboundStore,
) -> Result<DestinationStatus, StoreError> {
    if policy.on_dead == OnDead::Skip {
        store.release_keys(name).await?;
    }
    store.destination_status(name).await
}

impl Scheduler {
    /// The schedule of a destination whose status is not known yet.
    pub fn new(policy: Policy) -> Self {
        let rate = policy.rate.map(RateLimiter::new);
        Self { policy, breaker: Breaker::default(), rate }
    }

    /// From now on the destination stands so.
    pub fn stand(&mut self, status: &DestinationStatus, now: Timestamp) {
        let breaker = Breaker::of(status.breaker, now);
        self.breaker = self.policy.breaker.seen(breaker, self.policy.retry.max, now);
    }

    /// Whether the breaker is open because of failures.
    pub fn is_open(&self, breaker: Breaker) -> bool {
        self.policy.breaker.is_open(breaker)
    }

    /// How the breaker stands.
    pub fn breaker(&self) -> Breaker {
        self.breaker
    }

    /// How many attempts may begin beside those that run.
    pub fn room(&mut self, running: usize, at: Moment) -> usize {
        // The clock may have been set back since it opened.
        self.breaker = self.policy.breaker.seen(self.breaker, self.policy.retry.max, at.now);
        let free = self.places(running, at);
        BreakerPolicy::room(self.breaker, running, free, at.now)
    }

    /// How many might begin if the breaker were closed.
    pub fn places(&self, running: usize, at: Moment) -> usize {
        // More may run than are allowed now: they began under an earlier configuration.
        let free = self.policy.concurrency.saturating_sub(running);
        self.rate.as_ref().map_or(free, |rate| rate.room(free, at.since_opened))
    }

    /// So many attempts begin.
    pub fn began(&mut self, attempts: usize, at: Moment) {
        if let Some(rate) = &mut self.rate {
            rate.began(attempts, at.since_opened);
        }
    }

    /// A destination answered. What that makes of the breaker is written with the outcome.
    pub fn answered(&mut self, verdict: Verdict, now: Timestamp) -> Option<BreakerChange> {
        let before = self.breaker;
        let verdict = verdict.asking_at_most(self.policy.retry.max);
        self.breaker = self.policy.breaker.after(before, verdict, now);
        if self.breaker == before {
            return None;
        }
        // Attempts end side by side: the number says which change is the later one.
        self.breaker.revision += 1;
        Some(BreakerChange { before, after: self.breaker })
    }

    /// What follows for a delivery from what a destination answered.
    pub fn outcome(&self, claim: &Claim, verdict: Verdict, chance: f64) -> Outcome {
        let tried = Tried { attempt: claim.attempt(), waited: claim.waited(), chance };
        verdict.outcome(&tried, &self.policy.retry, self.policy.on_dead)
    }

    /// How long nothing can begin, as far as is known: until something falls due, or the breaker or
    /// the rate lets one go. Where all places are taken, an attempt that ends is what wakes the worker.
    pub fn wait(&self, next_due: Option<Duration>, at: Moment) -> Option<Duration> {
        if next_due.is_some() {
            return next_due;
        }
        let until = |time: Timestamp| time.duration_since(at.now).try_into().unwrap_or_default();
        let until_probe = self.breaker.open_until.map(until);
        let until_rate = self.rate.as_ref().map(|rate| rate.wait(at.since_opened));
        let waits = [until_probe, until_rate].into_iter().flatten();
        waits.filter(|wait: &Duration| !wait.is_zero()).max()
    }
}
