//! An HTTP service: the raw body by POST, named and signed as Standard Webhooks says.

use std::{cell::LazyCell, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::Full;
use serde::de::IgnoredAny;
use sha2::Sha256;
use wilco::Event;
use wilco_store::{ALERTS, Claim};

use super::{Destination, Reply, post};
use crate::{
    client::{Client, Trust},
    clock,
    config::{HeaderText, Setting, TargetUrl},
    rules::{Text, View},
};

pub(super) struct Http {
    url: TargetUrl,
    key: Option<Vec<u8>>,
    form: Form,
    timeout: Duration,
    client: Result<Client, String>,
}

/// What is sent in place of the event's own body, and beside it.
pub(super) struct Form {
    pub(super) body: Option<Text>,
    pub(super) headers: Vec<(HeaderName, HeaderText)>,
}

impl Http {
    pub(super) fn new(
        url: &TargetUrl,
        secret: Option<&Setting>,
        form: Form,
        timeout: Duration,
    ) -> Self {
        Self {
            url: url.clone(),
            key: secret.map(key),
            form,
            timeout,
            client: Client::new(Trust::System).map_err(|error| error.to_string()),
        }
    }

    /// The request, or why no attempt can ever make one: it depends on the event and on the file.
    fn request(&self, claim: &Claim, unix_seconds: i64) -> Result<Request<Full<Bytes>>, String> {
        let event = claim.event();
        let id = event.id.to_string();
        let mut request = Request::post(&self.url.uri.0)
            .header(header::USER_AGENT, concat!("wilco/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &id)
            .header("webhook-timestamp", unix_seconds)
            .header("x-wilco-event-name", header_text(&event.name))
            .header("x-wilco-attempt", claim.attempt());
        let filled = self.form.fill(event)?;
        for (name, value) in &filled.headers {
            request = request.header(name, value);
        }
        if let Some(key) = &self.key {
            let signature = sign(key, &id, unix_seconds, &filled.body);
            request = request.header("webhook-signature", signature);
        }
        let request = request.body(Full::new(filled.body));
        request.map_err(|error| format!("no request could be made: {error}"))
    }
}

/// A form that was filled from an event.
struct Filled {
    headers: HeaderMap,
    body: Bytes,
}

impl Form {
    /// What is sent about an event. The body and its content type are about the events of a provider: an
    /// alert is sent as it is, with those of the other headers that can be filled from it.
    fn fill(&self, event: &Event) -> Result<Filled, String> {
        let is_alert = event.source.as_str() == ALERTS;
        let view = LazyCell::new(|| View::of(event));
        let mut headers = HeaderMap::new();
        for (name, text) in &self.headers {
            let value = match text {
                HeaderText::Template(_) if is_alert && name == header::CONTENT_TYPE => continue,
                HeaderText::Template(text) => {
                    let value = view.as_ref().map_err(Clone::clone).and_then(|v| text.render(v));
                    let value = value.map_err(|error| format!("the header {name} failed: {error}"));
                    match value.and_then(|value| header_value(name, &value)) {
                        Err(_) if is_alert => continue,
                        value => value?,
                    }
                }
                HeaderText::Secret(value) => {
                    let wrong = |_| format!("the header {name} cannot be sent");
                    let mut value = HeaderValue::from_bytes(&value.0).map_err(wrong)?;
                    value.set_sensitive(true);
                    value
                }
            };
            headers.append(name, value);
        }
        if !headers.contains_key(header::CONTENT_TYPE)
            && let Some(kind) = event.headers.all("content-type").next()
            && let Ok(kind) = HeaderValue::from_bytes(kind)
        {
            headers.insert(header::CONTENT_TYPE, kind);
        }
        let Some(text) = self.body.as_ref().filter(|_| !is_alert) else {
            return Ok(Filled { headers, body: event.body.clone() });
        };
        let body = view.as_ref().map_err(Clone::clone).and_then(|view| text.render(view));
        let body = body.map_err(|error| format!("the body failed: {error}"))?;
        if headers.get(header::CONTENT_TYPE).is_some_and(is_json)
            && let Err(error) = serde_json::from_str::<IgnoredAny>(&body)
        {
            return Err(format!(
                "the body is not JSON: {error}; write values as {{{{ data.name | tojson }}}}, \
                 without quotes around them"
            ));
        }
        Ok(Filled { headers, body: body.into() })
    }
}

/// A line break in a value would end the header and begin another.
fn header_value(name: &HeaderName, value: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(value).map_err(|_| {
        format!(
            "the header {name} would hold a line break or a control character; take it out with \
             {{{{ data.name | split | join(\" \") }}}}"
        )
    })
}

/// `application/json` and its kin, such as `application/problem+json`.
fn is_json(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind == "application/json" || kind == "text/json" || kind.ends_with("+json")
}

#[async_trait]
impl Destination for Http {
    async fn deliver(&self, claim: &Claim) -> Reply {
        let request = match self.request(claim, clock::now().as_second()) {
            Ok(request) => request,
            Err(why) => return Reply::unsendable(why),
        };
        post(&self.client, request, &self.url, self.timeout).await
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
