//! The page with the events, newest first.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};

use super::{
    super::{EventSummary, Page},
    Dashboard, Layout, Parameters, Problem,
};

#[derive(Template)]
#[template(path = "events.html")]
struct Events<'p> {
    layout: &'p Layout,
    query: &'p Parameters,
    events: Vec<EventSummary>,
    next: Option<String>,
}

pub(super) async fn list(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
) -> Result<Response, Problem> {
    let page: Page<EventSummary> =
        dashboard.get(&format!("/api/v1/events?{}", query.query())).await?;
    let next = page.next.map(|cursor| query.with("cursor", &cursor).query());
    Ok(layout.page(&Events { layout: &layout, query: &query, events: page.items, next }))
}
