//! The page with the events, newest first, and what can be done with one of them.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use wilco::EventId;

use super::{
    super::{EventSummary, Page, ReplayRequest, Replayed},
    Dashboard, Layout, Notice, Parameters, Problem, back_to,
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

/// Delivers one event again.
pub(super) async fn replay(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    Path(id): Path<String>,
    Extension(form): Extension<Parameters>,
) -> Result<Response, Problem> {
    let id: EventId = id.parse().map_err(|_| Problem::not_found("there is no such event"))?;
    let text = |name| Some(form.get(name).to_owned()).filter(|text| !text.is_empty());
    let (destination, reason) = (text("destination"), text("reason"));
    let request = ReplayRequest { ids: vec![id], destination, reason, ..ReplayRequest::default() };
    let replayed: Replayed = dashboard.post("/api/v1/replay", &request, layout.role).await?;
    let Some(event) = replayed.events.first() else {
        return Err(Problem::not_found("there is no such event"));
    };
    let notice = match event.deliveries {
        0 => "Nothing was replayed: no route takes the event now.".to_owned(),
        _ => format!("Replayed to {}.", event.destinations.join(", ")),
    };
    Ok(back_to(form.back(), &Notice(notice)))
}
