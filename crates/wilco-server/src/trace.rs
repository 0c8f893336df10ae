//! Traces for OpenTelemetry: OTLP over HTTP, in JSON (<https://opentelemetry.io/docs/specs/otlp/>).
//!
//! A trace has a span for the request, with its verification and its record, one for the routes, and one for each
//! attempt. Their ids are derived from those of the event and of the delivery, so that nothing more is stored. Spans
//! wait in a bounded queue: when the collector is slow or away, they are dropped, and events are not delayed. Without
//! the feature `otlp` nothing makes that queue.

#[cfg(feature = "otlp")]
mod exporter;

use std::{sync::OnceLock, time::Duration};

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};
use wilco::{Event, Headers};
use wilco_delivery::{Reply, Verdict};
use wilco_destinations::trace::{TraceContext, attempt_span, child_span, receive_span};
use wilco_store::{Claim, Receipt};

use crate::clock;

#[cfg(feature = "otlp")]
pub(crate) use exporter::Exporter;

/// A request that was verified, whose event is not recorded yet.
pub(crate) struct Incoming {
    context: Option<TraceContext>,
    began: Instant,
    verified: Instant,
}

impl Incoming {
    /// `None` if nothing is exported.
    pub(crate) fn of(headers: &Headers, began: Instant) -> Option<Self> {
        QUEUE.get()?;
        let context = headers.all("traceparent").next().and_then(TraceContext::parse);
        Some(Self { context, began, verified: Instant::now() })
    }

    /// The event was recorded, or is a duplicate.
    pub(crate) fn recorded(self, source: &str, event: &str, bytes: usize, receipt: &Receipt) {
        let id = receipt.event_id();
        let context = self.context.unwrap_or_else(|| TraceContext::of_id(id));
        if !context.is_sampled() {
            return;
        }
        // A duplicate has the id of the event that was recorded first, and a span of its own.
        let own = match receipt.is_first() {
            true => receive_span(id),
            false => getrandom::u64().unwrap_or_default().max(1),
        };
        let times = Times::now();
        let attributes = json!([
            text("wilco.source", source),
            text("wilco.event", event),
            text("wilco.event_id", &id.to_string()),
            number("wilco.body_bytes", bytes as u64),
            { "key": "wilco.duplicate", "value": { "boolValue": !receipt.is_first() } },
        ]);
        let receive = Span { parent: context.parent, ..Span::new(context, own, "receive", SERVER) };
        let child = |number, name| Span {
            parent: Some(own),
            ..Span::new(context, child_span(own, number), name, INTERNAL)
        };
        queue(receive.json(times.of(self.began, None), &attributes, None));
        queue(child(1, "verify").json(times.of(self.began, Some(self.verified)), &json!([]), None));
        queue(child(2, "record").json(times.of(self.verified, None), &json!([]), None));
    }
}

/// The routes have decided about an event.
pub(crate) fn routed(event: &Event, began: Instant, deliveries: usize) {
    let Some(context) = sampled(event) else { return };
    let parent = receive_span(event.id);
    let span = Span {
        parent: Some(parent),
        ..Span::new(context, child_span(parent, 3), "route", INTERNAL)
    };
    let attributes = json!([
        text("wilco.event_id", &event.id.to_string()),
        number("wilco.deliveries", deliveries as u64)
    ]);
    queue(span.json(Times::now().of(began, None), &attributes, None));
}

/// An attempt has ended with this reply, which has no secrets.
pub(crate) fn attempted(claim: &Claim, began: Instant, reply: &Reply) {
    let event = claim.event();
    let Some(context) = sampled(event) else { return };
    let span = Span {
        parent: Some(receive_span(event.id)),
        ..Span::new(context, attempt_span(claim), "attempt", CLIENT)
    };
    let attributes = json!([
        text("wilco.destination", claim.destination()),
        text("wilco.event_id", &event.delivered_id()),
        text("wilco.event", &event.name),
        number("wilco.delivery", claim.delivery().unsigned_abs()),
        number("wilco.attempt", u64::from(claim.attempt())),
        text("wilco.result", &reply.result),
    ]);
    let error = (reply.verdict != Verdict::Delivered).then_some(reply.result.as_str());
    queue(span.json(Times::now().of(began, None), &attributes, error));
}

/// The trace of an event, if it is to be exported.
fn sampled(event: &Event) -> Option<TraceContext> {
    QUEUE.get()?;
    Some(TraceContext::of(event)).filter(|context| context.is_sampled())
}

/// What identifies a span.
struct Span {
    context: TraceContext,
    id: u64,
    parent: Option<u64>,
    name: &'static str,
    kind: u8,
}

impl Span {
    fn new(context: TraceContext, id: u64, name: &'static str, kind: u8) -> Self {
        Self { context, id, parent: None, name, kind }
    }

    fn json(&self, (start, end): (i128, i128), attributes: &Value, error: Option<&str>) -> Value {
        let status = match error {
            Some(message) => json!({ "code": STATUS_ERROR, "message": message }),
            None => json!({}),
        };
        let mut span = json!({
            "traceId": format!("{:032x}", self.context.trace_id),
            "spanId": format!("{:016x}", self.id),
            "name": self.name,
            "kind": self.kind,
            "startTimeUnixNano": start.to_string(),
            "endTimeUnixNano": end.to_string(),
            "attributes": attributes,
            "status": status,
        });
        if let Some(parent) = self.parent {
            span["parentSpanId"] = format!("{parent:016x}").into();
        }
        span
    }
}

/// Relates instants to the time of day.
struct Times {
    now: Timestamp,
    instant: Instant,
}

impl Times {
    fn now() -> Self {
        Self { now: clock::now(), instant: Instant::now() }
    }

    /// Nanoseconds in Unix time; the end is now, unless there is one.
    fn of(&self, start: Instant, end: Option<Instant>) -> (i128, i128) {
        let ago = |at: Instant| {
            let ago: Duration = self.instant.saturating_duration_since(at);
            self.now.as_nanosecond() - i128::try_from(ago.as_nanos()).unwrap_or_default()
        };
        (ago(start), end.map_or(self.now.as_nanosecond(), ago))
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// 64-bit integers are texts in JSON.
fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn queue(span: Value) {
    if let Some((queue, dropped)) = QUEUE.get()
        && queue.try_send(span).is_err()
    {
        dropped.inc();
    }
}

/// The queue of the exporter, of which a process has one, and how many spans were dropped because the collector was slow
/// or away; not set if nothing is exported.
static QUEUE: OnceLock<(mpsc::Sender<Value>, Counter)> = OnceLock::new();

const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const STATUS_ERROR: u8 = 2;
