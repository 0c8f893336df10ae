//! What a person asks of the record, and what it answers.

use jiff::Timestamp;
use serde_json::Value;
use wilco::{Body, Digest, Event, EventId, Origin, SourceName};

use crate::{Delivery, State};

/// Which events to list: all of them, narrowed by what is set, and at most `limit`.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Only of this source.
    pub source: Option<String>,
    /// Only of this name; a trailing `*` matches anything.
    pub name: Option<String>,
    /// Only received at or after this time.
    pub since: Option<Timestamp>,
    /// Only received before this time.
    pub until: Option<Timestamp>,
    /// Only with a delivery to this destination.
    pub destination: Option<String>,
    /// Only about this; a trailing `*` matches anything.
    pub subject: Option<String>,
    /// Only with this text in its name, subject or body, or with an id that begins with it.
    pub search: Option<String>,
    /// Only with a delivery in this state, and with a destination, that one's. Of the dead only those that were
    /// not replayed. Without a destination, what is not routed yet is pending, what no route takes is skipped, and
    /// what is damaged and has no delivery at all is dead.
    pub state: Option<State>,
    /// Only recorded after this event, and then oldest first: for following along.
    pub after: Option<EventId>,
    /// Only recorded before this event: for the next page.
    pub before: Option<EventId>,
    /// At most this many.
    pub limit: usize,
}

/// Events that were listed.
#[derive(Clone, Debug, Default)]
pub struct EventList {
    /// The events, in the order of the query.
    pub events: Vec<EventSummary>,
    /// The place behind which the listing follows on; `None` if nothing is left to look through. It may end before
    /// `limit` events were found: [`LISTING_BYTES_MAX`], [`SCANNED_EVENTS_MAX`], [`SCANNED_BYTES_MAX`].
    pub rest: Option<EventId>,
}

/// How many events match a query, by the state of their deliveries. An event counts once for each state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// All that match.
    pub all: EventCount,
    /// By state, in the order of [`State::ALL`].
    pub by_state: [EventCount; State::ALL.len()],
}

/// A number of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCount {
    /// How many were counted.
    pub events: u64,
    /// Whether there may be more, because not all were looked at.
    pub is_at_least: bool,
}

impl EventCounts {
    /// The events in a state.
    pub fn of(&self, state: State) -> EventCount {
        self.by_state[state.index()]
    }

    pub(crate) fn of_mut(&mut self, state: State) -> &mut EventCount {
        &mut self.by_state[state.index()]
    }
}

/// An event in a listing: all but its headers and body.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSummary {
    /// Its id.
    pub id: EventId,
    /// The source that it came to.
    pub source: SourceName,
    /// What happened.
    pub name: String,
    /// What it is about.
    pub subject: Option<String>,
    /// What people call that, where the body says so: see [`title`].
    pub title: Option<String>,
    /// When it came.
    pub received_at: Timestamp,
    /// The size of its body, in bytes.
    pub bytes: u64,
    /// SHA-256 of its body.
    pub digest: Digest,
    /// The name of the secret that matched, or of the token with which it was fetched.
    pub secret_name: String,
    /// How it got here.
    pub origin: Origin,
    /// Whether it was routed; with no deliveries it was skipped.
    pub is_routed: bool,
    /// The provider gave its delivery id before, to another body.
    pub is_conflict: bool,
    /// Its record is not what was written. Of the other fields only what could be read is set.
    pub is_damaged: bool,
    /// Whether its headers and body are there.
    pub payload: PayloadState,
    /// Its deliveries, in the order in which they were made.
    pub deliveries: Vec<Delivery>,
}

/// What has become of the headers and the body of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadState {
    /// They are there.
    #[default]
    Kept,
    /// They were removed because of their age.
    Pruned,
    /// A person had them removed.
    Erased,
}

impl EventSummary {
    /// About how much memory it takes, in bytes.
    pub(crate) fn listed_bytes(&self) -> usize {
        let deliveries = self.deliveries.iter().map(Delivery::listed_bytes).sum::<usize>();
        let optional = [&self.subject, &self.title];
        let optional = optional.into_iter().flatten().map(String::len).sum::<usize>();
        size_of::<Self>() + self.name.len() + self.secret_name.len() + optional + deliveries
    }
}

/// Whether a listing ends with these events, whether or not there are more: they take
/// [`LISTING_BYTES_MAX`] or more, because an event that was split has many deliveries.
pub(crate) fn is_full(listed: &[EventSummary]) -> bool {
    listed.iter().map(EventSummary::listed_bytes).sum::<usize>() >= LISTING_BYTES_MAX
}

/// One event, whole.
#[derive(Clone, Debug)]
pub struct EventDetail {
    /// The event.
    pub event: Event,
    /// Whether it was routed; with no deliveries it was skipped.
    pub is_routed: bool,
    /// Its deliveries, with the attempts of each.
    pub deliveries: Vec<Delivery>,
}

/// How often and when a secret matched, by its name: requests that were recorded or recognised as duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretMatches {
    /// The source that it belongs to.
    pub source: String,
    /// Its name.
    pub secret_name: String,
    /// When it was first configured. Its matches are counted since then.
    pub since: Timestamp,
    /// How many requests it signed.
    pub matches: u64,
    /// When the first of them was received.
    pub first_at: Option<Timestamp>,
    /// When the last of them was received.
    pub last_at: Option<Timestamp>,
    /// How often other secrets of the source matched after its last match, or since it was first configured.
    pub others_since: u64,
}

/// What people call the thing that an event is about: `data.name`, `data.title`, `data.subject` or
/// `data.storage.name` of the body, the first of them that is a text. `None` where there is none, or
/// the body has more than 64 KiB.
pub fn title(body: &Body) -> Option<String> {
    let body = body.contiguous(TITLE_BODY_BYTES_MAX).ok()?;
    let body: Value = serde_json::from_slice(&body).ok()?;
    let names = ["/data/name", "/data/title", "/data/subject", "/data/storage/name"];
    let name = names.into_iter().find_map(|name| body.pointer(name)?.as_str())?.trim();
    (!name.is_empty()).then(|| name.chars().take(TITLE_CHARS_MAX).collect())
}

/// Bytes of the events in one listing, after which it ends with the event that reached them.
pub const LISTING_BYTES_MAX: usize = 4 << 20;

/// Events that one listing looks through, whether or not they match.
pub const SCANNED_EVENTS_MAX: usize = 100_000;

/// Bytes of bodies that one listing searches, and after which it ends.
pub const SCANNED_BYTES_MAX: usize = 32 << 20;

/// The newest events among which those that match are counted by state.
pub const COUNTED_EVENTS_MAX: usize = 10_000;

/// A larger body is not read for a listing.
pub(crate) const TITLE_BODY_BYTES_MAX: usize = 64 << 10;
const TITLE_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_the_name_in_the_body() {
        let long = format!(r#"{{"data":{{"name":"{}"}}}}"#, "x".repeat(TITLE_BODY_BYTES_MAX));
        for (body, expected) in [
            (r#"{"data":{"name":"Viewing","title":"x"}}"#, Some("Viewing")),
            (r#"{"data":{"name":null,"subject":"Offer"}}"#, Some("Offer")),
            (r#"{"data":{"storage":{"name":"nas-1"}}}"#, Some("nas-1")),
            (r#"{"data":{"name":7,"title":"Größe"}}"#, Some("Größe")),
            (r#"{"data":{"name":" "}}"#, None),
            (r#"{"data":[]}"#, None),
            (r#"{"data":{}}"#, None),
            ("{}", None),
            ("not JSON", None),
            (&long, None),
        ] {
            assert_eq!(title(&body.as_bytes().to_vec().into()).as_deref(), expected, "{body:.60}");
        }
    }
}
