//! Sessions of the dashboard.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::Role;

/// Which session to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest {
    /// What the viewer may do.
    pub role: Role,
}

/// What begins a session in a browser. It is a secret, so it cannot be printed with `{:?}`.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct LoginLink {
    /// The path and the query to open: it works once.
    pub path: String,
    /// Until when it works.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
}
