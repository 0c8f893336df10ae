//! Lets TLS handshakes take turns.

use std::thread::available_parallelism;

use tokio::sync::{Semaphore, SemaphorePermit};

/// As many handshakes are computed at once as there are processors. Whoever accepts a connection waits for a turn as
/// well, so that no more are accepted than there is time for.
#[derive(Debug)]
pub(in crate::inbound) struct Handshakes(Semaphore);

impl Handshakes {
    pub(in crate::inbound) fn of_process() -> Self {
        Self(Semaphore::new(available_parallelism().map_or(1, usize::from)))
    }

    /// Waits for a turn, which takes until the value is dropped. They come in the order of the calls.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It fails only once the semaphore is closed, which nobody does.
        self.0.acquire().await.ok()
    }
}
