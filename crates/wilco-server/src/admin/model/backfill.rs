//! What the API says of backfill.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{PageItems, limit_from_text};

/// Which gaps to list, and which part of the listing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListGaps {
    /// Only gaps of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where to continue: `next` of the page before, which had the same other parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The most items of a page.
    #[serde(default, deserialize_with = "limit_from_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = PageItems, inline, required = false)]
    pub limit: Option<usize>,
}

/// A round of backfill: all providers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackfillRound {
    /// Whether it has ended; `false` if it takes longer than 20 seconds, and goes on.
    pub done: bool,
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
}

/// A time in which wilco did not run, for one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gap {
    /// The source.
    pub source: String,
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
        } = status;
        Self { source, covered_through, error, failing_since, taken_in, awaited, given_up }
    }
}

impl From<wilco_store::Gap> for Gap {
    fn from(gap: wilco_store::Gap) -> Self {
        let wilco_store::Gap { number: _, source, from, to, closed_at, taken_in } = gap;
        Self { source, from, to, closed_at, taken_in }
    }
}
