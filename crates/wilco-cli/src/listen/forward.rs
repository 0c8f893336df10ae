//! Sends an event on, as its provider would.

use std::{collections::BTreeSet, time::Duration};

use http::{Request, Uri};
use tokio::time::Instant;
use wilco::{Body, Secret, Unsigned, provider};
use wilco_server::{
    admin::{EventDetail, Header},
    client::Client,
    clock,
};

use super::Outcome;
use crate::{Failure, client_for, note};

/// Sends events to a URL of this machine.
pub(super) struct Forward {
    url: Uri,
    secret: Secret,
    client: Client,
    /// Providers of which it was said that only they can sign.
    noted: BTreeSet<String>,
}

type Headers = Vec<(String, String)>;

impl Forward {
    pub(super) fn new(url: Uri, secret: Secret) -> Result<Self, Failure> {
        let client = client_for(&url)?;
        Ok(Self { url, secret, client, noted: BTreeSet::new() })
    }

    /// Sends an event once.
    pub(super) async fn send(
        &mut self,
        event: &EventDetail,
        body: &[u8],
    ) -> Result<Outcome, Failure> {
        let signed = self.sign(event, body)?;
        let request =
            Request::post(&self.url).header("x-wilco-event", event.summary.id.to_string());
        let is_signed =
            |name: &str| signed.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let sent =
            event.headers.iter().filter(|header| is_sent(header) && !is_signed(&header.name));
        let request =
            sent.fold(request, |request, Header { name, value }| request.header(name, value));
        let request =
            signed.iter().fold(request, |request, (name, value)| request.header(name, value));
        let request = request.body(Body::from(body.to_vec()))?;
        let began = Instant::now();
        let answer = self.client.send(request, TIMEOUT, ANSWER_BYTES_MAX).await;
        let took = began.elapsed();
        Ok(match answer {
            Ok(answer) => Outcome::Answered { status: answer.status, took },
            Err(error) => Outcome::NoAnswer(error.to_string()),
        })
    }

    /// The headers with which the provider would sign, or those of Standard Webhooks if only the provider can.
    fn sign(&mut self, event: &EventDetail, body: &[u8]) -> Result<Headers, Failure> {
        let sign = |name: &str| {
            let scheme = &provider::find(name).ok_or("this wilco does not know it")?.scheme;
            let sent = scheme.id_header().and_then(|name| {
                event.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))
            });
            let (id, url) = (event.summary.id.to_string(), self.url.to_string());
            let id = sent.map_or(id.as_str(), |header| header.value.as_str());
            let unsigned = Unsigned { url: &url, id, ..Unsigned::post(body, clock::now()) };
            scheme.sign(&self.secret, &unsigned).map_err(|error| error.to_string())
        };
        let provider = event.provider.as_deref().unwrap_or_default();
        let why = match sign(provider) {
            Ok(headers) => return Ok(headers),
            Err(why) => why,
        };
        if self.noted.insert(provider.to_owned()) {
            note(&format!("events of {provider} are signed as Standard Webhooks specifies: {why}"));
        }
        sign(STANDARD).map_err(Failure::usage)
    }
}

/// Whether a header of the request is sent on: not those of the connection and of proxies, and nothing that
/// signed the request or was hidden.
fn is_sent(header: &Header) -> bool {
    let name = header.name.to_ascii_lowercase();
    let name = name.as_str();
    header.value != HIDDEN
        && !OF_THE_CONNECTION.contains(&name)
        && !name.contains("signature")
        && !name.starts_with("x-forwarded-")
        && http::HeaderName::try_from(name).is_ok()
        && http::HeaderValue::try_from(header.value.as_str()).is_ok()
}

const OF_THE_CONNECTION: [&str; 12] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
/// What the API shows in place of a credential.
const HIDDEN: &str = "(redacted)";
const STANDARD: &str = "standard-webhooks";
const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 << 10;
