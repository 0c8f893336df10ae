//! The decisions of a store, as pure functions that all backends share. A backend only finds rows and
//! writes them.
//!
//! Times come out in whole milliseconds, which is what a store keeps.

mod duplicates;
mod retention;

use std::time::Duration;

use jiff::Timestamp;

use crate::{Attempt, Burst, Outcome, State, Target};
pub use duplicates::Duplicates;
pub(crate) use duplicates::{Content, DuplicateDecision, Earlier, Request, Surroundings};
pub(crate) use retention::{Cutoffs, needs_payload, needs_record};

/// The state of a new delivery when it has joined the burst and the order key of its target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    /// When its burst began and when that is over, as far as is known.
    pub(crate) burst: Option<BurstTimes>,
    /// Its place in its order key.
    pub(crate) role: Option<KeyRole>,
    /// `None` while it is held.
    pub(crate) due_at: Option<Timestamp>,
}

/// When a burst began, and when it is over if nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BurstTimes {
    pub(crate) began: Timestamp,
    pub(crate) over_at: Timestamp,
}

/// What a delivery is among those of its destination with the same order key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRole {
    /// The others of its key wait for it.
    Head,
    /// It waits for the head, without a time.
    Held,
}

impl KeyRole {
    /// The word that a store holds.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Held => "held",
        }
    }
}

/// Has a new delivery join its burst and its order key. `burst_began` is when the burst began whose
/// last one it supersedes; `has_head` says whether another delivery is the head of its key.
pub(crate) fn join(
    target: &Target,
    burst_began: Option<Timestamp>,
    has_head: bool,
    now: Timestamp,
) -> Joined {
    let burst = target.burst.as_ref().map(|burst| extend_burst(burst, burst_began, now));
    let role = target.order_key.as_ref().map(|_| match has_head {
        true => KeyRole::Held,
        false => KeyRole::Head,
    });
    let is_held = role == Some(KeyRole::Held);
    let due_at = (!is_held).then(|| start_of(burst.map(|burst| burst.over_at), now));
    Joined { burst, role, due_at }
}

/// When a delivery falls due that nothing holds any more: now, but not before its burst is over.
pub(crate) fn start_of(over_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
    whole_millis(over_at.map_or(now, |over_at| over_at.max(now)))
}

/// A burst is over when nothing came for a while, and at the latest some time after its beginning.
fn extend_burst(burst: &Burst, began: Option<Timestamp>, now: Timestamp) -> BurstTimes {
    // A beginning that lies ahead was written by a clock that has been set back since.
    let began = began.unwrap_or(now).min(now);
    let over_at = later(now, burst.quiet).min(later(began, burst.at_most));
    BurstTimes { began: whole_millis(began), over_at: whole_millis(over_at) }
}

/// What an attempt makes of its delivery.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settlement<'a> {
    pub(crate) state: State,
    /// When it is tried again, if it is.
    pub(crate) due_at: Option<Timestamp>,
    /// All its waits together.
    pub(crate) waited: Duration,
    /// How the attempt ended, where it failed.
    pub(crate) error: Option<&'a str>,
    /// Whether the next of its order key may begin.
    pub(crate) leaves_key: bool,
}

/// What follows for a delivery that has `waited` so far.
pub(crate) fn settle<'a>(
    outcome: &Outcome,
    attempt: &'a Attempt,
    waited: Duration,
    now: Timestamp,
) -> Settlement<'a> {
    let error = Some(attempt.result.as_str());
    let ended = |state, error, leaves_key| {
        let waited = Duration::from_millis(in_millis(waited));
        Settlement { state, due_at: None, waited, error, leaves_key }
    };
    match *outcome {
        Outcome::Delivered => ended(State::Delivered, None, true),
        Outcome::Skipped => ended(State::Skipped, None, true),
        Outcome::Dead { holds_key } => ended(State::Dead, error, !holds_key),
        Outcome::Retry { after, waited } => Settlement {
            state: State::Retrying,
            due_at: Some(whole_millis(later(now, after))),
            waited: Duration::from_millis(in_millis(waited)),
            error,
            leaves_key: false,
        },
    }
}

/// The latest time at which a delivery may be due: a later one was written by a clock that has been set
/// back since.
pub(crate) fn latest_due(now: Timestamp, longest_wait: Duration) -> Timestamp {
    whole_millis(later(now, longest_wait))
}

/// How many bodies of these sizes are given at once: as many as have no more than `bytes_max` together, and
/// at least one.
pub(crate) fn within_bytes(sizes: impl IntoIterator<Item = usize>, bytes_max: usize) -> usize {
    let mut bytes = 0_usize;
    let fits = |(index, size): &(usize, usize)| {
        bytes = bytes.saturating_add(*size);
        *index == 0 || bytes <= bytes_max
    };
    sizes.into_iter().enumerate().take_while(fits).count()
}

/// When a lease that begins now ends, by the time that only grows.
pub(crate) fn lease_end(elapsed: Duration, lease: Duration) -> Duration {
    elapsed.saturating_add(lease)
}

/// Whether an alert is recorded whose key was last recorded at `last`.
pub(crate) fn is_alert_due(last: Option<Timestamp>, every: Duration, now: Timestamp) -> bool {
    // A last time that lies ahead was written by a clock that has been set back since.
    last.is_none_or(|last| now < last || now >= later(last, every))
}

/// How long it is until a time, none where it has come.
pub(crate) fn wait_until(time: Timestamp, now: Timestamp) -> Duration {
    time.duration_since(now).try_into().unwrap_or_default()
}

/// The time `by` after another, or the latest that there is.
pub(crate) fn later(from: Timestamp, by: Duration) -> Timestamp {
    from.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// A time as it is kept.
pub(crate) fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(LATEST)
}

/// A duration in milliseconds, as far as a store counts.
fn in_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(MILLIS_MAX).min(MILLIS_MAX)
}

/// The error of an attempt whose lease ended before it was settled.
pub(crate) const LEASE_ENDED: &str = "the attempt did not end before its lease";

/// The error of an attempt that was running when the process ended.
pub(crate) const INTERRUPTED: &str = "wilco stopped during the attempt";

/// The latest time that can be made from milliseconds, and so be read again.
const LATEST: Timestamp = Timestamp::constant(253_402_207_200, 0);
/// A store counts in 63 bits.
const MILLIS_MAX: u64 = u64::MAX >> 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    #[test]
    fn a_burst_ends_after_a_quiet_time_or_at_its_longest_time() {
        for (began, now, quiet, at_most, expected) in [
            (None, 100, 10, 60, (100, 110)),
            (Some(90), 100, 10, 60, (90, 110)),
            (Some(50), 100, 10, 60, (50, 110)),
            (Some(45), 100, 10, 60, (45, 105)),
            (Some(30), 100, 10, 60, (30, 90)), // it is over already
            (None, 100, 10, 5, (100, 105)),
            (Some(500), 100, 10, 60, (100, 110)), // the clock was set back
        ] {
            let [quiet, at_most] = [quiet, at_most].map(Duration::from_secs);
            let burst = Burst { key: "k".into(), quiet, at_most };
            let times = extend_burst(&burst, began.map(at), at(now));
            let expected = BurstTimes { began: at(expected.0), over_at: at(expected.1) };
            assert_eq!(times, expected, "{began:?} {now} {burst:?}");
        }
    }

    #[test]
    fn an_endless_burst_ends_at_the_last_time_that_a_store_can_represent() {
        let burst = Burst { key: "k".into(), quiet: Duration::MAX, at_most: Duration::MAX };
        let BurstTimes { over_at, .. } = extend_burst(&burst, None, at(0));
        assert_eq!(Timestamp::from_millisecond(over_at.as_millisecond()).unwrap(), over_at);
        assert!(over_at > at(200_000_000_000), "{over_at}");
    }

    #[test]
    fn a_new_delivery_is_due_at_the_end_of_its_burst_unless_another_of_its_key_comes_first() {
        let burst = || Burst {
            key: "k".into(),
            quiet: Duration::from_secs(10),
            at_most: Duration::from_secs(60),
        };
        for (has_burst, burst_began, order_key, has_head, role, due_at) in [
            (false, None, None, false, None, Some(100)),
            (true, None, None, false, None, Some(110)),
            (true, Some(45), None, false, None, Some(105)),
            (true, Some(30), None, false, None, Some(100)), // not in the past
            (false, None, Some("a"), false, Some(KeyRole::Head), Some(100)),
            (false, None, Some("a"), true, Some(KeyRole::Held), None),
            (true, None, Some("a"), false, Some(KeyRole::Head), Some(110)),
            (true, None, Some("a"), true, Some(KeyRole::Held), None),
        ] {
            let target = Target {
                burst: has_burst.then(burst),
                order_key: order_key.map(Into::into),
                ..Target::to("crm")
            };
            let joined = join(&target, burst_began.map(at), has_head, at(100));
            let found = (joined.role, joined.due_at, joined.burst.is_some());
            assert_eq!(found, (role, due_at.map(at), has_burst), "{target:?} {has_head}");
        }
    }

    #[test]
    fn each_outcome_puts_a_delivery_into_its_state() {
        let attempt = Attempt {
            started_at: at(0),
            took: Duration::from_secs(1),
            result: "exit 1".into(),
            request: String::new(),
            output: Vec::new(),
        };
        let retry = Outcome::Retry {
            after: Duration::from_micros(9_001_500),
            waited: Duration::from_micros(9_900),
        };
        let due_at = "1970-01-01T00:00:09.001Z".parse().unwrap();
        let failed = Some("exit 1");
        for (outcome, state, due_at, waited_ms, error, leaves_key) in [
            (Outcome::Delivered, State::Delivered, None, 4, None, true),
            (Outcome::Skipped, State::Skipped, None, 4, None, true),
            (Outcome::Dead { holds_key: false }, State::Dead, None, 4, failed, true),
            (Outcome::Dead { holds_key: true }, State::Dead, None, 4, failed, false),
            (retry, State::Retrying, Some(due_at), 9, failed, false),
        ] {
            let waited = Duration::from_millis(waited_ms);
            let expected = Settlement { state, due_at, waited, error, leaves_key };
            let settlement = settle(&outcome, &attempt, Duration::from_millis(4), at(0));
            assert_eq!(settlement, expected, "{outcome:?}");
        }
    }

    #[test]
    fn an_alert_is_due_again_after_its_time_and_when_the_clock_was_set_back() {
        let every = Duration::from_secs(60);
        for (last, now, expected) in [
            (None, 100, true),
            (Some(100), 100, false),
            (Some(100), 159, false),
            (Some(100), 160, true),
            (Some(101), 100, true),
        ] {
            assert_eq!(is_alert_due(last.map(at), every, at(now)), expected, "{last:?} {now}");
        }
        assert!(!is_alert_due(Some(at(0)), Duration::MAX, at(200_000_000_000)));
    }
}
