//! Verifies large bodies without holding up the small ones.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};
use wilco::{Arrival, Refused, Verified, verify};

use crate::config;

/// To hash a megabyte takes milliseconds, in which a thread answers nobody else. So large bodies are
/// verified one at a time, in the order in which they became complete, on a thread for blocking work.
///
/// After one that was refused, the next waits for the time that its bytes take at
/// [`REFUSED_BYTES_PER_SEC_MAX`]. That is how a flood of large bodies with a wrong signature is slowed
/// down to what costs little, while signed ones follow each other at once.
#[derive(Debug)]
pub(super) struct LargeBodies {
    free_from: Mutex<Instant>,
}

impl LargeBodies {
    pub(super) fn new() -> Self {
        Self { free_from: Mutex::new(Instant::now()) }
    }

    /// As [`wilco::verify()`].
    pub(super) async fn verify(
        &self,
        source: Arc<config::Source>,
        arrival: Arrival,
    ) -> Result<Verified, Box<Refused>> {
        let bytes = arrival.body.len();
        let mut free_from = self.free_from.lock().await;
        sleep_until(*free_from).await;
        // Before it is known to be refused: the request may be given up meanwhile.
        *free_from = Instant::now() + time_of_refused(bytes);
        let verifying = spawn_blocking(move || {
            verify(&source.provider.scheme, &source.name, &source.keys, arrival)
        });
        let verified = match verifying.await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(verified) => verified,
            Err(Ok(panic)) => resume_unwind(panic),
            // Cancelled: the runtime is shut down, and this task with it.
            Err(Err(_)) => std::future::pending().await,
        };
        if verified.is_ok() {
            *free_from = Instant::now();
        }
        verified
    }
}

fn time_of_refused(bytes: usize) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    Duration::from_micros(bytes.saturating_mul(1_000_000) / REFUSED_BYTES_PER_SEC_MAX)
}

/// How many bytes of refused large bodies are verified in a second.
const REFUSED_BYTES_PER_SEC_MAX: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_after_a_refused_body_grows_with_it() {
        for (bytes, millis) in [(1 << 20, 31), (32 << 20, 1_000), (0, 0)] {
            assert_eq!(time_of_refused(bytes).as_millis(), millis, "{bytes}");
        }
    }
}
