//! What is recorded, as JSON: the same rows that the command line prints with `--json`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wilco::{EventId, EventIdError};
use wilco_store::{
    Delivery, EventDetail, EventQuery, EventSummary, State as DeliveryState, StoreError,
};

use super::Admin;
use crate::config;

/// One event of a listing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventRow {
    /// Its id.
    pub id: String,
    /// The source that it came by.
    pub source: String,
    /// Its name.
    pub event: String,
    /// What it is about: an id of the provider.
    pub subject: Option<String>,
    /// What people call it, where the body says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it was received.
    pub received_at: Timestamp,
    /// The length of its body.
    pub bytes: u64,
    /// The digest of its body.
    pub sha256: String,
    /// The name of the secret that signed it.
    pub secret: String,
    /// Held against the routes; with no deliveries it was skipped.
    pub routed: bool,
    /// The record is not what was written; only what could be read of it is set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
    /// Its deliveries, oldest first.
    pub deliveries: Vec<DeliveryRow>,
}

/// One delivery of an event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeliveryRow {
    /// The name of the destination.
    pub destination: String,
    /// Its state.
    pub state: String,
    /// Attempts that began.
    pub attempts: u32,
    /// When the next attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// Deliveries with the same key go one after another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_key: Option<String>,
    /// Why it was made, where no route did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The event that went in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The attempts that ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<AttemptRow>,
}

/// One attempt that ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttemptRow {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took_ms: f64,
    /// How it ended.
    pub result: String,
    /// What was said in it: the answer, or the output of a program.
    pub output: String,
}

/// One event, whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShownRow {
    /// As a listing shows it.
    #[serde(flatten)]
    pub event: EventRow,
    /// The provider sent its delivery id before, with another body.
    pub conflict: bool,
    /// Its headers; those with credentials without their values.
    pub headers: Vec<(String, String)>,
    /// The body where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

/// What can be asked of a listing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    source: Option<String>,
    event: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    destination: Option<String>,
    #[serde(default)]
    dead: bool,
    after: Option<String>,
    before: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn events(
    State(admin): State<Arc<Admin>>,
    Query(filter): Query<Filter>,
) -> Result<Json<Vec<EventRow>>, Problem> {
    let id = |text: Option<String>| -> Result<Option<EventId>, Problem> {
        Ok(text.map(|text| text.parse()).transpose()?)
    };
    let query = EventQuery {
        source: filter.source,
        name: filter.event,
        since: filter.since,
        until: filter.until,
        destination: filter.destination,
        is_dead: filter.dead,
        after: id(filter.after)?,
        before: id(filter.before)?,
        limit: filter.limit.unwrap_or(50).min(PAGE_MAX),
    };
    let summary = admin.store.events(query).await?;
    Ok(Json(summary.into_iter().map(EventRow::from).collect()))
}

pub(super) async fn event(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
) -> Result<Json<ShownRow>, Problem> {
    Ok(Json(find(&admin, &id).await?.into()))
}

pub(super) async fn body(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let shown = find(&admin, &id).await?;
    // Never as the type that the sender gave: a browser would run it.
    let kind = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((kind, shown.event.body.contiguous()).into_response())
}

pub(crate) async fn find(admin: &Admin, id: &str) -> Result<EventDetail, Problem> {
    let id: EventId = id.parse()?;
    let shown = admin.store.event(id).await?;
    shown.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("there is no event {id}")))
}

impl From<EventSummary> for EventRow {
    fn from(summary: EventSummary) -> Self {
        Self {
            id: summary.id.to_string(),
            source: summary.source.to_string(),
            event: summary.name,
            subject: summary.subject,
            title: summary.title,
            received_at: summary.received_at,
            bytes: summary.bytes,
            sha256: summary.digest.to_string(),
            secret: summary.secret_name,
            routed: summary.is_routed,
            damaged: summary.is_damaged,
            deliveries: summary.deliveries.into_iter().map(DeliveryRow::from).collect(),
        }
    }
}

impl From<Delivery> for DeliveryRow {
    fn from(delivery: Delivery) -> Self {
        let is_done = delivery.state == DeliveryState::Delivered;
        let history = delivery.history.into_iter().map(|attempt| AttemptRow {
            started_at: attempt.started_at,
            took_ms: attempt.took.as_secs_f64() * 1_000.0,
            result: attempt.result,
            output: String::from_utf8_lossy(&attempt.output).into_owned(),
        });
        Self {
            destination: delivery.destination,
            state: delivery.state.as_str().into(),
            attempts: delivery.attempts,
            due_at: delivery.due_at,
            order_key: delivery.order_key,
            reason: delivery.reason,
            replaced_by: delivery.replaced_by.map(|id| id.to_string()),
            last_error: delivery.last_error.filter(|_| !is_done),
            history: history.collect(),
        }
    }
}

impl From<EventDetail> for ShownRow {
    fn from(EventDetail { event, is_routed, deliveries }: EventDetail) -> Self {
        let headers = event.headers.iter();
        let headers = headers
            .map(|(name, value)| match config::is_of_a_credential(name) {
                true => (name.to_owned(), "(not shown)".to_owned()),
                false => (name.to_owned(), String::from_utf8_lossy(value).into_owned()),
            })
            .collect();
        let whole = event.body.contiguous();
        let body = std::str::from_utf8(&whole).ok().map(ToOwned::to_owned);
        let body_base64 = body.is_none().then(|| BASE64_STANDARD.encode(&whole));
        Self {
            conflict: event.conflict,
            headers,
            body,
            body_base64,
            event: EventRow {
                id: event.id.to_string(),
                source: event.source.to_string(),
                subject: event.subject,
                title: wilco_store::title(&whole),
                received_at: event.received_at,
                bytes: event.body.len() as u64,
                sha256: event.digest.to_string(),
                secret: event.secret_name,
                event: event.name,
                routed: is_routed,
                damaged: false,
                deliveries: deliveries.into_iter().map(DeliveryRow::from).collect(),
            },
        }
    }
}

/// An error of the API (RFC 9457).
#[derive(Debug, Serialize, Deserialize)]
pub struct Problem {
    status: u16,
    title: String,
    /// What went wrong.
    pub detail: String,
}

impl Problem {
    pub(super) const CONTENT_TYPE: &str = "application/problem+json";

    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or_default().into();
        Self { status: status.as_u16(), title, detail: detail.into() }
    }
}

impl From<EventIdError> for Problem {
    fn from(error: EventIdError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, Self::CONTENT_TYPE)];
        (status, kind, Json(self)).into_response()
    }
}

/// Events in one answer at most.
const PAGE_MAX: usize = 1_000;
