//! How many deliveries are unfinished. Counting looks at each of them, so once they are many, a count serves for a while.

use std::time::Duration;

use tokio::sync::Mutex;

use super::{SqliteStore, unfinished};
use crate::{State, StoreError};

type Counts = Vec<(String, State, u64)>;

/// The last count, if there were many.
#[derive(Default)]
pub(super) struct UnfinishedCount(Mutex<Option<Counted>>);

struct Counted {
    counts: Counts,
    /// Until when it serves, by the clock of the store.
    until: Duration,
}

impl SqliteStore {
    pub(super) async fn count_unfinished(&self) -> Result<Counts, StoreError> {
        // Whoever asks while it is counted waits for the same count.
        let mut last = self.unfinished.0.lock().await;
        let begun = self.clock.elapsed();
        if let Some(Counted { counts, .. }) = last.as_ref().filter(|counted| begun < counted.until)
        {
            return Ok(counts.clone());
        }
        let counts = self.query_readers.read(unfinished).await?;
        let deliveries: u64 = counts.iter().map(|(.., deliveries)| deliveries).sum();
        *last = (deliveries > self.limits.counted_each_time).then(|| {
            let counted = self.clock.elapsed();
            let served = ((counted - begun) * SERVED_FACTOR).max(SERVED_MIN);
            Counted { counts: counts.clone(), until: counted + served }
        });
        Ok(counts)
    }
}

/// How long a count serves: this many times as long as it took, so that counting takes a twentieth of the time.
const SERVED_FACTOR: u32 = 20;
const SERVED_MIN: Duration = Duration::from_secs(1);
