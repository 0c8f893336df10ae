//! What a person asks of the record, and what it answers.

use jiff::Timestamp;
use wilco::{Digest, Event, EventId, SourceName};

use crate::Delivery;

/// Which events to list: all of them but for what is set, and at most `limit`.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Only of this source.
    pub source: Option<String>,
    /// Only of this name; a trailing `*` stands for anything.
    pub name: Option<String>,
    /// Only received at or after this time.
    pub since: Option<Timestamp>,
    /// Only received before this time.
    pub until: Option<Timestamp>,
    /// Only with a delivery to this destination.
    pub destination: Option<String>,
    /// Only with a delivery that is dead and was not replayed; with a destination, that one's.
    pub is_dead: bool,
    /// Only recorded after this event, and then oldest first: for following along.
    pub after: Option<EventId>,
    /// Only recorded before this event: for the next page.
    pub before: Option<EventId>,
    /// At most so many.
    pub limit: usize,
}

/// An event in a listing: all but its headers and body.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its id.
    pub id: EventId,
    /// The source that it came to.
    pub source: SourceName,
    /// What happened.
    pub name: String,
    /// What it is about.
    pub subject: Option<String>,
    /// When it came.
    pub received_at: Timestamp,
    /// The size of its body, in bytes.
    pub bytes: u64,
    /// SHA-256 of its body.
    pub digest: Digest,
    /// The name of the secret that matched.
    pub secret: String,
    /// Whether it was held against the routes; with no deliveries it was skipped.
    pub is_routed: bool,
    /// Its record is not what was written. Of the other fields only what could be read is set.
    pub is_damaged: bool,
    /// Its deliveries, in the order in which they were made.
    pub deliveries: Vec<Delivery>,
}

/// One event, whole.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The event.
    pub event: Event,
    /// Whether it was held against the routes; with no deliveries it was skipped.
    pub is_routed: bool,
    /// Its deliveries, with the attempts of each.
    pub deliveries: Vec<Delivery>,
}
