//! What the API says of what happens.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};
use wilco::EventId;
use wilco_store::ChangeKind;

use super::{Delivery, EventIdText, EventSummary};

/// What to follow, and from where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct FollowChanges {
    /// Only events of this source, and their deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only events with this name, and their deliveries; a trailing `*` matches anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Only deliveries to this destination, and events with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Only messages of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<StreamedKind>,
    /// Begins behind the message with this id; `Last-Event-ID` takes precedence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Where to begin without `after` and `Last-Event-ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = StreamStart, inline, required = false)]
    pub from: Option<StreamStart>,
}

/// The kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamedKind {
    /// Events that were recorded.
    Events,
    /// Deliveries that changed.
    Deliveries,
}

/// Where a stream begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamStart {
    /// With what happens next.
    #[default]
    Now,
    /// With the oldest event.
    Beginning,
    /// With the first event that was received at this time or later.
    Time(Timestamp),
}

/// A delivery that was made, cancelled, superseded or replayed, or of which an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryChange {
    /// The event's id.
    #[schema(value_type = EventIdText)]
    pub event_id: EventId,
    /// The source that received the event.
    pub source: String,
    /// The event's name.
    pub event: String,
    /// The delivery as it is now.
    #[serde(flatten)]
    pub delivery: Delivery,
}

/// The data of a message; its field `event` says which of the two it is.
#[derive(ToSchema)]
#[schema(as = StreamedData)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum StreamedData {
    /// Of the message `event`: an event was recorded.
    #[schema(title = "event")]
    Event(EventSummary),
    /// Of the message `delivery`: a delivery changed.
    #[schema(title = "delivery")]
    Delivery(DeliveryChange),
}

impl From<StreamedKind> for ChangeKind {
    fn from(kind: StreamedKind) -> Self {
        match kind {
            StreamedKind::Events => Self::Event,
            StreamedKind::Deliveries => Self::Delivery,
        }
    }
}

impl From<wilco_store::DeliveryChange> for DeliveryChange {
    fn from(change: wilco_store::DeliveryChange) -> Self {
        let wilco_store::DeliveryChange { event_id, source, name, delivery } = change;
        Self { event_id, source, event: name, delivery: delivery.into() }
    }
}

impl fmt::Display for StreamStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Beginning => f.write_str("beginning"),
            Self::Time(time) => time.fmt(f),
        }
    }
}

impl FromStr for StreamStart {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "now" => Ok(Self::Now),
            "beginning" => Ok(Self::Beginning),
            time => time
                .parse()
                .map(Self::Time)
                .map_err(|_| "expected now, beginning or a time such as 2026-11-24T08:00:00Z"),
        }
    }
}

impl Serialize for StreamStart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamStart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl ToSchema for StreamStart {}

impl PartialSchema for StreamStart {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("`now`, `beginning`, or the time of receipt of the first event"))
            .default(Some("now".into()))
            .into()
    }
}
