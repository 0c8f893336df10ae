//! Every promise of [`Store`], one suite: each promise is a test of every backend.
//!
//! Each promise is a function named as a sentence; it gets a store of its own and hands time in.

/// Makes each promise a test of each backend.
macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        mod in_memory {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    super::$name(crate::conformance::Bench::new(crate::memory::tests::backend)).await;
                }
            )*
        }

        mod in_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    super::$name(crate::conformance::Bench::new(crate::sqlite::tests::backend)).await;
                }
            )*
        }
    };
}

mod alerting;
mod bursts;
mod claiming;
mod duplicates;
mod ending;
mod leasing;
mod looking;
mod ordering;
mod recording;
mod replaying;
mod routing;
mod settling;
mod status;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use wilco::{
    Arrival, Envelope, EventId, Head, Headers, Secret, SourceName, Unsigned, Verified, provider,
    verify,
};

use crate::{
    Attempt, Batch, Claim, Clock, Delivery, Duplicates, EventQuery, EventSummary, Limits, Outcome,
    Receipt, Rejection, RoutedBatch, Settled, Store, StoreError, Target,
};

/// What the suite needs of a backend besides [`Store`].
pub(crate) trait Backend: Send {
    /// Opens the store: an empty one, and each further time what a process finds that is started
    /// after the last one was killed.
    fn open(&mut self, clock: Arc<dyn Clock>) -> Arc<dyn Store>;

    /// Has the next write fail as near to its commit as can be.
    fn break_next_write(&self);

    /// Has writes succeed again.
    fn mend(&self);
}

/// A clock that a test sets.
pub(crate) struct TestClock {
    now: Mutex<Timestamp>,
    elapsed: Mutex<Duration>,
}

impl TestClock {
    /// It shows [`NOW`].
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(NOW), elapsed: Mutex::default() })
    }

    pub(crate) fn set(&self, now: Timestamp) {
        *self.now.lock().unwrap() = now;
    }

    /// Has time go by, without a change of the time of day.
    pub(crate) fn pass(&self, time: Duration) {
        *self.elapsed.lock().unwrap() += time;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap()
    }
}

/// A request from a provider, before it is signed.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'a> {
    pub(crate) source: &'a str,
    pub(crate) name: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) subject: Option<&'a str>,
    pub(crate) delivery_id: Option<&'a str>,
    pub(crate) headers: &'a [(&'a str, &'a [u8])],
    pub(crate) body: &'a [u8],
    pub(crate) at: Timestamp,
}

/// A request like most; a test names what is special about its own.
pub(crate) const SENT: Sent<'static> = Sent {
    source: "office",
    name: "booking.updated",
    provider: "freispace",
    subject: Some("booking/1"),
    delivery_id: None,
    headers: &[],
    body: b"{}",
    at: NOW,
};

/// Signs a request as its provider would, and verifies it.
pub(crate) fn event(sent: Sent<'_>) -> (Verified, Envelope) {
    let scheme = &provider::find("freispace").unwrap().scheme;
    let secret = Secret::new("test:secret", b"a-made-up-secret".to_vec()).unwrap();
    let signed = scheme.sign(&secret, &Unsigned::post(sent.body, sent.at)).unwrap();
    let signed = signed.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let headers = Headers::from_pairs(sent.headers.iter().copied().chain(signed));
    let head = Head { method: "POST".into(), url: String::new(), headers };
    let arrival = Arrival { received_at: sent.at, head, body: sent.body.to_vec().into() };
    let source = SourceName::new(sent.source).unwrap();
    let envelope = Envelope {
        provider: sent.provider.into(),
        name: sent.name.into(),
        subject: sent.subject.map(Into::into),
        delivery_id: sent.delivery_id.map(Into::into),
    };
    (verify(scheme, &source, &[scheme.key(&secret).unwrap()], arrival).unwrap(), envelope)
}

/// A refused request that can be told from others.
pub(crate) fn rejection(number: u64) -> Rejection {
    Rejection {
        at: NOW,
        source: SourceName::new("office").unwrap(),
        reason: format!("number {number}"),
        client: Some([192, 0, 2, 1].into()),
        method: "POST".into(),
        url: "https://hooks.example/".into(),
        headers: Headers::from_pairs([("host", "hooks.example")]),
        bytes: 2,
        body: b"{}"[..].into(),
    }
}

/// An attempt that ended so.
pub(crate) fn attempt(result: &str) -> Attempt {
    let took = Duration::from_micros(1_234_567);
    Attempt { started_at: NOW, took, result: result.into(), output: b"said \xff so\n".into() }
}

/// A time, in seconds from the beginning of each test.
pub(crate) fn after(secs: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(secs)
}

/// Polls a call once, which hands it over, and gives the answer if it is there already.
pub(crate) async fn hand_over<F: Future + Unpin>(call: &mut F) -> Option<F::Output> {
    poll_fn(|context| match Pin::new(&mut *call).poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Whether it was notified since somebody last waited for it. The notification is gone then.
async fn was_notified(waker: &Notify) -> bool {
    tokio::time::timeout(Duration::ZERO, waker.notified()).await.is_ok()
}

/// A store under test, and the verbs that most tests need.
struct Bench {
    store: Arc<dyn Store>,
    clock: Arc<TestClock>,
    backend: Box<dyn Backend>,
    make: fn() -> Box<dyn Backend>,
}

impl Bench {
    fn new(make: fn() -> Box<dyn Backend>) -> Self {
        let (clock, mut backend) = (TestClock::new(), make());
        Self { store: backend.open(clock.clone()), clock, backend, make }
    }

    /// An empty store of the same kind.
    fn another(&self) -> Self {
        Self::new(self.make)
    }

    /// Kills the process and starts another.
    fn crash(&mut self, now: Timestamp) {
        self.clock.set(now);
        self.store = self.backend.open(self.clock.clone());
    }

    async fn try_record(&self, sent: Sent<'_>) -> Result<Receipt, StoreError> {
        let (verified, envelope) = event(sent);
        self.store.record(verified, envelope, SUPPRESS).await
    }

    async fn record(&self, sent: Sent<'_>) -> Receipt {
        self.try_record(sent).await.unwrap()
    }

    /// Records events of subjects of their own.
    async fn record_many(&self, count: usize) -> Vec<EventId> {
        let mut ids = Vec::with_capacity(count);
        for number in 0..count {
            let subject = format!("booking/{number}");
            ids.push(self.record(Sent { subject: Some(&subject), ..SENT }).await.event_id());
        }
        ids
    }

    async fn fan_out(&self, ids: &[EventId], destinations: &[&str], now: Timestamp) {
        self.clock.set(now);
        let targets: Vec<_> = destinations.iter().map(|&name| Target::to(name)).collect();
        fan_out(self.store.as_ref(), ids, &targets).await;
    }

    /// Records events, one target to `crm` for each, as `target` says.
    async fn targets(
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
            fan_out(self.store.as_ref(), &[event_id], &[target(number)]).await;
            ids.push(event_id);
        }
        ids
    }

    async fn state(&self, id: EventId) -> crate::State {
        self.delivery(id).await.state
    }

    /// Records one event with one delivery, to `crm`.
    async fn one_delivery(&self) -> EventId {
        let ids = self.record_many(1).await;
        self.fan_out(&ids, &["crm"], NOW).await;
        ids[0]
    }

    async fn claim(&self, destination: &str, limit: usize, now: Timestamp) -> Vec<Claim> {
        self.clock.set(now);
        self.store.claim(destination, limit, LEASE, LONGEST).await.unwrap()
    }

    async fn claim_one(&self, now: Timestamp) -> Claim {
        let mut claims = self.claim("crm", 1, now).await;
        assert_eq!(claims.len(), 1, "one delivery to crm is due at {now}");
        claims.remove(0)
    }

    async fn cancel(&self, id: EventId, destination: Option<&str>, now: Timestamp) -> usize {
        self.clock.set(now);
        self.store.cancel(id, destination.map(Into::into)).await.unwrap()
    }

    async fn release_keys(&self, destination: &str, now: Timestamp) {
        self.clock.set(now);
        self.store.release_keys(destination).await.unwrap();
    }

    /// When the next delivery to a destination is due: now, if it was due before.
    async fn next_due(&self, destination: &str) -> Option<Timestamp> {
        let wait = self.store.next_due(destination).await.unwrap();
        wait.map(|wait| self.clock.now().checked_add(wait).unwrap())
    }

    /// Another try at this time, or at once where it has passed.
    fn retry(&self, at: Timestamp) -> Outcome {
        let after = at.duration_since(self.clock.now()).try_into().unwrap_or_default();
        Outcome::Retry { after, waited: Duration::from_secs(1) }
    }

    async fn settle(&self, claim: &Claim, result: &str, outcome: Outcome) {
        assert_eq!(self.try_settle(claim, result, outcome).await, Settled::Written);
    }

    async fn try_settle(&self, claim: &Claim, result: &str, outcome: Outcome) -> Settled {
        self.store.settle(claim, &attempt(result), &outcome, None).await.unwrap()
    }

    /// The deliveries of an event, with their history.
    async fn deliveries(&self, id: EventId) -> Vec<Delivery> {
        self.store.event(id).await.unwrap().unwrap().deliveries
    }

    /// The only delivery of an event.
    async fn delivery(&self, id: EventId) -> Delivery {
        let mut deliveries = self.deliveries(id).await;
        assert_eq!(deliveries.len(), 1);
        deliveries.remove(0)
    }

    async fn unrouted(&self, limit: usize) -> Vec<EventId> {
        unrouted(self.store.as_ref(), limit).await
    }

    /// All events, oldest first.
    async fn all(&self) -> Vec<EventSummary> {
        let query = EventQuery { limit: 10_000, ..EventQuery::default() };
        let mut events = self.store.events(query).await.unwrap();
        events.reverse();
        events
    }
}

/// The unrouted events.
pub(crate) async fn unrouted(store: &dyn Store, limit: usize) -> Vec<EventId> {
    let batch = store.unrouted(limit).await.unwrap();
    batch.events().iter().map(|event| event.id).collect()
}

/// Routes everything up to the last of these events, and these to all targets.
pub(crate) async fn fan_out(store: &dyn Store, ids: &[EventId], targets: &[Target]) {
    while let Some(last) = ids.last() {
        let all = unrouted(store, 10_000).await;
        let last = all.iter().position(|id| id == last);
        let batch = store.unrouted(last.map_or(all.len(), |last| last + 1)).await.unwrap();
        store.fan_out(to(batch, ids, targets)).await.unwrap();
        if last.is_some() {
            return;
        }
        assert!(!all.is_empty(), "an event is routed already");
    }
}

/// Sends these events of a batch to all targets.
pub(crate) fn to(batch: Batch, ids: &[EventId], targets: &[Target]) -> RoutedBatch {
    batch.route(|event| if ids.contains(&event.id) { targets.to_vec() } else { Vec::new() })
}

/// Limits so small that a few rows fill a slice, with nothing to wait for.
pub(crate) const SMALL: Limits = Limits {
    write_rows: 8,
    listing_events_first: 2,
    listing_events_max: 8,
    index_keys: 64,
    index_keys_at_close: 16,
    first_check_bytes_max: 512 << 10,
    scrub_events: 8,
    scrub_rows: 8,
    scrub_pause: Duration::ZERO,
    scrub_busy_pause: Duration::ZERO,
    lock_wait: Duration::ZERO,
    reader_wait: Duration::ZERO,
    open_retry: Duration::from_millis(10),
};
/// When each test begins: 2026-03-01 12:00 UTC.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_772_366_400, 0);
/// How long a claim of a test is exclusive.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// What no wait of a test is longer than.
pub(crate) const LONGEST: Duration = Duration::from_secs(1_000_000);
/// The usual end of what is given up.
pub(crate) const DEAD: Outcome = Outcome::Dead { holds_key: false };
/// An hour, within which a copy is recognised.
pub(crate) const SUPPRESS: Duplicates = Duplicates::Suppress { window: Duration::from_secs(3_600) };
