//! Stripe lists the events that it could not deliver to every endpoint. They are taken in as they are
//! in the list: no signature comes with them.
//!
//! `GET /v1/events` of <https://docs.stripe.com/api/events/list>.

use http::Method;
use jiff::SignedDuration;
use wilco::{Fetched, ListedEvents, Proof};
use wilco_store::Store;

use super::{Api, Round, RoundError};

/// Takes in what is missing, and returns how many that were.
pub(super) async fn round(
    api: &Api<'_>,
    round: &Round<'_>,
    store: &dyn Store,
) -> Result<usize, RoundError> {
    let since = round.since_at_most(KEPT).as_second();
    let until = round.now.checked_sub(GRACE).unwrap_or(round.now).as_second();
    let (mut taken_in, mut after) = (0, None);
    for _ in 0..PARTS_MAX {
        // The list has the newest first, and they are recorded in the order in which they happened,
        // as far as they fit in memory.
        let (mut part, mut bytes) = (Vec::new(), 0);
        for _ in 0..PART_PAGES_MAX {
            let path = path(since, until, after.as_deref());
            let page = api.send(Method::GET, &path).await?.body;
            bytes += page.len();
            let token = round.backfill.token.name();
            let listed = ListedEvents::read(&page, &round.source.name, token, round.now);
            let listed = listed.map_err(|error| RoundError::new(format!("GET {path}: {error}")))?;
            part.extend(listed.events);
            after = listed.next;
            if after.is_none() || bytes > PART_BYTES_MAX {
                break;
            }
        }
        for fetched in part.into_iter().rev() {
            taken_in += usize::from(take_in(fetched, round, store).await?);
        }
        if after.is_none() {
            return Ok(taken_in);
        }
    }
    Err(RoundError::new("the list of events has too many pages"))
}

fn path(since: i64, until: i64, after: Option<&str>) -> String {
    let mut path = format!(
        "/v1/events?limit={PAGE_EVENTS}&delivery_success=false&created%5Bgte%5D={since}\
         &created%5Blte%5D={until}"
    );
    if let Some(after) = after {
        path.push_str("&starting_after=");
        path.extend(form_urlencoded::byte_serialize(after.as_bytes()));
    }
    path
}

/// Records an event, and returns whether it was missing.
async fn take_in(
    fetched: Fetched,
    round: &Round<'_>,
    store: &dyn Store,
) -> Result<bool, RoundError> {
    let source = round.source.name.as_str();
    let envelope = match round.source.provider.envelope_of_fetched(&fetched) {
        Ok(envelope) if envelope.delivery_id.is_some() => envelope,
        // Without an id it would be recorded with each round.
        Ok(_) => return Err(RoundError::new("an event in the list has no id")),
        Err(error) => return Err(RoundError::new(format!("an event in the list: {error}"))),
    };
    let event = envelope.name.clone();
    let proof = Proof::Fetched(fetched);
    let receipt = store.record_proven(proof, envelope, round.source.duplicates).await?;
    if receipt.is_first() {
        tracing::info!(source, event, id = %receipt.event_id(), "event taken in");
    }
    Ok(receipt.is_first())
}

/// Events in a page; Stripe gives no more.
const PAGE_EVENTS: usize = 100;
/// Pages of which the events are in memory at the same time.
const PART_PAGES_MAX: usize = 20;
/// Bytes after which no further page is held in memory.
const PART_BYTES_MAX: usize = 16 << 20;
/// Such parts in a round.
const PARTS_MAX: usize = 500;
/// What happened only just now is still on its way, signed.
const GRACE: SignedDuration = SignedDuration::from_secs(60);
/// How long Stripe keeps events.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
