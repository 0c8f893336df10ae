//! The routes of the configuration.

use std::sync::Arc;

use axum::extract::State;

use super::Backend;
use crate::admin::{ConfiguredRoutes, Json, Problem};

pub(super) async fn list(
    State(backend): State<Arc<Backend>>,
) -> Result<Json<ConfiguredRoutes>, Problem> {
    Ok(Json(ConfiguredRoutes { routes: backend.routing()?.configured() }))
}
