//! GitHub lists the deliveries of a webhook and sends any of them again.
//!
//! `GET /repos/{owner}/{repo}/hooks/{hook_id}/deliveries` and `POST …/deliveries/{id}/attempts` of
//! <https://docs.github.com/rest/repos/webhooks>, and the same for organisations.

use std::time::Duration;

use http::{HeaderMap, Method, header};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use wilco_store::Store;

use super::{Api, Deliveries, Round, RoundError, Throttle, read_list};

/// One attempt of GitHub to deliver something. The attempts of one delivery have the same `guid`.
#[derive(Deserialize)]
struct Attempt {
    id: u64,
    guid: String,
    delivered_at: Timestamp,
}

/// Asks for what is missing, and returns how many that were.
pub(super) async fn round(
    api: &Api<'_>,
    round: &Round<'_>,
    hook: &str,
    store: &dyn Store,
) -> Result<usize, RoundError> {
    let deliveries = list(api, round, hook).await?;
    let path = |attempt| format!("/{hook}/deliveries/{attempt}/attempts");
    deliveries.ask_again(api, round, store, path, THROTTLE).await
}

/// The deliveries of this round.
async fn list(api: &Api<'_>, round: &Round<'_>, hook: &str) -> Result<Deliveries, RoundError> {
    let since = round.since_at_most(KEPT);
    let mut deliveries = Deliveries::default();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let mut path = format!("/{hook}/deliveries?per_page={PAGE_DELIVERIES}");
        if let Some(cursor) = &cursor {
            path.push_str("&cursor=");
            path.extend(form_urlencoded::byte_serialize(cursor.as_bytes()));
        }
        let answer = api.send(Method::GET, &path).await?;
        let attempts: Vec<Attempt> = read_list(&path, &answer.body)?;
        let is_last = attempts.last().is_none_or(|attempt| attempt.delivered_at < since);
        for Attempt { id, guid, .. } in attempts.into_iter().filter(|a| a.delivered_at >= since) {
            deliveries.add(guid, id);
        }
        cursor = next(&answer.headers);
        if is_last || cursor.is_none() {
            return Ok(deliveries);
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
/// GitHub allows 80 requests a minute that make something.
const THROTTLE: Throttle = Throttle { burst: 20, pause: Duration::from_secs(15) };
/// How long GitHub keeps deliveries.
const KEPT: SignedDuration = SignedDuration::from_hours(3 * 24);
