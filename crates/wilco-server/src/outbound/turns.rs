//! What a lane may begin, and when it has to look again: all that it decides, told the time and the
//! chance, and doing nothing. The lane does it.

use std::time::Duration;

use jiff::Timestamp;
use wilco_store::{Breaker, Claim, OutboundStore, Outcome, Standing, StoreError};

use super::{Pace, Tried};
use crate::{
    attempt::Verdict,
    config::{self, OnDead},
};

/// The turns of one destination.
pub(crate) struct Turns {
    config: config::Destination,
    /// As it stands in the store; kept here so that it is not read for each attempt.
    breaker: Breaker,
    pace: Option<Pace>,
}

/// A moment: what the clock says, which may be set, and how long the lane has been open, which only
/// grows.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) since_opened: Duration,
}

/// A breaker that changed.
pub(crate) struct Change {
    pub(crate) before: Breaker,
    pub(crate) after: Breaker,
}

/// Takes up how a destination stands, when its lane is opened.
pub(crate) async fn take_up(
    config: &config::Destination,
    store: &dyn OutboundStore,
    now: Timestamp,
) -> Result<Standing, StoreError> {
    if config.on_dead == OnDead::Skip {
        store.release_keys(&config.name, now).await?;
    }
    store.standing(&config.name).await
}

impl Turns {
    pub(crate) fn new(config: config::Destination) -> Self {
        let pace = config.rate.map(Pace::new);
        Self { config, breaker: Breaker::default(), pace }
    }

    /// From now on the destination stands so.
    pub(crate) fn stand(&mut self, standing: &Standing, now: Timestamp) {
        self.breaker = self.config.breaker.seen(standing.breaker, self.config.retry.max, now);
    }

    /// Whether the breaker is open because of failures.
    pub(super) fn is_open(&self, breaker: Breaker) -> bool {
        self.config.breaker.is_open(breaker)
    }

    /// How the breaker stands.
    #[cfg(test)]
    pub(crate) fn breaker(&self) -> Breaker {
        self.breaker
    }

    /// How many attempts may begin beside those that run.
    pub(crate) fn room(&mut self, running: usize, at: Moment) -> usize {
        // The clock may have been set back since it opened.
        self.breaker = self.config.breaker.seen(self.breaker, self.config.retry.max, at.now);
        let free = self.places(running, at);
        config::Breaker::room(self.breaker, running, free, at.now)
    }

    /// How many might begin if the breaker were closed.
    pub(crate) fn places(&self, running: usize, at: Moment) -> usize {
        // More may run than are allowed now: they began under an earlier configuration.
        let free = self.config.concurrency.saturating_sub(running);
        self.pace.as_ref().map_or(free, |pace| pace.room(free, at.since_opened))
    }

    /// So many attempts begin.
    pub(crate) fn began(&mut self, attempts: usize, at: Moment) {
        if let Some(pace) = &mut self.pace {
            pace.began(attempts, at.since_opened);
        }
    }

    /// A destination answered. What that makes of the breaker is written with the outcome.
    pub(super) fn answered(&mut self, verdict: Verdict, now: Timestamp) -> Option<Change> {
        let before = self.breaker;
        let verdict = verdict.asking_at_most(self.config.retry.max);
        self.breaker = self.config.breaker.after(before, verdict, now);
        if self.breaker == before {
            return None;
        }
        // Attempts end side by side: the number says which change is the later one.
        self.breaker.revision += 1;
        Some(Change { before, after: self.breaker })
    }

    /// What follows for a delivery from what a destination answered.
    pub(super) fn outcome(
        &self,
        claim: &Claim,
        verdict: Verdict,
        now: Timestamp,
        chance: f64,
    ) -> Outcome {
        let tried = Tried { attempt: claim.attempt(), waited: claim.waited(), now, chance };
        verdict.outcome(&tried, &self.config.retry, self.config.on_dead)
    }

    /// How long nothing can begin, as far as is known: until something falls due, or the breaker or
    /// the rate lets one go. Where all places are taken, an attempt that ends is what wakes the lane.
    pub(crate) fn wait(&self, next_due: Option<Timestamp>, at: Moment) -> Option<Duration> {
        let until = |time: Timestamp| time.duration_since(at.now).try_into().unwrap_or_default();
        if let Some(due) = next_due {
            return Some(until(due));
        }
        let until_probe = self.breaker.open_until.map(until);
        let until_pace = self.pace.as_ref().map(|pace| pace.wait(at.since_opened));
        let waits = [until_probe, until_pace].into_iter().flatten();
        waits.filter(|wait: &Duration| !wait.is_zero()).max()
    }
}
