//! Backfill: the gaps with what was taken in for them, and a round by hand.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};

use super::Backend;
use crate::admin::{Backfills, Json, Problem};

pub(super) async fn show(State(backend): State<Arc<Backend>>) -> Result<Json<Backfills>, Problem> {
    answer(&backend, true).await
}

pub(super) async fn run(State(backend): State<Arc<Backend>>) -> Result<Json<Backfills>, Problem> {
    let Some(run) = &backend.backfill else {
        let detail =
            "only a running wilco takes in what never arrived; start it with `wilco serve`";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    };
    let is_done = run().await;
    answer(&backend, is_done).await
}

async fn answer(backend: &Backend, done: bool) -> Result<Json<Backfills>, Problem> {
    let sources = backend.store.backfills().await?;
    Ok(Json(Backfills { done, sources: sources.into_iter().map(Into::into).collect() }))
}
