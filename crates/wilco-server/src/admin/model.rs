//! What the admin API takes and answers, as JSON. The command line reads the same types.

mod backfill;
mod explanation;
mod from_store;
mod probe;
mod rejections;

use std::{fmt::Display, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};
use wilco::EventId;

pub use backfill::{BackfillStatus, Backfills, Gap};
pub use explanation::{ExplainedChange, Explanation};
pub(crate) use probe::ProbePath;
pub use probe::{Probe, ProbeReport, ProbeRequest, ProbedBody, ProbedRequest};
pub(crate) use rejections::RejectionPath;
pub use rejections::{
    AcceptRequest, AcceptedRejection, ListRejections, RejectionDetail, RejectionReason,
    RejectionSummary,
};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Only events received before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Only events with a delivery to this destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Only events with a dead delivery that was not replayed; without `destination` also damaged
    /// events that have no delivery.
    #[serde(default, deserialize_with = "from_text")]
    pub dead: bool,
    /// Only events recorded after this one, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = EventIdText, inline, required = false)]
    pub after: Option<EventId>,
    /// Where to continue: `next` of the page before, which had the same other parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The items of a page.
    #[serde(default, deserialize_with = "limit_from_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = PageItems, inline, required = false)]
    pub limit: Option<usize>,
}

/// Which part of the destinations to list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListDestinations {
    /// Where to continue: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The items of a page.
    #[serde(default, deserialize_with = "limit_from_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = PageItems, inline, required = false)]
    pub limit: Option<usize>,
}

/// The event that a path names.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
pub(crate) struct EventPath {
    /// The event's id.
    #[param(value_type = EventIdText, inline)]
    pub(crate) id: EventId,
}

/// The destination that a path names.
#[derive(Clone, Debug, Deserialize, IntoParams)]
pub(crate) struct DestinationPath {
    /// The destination's name.
    pub(crate) name: String,
}

/// One part of a listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items of this part.
    pub items: Vec<T>,
    /// The cursor of the next page; `null` on the last one.
    pub next: Option<String>,
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
    /// The length of the body.
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
    /// The deliveries, oldest first.
    pub deliveries: Vec<Delivery>,
}

/// One event with everything that is recorded of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventDetail {
    /// What a listing says of the event.
    #[serde(flatten)]
    pub summary: EventSummary,
    /// Whether the provider sent the same delivery id before, with another body.
    pub conflict: bool,
    /// The headers in the order received; those with credentials without their values.
    pub headers: Vec<Header>,
    /// The body, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body in Base64, if it is not text.
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

/// One delivery of an event: the event on its way to one destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// The name of the destination.
    pub destination: String,
    /// The number of the item, from 0, if a route split the event; absent for the whole event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// The state of the delivery.
    pub state: DeliveryState,
    /// How many attempts began.
    pub attempts: u32,
    /// When the next attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    /// The order key: deliveries with the same key are made one after another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_key: Option<String>,
    /// Why the delivery was made, if not by a route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The event that was delivered instead; of a replayed dead delivery the event itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EventIdText>)]
    pub replaced_by: Option<EventId>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The attempts that ended; not in a listing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Attempt>,
}

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Not attempted yet.
    Pending,
    /// An attempt is under way.
    Running,
    /// An attempt failed, and another follows.
    Retrying,
    /// The destination has the event.
    Delivered,
    /// Given up.
    Dead,
    /// No route takes the event to the destination.
    Skipped,
    /// A later event of the same burst is delivered instead.
    Superseded,
    /// Cancelled by a person.
    Cancelled,
}

/// One attempt that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// How it ended.
    pub result: String,
    /// What the destination answered, or the output of a program.
    pub output: String,
}

/// How the routes decide about an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteDecisions {
    /// One decision for each route, in the order of the configuration.
    pub routes: Vec<RouteDecision>,
}

/// How one route decides about an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteDecision {
    /// The route's position in the configuration, from 1.
    pub route: usize,
    /// The destinations of the route.
    pub to: Vec<String>,
    /// Whether the route takes the event.
    pub takes: bool,
    /// Whether the condition of the route failed to run.
    pub failed: bool,
    /// The clause that decided; none if all of them accept the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clause: Option<RouteClause>,
    /// The reason, in words.
    pub why: String,
}

/// A clause of a route, by its key in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteClause {
    /// The source.
    From,
    /// The names of events.
    Events,
    /// The array whose items are deliveries of their own: there is none, or it is empty.
    Split,
    /// The condition.
    When,
}

/// Which events to deliver again, and where to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// The ids of the events.
    #[schema(value_type = Vec<EventIdText>, max_items = 500)]
    pub ids: Vec<EventId>,
    /// Only to this destination.
    #[serde(default)]
    pub destination: Option<String>,
    /// Only to destinations where the last delivery is dead.
    #[serde(default)]
    pub dead: bool,
    /// Only answers what would be delivered.
    #[serde(default)]
    pub dry_run: bool,
    /// The reason, in words; shown with each new delivery.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a replay did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// The events that were found, in the order of the request.
    pub events: Vec<ReplayedEvent>,
}

/// An event that is delivered again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayedEvent {
    /// The event's id.
    #[schema(value_type = EventIdText)]
    pub id: EventId,
    /// The event's name; `null` if the event is damaged.
    #[schema(required)]
    pub event: Option<String>,
    /// Whether the stored record differs from what was written, so that it can never be delivered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
    /// The destinations of the new deliveries, each once; empty if the event is damaged, or no route
    /// takes it there now.
    pub destinations: Vec<String>,
    /// How many new deliveries there are: of an event that a route splits, one for each item.
    pub deliveries: usize,
}

/// Which deliveries of an event to cancel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Only the delivery to this destination.
    #[serde(default)]
    pub destination: Option<String>,
}

/// What a cancellation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cancelled {
    /// How many deliveries were cancelled.
    pub cancelled: usize,
}

/// The status of a destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DestinationStatus {
    /// The destination's name.
    pub destination: String,
    /// The destination's type; `null` if the configuration no longer has the destination.
    #[serde(rename = "type")]
    #[schema(required)]
    pub kind: Option<String>,
    /// Whether a person paused it.
    pub paused: bool,
    /// Until when the circuit breaker is open, after too many failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub open_until: Option<Timestamp>,
    /// Until when nothing is sent because the destination asked for it (`retry-after`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub asked_until: Option<Timestamp>,
    /// How many attempts failed in a row.
    pub failures: u32,
    /// Deliveries that were not attempted yet.
    pub pending: u64,
    /// Deliveries with an attempt under way.
    pub running: u64,
    /// Deliveries that are attempted again.
    pub retrying: u64,
    /// Deliveries that were given up and not replayed.
    pub dead: u64,
}

/// The secrets of all sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Secrets {
    /// When wilco started; absent if it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// The secrets of the configuration, by source and name.
    pub secrets: Vec<SecretStatus>,
}

/// How often and when a secret matched, by its name. Requests that turned out to be duplicates count too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SecretStatus {
    /// The source that has the secret.
    pub source: String,
    /// The provider of the source.
    pub provider: String,
    /// The path of the source.
    pub path: String,
    /// The secret's name, such as `file:/etc/wilco/secret`.
    pub secret_name: String,
    /// Since when matches are counted: when wilco first had the secret in its configuration. Absent if that was
    /// not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// How many requests were signed with it.
    pub matches: u64,
    /// When the first of them was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_match: Option<Timestamp>,
    /// When the last of them was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_match: Option<Timestamp>,
    /// How many requests were signed with other secrets of the source after its last match, or since wilco has it.
    pub others_matched_since: u64,
}

impl DestinationStatus {
    /// Until when nothing is sent there, and why, in words.
    pub fn waits(&self, time: impl Fn(Timestamp) -> String) -> Option<String> {
        if let Some(until) = self.open_until {
            return Some(format!("circuit open until {}", time(until)));
        }
        let until = time(self.asked_until?);
        Some(format!("waits until {until} as its service asked (retry-after)"))
    }
}

impl DeliveryState {
    /// The word for the state, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Skipped => "skipped",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An event's id: `evt_` and a ULID.
#[derive(ToSchema)]
#[schema(as = EventId, value_type = String, pattern = "^evt_[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$")]
struct EventIdText(#[expect(dead_code, reason = "only its schema is used")] String);

/// The schema of `limit`.
struct PageItems;

impl ToSchema for PageItems {}

impl PartialSchema for PageItems {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(PAGE_ITEMS_MAX))
            .default(Some(PAGE_ITEMS.into()))
            .into()
    }
}

/// Reads a parameter of a query, which is always text.
fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn limit_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let limit = from_text(deserializer)?;
    match (1..=PAGE_ITEMS_MAX).contains(&limit) {
        true => Ok(Some(limit)),
        false => Err(D::Error::custom(format!("expected a number from 1 to {PAGE_ITEMS_MAX}"))),
    }
}

/// The items of a page, unless the request says otherwise.
pub(crate) const PAGE_ITEMS: usize = 50;
/// The most items of one page.
pub const PAGE_ITEMS_MAX: usize = 1_000;
