//! The one place that asks what time it is. Everything else is told.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;
use wilco_store::Clock;

/// Now, in whole milliseconds: what the store keeps, so that memory and disk agree.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// The clock of this machine, for a store.
pub fn system() -> Arc<dyn Clock> {
    Arc::new(System { started: Instant::now() })
}

struct System {
    started: Instant,
}

impl Clock for System {
    fn now(&self) -> Timestamp {
        now()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
