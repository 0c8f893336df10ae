//! The destinations: their status, and pausing them.

use std::sync::Arc;

use axum::extract::State;
use wilco_store::{Breaker, State as DeliveryState, StoreError};

use super::Backend;
use crate::admin::{
    ConfiguredDestination, DestinationPath, DestinationStatus, Json, ListDestinations, NoContent,
    PAGE_ITEMS, Page, Path, Problem, Query, position,
};
use crate::clock;

pub(super) async fn list(
    State(backend): State<Arc<Backend>>,
    Query(query): Query<ListDestinations>,
) -> Result<Json<Page<DestinationStatus>>, Problem> {
    let behind = position::<String>(LISTING, query.cursor.as_deref())?;
    let counts = backend.store.unfinished().await?;
    let mut names = names(&backend, &counts)?;
    if let Some(behind) = behind {
        let place = names.iter().position(|(name, _)| *name == behind);
        let place = place.ok_or_else(|| {
            Problem::bad_request(format!("destination {behind} no longer exists; list again"))
        })?;
        names.drain(..=place);
    }
    let limit = query.limit.unwrap_or(PAGE_ITEMS);
    let mut items = Vec::new();
    for (name, configured) in names.into_iter().take(limit + 1) {
        items.push(status(&backend, name, configured, &counts).await?);
    }
    let position = |item: &DestinationStatus| item.destination.clone();
    Ok(Json(Page::new(LISTING, items, limit, None, position)))
}

impl Backend {
    /// The status of every destination.
    pub(crate) async fn destination_statuses(&self) -> Result<Vec<DestinationStatus>, Problem> {
        let counts = self.store.unfinished().await?;
        let mut items = Vec::new();
        for (name, configured) in names(self, &counts)? {
            items.push(status(self, name, configured, &counts).await?);
        }
        Ok(items)
    }
}

pub(super) async fn pause(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<DestinationPath>,
) -> Result<NoContent, Problem> {
    set_paused(&backend, &path.name, true).await
}

pub(super) async fn resume(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<DestinationPath>,
) -> Result<NoContent, Problem> {
    set_paused(&backend, &path.name, false).await
}

type Counts = [(String, DeliveryState, u64)];

/// The destinations of the configuration, and others that have unfinished deliveries.
fn names(
    backend: &Backend,
    counts: &Counts,
) -> Result<Vec<(String, Option<ConfiguredDestination>)>, Problem> {
    let configured = backend.routing()?.destinations.into_iter();
    let mut names: Vec<_> = configured.map(|to| (to.name.clone(), Some(to))).collect();
    for (name, ..) in counts {
        if !names.iter().any(|(known, _)| known == name) {
            names.push((name.clone(), None));
        }
    }
    Ok(names)
}

async fn status(
    backend: &Backend,
    name: String,
    configured: Option<ConfiguredDestination>,
    counts: &Counts,
) -> Result<DestinationStatus, StoreError> {
    let status = backend.store.destination_status(&name).await?;
    let Breaker { failures, open_for, .. } = status.breaker;
    let open_until = open_for.and_then(|wait| clock::now().checked_add(wait).ok());
    let is_open = configured.as_ref().is_none_or(|to| failures >= to.failures_max);
    let count = |state| {
        let of_it = counts.iter().filter(|(to, is, _)| *to == name && *is == state);
        of_it.map(|(.., count)| count).sum()
    };
    Ok(DestinationStatus {
        kind: configured.map(|to| to.kind.to_owned()),
        paused: status.is_paused,
        open_until: open_until.filter(|_| is_open),
        asked_until: open_until.filter(|_| !is_open),
        failures,
        pending: count(DeliveryState::Pending),
        running: count(DeliveryState::Running),
        retrying: count(DeliveryState::Retrying),
        dead: count(DeliveryState::Dead),
        earliest_due_at: backend.store.earliest_due(&name).await?,
        destination: name,
    })
}

async fn set_paused(backend: &Backend, name: &str, is_paused: bool) -> Result<NoContent, Problem> {
    let counts = backend.store.unfinished().await?;
    if !names(backend, &counts)?.iter().any(|(known, _)| known == name) {
        return Err(Problem::not_found(format!("destination {name} not found")));
    }
    backend.store.pause(name, is_paused).await?;
    tracing::info!(
        destination = name,
        "{}",
        if is_paused { "deliveries paused" } else { "deliveries resumed" }
    );
    Ok(NoContent)
}

const LISTING: &str = "destinations";
