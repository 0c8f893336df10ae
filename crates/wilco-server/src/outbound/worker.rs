//! Drives the worker of one destination: reports what happens to its decisions, and executes them.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc};

use futures_util::FutureExt as _;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use wilco_delivery::{
    AttemptEnd, AttemptId, Cause, Conclusion, Destination, Effect, Input, Moment, Reply,
    Worker as Decisions,
};
use wilco_destinations::Hidden;
use wilco_store::{Claim, DestinationStatus, OutboundStore, StoreError};

use super::{Plan, log_report, record_alert};
use crate::{clock, config, metrics::Metrics};

/// The worker of one destination.
pub(super) struct Worker {
    pub(super) store: Arc<dyn OutboundStore>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) config: config::DestinationConfig,
    pub(super) plan: watch::Receiver<Arc<Plan>>,
    pub(super) destination: Arc<dyn Destination>,
    pub(super) hidden: Hidden,
    /// The slots that its attempts hold, for its successor.
    pub(super) slots: watch::Sender<usize>,
    /// Those of its predecessor, an earlier configuration of the same destination.
    pub(super) predecessor: watch::Receiver<usize>,
}

impl Worker {
    /// Delivers until `stop`, then lets the attempts that are under way end, and closes the destination.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut predecessor = self.predecessor.clone();
        let policy = self.config.policy.clone();
        let mut decisions = Decisions::new(policy, *predecessor.borrow_and_update());
        let worker = Arc::new(self);
        let waker = worker.store.wakers().due(&worker.config.name);
        let opened = Instant::now();
        let mut timer = pin!(tokio::time::sleep_until(opened));
        let (mut is_timer_set, mut is_stopping, mut has_predecessor) = (true, false, true);
        let mut calls: JoinSet<Option<Input>> = JoinSet::new();
        loop {
            // What has to end comes first: a wake-up that a stopping worker took would be lost to its successor.
            let input = tokio::select! {
                biased;
                () = stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    Input::Stop
                }
                Some(done) = calls.join_next() => match done {
                    Ok(Some(input)) => input,
                    Ok(None) => continue,
                    Err(error) => return tracing::error!(%error, "a call of a worker was lost"),
                },
                () = waker.notified(), if !is_stopping => Input::Woken,
                changed = predecessor.changed(), if has_predecessor => {
                    has_predecessor = changed.is_ok();
                    Input::PredecessorSlots(if has_predecessor { *predecessor.borrow_and_update() } else { 0 })
                }
                () = &mut timer, if is_timer_set => {
                    is_timer_set = false;
                    Input::TimerFired
                }
            };
            let at = Moment { now: clock::now(), since_opened: opened.elapsed() };
            let effects = decisions.step(input, at);
            let taken = decisions.slots_taken();
            worker.slots.send_if_modified(|slots| std::mem::replace(slots, taken) != taken);
            for effect in effects {
                match effect {
                    Effect::SetTimer(wait) => {
                        timer.as_mut().reset(Instant::now() + wait);
                        is_timer_set = true;
                    }
                    Effect::Report(report) => {
                        log_report(&worker.config.name, &worker.metrics, &report);
                    }
                    Effect::Close => {
                        while calls.join_next().await.is_some() {}
                        return worker.destination.close().await;
                    }
                    call => drop(calls.spawn(Arc::clone(&worker).call(call))),
                }
            }
        }
    }

    /// Executes what takes time, and gives what the decisions have to know of it.
    async fn call(self: Arc<Self>, effect: Effect) -> Option<Input> {
        let (name, longest_wait) = (&self.config.name, self.config.policy.longest_wait);
        let input = match effect {
            Effect::Open { releases_keys } => Input::Opened(self.open(releases_keys).await),
            Effect::Claim { limit, lease } => {
                Input::Claimed(self.store.claim(name, limit, lease, longest_wait).await)
            }
            Effect::Renew(claims) => Input::Renewed(self.store.renew(&claims).await),
            Effect::NextDue => Input::Due(self.store.next_due(name).await),
            Effect::Attempt { id, claim } => self.attempt(id, &claim).await,
            Effect::Settle { id, conclusion } => {
                let Conclusion { claim, attempt, outcome, breaker } = &*conclusion;
                let breaker = breaker.map(|change| change.after.stored(clock::now()));
                let written = self.store.settle(claim, attempt, outcome, breaker).await;
                Input::Settled { id, written }
            }
            Effect::Alert(cause) => {
                self.alert(&cause).await;
                return None;
            }
            Effect::SetTimer(_) | Effect::Report(_) | Effect::Close => return None,
        };
        Some(input)
    }

    async fn open(&self, releases_keys: bool) -> Result<DestinationStatus, StoreError> {
        let name = &self.config.name;
        if releases_keys {
            self.store.release_keys(name).await?;
        }
        self.store.destination_status(name).await
    }

    async fn attempt(&self, id: AttemptId, claim: &Claim) -> Input {
        let began = Instant::now();
        let end = AssertUnwindSafe(self.try_once(claim)).catch_unwind().await;
        let end = end.unwrap_or(AttemptEnd::Panicked);
        // Without randomness all waits are the longest, which is right, if less polite.
        let chance = getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX));
        Input::Ended { id, end, took: began.elapsed(), chance }
    }

    /// Asks the routes of now first, where those of then could not say.
    async fn try_once(&self, claim: &Claim) -> AttemptEnd {
        let plan = Arc::clone(&self.plan.borrow());
        let is_taken = match claim.needs_reevaluation() {
            true => plan.routes.takes(claim.event(), &self.config.name),
            false => Ok(true),
        };
        AttemptEnd::Replied(match is_taken {
            Ok(true) => {
                let delivered = AssertUnwindSafe(self.destination.deliver(claim)).catch_unwind();
                let reply = delivered.await.unwrap_or_else(|_| Reply::failed("it panicked".into()));
                self.hidden.clean(reply)
            }
            Ok(false) => return AttemptEnd::NotTaken,
            Err(error) => Reply::unsendable(format!("a rule of its route failed: {error}")),
        })
    }

    async fn alert(&self, cause: &Cause) {
        let plan = Arc::clone(&self.plan.borrow());
        let told = plan.alerts.as_ref().and_then(|alerts| match cause {
            Cause::Dead(conclusion) => alerts.dead(conclusion),
            Cause::BreakerOpened { failures } => {
                alerts.breaker_opened(&self.config.name, *failures)
            }
        });
        if let Some(told) = told {
            record_alert(self.store.as_ref(), told).await;
        }
    }
}
