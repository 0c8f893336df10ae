//! What the inbound half counts. No label takes a value that an unverified request chose.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Unit,
};

use crate::metrics::{FAST_SECONDS, Metrics};

/// The counters of all sources and listeners.
pub(super) struct Counters {
    requests: Family<Request, Counter>,
    events: Family<Event, Counter>,
    secret_matches: Family<SecretMatch, Counter>,
    pub(super) ack: Histogram,
    pub(super) body: Histogram,
    pub(super) rejections_dropped: Counter,
    connections: Gauge,
    pub(super) connections_refused: Counter,
    proxy_header_failures: Family<Reason, Counter>,
    http2_closed: Family<Reason, Counter>,
}

impl Counters {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let body_bytes =
            [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0];
        let ack_help = "From the head of a request to its 2xx";
        let body_help = "Bodies of acknowledged requests";
        Self {
            requests: metrics.register("requests", "Requests by outcome"),
            events: metrics.register("events", "Events recorded, duplicates not counted"),
            secret_matches: metrics
                .register("secret_matches", "Right signatures, by the secret that matched"),
            ack: metrics.histogram("ack", ack_help, Unit::Seconds, FAST_SECONDS),
            body: metrics.histogram("body", body_help, Unit::Bytes, body_bytes),
            rejections_dropped: metrics.register(
                "rejections_dropped",
                "Rejections not kept because there were too many at once",
            ),
            connections: metrics.register("connections", "Open connections"),
            connections_refused: metrics.register(
                "connections_refused",
                "Connections closed at once because there were too many",
            ),
            proxy_header_failures: metrics.register(
                "proxy_header_failures",
                "Connections closed without a valid header of the PROXY protocol, by reason",
            ),
            http2_closed: metrics.register(
                "http2_closed",
                "HTTP/2 connections closed, and streams reset, because of what their client does, by reason",
            ),
        }
    }

    /// A request was answered.
    pub(super) fn answered(&self, source: &str, outcome: &'static str) {
        self.requests.get_or_create(&Request { source: source.into(), outcome }).inc();
    }

    /// An event was recorded. `event` is a name that its provider documents, or `other`.
    pub(super) fn recorded(&self, source: &str, event: &str) {
        self.events.get_or_create(&Event { source: source.into(), event: event.into() }).inc();
    }

    /// A signature was right.
    pub(super) fn matched(&self, source: &str, secret: &str) {
        let labels = SecretMatch { source: source.into(), secret: secret.into() };
        self.secret_matches.get_or_create(&labels).inc();
    }

    /// A connection did not begin with a header of the PROXY protocol.
    pub(super) fn failed_proxy_header(&self, reason: &'static str) {
        self.proxy_header_failures.get_or_create(&Reason { reason }).inc();
    }

    /// A connection of HTTP/2 was closed, or a stream of it reset, because of its client.
    pub(super) fn closed_http2(&self, reason: &'static str) {
        self.http2_closed.get_or_create(&Reason { reason }).inc();
    }

    /// Counts an open connection until the guard is dropped.
    pub(super) fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }
}

/// An open connection.
pub(super) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    source: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Event {
    source: String,
    event: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SecretMatch {
    source: String,
    secret: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}
