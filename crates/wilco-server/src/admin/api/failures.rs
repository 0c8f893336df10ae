//! Failures in groups, and retrying them.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use wilco_store::{FailureGroupQuery, FailureQuery};

use super::{Backend, REPLAYED_EVENTS_MAX};
use crate::admin::{
    FailureGroup, FailureGroupPage, Json, ListFailures, NameAndText, PAGE_ITEMS, Page, Problem,
    Query, ReplayRequest, RetriedFailures, RetryFailures, position,
};

pub(super) async fn list(
    State(backend): State<Arc<Backend>>,
    Query(query): Query<ListFailures>,
) -> Result<Json<FailureGroupPage>, Problem> {
    let after = position(LISTING, query.cursor.as_deref())?;
    let after = after.map(|NameAndText(destination, error)| (destination, error));
    let limit = query.limit.unwrap_or(PAGE_ITEMS);
    let query = FailureGroupQuery { destination: query.destination, after, limit: limit + 1 };
    let found = backend.store.failure_groups(query).await?;
    let groups = found.groups.into_iter().map(FailureGroup::from).collect();
    let position = |group: &FailureGroup| {
        NameAndText(group.destination.clone(), group.error.clone()).to_string()
    };
    let Page { items, next } = Page::new(LISTING, groups, limit, None, position);
    Ok(Json(FailureGroupPage { items, next, at_least: found.is_at_least }))
}

pub(super) async fn retry(
    State(backend): State<Arc<Backend>>,
    Json(request): Json<RetryFailures>,
) -> Result<Json<RetriedFailures>, Problem> {
    let RetryFailures { destination, error, dry_run, reason, after } = request;
    // Also if nothing is dead there, so that a misspelt name is not taken for a destination without failures.
    backend.check_destination(&destination, StatusCode::UNPROCESSABLE_ENTITY).await?;
    let query =
        FailureQuery { destination: destination.clone(), error, after, limit: REPLAYED_EVENTS_MAX };
    let found = backend.store.failed_events(query).await?;
    let asked = found.ids.len();
    let request = ReplayRequest {
        ids: found.ids,
        destination: Some(destination),
        dead: true,
        dry_run,
        reason,
    };
    let replayed = backend.replay(request).await?.events;
    let events = replayed.iter().filter(|event| event.deliveries > 0).count();
    Ok(Json(RetriedFailures {
        events,
        deliveries: replayed.iter().map(|event| event.deliveries).sum(),
        left_out: asked - events,
        next: found.rest,
    }))
}

impl From<wilco_store::FailureGroup> for FailureGroup {
    fn from(group: wilco_store::FailureGroup) -> Self {
        Self {
            destination: group.destination,
            error: group.error,
            example_error: group.example_error,
            example: group.example,
            dead: group.dead,
            retrying: group.retrying,
            first_at: group.first_at,
            last_at: group.last_at,
        }
    }
}

const LISTING: &str = "failures";
