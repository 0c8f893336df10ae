//! What the API says of backfill.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The backfill of all sources that have had one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backfills {
    /// False if a round that was asked for still runs.
    pub done: bool,
    /// The sources, by name.
    pub sources: Vec<BackfillStatus>,
}

/// The backfill of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackfillStatus {
    /// The source.
    pub source: String,
    /// Up to when the provider was asked.
    #[schema(value_type = String, format = DateTime)]
    pub covered_through: Timestamp,
    /// Why the last round failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Since when all rounds have failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failing_since: Option<Timestamp>,
    /// The events that were taken in, all together.
    pub taken_in: u64,
    /// Deliveries that the provider was asked to send again, and that have not come yet.
    pub awaited: u64,
    /// Deliveries that were given up: the provider was asked twenty times, and they did not come.
    pub given_up: u64,
    /// When wilco did not run, newest first.
    pub gaps: Vec<Gap>,
}

/// A time in which wilco did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gap {
    /// The last sign that it ran.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// When it ran again.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// When the provider had been asked about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Timestamp>,
    /// The events that were taken in for it.
    pub taken_in: u64,
}

impl From<wilco_store::BackfillStatus> for BackfillStatus {
    fn from(status: wilco_store::BackfillStatus) -> Self {
        let wilco_store::BackfillStatus {
            source,
            covered_through,
            error,
            failing_since,
            taken_in,
            awaited,
            given_up,
            gaps,
        } = status;
        let gaps = gaps.into_iter().map(|gap| {
            let wilco_store::Gap { from, to, closed_at, taken_in } = gap;
            Gap { from, to, closed_at, taken_in }
        });
        Self {
            source,
            covered_through,
            error,
            failing_since,
            taken_in,
            awaited,
            given_up,
            gaps: gaps.collect(),
        }
    }
}
