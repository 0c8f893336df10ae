//! Metrics. No label ever takes a value that an unverified request chose.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry, Unit},
};
use wilco_store::Usage;

use crate::log;

/// The registry, and the metrics that are shared by several parts of wilco. A part with further metrics
/// registers them itself: [`Metrics::counter`], [`Metrics::histogram`].
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    /// Allows one scrape at a time, because a scrape clears and fills families.
    scrape: Mutex<()>,
    log_lines_dropped: Counter,
    commit: Histogram,
    commit_events: Histogram,
    attempts: Family<AttemptOutcome, Counter>,
    attempt: Family<ByDestination, Histogram, fn() -> Histogram>,
    tls_handshake_failures: Family<Reason, Counter>,
    tls_expiry: Gauge,
    store_free: Gauge<u64, AtomicU64>,
    store_wal: Gauge<u64, AtomicU64>,
    store_damaged: Gauge<u64, AtomicU64>,
    store_lost_commits: Gauge<u64, AtomicU64>,
    deliveries: Family<InState, Gauge>,
    breakers: Family<ByDestination, Gauge>,
}

impl Metrics {
    /// Without TLS, the metric of the certificate is left out, because 0 would mean that it has expired.
    pub(crate) fn new(is_tls: bool) -> Arc<Self> {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("wilco")),
            scrape: Mutex::default(),
            log_lines_dropped: Counter::default(),
            commit: Histogram::new(FAST_SECONDS),
            commit_events: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]),
            attempts: Family::default(),
            attempt: Family::new_with_constructor(|| Histogram::new(SLOW_SECONDS)),
            tls_handshake_failures: Family::default(),
            tls_expiry: Gauge::default(),
            store_free: Gauge::default(),
            store_wal: Gauge::default(),
            store_damaged: Gauge::default(),
            store_lost_commits: Gauge::default(),
            deliveries: Family::default(),
            breakers: Family::default(),
        };
        metrics.register_own(is_tls);
        Arc::new(metrics)
    }

    /// Registers a metric and returns it. To be called once for each name. `help` has no full stop,
    /// because the format adds one.
    pub(crate) fn register<M: Metric + Clone + Default>(&self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.registry().register(name, help, metric.clone());
        metric
    }

    /// Registers a counter.
    pub(crate) fn counter(&self, name: &str, help: &str) -> Counter {
        self.register(name, help)
    }

    /// Registers a histogram.
    pub(crate) fn histogram(
        &self,
        name: &str,
        help: &str,
        unit: Unit,
        buckets: impl IntoIterator<Item = f64>,
    ) -> Histogram {
        let histogram = Histogram::new(buckets);
        self.registry().register_with_unit(name, help, unit, histogram.clone());
        histogram
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register_own(&self, is_tls: bool) {
        let r = &mut *self.registry();
        r.register_with_unit("commit", "Commits of the store", Unit::Seconds, self.commit.clone());
        r.register("breaker_open", "1 while a circuit breaker is open", self.breakers.clone());
        r.register("commit_events", "Events recorded by one commit", self.commit_events.clone());
        r.register("attempts", "Attempts to deliver, by outcome", self.attempts.clone());
        r.register_with_unit("attempt", "Attempts to deliver", Unit::Seconds, self.attempt.clone());
        r.register("deliveries", "Unfinished and dead deliveries", self.deliveries.clone());
        r.register(
            "log_lines_dropped",
            "Log lines that could not be written, or found no room in their queue",
            self.log_lines_dropped.clone(),
        );
        if is_tls {
            r.register(
                "tls_handshake_failures",
                "TLS handshakes that failed, by reason",
                self.tls_handshake_failures.clone(),
            );
            r.register(
                "tls_expiry_timestamp_seconds",
                "When the certificate ends, in Unix time",
                self.tls_expiry.clone(),
            );
        }
        r.register_with_unit(
            "store_free",
            "Free space of the file system of the store",
            Unit::Bytes,
            self.store_free.clone(),
        );
        r.register(
            "store_lost_commits",
            "Commits that damage in the write-ahead log had taken at the start",
            self.store_lost_commits.clone(),
        );
        r.register_with_unit(
            "store_wal",
            "Size of the store's write-ahead log",
            Unit::Bytes,
            self.store_wal.clone(),
        );
        r.register(
            "store_damaged_events",
            "Events whose record is damaged",
            self.store_damaged.clone(),
        );
    }

    /// The store committed.
    pub(crate) fn committed(&self, events: usize, took: Duration) {
        self.commit.observe(took.as_secs_f64());
        if events > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a batch is a few hundred")]
            self.commit_events.observe(events as f64);
        }
    }

    /// An attempt ended.
    pub(crate) fn attempted(&self, destination: &str, outcome: &'static str, took: Duration) {
        let labels = AttemptOutcome { destination: destination.into(), outcome };
        self.attempts.get_or_create(&labels).inc();
        let labels = ByDestination { destination: destination.into() };
        self.attempt.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// The circuit breaker of a destination opened or closed.
    pub(crate) fn breaker(&self, destination: &str, is_open: bool) {
        let labels = ByDestination { destination: destination.into() };
        self.breakers.get_or_create(&labels).set(i64::from(is_open));
    }

    /// A TLS handshake failed.
    pub(crate) fn failed_handshake(&self, reason: &'static str) {
        self.tls_handshake_failures.get_or_create(&Reason { reason }).inc();
    }

    /// Sets when the certificate in use expires.
    pub(crate) fn certificate_ends(&self, unix_seconds: i64) {
        self.tls_expiry.set(unix_seconds);
    }

    /// When the certificate in use expires, in Unix time; `None` if there is none.
    pub(crate) fn certificate_end(&self) -> Option<i64> {
        Some(self.tls_expiry.get()).filter(|&seconds| seconds > 0)
    }

    /// The text that Prometheus scrapes. The caller reads the state of the store for each scrape.
    pub(crate) fn text(
        &self,
        store: Option<Usage>,
        damaged_events: u64,
        deliveries: Vec<(String, &'static str, u64)>,
    ) -> String {
        let _alone = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.log_lines_dropped.inc_by(log::dropped().saturating_sub(self.log_lines_dropped.get()));
        if let Some(usage) = store {
            self.store_free.set(usage.free_bytes);
            self.store_wal.set(usage.wal_bytes);
            self.store_lost_commits.set(usage.lost_commits);
        }
        self.store_damaged.set(damaged_events);
        self.deliveries.clear();
        for (destination, state, count) in deliveries {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.deliveries.get_or_create(&InState { destination, state }).set(count);
        }
        self.encoded()
    }

    /// The metrics as they are, without asking the store.
    pub(crate) fn encoded(&self) -> String {
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _ = encode(&mut text, &self.registry());
        text
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptOutcome {
    destination: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDestination {
    destination: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    destination: String,
    state: &'static str,
}

/// Buckets of a histogram for durations of milliseconds.
pub(crate) const FAST_SECONDS: [f64; 13] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];
const SLOW_SECONDS: [f64; 11] =
    [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];
