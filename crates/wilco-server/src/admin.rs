//! The admin listener: health, metrics, the API about what is recorded, and the dashboard. It works on the store
//! and knows neither of the two halves.

mod api;
mod dashboard;
mod extract;
mod guard;
mod listen;
mod model;
mod openapi;
mod page;
mod problem;
mod role;
mod routing;
mod session;
mod streams;
mod token;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wilco_store::AdminStore;

use crate::{metrics::Metrics, sockets::Listener};

pub use api::{Api, REPLAY_REASON, REPLAYED_EVENTS_MAX, Reload};
pub(crate) use api::{Backend, FromPage, Probing, RunBackfill, Running, SendTest, Unready};
use dashboard::Dashboard;
pub(crate) use extract::{
    EventStream, Json, LastEventId, NoContent, Octets, Path, Query, read_body,
};
pub(crate) use guard::Access;
pub use model::{
    AcceptRequest, AcceptedRejection, Activity, Attempt, AuditEntry, BackfillRound, BackfillStatus,
    CancelRequest, Cancelled, ConfiguredDebounce, ConfiguredRoute, Delivery, DeliveryChange,
    DeliveryState, DestinationStatus, EraseRequest, Erased, ErasedEvent, ErasureOutcome,
    EventCount, EventCounts, EventDetail, EventSummary, EventSummaryPage, ExplainedChange,
    Explanation, FailureGroup, FailureGroupPage, FollowChanges, Gap, Header, KeptFor, Latency,
    ListEvents, ListFailures, ListGaps, ListRejections, LoginLink, MadeDue, Overview,
    PAGE_ITEMS_MAX, Page, PageQuery, PayloadState, Probe, ProbeRequest, ProbedBody, ProbedRequest,
    Reached, RejectionDetail, RejectionReason, RejectionSummary, ReplayRequest, Replayed,
    ReplayedEvent, RetriedFailures, RetryFailures, RouteClause, RouteDecision, RouteDecisions,
    Sample, SecretStatus, SecretStatusPage, SentTest, SessionRequest, SourceStatus, StoreContents,
    StoreUsage, StreamStart, StreamedKind, TestRequest, ValueAt,
};
pub(crate) use model::{
    DestinationPath, EventPath, PAGE_ITEMS, ProbePath, ReadSample, RejectionPath, SourcePath,
    StreamedData,
};
pub(crate) use openapi::{Describe, Described, document};
pub(crate) use page::{NameAndText, decode, encode, position};
pub use problem::{Problem, ProblemType};
pub use role::Role;
pub(crate) use role::Tokens;
pub(crate) use routing::{ConfiguredDestination, Routing};
pub(crate) use session::{CODE_LIFETIME, Session, Sessions, cookie};
pub(crate) use streams::{OpenStream, Streams};
pub(crate) use token::read_or_make as token_of;
pub use token::{path as token_path, read as read_token};

/// The admin listener.
pub(crate) struct Admin {
    pub(crate) store: Arc<dyn AdminStore>,
    pub(crate) api: Api,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access: Access,
    pub(crate) unready: Unready,
    pub(crate) streams: Arc<Streams>,
    /// Whether only this machine can connect: health and metrics need no token then.
    pub(crate) is_local: bool,
}

impl Admin {
    /// Serves until `stop`.
    pub(crate) async fn serve(self, listener: Listener, stop: CancellationToken) {
        let admin = Arc::new(self);
        let metrics_of_listener = Arc::clone(&admin.metrics);
        let dashboard = Dashboard::new(&admin);
        let router = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/healthz", get(ready))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(Arc::clone(&admin))
            .merge(dashboard.router())
            .layer(middleware::map_response(api::into_problem))
            .merge(admin.api.router())
            .layer(middleware::from_fn_with_state(admin, guard::guard))
            .layer(middleware::from_fn_with_state(dashboard, dashboard::show_errors))
            .layer(middleware::map_response(dashboard::protect));
        listen::serve(listener, router, metrics_of_listener, stop).await;
    }
}

/// The query of a request to the API.
///
/// # Errors
///
/// The parameters are not a struct of texts, numbers and booleans.
pub fn query(parameters: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let Value::Object(fields) = serde_json::to_value(parameters)? else {
        return Ok(query.finish());
    };
    for (name, value) in fields {
        match value {
            Value::String(text) => query.append_pair(&name, &text),
            other => query.append_pair(&name, &other.to_string()),
        };
    }
    Ok(query.finish())
}

/// 200 only while an event could be received and committed.
async fn ready(State(admin): State<Arc<Admin>>) -> Result<&'static str, Problem> {
    admin.store.ready()?;
    match (admin.unready)() {
        Some(why) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)),
        None => Ok("ready\n"),
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Result<Response, Problem> {
    let deliveries = admin.store.unfinished().await?;
    let deliveries =
        deliveries.into_iter().map(|(to, state, count)| (to, state.as_str(), count)).collect();
    let damaged = admin.store.damaged_events().await?;
    let text = admin.metrics.text(admin.store.usage(), damaged, deliveries);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
