//! What the suite and the unit tests of this crate share: requests, times, and a store on disk.
//!
//! The unit tests include this file, so it uses the public API only, by the name of the crate.

use std::{
    fs,
    future::poll_fn,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use tempfile::TempDir;
use wilco::{
    Arrival, Digest, Envelope, EventId, Head, Headers, Secret, SourceName, Unsigned, Verified,
    provider, verify,
};
use wilco_store::{
    Attempt, Batch, Clock, Duplicates, Limits, Options, Rejection, RejectionReason, RoutedBatch,
    SqliteStore, Store, Target,
};

/// A clock that a test sets.
pub(crate) struct TestClock {
    now: Mutex<Timestamp>,
    pub(crate) elapsed: Mutex<Duration>,
}

impl TestClock {
    /// It shows [`NOW`].
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(NOW), elapsed: Mutex::default() })
    }

    pub(crate) fn set(&self, now: Timestamp) {
        *self.now.lock().unwrap() = now;
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
    pub(crate) secret_name: &'a str,
}

/// The usual request; a test overrides what matters to it.
pub(crate) const SENT: Sent<'static> = Sent {
    source: "office",
    name: "booking.updated",
    provider: "freispace",
    subject: Some("booking/1"),
    delivery_id: None,
    headers: &[],
    body: b"{}",
    at: NOW,
    secret_name: "test:secret",
};

/// Signs a request as its provider would, and verifies it.
pub(crate) fn event(sent: Sent<'_>) -> (Verified, Envelope) {
    let scheme = &provider::find("freispace").unwrap().scheme;
    let secret = Secret::new(sent.secret_name, b"a-made-up-secret".to_vec()).unwrap();
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

/// A refused request that is distinct from others.
pub(crate) fn rejection(number: u64) -> Rejection {
    Rejection {
        received_at: NOW,
        source: SourceName::new("office").unwrap(),
        provider: "freispace".into(),
        reason: RejectionReason::WrongSignature,
        message: format!("number {number}"),
        client: Some([192, 0, 2, 1].into()),
        method: "POST".into(),
        url: "https://hooks.example/".into(),
        hidden: vec!["x-pin".into()],
        headers: Headers::from_pairs([("host", "hooks.example")]),
        bytes: 2,
        digest: Digest::of(b"{}"),
        body: b"{}"[..].into(),
        is_complete: true,
    }
}

/// An attempt with this result.
pub(crate) fn attempt(result: &str) -> Attempt {
    let took = Duration::from_micros(1_234_567);
    let (result, request) = (result.into(), "POST /zürich\n\nsent".into());
    Attempt { started_at: NOW, took, result, request, output: b"said \xff so\n".into() }
}

/// A time, in seconds since the beginning of the test.
pub(crate) fn after(secs: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(secs)
}

/// Polls a call once, which submits it, and returns the answer if it is already there.
pub(crate) async fn hand_over<F: Future + Unpin>(call: &mut F) -> Option<F::Output> {
    poll_fn(|context| match Pin::new(&mut *call).poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A store in its own folder, whose files can be read and changed directly.
pub(crate) struct OnDisk {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<TestClock>,
}

impl OnDisk {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: TestClock::new() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("wilco.db")
    }

    pub(crate) fn open(&self, options: Options) -> SqliteStore {
        let url = format!("sqlite:{}", self.path().display());
        SqliteStore::open(&url, options, self.clock.clone()).unwrap()
    }

    /// What a killed process would leave: its files as they are now. The lock and the shared memory
    /// mean nothing to the next process.
    pub(crate) fn killed(&self) -> Self {
        let copy = Self { clock: self.clock.clone(), ..Self::new() };
        for name in ["wilco.db", "wilco.db-wal"] {
            if self.folder.path().join(name).exists() {
                fs::copy(self.folder.path().join(name), copy.folder.path().join(name)).unwrap();
            }
        }
        copy
    }

    /// A connection that bypasses the store, to change what is on the disk.
    pub(crate) fn past_the_store(&self) -> Connection {
        let side = Connection::open(self.path()).unwrap();
        side.pragma_update(None, "foreign_keys", false).unwrap();
        side
    }
}

/// The options of nearly every test.
pub(crate) fn small() -> Options {
    Options { limits: SMALL, ..Options::default() }
}

/// The unrouted events.
pub(crate) async fn unrouted(store: &dyn Store, limit: usize) -> Vec<EventId> {
    let batch = store.unrouted(limit).await.unwrap();
    batch.events().iter().map(|event| event.id).collect()
}

/// Routes all events up to the last of these, and these to all targets.
pub(crate) async fn fan_out(store: &dyn Store, ids: &[EventId], targets: &[Target]) {
    while let Some(last) = ids.last() {
        let all = unrouted(store, 10_000).await;
        let last = all.iter().position(|id| id == last);
        let batch = store.unrouted(last.map_or(all.len(), |last| last + 1)).await.unwrap();
        store.fan_out(to(batch, ids, targets)).await.unwrap();
        if last.is_some() {
            return;
        }
        assert!(!all.is_empty(), "the event is already routed");
    }
}

/// Sends these events of a batch to all targets.
pub(crate) fn to(batch: Batch, ids: &[EventId], targets: &[Target]) -> RoutedBatch {
    batch.route(|event| if ids.contains(&event.id) { targets.to_vec() } else { Vec::new() })
}

/// Limits so small that a few rows fill a slice, without any waits.
pub(crate) const SMALL: Limits = Limits {
    write_rows: 8,
    listing_events_first: 2,
    listing_scanned_max: 1_000,
    listing_events_max: 8,
    search_time: Duration::from_secs(60),
    search_bytes_min: 0,
    counted_each_time: 100,
    index_keys: 64,
    index_keys_at_close: 16,
    first_check_bytes_max: 512 << 10,
    scrub_events: 8,
    scrub_rows: 8,
    scrub_pause: Duration::ZERO,
    scrub_busy_pause: Duration::ZERO,
    prune_rows: 4,
    prune_bytes: 16 << 10,
    prune_looks: 16,
    count_rows: 8,
    overwrite_looks: 64,
    overwrite_pages: 8,
    free_pages: 4,
    lock_wait: Duration::ZERO,
    reader_wait: Duration::ZERO,
    open_retry: Duration::from_millis(10),
};
/// When each test begins: 2026-03-01 12:00 UTC.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_772_366_400, 0);
/// How long a claim is exclusive in tests.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// The longest wait in tests.
pub(crate) const LONGEST: Duration = Duration::from_secs(1_000_000);
/// An hour, within which a duplicate is recognised.
pub(crate) const SUPPRESS: Duplicates = Duplicates::Suppress { window: Duration::from_secs(3_600) };
