//! An HTTP service: gets the raw body by POST, with headers and a signature as in Standard Webhooks.

mod form;

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::request;
use wilco::{Body, Event};
use wilco_config::{Key, Reference, Setting, TableReader, TableView, Unresolved, ValueType, url};
use wilco_delivery::Destination;
use wilco_store::Claim;

use crate::{
    clock,
    destination::DestinationConfig,
    http_service::{Filled, HttpService, NotFilled, Requests, ServiceUrl, UrlInFile},
    kind::{Kind, OpenError, Settings, SharedSettings},
    preview::PreviewPart,
    trace::{self, TRACEPARENT, TRACESTATE},
};

use form::{Form, FormInFile};

pub(crate) static KIND: Kind = Kind {
    name: "http",
    keys: &[
        Key::new("url", ValueType::TextOrReference, "\"https://erp.example.com/hooks\"")
            .required()
            .secret()
            .doc("`http://` or `https://`, without a name or password"),
        Key::new("secret", ValueType::Reference, "{ env = \"ERP_SECRET\" }")
            .secret()
            .doc("signs the requests"),
        Key::new(
            "headers",
            ValueType::MapOf(&ValueType::TextOrReference),
            "{ authorization = { env = \"ERP_TOKEN\" } }",
        )
        .secret()
        .doc("further headers: templates, or references, which are sent as they are"),
        Key::new("body", ValueType::Template, "\"{{ body | tojson }}\"")
            .absence("the body of the event")
            .secret()
            .doc("what is sent instead of the body of the event"),
    ],
    written_path: None,
    concurrency: 8,
    read: |keys| HttpSettings::read(keys).map(SharedSettings::new),
};

#[derive(Clone, Debug, PartialEq)]
struct HttpSettings {
    url: ServiceUrl,
    /// The secret that signs requests.
    secret: Option<Setting>,
    form: Form,
}

impl HttpSettings {
    /// A service that gets every event as it is, unsigned.
    fn plain(url: http::Uri) -> Self {
        Self { url: ServiceUrl::new(url, false), secret: None, form: Form::default() }
    }

    fn read(keys: &mut TableReader<'_>) -> Unresolved<Self> {
        let url = UrlInFile::read(keys, url);
        let secret = keys.reference("secret");
        let form = FormInFile::read(keys);
        Unresolved::new(move |table| {
            let url = url.and_then(|url| url.resolve(table));
            let secret = secret.and_then(|secret| signing_secret(&secret, table));
            let form = form.resolve(table);
            Some(Self { url: url?, secret, form })
        })
    }
}

impl DestinationConfig {
    /// An HTTP service that gets every event as it is, unsigned.
    pub fn http(name: &str, url: http::Uri) -> Self {
        Self::new(name, SharedSettings::new(HttpSettings::plain(url)))
    }
}

#[async_trait]
impl Settings for HttpSettings {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    async fn open(&self, _: &str, timeout: Duration) -> Result<Arc<dyn Destination>, OpenError> {
        HttpService::open(&self.url, timeout, self.clone())
    }

    fn preview(&self, event: &Event) -> Result<Vec<PreviewPart>, String> {
        let secret = self.secret.as_ref();
        let secret = secret.map(|secret| PreviewPart::secret("secret", secret.0.clone()));
        let form = self.form.preview(event)?;
        Ok([self.url.preview()].into_iter().chain(secret).chain(form).collect())
    }

    fn hidden(&self) -> Vec<(String, String)> {
        self.url.hidden().into_iter().chain(self.form.hidden()).collect()
    }

    fn advise(&self, table: &TableView<'_>, is_about: &dyn Fn(&str) -> bool) {
        self.form.advise(table, is_about);
    }
}

fn signing_secret(reference: &Reference, table: &TableView<'_>) -> Option<Setting> {
    let secret = reference.setting(table)?;
    if key(&secret).is_none() {
        let what = "the secret begins with whsec_, but what follows is not base64".into();
        reference.error(table, what, "copy it completely, and nothing else");
        return None;
    }
    Some(secret)
}

impl Requests for HttpSettings {
    fn fill(&self, request: request::Builder, claim: &Claim) -> Result<Filled, NotFilled> {
        let event = claim.event();
        let (id, unix_seconds) = (event.delivered_id(), clock::now().as_second());
        let mut request = request
            .header("webhook-id", &id)
            .header("webhook-timestamp", unix_seconds)
            .header("x-wilco-event-name", header_text(&event.name))
            .header("x-wilco-attempt", claim.attempt());
        if let Some(item) = event.item {
            request = request.header("x-wilco-item", item);
        }
        let (headers, body) = self.form.fill(event)?;
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        let (traceparent, tracestate) = trace::passed_on(claim);
        for (name, value) in [(TRACEPARENT, traceparent), (TRACESTATE, tracestate)] {
            if let Some(value) = value.filter(|_| !headers.contains_key(TRACEPARENT)) {
                request = request.header(name, value);
            }
        }
        if let Some(key) = self.secret.as_ref().and_then(key) {
            request = request.header("webhook-signature", sign(&key, &id, unix_seconds, &body)?);
        }
        Ok((request, body))
    }
}

/// The signed text is `id.timestamp.body`. The key is the Base64 after `whsec_`, or else the bytes of the
/// secret (<https://github.com/standard-webhooks/standard-webhooks>, spec).
fn sign(key: &[u8], id: &str, unix_seconds: i64, body: &Body) -> io::Result<String> {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    mac.update(format!("{id}.{unix_seconds}.").as_bytes());
    for chunk in body.chunks() {
        mac.update(&chunk?);
    }
    Ok(format!("v1,{}", BASE64_STANDARD.encode(mac.sign())))
}

fn key(secret: &Setting) -> Option<Vec<u8>> {
    match secret.0.starts_with(b"whsec_") {
        true => wilco::standard_webhooks_key(&secret.0),
        false => Some(secret.0.clone()),
    }
}

/// The name of an event comes from a body: characters that a header cannot contain are left out.
fn header_text(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(256).collect()
}

#[cfg(test)]
mod tests {
    use http::header;
    use wilco_delivery::Reply;

    use super::{form::HeaderText, *};
    use crate::hidden::Hidden;

    fn said(settings: &HttpSettings, text: &str) -> String {
        Hidden::of(settings).clean(Reply::failed(text.into())).result
    }

    fn with_authorization(value: &[u8]) -> HttpSettings {
        let value = HeaderText::Secret(Setting(value.to_vec()));
        let mut settings = HttpSettings::plain(http::Uri::from_static("https://a.example/"));
        settings.form.headers = vec![(header::AUTHORIZATION, value)];
        settings
    }

    #[test]
    fn a_header_from_a_reference_and_its_token_are_hidden() {
        let settings = with_authorization(b"Bearer canary-token");
        for text in ["no Bearer canary-token", "no canary-token"] {
            assert_eq!(said(&settings, text), "no (the value of authorization)");
        }
    }

    #[test]
    fn the_password_in_basic_authorization_is_hidden_as_well() {
        let settings = with_authorization(b"Basic dXNlcjpjYW5hcnktcGFzcw==");
        for text in ["canary-pass", "dXNlcjpjYW5hcnktcGFzcw==", "Basic dXNlcjpjYW5hcnktcGFzcw=="] {
            let expected = "no (the value of authorization)!";
            assert_eq!(said(&settings, &format!("no {text}!")), expected);
        }
    }

    #[test]
    fn no_part_of_a_secret_url_is_shown() {
        let uri =
            "https://a.example/services/T000/canary-path?v=1&sig=canary-query".parse().unwrap();
        let settings = |is_secret| {
            let mut settings = HttpSettings::plain(http::Uri::clone(&uri));
            settings.url.is_secret = is_secret;
            settings
        };
        for (text, expected) in [
            ("no /services/T000/canary-path", "no (the secret URL)"),
            (
                "at /services/T000/canary-path?v=1&sig=canary-query",
                "at (the secret URL)?(the secret URL)",
            ),
            (r"no \/T000\/canary-path", r"no \/T000\/(the secret URL)"),
            ("v=1&amp;sig=canary-query", "(the secret URL)"),
            ("404 at a.example", "404 at a.example"),
        ] {
            assert_eq!(said(&settings(true), text), expected);
            assert_eq!(said(&settings(false), text), text);
        }
    }
}
