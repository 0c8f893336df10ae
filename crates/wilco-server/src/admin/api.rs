//! The admin API: its operations, and what they work on. The router and the OpenAPI document come
//! from the same table, [`operations`].

mod audit;
mod backend;
mod backfill;
mod destinations;
mod erasure;
mod events;
mod failures;
mod overview;
mod probes;
mod rejections;
mod reload;
mod routes;
mod secrets;
mod sessions;
mod sources;
mod stream;

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    handler::Handler,
    http::{Method, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, get, on},
};
use bytes::Bytes;
use tower_service::Service as _;

use super::{Describe, Described, Problem, document};

pub(crate) use audit::FromPage;
pub use backend::Reload;
pub(crate) use backend::{Backend, Probing, RunBackfill, Running, SendTest, Unready, source_of};
pub use events::{REPLAY_REASON, REPLAYED_EVENTS_MAX};

/// The admin API over an open store. The admin listener serves it; a program that has opened the
/// store itself calls it in process.
#[derive(Clone)]
pub struct Api {
    router: Router,
}

impl Api {
    pub(crate) fn new(backend: Backend) -> Self {
        let backend = Arc::new(backend);
        let mut router = Router::new();
        let mut described = Vec::new();
        for Operation { description, handler, audited } in operations() {
            let handler = match audited {
                None => handler,
                Some(id) => handler.layer(middleware::from_fn_with_state(
                    (Arc::clone(&backend), id),
                    audit::record,
                )),
            };
            router = router.route(description.path, handler);
            described.push(description);
        }
        // Serializing it cannot fail: every key is a string.
        let openapi = document(described).to_pretty_json().unwrap_or_default() + "\n";
        let openapi = ([(header::CONTENT_TYPE, "application/json")], openapi);
        let router = router
            .route("/api/openapi.json", get(async move || openapi))
            .fallback(async || Problem::not_found("there is nothing at this path"))
            .layer(middleware::map_response(into_problem))
            .with_state(backend);
        Self { router }
    }

    pub(super) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Answers a request as the admin listener does, but asks for no token.
    pub async fn call(&self, request: http::Request<Bytes>) -> http::Response<Bytes> {
        let response = self.router.clone().call(request.map(Body::from)).await;
        let (head, body) = response.unwrap_or_else(|never: Infallible| match never {}).into_parts();
        // Only a service has streams, so every response is complete in memory, and this neither waits nor
        // fails.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        http::Response::from_parts(head, body)
    }
}

/// One operation: how the document describes it, and what carries it out.
struct Operation {
    description: Described,
    handler: MethodRouter<Arc<Backend>>,
    /// Its id, if it is added to the audit list.
    audited: Option<&'static str>,
}

/// Every operation of the API.
fn operations() -> impl Iterator<Item = Operation> {
    let about_all = [
        about_events(),
        about_the_store(),
        about_rejections(),
        about_destinations(),
        about_sources(),
        about_the_service(),
    ];
    about_all.into_iter().flatten()
}

fn about_events() -> Vec<Operation> {
    vec![
        read("/api/v1/events", "list_events", "Lists events, newest first", events::list),
        read(
            "/api/v1/events/counts",
            "count_events",
            "Counts events by the state of their deliveries, whatever state, place and limit",
            events::counts,
        ),
        read("/api/v1/events/{id}", "show_event", "Shows one event", events::show),
        read("/api/v1/events/{id}/body", "read_body", "Gives the exact body", events::body),
        read(
            "/api/v1/stream",
            "follow_changes",
            "Streams events and changes of their deliveries, as server-sent events",
            stream::follow,
        ),
        read(
            "/api/v1/events/{id}/why",
            "explain_routes",
            "Says how each route decides about an event",
            events::why,
        ),
        write(
            "/api/v1/events/{id}/cancel",
            "cancel_deliveries",
            "Cancels the pending deliveries of an event",
            events::cancel,
        ),
        write(
            "/api/v1/replay",
            "replay_events",
            "Delivers events again, as the routes are now",
            events::replay,
        ),
    ]
}

fn about_the_store() -> Vec<Operation> {
    vec![
        read("/api/v1/store", "show_store", "Says how much the store has", erasure::show),
        write(
            "/api/v1/events/erase",
            "erase_events",
            "Erases events, and what else the store has about them",
            erasure::erase,
        ),
    ]
}

fn about_rejections() -> Vec<Operation> {
    vec![
        read(
            "/api/v1/rejections",
            "list_rejections",
            "Lists rejected requests, newest first",
            rejections::list,
        ),
        read(
            "/api/v1/rejections/{id}",
            "show_rejection",
            "Shows one rejected request",
            rejections::show,
        ),
        read(
            "/api/v1/rejections/{id}/body",
            "read_rejected_body",
            "Gives the exact body of a rejected request, as far as it is kept",
            rejections::body,
        ),
        read(
            "/api/v1/rejections/{id}/explain",
            "explain_rejection",
            "Says why the signature of a rejected request does not match, and how to fix it",
            rejections::explain,
        ),
        write(
            "/api/v1/rejections/{id}/accept",
            "accept_rejection",
            "Verifies a rejected request again, and records it as an event",
            rejections::accept,
        ),
    ]
}

fn about_destinations() -> Vec<Operation> {
    vec![
        read("/api/v1/routes", "list_routes", "Lists the routes, in their order", routes::list),
        read(
            "/api/v1/destinations",
            "list_destinations",
            "Lists destinations with their status, by name",
            destinations::list,
        ),
        write(
            "/api/v1/destinations/{name}/pause",
            "pause_destination",
            "Pauses a destination; it stays paused after a restart",
            destinations::pause,
        ),
        write(
            "/api/v1/destinations/{name}/resume",
            "resume_destination",
            "Resumes a paused destination",
            destinations::resume,
        ),
        write(
            "/api/v1/destinations/{name}/retry",
            "retry_destination",
            "Makes the deliveries to a destination due at once that wait for their next attempt",
            destinations::retry,
        ),
        read(
            "/api/v1/failures",
            "list_failures",
            "Lists dead deliveries and those that are tried again, in groups by destination and error",
            failures::list,
        ),
        write(
            "/api/v1/failures/retry",
            "retry_failures",
            "Delivers the dead deliveries of a group again, the oldest 500 events at most",
            failures::retry,
        ),
    ]
}

fn about_sources() -> Vec<Operation> {
    vec![
        read(
            "/api/v1/sources/{name}/sample",
            "read_sample",
            "Shows what a test event for a source can be",
            sources::sample,
        ),
        write(
            "/api/v1/sources/{name}/test",
            "send_test_event",
            "Signs an event as the provider of a source does, and receives it like all others",
            sources::send_test,
        ),
        read(
            "/api/v1/secrets",
            "list_secrets",
            "Lists how often and when each secret matched, by source and name",
            secrets::list,
        ),
        read(
            "/api/v1/backfill",
            "list_backfills",
            "Lists the sources that have or had a backfill, and how far each is covered",
            backfill::list,
        ),
        read(
            "/api/v1/backfill/gaps",
            "list_gaps",
            "Lists when wilco did not run, and what was taken in for it, newest first",
            backfill::gaps,
        ),
        write(
            "/api/v1/backfill/run",
            "run_backfill",
            "Asks the providers for what never arrived",
            backfill::run,
        ),
    ]
}

fn about_the_service() -> Vec<Operation> {
    vec![
        read(
            "/api/v1/overview",
            "show_overview",
            "Says whether all is well, and if not, what is wrong",
            overview::show,
        ),
        read(
            "/api/v1/audit",
            "list_audit",
            "Lists what was done by this API, newest first",
            audit::list,
        ),
        write(
            "/api/v1/probes",
            "open_probe",
            "Opens a probe: requests with its id are answered, reported and never recorded",
            probes::open,
        ),
        read(
            "/api/v1/probes/{id}/requests",
            "list_probed_requests",
            "Lists what arrived of a probe, in the order of the answers",
            probes::requests,
        ),
        write(
            "/api/v1/probes/{id}/close",
            "close_probe",
            "Closes a probe and forgets what arrived",
            probes::close,
        ),
        write(
            "/api/v1/sessions",
            "open_session",
            "Makes a link that begins a session of the dashboard; it works once, within 5 minutes",
            sessions::open,
        ),
        write(
            "/api/v1/reload",
            "reload_configuration",
            "Reads the configuration again, and applies it if it has no faults",
            reload::reload,
        ),
    ]
}

/// An operation that changes nothing.
fn read<A, T: 'static, H>(path: &'static str, id: &str, summary: &str, handler: H) -> Operation
where
    H: Handler<T, Arc<Backend>> + Describe<A>,
{
    let description = Described::new(Method::GET, path, id, summary, &handler);
    Operation { description, handler: get(handler), audited: None }
}

/// An operation that changes something. It is added to the audit list.
fn write<A, T: 'static, H>(
    path: &'static str,
    id: &'static str,
    summary: &str,
    handler: H,
) -> Operation
where
    H: Handler<T, Arc<Backend>> + Describe<A>,
{
    let description = Described::new(Method::POST, path, id, summary, &handler);
    Operation { description, handler: on(MethodFilter::POST, handler), audited: Some(id) }
}

/// The framework answers a wrong method itself, without a body.
pub(super) async fn into_problem(response: Response) -> Response {
    let status = response.status();
    if status != StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut problem = Problem::new(status, "this path does not support the method").into_response();
    if let Some(allow) = allow {
        problem.headers_mut().insert(header::ALLOW, allow);
    }
    problem
}
