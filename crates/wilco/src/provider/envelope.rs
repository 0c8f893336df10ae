//! Which event a request is, and what it is about.

use std::{borrow::Cow, io};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::error::Category;

use super::Provider;
use crate::{
    Arrival, Fetched, Verified,
    path::{self, Path},
    place::Place,
    words::words,
};

impl Provider {
    /// Whether a request whose body equals the one before is an event of its own.
    pub fn keeps_duplicates(&self) -> bool {
        self.envelope.duplicates == EqualBodies::Keep
    }

    /// What the body of its events has to be.
    pub fn content(&self) -> Content {
        self.envelope.content
    }

    /// Reads which event this is and what it is about, in one pass over the body.
    ///
    /// A member that is absent, `null` or an object leaves its part unset. If a member occurs
    /// twice, the last one counts, as in PHP, Python and Ruby.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] if the body does not have the form that the provider sends: for most, JSON
    /// (RFC 8259) in UTF-8.
    pub fn envelope(&self, verified: &Verified) -> Result<Envelope, EnvelopeError> {
        self.envelope_of(verified.arrival())
    }

    /// The same of an event that was fetched from the provider.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`], as for [`envelope`](Self::envelope).
    pub fn envelope_of_fetched(&self, fetched: &Fetched) -> Result<Envelope, EnvelopeError> {
        self.envelope_of(fetched.arrival())
    }

    /// What a request says that it is about, whether or not it is verified. `None` if it does not say so.
    pub fn claimed_subject(&self, arrival: &Arrival) -> Option<String> {
        self.envelope_of(arrival).ok()?.subject
    }

    fn envelope_of(&self, arrival: &Arrival) -> Result<Envelope, EnvelopeError> {
        let EnvelopePlaces { name, subject, delivery_id, content, .. } = &self.envelope;
        let places = || name.iter().chain(subject).chain(delivery_id);
        let paths: Vec<&Path> = places().filter_map(Place::path).collect();
        let is_array_allowed = *content == Content::Json;
        let whole: Bytes;
        let members = match content {
            Content::Any => Vec::new(),
            _ if arrival.body.is_stored() => {
                let values = path::stored_values(&arrival.body, &paths, is_array_allowed);
                values.map_err(EnvelopeError::of)?.into_iter().map(|v| v.map(Cow::Owned)).collect()
            }
            Content::Object | Content::Json => {
                whole = arrival.body.contiguous(usize::MAX)?;
                let text = std::str::from_utf8(&whole).map_err(|_| EnvelopeError::NotUtf8)?;
                path::values(text, &paths, is_array_allowed).map_err(EnvelopeError::of)?
            }
        };
        let mut members = members.into_iter();
        let mut values = places().map(|place| match place.path() {
            Some(_) => members.next().flatten(),
            None => {
                let value = place.value_in(arrival)?;
                Some(Cow::Owned(String::from_utf8_lossy(&value).into_owned()))
            }
        });
        let names: Vec<_> = values.by_ref().take(name.len()).flatten().collect();
        let names = names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(".");
        // All of them are taken, also if one is absent: the delivery id comes after them.
        let subject: Vec<_> = values.by_ref().take(subject.len()).collect();
        let subject: Option<Vec<_>> = subject.into_iter().collect();
        Ok(Envelope {
            provider: self.name.clone(),
            name: if names.is_empty() { UNKNOWN.to_owned() } else { names },
            subject: subject.filter(|parts| !parts.is_empty()).map(|parts| parts.join("/")),
            delivery_id: values.next().flatten().map(Cow::into_owned),
        })
    }
}

/// Which event this is and what it is about, as far as recording and routing need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who sent it: the name of the provider that read this.
    pub provider: String,
    /// What happened: `booking.updated`. `unknown` if the body does not say.
    pub name: String,
    /// What it is about: `booking/<uuid>`.
    pub subject: Option<String>,
    /// The id that the provider gave this delivery; freispace gives none.
    pub delivery_id: Option<String>,
}

/// The signature is valid, but the body is not a JSON object.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// JSON is UTF-8 (RFC 8259, section 8.1).
    #[error("body is not UTF-8")]
    NotUtf8,
    /// Not JSON, or an array, a number or a text.
    #[error("body is not a JSON object: {what} at line {line}, column {column}")]
    NotAnObject {
        /// What the parser found. It contains nothing of the body, because it is logged.
        what: &'static str,
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1.
        column: usize,
    },
    /// It is stored somewhere else, and not there any more.
    #[error("body cannot be read: {0}")]
    Unread(#[from] io::Error),
}

impl EnvelopeError {
    fn of(error: serde_json::Error) -> Self {
        if error.is_io() {
            let error = io::Error::from(error);
            return match error.kind() {
                io::ErrorKind::InvalidData => Self::NotUtf8,
                _ => Self::Unread(error),
            };
        }
        let what = match error.classify() {
            Category::Data => "another kind of value",
            Category::Eof => "an early end",
            Category::Syntax | Category::Io => "a fault in the syntax",
        };
        Self::NotAnObject { what, line: error.line(), column: error.column() }
    }
}

/// Where the parts of the envelope are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct EnvelopePlaces {
    /// Joined by dots; absent values are left out.
    pub(super) name: Vec<Place>,
    /// Joined by slashes; `None` unless all are present.
    #[serde(default)]
    pub(super) subject: Vec<Place>,
    /// An id that stays the same if the provider sends the same delivery again.
    #[serde(default)]
    pub(super) delivery_id: Option<Place>,
    #[serde(default)]
    content: Content,
    /// The array that holds several events in one request; the body itself where the path is empty.
    #[serde(default)]
    pub(super) batch: Option<Batch>,
    /// What a body means that equals the one before, if there is no id.
    #[serde(default)]
    duplicates: EqualBodies,
}

words! {
    /// What a request means whose body equals the one before, if the provider gives no delivery id.
    #[derive(Default)]
    pub enum EqualBodies {
        /// The same event, sent again.
        #[default]
        Suppress = "suppress",
        /// Another event: the body says only that something happened.
        Keep = "keep",
    }
}

impl EnvelopePlaces {
    /// Whether the body is an object or an array of JSON.
    pub(super) fn is_json(&self) -> bool {
        self.content != Content::Any
    }

    /// Whether these places can have values at all.
    pub(super) fn check(&self) -> Result<(), String> {
        let places = || self.name.iter().chain(&self.subject).chain(&self.delivery_id);
        let has_json = places().any(|place| place.path().is_some());
        let what = match self.content {
            _ if self.name.is_empty() => "expected at least one place of the \"name\"",
            _ if places().any(|place| place.claim().is_some()) => "unexpected claim of a token",
            _ if self.delivery_id.as_ref().is_some_and(Place::is_constant) => {
                "a constant \"delivery-id\" would make every delivery a duplicate of the first"
            }
            Content::Any if has_json || self.batch.is_some() => {
                "content = \"any\" is not read as JSON: expected content = \"object\" or \"json\""
            }
            Content::Object if self.batch.as_ref().is_some_and(|batch| batch.0.is_empty()) => {
                "batch = \"\" is a body that is an array: expected content = \"json\""
            }
            Content::Object | Content::Json | Content::Any => return Ok(()),
        };
        Err(format!("envelope: {what}"))
    }
}

/// The path of an array; empty for the whole body.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Batch(pub(super) String);

impl TryFrom<String> for Batch {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        match path.is_empty() {
            true => Ok(Self(path)),
            false => Path::try_from(path).map(|path| Self(path.to_string())),
        }
    }
}

words! {
    /// What the body has to be.
    #[derive(Default)]
    pub enum Content {
        /// One JSON object.
        #[default]
        Object = "object",
        /// One JSON object or array.
        Json = "json",
        /// Anything: a form, a text, nothing.
        Any = "any",
    }
}

const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, Head, Headers, Secret, SourceName, Unsigned, provider::find, verify};

    fn check(body: &[u8]) -> Result<Envelope, EnvelopeError> {
        check_of("freispace", body)
    }

    fn check_of(provider: &str, body: &[u8]) -> Result<Envelope, EnvelopeError> {
        let provider = find(provider).unwrap();
        let secret = Secret::new("t", b"a-made-up-secret".to_vec()).unwrap();
        let key = provider.scheme.key(&secret).unwrap();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let headers = provider.scheme.sign(&secret, &Unsigned::post(body, now)).unwrap();
        let head = Head { headers: Headers::from_pairs(headers), ..Head::default() };
        let arrival = Arrival { received_at: now, head, body: body.to_vec().into() };
        let source = SourceName::new("t").unwrap();
        provider.envelope(&verify(&provider.scheme, &source, &[key], arrival).unwrap())
    }

    #[test]
    fn the_delivery_id_is_found_whether_or_not_there_is_a_subject() {
        for (body, subject) in [
            (
                r#"{"id":"evt_1","data":{"object":{"object":"invoice","id":"in_1"}}}"#,
                Some("invoice/in_1"),
            ),
            (r#"{"id":"evt_1","data":{"object":{"id":"in_1"}}}"#, None),
            (r#"{"id":"evt_1","data":{"object":{"object":"invoice"}}}"#, None),
            (r#"{"id":"evt_1"}"#, None),
        ] {
            let envelope = check_of("stripe", body.as_bytes()).unwrap();
            let found = (envelope.delivery_id.as_deref(), envelope.subject.as_deref());
            assert_eq!(found, (Some("evt_1"), subject), "{body}");
        }
    }

    #[test]
    fn the_envelope_is_read_whatever_else_the_body_holds() {
        for (body, name, subject) in [
            (
                r#"{"event":"booking.created","type":"booking","id":"7f"}"#,
                "booking.created",
                Some("booking/7f"),
            ),
            (
                r#"{"data":{"event":"no","id":"no"},"id":7,"type":"t","event":"e"}"#,
                "e",
                Some("t/7"),
            ),
            (
                r#"{"event":"booking.updated","id":"a","event":"last","type":"t"}"#,
                "last",
                Some("t/a"),
            ),
            (r#"{"ev\u0065nt":"\u0062ooking","type":"x"}"#, "booking", None),
            (r#"{"event":null,"type":"x","id":null}"#, "unknown", None),
            (
                r#"{"\ud83d":1,"event":"e\ud83d","id":"\udc00 \ud83d\ude00","type":"t","data":"\ud83d"}"#,
                "e\u{fffd}",
                Some("t/\u{fffd} \u{1f600}"),
            ),
            (r#"{"event":"","type":[],"id":{}}"#, "unknown", None),
            ("{}", "unknown", None),
            (" \n{ }\t", "unknown", None),
        ] {
            let envelope = check(body.as_bytes()).unwrap();
            assert_eq!(
                (envelope.name.as_str(), envelope.subject.as_deref()),
                (name, subject),
                "{body}"
            );
        }
    }

    #[test]
    fn a_body_that_is_not_a_json_object_in_utf_8_is_refused() {
        let rows: [&[u8]; 19] = [
            b"",
            b"\"canary\"",
            b"{\"canary\"}",
            b"null",
            b"[]",
            b"[{}]",
            b"7",
            b"\"{}\"",
            b"{",
            b"{}{}",
            b"{} x",
            b"{\"a\":}",
            b"{'a':1}",
            b"{\"a\":\"\xff\"}",
            b"\xef\xbb\xbf{}",
            b"{\"a\nb\":1}",
            b"{\"a\":\"\\ud83\"}",
            b"{\"a\\x\":1}",
            b"{a:1}",
        ];
        for row in rows {
            let error = check(row).unwrap_err().to_string();
            assert!(error.starts_with("body is not"), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn members_nested_to_any_depth_are_skipped() {
        let deep =
            format!(r#"{{"event":"e","data":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(check(deep.as_bytes()).unwrap().name, "e");
    }
}
