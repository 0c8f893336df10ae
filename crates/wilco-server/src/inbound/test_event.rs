//! Test events: requests that wilco signs itself. They are received like all others.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::time::Instant;
use wilco::{Unsigned, provider::uuid};
use wilco_store::Receipt;

use super::{Client, Handled, Inbound};
use crate::{clock, config};

/// Why a test event was not recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TestError {
    #[error("{0}")]
    Unsigned(String),
    #[error("the test event was refused: {why}")]
    Refused {
        /// What another sender would get.
        status: StatusCode,
        why: String,
    },
    #[error(
        "the provider uses such a request as a handshake: it was answered, and not recorded as an event"
    )]
    Handshake,
}

impl Inbound {
    /// Signs a body as the provider of this source does, and receives the request. It comes from wilco itself
    /// and thus from none of the networks of `allow_from`, which is why these are not asked about.
    pub(crate) async fn send_test(
        &self,
        source: &config::Source,
        event: &str,
        body: String,
    ) -> Result<Receipt, TestError> {
        let began = Instant::now();
        let request = signed(source, event, body).map_err(TestError::Unsigned)?;
        let source = Arc::new(config::Source { allow_from: Vec::new(), ..source.clone() });
        let max_body = self.endpoints.load().max_body;
        match self.receive(&source, request, Ok(Client::Local), max_body, began).await {
            Ok(Handled::Recorded(receipt)) => Ok(receipt),
            Ok(Handled::Challenged(..)) => Err(TestError::Handshake),
            Err(refusal) => {
                let (status, ..) = refusal.outcome();
                let why = refusal.to_string();
                self.refuse(Some(&source), refusal, Client::Local).await;
                Err(TestError::Refused { status, why })
            }
        }
    }
}

/// The request that the provider would send.
fn signed(
    source: &config::Source,
    event: &str,
    body: String,
) -> Result<Request<Full<Bytes>>, String> {
    let now = clock::now();
    let secret = source.test_secret(now)?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| error.to_string())?;
    let url = source.known_url(None).unwrap_or_else(|| source.path.clone());
    let id = &uuid(u128::from_be_bytes(random));
    let unsigned = Unsigned { url: &url, id, ..Unsigned::post(body.as_bytes(), now) };
    let headers = source.provider.test_headers(secret, event, &unsigned);
    let headers = headers.map_err(|error| error.to_string())?;
    headers
        .iter()
        .fold(Request::post(&source.path), |request, (name, value)| request.header(name, value))
        .body(Full::from(body))
        .map_err(|error| format!("cannot build the request: {error}"))
}
