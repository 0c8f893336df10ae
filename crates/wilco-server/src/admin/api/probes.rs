//! Probes of the way from a sender to a source.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};

use super::{Backend, Probing};
use crate::admin::{Json, NoContent, Path, Probe, ProbePath, ProbeReport, ProbeRequest, Problem};

pub(super) async fn open(
    State(backend): State<Arc<Backend>>,
    Json(request): Json<ProbeRequest>,
) -> Result<Json<Probe>, Problem> {
    probing(&backend)?.open(request).map(Json)
}

pub(super) async fn report(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<ProbePath>,
) -> Result<Json<ProbeReport>, Problem> {
    probing(&backend)?.report(&path.id).map(Json).ok_or_else(unknown)
}

pub(super) async fn close(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<ProbePath>,
) -> Result<NoContent, Problem> {
    probing(&backend)?.close(&path.id).then_some(NoContent).ok_or_else(unknown)
}

fn probing(backend: &Backend) -> Result<&dyn Probing, Problem> {
    backend.probing.as_deref().ok_or_else(|| {
        let detail = "only a running wilco can be probed; start it with `wilco serve`";
        Problem::new(StatusCode::CONFLICT, detail)
    })
}

fn unknown() -> Problem {
    Problem::not_found("there is no such probe; another may have been opened since")
}
