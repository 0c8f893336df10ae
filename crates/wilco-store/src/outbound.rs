//! What the outbound half may do: route events, try deliveries, and write down what became of them.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    Alert, Attempt, Batch, Breaker, Claim, Outcome, RoutedBatch, Settled, StoreError, StoreStatus,
    Wakers,
};

/// The store as the outbound half sees it. It records nothing that came from outside.
#[async_trait]
pub trait OutboundStore: StoreStatus {
    /// The oldest events that no [`fan_out`](Self::fan_out) has covered: at most `limit`, and no
    /// more than [`ROUTING_BYTES_MAX`](crate::ROUTING_BYTES_MAX) of bodies unless a single one is larger.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn unrouted(&self, limit: usize) -> Result<Batch, StoreError>;

    /// Marks the events of a batch as routed, and makes a pending delivery for each of their targets:
    /// for each event all of it or nothing, and in their order. One that was routed before, by this
    /// process or another, is passed over. Many targets take several commits, so that others get their
    /// turn in between.
    ///
    /// A target with an order key is not due while an earlier one of its destination and key is not at
    /// its end. A target with a burst supersedes the last of its destination and burst key that was not
    /// tried yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: some of the first may be routed, and the others are still unrouted.
    async fn fan_out(&self, batch: RoutedBatch) -> Result<(), StoreError>;

    /// Takes the right to try up to `limit` deliveries that are due, the longest due first, and none
    /// of a destination that is paused: no more than [`CLAIM_BYTES_MAX`](crate::CLAIM_BYTES_MAX) of bodies
    /// unless a single one is larger. Each is running until it is settled, and exclusive until its
    /// `lease` ends; [`renew`](Self::renew) extends that. A delivery whose lease has ended is due again:
    /// this claims it as another attempt.
    ///
    /// No wait is longer than `longest_wait`: what is due later than that was written before the clock
    /// was set back, and is made due then.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was claimed, or what was claimed is due again in a moment.
    async fn claim(
        &self,
        destination: &str,
        limit: usize,
        lease: Duration,
        longest_wait: Duration,
    ) -> Result<Vec<Claim>, StoreError>;

    /// Extends the lease of each claim: its full length from now on. Answers the numbers of the
    /// deliveries whose claim is [stale](Settled::Stale), so that nothing is left to extend.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the leases may end when they would have ended.
    async fn renew(&self, claims: &[Claim]) -> Result<Vec<i64>, StoreError>;

    /// Writes down how an attempt ended and what follows from it, in the delivery and, if
    /// `breaker` is given, in the circuit breaker of its destination: all of it or nothing. At the
    /// end of a delivery with an order key the next one of that key falls due.
    ///
    /// A breaker with a lower [`revision`](Breaker::revision) than the stored one is not written,
    /// and nothing is where the claim is [stale](Settled::Stale).
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the delivery is still running, and the same call may be made again.
    async fn settle(
        &self,
        claim: &Claim,
        attempt: &Attempt,
        outcome: &Outcome,
        breaker: Option<Breaker>,
    ) -> Result<Settled, StoreError>;

    /// How long until the next delivery of a destination falls due; zero where one is due. One
    /// that runs falls due when its lease ends. `None` while none is waiting or running, or the
    /// destination is paused.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn next_due(&self, destination: &str) -> Result<Option<Duration>, StoreError>;

    /// Releases the keys that dead deliveries of a destination hold.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: some may still be held.
    async fn release_keys(&self, destination: &str) -> Result<(), StoreError>;

    /// Records an alert as an event of the source [`ALERTS`](crate::ALERTS), with a delivery to `alert.to`, unless
    /// one of the same key was recorded within `alert.every`. Answers whether it did.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it was not recorded.
    async fn record_alert(&self, alert: Alert) -> Result<bool, StoreError>;

    /// When the last event of a source came, of those that came at `since` or later and not after
    /// `until`: one that is stamped later was received while the clock was wrong.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn last_received(
        &self,
        source: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// Wakes the loops that wait for work.
    fn wakers(&self) -> &Wakers;
}
