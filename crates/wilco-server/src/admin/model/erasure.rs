//! What the API says of the store, and of what is erased.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wilco::EventId;

use super::EventIdText;

/// How much the store has, and since when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoreContents {
    /// The size of its file, in bytes; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_bytes: Option<u64>,
    /// The size of the write-ahead log, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_bytes: Option<u64>,
    /// Bytes of file and write-ahead log that the next events will use.
    pub unused_bytes: u64,
    /// Of what was removed before this time there are no copies left in the file and its log; absent before the first
    /// pass over the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub overwritten_through: Option<Timestamp>,
    /// Free space of the file system, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// Free space below which nothing is recorded, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserve_bytes: Option<u64>,
    /// Events.
    pub events: u64,
    /// Events that have headers and body.
    pub payloads: u64,
    /// The bytes of these bodies.
    pub body_bytes: u64,
    /// Rejected requests.
    pub rejections: u64,
    /// The bytes of their headers and bodies.
    pub rejection_bytes: u64,
    /// When the oldest event was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_event_at: Option<Timestamp>,
    /// When the oldest event was received that has headers and body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_payload_at: Option<Timestamp>,
    /// How long what is finished is kept; absent if wilco does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<KeptFor>,
}

/// How long what is finished is kept, in seconds; `null` for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptFor {
    /// Headers and bodies, what attempts put out, and rejections.
    #[schema(required)]
    pub payloads_secs: Option<u64>,
    /// The rest of events.
    #[schema(required)]
    pub records_secs: Option<u64>,
}

/// What to erase: events with one id, subject or value, and what else the store has about them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseRequest {
    /// The event with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EventIdText>)]
    pub id: Option<EventId>,
    /// Events about this subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Events whose bodies have this value.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueAt>,
    /// Only events of this source, and requests that it rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Cancel pending deliveries; otherwise their events are not erased.
    #[serde(default)]
    pub cancel: bool,
    /// Erase nothing, and answer what would be erased.
    #[serde(default)]
    pub dry_run: bool,
    /// Where to continue: `next` of the answer before, to the same request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A value in a JSON body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueAt {
    /// The path, such as `data.customer.email` or `items[0].id`.
    pub path: String,
    /// The text, or the number as it is written.
    pub value: String,
}

/// What was erased, as far as was looked. While there is `next`, the request is to be repeated with that as
/// `cursor`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Erased {
    /// The events, oldest first, with alerts about them.
    pub events: Vec<ErasedEvent>,
    /// How many rejected requests were removed.
    pub rejections: u64,
    /// Destinations that got something of these events: what they keep is out of reach.
    pub reached: Vec<Reached>,
    /// Copies of a damaged log beside the store that may have something of them: to be deleted by hand.
    pub copies: Vec<String>,
    /// Whether copies in unused parts of the store's file are overwritten; `false` if this build cannot do that. Absent
    /// in a dry run, and if `next` names another part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_overwritten: Option<bool>,
    /// Whether the bytes are gone from the write-ahead log; `false` while another program reads the store. Absent
    /// in a dry run, and if `next` names another part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_emptied: Option<bool>,
    /// Where to continue; `null` at the end.
    #[schema(required)]
    pub next: Option<String>,
}

/// An event that was to be erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErasedEvent {
    /// The event's id.
    #[schema(value_type = EventIdText)]
    pub id: EventId,
    /// The event's name.
    pub event: String,
    /// What became of it.
    pub outcome: ErasureOutcome,
}

/// What became of an event that was to be erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ErasureOutcome {
    /// It is erased, or would be.
    Erased,
    /// It was left as it is, because it is not routed yet, or a delivery waits. `cancel` cancels that.
    Unfinished,
    /// It was left as it is, because an attempt runs.
    Running,
}

/// A destination that got something of an erased event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reached {
    /// The destination's name.
    pub destination: String,
    /// Its type; absent if the configuration does not have it any more.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How many deliveries were tried at least once.
    pub deliveries: u64,
}
