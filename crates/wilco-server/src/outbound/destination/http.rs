//! An HTTP service: the raw body by POST, named and signed as Standard Webhooks says.

use std::{cell::LazyCell, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::Full;
use sha2::Sha256;
use wilco_store::Claim;

use super::{Destination, Reply, post};
use crate::{
    client::{Client, Trust},
    clock,
    config::Setting,
    rules::{RuleError, Text, View},
};

pub(super) struct Http {
    url: Uri,
    key: Option<Vec<u8>>,
    form: Form,
    timeout: Duration,
    client: Result<Client, String>,
}

/// What is sent in place of the event's own body, and beside it.
pub(super) struct Form {
    pub(super) body: Option<Text>,
    pub(super) headers: Vec<(HeaderName, Text)>,
}

impl Http {
    pub(super) fn new(url: &Uri, secret: Option<&Setting>, form: Form, timeout: Duration) -> Self {
        Self {
            url: url.clone(),
            key: secret.map(key),
            form,
            timeout,
            client: Client::new(Trust::System).map_err(|error| error.to_string()),
        }
    }

    fn request(
        &self,
        claim: &Claim,
        unix_seconds: i64,
    ) -> Result<Request<Full<Bytes>>, Box<dyn std::error::Error>> {
        let event = claim.event();
        let id = event.id.to_string();
        let mut request = Request::post(&self.url)
            .header(header::USER_AGENT, concat!("wilco/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &id)
            .header("webhook-timestamp", unix_seconds)
            .header("x-wilco-event-name", header_text(&event.name))
            .header("x-wilco-attempt", claim.attempt());
        let view = LazyCell::new(|| View::of(event));
        let own: Result<Vec<_>, RuleError> =
            self.form.headers.iter().map(|(name, text)| Ok((name, text.render(&view)?))).collect();
        let own = own?;
        let says_kind = own.iter().any(|(name, _)| **name == header::CONTENT_TYPE);
        for (name, value) in own {
            request = request.header(name, HeaderValue::try_from(value)?);
        }
        if let Some(kind) = event.headers.all("content-type").next().filter(|_| !says_kind) {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let body = match &self.form.body {
            None => event.body.clone(),
            Some(text) => text.render(&view)?.into(),
        };
        if let Some(key) = &self.key {
            request = request.header("webhook-signature", sign(key, &id, unix_seconds, &body));
        }
        Ok(request.body(Full::new(body))?)
    }
}

#[async_trait]
impl Destination for Http {
    async fn deliver(&self, claim: &Claim) -> Reply {
        let request = match self.request(claim, clock::now().as_second()) {
            Ok(request) => request,
            Err(error) => return Reply::failed(format!("no request could be made: {error}")),
        };
        post(&self.client, request, self.timeout).await
    }
}

/// The signed text is `id.timestamp.body`, the key what follows `whsec_` in Base64, or else the
/// secret's own bytes (<https://github.com/standard-webhooks/standard-webhooks>, spec).
fn sign(key: &[u8], id: &str, unix_seconds: i64, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104, section 2)")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(format!("{id}.{unix_seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

fn key(secret: &Setting) -> Vec<u8> {
    let encoded = secret.0.strip_prefix(b"whsec_");
    encoded.and_then(|text| BASE64_STANDARD.decode(text).ok()).unwrap_or_else(|| secret.0.clone())
}

/// An event's name comes from a body: what a header cannot hold is left out.
fn header_text(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(256).collect()
}
