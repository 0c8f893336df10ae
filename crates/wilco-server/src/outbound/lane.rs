//! One destination's lane: it claims what is due, tries it, and writes down what became of it.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use wilco_delivery::{
    BreakerChange, Destination, Moment, OnDead, Policy, Reply, Scheduler, Verdict, apply_status,
};
use wilco_store::{Attempt, Breaker, Claim, OutboundStore, Outcome, Settled, StoreError};

use super::{Alerts, Hidden, Plan, Slots, leases, legible};
use crate::{clock, config, metrics::Metrics};

pub(super) struct Lane {
    store: Arc<dyn OutboundStore>,
    metrics: Arc<Metrics>,
    destination: Arc<dyn Destination>,
    hidden: Hidden,
    config: config::Destination,
    plan: watch::Receiver<Arc<Plan>>,
    opened: Instant,
    turns: Mutex<Scheduler>,
    slots: Arc<Slots>,
}

impl Lane {
    pub(super) fn new(
        store: Arc<dyn OutboundStore>,
        metrics: Arc<Metrics>,
        destination: Arc<dyn Destination>,
        config: config::Destination,
        plan: watch::Receiver<Arc<Plan>>,
        slots: Arc<Slots>,
    ) -> Self {
        let hidden = Hidden::of(&*config.settings);
        let (opened, turns) = (Instant::now(), Mutex::new(Scheduler::new(config.policy.clone())));
        Self { store, metrics, destination, hidden, config, plan, opened, turns, slots }
    }

    /// Delivers until `stop`, then lets the attempts that are under way end, and the destination.
    pub(super) async fn run(self, stop: CancellationToken) {
        let lane = Arc::new(self);
        let waker = lane.store.wakers().due(&lane.config.name);
        let mut running = JoinSet::new();
        let mut opened = lane.open().await;
        while !stop.is_cancelled() {
            let room = lane.turns().room(lane.slots.taken(), lane.moment());
            let claimed = match opened {
                Ok(()) => lane.claim(room).await,
                Err(error) => Err(error),
            };
            opened = match claimed {
                Ok(claims) => {
                    let is_drained = claims.len() < room;
                    for claim in claims {
                        let (lane, slot) = (Arc::clone(&lane), lane.slots.take());
                        let renewing = leases::renew(Arc::clone(&lane.store), claim.clone());
                        running.spawn(async move {
                            lane.attempt(claim).await;
                            drop((slot, renewing));
                        });
                    }
                    tokio::select! {
                        () = stop.cancelled() => {}
                        Some(_) = running.join_next() => while running.try_join_next().is_some() {},
                        () = lane.slots.freed.notified(), if room == 0 => {}
                        () = waker.notified(), if is_drained => {}
                        () = lane.turn(is_drained) => {}
                    }
                    Ok(())
                }
                Err(StoreError::Closed | StoreError::Latched(_)) => break,
                Err(error) => {
                    tracing::warn!(destination = lane.config.name, %error, "deliveries wait");
                    tokio::time::sleep(PAUSE).await;
                    lane.open().await
                }
            };
        }
        while running.join_next().await.is_some() {}
        lane.destination.close().await;
    }

    async fn open(&self) -> Result<(), StoreError> {
        let status =
            apply_status(&self.config.name, &self.config.policy, self.store.as_ref()).await?;
        let mut turns = self.turns();
        turns.stand(&status, clock::now());
        let is_open = turns.is_open(turns.breaker());
        self.metrics.breaker(&self.config.name, is_open);
        Ok(())
    }

    async fn claim(&self, room: usize) -> Result<Vec<Claim>, StoreError> {
        if room == 0 {
            return Ok(Vec::new());
        }
        let (name, longest) = (&self.config.name, self.config.policy.longest_wait);
        let claims = self.store.claim(name, room, leases::LEASE, longest).await?;
        self.turns().began(claims.len(), self.moment());
        Ok(claims)
    }

    /// Sleeps until there may be something to do. Not for ever, for the clock may be set.
    async fn turn(&self, is_drained: bool) {
        let wait = match is_drained {
            false => self.turns().wait(None, self.moment()),
            true => match self.store.next_due(&self.config.name).await {
                Ok(None) => None,
                Ok(due) => self.turns().wait(due, self.moment()),
                Err(_) => Some(PAUSE),
            },
        };
        tokio::time::sleep(wait.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)).await;
    }

    /// Tries once and writes down what became of it, and only then says so. A panic is an outcome as
    /// well: nothing stays running that nobody runs.
    async fn attempt(&self, claim: Claim) {
        let started_at = clock::now();
        let began = Instant::now();
        let tried = AssertUnwindSafe(self.try_once(&claim)).catch_unwind().await;
        let (reply, outcome, change) =
            tried.unwrap_or_else(|_| after_a_panic(&claim, &self.config.policy));
        let Reply { result, output, .. } = reply;
        let attempt = Attempt { started_at, took: began.elapsed(), result, output };
        let breaker = change.as_ref().map(|change| change.after.stored(clock::now()));
        self.settle(&claim, &attempt, &outcome, breaker).await;
        self.tell(&claim, &attempt, &outcome);
        if let Some(change) = change {
            self.tell_breaker(&change).await;
        }
        if matches!(outcome, Outcome::Dead { .. })
            && let Some(alerts) = self.alerts()
        {
            alerts.dead(&claim, &attempt).await;
        }
    }

    async fn try_once(&self, claim: &Claim) -> (Reply, Outcome, Option<BreakerChange>) {
        match self.is_taken(claim) {
            Ok(true) => {
                let delivered = AssertUnwindSafe(self.destination.deliver(claim)).catch_unwind();
                let reply = delivered.await.unwrap_or_else(|_| Reply::failed("it panicked".into()));
                let reply = self.hidden.clean(reply);
                let change = self.turns().answered(reply.verdict, clock::now());
                let outcome = self.outcome(claim, reply.verdict);
                (reply, outcome, change)
            }
            Ok(false) => (Reply::failed("no route takes it".into()), Outcome::Skipped, None),
            Err(reply) => {
                let outcome = self.outcome(claim, reply.verdict);
                (reply, outcome, None)
            }
        }
    }

    /// Asks the routes of now, where those of then could not say.
    fn is_taken(&self, claim: &Claim) -> Result<bool, Reply> {
        if !claim.needs_reevaluation() {
            return Ok(true);
        }
        let plan = Arc::clone(&self.plan.borrow());
        plan.routes
            .takes(claim.event(), &self.config.name)
            .map_err(|error| Reply::unsendable(format!("a rule of its route failed: {error}")))
    }

    fn outcome(&self, claim: &Claim, verdict: Verdict) -> Outcome {
        // Without randomness all waits are the longest, which is right, if less polite.
        let chance = getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX));
        self.turns().outcome(claim, verdict, chance)
    }

    async fn tell_breaker(&self, BreakerChange { before, after }: &BreakerChange) {
        let destination = &self.config.name;
        let (was_open, is_open) = {
            let turns = self.turns();
            (turns.is_open(*before), turns.is_open(*after))
        };
        match (was_open, is_open, after.open_until) {
            (false, true, Some(until)) => {
                let failures = after.failures;
                tracing::warn!(destination, failures, %until, "destination paused by circuit breaker");
                self.metrics.breaker(destination, true);
                if let Some(alerts) = self.alerts() {
                    alerts.open(destination, after.failures).await;
                }
            }
            (true, false, _) => {
                tracing::info!(destination, "circuit breaker closed: deliveries continue");
                self.metrics.breaker(destination, false);
            }
            (false, false, Some(until)) if before.open_until.is_none() => {
                tracing::warn!(destination, %until, "destination asked to wait (retry-after)");
            }
            _ => {}
        }
    }

    fn alerts(&self) -> Option<Alerts> {
        let plan = Arc::clone(&self.plan.borrow());
        plan.alerts.clone().map(|config| Alerts::new(Arc::clone(&self.store), config))
    }

    fn tell(&self, claim: &Claim, tried: &Attempt, outcome: &Outcome) {
        let (id, event) = (claim.event().id, legible(&claim.event().name));
        let (destination, attempt, result) = (&self.config.name, claim.attempt(), &tried.result);
        let millis = u64::try_from(tried.took.as_millis()).unwrap_or(u64::MAX);
        let said = first_line(&tried.output);
        let said = said.as_deref();
        let word = match outcome {
            Outcome::Delivered => {
                tracing::info!(event, %id, destination, attempt, millis, "event delivered");
                "delivered"
            }
            Outcome::Retry { after, .. } => {
                let next = clock::now().checked_add(*after).unwrap_or(jiff::Timestamp::MAX);
                tracing::warn!(event, %id, destination, attempt, millis, result, said, %next, "delivery failed");
                "failed"
            }
            Outcome::Dead { .. } => {
                tracing::error!(event, %id, destination, attempt, millis, result, said, "delivery is dead");
                "dead"
            }
            Outcome::Skipped => {
                tracing::info!(event, %id, destination, "delivery skipped: no route takes the event");
                "skipped"
            }
        };
        self.metrics.attempted(destination, word, tried.took);
    }

    /// Writes the outcome down. While the store cannot take it, it is tried again: an outcome that is
    /// lost is a delivery that is repeated.
    async fn settle(
        &self,
        claim: &Claim,
        attempt: &Attempt,
        outcome: &Outcome,
        breaker: Option<Breaker>,
    ) {
        let destination = &self.config.name;
        let mut is_first = true;
        loop {
            match self.store.settle(claim, attempt, outcome, breaker).await {
                // A repetition finds a write that was answered with an error and is durable.
                Ok(Settled::Stale) if is_first => {
                    let (id, attempt) = (claim.event().id, claim.attempt());
                    tracing::warn!(%id, destination, attempt, "outcome dropped: the attempt no longer holds its delivery");
                    return;
                }
                Ok(Settled::Written | Settled::Stale)
                | Err(StoreError::Closed | StoreError::Latched(_)) => return,
                Err(error) => {
                    is_first = false;
                    tracing::warn!(destination, %error, "an outcome waits to be written");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn moment(&self) -> Moment {
        Moment { now: clock::now(), since_opened: self.opened.elapsed() }
    }

    fn turns(&self) -> MutexGuard<'_, Scheduler> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first line of what a destination said, for the log.
fn first_line(output: &[u8]) -> Option<String> {
    let output = String::from_utf8_lossy(output);
    output.trim_start().lines().next().map(legible)
}

/// A panic of wilco's own decisions: the delivery is tried again, later, and given up in the end like
/// any other that fails.
fn after_a_panic(claim: &Claim, policy: &Policy) -> (Reply, Outcome, Option<BreakerChange>) {
    let waited = claim.waited();
    let after = PANIC_PAUSE.min(policy.retry.give_up_after.saturating_sub(waited));
    let outcome = if after.is_zero() {
        Outcome::Dead { holds_key: policy.on_dead == OnDead::Block }
    } else {
        Outcome::Retry { after, waited: waited.saturating_add(after) }
    };
    (Reply::failed("wilco panicked, its log says where".into()), outcome, None)
}

const PANIC_PAUSE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_secs(30);
