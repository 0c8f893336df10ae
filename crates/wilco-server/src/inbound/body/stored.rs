//! Reads large bodies from the disk, on threads where that delays nobody.

use std::sync::Arc;

use tokio::{sync::Semaphore, task::spawn_blocking};
use wilco::{Body, Digest, Envelope, EnvelopeError, Verified};
use wilco_store::{REJECTION_BODY_BYTES_MAX, StoreError};

use crate::{config, inbound::Refusal};

/// Which event a request is: of a large body this is read from the disk.
pub(in crate::inbound) async fn envelope(
    source: &Arc<config::Source>,
    verified: Verified,
) -> Result<(Verified, Result<Envelope, EnvelopeError>), Refusal> {
    if !verified.arrival().body.is_stored() {
        let envelope = source.provider.envelope(&verified);
        return Ok((verified, envelope));
    }
    let source = Arc::clone(source);
    let read =
        with_one_of(&READING, move || (source.provider.envelope(&verified), verified)).await?;
    match read {
        (Err(EnvelopeError::Unread(error)), _) => {
            Err(StoreError::Internal(format!("the body cannot be read: {error}")).into())
        }
        (envelope, verified) => Ok((verified, envelope)),
    }
}

/// The digest of a refused body, and what is kept of it in memory. `None` if it cannot be read.
pub(in crate::inbound) async fn read_rejected(
    body: Body,
    is_complete: bool,
) -> Option<(Digest, Body)> {
    if !body.is_stored() {
        return Some((Digest::of_body(&body).ok()?, body));
    }
    let bytes = if is_complete { body.len() } else { body.len().min(REJECTION_BODY_BYTES_MAX) };
    let read = with_one_of(&READING, move || {
        Some((Digest::of_body(&body).ok()?, body.part(0..bytes).ok()?))
    });
    let (digest, kept) = read.await.ok()??;
    Some((digest, kept.into()))
}

/// Runs what takes long, on one of these threads.
pub(super) async fn with_one_of<T: Send + 'static>(
    threads: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let stopped = |error: &dyn std::fmt::Display| StoreError::Internal(error.to_string());
    let permit = threads.acquire().await.map_err(|error| stopped(&error))?;
    let done = spawn_blocking(move || {
        // It ends with the work, and not with a caller who may stop waiting.
        let _permit = permit;
        work()
    });
    done.await.map_err(|error| stopped(&error))
}

/// Those that read a body after it has arrived.
static READING: Semaphore = Semaphore::const_new(BODIES_READ_MAX);
/// Large bodies that are read at a time, to find out which event they are.
const BODIES_READ_MAX: usize = 2;
