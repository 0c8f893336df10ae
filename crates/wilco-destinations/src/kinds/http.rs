//! An HTTP service: gets the raw body by POST, with headers and a signature as in Standard Webhooks.

use std::{cell::LazyCell, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header, request};
use serde::de::IgnoredAny;
use wilco::{Body, Event};
use wilco_config::{
    Key, Reference, Setting, SpannedStr, TableReader, TableView, TextError, TextOrReference,
    Unresolved, ValueType, is_credential_name, url,
};
use wilco_delivery::{Destination, Text, View};
use wilco_store::Claim;

use crate::{
    clock,
    destination::DestinationConfig,
    hidden::hidden_value,
    http_service::{Filled, HttpService, Requests, ServiceUrl, UrlInFile},
    kind::{Kind, OpenError, Settings, SharedSettings},
    text::is_alert,
};

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

/// The template that replaces the body of the event, and the added headers.
#[derive(Clone, Debug, Default, PartialEq)]
struct Form {
    body: Option<Text>,
    headers: Vec<(HeaderName, HeaderText)>,
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq)]
enum HeaderText {
    /// Rendered for each event.
    Template(Text),
    /// The same for all events, from a reference.
    Secret(Setting),
}

/// A header as the file has it.
enum HeaderInFile {
    Template(HeaderName, Text),
    Reference(HeaderName, Reference),
}

impl HttpSettings {
    /// A service that gets every event as it is, unsigned.
    fn plain(url: http::Uri) -> Self {
        Self { url: ServiceUrl::new(url, false), secret: None, form: Form::default() }
    }

    fn read(keys: &mut TableReader<'_>) -> Unresolved<Self> {
        let url = UrlInFile::read(keys, url);
        let secret = keys.reference("secret");
        let body = keys.template("body", Text::parse);
        let headers = keys.entries("headers").into_iter();
        let headers: Vec<_> =
            headers.filter_map(|(name, value)| HeaderInFile::read(keys, &name, value)).collect();
        Unresolved::new(move |table| {
            let url = url.and_then(|url| url.resolve(table));
            let secret = secret.and_then(|secret| signing_secret(&secret, table));
            let headers = headers.into_iter().filter_map(|header| header.resolve(table)).collect();
            Some(Self { url: url?, secret, form: Form { body, headers } })
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

    fn hidden(&self) -> Vec<(String, String)> {
        let values = self.form.headers.iter().filter_map(|(name, text)| match text {
            HeaderText::Secret(value) => hidden_value(name.as_str(), value),
            HeaderText::Template(_) => None,
        });
        let values = values.flat_map(|(value, words)| {
            parts_of_header(&value).into_iter().map(move |part| (part, words.clone()))
        });
        self.url.hidden().into_iter().chain(values).collect()
    }

    fn advise(&self, table: &TableView<'_>, is_about: &dyn Fn(&str) -> bool) {
        let Form { body, headers } = &self.form;
        if let Some(body) = body {
            let kind = headers.iter().find(|(name, _)| *name == header::CONTENT_TYPE);
            // freispace sends JSON, and what it says is passed on where the file says nothing.
            let is_json = kind.is_none_or(|(_, text)| match text {
                HeaderText::Template(text) => text.source().contains("json"),
                HeaderText::Secret(_) => false,
            });
            table.advise("body", body.advice(is_about, is_json));
        }
        for (_, text) in headers {
            let HeaderText::Template(text) = text else { continue };
            for advice in text.advice(is_about, false) {
                table.warn_about("headers", advice.message, &advice.hint);
            }
        }
    }
}

/// A service may repeat the token without its scheme, or a password without its Base64.
fn parts_of_header(value: &str) -> Vec<String> {
    let token = value.rsplit(' ').next().unwrap_or_default();
    let decoded = BASE64_STANDARD.decode(token).ok().and_then(|text| String::from_utf8(text).ok());
    let password = decoded.as_ref().and_then(|text| Some(text.split_once(':')?.1.to_owned()));
    [Some(value.to_owned()), Some(token.to_owned()), password].into_iter().flatten().collect()
}

impl HeaderInFile {
    fn read(
        table: &TableView<'_>,
        name: &SpannedStr<'_>,
        value: TextOrReference<'_>,
    ) -> Option<Self> {
        let parsed = header_name(name.text);
        let parsed = parsed.map_err(|error| table.error_within(name, name.text, &error)).ok();
        let text = match value {
            TextOrReference::Text(text) => text,
            TextOrReference::Reference(reference) => {
                return Some(Self::Reference(parsed?, reference));
            }
        };
        if is_credential_name(name.text) && !text.text.contains("{{") {
            let name = name.text;
            let message =
                format!("{name} is in the file itself, where everyone who reads it sees it");
            let hint = format!("such as {name} = {{ env = \"ERP_TOKEN\" }}");
            table.warn_at(&text, None, message, &hint);
        }
        let template = header_template(text.text);
        let template = template.map_err(|error| table.error_within(&text, name.text, &error)).ok();
        Some(Self::Template(parsed?, template?))
    }

    fn resolve(self, table: &TableView<'_>) -> Option<(HeaderName, HeaderText)> {
        let (name, reference) = match self {
            Self::Template(name, text) => return Some((name, HeaderText::Template(text))),
            Self::Reference(name, reference) => (name, reference),
        };
        let value = reference.setting(table)?;
        if HeaderValue::from_bytes(&value.0).is_err() {
            let what = "what it leads to contains a byte that headers cannot contain";
            let hint = "store the value there, and nothing else";
            reference.error(table, format!("{name}: {what}"), hint);
            return None;
        }
        Some((name, HeaderText::Secret(value)))
    }
}

fn header_template(text: &str) -> Result<Text, TextError> {
    match text.contains(['\r', '\n']) {
        true => Err(TextError::new("a header has no line break", "write it in one line")),
        false => Text::parse(text),
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

fn header_name(name: &str) -> Result<http::HeaderName, TextError> {
    let parsed = http::HeaderName::try_from(name);
    let name = parsed
        .map_err(|_| TextError::new("invalid name of a header", "such as idempotency-key"))?;
    let text = name.as_str();
    if text.starts_with("webhook-") || text.starts_with("x-wilco-") || RESERVED.contains(&text) {
        return Err(TextError::new("wilco writes this header itself", "leave it out"));
    }
    Ok(name)
}

impl Requests for HttpSettings {
    fn fill(&self, request: request::Builder, claim: &Claim) -> Result<Filled, String> {
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
        if let Some(key) = self.secret.as_ref().and_then(key) {
            request = request.header("webhook-signature", sign(&key, &id, unix_seconds, &body));
        }
        Ok((request, body))
    }
}

impl Form {
    /// Renders the headers and the body for an event. The body template and its content type are for the events of a
    /// provider: an alert is sent as it is, with those of the other headers that can be rendered for it.
    fn fill(&self, event: &Event) -> Result<(HeaderMap, Body), String> {
        let is_alert = is_alert(event);
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
        if !headers.contains_key(header::CONTENT_TYPE) {
            let as_sent =
                || HeaderValue::from_bytes(event.headers.all("content-type").next()?).ok();
            let kind = match event.item {
                Some(_) => Some(HeaderValue::from_static("application/json")),
                None => as_sent(),
            };
            headers.extend(kind.map(|kind| (header::CONTENT_TYPE, kind)));
        }
        let Some(text) = self.body.as_ref().filter(|_| !is_alert) else {
            return Ok((headers, event.body.clone()));
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
        Ok((headers, body.into()))
    }
}

/// A line break in a value would begin another header.
fn header_value(name: &HeaderName, value: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(value).map_err(|_| {
        format!(
            "the header {name} would hold a line break or a control character; take it out with \
             {{{{ data.name | split | join(\" \") }}}}"
        )
    })
}

/// `application/json` and related types, such as `application/problem+json`.
fn is_json(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind == "application/json" || kind == "text/json" || kind.ends_with("+json")
}

/// The signed text is `id.timestamp.body`. The key is the Base64 after `whsec_`, or else the bytes of the
/// secret (<https://github.com/standard-webhooks/standard-webhooks>, spec).
fn sign(key: &[u8], id: &str, unix_seconds: i64, body: &Body) -> String {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    mac.update(format!("{id}.{unix_seconds}.").as_bytes());
    body.chunks().for_each(|chunk| mac.update(chunk));
    format!("v1,{}", BASE64_STANDARD.encode(mac.sign()))
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

/// Headers that describe the request itself.
const RESERVED: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "te"];

#[cfg(test)]
mod tests {
    use wilco_delivery::Reply;

    use super::*;
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
