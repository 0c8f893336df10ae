//! The one place that reads the clock. Everything else gets the time as an argument.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;
use wilco_store::Clock;

pub use wilco_destinations::now;

/// The system clock as the store uses it.
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
