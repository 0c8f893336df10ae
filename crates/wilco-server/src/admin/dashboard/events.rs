//! The page with the events, newest first, and the replay of all that match its filters.

use std::sync::Arc;

use askama::Template;
use axum::{Extension, extract::State, http::HeaderMap, response::Response};
use jiff::Timestamp;
use wilco::EventId;

use super::{
    super::{
        EventCount, EventCounts, EventSummary, EventSummaryPage, Overview, Page,
        REPLAYED_EVENTS_MAX, ReplayRequest, Replayed, ReplayedEvent,
    },
    Dashboard, Layout, Notice, Parameters, Problem, back_to, count, plural, plural_of,
};

#[derive(Template)]
#[template(path = "events.html")]
struct Events<'p> {
    layout: &'p Layout,
    query: &'p Parameters,
    events: Vec<EventSummary>,
    /// Up to when events were looked through, if few matched.
    searched_to: Option<Timestamp>,
    next: Option<String>,
    choices: Choices,
    states: Vec<StateLink>,
}

/// The part of that page with the counts. It is asked for less often, because counting takes longer.
#[derive(Template)]
#[template(path = "events-states.html")]
struct States<'p> {
    layout: &'p Layout,
    query: &'p Parameters,
    states: Vec<StateLink>,
}

/// What the filters offer.
#[derive(Default)]
struct Choices {
    sources: Vec<String>,
    destinations: Vec<String>,
}

/// A state that leads to its events.
struct StateLink {
    /// Empty for all states.
    state: &'static str,
    count: String,
    query: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "events-replay.html")]
struct ReplayAll<'p> {
    layout: &'p Layout,
    query: &'p Parameters,
    /// The ids of the events, which the form carries, so that nothing else is replayed than what is said here.
    ids: String,
    events: u64,
    /// Whether others match too.
    has_more: bool,
    /// How many new deliveries there would be by destination.
    destinations: Vec<(String, u64)>,
    /// Events that no route takes now, or that cannot be delivered any more.
    left_out: u64,
}

pub(super) async fn list(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    headers: HeaderMap,
    query: Parameters,
) -> Result<Response, Problem> {
    let asked = query.for_api(layout.now).query();
    let page: EventSummaryPage = dashboard.get(&format!("/api/v1/events?{asked}")).await?;
    // A live page asks for its list only.
    let (choices, states) = match headers.contains_key("hx-request") {
        true => (Choices::default(), Vec::new()),
        false => (choices(&dashboard).await?, states(&dashboard, &query, layout.now).await?),
    };
    let next = page.next.map(|cursor| query.with("cursor", &cursor).query());
    let (events, searched_to) = (page.items, page.searched_to);
    let (layout, query) = (&layout, &query);
    Ok(layout.page(&Events { layout, query, events, searched_to, next, choices, states }))
}

/// How many events there are in each state.
pub(super) async fn counts(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
) -> Result<Response, Problem> {
    let states = states(&dashboard, &query, layout.now).await?;
    Ok(layout.page(&States { layout: &layout, query: &query, states }))
}

/// Says what a replay of all that match would do, and asks whether to do it.
pub(super) async fn confirm_replay(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
) -> Result<Response, Problem> {
    let asked = query.with("cursor", "").for_api(layout.now);
    let asked = asked.with("limit", &BULK_EVENTS_MAX.to_string()).query();
    let page: Page<EventSummary> = dashboard.get(&format!("/api/v1/events?{asked}")).await?;
    let ids: Vec<_> = page.items.iter().map(|event| event.id).collect();
    let replayed = replay_in_parts(&dashboard, &layout, &ids, &query, true, None).await?;
    let mut destinations: Vec<(String, u64)> = Vec::new();
    for to in replayed.iter().flat_map(|event| &event.destinations) {
        match destinations.iter_mut().find(|(name, _)| name == to) {
            Some((_, events)) => *events += 1,
            None => destinations.push((to.clone(), 1)),
        }
    }
    destinations.sort();
    let events = replayed.iter().filter(|event| event.deliveries > 0).count() as u64;
    let left_out = replayed.len() as u64 - events;
    // The oldest goes first, as it did when it was new.
    let ids = ids.iter().rev().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let has_more = page.next.is_some();
    let (layout, query) = (&layout, &query);
    Ok(layout.page(&ReplayAll { layout, query, ids, events, has_more, destinations, left_out }))
}

/// Replays the events that were confirmed.
pub(super) async fn replay(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    query: Parameters,
    Extension(form): Extension<Parameters>,
) -> Result<Response, Problem> {
    let ids: Result<Vec<EventId>, _> =
        form.get("ids").split(',').filter(|id| !id.is_empty()).map(str::parse).collect();
    let ids = ids.map_err(|_| Problem::bad_request("invalid ids: expected ids of events"))?;
    let reason = form.text("reason");
    let replayed = replay_in_parts(&dashboard, &layout, &ids, &query, false, reason).await?;
    let deliveries: usize = replayed.iter().map(|event| event.deliveries).sum();
    let events = replayed.iter().filter(|event| event.deliveries > 0).count();
    let notice = format!(
        "Replayed {}: {} made.",
        plural(events as u64, "event"),
        plural_of(deliveries as u64, "new delivery", "new deliveries")
    );
    let notice = if events == 0 { Notice::NotDone(notice) } else { Notice::Done(notice) };
    Ok(back_to(&format!("/events?{}", query.query()), &notice))
}

async fn replay_in_parts(
    dashboard: &Dashboard,
    layout: &Layout,
    ids: &[EventId],
    query: &Parameters,
    dry_run: bool,
    reason: Option<String>,
) -> Result<Vec<ReplayedEvent>, Problem> {
    let mut events = Vec::new();
    for ids in ids.chunks(REPLAYED_EVENTS_MAX) {
        let request = ReplayRequest {
            ids: ids.to_vec(),
            destination: query.text("destination"),
            // Where the list shows dead deliveries, those are meant and not the others of the same events.
            dead: query.get("state") == "dead",
            dry_run,
            reason: reason.clone(),
        };
        let replayed: Replayed = dashboard.post("/api/v1/replay", &request, layout.role).await?;
        events.extend(replayed.events);
    }
    Ok(events)
}

async fn choices(dashboard: &Dashboard) -> Result<Choices, Problem> {
    let overview: Overview = dashboard.get("/api/v1/overview").await?;
    Ok(Choices {
        sources: overview.sources.into_iter().map(|source| source.source).collect(),
        destinations: overview.destinations.into_iter().map(|to| to.destination).collect(),
    })
}

async fn states(
    dashboard: &Dashboard,
    query: &Parameters,
    now: Timestamp,
) -> Result<Vec<StateLink>, Problem> {
    let query = query.with("cursor", "");
    let asked = query.with("state", "").for_api(now).query();
    let counts: EventCounts = dashboard.get(&format!("/api/v1/events/counts?{asked}")).await?;
    let EventCounts { all, pending, running, retrying, delivered, dead, skipped, .. } = counts;
    let rows = [
        ("", all),
        ("dead", dead),
        ("retrying", retrying),
        ("pending", pending),
        ("running", running),
        ("delivered", delivered),
        ("skipped", skipped),
    ];
    let link = |(state, number): (&'static str, EventCount)| StateLink {
        state,
        count: count(number.count) + if number.at_least { "+" } else { "" },
        query: query.with("state", state).query(),
        is_chosen: query.get("state") == state,
    };
    Ok(rows.into_iter().map(link).collect())
}

/// Events that are replayed together. The command line replays any number.
const BULK_EVENTS_MAX: usize = 1_000;
