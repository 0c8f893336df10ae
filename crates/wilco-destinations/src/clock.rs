//! The one place that asks what time it is.

use jiff::Timestamp;

/// Now, in whole milliseconds: what the store keeps, so that memory and disk agree.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
