//! The clock that a store is given.

use std::time::Duration;

use jiff::Timestamp;

/// What a store asks for the time. The store alone decides when something is due, so callers give it
/// durations and never times of a clock of their own.
pub trait Clock: Send + Sync {
    /// The time of day. It may be set back or ahead at any moment.
    fn now(&self) -> Timestamp;

    /// The time since some moment before the store was opened. It only grows, whatever happens to the
    /// time of day, so leases are measured by it.
    fn elapsed(&self) -> Duration;
}
