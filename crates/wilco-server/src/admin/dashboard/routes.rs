//! The page with the routes, and how each decides about an event.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use wilco::EventId;

use super::{
    super::{ConfiguredRoute, EventDetail, EventSummary, Page, RouteDecision, RouteDecisions},
    Dashboard, Layout, Parameters, Problem,
};

#[derive(Template)]
#[template(path = "routes.html")]
struct Routes<'p> {
    layout: &'p Layout,
    routes: Vec<ConfiguredRoute>,
    has_debounce: bool,
    has_split: bool,
    /// The event that they decide about.
    event: Option<EventSummary>,
    decisions: Vec<RouteDecision>,
}

pub(super) async fn list(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
) -> Result<Response, Problem> {
    let routes: Vec<ConfiguredRoute> = dashboard.list("/api/v1/routes").await?;
    let event = match query.text("event") {
        Some(id) => {
            let id = id.trim().parse::<EventId>();
            let id = id.map_err(|error| Problem::bad_request(error.to_string()))?;
            let path = format!("/api/v1/events/{id}");
            Some(dashboard.get::<EventDetail>(&path).await?.summary)
        }
        None => {
            let newest: Page<EventSummary> = dashboard.get("/api/v1/events?limit=1").await?;
            newest.items.into_iter().next()
        }
    };
    let decisions = match &event {
        Some(event) => {
            let path = format!("/api/v1/events/{}/why", event.id);
            dashboard.get::<RouteDecisions>(&path).await?.routes
        }
        None => Vec::new(),
    };
    let has_debounce = routes.iter().any(|route| route.debounce.is_some());
    let has_split = routes.iter().any(|route| route.split.is_some());
    let layout = &layout;
    Ok(layout.page(&Routes { layout, routes, has_debounce, has_split, event, decisions }))
}
