//! GitLab lists the events of a webhook and sends any of them again, with the same `Idempotency-Key`.
//!
//! `GET /projects/{id}/hooks/{hook_id}/events` and `POST …/events/{id}/resend`, since GitLab 17.3, of
//! <https://docs.gitlab.com/api/project_webhooks/>, and the same for groups.

use std::time::Duration;

use http::{HeaderMap, Method};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use wilco_store::Store;

use super::{Api, Deliveries, Round, RoundError, Throttle, read_list};

/// One attempt of GitLab to deliver something.
#[derive(Deserialize)]
struct Attempt {
    id: u64,
    created_at: Timestamp,
    #[serde(default)]
    request_headers: RequestHeaders,
    #[serde(default)]
    request_data: RequestData,
}

#[derive(Default, Deserialize)]
struct RequestHeaders {
    /// The same in all attempts of one delivery.
    #[serde(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
}

#[derive(Default, Deserialize)]
struct RequestData {
    /// GitLab has not kept the body, and would send this instead.
    #[serde(default)]
    oversize: serde_json::Value,
}

/// Asks for what is missing, and returns how many that were.
pub(super) async fn round(
    api: &Api<'_>,
    round: &Round<'_>,
    hook: &str,
    store: &dyn Store,
) -> Result<usize, RoundError> {
    let deliveries = list(api, round, hook).await?;
    let path = |attempt| format!("/{hook}/events/{attempt}/resend");
    deliveries.ask_again(api, round, store, path, THROTTLE).await
}

/// The deliveries of this round.
async fn list(api: &Api<'_>, round: &Round<'_>, hook: &str) -> Result<Deliveries, RoundError> {
    let since = round.since_at_most(KEPT);
    let mut deliveries = Deliveries::default();
    let mut page = "1".to_owned();
    for _ in 0..PAGES_MAX {
        let path = format!("/{hook}/events?per_page={PAGE_EVENTS}&page={page}");
        let answer = api.send(Method::GET, &path).await?;
        let attempts: Vec<Attempt> = read_list(&path, &answer.body)?;
        let is_last = attempts.last().is_none_or(|attempt| attempt.created_at < since);
        for attempt in attempts.into_iter().filter(|attempt| attempt.created_at >= since) {
            let id = attempt.id;
            if attempt.request_data.oversize == true {
                let source = round.source.name.as_str();
                tracing::warn!(source, id, "GitLab has not kept the body of this event");
                continue;
            }
            // GitLab before 17.4 has no key, and then nothing tells which event it is.
            if let Some(key) = attempt.request_headers.idempotency_key {
                deliveries.add(key, id);
            }
        }
        match next(&answer.headers) {
            Some(next) if !is_last => page = next,
            _ => return Ok(deliveries),
        }
    }
    Err(RoundError::new("the list of events has too many pages"))
}

/// The number of the next page.
fn next(headers: &HeaderMap) -> Option<String> {
    let next = headers.get("x-next-page")?.to_str().ok()?;
    let is_number = !next.is_empty() && next.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| next.to_owned())
}

/// Events in a page; GitLab gives no more.
const PAGE_EVENTS: usize = 20;
/// Pages in a round.
const PAGES_MAX: usize = 2_000;
/// GitLab allows five such requests a minute.
const THROTTLE: Throttle = Throttle { burst: 5, pause: Duration::from_secs(61) };
/// How long GitLab lists events.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
