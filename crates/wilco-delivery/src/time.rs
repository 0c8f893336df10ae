//! Sums of times, which end at the bounds of what a time can be instead of failing.

use std::time::Duration;

use jiff::Timestamp;

/// The time `by` after another.
pub(crate) fn later(from: Timestamp, by: Duration) -> Timestamp {
    from.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The time `by` before another.
pub(crate) fn earlier(from: Timestamp, by: Duration) -> Timestamp {
    from.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// How long it is until a time; zero if that is past.
pub(crate) fn until(time: Timestamp, now: Timestamp) -> Duration {
    time.duration_since(now).try_into().unwrap_or_default()
}
