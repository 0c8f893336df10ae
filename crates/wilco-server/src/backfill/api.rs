//! Requests to the API of a provider.

use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use wilco_destinations::client::{Answer, Client, Trust, retry_after};
use wilco_store::StoreError;

use crate::{clock, config::Backfill};

/// The API of a provider. The token goes to no other address.
pub(crate) struct Api<'a> {
    client: Client,
    backfill: &'a Backfill,
}

/// Why a round ended early. What it had found by then is recorded.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct RoundError {
    what: String,
    /// How long the provider asks to wait.
    retry_after: Option<Duration>,
    /// What the provider answered, if that is the reason.
    pub(super) status: Option<StatusCode>,
    /// Only a person can change it.
    pub(super) is_lasting: bool,
}

impl RoundError {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), retry_after: None, status: None, is_lasting: false }
    }

    /// How long to wait after this many earlier failures.
    pub(super) fn wait(&self, failures: u32, every: Duration) -> Duration {
        let backoff = RETRY_FIRST.saturating_mul(1 << failures.min(16)).min(every);
        backoff.max(self.retry_after.unwrap_or_default())
    }
}

impl From<StoreError> for RoundError {
    fn from(error: StoreError) -> Self {
        Self::new(error.to_string())
    }
}

impl<'a> Api<'a> {
    pub(super) fn new(backfill: &'a Backfill) -> Result<Self, RoundError> {
        let invalid = |error: http::uri::InvalidUri| RoundError::new(error.to_string());
        let url: Uri = backfill.url.parse().map_err(invalid)?;
        let client = Client::new(&url, Trust::System);
        let client = client.map_err(|error| RoundError::new(error.to_string()))?;
        Ok(Self { client, backfill })
    }

    /// Sends a request to a path of the API, and returns an answer of 2xx.
    pub(super) async fn send(&self, method: Method, path: &str) -> Result<Answer, RoundError> {
        let failed = |what: String| RoundError::new(format!("{method} {path}: {what}"));
        let token = [b"Bearer ", self.backfill.token.expose()].concat();
        let request = Request::builder()
            .method(method.clone())
            .uri(format!("{}{path}", self.backfill.url))
            .header(header::AUTHORIZATION, token)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "wilco")
            .body(wilco::Body::default())
            .map_err(|error| failed(error.to_string()))?;
        let answer = self.client.send(request, TIMEOUT, PAGE_BYTES_MAX).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        let status = answer.status;
        if status.is_success() {
            return match answer.is_whole {
                true => Ok(answer),
                false => Err(failed("the answer is cut off, or larger than 32 MiB".into())),
            };
        }
        let retry_after = wait_asked(&answer.headers);
        let is_lasting = retry_after.is_none()
            && matches!(
                status,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
            );
        let hint = if is_lasting { "; check the token, and what it may read" } else { "" };
        let what = format!("{method} {path}: status {}{hint}", status.as_u16());
        Err(RoundError { what, retry_after, status: Some(status), is_lasting })
    }
}

/// How long the provider asks to wait, at most [`RETRY_AFTER_MAX`].
fn wait_asked(headers: &HeaderMap) -> Option<Duration> {
    let now = clock::now();
    let wait = retry_after(headers, now).or_else(|| {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
        // GitHub's limit of requests an hour says only when it ends.
        let is_used_up = number("x-ratelimit-remaining") == Some(0);
        let reset = is_used_up.then(|| number("x-ratelimit-reset")).flatten()?;
        Some(Duration::from_secs(reset.saturating_sub(now.as_second().unsigned_abs())))
    })?;
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The wait after the first round that failed; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(5);
/// The longest wait that a provider can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// The longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer, in bytes.
const PAGE_BYTES_MAX: usize = 32 << 20;
