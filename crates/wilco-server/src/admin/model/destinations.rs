//! What the API says of destinations.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The destination that a path names.
#[derive(Clone, Debug, Deserialize, IntoParams)]
pub(crate) struct DestinationPath {
    /// The destination's name.
    pub(crate) name: String,
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
    /// When the earliest of those that wait is due, or was: a pause or an open circuit breaker keeps it waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub earliest_due_at: Option<Timestamp>,
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
