//! The page with what was done.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};

use super::{
    super::{AuditEntry, Page},
    Dashboard, Layout, Parameters, Problem,
};

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit<'p> {
    layout: &'p Layout,
    entries: Vec<AuditEntry>,
    next: Option<String>,
}

pub(super) async fn list(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
) -> Result<Response, Problem> {
    let page: Page<AuditEntry> = dashboard.get(&format!("/api/v1/audit?{}", query.query())).await?;
    let next = page.next.map(|cursor| query.with("cursor", &cursor).query());
    Ok(layout.page(&Audit { layout: &layout, entries: page.items, next }))
}
