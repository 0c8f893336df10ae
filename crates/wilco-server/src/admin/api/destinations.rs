//! The destinations: their status, pausing them, and retrying at once.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, http::StatusCode};
use wilco_store::{Breaker, State as DeliveryState, StoreError};

use super::Backend;
use crate::admin::{
    ConfiguredDestination, DestinationPath, DestinationStatus, Json, MadeDue, NoContent, Page,
    PageQuery, Path, Problem, Query,
};
use crate::{clock, config::known_instead};

pub(super) async fn list(
    State(backend): State<Arc<Backend>>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<DestinationStatus>>, Problem> {
    let counts = backend.store.unfinished().await?;
    let names = names(&backend, &counts)?;
    let Page { items, next } = Page::of(LISTING, names, &query, |(name, _)| name.clone())?;
    Ok(Json(Page { items: statuses(&backend, items, &counts).await?, next }))
}

impl Backend {
    /// The status of every destination.
    pub(crate) async fn destination_statuses(&self) -> Result<Vec<DestinationStatus>, Problem> {
        let counts = self.store.unfinished().await?;
        statuses(self, names(self, &counts)?, &counts).await
    }

    /// An error with this status if there is no such destination, which says what there is.
    pub(super) async fn check_destination(
        &self,
        name: &str,
        status: StatusCode,
    ) -> Result<(), Problem> {
        let counts = self.store.unfinished().await?;
        let names = names(self, &counts)?;
        if names.iter().any(|(known, _)| known == name) {
            return Ok(());
        }
        let hint = known_instead(name, names.iter().map(|(known, _)| known.as_str()));
        Err(Problem::new(status, format!("destination {name} not found{hint}")))
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

pub(super) async fn retry(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<DestinationPath>,
) -> Result<Json<MadeDue>, Problem> {
    backend.check_destination(&path.name, StatusCode::NOT_FOUND).await?;
    let made_due = backend.store.retry_now(&path.name).await?;
    tracing::info!(destination = path.name, deliveries = made_due, "retries are due at once");
    Ok(Json(MadeDue { made_due }))
}

type Counts = [(String, DeliveryState, u64)];

/// A name, with what the configuration says about it, if it has the destination.
type Named = (String, Option<ConfiguredDestination>);

/// The destinations of the configuration, and others that have unfinished deliveries, by name.
fn names(backend: &Backend, counts: &Counts) -> Result<Vec<Named>, Problem> {
    let unfinished = counts.iter().map(|(name, ..)| (name.clone(), None));
    let mut names: BTreeMap<_, _> = unfinished.collect();
    let configured = backend.routing()?.destinations.into_iter();
    names.extend(configured.map(|to| (to.name.clone(), Some(to))));
    Ok(names.into_iter().collect())
}

async fn statuses(
    backend: &Backend,
    names: Vec<Named>,
    counts: &Counts,
) -> Result<Vec<DestinationStatus>, Problem> {
    let mut statuses = Vec::new();
    for (name, configured) in names {
        statuses.push(status(backend, name, configured, counts).await?);
    }
    Ok(statuses)
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
    backend.check_destination(name, StatusCode::NOT_FOUND).await?;
    backend.store.pause(name, is_paused).await?;
    tracing::info!(
        destination = name,
        "{}",
        if is_paused { "deliveries paused" } else { "deliveries resumed" }
    );
    Ok(NoContent)
}

const LISTING: &str = "destinations";
