//! What a person asks about deliveries, and does about them. The command line does the same with the
//! store itself where no server answers.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wilco::{Event, EventId};
use wilco_store::{
    AdminStore, Breaker, EventDetail, Replay, State as DeliveryState, StoreError, Target,
};

use super::{Admin, Problem};
use crate::clock;

/// What the routes and destinations of the file say, as it is now.
pub(crate) trait Routing: Send + Sync {
    /// The ways of an event.
    fn targets(&self, event: &Event) -> Vec<Target>;
    /// What each route says of an event.
    fn why(&self, event: &Event) -> Vec<WhyRow>;
    /// The destinations.
    fn destinations(&self) -> Vec<Configured>;
}

/// A destination of the file.
pub(crate) struct Configured {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// Failures in a row that open its breaker.
    pub(crate) failures_max: u32,
}

/// What one route says of an event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhyRow {
    /// The route's place in the file, from 1.
    pub route: usize,
    /// The names of its destinations.
    pub to: Vec<String>,
    /// Whether it takes the event.
    pub takes: bool,
    /// The clause that decided: from, events, when, or takes.
    pub clause: String,
    /// In words.
    pub why: String,
}

/// Which events are delivered again, and where to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayAsk {
    /// The ids of the events.
    pub ids: Vec<String>,
    /// Only to this destination.
    #[serde(default)]
    pub destination: Option<String>,
    /// Only where the last delivery is dead.
    #[serde(default)]
    pub dead: bool,
    /// Nothing is done but what is answered.
    #[serde(default)]
    pub dry_run: bool,
    /// Why, in words.
    #[serde(default)]
    pub reason: Option<String>,
}

/// An event that is delivered again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplayRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub event: String,
    /// Where to; none where no route takes it there any more.
    pub destinations: Vec<String>,
}

/// How a destination stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DestinationRow {
    /// Its name.
    pub destination: String,
    /// Its type; none where the file does not name it any more.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Whether a person paused it.
    pub paused: bool,
    /// Until when its circuit breaker is open, because it only failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_until: Option<Timestamp>,
    /// Until when nothing is sent there because its service asked for that (`retry-after`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_until: Option<Timestamp>,
    /// Attempts that failed one after another.
    pub failures: u32,
    /// Deliveries that were not tried yet.
    pub pending: u64,
    /// Deliveries with an attempt under way.
    pub running: u64,
    /// Deliveries that are tried again.
    pub retrying: u64,
    /// Deliveries that were given up.
    pub dead: u64,
}

impl DestinationRow {
    /// Until when nothing is sent there, and why, in words.
    pub fn waits(&self, time: impl Fn(Timestamp) -> String) -> Option<String> {
        if let Some(until) = self.open_until {
            return Some(format!("circuit open until {}", time(until)));
        }
        let until = time(self.asked_until?);
        Some(format!("waits until {until} as its service asked (retry-after)"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelAsk {
    #[serde(default)]
    destination: Option<String>,
}

/// How many deliveries were ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CancelRow {
    /// As many.
    pub cancelled: usize,
}

/// Delivers events again, as the routes are now, and says where to.
pub(crate) async fn replay(
    store: &dyn AdminStore,
    routing: &dyn Routing,
    ids: &[EventId],
    ask: &ReplayAsk,
) -> Result<Vec<ReplayRow>, StoreError> {
    let reason = ask.reason.as_deref().unwrap_or("by hand");
    let (mut replays, mut rows) = (Vec::new(), Vec::new());
    for id in ids {
        let shown = match store.event(*id).await {
            Ok(Some(shown)) => shown,
            Ok(None) => continue,
            // It can never be delivered, and the others can.
            Err(StoreError::Damaged(_)) => {
                let (id, event) = (id.to_string(), "damaged".into());
                rows.push(ReplayRow { id, event, destinations: Vec::new() });
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut targets = routing.targets(&shown.event);
        targets.retain(|target| {
            ask.destination.as_ref().is_none_or(|name| target.destination == *name)
                && (!ask.dead || is_dead(&shown, &target.destination))
        });
        rows.push(ReplayRow {
            id: id.to_string(),
            event: shown.event.name,
            destinations: targets.iter().map(|target| target.destination.clone()).collect(),
        });
        if !targets.is_empty() {
            let reason = format!("replay: {reason}");
            replays.push(Replay { event_id: *id, targets, reason });
        }
    }
    if !ask.dry_run && !replays.is_empty() {
        store.replay(replays, clock::now()).await?;
    }
    Ok(rows)
}

fn is_dead(shown: &EventDetail, destination: &str) -> bool {
    shown.deliveries.iter().any(|delivery| {
        delivery.destination == destination
            && delivery.state == DeliveryState::Dead
            && delivery.replaced_by.is_none()
    })
}

/// How the destinations stand: those of the file, and others that something is left for.
pub(crate) async fn destinations(
    store: &dyn AdminStore,
    routing: &dyn Routing,
) -> Result<Vec<DestinationRow>, StoreError> {
    let counts = store.unfinished().await?;
    let mut names: Vec<_> = routing
        .destinations()
        .into_iter()
        .map(|of_file| (of_file.name.clone(), Some(of_file)))
        .collect();
    for (name, ..) in &counts {
        if !names.iter().any(|(known, _)| known == name) {
            names.push((name.clone(), None));
        }
    }
    let mut rows = Vec::with_capacity(names.len());
    for (name, of_file) in names {
        let status = store.destination_status(&name).await?;
        let Breaker { failures, open_until, .. } = status.breaker;
        let is_open = of_file.as_ref().is_none_or(|of_file| failures >= of_file.failures_max);
        let count = |state| {
            let of_it = counts.iter().filter(|(to, is, _)| *to == name && *is == state);
            of_it.map(|(_, _, count)| count).sum()
        };
        rows.push(DestinationRow {
            kind: of_file.map(|of_file| of_file.kind.to_owned()),
            paused: status.is_paused,
            open_until: open_until.filter(|_| is_open),
            asked_until: open_until.filter(|_| !is_open),
            failures,
            pending: count(DeliveryState::Pending),
            running: count(DeliveryState::Running),
            retrying: count(DeliveryState::Retrying),
            dead: count(DeliveryState::Dead),
            destination: name,
        });
    }
    Ok(rows)
}

pub(super) async fn post_replay(
    State(admin): State<Arc<Admin>>,
    Json(ask): Json<ReplayAsk>,
) -> Result<Json<Vec<ReplayRow>>, Problem> {
    if ask.ids.len() > REPLAYS_MAX {
        let what = format!("{} ids; {REPLAYS_MAX} are the most at once", ask.ids.len());
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what));
    }
    let ids = ask.ids.iter().map(|id| id.parse()).collect::<Result<Vec<EventId>, _>>()?;
    Ok(Json(replay(admin.store.as_ref(), admin.routing.as_ref(), &ids, &ask).await?))
}

pub(super) async fn get_why(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
) -> Result<Json<Vec<WhyRow>>, Problem> {
    let shown = super::find(&admin, &id).await?;
    Ok(Json(admin.routing.why(&shown.event)))
}

pub(super) async fn post_cancel(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    Json(ask): Json<CancelAsk>,
) -> Result<Json<CancelRow>, Problem> {
    let event_id = super::find(&admin, &id).await?.event.id;
    let cancelled = admin.store.cancel(event_id, ask.destination, clock::now()).await?;
    Ok(Json(CancelRow { cancelled }))
}

pub(super) async fn get_destinations(
    State(admin): State<Arc<Admin>>,
) -> Result<Json<Vec<DestinationRow>>, Problem> {
    Ok(Json(destinations(admin.store.as_ref(), admin.routing.as_ref()).await?))
}

pub(super) async fn post_pause(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    pause(&admin, &name, true).await
}

pub(super) async fn post_resume(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    pause(&admin, &name, false).await
}

async fn pause(admin: &Admin, name: &str, is_paused: bool) -> Result<StatusCode, Problem> {
    if !is_known(admin.store.as_ref(), admin.routing.as_ref(), name).await? {
        let what = format!("there is no destination {name}");
        return Err(Problem::new(StatusCode::NOT_FOUND, what));
    }
    admin.store.pause(name, is_paused).await?;
    tracing::info!(destination = name, "{}", if is_paused { "paused" } else { "resumed" });
    Ok(StatusCode::NO_CONTENT)
}

/// Whether the file names a destination, or something is left for it.
pub(crate) async fn is_known(
    store: &dyn AdminStore,
    routing: &dyn Routing,
    name: &str,
) -> Result<bool, StoreError> {
    let is_configured = routing.destinations().iter().any(|of_file| of_file.name == *name);
    Ok(is_configured || store.unfinished().await?.iter().any(|(known, ..)| known == name))
}

/// Events in one request for a replay, at the most.
pub const REPLAYS_MAX: usize = 500;
