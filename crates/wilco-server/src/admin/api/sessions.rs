//! Sessions of the dashboard.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use tokio::time::Instant;

use super::Backend;
use crate::{
    admin::{CODE_LIFETIME, Json, LoginLink, Problem, SessionRequest},
    clock,
};

pub(super) async fn open(
    State(backend): State<Arc<Backend>>,
    Json(request): Json<SessionRequest>,
) -> Result<Json<LoginLink>, Problem> {
    let sessions = backend.running.as_ref().map(|running| &running.sessions);
    let sessions = sessions.ok_or_else(|| {
        let detail = "only a running wilco has a dashboard; start it with `wilco serve`";
        Problem::new(StatusCode::CONFLICT, detail)
    })?;
    let code = sessions.open(request.role, Instant::now())?;
    let ends_at = clock::now() + CODE_LIFETIME;
    Ok(Json(LoginLink { path: format!("/login?code={code}"), ends_at }))
}
