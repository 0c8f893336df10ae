//! Which request is an event that is already recorded.

use jiff::Timestamp;
use std::time::Duration;
use wilco::{Digest, EventId};

/// What is done about a request that comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// Recognise it, acknowledge it, and record nothing.
    Suppress {
        /// How long after an event a copy of it is recognised.
        window: Duration,
    },
    /// Record it as an event of its own.
    Keep,
}

/// An event that may be the first copy: of the same delivery id where the provider gives one, else
/// the latest about the same subject.
#[derive(Clone)]
pub(crate) struct Earlier {
    pub(crate) event_id: EventId,
    pub(crate) received_at: Timestamp,
    pub(crate) digest: Digest,
}

/// What a request is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DuplicateDecision {
    New,
    /// The provider gave this delivery id before, to another body.
    Conflict,
    DuplicateOf(EventId),
}

impl Duplicates {
    /// Compares a request with the earlier event that it could be a duplicate of.
    ///
    /// Only the *latest* event of a subject counts: after A and B, a second A is a change back and
    /// not a copy, however equal its bytes.
    pub(crate) fn decide(
        self,
        has_delivery_id: bool,
        digest: Digest,
        received_at: Timestamp,
        earlier: Option<&Earlier>,
    ) -> DuplicateDecision {
        let (Self::Suppress { window }, Some(earlier)) = (self, earlier) else {
            return DuplicateDecision::New;
        };
        let age = received_at.duration_since(earlier.received_at).unsigned_abs();
        match (earlier.digest == digest, age <= window) {
            (_, false) => DuplicateDecision::New,
            (true, true) => DuplicateDecision::DuplicateOf(earlier.event_id),
            (false, true) if has_delivery_id => DuplicateDecision::Conflict,
            (false, true) => DuplicateDecision::New,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const ID: EventId = EventId::from_bits(7);

    #[test]
    fn a_duplicate_has_the_same_body_within_the_window() {
        let suppress = Duplicates::Suppress { window: HOUR };
        let duplicate = DuplicateDecision::DuplicateOf(ID);
        for (rule, has_id, body, age_secs, expected) in [
            (suppress, false, "a", 0, &duplicate),
            (suppress, false, "a", 3_600, &duplicate),
            (suppress, false, "a", 3_601, &DuplicateDecision::New),
            (suppress, false, "b", 1, &DuplicateDecision::New),
            (suppress, true, "a", 1, &duplicate),
            (suppress, true, "b", 1, &DuplicateDecision::Conflict),
            (suppress, true, "b", 3_601, &DuplicateDecision::New),
            (suppress, false, "a", -30, &duplicate), // the clock was set back
            (Duplicates::Keep, false, "a", 0, &DuplicateDecision::New),
            (Duplicates::Keep, true, "b", 0, &DuplicateDecision::New),
        ] {
            let earlier = Earlier {
                event_id: ID,
                received_at: Timestamp::UNIX_EPOCH,
                digest: Digest::of(b"a"),
            };
            let now = Timestamp::from_second(age_secs).unwrap();
            let decision = rule.decide(has_id, Digest::of(body.as_bytes()), now, Some(&earlier));
            assert_eq!(decision, *expected, "{rule:?} {has_id} {body} {age_secs}");
        }
    }

    #[test]
    fn without_an_earlier_event_there_is_no_duplicate() {
        let rule = Duplicates::Suppress { window: HOUR };
        let decision = rule.decide(true, Digest::of(b"a"), Timestamp::UNIX_EPOCH, None);
        assert_eq!(decision, DuplicateDecision::New);
    }
}
