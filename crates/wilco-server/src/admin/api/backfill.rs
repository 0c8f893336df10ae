//! Backfill: how far each source is covered, the gaps with what was taken in for them, and a round by hand.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use wilco_store::GapQuery;

use super::Backend;
use crate::admin::{
    BackfillRound, BackfillStatus, Gap, Json, ListGaps, PAGE_ITEMS, Page, PageQuery, Problem,
    Query, position,
};

pub(super) async fn list(
    State(backend): State<Arc<Backend>>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<BackfillStatus>>, Problem> {
    let sources = backend.store.backfills().await?;
    let sources = sources.into_iter().map(BackfillStatus::from).collect();
    Ok(Json(Page::of(SOURCES, sources, &query, |status| status.source.clone())?))
}

pub(super) async fn gaps(
    State(backend): State<Arc<Backend>>,
    Query(query): Query<ListGaps>,
) -> Result<Json<Page<Gap>>, Problem> {
    let before = position::<i64>(GAPS, query.cursor.as_deref())?;
    let limit = query.limit.unwrap_or(PAGE_ITEMS);
    let query = GapQuery { source: query.source, before, limit: limit + 1 };
    let found = backend.store.gaps(query).await?;
    let page = Page::new(GAPS, found, limit, None, |gap| gap.number.to_string());
    Ok(Json(Page { items: page.items.into_iter().map(Gap::from).collect(), next: page.next }))
}

pub(super) async fn run(
    State(backend): State<Arc<Backend>>,
) -> Result<Json<BackfillRound>, Problem> {
    let Some(run) = &backend.backfill else {
        let detail =
            "only a running wilco takes in what never arrived; start it with `wilco serve`";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    };
    Ok(Json(BackfillRound { done: run().await }))
}

const SOURCES: &str = "backfill";
const GAPS: &str = "gaps";
