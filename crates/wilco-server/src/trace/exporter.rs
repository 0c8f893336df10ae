//! Sends spans to a collector, as the standard environment variables say
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).

use std::{env, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use wilco::Body;
use wilco_destinations::{
    client::{Client, Trust},
    trace::export_attempts,
};

use super::QUEUE;
use crate::metrics::Metrics;

/// Sends spans to a collector.
pub(crate) struct Exporter {
    url: Uri,
    headers: HeaderMap,
    service: String,
    client: Client,
    spans: mpsc::Receiver<Value>,
    dropped: Counter,
}

impl Exporter {
    /// The exporter that the environment asks for, if it does. One that cannot be used is logged, and not a
    /// reason not to start.
    pub(crate) fn from_environment(metrics: &Metrics) -> Option<Self> {
        let help = "Spans that were not exported because the collector was slow or away";
        let dropped = metrics.counter("trace_spans_dropped", help);
        let exporter = Self::to(&endpoint()?, dropped);
        let problem = |what: String| tracing::error!("traces are not exported: {what}");
        exporter.map_err(problem).ok()
    }

    fn to(url: &str, dropped: Counter) -> Result<Self, String> {
        let url: Uri = url.parse().map_err(|error| {
            format!("invalid OTEL_EXPORTER_OTLP_ENDPOINT: {error}; such as http://localhost:4318")
        })?;
        let headers = variable("OTEL_EXPORTER_OTLP_TRACES_HEADERS")
            .or_else(|| variable("OTEL_EXPORTER_OTLP_HEADERS"));
        let headers = headers_of(&headers.unwrap_or_default())
            .ok_or("invalid OTEL_EXPORTER_OTLP_HEADERS: expected name=value,name=value")?;
        let client = Client::new(&url, Trust::System).map_err(|error| error.to_string())?;
        let service = variable("OTEL_SERVICE_NAME").unwrap_or_else(|| "wilco".into());
        let (sender, spans) = mpsc::channel(QUEUE_SPANS);
        QUEUE.set((sender, dropped.clone())).map_err(|_| "this process exports traces already")?;
        export_attempts();
        // The URL may hold a credential.
        tracing::info!(host = url.host(), "traces are exported");
        Ok(Self { url, headers, service, client, spans, dropped })
    }

    /// Sends what is queued until `stop`, and then what is left.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut warned: Option<Instant> = None;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(INTERVAL) => {}
            }
            let mut batch = Vec::new();
            while let Ok(span) = self.spans.try_recv() {
                batch.push(span);
            }
            let mut left = batch.as_slice();
            while let Some(next) = left.chunks(BATCH_SPANS).next() {
                if let Err(why) = self.send(next).await {
                    if warned.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
                        warned = Some(Instant::now());
                        tracing::warn!(spans = left.len(), "spans were not exported: {why}");
                    }
                    break;
                }
                left = &left[next.len()..];
            }
            self.dropped.inc_by(left.len() as u64);
        }
    }

    async fn send(&self, spans: &[Value]) -> Result<(), String> {
        let resource = json!({ "attributes": [super::text("service.name", &self.service)] });
        let scope = json!({ "name": "wilco", "version": env!("CARGO_PKG_VERSION") });
        let scopes = json!([{ "scope": scope, "spans": spans }]);
        let body = json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": scopes }] });
        let request = Request::post(&self.url).header(header::CONTENT_TYPE, "application/json");
        let mut request =
            request.body(Body::from(body.to_string())).map_err(|error| error.to_string())?;
        request.headers_mut().extend(self.headers.clone());
        let answer = self.client.send(request, TIMEOUT, ANSWER_BYTES_MAX).await;
        let status = answer.map_err(|error| error.to_string())?.status;
        if status.is_success() { Ok(()) } else { Err(format!("the collector answered {status}")) }
    }
}

/// The URL of the collector, if there is one.
fn endpoint() -> Option<String> {
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    let of_traces = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    of_traces.or_else(|| {
        let base = variable("OTEL_EXPORTER_OTLP_ENDPOINT")?;
        Some(format!("{}/v1/traces", base.trim_end_matches('/')))
    })
}

/// A variable that is empty counts as not set.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// `name=value,name=value`, with percent-encoded values.
fn headers_of(text: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let mut value = HeaderValue::from_bytes(&decoded(value.trim())).ok()?;
        value.set_sensitive(true);
        headers.append(HeaderName::try_from(name.trim()).ok()?, value);
    }
    Some(headers)
}

fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, behind @ ..] = rest {
        let hex = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    bytes
}

/// Spans that may wait to be sent; further ones are dropped.
const QUEUE_SPANS: usize = 4_096;
/// Spans in one request.
const BATCH_SPANS: usize = 512;
const INTERVAL: Duration = Duration::from_secs(1);
/// Less than a stop waits for open connections.
const TIMEOUT: Duration = Duration::from_secs(3);
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_specification_writes_them() {
        let headers = headers_of("api-key=a%20b%3D, x=%zz").unwrap();
        assert_eq!(headers["api-key"], "a b=");
        assert_eq!(headers["x"], "%zz");
        assert!(headers_of("").unwrap().is_empty());
        assert!(headers_of("api-key").is_none() && headers_of("a b=c").is_none());
    }
}
