//! The page with the routes, and how each decides about an event.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};

use super::{
    super::{EventDetail, EventSummary, Page, RouteDecision, RouteDecisions},
    Dashboard, Layout, Parameters, Problem, path_segment,
};

#[derive(Template)]
#[template(path = "routes.html")]
struct Routes<'p> {
    layout: &'p Layout,
    /// The event that they decide about.
    event: Option<EventSummary>,
    routes: Vec<RouteDecision>,
}

pub(super) async fn list(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
) -> Result<Response, Problem> {
    let event = match query.text("event") {
        Some(id) => {
            let path = format!("/api/v1/events/{}", path_segment(id.trim()));
            Some(dashboard.get::<EventDetail>(&path).await?.summary)
        }
        None => {
            let newest: Page<EventSummary> = dashboard.get("/api/v1/events?limit=1").await?;
            newest.items.into_iter().next()
        }
    };
    let routes = match &event {
        Some(event) => {
            let path = format!("/api/v1/events/{}/why", event.id);
            dashboard.get::<RouteDecisions>(&path).await?.routes
        }
        None => Vec::new(),
    };
    Ok(layout.page(&Routes { layout: &layout, event, routes }))
}
