//! What the admin API takes and answers, as JSON. The command line reads the same types.

mod audit;
mod backfill;
mod deliveries;
mod destinations;
mod erasure;
mod events;
mod explanation;
mod failures;
mod from_store;
mod overview;
mod probe;
mod rejections;
mod routes;
mod secrets;
mod sessions;
mod sources;
mod stream;

use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

pub use audit::AuditEntry;
pub use backfill::{BackfillRound, BackfillStatus, Gap, ListGaps};
pub use deliveries::{
    Attempt, CancelRequest, Cancelled, Delivery, DeliveryState, MadeDue, ReplayRequest, Replayed,
    ReplayedEvent,
};
pub(crate) use destinations::DestinationPath;
pub use destinations::DestinationStatus;
pub use erasure::{
    EraseRequest, Erased, ErasedEvent, ErasureOutcome, KeptFor, Reached, StoreContents, ValueAt,
};
pub(crate) use events::EventPath;
pub use events::{
    EventCount, EventCounts, EventDetail, EventSummary, EventSummaryPage, Header, ListEvents,
    PayloadState,
};
pub use explanation::{ExplainedChange, Explanation};
pub use failures::{FailureGroup, FailureGroupPage, ListFailures, RetriedFailures, RetryFailures};
pub use overview::{Activity, Latency, Overview, SourceStatus, StoreUsage};
pub(crate) use probe::ProbePath;
pub use probe::{Probe, ProbeRequest, ProbedBody, ProbedRequest};
pub(crate) use rejections::RejectionPath;
pub use rejections::{
    AcceptRequest, AcceptedRejection, ListRejections, RejectionDetail, RejectionReason,
    RejectionSummary,
};
pub use routes::{ConfiguredDebounce, ConfiguredRoute, RouteClause, RouteDecision, RouteDecisions};
pub use secrets::{SecretStatus, SecretStatusPage};
pub use sessions::{LoginLink, SessionRequest};
pub(crate) use sources::{ReadSample, SourcePath};
pub use sources::{Sample, SentTest, TestRequest};
pub(crate) use stream::StreamedData;
pub use stream::{DeliveryChange, FollowChanges, StreamStart, StreamedKind};

/// Which part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Where to continue: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The most items of a page.
    #[serde(default, deserialize_with = "limit_from_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = PageItems, inline, required = false)]
    pub limit: Option<usize>,
}

/// One part of a listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items of this part.
    pub items: Vec<T>,
    /// The cursor of the next page; `null` on the last one.
    pub next: Option<String>,
}

/// An event's id: `evt_` and a ULID.
#[derive(ToSchema)]
#[schema(as = EventId, value_type = String, example = "evt_01JQ8ZK4N3W8T1V5R7Y9ABCDEF", pattern = "^evt_[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$")]
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
fn from_text<'de, D, T>(deserializer: D, expected: &str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
{
    let read = String::deserialize(deserializer)?.parse();
    read.map_err(|_| D::Error::custom(format!("expected {expected}")))
}

fn flag_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    from_text(deserializer, "true or false")
}

fn time_from_text<'de, D>(deserializer: D) -> Result<Option<Timestamp>, D::Error>
where
    D: Deserializer<'de>,
{
    from_text(deserializer, "a time such as 2026-11-24T08:00:00Z").map(Some)
}

fn limit_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let limit = String::deserialize(deserializer)?.parse().ok();
    let limit = limit.filter(|limit| (1..=PAGE_ITEMS_MAX).contains(limit));
    let wrong = || D::Error::custom(format!("expected a number from 1 to {PAGE_ITEMS_MAX}"));
    limit.map(Some).ok_or_else(wrong)
}

/// The items of a page, unless the request says otherwise.
pub(crate) const PAGE_ITEMS: usize = 50;
/// The most items of one page.
pub const PAGE_ITEMS_MAX: usize = 1_000;
