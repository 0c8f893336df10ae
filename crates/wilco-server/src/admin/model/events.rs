//! What the API says of events.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wilco::EventId;

use super::{Delivery, DeliveryState, EventIdText, PageItems, limit_from_text, time_from_text};

/// Which events to list, and which part of the listing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListEvents {
    /// Only events of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only events with this name; a trailing `*` matches anything, as in `booking.*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Only events received at or after this time.
    #[serde(default, deserialize_with = "time_from_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime, required = false)]
    pub since: Option<Timestamp>,
    /// Only events received before this time.
    #[serde(default, deserialize_with = "time_from_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime, required = false)]
    pub until: Option<Timestamp>,
    /// Only events with a delivery to this destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Only events about this; a trailing `*` matches anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Only events with this text in their name, subject or body, without regard to the case of ASCII letters, or
    /// with an id that begins with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Only events with a delivery in this state; `dead` means those that were not replayed. Without
    /// `destination`, an event that is not routed yet is `pending`, one that no route takes is `skipped`, and a
    /// damaged one that has no delivery is `dead`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<DeliveryState>,
    /// Only events recorded after this one, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = EventIdText, inline, required = false)]
    pub after: Option<EventId>,
    /// Where to continue: `next` of the page before, which had the same other parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The most items of a page.
    #[serde(default, deserialize_with = "limit_from_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = PageItems, inline, required = false)]
    pub limit: Option<usize>,
}

/// One part of a listing of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventSummaryPage {
    /// The events of this part.
    pub items: Vec<EventSummary>,
    /// The cursor of the next page; `null` on the last one.
    #[schema(required)]
    pub next: Option<String>,
    /// Up to when events were searched, if the page ended before it was full because few matched. The next page
    /// continues there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub searched_to: Option<Timestamp>,
}

/// The event that a path names.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
pub(crate) struct EventPath {
    /// The event's id.
    #[param(value_type = EventIdText, inline)]
    pub(crate) id: EventId,
}

/// An event in a listing: everything but its headers and body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventSummary {
    /// The event's id.
    #[schema(value_type = EventIdText)]
    pub id: EventId,
    /// The source that received it.
    pub source: String,
    /// The event's name.
    pub event: String,
    /// What the event is about: an id that the provider gave.
    #[schema(required)]
    pub subject: Option<String>,
    /// The name of the subject, where the body has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When the event was received.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// The length of the body, in bytes.
    pub bytes: u64,
    /// The SHA-256 digest of the body, in hexadecimal.
    pub sha256: String,
    /// The name of the secret that signed the event, or of the token with which it was fetched.
    pub secret_name: String,
    /// Whether the event is here only because the provider was asked for what never arrived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfilled: bool,
    /// Whether the event was read from the provider's list: no signature was checked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fetched: bool,
    /// Whether the event was matched with the routes; if it then has no deliveries, it was skipped.
    pub routed: bool,
    /// Whether the stored record differs from what was written. Only readable fields are set then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
    /// What has become of headers and body.
    #[serde(default, skip_serializing_if = "PayloadState::is_kept")]
    pub payload: PayloadState,
    /// The deliveries, oldest first.
    pub deliveries: Vec<Delivery>,
}

/// How many events match, by the state of their deliveries. An event counts once for each state that one of its
/// deliveries is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventCounts {
    /// All that match.
    pub all: EventCount,
    /// With a delivery that was not attempted yet, or not routed yet.
    pub pending: EventCount,
    /// With an attempt under way.
    pub running: EventCount,
    /// With a delivery that is attempted again.
    pub retrying: EventCount,
    /// With a delivery that arrived.
    pub delivered: EventCount,
    /// With a delivery that was given up and not replayed.
    pub dead: EventCount,
    /// With a delivery that no route takes there, or without any.
    pub skipped: EventCount,
    /// With a delivery that a later event of the same burst replaced.
    pub superseded: EventCount,
    /// With a delivery that a person cancelled.
    pub cancelled: EventCount,
}

/// A number of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventCount {
    /// How many were counted.
    pub count: u64,
    /// Whether there may be more: not all events were looked at.
    pub at_least: bool,
}

/// What has become of the headers and the body of an event. Missing while they are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PayloadState {
    /// They are there.
    #[default]
    Kept,
    /// They were removed because of their age.
    Pruned,
    /// They were erased by hand, and so was what the event is about.
    Erased,
}

impl PayloadState {
    /// Whether headers and body are there.
    pub fn is_kept(&self) -> bool {
        *self == Self::Kept
    }

    /// The word that users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Pruned => "pruned",
            Self::Erased => "erased",
        }
    }
}

/// One event with everything that is recorded of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventDetail {
    /// What a listing says of the event.
    #[serde(flatten)]
    pub summary: EventSummary,
    /// Who sent the event, the word in the configuration; absent if its headers and body were removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Whether the provider sent the same delivery id before, with another body.
    pub conflict: bool,
    /// The headers in the order received; those with credentials without their values.
    pub headers: Vec<Header>,
    /// The body, if it is text of at most 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body in Base64, if it is something else of at most 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

/// One header of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Header {
    /// The header's name.
    pub name: String,
    /// The header's value.
    pub value: String,
}
