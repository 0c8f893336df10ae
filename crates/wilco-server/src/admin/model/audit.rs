//! What the API says of the audit list.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One action: an operation that changes something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// The number of the action; a later one has a higher number.
    pub number: i64,
    /// When it was done.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// By what: `token`, `dashboard`, `session` for a browser that used the API itself, or `command line` if no wilco
    /// ran.
    pub who: String,
    /// The id of the operation, such as `replay_events`.
    pub action: String,
    /// What it was done to: an id, or the name of a destination or source, at most its first 300 characters; absent if
    /// it names nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How many events or deliveries it changed, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affected: Option<u64>,
    /// `done`, or the status and why it was not, at most its first 300 characters.
    pub result: String,
}
