//! A store under test, and the verbs that most tests need.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::Notify;
use wilco::EventId;
use wilco_store::{
    Claim, Clock as _, Delivery, Duplicates, EventQuery, EventSummary, Outcome, Receipt, Settled,
    State, Store, StoreError, Target,
};

use crate::{
    backends::Backend,
    support::{self, LEASE, LONGEST, NOW, SENT, SUPPRESS, Sent, TestClock, attempt, event},
};

/// A store under test, and the verbs that most tests need.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) backend: Box<dyn Backend>,
    make: fn() -> Box<dyn Backend>,
}

impl Bench {
    pub(crate) fn new(make: fn() -> Box<dyn Backend>) -> Self {
        let (clock, mut backend) = (TestClock::new(), make());
        Self { store: backend.open(clock.clone()), clock, backend, make }
    }

    /// An empty store of the same kind.
    pub(crate) fn another(&self) -> Self {
        Self::new(self.make)
    }

    /// The same store in a second process, where the backend allows one.
    pub(crate) fn second_process(&self) -> Arc<dyn Store> {
        self.backend.open_again().unwrap()
    }

    /// Kills the process and starts another.
    pub(crate) fn crash(&mut self, now: Timestamp) {
        self.clock.set(now);
        self.store = self.backend.open(self.clock.clone());
    }

    pub(crate) async fn try_record(&self, sent: Sent<'_>) -> Result<Receipt, StoreError> {
        let (verified, envelope) = event(sent);
        self.store.record(verified, envelope, SUPPRESS).await
    }

    pub(crate) async fn record(&self, sent: Sent<'_>) -> Receipt {
        self.try_record(sent).await.unwrap()
    }

    /// Records events with different subjects.
    pub(crate) async fn record_many(&self, count: usize) -> Vec<EventId> {
        let mut ids = Vec::with_capacity(count);
        for number in 0..count {
            let subject = format!("booking/{number}");
            ids.push(self.record(Sent { subject: Some(&subject), ..SENT }).await.event_id());
        }
        ids
    }

    pub(crate) async fn fan_out(&self, ids: &[EventId], destinations: &[&str], now: Timestamp) {
        self.clock.set(now);
        let targets: Vec<_> = destinations.iter().map(|&name| Target::to(name)).collect();
        support::fan_out(self.store.as_ref(), ids, &targets).await;
    }

    /// Records events, one target to `crm` for each, as `target` says.
    pub(crate) async fn targets(
        &self,
        count: usize,
        target: impl Fn(usize) -> Target,
        now: Timestamp,
    ) -> Vec<EventId> {
        let mut ids = Vec::with_capacity(count);
        for number in 0..count {
            let (verified, envelope) = event(Sent { at: now, ..SENT });
            let receipt = self.store.record(verified, envelope, Duplicates::Keep).await.unwrap();
            let event_id = receipt.event_id();
            self.clock.set(now);
            support::fan_out(self.store.as_ref(), &[event_id], &[target(number)]).await;
            ids.push(event_id);
        }
        ids
    }

    pub(crate) async fn state(&self, id: EventId) -> State {
        self.delivery(id).await.state
    }

    /// Records one event with one delivery, to `crm`.
    pub(crate) async fn one_delivery(&self) -> EventId {
        let ids = self.record_many(1).await;
        self.fan_out(&ids, &["crm"], NOW).await;
        ids[0]
    }

    pub(crate) async fn claim(
        &self,
        destination: &str,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Claim> {
        self.clock.set(now);
        self.store.claim(destination, limit, LEASE, LONGEST).await.unwrap()
    }

    pub(crate) async fn claim_one(&self, now: Timestamp) -> Claim {
        let mut claims = self.claim("crm", 1, now).await;
        assert_eq!(claims.len(), 1, "one delivery to crm is due at {now}");
        claims.remove(0)
    }

    pub(crate) async fn cancel(
        &self,
        id: EventId,
        destination: Option<&str>,
        now: Timestamp,
    ) -> usize {
        self.clock.set(now);
        self.store.cancel(id, destination.map(Into::into)).await.unwrap()
    }

    pub(crate) async fn release_keys(&self, destination: &str, now: Timestamp) {
        self.clock.set(now);
        self.store.release_keys(destination).await.unwrap();
    }

    /// When the next delivery to a destination is due: now, if it was due before.
    pub(crate) async fn next_due(&self, destination: &str) -> Option<Timestamp> {
        let wait = self.store.next_due(destination).await.unwrap();
        wait.map(|wait| self.clock.now().checked_add(wait).unwrap())
    }

    /// Retries at this time, or at once if it has passed.
    pub(crate) fn retry(&self, at: Timestamp) -> Outcome {
        let after = at.duration_since(self.clock.now()).try_into().unwrap_or_default();
        Outcome::Retry { after, waited: Duration::from_secs(1) }
    }

    pub(crate) async fn settle(&self, claim: &Claim, result: &str, outcome: Outcome) {
        assert_eq!(self.try_settle(claim, result, outcome).await, Settled::Written);
    }

    pub(crate) async fn try_settle(
        &self,
        claim: &Claim,
        result: &str,
        outcome: Outcome,
    ) -> Settled {
        self.store.settle(claim, &attempt(result), &outcome, None).await.unwrap()
    }

    /// The deliveries of an event, with their history.
    pub(crate) async fn deliveries(&self, id: EventId) -> Vec<Delivery> {
        self.store.event(id).await.unwrap().unwrap().deliveries
    }

    /// The only delivery of an event.
    pub(crate) async fn delivery(&self, id: EventId) -> Delivery {
        let mut deliveries = self.deliveries(id).await;
        assert_eq!(deliveries.len(), 1);
        deliveries.remove(0)
    }

    pub(crate) async fn unrouted(&self, limit: usize) -> Vec<EventId> {
        support::unrouted(self.store.as_ref(), limit).await
    }

    /// All events, oldest first.
    pub(crate) async fn all(&self) -> Vec<EventSummary> {
        let query = EventQuery { limit: 10_000, ..EventQuery::default() };
        let mut events = self.store.events(query).await.unwrap().events;
        events.reverse();
        events
    }
}

impl TestClock {
    /// Lets time go by without a change of the time of day.
    pub(crate) fn pass(&self, time: Duration) {
        *self.elapsed.lock().unwrap() += time;
    }
}

/// Whether it was notified since it was last waited for. This consumes the notification.
pub(crate) async fn was_notified(waker: &Notify) -> bool {
    tokio::time::timeout(Duration::ZERO, waker.notified()).await.is_ok()
}

/// The usual outcome of a delivery that is given up.
pub(crate) const DEAD: Outcome = Outcome::Dead { holds_key: false };
