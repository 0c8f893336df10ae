//! Rejections: to look at them, and to accept those whose signature is right by now.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, http::StatusCode};
use tokio::{sync::Mutex, task::spawn_blocking, time::Instant};
use wilco::{
    Arrival, Envelope, Head, RejectionId, Verified,
    doctor::{self, Case},
    verify,
};
use wilco_store::{Accepted, RejectionDetail as Found, RejectionQuery};

use super::{Backend, source_of};
use crate::{
    admin::{
        AcceptRequest, AcceptedRejection, Explanation, Json, ListRejections, Octets, PAGE_ITEMS,
        Page, Path, Problem, Query, RejectionDetail, RejectionPath, RejectionSummary, position,
    },
    config::Source,
};

pub(super) async fn list(
    State(backend): State<Arc<Backend>>,
    Query(query): Query<ListRejections>,
) -> Result<Json<Page<RejectionSummary>>, Problem> {
    let listing = if query.oldest_first { OLDEST_FIRST } else { NEWEST_FIRST };
    let behind = position::<RejectionId>(listing, query.cursor.as_deref())?;
    let (after, before) = match query.oldest_first {
        true => (Some(behind.unwrap_or(RejectionId::from_bits(0))), None),
        false => (None, behind),
    };
    let limit = query.limit.unwrap_or(PAGE_ITEMS);
    // One more tells whether another page follows.
    let (source, since) = (query.source, query.since);
    let query = RejectionQuery { source, since, after, before, limit: limit + 1 };
    let found = backend.store.rejections(query).await?;
    let found = found.into_iter().map(RejectionSummary::from).collect();
    let position = |kept: &RejectionSummary| kept.id.to_string();
    Ok(Json(Page::new(listing, found, limit, None, position)))
}

pub(super) async fn show(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<RejectionPath>,
) -> Result<Json<RejectionDetail>, Problem> {
    Ok(Json(find(&backend, path.id).await?.into()))
}

pub(super) async fn body(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<RejectionPath>,
) -> Result<Octets, Problem> {
    Ok(Octets(find(&backend, path.id).await?.body))
}

pub(super) async fn accept(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<RejectionPath>,
    Json(request): Json<AcceptRequest>,
) -> Result<Json<AcceptedRejection>, Problem> {
    let id = path.id;
    let found = find(&backend, id).await?;
    let sources = (backend.sources)().map_err(Problem::invalid_configuration)?;
    let name = found.summary.source.clone();
    let source = source_of(&sources, name.as_str()).map_err(|why| not_accepted(id, &why))?;
    let (verified, envelope) = verify_again(source, found).map_err(|why| not_accepted(id, &why))?;
    let mut answer = AcceptedRejection {
        id,
        event: envelope.name.clone(),
        secret_name: verified.secret_name().into(),
        event_id: None,
        duplicate: false,
    };
    if !request.dry_run {
        let duplicates = source.duplicates;
        let accepted = Accepted { id, verified, envelope, duplicates };
        let receipt = backend.store.accept(accepted).await?.ok_or_else(|| not_found(id))?;
        answer.event_id = Some(receipt.event_id());
        answer.duplicate = !receipt.is_first();
        let (source, event) = (name.as_str(), receipt.event_id());
        tracing::info!(source, %id, %event, duplicate = answer.duplicate, "rejection accepted");
    }
    Ok(Json(answer))
}

pub(super) async fn explain(
    State(backend): State<Arc<Backend>>,
    Path(path): Path<RejectionPath>,
) -> Result<Json<Explanation>, Problem> {
    let id = path.id;
    let found = find(&backend, id).await?;
    let sources = (backend.sources)().map_err(Problem::invalid_configuration)?;
    let explained = spawn_blocking(move || {
        let _turn = EXPLAINING.try_lock().map_err(|_| BUSY.to_owned())?;
        explain_with(&sources, found)
    });
    let explained = explained.await.unwrap_or_else(|error| Err(error.to_string()));
    explained.map(Json).map_err(|why| {
        Problem::new(StatusCode::CONFLICT, format!("{id} cannot be explained: {why}"))
    })
}

/// Looks for the reason with the secrets of every source.
fn explain_with(sources: &[Arc<Source>], found: Found) -> Result<Explanation, String> {
    let name = found.summary.source.clone();
    let is_own = |source: &&Arc<Source>| source.name == name;
    let own = source_of(sources, name.as_str())?;
    let others = sources.iter().filter(|source| !is_own(source)).flat_map(|source| {
        source.secrets.iter().map(|secret| (source.name.to_string(), secret.clone()))
    });
    let others: Vec<_> = others.collect();
    if found.summary.bytes != found.body.len() as u64 {
        return Err("its body is not kept completely".into());
    }
    let arrival = arrival_of(own, found);
    let scheme = &own.provider.scheme;
    let case = Case { scheme, secrets: &own.secrets, others: &others, arrival: &arrival };
    let until = Instant::now() + EXPLAIN_TIME_MAX;
    Ok(doctor::explain(case, &mut || Instant::now() < until).into())
}

/// Verifies a request with the current secrets, as if it had just been received when it was.
fn verify_again(source: &Source, found: Found) -> Result<(Verified, Envelope), String> {
    if !found.summary.is_complete {
        return Err("the request is not kept completely".into());
    }
    let arrival = arrival_of(source, found);
    let verified = verify(&source.provider.scheme, &source.name, &source.keys, arrival)
        .map_err(|refused| refused.mismatch.to_string())?;
    match source.provider.envelope(&verified) {
        Ok(envelope) => Ok((verified, envelope)),
        Err(cause) => Err(format!("the signature is valid, but the {cause}")),
    }
}

/// The request as it was received.
fn arrival_of(source: &Source, found: Found) -> Arrival {
    let Found { summary, headers, body } = found;
    let query = summary.url.split_once('?').map(|(_, query)| query);
    // The URL that the provider knows may be what was wrong.
    let url = source.known_url(query).unwrap_or(summary.url);
    let head = Head { method: summary.method.into(), url, headers };
    Arrival { received_at: summary.received_at, head, body }
}

async fn find(backend: &Backend, id: RejectionId) -> Result<Found, Problem> {
    backend.store.rejection(id).await?.ok_or_else(|| not_found(id))
}

fn not_found(id: RejectionId) -> Problem {
    Problem::not_found(format!("rejection {id} not found"))
}

fn not_accepted(id: RejectionId, why: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, format!("{id} cannot be accepted: {why}"))
}

const NEWEST_FIRST: &str = "newest rejections";
const OLDEST_FIRST: &str = "oldest rejections";
/// Held while a rejection is explained: that takes a processor, and several would take all of them.
static EXPLAINING: Mutex<()> = Mutex::const_new(());
const BUSY: &str = "another one is being explained; try again in a moment";
/// How long the search for a reason may take. A client waits longer.
const EXPLAIN_TIME_MAX: Duration = Duration::from_secs(10);
