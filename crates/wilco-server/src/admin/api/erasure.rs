//! How much the store has, and the erasure of what it has about somebody.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, http::StatusCode};
use wilco::{Arrival, Digest, EventId, Head, RejectionId, ValuePath, provider};
use wilco_store::{
    Erasure, ErasureQuery, EventSummary, PayloadState, RejectionDetail, RejectionQuery, Selection,
};

use super::Backend;
use crate::admin::{
    EraseRequest, Erased, ErasedEvent, ErasureOutcome, Json, KeptFor, Problem, Reached,
    StoreContents, ValueAt, decode, encode,
};

pub(super) async fn show(
    State(backend): State<Arc<Backend>>,
) -> Result<Json<StoreContents>, Problem> {
    let contents = backend.store.contents().await?;
    let usage = backend.store.usage();
    let retention = backend.running.as_ref().map(|running| *running.retention.borrow());
    Ok(Json(StoreContents {
        store_bytes: usage.map(|usage| usage.store_bytes),
        wal_bytes: usage.map(|usage| usage.wal_bytes),
        unused_bytes: contents.unused_bytes,
        overwritten_through: contents.overwritten_through,
        free_bytes: usage.map(|usage| usage.free_bytes),
        reserve_bytes: usage.map(|usage| usage.reserve_bytes).filter(|_| retention.is_some()),
        events: contents.events,
        payloads: contents.payloads,
        body_bytes: contents.body_bytes,
        rejections: contents.rejections,
        rejection_bytes: contents.rejection_bytes,
        oldest_event_at: contents.oldest_event_at,
        oldest_payload_at: contents.oldest_payload_at,
        kept: retention.map(|kept| KeptFor {
            payloads_secs: kept.payloads.map(|age| age.as_secs()),
            records_secs: kept.records.map(|age| age.as_secs()),
        }),
    }))
}

pub(super) async fn erase(
    State(backend): State<Arc<Backend>>,
    Json(request): Json<EraseRequest>,
) -> Result<Json<Erased>, Problem> {
    let selection = selection_of(&request)?;
    let after = match &request.cursor {
        None => None,
        Some(cursor) => Some(decode::<EventId>(LISTING, cursor).ok_or_else(|| {
            let what = "expected `next` of the answer to the same request";
            unprocessable(format!("invalid cursor {cursor:?}: {what}"))
        })?),
    };
    let query =
        ErasureQuery { selection: selection.clone(), source: request.source.clone(), after };
    let (found, next) = backend.store.selected(query).await?;
    let outcomes = outcomes(&backend, &request, &found).await?;
    let erased: Vec<&EventSummary> = found
        .iter()
        .filter(|event| outcomes.get(&event.id) == Some(&ErasureOutcome::Erased))
        .collect();
    let mut digests: Vec<Digest> = erased.iter().map(|event| event.digest).collect();
    // An erasure that was interrupted may have erased the event, and not what has the same body.
    if let Selection::Event(id) = selection
        && let Some(event) = backend.store.summary(id).await?
        && event.payload == PayloadState::Erased
    {
        digests.push(event.digest);
    }
    // Rejections are few, and looked through once.
    let looked_for = Some(&selection).filter(|_| after.is_none());
    let refused = refused(&backend, looked_for, request.source.as_deref(), &digests).await?;
    let rejections = match request.dry_run {
        true => refused.len() as u64,
        false => backend.store.erase_rejections(refused).await?,
    };
    let is_changed = !request.dry_run && (!erased.is_empty() || rejections > 0);
    // Also if nothing was erased: an erasure before this one may have been interrupted.
    let overwritten = match request.dry_run || next.is_some() {
        true => None,
        false => Some(backend.store.overwrite_erased().await?),
    };
    if is_changed {
        tracing::info!(events = erased.len(), rejections, "erased by hand");
    }
    let events = found.iter().filter_map(|event| {
        let outcome = *outcomes.get(&event.id)?;
        Some(ErasedEvent { id: event.id, event: event.name.clone(), outcome })
    });
    Ok(Json(Erased {
        events: events.collect(),
        rejections,
        reached: reached(&backend, &erased),
        copies: backend.store.kept_copies(),
        file_overwritten: overwritten.map(|done| done.file),
        log_emptied: overwritten.map(|done| done.log),
        next: next.map(|next| encode(LISTING, &next.to_string())),
    }))
}

fn unprocessable(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

fn selection_of(request: &EraseRequest) -> Result<Selection, Problem> {
    match (&request.id, &request.subject, &request.value) {
        (Some(id), None, None) => Ok(Selection::Event(*id)),
        (None, Some(subject), None) => Ok(Selection::Subject(subject.clone())),
        (None, None, Some(ValueAt { path, value })) => {
            let path: ValuePath = path.parse().map_err(unprocessable)?;
            Ok(Selection::Value { path, value: value.clone() })
        }
        _ => Err(unprocessable("expected exactly one of id, subject and where".into())),
    }
}

/// What becomes of each event, or would.
async fn outcomes(
    backend: &Backend,
    request: &EraseRequest,
    found: &[EventSummary],
) -> Result<BTreeMap<EventId, ErasureOutcome>, Problem> {
    let ids = found.iter().map(|event| event.id).collect();
    let erased = match request.dry_run {
        true => backend.store.preview_erasure(ids, request.cancel).await?,
        false => backend.store.erase(ids, request.cancel).await?,
    };
    let outcomes = erased.into_iter().filter_map(|(id, erasure)| match erasure {
        Erasure::Erased => Some((id, ErasureOutcome::Erased)),
        Erasure::Unfinished => Some((id, ErasureOutcome::Unfinished)),
        Erasure::Running => Some((id, ErasureOutcome::Running)),
        Erasure::Gone => None,
    });
    Ok(outcomes.collect())
}

/// The destinations that got something of these events.
fn reached(backend: &Backend, erased: &[&EventSummary]) -> Vec<Reached> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for delivery in erased.iter().flat_map(|event| &event.deliveries) {
        if delivery.attempts > 0 {
            *counts.entry(&delivery.destination).or_default() += 1;
        }
    }
    // Without a configuration only their types are unknown.
    let configured = (backend.routing)().map(|routing| routing.destinations).unwrap_or_default();
    let reached = counts.into_iter().map(|(name, deliveries)| {
        let kind = configured.iter().find(|to| to.name == name).map(|to| to.kind.to_owned());
        Reached { destination: name.into(), kind, deliveries }
    });
    reached.collect()
}

/// The rejections that a selection is about, and those that have the body of an erased event.
async fn refused(
    backend: &Backend,
    selection: Option<&Selection>,
    source: Option<&str>,
    digests: &[Digest],
) -> Result<Vec<RejectionId>, Problem> {
    let mut query = RejectionQuery {
        source: source.map(Into::into),
        limit: REJECTIONS_AT_ONCE,
        ..RejectionQuery::default()
    };
    backend.store.write_rejections().await?;
    let mut refused = Vec::new();
    loop {
        let page = backend.store.rejections(query.clone()).await?;
        for summary in &page {
            let has_body = digests.contains(&summary.digest);
            let is_about = match selection.filter(|_| !has_body) {
                None | Some(Selection::Event(_)) => false,
                Some(selection) => match backend.store.rejection(summary.id).await? {
                    Some(rejection) => is_about(backend, selection, rejection),
                    None => false,
                },
            };
            if has_body || is_about {
                refused.push(summary.id);
            }
        }
        if page.len() < REJECTIONS_AT_ONCE {
            return Ok(refused);
        }
        query.before = page.last().map(|last| last.id);
    }
}

/// Whether a rejection is about what is erased. Where that cannot be read, whether it has its text.
fn is_about(backend: &Backend, selection: &Selection, rejection: RejectionDetail) -> bool {
    let RejectionDetail { summary, headers, body } = rejection;
    let has_text = |text: &str| {
        let parts = [headers.as_bytes(), summary.url.as_bytes()];
        let whole = body.contiguous(usize::MAX).unwrap_or_default();
        let mut parts = parts.into_iter().chain([&whole[..]]);
        !text.is_empty() && parts.any(|part| contains(part, text))
    };
    match selection {
        Selection::Event(_) => false,
        Selection::Value { path, value } => match path.value_in(&body) {
            Some(found) => found == *value,
            None => !is_json(&body) && has_text(value),
        },
        Selection::Subject(subject) => {
            let sources = (backend.sources)().unwrap_or_default();
            let source = sources.iter().find(|source| source.name == summary.source);
            let known = source.map(|source| &source.provider);
            let provider = known.or_else(|| provider::find(&summary.provider));
            let head = Head {
                method: summary.method.clone().into(),
                url: summary.url.clone(),
                headers: headers.clone(),
            };
            let arrival = Arrival { received_at: summary.received_at, head, body: body.clone() };
            match provider.and_then(|provider| provider.claimed_subject(&arrival)) {
                Some(found) => found == *subject,
                None => {
                    let mut parts = subject.split('/').filter(|part| !part.is_empty()).peekable();
                    parts.peek().is_some() && parts.all(has_text)
                }
            }
        }
    }
}

fn is_json(body: &wilco::Body) -> bool {
    let whole = body.contiguous(usize::MAX).unwrap_or_default();
    serde_json::from_slice::<serde::de::IgnoredAny>(&whole).is_ok()
}

/// Whether bytes have a text, as it is or as JSON or a URL spells it.
fn contains(bytes: &[u8], text: &str) -> bool {
    let begins_at = |start: usize| {
        text.chars().try_fold(&bytes[start..], |rest, char| behind_char(rest, char)).is_some()
    };
    (0..bytes.len()).any(begins_at)
}

/// What follows a character at the beginning of these bytes. `None` if they do not begin with it.
fn behind_char(bytes: &[u8], char: char) -> Option<&[u8]> {
    let mut utf8 = [0; 4];
    let utf8 = char.encode_utf8(&mut utf8).as_bytes();
    let number = |digits: &[u8]| u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok();
    let behind_number = |rest: &'_ [u8], prefix: &str, digits: usize, expected: u16| {
        let digits = rest.strip_prefix(prefix.as_bytes())?.get(..digits)?;
        (number(digits)? == expected).then_some(prefix.len() + digits.len())
    };
    let spelled = match bytes {
        [b'+', ..] if char == ' ' => Some(1),
        [b'\\', b'u', ..] => char
            .encode_utf16(&mut [0; 2])
            .iter()
            .try_fold(0, |at, unit| Some(at + behind_number(&bytes[at..], "\\u", 4, *unit)?)),
        [b'\\', b'"' | b'\\' | b'/', ..] if utf8 == [bytes[1]] => Some(2),
        _ => utf8.iter().try_fold(0, |at, byte| {
            Some(at + behind_number(&bytes[at..], "%", 2, u16::from(*byte))?)
        }),
    };
    spelled.map_or_else(|| bytes.strip_prefix(utf8), |length| bytes.get(length..))
}

const LISTING: &str = "erased";
const REJECTIONS_AT_ONCE: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_as_json_and_urls_spell_it() {
        for (text, bytes, is_there) in [
            ("jane@example.com", "mail: jane@example.com.", true),
            ("jane@example.com", "mail=jane%40example.com&x", true),
            ("Jané Doe", r#"{"name":"Jan\u00e9 Doe","x":"#, true),
            ("Jané Doe", "name=Jan%C3%A9+Doe", true),
            ("Jané Doe", "name=Jan%c3%a9%20Doe", true),
            ("a/b \"c\" \\", r#""a\/b \"c\" \\""#, true),
            ("😀", r#""\ud83d\ude00""#, true),
            ("100% of 5+5", "100%25+of+5%2B5", true),
            ("100% of 5+5", "is 100% of 5+5", true),
            ("jane", "jan%", false),
            ("jane", r"jan\u00", false),
            ("jane", "jan", false),
            ("jane", "", false),
        ] {
            assert_eq!(contains(bytes.as_bytes(), text), is_there, "{text} in {bytes}");
        }
    }
}
