//! Responses that go on until the client leaves or wilco stops: how many there may be, and what ends them.

use std::sync::Arc;

use axum::http::StatusCode;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Problem;
use crate::metrics::Metrics;

/// The streams of the admin listener.
pub(crate) struct Streams {
    free: Arc<Semaphore>,
    stop: CancellationToken,
    open: Gauge,
    refused: Counter,
}

/// An open stream. It counts until it is dropped.
pub(crate) struct OpenStream {
    _place: OwnedSemaphorePermit,
    /// Ends it.
    pub(super) stop: CancellationToken,
    open: Gauge,
}

impl Streams {
    /// Streams that end when `stop` is cancelled.
    pub(crate) fn new(metrics: &Metrics, stop: CancellationToken) -> Self {
        Self {
            free: Arc::new(Semaphore::new(STREAMS_MAX)),
            stop,
            open: metrics.register("streams", "Open streams of the admin listener"),
            refused: metrics.counter(
                "streams_refused",
                "Streams of the admin listener refused because there were too many",
            ),
        }
    }

    /// Opens one, unless there are too many.
    pub(crate) fn open(&self) -> Result<OpenStream, Problem> {
        let Ok(place) = Arc::clone(&self.free).try_acquire_owned() else {
            self.refused.inc();
            let why = format!("{STREAMS_MAX} streams are open; close one, or try again later");
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why));
        };
        self.open.inc();
        Ok(OpenStream { _place: place, stop: self.stop.clone(), open: self.open.clone() })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// Streams at the same time, so that they leave most connections to others.
const STREAMS_MAX: usize = 32;
