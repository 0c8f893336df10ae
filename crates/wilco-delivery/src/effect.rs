//! The inputs of a worker, and the effects that it decides on.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use wilco_store::{Attempt, Claim, DestinationStatus, Outcome, Settled, StoreError};

use crate::{attempt::Reply, policy::BreakerPolicy, scheduler::BreakerChange};

/// The number of an attempt of one worker.
pub type AttemptId = u64;

/// An input: something that happened.
#[derive(Debug)]
pub enum Input {
    /// The time of [`Effect::SetTimer`] is over.
    TimerFired,
    /// A delivery was made or fell due.
    Woken,
    /// [`Effect::Open`] is done: the destination's status.
    Opened(Result<DestinationStatus, StoreError>),
    /// [`Effect::Claim`] is done.
    Claimed(Result<Vec<Claim>, StoreError>),
    /// [`Effect::NextDue`] is done.
    Due(Result<Option<Duration>, StoreError>),
    /// An attempt ended.
    Ended {
        /// Which one.
        id: AttemptId,
        /// How.
        end: AttemptEnd,
        /// How long it took.
        took: Duration,
        /// A random number from 0 to 1.
        chance: f64,
    },
    /// [`Effect::Settle`] is done.
    Settled {
        /// The attempt.
        id: AttemptId,
        /// Whether its outcome was written.
        written: Result<Settled, StoreError>,
    },
    /// [`Effect::Renew`] is done: the deliveries whose claim is stale.
    Renewed(Result<Vec<i64>, StoreError>),
    /// The slots that attempts of an earlier configuration hold from now on.
    PredecessorSlots(usize),
    /// The worker has to stop: no further attempt may begin.
    Stop,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum AttemptEnd {
    /// The destination answered, or could not be asked.
    Replied(Reply),
    /// No route sends the event there any more, so nothing was tried.
    NotTaken,
}

/// Something that has to be done. Effects of one step may be executed at the same time.
#[derive(Debug)]
pub enum Effect {
    /// Release the keys of dead deliveries if `releases_keys`, then read the status: [`Input::Opened`].
    Open {
        /// Dead deliveries hold no key.
        releases_keys: bool,
    },
    /// Claim up to `limit` deliveries: [`Input::Claimed`].
    Claim {
        /// How many at most; never 0.
        limit: usize,
        /// How long each is exclusive, unless it is renewed.
        lease: Duration,
    },
    /// Ask when the next delivery falls due: [`Input::Due`].
    NextDue,
    /// Make an attempt: [`Input::Ended`], even where it panics.
    Attempt {
        /// Its number.
        id: AttemptId,
        /// What to deliver.
        claim: Claim,
    },
    /// Write an outcome: [`Input::Settled`].
    Settle {
        /// The attempt.
        id: AttemptId,
        /// What to write.
        conclusion: Arc<Conclusion>,
    },
    /// Renew the leases of these claims: [`Input::Renewed`].
    Renew(Vec<Claim>),
    /// Set the timer to this time from now, replacing the previous time.
    SetTimer(Duration),
    /// Log and count.
    Report(Report),
    /// Record an alert, if the configuration wants alerts.
    Alert(Cause),
    /// Close the destination. No effect follows.
    Close,
}

/// A finished attempt and what follows from it.
#[derive(Debug)]
pub struct Conclusion {
    /// The delivery.
    pub claim: Claim,
    /// How the attempt went.
    pub attempt: Attempt,
    /// What happens to the delivery.
    pub outcome: Outcome,
    /// The change of the circuit breaker, if there is one. It is written with the outcome.
    pub breaker: Option<BreakerChange>,
}

impl Conclusion {
    /// The log lines, metrics and alerts that follow once the outcome is written.
    pub(crate) fn effects_once_written(self: Arc<Self>, policy: &BreakerPolicy) -> Vec<Effect> {
        let mut effects = vec![Effect::Report(Report::Settled(Arc::clone(&self)))];
        effects.extend(self.effects_of_breaker(policy));
        if matches!(self.outcome, Outcome::Dead { .. }) {
            effects.push(Effect::Alert(Cause::Dead(self)));
        }
        effects
    }

    /// The log lines and alerts about the change of the circuit breaker.
    pub(crate) fn effects_of_breaker(&self, policy: &BreakerPolicy) -> Vec<Effect> {
        let Some(BreakerChange { before, after }) = self.breaker else { return Vec::new() };
        match (policy.is_open(before), policy.is_open(after), after.open_until) {
            (false, true, Some(until)) => {
                let failures = after.failures;
                vec![
                    Effect::Report(Report::BreakerOpened { failures, until }),
                    Effect::Alert(Cause::BreakerOpened { failures }),
                ]
            }
            (true, false, _) => vec![Effect::Report(Report::BreakerClosed)],
            (false, false, Some(until)) if before.open_until.is_none() => {
                vec![Effect::Report(Report::AskedToWait { until })]
            }
            _ => Vec::new(),
        }
    }
}

/// Something to log and count.
#[derive(Debug)]
pub enum Report {
    /// The status was read.
    Opened {
        /// Whether the circuit breaker is open.
        is_breaker_open: bool,
    },
    /// The store failed, so deliveries wait.
    DeliveriesWait(StoreError),
    /// The store failed, so an outcome waits to be written.
    OutcomeWaits(StoreError),
    /// The store failed, so leases were not renewed.
    LeasesWait(StoreError),
    /// An outcome was written.
    Settled(Arc<Conclusion>),
    /// An outcome was not written: the attempt no longer held its delivery.
    Dropped(Arc<Conclusion>),
    /// An outcome was not written: the store is closed, and the attempt will be repeated.
    Lost(Arc<Conclusion>),
    /// The circuit breaker opened.
    BreakerOpened {
        /// Consecutive failures.
        failures: u32,
        /// When the first probe is due.
        until: Timestamp,
    },
    /// The circuit breaker closed.
    BreakerClosed,
    /// The destination asked for a wait.
    AskedToWait {
        /// Until when.
        until: Timestamp,
    },
}

/// What an alert is about.
#[derive(Debug)]
pub enum Cause {
    /// A delivery is dead.
    Dead(Arc<Conclusion>),
    /// The circuit breaker opened.
    BreakerOpened {
        /// Consecutive failures.
        failures: u32,
    },
}
