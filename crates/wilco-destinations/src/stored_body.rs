//! Reads bodies that are not in memory: on a thread for blocking work.

use std::io;

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};
use wilco::Body;
use wilco_store::Claim;

/// Some bytes of a body, from `start` on.
pub(crate) async fn read_at(body: &Body, start: usize) -> io::Result<Bytes> {
    match body.is_stored() {
        true => joined(begin_to_read_at(body, start).await),
        false => body.read_at(start),
    }
}

/// The same of a stored body for callers that cannot wait.
pub(crate) fn begin_to_read_at(body: &Body, start: usize) -> JoinHandle<io::Result<Bytes>> {
    let body = body.clone();
    spawn_blocking(move || body.read_at(start))
}

/// Runs what reads the body of a claim.
pub(crate) async fn while_reading<T: Send + 'static>(
    claim: &Claim,
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match claim.event().body.is_stored() {
        true => joined(spawn_blocking(read).await),
        false => read(),
    }
}

/// What a thread for blocking work has read, or its panic.
pub(crate) fn joined<T>(read: Result<io::Result<T>, tokio::task::JoinError>) -> io::Result<T> {
    read.unwrap_or_else(|error| Err(io::Error::other(error)))
}
