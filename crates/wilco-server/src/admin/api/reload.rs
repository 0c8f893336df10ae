//! The configuration is read again.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};

use super::Backend;
use crate::admin::{NoContent, Problem};

pub(super) async fn reload(State(backend): State<Arc<Backend>>) -> Result<NoContent, Problem> {
    let Some(reload) = &backend.reload else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "wilco runs without a configuration file, so nothing can be reloaded",
        ));
    };
    reload().map(|()| NoContent).map_err(Problem::invalid_configuration)
}
