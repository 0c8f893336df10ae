//! The one place that asks what time it is.

use jiff::Timestamp;
use wilco_store::Clock;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// The clock of this machine, for a store.
pub(crate) struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        now()
    }
}
