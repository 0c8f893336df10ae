//! What is removed when.

use jiff::Timestamp;

use super::whole_millis;
use crate::{Retention, State};

/// Before which time things were recorded that are removed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cutoffs {
    /// `None` while they are kept forever.
    pub(crate) payloads: Option<Timestamp>,
    /// The same for records.
    pub(crate) records: Option<Timestamp>,
}

impl Cutoffs {
    pub(crate) fn at(now: Timestamp, Retention { payloads, records }: Retention) -> Self {
        let before = |age| now.saturating_sub(age).ok().map(whole_millis);
        let records = records.map(|age| age.max(payloads.unwrap_or(age)));
        Self { payloads: payloads.and_then(before), records: records.and_then(before) }
    }
}

/// Whether the payload of the event is still needed for a delivery: it is not at its end, or it can be
/// replayed.
pub(crate) fn needs_payload(state: State, is_replaced: bool) -> bool {
    match state {
        State::Pending | State::Running | State::Retrying => true,
        State::Dead => !is_replaced,
        State::Delivered | State::Skipped | State::Cancelled | State::Superseded => false,
    }
}

/// Whether the record of the event is still needed for a delivery: it is not at its end, or others wait for it
/// to be replayed.
pub(crate) fn needs_record(state: State, holds_key: bool) -> bool {
    match state {
        State::Pending | State::Running | State::Retrying => true,
        State::Dead => holds_key,
        State::Delivered | State::Skipped | State::Cancelled | State::Superseded => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn records_are_kept_at_least_as_long_as_payloads_and_forever_removes_nothing() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let secs = |secs| Some(Duration::from_secs(secs));
        let at = |secs| Some(Timestamp::from_second(secs).unwrap());
        for (payloads, records, expected) in [
            (secs(10), secs(20), (at(999_990), at(999_980))),
            (secs(20), secs(10), (at(999_980), at(999_980))),
            (None, secs(10), (None, at(999_990))),
            (secs(10), None, (at(999_990), None)),
            (None, None, (None, None)),
        ] {
            let Cutoffs { payloads, records } = Cutoffs::at(now, Retention { payloads, records });
            assert_eq!((payloads, records), expected);
        }
    }
}
