//! Which request is an event that is already recorded.

use jiff::Timestamp;
use std::time::Duration;
use wilco::{Digest, EventId, Origin};

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
    pub(crate) origin: Origin,
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

/// What is compared with it.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) has_delivery_id: bool,
    pub(crate) content: Content,
    pub(crate) received_at: Timestamp,
    pub(crate) origin: Origin,
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
        let request = Request {
            has_delivery_id: false,
            content: *content,
            received_at: *received_at,
            origin: Origin::Webhook,
        };
        let compare = |earlier| self.decide(request, earlier);
        match compare(copy_after.as_ref()) {
            DuplicateDecision::New => compare(latest_before.as_ref()),
            decided => decided,
        }
    }

    /// Compares a request with the earlier event that it could be a duplicate of.
    ///
    /// Only the *latest* event of a subject counts: after A and B, a second A is a change back and
    /// not a copy, however equal its bytes.
    pub(crate) fn decide(self, request: Request, earlier: Option<&Earlier>) -> DuplicateDecision {
        let Request { has_delivery_id, content, received_at, origin } = request;
        // A list of events has other bytes than the webhooks, and the same event is in it each time.
        if let Some(earlier) = earlier
            && has_delivery_id
            && (origin == Origin::Fetched || earlier.origin == Origin::Fetched)
        {
            return DuplicateDecision::DuplicateOf(earlier.event_id);
        }
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

    fn request(has_delivery_id: bool, body: &str, secs: i64) -> Request {
        let received_at = Timestamp::from_second(secs).unwrap();
        let content = Content::of(Digest::of(body.as_bytes()), "e");
        Request { has_delivery_id, content, received_at, origin: Origin::Webhook }
    }

    #[test]
    fn of_one_delivery_id_a_fetched_event_and_a_signed_one_are_the_same() {
        let rules = [Duplicates::Suppress { window: HOUR }, Duplicates::Keep];
        let pairs = [
            (Origin::Webhook, Origin::Fetched),
            (Origin::Fetched, Origin::Webhook),
            (Origin::Fetched, Origin::Redelivered),
            (Origin::Fetched, Origin::Fetched),
        ];
        for (rule, (first, second)) in rules.into_iter().flat_map(|r| pairs.map(|pair| (r, pair))) {
            let Request { received_at, content, .. } = request(true, "a", 0);
            let earlier = Earlier { event_id: ID, received_at, content, origin: first };
            let request = Request { origin: second, ..request(true, "b", 100_000) };
            let decision = rule.decide(request, Some(&earlier));
            assert_eq!(
                decision,
                DuplicateDecision::DuplicateOf(ID),
                "{rule:?} {first:?} {second:?}"
            );
        }
    }

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
                origin: Origin::Webhook,
            };
            let request = Request {
                content: Content::of(Digest::of(body.as_bytes()), name),
                ..request(has_id, body, age_secs)
            };
            let decision = rule.decide(request, Some(&earlier));
            assert_eq!(decision, *expected, "{rule:?} {has_id} {name} {body} {age_secs}");
        }
    }

    #[test]
    fn without_an_earlier_event_there_is_no_duplicate() {
        let rule = Duplicates::Suppress { window: HOUR };
        let decision = rule.decide(request(true, "a", 0), None);
        assert_eq!(decision, DuplicateDecision::New);
    }
}
