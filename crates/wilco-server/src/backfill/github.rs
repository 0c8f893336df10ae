//! GitHub lists the deliveries of a webhook and sends any of them again when it is asked to, signed
//! like the first time. So nothing is taken in from the list: it arrives at the endpoint.
//!
//! `GET /repos/{owner}/{repo}/hooks/{hook_id}/deliveries` and `POST …/deliveries/{id}/attempts` of
//! <https://docs.github.com/rest/repos/webhooks>, and the same for organisations.

use std::{collections::HashMap, time::Duration};

use http::{HeaderMap, Method, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::time::sleep;
use wilco_store::Store;

use super::{Api, Round, RoundError};
use crate::inbound::Redeliveries;

/// One attempt of GitHub to deliver something. The attempts of one delivery have the same `guid`.
#[derive(Deserialize)]
struct Attempt {
    id: u64,
    guid: String,
    delivered_at: Timestamp,
}

/// A delivery and its attempts, as far as they are in the list.
struct Delivery {
    guid: String,
    /// The latest.
    attempt_id: u64,
    attempts: usize,
}

/// Asks for what is missing, and returns how many that were.
pub(super) async fn round(
    api: &Api<'_>,
    round: &Round<'_>,
    hook: &str,
    store: &dyn Store,
    redeliveries: &Redeliveries,
) -> Result<usize, RoundError> {
    let source = round.source.name.as_str();
    let deliveries = list(api, round, hook).await?;
    let (mut asked, mut refused) = (0, None);
    for part in deliveries.chunks(LOOKED_UP_MAX) {
        let ids = part.iter().map(|delivery| delivery.guid.clone()).collect();
        let missing = store.missing(source, ids).await?;
        for Delivery { guid, attempt_id, attempts } in part {
            if !missing.contains(guid) {
                continue;
            }
            if *attempts >= ATTEMPTS_MAX {
                tracing::warn!(source, guid, attempts, "delivery failed too often to ask again");
                continue;
            }
            if asked > 0 && asked % BURST == 0 {
                sleep(BURST_WAIT).await;
            }
            redeliveries.expect(source, guid);
            let path = format!("/{hook}/deliveries/{attempt_id}/attempts");
            match api.send(Method::POST, &path).await {
                Ok(_) => {
                    tracing::info!(source, guid, "asked GitHub to deliver again");
                    asked += 1;
                }
                // One that cannot be sent again must not keep the others from it.
                Err(error) if error.status.is_some_and(is_about_one) => {
                    tracing::warn!(source, guid, %error, "GitHub does not deliver again");
                    refused = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
    }
    match refused.filter(|_| asked == 0) {
        Some(error) => Err(error),
        None => Ok(asked),
    }
}

fn is_about_one(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY)
}

/// The deliveries of this round, oldest first.
async fn list(api: &Api<'_>, round: &Round<'_>, hook: &str) -> Result<Vec<Delivery>, RoundError> {
    let oldest = round.now.checked_sub(KEPT).unwrap_or(round.since);
    let since = round.since.max(oldest);
    let mut found: Vec<Delivery> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let mut path = format!("/{hook}/deliveries?per_page={PAGE_DELIVERIES}");
        if let Some(cursor) = &cursor {
            path.push_str("&cursor=");
            path.extend(form_urlencoded::byte_serialize(cursor.as_bytes()));
        }
        let answer = api.send(Method::GET, &path).await?;
        let attempts: Result<Vec<Attempt>, _> = serde_json::from_slice(&answer.body);
        let attempts = attempts.map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            RoundError::new(format!("GET {path}: not a list of deliveries: {place}"))
        })?;
        let is_last = attempts.last().is_none_or(|attempt| attempt.delivered_at < since);
        for Attempt { id, guid, .. } in attempts.into_iter().filter(|a| a.delivered_at >= since) {
            match places.get(&guid) {
                Some(&place) => found[place].attempts += 1,
                None => {
                    places.insert(guid.clone(), found.len());
                    found.push(Delivery { guid, attempt_id: id, attempts: 1 });
                }
            }
        }
        cursor = next(&answer.headers);
        if is_last || cursor.is_none() {
            found.reverse();
            return Ok(found);
        }
    }
    Err(RoundError::new("the list of deliveries has too many pages"))
}

/// The cursor of the next page, out of `link: <https://…?cursor=…>; rel="next"`. The rest of that
/// address is not used: the token goes to the configured one only.
fn next(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(header::LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    let (_, address) = next.split_once('<')?;
    let (address, _) = address.split_once('>')?;
    let (_, query) = address.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "cursor").map(|(_, cursor)| cursor.into_owned())
}

/// Deliveries in a page; GitHub gives no more.
const PAGE_DELIVERIES: usize = 100;
/// Pages in a round.
const PAGES_MAX: usize = 500;
/// Delivery ids that are looked up at once.
const LOOKED_UP_MAX: usize = 100;
/// Attempts after which a delivery is not asked for again: the endpoint refuses it.
const ATTEMPTS_MAX: usize = 5;
/// Requests after which there is a pause: GitHub allows 80 a minute that make something.
const BURST: usize = 20;
const BURST_WAIT: Duration = Duration::from_secs(15);
/// How long GitHub keeps deliveries.
const KEPT: SignedDuration = SignedDuration::from_hours(3 * 24);
