//! The one place that reads the clock.

use jiff::Timestamp;

/// The current time in whole milliseconds, as the store keeps it, so that memory and disk agree.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
