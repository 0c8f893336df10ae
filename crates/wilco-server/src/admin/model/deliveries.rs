//! What the API says of the deliveries of an event, and how they are repeated or cancelled.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wilco::EventId;

use super::{EventIdText, PayloadState};

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
    /// What was sent, without secrets, and at most its first 4 KiB: an HTTP request or how a program was started. Empty
    /// if nothing was sent, or if that follows from the event.
    #[serde(default)]
    pub request: String,
    /// What the destination answered, or the output of a program.
    pub output: String,
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
    /// What has become of headers and body; without them it can never be delivered again.
    #[serde(default, skip_serializing_if = "PayloadState::is_kept")]
    pub payload: PayloadState,
    /// The destinations of the new deliveries, each once; empty if the event is damaged or its payload
    /// was removed, or no route takes it there now.
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

/// What a retry at once did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MadeDue {
    /// How many deliveries became due.
    pub made_due: usize,
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
