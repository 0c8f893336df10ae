//! The admin listener: health, metrics, and the API about what is recorded. It works on the store
//! and knows neither of the two halves.

mod api;
mod extract;
mod listen;
mod model;
mod openapi;
mod page;
mod problem;
mod role;
mod token;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wilco_store::AdminStore;

use crate::{metrics::Metrics, sockets::Listener};

pub use api::{Api, REPLAY_REASON, REPLAYED_EVENTS_MAX, Reload};
pub(crate) use api::{
    Backend, ConfiguredDestination, Probing, Routing, RunBackfill, Running, Unready,
};
pub(crate) use extract::{Json, NoContent, Octets, Path, Query};
pub use model::{
    AcceptRequest, AcceptedRejection, Activity, Attempt, BackfillStatus, Backfills, CancelRequest,
    Cancelled, Delivery, DeliveryState, DestinationStatus, EventDetail, EventSummary,
    ExplainedChange, Explanation, Gap, Header, Latency, ListDestinations, ListEvents,
    ListRejections, Overview, PAGE_ITEMS_MAX, Page, Probe, ProbeReport, ProbeRequest, ProbedBody,
    ProbedRequest, RejectionDetail, RejectionReason, RejectionSummary, ReplayRequest, Replayed,
    ReplayedEvent, RouteClause, RouteDecision, RouteDecisions, SecretStatus, Secrets, SourceStatus,
    StoreUsage,
};
pub(crate) use model::{DestinationPath, EventPath, PAGE_ITEMS, ProbePath, RejectionPath};
pub(crate) use openapi::{Describe, Described, document};
pub(crate) use page::position;
pub use problem::{Problem, ProblemType};
pub(crate) use role::{Role, Tokens};
pub(crate) use token::read_or_make as token_of;
pub use token::{path as token_path, read as read_token};

/// The admin listener.
pub(crate) struct Admin {
    pub(crate) store: Arc<dyn AdminStore>,
    pub(crate) api: Api,
    pub(crate) metrics: Arc<Metrics>,
    /// Every request to the API needs one of them.
    pub(crate) tokens: Tokens,
    pub(crate) unready: Unready,
    /// Whether only this machine can connect: health and metrics need no token then.
    pub(crate) is_local: bool,
}

impl Admin {
    /// Serves until `stop`.
    pub(crate) async fn serve(self, listener: Listener, stop: CancellationToken) {
        let admin = Arc::new(self);
        let metrics_of_listener = Arc::clone(&admin.metrics);
        let router = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/healthz", get(ready))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(Arc::clone(&admin))
            .layer(middleware::map_response(api::into_problem))
            .merge(admin.api.router())
            .layer(middleware::from_fn_with_state(admin, guard));
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

/// Lets a request through whose token gives the role that it needs, and notes that [`Role`] with it.
/// On loopback, health and metrics need no token, but a page in a browser must not read the metrics: it can
/// send requests here, with a host name that it chose and with its own origin.
async fn guard(
    State(admin): State<Arc<Admin>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let headers = request.headers();
    let path = request.uri().path();
    let role = admin.tokens.role_of(headers);
    let refused = if let Some(role) = role {
        let lacks_role = role < Role::needed_for(request.method());
        lacks_role.then_some((StatusCode::FORBIDDEN, OPERATOR_NEEDED))
    } else if !(admin.is_local && OPEN.contains(&path)) {
        Some((StatusCode::UNAUTHORIZED, "the token is required: Authorization: Bearer …"))
    } else if path != "/metrics" {
        None
    } else if !has_local_host(headers) {
        Some((StatusCode::FORBIDDEN, "the host must be localhost or an IP address"))
    } else if headers.contains_key(header::ORIGIN) {
        Some((StatusCode::FORBIDDEN, "requests from another origin are refused"))
    } else {
        None
    };
    match refused {
        Some((status, why)) => Err(Problem::new(status, why)),
        None => {
            if let Some(role) = role {
                request.extensions_mut().insert(role);
            }
            Ok(next.run(request).await)
        }
    }
}

fn has_local_host(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let authority: Option<http::uri::Authority> = host.parse().ok();
    let name = authority.as_ref().map_or("", |authority| authority.host());
    name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// What needs no token on loopback.
const OPEN: [&str; 4] = ["/livez", "/readyz", "/healthz", "/metrics"];
const OPERATOR_NEEDED: &str = "this needs the role operator, and the token gives the role reader; use the \
                               token of [admin] token";
