//! One destination's lane: it claims what is due, tries it, and writes down what became of it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use wilco_store::{Attempt, Claim, Outcome, Store, StoreError};

use super::{Destination, Reply};
use crate::{clock, config, metrics::Metrics};

pub(super) struct Lane {
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) destination: Arc<dyn Destination>,
    pub(super) config: config::Destination,
}

impl Lane {
    /// Delivers until `stop`, then lets the attempts that are under way end.
    pub(super) async fn run(self, stop: CancellationToken) {
        let lane = Arc::new(self);
        let bell = lane.store.bells().due(&lane.config.name);
        let mut running = JoinSet::new();
        while !stop.is_cancelled() {
            let free = lane.config.concurrency - running.len();
            let claims = match lane.claim(free).await {
                Ok(claims) => claims,
                Err(StoreError::Closed | StoreError::Latched(_)) => return,
                Err(error) => {
                    tracing::warn!(destination = lane.config.name, %error, "deliveries wait");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let is_drained = claims.len() < free;
            for claim in claims {
                let lane = Arc::clone(&lane);
                running.spawn(async move { lane.attempt(claim).await });
            }
            tokio::select! {
                () = stop.cancelled() => {}
                Some(_) = running.join_next() => {}
                () = bell.notified(), if is_drained => {}
                () = lane.next_due(), if is_drained => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    async fn claim(&self, free: usize) -> Result<Vec<Claim>, StoreError> {
        if free == 0 {
            return Ok(Vec::new());
        }
        self.store.claim(&self.config.name, free, clock::now()).await
    }

    /// Sleeps until a delivery falls due, and not for ever: the clock may be set.
    async fn next_due(&self) {
        let wait = match self.store.next_due(&self.config.name).await {
            Ok(Some(due)) => due.duration_since(clock::now()).try_into().unwrap_or_default(),
            Ok(None) => LOOK_AGAIN,
            Err(_) => PAUSE,
        };
        tokio::time::sleep(wait.min(LOOK_AGAIN)).await;
    }

    async fn attempt(&self, claim: Claim) {
        let started_at = clock::now();
        let began = Instant::now();
        let delivered = AssertUnwindSafe(self.destination.deliver(&claim)).catch_unwind();
        let reply = delivered.await.unwrap_or_else(|_| Reply::failed("it panicked".into()));
        let outcome = reply.verdict.outcome(
            claim.attempt(),
            claim.created_at(),
            clock::now(),
            &self.config.retry,
        );
        let attempt = Attempt {
            started_at,
            took: began.elapsed(),
            result: reply.result,
            output: reply.output,
        };
        self.tell(&claim, &attempt, &outcome);
        self.settle(&claim, &attempt, &outcome).await;
    }

    fn tell(&self, claim: &Claim, attempt: &Attempt, outcome: &Outcome) {
        let (event, number, result) = (claim.event().id, claim.attempt(), &attempt.result);
        let destination = &self.config.name;
        let word = match outcome {
            Outcome::Delivered => {
                tracing::info!(%event, destination, attempt = number, "delivered");
                "delivered"
            }
            Outcome::Retry(at) => {
                tracing::warn!(%event, destination, attempt = number, result, again_at = %at, "failed");
                "failed"
            }
            Outcome::Dead => {
                tracing::error!(%event, destination, attempt = number, result, "gave up");
                "dead"
            }
        };
        self.metrics.attempted(destination, word, attempt.took);
    }

    /// Writes the outcome down. While the store cannot take it, it is tried again: an outcome that is
    /// lost is a delivery that is repeated.
    async fn settle(&self, claim: &Claim, attempt: &Attempt, outcome: &Outcome) {
        loop {
            match self.store.settle(claim, attempt, outcome).await {
                Ok(()) | Err(StoreError::Closed | StoreError::Latched(_)) => return,
                Err(error) => {
                    let destination = &self.config.name;
                    tracing::warn!(destination, %error, "an outcome waits to be written");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

const PAUSE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_secs(30);
