//! A push notification: a message to a topic of an ntfy server.
//!
//! It is published as JSON to the root of the server, because headers can contain only ASCII
//! (<https://docs.ntfy.sh/publish/#publish-as-json>).

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderValue, Uri, header, request};
use serde::Serialize;
use wilco::Event;
use wilco_config::{
    Key, Reference, Setting, TableReader, TableView, TextError, Unresolved, ValueType, url,
};
use wilco_delivery::{Destination, Text, View};
use wilco_store::Claim;

use crate::{
    hidden::hidden_value,
    http_service::{Filled, HttpService, NotFilled, Requests, ServiceUrl, UrlInFile},
    kind::{Kind, OpenError, Settings, SharedSettings},
    preview::PreviewPart,
    text::{cut, is_alert, message_text},
};

pub(crate) static KIND: Kind = Kind {
    name: "ntfy",
    keys: &[
        Key::new("url", ValueType::TextOrReference, "\"https://ntfy.sh/my-topic\"")
            .required()
            .secret()
            .doc("the URL of the topic, such as `https://ntfy.sh/my-topic`"),
        Key::new("token", ValueType::Reference, "{ env = \"NTFY_TOKEN\" }")
            .secret()
            .doc("an access token"),
        Key::new("text", ValueType::Template, "\"{{ data.name }} is now {{ data.status.name }}\"")
            .required()
            .doc("the message"),
        Key::new("title", ValueType::Template, "\"{{ data.name }}\"")
            .absence("the topic")
            .doc("the title of the message"),
        Key::new("priority", ValueType::Template, "\"high\"").absence("`\"default\"`").doc(
            "`\"1\"` to `\"5\"`, or `\"min\"`, `\"low\"`, `\"default\"`, `\"high\"`, \
             `\"max\"`",
        ),
        Key::new("tags", ValueType::ListOf(&ValueType::Template), "[\"warning\"]")
            .doc("names of emojis, or other words"),
        Key::new("click", ValueType::Template, "\"{{ body.url }}\"")
            .secret()
            .doc("the URL that a tap on the message opens"),
    ],
    written_path: None,
    concurrency: 1,
    read: |keys| NtfySettings::read(keys).map(SharedSettings::new),
};

#[derive(Clone, Debug, PartialEq)]
struct NtfySettings {
    /// The URL of the topic.
    url: ServiceUrl,
    token: Option<Setting>,
    text: Text,
    title: Option<Text>,
    priority: Option<Text>,
    tags: Vec<Text>,
    click: Option<Text>,
}

impl NtfySettings {
    fn read(keys: &mut TableReader<'_>) -> Unresolved<Self> {
        let url = UrlInFile::read(keys, url_of_topic);
        let token = keys.reference("token");
        let text = keys.template("text", Text::parse);
        let title = keys.template("title", Text::parse);
        let priority = keys.template("priority", |text| {
            if !text.contains(['{', '%']) {
                priority(text).map_err(|what| TextError::new(what, "such as \"high\""))?;
            }
            Text::parse(text)
        });
        let tags = keys.parse_list("tags", |text| Text::parse(text).map_err(|error| error.message));
        let click = keys.template("click", Text::parse);
        let tags = tags.unwrap_or_default();
        Unresolved::new(move |table| {
            let url = url.and_then(|url| url.resolve(table));
            let token = token.and_then(|token| access_token(&token, table));
            Some(Self { url: url?, token, text: text?, title, priority, tags, click })
        })
    }
}

fn access_token(reference: &Reference, table: &TableView<'_>) -> Option<Setting> {
    let token = reference.setting(table)?;
    if bearer(&token).is_none() {
        let what = "the token contains a byte that headers cannot contain".into();
        reference.error(table, what, "copy it completely, and nothing else: tk_…");
        return None;
    }
    Some(token)
}

fn url_of_topic(text: &str) -> Result<Uri, String> {
    let url = url(text)?;
    match topic(&url) {
        Some(_) => Ok(url),
        None => {
            Err("the url must end in the name of a topic: letters, digits, - and _, 64 at most"
                .into())
        }
    }
}

#[async_trait]
impl Settings for NtfySettings {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    async fn open(&self, _: &str, timeout: Duration) -> Result<Arc<dyn Destination>, OpenError> {
        HttpService::open(&self.url, timeout, self.clone())
    }

    fn preview(&self, event: &Event) -> Result<Vec<PreviewPart>, String> {
        let Message { topic: _, message, title, priority, tags, click } = self.message(event)?;
        let token = self.token.as_ref();
        let token = token.map(|token| PreviewPart::secret("token", token.0.clone()));
        let priority = priority.map(|priority| priority.to_string()).unwrap_or_default();
        let texts = [
            ("text", message),
            ("title", title),
            ("priority", priority),
            ("tags", tags.join(", ")),
            ("click", click),
        ];
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        let texts = texts.map(|(name, text)| PreviewPart::text(name, text));
        Ok([self.url.preview()].into_iter().chain(token).chain(texts).collect())
    }

    fn hidden(&self) -> Vec<(String, String)> {
        let token = self.token.as_ref().and_then(|token| hidden_value("token", token));
        self.url.hidden().into_iter().chain(token).collect()
    }

    fn advise(&self, table: &TableView<'_>, is_about: &dyn Fn(&str) -> bool) {
        let Self { url: _, token: _, text, title, priority, tags, click } = self;
        let single = [("text", Some(text)), ("title", title.as_ref())].into_iter();
        let single = single.chain([("priority", priority.as_ref()), ("click", click.as_ref())]);
        for (key, text) in single.filter_map(|(key, text)| Some((key, text?))) {
            table.advise(key, text.advice(is_about, false));
        }
        for advice in tags.iter().flat_map(|tag| tag.advice(is_about, false)) {
            table.warn_about("tags", advice.message, &advice.hint);
        }
    }
}

/// A message in the JSON format of the server.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Message {
    topic: String,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    click: String,
}

impl NtfySettings {
    /// The message about an event, or why none can be made. An alert has only a text.
    fn message(&self, event: &Event) -> Result<Message, String> {
        let NtfySettings { url, token: _, text, title, priority, tags, click } = self;
        let topic = topic(&url.uri.0).unwrap_or_default().to_owned();
        let message = cut(message_text(event, text)?.trim(), TEXT_BYTES_MAX, bytes_in_json);
        if is_alert(event) {
            return Ok(Message { topic, message, ..Message::default() });
        }
        let view = View::of(event).map_err(|error| error.to_string())?;
        let fill = |key: &str, text: &Text| {
            let failed = |error| format!("the template of {key} failed: {error}");
            text.render(&view).map_err(failed)
        };
        let fill_any = |key: &str, text: &Option<Text>| {
            let filled = text.as_ref().map(|text| fill(key, text)).transpose();
            filled.map(|text| text.unwrap_or_default().trim().to_owned())
        };
        let tags: Result<Vec<_>, _> = tags.iter().map(|tag| fill("tags", tag)).collect();
        let tags = tags?.into_iter().map(|tag| tag.trim().to_owned());
        Ok(Message {
            topic,
            message,
            title: cut(&fill_any("title", title)?, TITLE_BYTES_MAX, bytes_in_json),
            priority: self::priority(&fill_any("priority", priority)?)?,
            tags: tags.filter(|tag| !tag.is_empty()).collect(),
            click: fill_any("click", click)?,
        })
    }
}

impl Requests for NtfySettings {
    fn fill(&self, request: request::Builder, claim: &Claim) -> Result<Filled, NotFilled> {
        let message = self.message(claim.event())?;
        let body = serde_json::to_vec(&message).map_err(|error| error.to_string())?;
        let mut request =
            request.uri(root(&self.url.uri.0)).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = self.token.as_ref().and_then(bearer) {
            request = request.header(header::AUTHORIZATION, token);
        }
        Ok((request, body.into()))
    }
}

/// The last part of the path, if it is a valid name of a topic.
fn topic(url: &Uri) -> Option<&str> {
    let (_, topic) = url.path().rsplit_once('/')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    ((1..=TOPIC_BYTES_MAX).contains(&topic.len()) && topic.bytes().all(is_name)).then_some(topic)
}

/// The URL to publish JSON to: without the topic.
fn root(url: &Uri) -> String {
    let (scheme, authority) = (url.scheme_str(), url.authority().map(|host| host.as_str()));
    let before = url.path().rsplit_once('/').map_or("", |(before, _)| before);
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    format!("{}://{}{before}/{query}", scheme.unwrap_or_default(), authority.unwrap_or_default())
}

/// A priority from 1 to 5 or its name; `None` for an empty text, which means `default`.
fn priority(text: &str) -> Result<Option<u8>, String> {
    Ok(Some(match text {
        "" => return Ok(None),
        "1" | "min" => 1,
        "2" | "low" => 2,
        "3" | "default" => 3,
        "4" | "high" => 4,
        "5" | "max" | "urgent" => 5,
        _ => {
            let expected = "expected 1 to 5, min, low, default, high or max";
            return Err(format!("invalid priority {text:?}: {expected}"));
        }
    }))
}

fn bearer(token: &Setting) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token.0.as_slice()].concat()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The length of a character in JSON, in bytes.
fn bytes_in_json(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c.is_ascii_control() => "\\u0000".len(),
        c => c.len_utf8(),
    }
}

/// Names of topics (`topicRegex` of the server).
const TOPIC_BYTES_MAX: usize = 64;
/// Bytes of a message in JSON. The server turns a text of 4,096 bytes into an attachment, and refuses a body
/// twice as large.
const TEXT_BYTES_MAX: usize = 4_095;
/// Bytes of a title in JSON, which leaves enough of the body for the text.
const TITLE_BYTES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_is_the_last_part_of_the_url_and_json_goes_to_the_rest() {
        for (url, expected) in [
            ("https://ntfy.sh/my-topic", Some(("my-topic", "https://ntfy.sh/"))),
            ("http://a:8080/push/T_1?auth=x", Some(("T_1", "http://a:8080/push/?auth=x"))),
            ("https://ntfy.sh/", None),
            ("https://ntfy.sh", None),
            ("https://ntfy.sh/my-topic/", None),
            ("https://ntfy.sh/my.topic", None),
        ] {
            let uri: Uri = url.parse().unwrap();
            let found = topic(&uri).map(|topic| (topic, root(&uri)));
            let found = found.as_ref().map(|(topic, root)| (*topic, root.as_str()));
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn a_priority_is_a_number_or_a_name() {
        for (text, expected) in [
            ("", Some(None)),
            ("1", Some(Some(1))),
            ("min", Some(Some(1))),
            ("low", Some(Some(2))),
            ("default", Some(Some(3))),
            ("high", Some(Some(4))),
            ("urgent", Some(Some(5))),
            ("max", Some(Some(5))),
            ("0", None),
            ("6", None),
            ("High", None),
        ] {
            assert_eq!(priority(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_size_of_a_text_is_that_of_its_json() {
        for text in ["a", "\"", "\\", "\n", "\u{8}", "\u{1}", "\u{7f}", "ä", "😀"] {
            let written = serde_json::to_string(text).unwrap().len() - 2;
            let counted: usize = text.chars().map(bytes_in_json).sum();
            assert!(counted >= written, "{text:?}: {counted} of {written}");
        }
    }
}
