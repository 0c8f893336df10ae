//! Events and their deliveries.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use jiff::Timestamp;
use wilco::EventId;
use wilco_store::{EventDetail as Found, EventQuery, Replay, StoreError, Target};

use super::Backend;
use crate::admin::{
    CancelRequest, Cancelled, EventCounts, EventDetail, EventPath, EventSummary, EventSummaryPage,
    Json, ListEvents, Octets, PAGE_ITEMS, Page, Path, PayloadState, Problem, Query, ReplayRequest,
    Replayed, ReplayedEvent, RouteDecisions, Routing, position,
};

pub(super) async fn list(
    State(backend): State<Arc<Backend>>,
    Query(query): Query<ListEvents>,
) -> Result<Json<EventSummaryPage>, Problem> {
    Ok(Json(backend.list_events(query).await?))
}

pub(super) async fn counts(
    State(backend): State<Arc<Backend>>,
    Query(query): Query<ListEvents>,
) -> Result<Json<EventCounts>, Problem> {
    Ok(Json(backend.count_events(query).await?))
}

impl Backend {
    /// A page of events.
    pub(crate) async fn list_events(&self, query: ListEvents) -> Result<EventSummaryPage, Problem> {
        let listing = if query.after.is_some() { OLDEST_FIRST } else { NEWEST_FIRST };
        let behind = position::<EventId>(listing, query.cursor.as_deref())?;
        let (after, before) = match query.after {
            Some(after) => (behind.or(Some(after)), None),
            None => (None, behind),
        };
        let limit = query.limit.unwrap_or(PAGE_ITEMS);
        // One more tells whether another page follows.
        let query = EventQuery { after, before, limit: limit + 1, ..query.into() };
        let found = self.store.events(query).await?;
        let rest = found.rest.filter(|_| found.events.len() <= limit);
        let events = found.events.into_iter().map(EventSummary::from).collect();
        let position = |event: &EventSummary| event.id.to_string();
        let Page { items, next } =
            Page::new(listing, events, limit, rest.map(|rest| rest.to_string()), position);
        Ok(EventSummaryPage { items, next, searched_to: rest.map(received_at) })
    }

    /// How many events match, by the state of their deliveries.
    pub(crate) async fn count_events(&self, query: ListEvents) -> Result<EventCounts, Problem> {
        Ok(self.store.count_events(query.into()).await?.into())
    }
}

/// The time in an id.
fn received_at(id: EventId) -> Timestamp {
    let millis = i64::try_from(id.to_bits() >> 80).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

impl From<ListEvents> for EventQuery {
    fn from(query: ListEvents) -> Self {
        Self {
            source: query.source,
            name: query.event,
            subject: query.subject,
            search: query.search.filter(|text| !text.trim().is_empty()),
            state: query.state.map(Into::into),
            since: query.since,
            until: query.until,
            destination: query.destination,
            ..Self::default()
        }
    }
}

pub(super) async fn show(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<EventPath>,
) -> Result<Json<EventDetail>, Problem> {
    match backend.store.event(path.id).await {
        Ok(Some(found)) => Ok(Json(found.into())),
        Ok(None) => Err(not_found(path.id)),
        Err(StoreError::Pruned(_)) => {
            Ok(Json(EventDetail::without_payload(find_summary(&backend, path.id).await?)))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn body(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<EventPath>,
) -> Result<Octets, Problem> {
    Ok(Octets(find(&backend, path.id).await?.event.body))
}

pub(super) async fn why(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<EventPath>,
) -> Result<Json<RouteDecisions>, Problem> {
    let found = find(&backend, path.id).await?;
    Ok(Json(RouteDecisions { routes: backend.routing()?.decisions(&found.event) }))
}

pub(super) async fn cancel(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<EventPath>,
    Json(request): Json<CancelRequest>,
) -> Result<Json<Cancelled>, Problem> {
    let id = find_summary(&backend, path.id).await?.id;
    let cancelled = backend.store.cancel(id, request.destination).await?;
    Ok(Json(Cancelled { cancelled }))
}

pub(super) async fn replay(
    State(backend): State<Arc<Backend>>,
    Json(request): Json<ReplayRequest>,
) -> Result<Json<Replayed>, Problem> {
    Ok(Json(backend.replay(request).await?))
}

impl Backend {
    /// Delivers events again.
    pub(super) async fn replay(&self, request: ReplayRequest) -> Result<Replayed, Problem> {
        if request.ids.len() > REPLAYED_EVENTS_MAX {
            let count = request.ids.len();
            let detail = format!("too many ids: {count}; expected at most {REPLAYED_EVENTS_MAX}");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        if let Some(name) = &request.destination {
            self.check_destination(name, StatusCode::UNPROCESSABLE_ENTITY).await?;
        }
        let routing = self.routing()?;
        let (mut replays, mut events) = (Vec::new(), Vec::new());
        for id in &request.ids {
            let mut payload = PayloadState::Kept;
            let (event, replay) = match self.store.event(*id).await {
                Ok(Some(found)) => {
                    let replay = plan(&found, &routing, &request);
                    (Some(found.event.name), replay)
                }
                Ok(None) => continue,
                // A damaged event can never be delivered, nor one without its payload, but the others can.
                Err(StoreError::Damaged(_)) => (None, None),
                Err(StoreError::Pruned(_)) => {
                    let Some(summary) = self.store.summary(*id).await? else { continue };
                    payload = summary.payload.into();
                    (Some(summary.name), None)
                }
                Err(error) => return Err(error.into()),
            };
            let targets = replay.iter().flat_map(|replay| &replay.targets);
            let mut destinations: Vec<String> = Vec::new();
            let mut deliveries = 0;
            for Target { destination, .. } in targets {
                deliveries += 1;
                if !destinations.contains(destination) {
                    destinations.push(destination.clone());
                }
            }
            let damaged = event.is_none();
            events.push(ReplayedEvent {
                id: *id,
                damaged,
                payload,
                event,
                destinations,
                deliveries,
            });
            replays.extend(replay);
        }
        if !request.dry_run && !replays.is_empty() {
            self.store.replay(replays).await?;
        }
        Ok(Replayed { events })
    }
}

/// The new deliveries of an event, if there are any.
fn plan(found: &Found, routing: &Routing, request: &ReplayRequest) -> Option<Replay> {
    let mut targets = routing.routes.route(&found.event);
    targets.retain(|target| {
        request.destination.as_ref().is_none_or(|name| target.destination == *name)
            && (!request.dead || is_dead(found, target))
    });
    let reason = format!("replay: {}", request.reason.as_deref().unwrap_or(REPLAY_REASON));
    (!targets.is_empty()).then_some(Replay { event_id: found.event.id, targets, reason })
}

fn is_dead(found: &Found, target: &Target) -> bool {
    let item = target.item.map(|item| item.number);
    found
        .deliveries
        .iter()
        .any(|delivery| delivery.destination == target.destination && delivery.is_replaced_by(item))
}

async fn find(backend: &Backend, id: EventId) -> Result<Found, Problem> {
    let found = backend.store.event(id).await?;
    found.ok_or_else(|| not_found(id))
}

async fn find_summary(
    backend: &Backend,
    id: EventId,
) -> Result<wilco_store::EventSummary, Problem> {
    backend.store.summary(id).await?.ok_or_else(|| not_found(id))
}

fn not_found(id: EventId) -> Problem {
    Problem::not_found(format!("event {id} not found"))
}

/// The reason of a replay, unless the request says otherwise.
pub const REPLAY_REASON: &str = "by hand";
/// The most events of one replay request.
pub const REPLAYED_EVENTS_MAX: usize = 500;
const NEWEST_FIRST: &str = "newest";
const OLDEST_FIRST: &str = "oldest";
