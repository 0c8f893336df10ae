//! The loop that drives the state machine of one destination: it reports what happened, and executes the
//! effects that follow.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc};

use futures_util::FutureExt as _;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use wilco_delivery::{
    AttemptEnd, AttemptId, Cause, Conclusion, Destination, Effect, Input, Moment, Reply,
    Worker as Decisions,
};
use wilco_destinations::Hidden;
use wilco_store::{Claim, DestinationStatus, OutboundStore, StoreError};

use super::{Plan, log_report, record_alert};
use crate::{clock, config, metrics::Metrics, trace};

/// The worker of one destination.
pub(super) struct Worker {
    pub(super) store: Arc<dyn OutboundStore>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) config: config::DestinationConfig,
    pub(super) plan: watch::Receiver<Arc<Plan>>,
    pub(super) destination: Arc<dyn Destination>,
    pub(super) hidden: Hidden,
    /// The slots that its attempts hold, reported to its successor.
    pub(super) slots: watch::Sender<usize>,
    /// The slots of its predecessor, which has an earlier configuration of the same destination.
    pub(super) predecessor: watch::Receiver<usize>,
}

impl Worker {
    /// Delivers until `stop`, then lets the running attempts end, and closes the destination.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut predecessor = self.predecessor.clone();
        let policy = self.config.policy.clone();
        let mut decisions = Decisions::new(policy, *predecessor.borrow_and_update());
        let waker = self.store.wakers().due(&self.config.name);
        let mut calls = Calls::new(Arc::new(self));
        let worker = Arc::clone(&calls.worker);
        let opened = Instant::now();
        let mut timer = pin!(tokio::time::sleep_until(opened));
        let (mut is_timer_set, mut is_stopping, mut has_predecessor) = (true, false, true);
        loop {
            // `stop` comes first: a wake-up that a stopping worker takes would be lost to its successor.
            let inputs = tokio::select! {
                biased;
                () = stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    vec![Input::Stop]
                }
                Some(done) = calls.next() => match done {
                    Ok(inputs) => inputs,
                    Err(error) => return tracing::error!(%error, "a worker's call did not return"),
                },
                () = waker.notified(), if !is_stopping => vec![Input::Woken],
                changed = predecessor.changed(), if has_predecessor => {
                    has_predecessor = changed.is_ok();
                    let taken = if has_predecessor { *predecessor.borrow_and_update() } else { 0 };
                    vec![Input::PredecessorSlots(taken)]
                }
                () = &mut timer, if is_timer_set => {
                    is_timer_set = false;
                    vec![Input::TimerFired]
                }
            };
            for input in inputs {
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
                            while calls.next().await.is_some() {}
                            return worker.destination.close().await;
                        }
                        call => calls.begin(call),
                    }
                }
            }
            calls.begin_attempts();
        }
    }

    /// Executes an effect that takes time, and returns the input that results from it.
    async fn call(self: Arc<Self>, effect: Effect) -> Option<Input> {
        let (name, longest_wait) = (&self.config.name, self.config.policy.longest_wait);
        let input = match effect {
            Effect::Open { releases_keys } => Input::Opened(self.open(releases_keys).await),
            Effect::Claim { limit, lease } => {
                Input::Claimed(self.store.claim(name, limit, lease, longest_wait).await)
            }
            Effect::Renew(claims) => Input::Renewed(self.store.renew(&claims).await),
            Effect::NextDue => Input::Due(self.store.next_due(name).await),
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
            Effect::Attempt { .. } | Effect::SetTimer(_) | Effect::Report(_) | Effect::Close => {
                return None;
            }
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

    /// Makes attempts in one call of the destination.
    async fn attempt(self: Arc<Self>, attempts: Vec<(AttemptId, Claim)>) -> Vec<Input> {
        let began = Instant::now();
        let ended = self.try_once(attempts).await.into_iter().map(|(id, end)| {
            // Without randomness every wait is the longest, which is correct, but has no jitter.
            let chance = getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX));
            Input::Ended { id, end, took: began.elapsed(), chance }
        });
        ended.collect()
    }

    async fn try_once(&self, attempts: Vec<(AttemptId, Claim)>) -> Vec<(AttemptId, AttemptEnd)> {
        let (mut ends, mut ids, mut claims) = (Vec::new(), Vec::new(), Vec::new());
        for (id, claim) in attempts {
            match self.end_untried(&claim) {
                Some(end) => ends.push((id, end)),
                None => {
                    ids.push(id);
                    claims.push(claim);
                }
            }
        }
        if claims.is_empty() {
            return ends;
        }
        let began = Instant::now();
        let deliver = async {
            let replies = self.destination.deliver_many(&claims).await;
            replies.into_iter().map(|reply| self.hidden.clean(reply)).collect()
        };
        let replies = AssertUnwindSafe(deliver).catch_unwind().await.unwrap_or_else(|_| {
            claims.iter().map(|_| Reply::failed("it panicked".into())).collect::<Vec<_>>()
        });
        claims
            .iter()
            .zip(&replies)
            .for_each(|(claim, reply)| trace::attempted(claim, began, reply));
        let missing = std::iter::repeat_with(|| Reply::failed("it did not reply".into()));
        let replies = replies.into_iter().chain(missing).map(AttemptEnd::Replied);
        ends.extend(ids.into_iter().zip(replies));
        ends
    }

    /// The end of an attempt that does not get to the destination. Evaluates the current routes, if a rule
    /// failed when the event was routed.
    fn end_untried(&self, claim: &Claim) -> Option<AttemptEnd> {
        if !claim.needs_reevaluation() {
            return None;
        }
        let plan = Arc::clone(&self.plan.borrow());
        match plan.routes.takes(claim.event(), &self.config.name) {
            Ok(true) => None,
            Ok(false) => Some(AttemptEnd::NotTaken),
            Err(error) => {
                let reply = Reply::unsendable(format!("a rule of its route failed: {error}"));
                Some(AttemptEnd::Replied(self.hidden.clean(reply)))
            }
        }
    }

    async fn alert(&self, cause: &Cause) {
        let plan = Arc::clone(&self.plan.borrow());
        let alert = plan.alerts.as_ref().and_then(|alerts| match cause {
            Cause::Dead(conclusion) => alerts.dead(conclusion),
            Cause::BreakerOpened { failures } => {
                alerts.breaker_opened(&self.config.name, *failures)
            }
        });
        if let Some(alert) = alert {
            record_alert(self.store.as_ref(), alert).await;
        }
    }
}

/// The calls that a worker has begun.
struct Calls {
    worker: Arc<Worker>,
    tasks: JoinSet<Vec<Input>>,
    /// Attempts that are about to begin, in order.
    attempts: Vec<(AttemptId, Claim)>,
    /// How many calls with attempts are running.
    attempting: usize,
}

impl Calls {
    fn new(worker: Arc<Worker>) -> Self {
        Self { worker, tasks: JoinSet::new(), attempts: Vec::new(), attempting: 0 }
    }

    /// Begins a call, or queues an attempt.
    fn begin(&mut self, effect: Effect) {
        if let Effect::Attempt { id, claim } = effect {
            return self.attempts.push((id, claim));
        }
        let call = Arc::clone(&self.worker).call(effect);
        self.tasks.spawn(async { call.await.into_iter().collect() });
    }

    /// Begins the queued attempts: each in a separate call, or all in one if the destination takes several at
    /// once. Then only one call runs at a time, which keeps the order, and lets attempts gather meanwhile.
    fn begin_attempts(&mut self) {
        let batch_max = self.worker.config.settings.batch_max().max(1);
        while !self.attempts.is_empty() && (batch_max == 1 || self.attempting == 0) {
            let batch = self.attempts.drain(..batch_max.min(self.attempts.len())).collect();
            self.attempting += 1;
            self.tasks.spawn(Arc::clone(&self.worker).attempt(batch));
        }
    }

    /// The inputs from the next call that ends. Its attempts all end together.
    async fn next(&mut self) -> Option<Result<Vec<Input>, JoinError>> {
        let done = self.tasks.join_next().await?;
        if done.as_ref().is_ok_and(|inputs| matches!(inputs.first(), Some(Input::Ended { .. }))) {
            self.attempting -= 1;
        }
        Some(done)
    }
}
