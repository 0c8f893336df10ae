//! The one place that asks what time it is.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use wilco_store::Clock;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// The system clock as the store uses it.
pub(crate) struct System {
    pub(crate) started: Instant,
}

impl Clock for System {
    fn now(&self) -> Timestamp {
        now()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
