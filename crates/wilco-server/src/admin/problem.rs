//! An error of the API.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wilco_store::StoreError;

/// An error of the API (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The type of the problem.
    #[serde(rename = "type")]
    pub kind: ProblemType,
    /// A short text that is the same for every problem of this type and status.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong, and how to fix it.
    pub detail: String,
}

/// The type of a problem, a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ProblemType {
    /// The status says everything about the type.
    #[serde(rename = "about:blank")]
    Status,
    /// The configuration file has faults.
    #[serde(rename = "urn:wilco:invalid-configuration")]
    InvalidConfiguration,
}

impl Problem {
    pub(crate) const CONTENT_TYPE: &str = "application/problem+json";

    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or_default().into();
        let (kind, status) = (ProblemType::Status, status.as_u16());
        Self { kind, title, status, detail: detail.into() }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn internal(error: &impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }

    pub(crate) fn invalid_configuration(diagnostics: String) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY.as_u16();
        let (kind, title) = (ProblemType::InvalidConfiguration, "Invalid configuration".into());
        Self { kind, title, status, detail: diagnostics }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = match error {
            // Trying again does not help.
            StoreError::Damaged(_) | StoreError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            StoreError::Pruned(_) => StatusCode::GONE,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or_default();
        let content_type = [(header::CONTENT_TYPE, Self::CONTENT_TYPE)];
        // A struct of texts and a number is always valid JSON.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (status, content_type, body).into_response()
    }
}
