//! What a request to an HTTP service holds: the headers and the body, from the event and the file.

use std::cell::LazyCell;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::de::IgnoredAny;
use wilco::{Body, Event};
use wilco_config::{
    Reference, Setting, SpannedStr, TableReader, TableView, TextError, TextOrReference,
    is_credential_name,
};
use wilco_delivery::{Text, View};

use crate::{
    hidden::hidden_value,
    http_service::is_secret_header,
    preview::{AS_RECEIVED, PreviewPart},
    text::is_alert,
};

/// The template that replaces the body of the event, and the added headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Form {
    body: Option<Text>,
    pub(super) headers: Vec<(HeaderName, HeaderText)>,
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum HeaderText {
    /// Rendered for each event.
    Template(Text),
    /// The same for all events, from a reference.
    Secret(Setting),
}

/// The form as the file has it.
pub(super) struct FormInFile {
    body: Option<Text>,
    headers: Vec<HeaderInFile>,
}

/// A header as the file has it.
enum HeaderInFile {
    Template(HeaderName, Text),
    Reference(HeaderName, Reference),
}

impl Form {
    /// Renders the headers and the body for an event. The body template and its content type are for the events of a
    /// provider: an alert is sent as it is, with those of the other headers that can be rendered for it.
    pub(super) fn fill(&self, event: &Event) -> Result<(HeaderMap, Body), String> {
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

    /// The headers and the body as parts of a preview. A credential is not shown, wherever it comes from.
    pub(super) fn preview(&self, event: &Event) -> Result<Vec<PreviewPart>, String> {
        let (headers, body) = self.fill(event)?;
        let mut parts = Vec::new();
        for (name, value) in &headers {
            let part = format!("headers.{name}");
            parts.push(match is_secret_header(name, value) {
                true => PreviewPart::secret(part, value.as_bytes()),
                false => PreviewPart::text(part, String::from_utf8_lossy(value.as_bytes())),
            });
        }
        let rendered = self.body.as_ref().filter(|_| !is_alert(event));
        let body = match rendered.map(|_| body.contiguous(usize::MAX)) {
            Some(body) => {
                let body = body.map_err(|error| error.to_string())?;
                String::from_utf8_lossy(&body).into_owned()
            }
            None => AS_RECEIVED.into(),
        };
        parts.push(PreviewPart::text("body", body));
        Ok(parts)
    }

    /// The values that must not appear in any output, each with what is shown instead.
    pub(super) fn hidden(&self) -> impl Iterator<Item = (String, String)> {
        let values = self.headers.iter().filter_map(|(name, text)| match text {
            HeaderText::Secret(value) => hidden_value(name.as_str(), value),
            HeaderText::Template(_) => None,
        });
        values.flat_map(|(value, words)| {
            parts_of_header(&value).into_iter().map(move |part| (part, words.clone()))
        })
    }

    pub(super) fn advise(&self, table: &TableView<'_>, is_about: &dyn Fn(&str) -> bool) {
        if let Some(body) = &self.body {
            let kind = self.headers.iter().find(|(name, _)| *name == header::CONTENT_TYPE);
            // freispace sends JSON, and what it says is passed on where the file says nothing.
            let is_json = kind.is_none_or(|(_, text)| match text {
                HeaderText::Template(text) => text.source().contains("json"),
                HeaderText::Secret(_) => false,
            });
            table.advise("body", body.advice(is_about, is_json));
        }
        for (_, text) in &self.headers {
            let HeaderText::Template(text) = text else { continue };
            for advice in text.advice(is_about, false) {
                table.warn_about("headers", advice.message, &advice.hint);
            }
        }
    }
}

impl FormInFile {
    pub(super) fn read(keys: &mut TableReader<'_>) -> Self {
        let body = keys.template("body", Text::parse);
        let headers = keys.entries("headers").into_iter();
        let headers =
            headers.filter_map(|(name, value)| HeaderInFile::read(keys, &name, value)).collect();
        Self { body, headers }
    }

    pub(super) fn resolve(self, table: &TableView<'_>) -> Form {
        let headers = self.headers.into_iter().filter_map(|header| header.resolve(table)).collect();
        Form { body: self.body, headers }
    }
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

/// A service may repeat the token without its scheme, or a password without its Base64.
fn parts_of_header(value: &str) -> Vec<String> {
    let token = value.rsplit(' ').next().unwrap_or_default();
    let decoded = BASE64_STANDARD.decode(token).ok().and_then(|text| String::from_utf8(text).ok());
    let password = decoded.as_ref().and_then(|text| Some(text.split_once(':')?.1.to_owned()));
    [Some(value.to_owned()), Some(token.to_owned()), password].into_iter().flatten().collect()
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

/// Headers that describe the request itself.
const RESERVED: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "te"];
