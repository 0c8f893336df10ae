//! Where people and their tools look: health, metrics, and what is recorded. It reads the store and
//! knows nothing of either half.

mod actions;
mod api;
mod listen;
mod token;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::future::BoxFuture;
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wilco::Secret;
use wilco_store::AdminStore;

use crate::metrics::Metrics;

pub use actions::{CancelRow, DestinationRow, REPLAYS_MAX, ReplayAsk, ReplayRow, WhyRow};
pub(crate) use actions::{Configured, Routing, destinations, replay};
pub(crate) use api::find;
pub use api::{AttemptRow, DeliveryRow, EventRow, Problem, ShownRow};
pub(crate) use token::read_or_make as token_of;
pub use token::{path as token_path, read as read_token};

/// Reads the configuration again; an error is what was wrong with it.
pub type Reload = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The admin listener.
pub(crate) struct Admin {
    pub(crate) store: Arc<dyn AdminStore>,
    pub(crate) metrics: Arc<Metrics>,
    /// What callers show.
    pub(crate) token: Secret,
    /// Whether only this machine can connect: health and metrics need no token then.
    pub(crate) is_local: bool,
    pub(crate) reload: Reload,
    pub(crate) routing: Arc<dyn Routing>,
}

impl Admin {
    /// Serves until `stop`.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let admin = Arc::new(self);
        let counts = Arc::clone(&admin.metrics);
        let router = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/healthz", get(ready))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/api/v1/events", get(api::events))
            .route("/api/v1/events/{id}", get(api::event))
            .route("/api/v1/events/{id}/body", get(api::body))
            .route("/api/v1/events/{id}/why", get(actions::get_why))
            .route("/api/v1/events/{id}/cancel", post(actions::post_cancel))
            .route("/api/v1/replay", post(actions::post_replay))
            .route("/api/v1/destinations", get(actions::get_destinations))
            .route("/api/v1/destinations/{name}/pause", post(actions::post_pause))
            .route("/api/v1/destinations/{name}/resume", post(actions::post_resume))
            .route("/api/v1/reload", post(reload))
            .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing here"))
            .layer(middleware::from_fn_with_state(Arc::clone(&admin), guard))
            .layer(middleware::map_response(as_problem))
            .with_state(admin);
        listen::serve(listener, router, counts, stop).await;
    }
}

/// 200 only while an event could be committed.
async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    match admin.store.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(error) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response()
        }
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

async fn reload(State(admin): State<Arc<Admin>>) -> Result<StatusCode, Problem> {
    match (admin.reload)().await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(why) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why)),
    }
}

/// Whoever shows the token may ask everything. On loopback, health and metrics are open, but not to
/// a page in a browser: it can make the browser ask, under a name of its own and with its origin.
async fn guard(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let path = request.uri().path();
    let refused = if is_shown(&admin.token, headers) {
        None
    } else if !(admin.is_local && OPEN.contains(&path)) {
        Some((StatusCode::UNAUTHORIZED, "show the token: Authorization: Bearer …"))
    } else if path != "/metrics" {
        None
    } else if !is_local_name(headers) {
        Some((StatusCode::FORBIDDEN, "ask by an address of this machine, or by localhost"))
    } else if headers.contains_key(header::ORIGIN) {
        Some((StatusCode::FORBIDDEN, "a page of another origin may not ask"))
    } else {
        None
    };
    match refused {
        Some((status, why)) => Problem::new(status, why).into_response(),
        None => next.run(request).await,
    }
}

/// Every error is problem+json (RFC 9457), those that the framework writes itself too.
async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_problem = kind.is_some_and(|kind| kind == Problem::CONTENT_TYPE);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let text = axum::body::to_bytes(response.into_body(), DETAIL_BYTES_MAX).await;
    let text = text.map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    let detail = match text.as_str() {
        "" if status == StatusCode::METHOD_NOT_ALLOWED => "this path takes another method".into(),
        "" => status.to_string(),
        _ => text,
    };
    let mut problem = Problem::new(status, detail).into_response();
    if let Some(allow) = allow {
        problem.headers_mut().insert(header::ALLOW, allow);
    }
    problem
}

fn is_shown(token: &Secret, headers: &HeaderMap) -> bool {
    let shown = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let shown = shown.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
    shown.ct_eq(token.expose()).into()
}

fn is_local_name(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let authority: Option<http::uri::Authority> = host.parse().ok();
    let name = authority.as_ref().map_or("", |authority| authority.host());
    name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// What needs no token on loopback.
const OPEN: [&str; 4] = ["/livez", "/readyz", "/healthz", "/metrics"];
/// The most of an error's own text that is kept, in bytes.
const DETAIL_BYTES_MAX: usize = 8 << 10;
