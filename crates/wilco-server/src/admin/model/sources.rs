//! Test events for a source.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wilco::EventId;

use super::EventIdText;

/// The source that a path names.
#[derive(Clone, Debug, Deserialize, IntoParams)]
pub(crate) struct SourcePath {
    /// The source's name.
    pub(crate) name: String,
}

/// Which sample to show.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReadSample {
    /// The event's name; without it, the first that the provider documents.
    pub(crate) event: Option<String>,
}

/// What a test event can be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sample {
    /// The provider of the source.
    pub provider: String,
    /// The names of the events that the provider documents.
    pub events: Vec<String>,
    /// The event of this sample.
    pub event: String,
    /// A made-up body, with a new id each time.
    pub body: String,
}

/// A test event to send.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TestRequest {
    /// The event's name, for providers that name it in a header; without it, the first that the provider
    /// documents.
    pub event: Option<String>,
    /// The body; without it, the sample of the event.
    pub body: Option<String>,
}

/// A test event that was sent and recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SentTest {
    /// The recorded event.
    #[schema(value_type = EventIdText)]
    pub event_id: EventId,
    /// Whether it is a duplicate of that event, which was recorded before.
    pub duplicate: bool,
}
