//! The dashboard: pages about what is recorded, made on the server. A page asks the operations of the API in
//! process, as the command line does, so that both always say and do the same. It needs no script; the live
//! parts have one.
//!
//! To add a page: a file with its handler and its template, a row of [`pages`], and a link in `layout.html`.

mod assets;
mod audit;
mod destinations;
mod event;
mod events;
mod failures;
mod layout;
mod live;
mod login;
mod overview;
mod parameters;
mod payload;
mod rejections;
mod routes;
mod test_event;
mod view;

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use serde::{Serialize, de::DeserializeOwned};
use wilco_store::{AdminStore, State as DeliveryState};

use super::{
    Admin, Api, DestinationStatus, FromPage, PAGE_ITEMS_MAX, Page, PageQuery, Problem, Role,
    Session, Sessions, Streams, cookie, query, read_body,
};
use crate::clock;

pub(super) use failures::{CAUSES_MAX, Cause, last_words};
pub(super) use layout::{Layout, Notice, SHORTCUTS_COOKIE, THEME_COOKIE, THEMES, back_to};
pub(super) use parameters::Parameters;
pub(super) use payload::{Line, Payload};
pub(super) use view::{count, duration, held, plural, plural_of, relative};

/// What the pages work with.
pub(super) struct Dashboard {
    api: Api,
    sessions: Arc<Sessions>,
    store: Arc<dyn AdminStore>,
    streams: Arc<Streams>,
}

impl Dashboard {
    pub(super) fn new(admin: &Admin) -> Arc<Self> {
        Arc::new(Self {
            api: admin.api.clone(),
            sessions: Arc::clone(&admin.access.sessions),
            store: Arc::clone(&admin.store),
            streams: Arc::clone(&admin.streams),
        })
    }

    pub(super) fn router(self: &Arc<Self>) -> Router {
        let actions = middleware::from_fn_with_state(Arc::clone(self), read_form);
        pages()
            .layer(actions)
            .route("/login", get(login::login))
            .route("/assets/{name}", get(assets::asset))
            .with_state(Arc::clone(self))
    }

    /// What an operation of the API answers.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        self.ask(Method::GET, path, Bytes::new(), None).await
    }

    /// Has the API carry out an operation that changes something, for whoever sent this form.
    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        role: Option<Role>,
    ) -> Result<T, Problem> {
        let body = serde_json::to_vec(request).map_err(|error| Problem::internal(&error))?;
        self.ask(Method::POST, path, body.into(), role).await
    }

    /// How many deliveries were given up and not replayed.
    async fn dead(&self) -> Result<u64, Problem> {
        let counts = self.store.unfinished().await?;
        let dead = counts.into_iter().filter(|(_, state, _)| *state == DeliveryState::Dead);
        Ok(dead.map(|(.., count)| count).sum())
    }

    /// Every destination with its status.
    async fn destinations(&self) -> Result<Vec<DestinationStatus>, Problem> {
        self.list("/api/v1/destinations").await
    }

    /// The whole of a listing that the configuration bounds.
    async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Problem> {
        let mut all = Vec::new();
        let mut part = PageQuery { limit: Some(PAGE_ITEMS_MAX), ..PageQuery::default() };
        loop {
            let part_query = query(&part).map_err(|error| Problem::internal(&error))?;
            let page: Page<T> = self.get(&format!("{path}?{part_query}")).await?;
            all.extend(page.items);
            part.cursor = page.next;
            if part.cursor.is_none() {
                return Ok(all);
            }
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        role: Option<Role>,
    ) -> Result<T, Problem> {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        let mut request = request.map_err(|error| Problem::internal(&error))?;
        if let Some(role) = role {
            request.extensions_mut().insert(role);
            request.extensions_mut().insert(FromPage);
        }
        let answer = self.api.call(request).await;
        let read = |error| Problem::internal(&format!("{path}: {error}"));
        if !answer.status().is_success() {
            return Err(serde_json::from_slice(answer.body()).map_err(read)?);
        }
        // An answer without a body says only that it is done.
        let body: &[u8] = if answer.body().is_empty() { b"null" } else { answer.body() };
        serde_json::from_slice(body).map_err(read)
    }
}

/// Every page and every action of one.
fn pages() -> Router<Arc<Dashboard>> {
    Router::new()
        .route("/", get(overview::show))
        .route("/live", get(live::live))
        .route("/events", get(events::list))
        .route("/events/counts", get(events::counts))
        .route("/events/replay", get(events::confirm_replay).post(events::replay))
        .route("/events/test", get(test_event::show).post(test_event::send))
        .route("/events/{id}", get(event::show))
        .route("/events/{id}/replay", post(event::replay))
        .route("/events/{id}/cancel", post(event::cancel))
        .route("/destinations", get(destinations::list))
        .route("/destinations/pause", post(destinations::pause))
        .route("/destinations/resume", post(destinations::resume))
        .route("/destinations/retry", post(destinations::retry))
        .route("/failures", get(failures::list))
        .route("/failures/retry", get(failures::confirm).post(failures::retry))
        .route("/rejections", get(rejections::list))
        .route("/rejections/{id}", get(rejections::show))
        .route("/rejections/{id}/accept", post(rejections::accept))
        .route("/routes", get(routes::list))
        .route("/audit", get(audit::list))
        .route("/logout", post(login::logout))
        .route("/settings", post(login::settings))
}

/// Reads a form into [`Parameters`], and lets it through if it carries the token of its session, which a page
/// elsewhere cannot know.
async fn read_form(
    State(dashboard): State<Arc<Dashboard>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if request.method() != Method::POST {
        return Ok(next.run(request).await);
    }
    let (mut head, body) = request.into_parts();
    let form = Parameters::parse(&read_body(body).await?);
    // A request with the admin token instead of a session does not come from a page.
    if let Some(session) = head.extensions.get::<Session>()
        && !dashboard.sessions.is_form_token(form.get("token"), session)
    {
        let detail = "the form is not from this session; open the page again and repeat the action";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    head.extensions.insert(form);
    Ok(next.run(Request::from_parts(head, Body::empty())).await)
}

/// Adds to every answer what keeps a browser from doing more with it than intended.
pub(super) async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in PROTECTION {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Shows an error as a page to whoever asked for one.
pub(super) async fn show_errors(
    State(dashboard): State<Arc<Dashboard>>,
    request: Request,
    next: Next,
) -> Response {
    if !wants_page(request.headers()) || request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let (head, body) = request.into_parts();
    let layout = Layout::of(&head, &dashboard);
    let response = next.run(Request::from_parts(head, body)).await;
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == Problem::CONTENT_TYPE);
    if !is_problem {
        return response;
    }
    let (head, body) = response.into_parts();
    // A problem is complete in memory.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let Ok(problem) = serde_json::from_slice::<Problem>(&body) else {
        return Response::from_parts(head, Body::from(body));
    };
    let mut page = match problem.status {
        401 => layout.page(&SignedOut { layout: &layout }),
        _ => layout.page(&ErrorPage { layout: &layout, problem: &problem }),
    };
    *page.status_mut() = head.status;
    page
}

/// A text as one segment of a path.
fn path_segment(text: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    encoded.replace('+', "%20")
}

fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'p> {
    layout: &'p Layout,
    problem: &'p Problem,
}

#[derive(Template)]
#[template(path = "signed-out.html")]
struct SignedOut<'p> {
    layout: &'p Layout,
}

/// The links to the pages: path, name, icon.
const SECTIONS: [(&str, &str, &str); 7] = [
    ("/", "Overview", "overview"),
    ("/events", "Events", "events"),
    ("/destinations", "Destinations", "destinations"),
    ("/failures", "Failures", "failures"),
    ("/rejections", "Rejections", "rejections"),
    ("/routes", "Routes", "routes"),
    ("/audit", "Audit", "audit"),
];
/// The referrer stays within the dashboard: with none at all, a browser would not say either that a form is
/// from here.
const PROTECTION: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];
