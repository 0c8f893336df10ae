//! The routes of the configuration.

use std::sync::Arc;

use axum::extract::State;

use super::Backend;
use crate::admin::{ConfiguredRoute, Json, Page, PageQuery, Problem, Query};

pub(super) async fn list(
    State(backend): State<Arc<Backend>>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ConfiguredRoute>>, Problem> {
    let routes = backend.routing()?.configured();
    Ok(Json(Page::of(LISTING, routes, &query, |route| route.route)?))
}

const LISTING: &str = "routes";
