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
    pub(crate) content: Content,
}

/// What a request says, as far as it is compared with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    digest: Digest,
    /// CRC-32 of the event's name, which may be in a header.
    name: u32,
}

impl Content {
    pub(crate) fn of(digest: Digest, name: &str) -> Self {
        Self { digest, name: crc32fast::hash(name.as_bytes()) }
    }

    /// Whether a request is the same as an earlier one. A delivery id says already which event it is.
    fn is_same(self, other: Self, has_delivery_id: bool) -> bool {
        self.digest == other.digest && (has_delivery_id || self.name == other.name)
    }
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DuplicateDecision {
    New,
    /// The provider gave this delivery id before, to another body.
    Conflict,
    DuplicateOf(EventId),
}

/// The events about the subject of a request that was received in the past, when it was received and since.
#[derive(Clone)]
pub(crate) struct Surroundings {
    received_at: Timestamp,
    content: Content,
    latest_before: Option<Earlier>,
    copy_after: Option<Earlier>,
}

impl Surroundings {
    pub(crate) fn of(received_at: Timestamp, content: Content) -> Self {
        Self { received_at, content, latest_before: None, copy_after: None }
    }

    /// Takes in an event about the subject. Of two that were received at the same time, the second counts.
    pub(crate) fn add(&mut self, event: Earlier) {
        if event.received_at > self.received_at {
            if event.content == self.content && self.copy_after.is_none() {
                self.copy_after = Some(event);
            }
        } else if self.latest_before.as_ref().is_none_or(|b| b.received_at <= event.received_at) {
            self.latest_before = Some(event);
        }
    }
}

impl Duplicates {
    /// Compares a request without a delivery id that was received in the past.
    pub(crate) fn decide_among(self, around: &Surroundings) -> DuplicateDecision {
        let Surroundings { received_at, content, latest_before, copy_after } = around;
        let compare = |earlier| self.decide(false, *content, *received_at, earlier);
        match compare(copy_after.as_ref()) {
            DuplicateDecision::New => compare(latest_before.as_ref()),
            decided => decided,
        }
    }

    /// Compares a request with the earlier event that it could be a duplicate of.
    ///
    /// Only the *latest* event of a subject counts: after A and B, a second A is a change back and
    /// not a copy, however equal its bytes.
    pub(crate) fn decide(
        self,
        has_delivery_id: bool,
        content: Content,
        received_at: Timestamp,
        earlier: Option<&Earlier>,
    ) -> DuplicateDecision {
        let (Self::Suppress { window }, Some(earlier)) = (self, earlier) else {
            return DuplicateDecision::New;
        };
        let age = received_at.duration_since(earlier.received_at).unsigned_abs();
        match (content.is_same(earlier.content, has_delivery_id), age <= window) {
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
        for (rule, has_id, (name, body), age_secs, expected) in [
            (suppress, false, ("e", "a"), 0, &duplicate),
            (suppress, false, ("e", "a"), 3_600, &duplicate),
            (suppress, false, ("e", "a"), 3_601, &DuplicateDecision::New),
            (suppress, false, ("e", "b"), 1, &DuplicateDecision::New),
            (suppress, true, ("e", "a"), 1, &duplicate),
            (suppress, true, ("e", "b"), 1, &DuplicateDecision::Conflict),
            (suppress, true, ("e", "b"), 3_601, &DuplicateDecision::New),
            (suppress, false, ("e", "a"), -30, &duplicate), // the clock was set back
            (suppress, false, ("f", "a"), 1, &DuplicateDecision::New), // the name is in a header
            (suppress, true, ("f", "a"), 1, &duplicate),
            (Duplicates::Keep, false, ("e", "a"), 0, &DuplicateDecision::New),
            (Duplicates::Keep, true, ("e", "b"), 0, &DuplicateDecision::New),
        ] {
            let earlier = Earlier {
                event_id: ID,
                received_at: Timestamp::UNIX_EPOCH,
                content: Content::of(Digest::of(b"a"), "e"),
            };
            let now = Timestamp::from_second(age_secs).unwrap();
            let content = Content::of(Digest::of(body.as_bytes()), name);
            let decision = rule.decide(has_id, content, now, Some(&earlier));
            assert_eq!(decision, *expected, "{rule:?} {has_id} {name} {body} {age_secs}");
        }
    }

    #[test]
    fn without_an_earlier_event_there_is_no_duplicate() {
        let rule = Duplicates::Suppress { window: HOUR };
        let decision =
            rule.decide(true, Content::of(Digest::of(b"a"), "e"), Timestamp::UNIX_EPOCH, None);
        assert_eq!(decision, DuplicateDecision::New);
    }
}
