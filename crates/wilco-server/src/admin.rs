//! Where people and their tools look: health, metrics, and what is recorded. It reads the store and
//! knows nothing of either half.

mod actions;
mod api;

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
use wilco_store::Store;

use crate::metrics::Metrics;

pub(crate) use actions::{
    CancelRow, DestinationRow, REPLAYS_MAX, ReplayAsk, ReplayRow, Routing, WhyRow, destinations,
    is_known, replay,
};
pub(crate) use api::{DeliveryRow, EventRow, Problem, ShownRow, find};

/// Reads the configuration again; an error is what was wrong with it.
pub(crate) type Reload = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The admin listener.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) token: Option<Secret>,
    pub(crate) reload: Reload,
    pub(crate) routing: Arc<dyn Routing>,
}

impl Admin {
    /// Serves until `stop`.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let guarded = Router::new()
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
            .layer(middleware::from_fn_with_state(self.clone(), guard));
        let router = Router::new()
            .route("/livez", get(async || "ok\n"))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .merge(guarded)
            .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing here"))
            .with_state(self);
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the admin listener ended");
        }
    }
}

/// 200 only while an event could be committed.
async fn ready(State(admin): State<Admin>) -> Response {
    match admin.store.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(error) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response()
        }
    }
}

async fn metrics(State(admin): State<Admin>) -> Result<Response, Problem> {
    let deliveries = admin.store.unfinished().await?;
    let deliveries =
        deliveries.into_iter().map(|(to, state, count)| (to, state.as_str(), count)).collect();
    let damaged = admin.store.damaged_events().await?;
    let text = admin.metrics.text(admin.store.usage(), damaged, deliveries);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

async fn reload(State(admin): State<Admin>) -> Result<StatusCode, Problem> {
    match (admin.reload)().await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(why) => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why)),
    }
}

/// With a token, who shows it. Without, who asks this machine by its address: a page in a browser
/// can make the browser ask, but under a name of its own and with its origin.
async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let refused = match &admin.token {
        Some(token) if shows(token, headers) => None,
        Some(_) => Some((StatusCode::UNAUTHORIZED, "show the token: Authorization: Bearer …")),
        None if !is_local_name(headers) => {
            Some((StatusCode::FORBIDDEN, "ask by an address of this machine, or by localhost"))
        }
        None if headers.contains_key(header::ORIGIN) => {
            Some((StatusCode::FORBIDDEN, "a page of another origin may not ask"))
        }
        None => None,
    };
    match refused {
        Some((status, why)) => Problem::new(status, why).into_response(),
        None => next.run(request).await,
    }
}

fn shows(token: &Secret, headers: &HeaderMap) -> bool {
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
