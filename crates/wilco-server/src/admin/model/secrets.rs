//! What the API says of secrets.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One part of a listing of secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SecretStatusPage {
    /// The secrets of this part, by source and name.
    pub items: Vec<SecretStatus>,
    /// The cursor of the next page; `null` on the last one.
    #[schema(required)]
    pub next: Option<String>,
    /// When wilco started; absent if it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
}

/// How often and when a secret matched, by its name. Requests that turned out to be duplicates count too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SecretStatus {
    /// The source that has the secret.
    pub source: String,
    /// The provider of the source.
    pub provider: String,
    /// The path of the source.
    pub path: String,
    /// The secret's name, such as `file:/etc/wilco/secret`.
    pub secret_name: String,
    /// Since when matches are counted: when wilco first had the secret in its configuration. Absent if that was
    /// not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// How many requests were signed with it.
    pub matches: u64,
    /// When the first of them was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_match: Option<Timestamp>,
    /// When the last of them was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_match: Option<Timestamp>,
    /// How many requests were signed with other secrets of the source after its last match, or since wilco has it.
    pub others_matched_since: u64,
}
