//! The audit list: what is added to it, and its listing.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{RawPathParams, Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde_json::Value;

use super::Backend;
use crate::admin::{
    AuditEntry, Json, PAGE_ITEMS, Page, PageQuery, Problem, Query, Role, Session, position,
    read_body,
};
use crate::clock;

pub(super) async fn list(
    State(backend): State<Arc<Backend>>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    let before = position::<i64>(LISTING, query.cursor.as_deref())?;
    let limit = query.limit.unwrap_or(PAGE_ITEMS);
    let found = backend.store.audit_entries(before, limit + 1).await?;
    let found = found.into_iter().map(AuditEntry::from).collect();
    let position = |entry: &AuditEntry| entry.number.to_string();
    Ok(Json(Page::new(LISTING, found, limit, None, position)))
}

/// Carries out an operation that changes something, and adds it to the audit list. A dry run changes nothing.
pub(super) async fn record(
    State((backend, action)): State<(Arc<Backend>, &'static str)>,
    path: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let named = path.iter().next().map(|(_, value)| value.to_owned());
    let request = Request::from_parts(head, body);
    // If the client leaves, the action is neither cut off nor missing in the list.
    let actions = backend.actions.clone();
    let done = actions.spawn(carry_out(backend, action, named, request, next)).await;
    done.unwrap_or_else(|error| Problem::internal(&error).into_response())
}

async fn carry_out(
    backend: Arc<Backend>,
    action: &'static str,
    named: Option<String>,
    request: http::Request<Bytes>,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let who = if head.extensions.get::<Session>().is_some() {
        "session"
    } else if head.extensions.get::<FromPage>().is_some() {
        "dashboard"
    } else if head.extensions.get::<Role>().is_some() {
        "token"
    } else {
        "command line"
    };
    let target = named.as_deref().or_else(|| target(&asked)).map(cut);
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    let (head, body) = response.into_parts();
    // Every answer of such an operation is complete in memory.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    if asked["dry_run"] != true {
        let (affected, mut result) = outcome(head.status, &body);
        if action == ERASE && !head.status.is_success() {
            // The rest may repeat what was to be erased.
            result = head.status.as_u16().to_string();
        }
        let (action, who) = (action.into(), who.into());
        let entry = wilco_store::AuditEntry {
            number: 0,
            at: clock::now(),
            who,
            action,
            target,
            affected,
            result,
        };
        if let Err(error) = backend.store.audit(entry).await {
            tracing::warn!(%error, "cannot add an action to the audit list");
        }
    }
    Response::from_parts(head, Body::from(body))
}

/// What the body of a request names.
fn target(asked: &Value) -> Option<&str> {
    let ids = asked["ids"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = ["destination", "source", "path"].into_iter().find_map(|name| asked[name].as_str());
    match ids {
        [id] => id.as_str().or(named),
        _ => named,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// How many events or deliveries were changed, and whether it was done.
fn outcome(status: StatusCode, body: &Bytes) -> (Option<u64>, String) {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if !status.is_success() {
        let detail = answer["detail"].as_str().unwrap_or_default();
        return (None, cut(&format!("{}: {detail}", status.as_u16())));
    }
    let events = &answer["events"];
    // An event that was replayed to nowhere has no new deliveries.
    let is_left = |event: &Value| event["outcome"].as_str().is_some_and(|it| it != "erased");
    let is_changed = |event: &&Value| event["deliveries"] != 0 && !is_left(event);
    let changed = events.as_array().map(|events| events.iter().filter(is_changed).count() as u64);
    let affected = changed
        .or(events.as_u64())
        .or(answer["cancelled"].as_u64())
        .or(answer["made_due"].as_u64());
    (affected, "done".into())
}

impl From<wilco_store::AuditEntry> for AuditEntry {
    fn from(entry: wilco_store::AuditEntry) -> Self {
        let wilco_store::AuditEntry { number, at, who, action, target, affected, result } = entry;
        Self { number, at, who, action, target, affected, result }
    }
}

/// Marks a request that a page of the dashboard makes.
#[derive(Clone, Copy)]
pub(crate) struct FromPage;

const LISTING: &str = "audit";
/// The operation of which nothing is noted that it was given.
const ERASE: &str = "erase_events";
/// Of a longer text, only the start is kept.
const TEXT_CHARS_MAX: usize = 300;
