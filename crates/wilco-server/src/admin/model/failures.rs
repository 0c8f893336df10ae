//! What the API says of failures, and how they are retried.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wilco::EventId;

use super::{EventIdText, PageItems, limit_from_text};

/// Which failures to list, and which part of the listing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListFailures {
    /// Only failures of this destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Where to continue: `next` of the page before, which had the same other parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The most items of a page.
    #[serde(default, deserialize_with = "limit_from_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = PageItems, inline, required = false)]
    pub limit: Option<usize>,
}

/// One part of a listing of failures: deliveries that are dead and were not replayed, or are tried again, in groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureGroupPage {
    /// The groups of this part, by destination and error.
    pub items: Vec<FailureGroup>,
    /// The cursor of the next page; `null` on the last one.
    #[schema(required)]
    pub next: Option<String>,
    /// Whether there may be more in these groups, or more groups of their destinations: at most 10,000 deliveries are
    /// looked at, the same number of each destination.
    pub at_least: bool,
}

/// Deliveries to one destination that failed with the same error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureGroup {
    /// The destination.
    pub destination: String,
    /// The error, with `N` for numbers and `ID` for ids; a status and an exit code are as they were.
    pub error: String,
    /// The error of the newest event, as it was.
    pub example_error: String,
    /// The newest event.
    #[schema(value_type = EventIdText)]
    pub example: EventId,
    /// Deliveries that were given up and not replayed.
    pub dead: u64,
    /// Deliveries that are tried again.
    pub retrying: u64,
    /// When the first of them failed: its last attempt.
    #[schema(value_type = String, format = DateTime)]
    pub first_at: Timestamp,
    /// When the last of them failed.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
}

/// Which dead deliveries to deliver again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryFailures {
    /// Those of this destination.
    pub destination: String,
    /// Only those of the group with this error.
    #[serde(default)]
    pub error: Option<String>,
    /// Only answers what would be delivered.
    #[serde(default)]
    pub dry_run: bool,
    /// The reason, in words; shown with each new delivery.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where to continue: `next` of the answer before.
    #[serde(default)]
    #[schema(value_type = Option<EventIdText>)]
    pub after: Option<EventId>,
}

/// What a retry did, with the oldest 500 events at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetriedFailures {
    /// Events that are delivered again.
    pub events: usize,
    /// How many new deliveries there are.
    pub deliveries: usize,
    /// Events that are not: no route takes them there now, or their record or payload is not there.
    pub left_out: usize,
    /// Where to continue; `null` if these were all.
    #[schema(required, value_type = Option<EventIdText>)]
    pub next: Option<EventId>,
}
