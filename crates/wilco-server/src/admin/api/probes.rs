//! Probes of the way from a sender to a source.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};

use super::{Backend, Probing};
use crate::admin::{
    Json, NoContent, Page, PageQuery, Path, Probe, ProbePath, ProbeRequest, ProbedRequest, Problem,
    Query,
};

pub(super) async fn open(
    State(backend): State<Arc<Backend>>,
    Json(request): Json<ProbeRequest>,
) -> Result<Json<Probe>, Problem> {
    probing(&backend)?.open(request).map(Json)
}

pub(super) async fn requests(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<ProbePath>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ProbedRequest>>, Problem> {
    let requests = probing(&backend)?.requests(&path.id).ok_or_else(unknown)?;
    let numbered = (1_usize..).zip(requests).collect();
    let Page { items, next } = Page::of(LISTING, numbered, &query, |(number, _)| *number)?;
    Ok(Json(Page { items: items.into_iter().map(|(_, request)| request).collect(), next }))
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

const LISTING: &str = "probed requests";
