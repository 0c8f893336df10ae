//! Rejections: to look at them, and to accept those whose signature is right by now.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use wilco::{Arrival, Envelope, Head, RejectionId, Verified, verify};
use wilco_store::{Accepted, RejectionDetail as Found, RejectionQuery};

use super::Backend;
use crate::{
    admin::{
        AcceptRequest, AcceptedRejection, Json, ListRejections, Octets, PAGE_ITEMS, Page, Path,
        Problem, Query, RejectionDetail, RejectionPath, RejectionSummary, position,
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
    Ok(Json(Page::new(listing, found, limit, |kept: &RejectionSummary| kept.id.to_string())))
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
    Ok(Octets(find(&backend, path.id).await?.body.contiguous()))
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
    let source = sources.iter().find(|source| source.name == name);
    let source = source.ok_or_else(|| not_accepted(id, &format!("source {name} not found")))?;
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

/// Verifies a request with the current secrets, as if it had just been received when it was.
fn verify_again(source: &Source, found: Found) -> Result<(Verified, Envelope), String> {
    let Found { summary, headers, body } = found;
    if !summary.is_complete {
        return Err("the request is not kept completely".into());
    }
    let query = summary.url.split_once('?').map(|(_, query)| query);
    // The URL that the provider knows may be what was wrong.
    let url = source.known_url(query).unwrap_or(summary.url);
    let head = Head { method: summary.method.into(), url, headers };
    let arrival = Arrival { received_at: summary.received_at, head, body };
    let verified = verify(&source.provider.scheme, &source.name, &source.keys, arrival)
        .map_err(|refused| refused.mismatch.to_string())?;
    match source.provider.envelope(&verified) {
        Ok(envelope) => Ok((verified, envelope)),
        Err(cause) => Err(format!("the signature is valid, but the {cause}")),
    }
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
