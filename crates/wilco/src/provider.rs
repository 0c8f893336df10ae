//! The providers: how each one signs, and where its requests name the event, subject and delivery.
//!
//! A provider is a data file in `providers/`, which is compiled in. To add a provider, add a file.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;
use serde_json::error::Category;

use crate::{
    Scheme, Verified,
    path::{self, Path},
    place::{Half, Place},
};

/// Every provider that this version knows.
pub fn all() -> &'static [Provider] {
    static PROVIDERS: LazyLock<Vec<Provider>> = LazyLock::new(|| {
        #[expect(
            clippy::expect_used,
            reason = "the files are compiled in and every one is parsed by a test"
        )]
        let parsed =
            FILES.iter().map(|text| toml::from_str(text).expect("a provider parses")).collect();
        parsed
    });
    &PROVIDERS
}

/// The provider with this name, which is the word in the configuration.
pub fn find(name: &str) -> Option<&'static Provider> {
    all().iter().find(|provider| provider.name == name)
}

/// Every name that the provider uses for the event that it calls `name`, itself among them: for
/// freispace, `offer.finalized` and `quote.finalized` are one event. Names of a provider that this
/// version does not know have no synonyms.
pub fn synonyms<'a>(provider: &str, name: &'a str) -> Vec<&'a str> {
    let mut names = vec![name];
    if let Some(Provider { events: Events { aliases, .. }, .. }) = find(provider) {
        let documented = aliases.get(name).map_or(name, String::as_str);
        for (alias, of) in aliases {
            if of == documented {
                names.extend([alias.as_str(), of.as_str()]);
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// A sender of webhooks: its signature scheme, and where its requests name event, subject and
/// delivery.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The word in the configuration.
    pub name: String,
    /// The provider's page that says how it signs.
    pub docs: String,
    /// How it signs.
    pub scheme: Scheme,
    envelope: EnvelopePlaces,
    events: Events,
    /// Requests that the provider or its libraries publish as tests. The tests read them.
    #[serde(default, rename = "vector")]
    _vectors: serde::de::IgnoredAny,
}

impl Provider {
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
        let EnvelopePlaces { name, subject, delivery_id, content } = &self.envelope;
        let arrival = verified.arrival();
        let places = || name.iter().chain(subject).chain(delivery_id);
        let paths: Vec<&Path> = places().filter_map(Place::path).collect();
        let whole = arrival.body.contiguous();
        let mut members = match content {
            Content::Object | Content::Json => {
                let text = std::str::from_utf8(&whole).map_err(|_| EnvelopeError::NotUtf8)?;
                let is_array_allowed = *content == Content::Json;
                path::values(text, &paths, is_array_allowed).map_err(EnvelopeError::of)?
            }
            Content::Any => Vec::new(),
        }
        .into_iter();
        let mut values = places().map(|place| match place.path() {
            Some(_) => members.next().flatten(),
            None => {
                let half = match place.is_in_body() {
                    true => Half::Body(&arrival.body),
                    false => Half::Head(&arrival.head),
                };
                let value = place.value(half).ok()?;
                Some(Cow::Owned(String::from_utf8_lossy(&value).into_owned()))
            }
        });
        let names: Vec<_> = values.by_ref().take(name.len()).flatten().collect();
        let names = names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(".");
        let subject: Option<Vec<_>> = values.by_ref().take(subject.len()).collect();
        Ok(Envelope {
            provider: self.name.clone(),
            name: if names.is_empty() { UNKNOWN.to_owned() } else { names },
            subject: subject.filter(|parts| !parts.is_empty()).map(|parts| parts.join("/")),
            delivery_id: values.next().flatten().map(Cow::into_owned),
        })
    }

    /// The names of all events that the provider documents.
    pub fn events(&self) -> impl Iterator<Item = &str> {
        self.events.names.iter().map(String::as_str)
    }

    /// The documented name of an event: an alias becomes that name, and an event with actions loses
    /// the action. `None` for an event that the provider does not document, which is accepted all
    /// the same.
    pub fn documented<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let name = self.events.aliases.get(name).map_or(name, String::as_str);
        self.events.names.iter().find_map(|known| match known.strip_suffix(".*") {
            // `pull_request.opened`: the body says which action, so they cannot be listed here.
            Some(event) => {
                let rest = name.strip_prefix(event)?;
                (rest.is_empty() || rest.starts_with('.')).then_some(event)
            }
            None => (known == name).then_some(known.as_str()),
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
}

impl EnvelopeError {
    #[expect(clippy::needless_pass_by_value, reason = "it is the end of the error")]
    fn of(error: serde_json::Error) -> Self {
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
struct EnvelopePlaces {
    /// Joined by dots; absent values are left out.
    name: Vec<Place>,
    /// Joined by slashes; `None` unless all are present.
    #[serde(default)]
    subject: Vec<Place>,
    /// An id that stays the same if the provider sends the same delivery again.
    #[serde(default)]
    delivery_id: Option<Place>,
    #[serde(default)]
    content: Content,
}

/// What the body has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Content {
    /// One JSON object.
    #[default]
    Object,
    /// One JSON object or array.
    Json,
    /// Anything: a form, a text, nothing.
    Any,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Events {
    names: Vec<String>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

// `FILES`: the text of each file in `providers/`.
include!(concat!(env!("OUT_DIR"), "/providers.rs"));
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, Head, Headers, Secret, SourceName, Unsigned, verify};

    fn check(body: &[u8]) -> Result<Envelope, EnvelopeError> {
        let freispace = find("freispace").unwrap();
        let secret = Secret::new("t", b"a-made-up-secret".to_vec()).unwrap();
        let key = freispace.scheme.key(&secret).unwrap();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let headers = freispace.scheme.sign(&secret, &Unsigned::post(body, now)).unwrap();
        let head = Head { headers: Headers::from_pairs(headers), ..Head::default() };
        let arrival = Arrival { received_at: now, head, body: body.to_vec().into() };
        let source = SourceName::new("t").unwrap();
        freispace.envelope(&verify(&freispace.scheme, &source, &[key], arrival).unwrap())
    }

    #[test]
    fn every_provider_parses_and_has_its_own_name() {
        let mut names: Vec<_> = all().iter().map(|provider| &provider.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FILES.len());
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
    fn what_is_not_a_json_object_in_utf_8_is_refused() {
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
    fn nesting_of_any_depth_is_passed_over() {
        let deep =
            format!(r#"{{"event":"e","data":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(check(deep.as_bytes()).unwrap().name, "e");
    }

    #[test]
    fn names_are_documented_with_their_aliases_and_actions() {
        let freispace = find("freispace").unwrap();
        assert_eq!(freispace.documented("quote.finalized"), Some("offer.finalized"));
        assert_eq!(freispace.documented("offer.finalized"), Some("offer.finalized"));
        assert_eq!(freispace.documented("booking.exploded"), None);
        assert_eq!(freispace.events().count(), 15);
        let github = find("github").unwrap();
        assert_eq!(github.documented("pull_request.opened"), Some("pull_request"));
        assert_eq!(github.documented("pull_request_review"), Some("pull_request_review"));
        assert_eq!(github.documented("push"), Some("push"));
        assert_eq!(github.documented("push.x"), None);
        let both = ["offer.finalized", "quote.finalized"];
        for (provider, name, expected) in [
            ("freispace", "quote.finalized", &both[..]),
            ("freispace", "offer.finalized", &both),
            ("freispace", "push", &["push"]),
            ("github", "offer.finalized", &["offer.finalized"]),
            ("unheard-of", "offer.finalized", &["offer.finalized"]),
        ] {
            assert_eq!(synonyms(provider, name), expected, "{provider} {name}");
        }
    }
}
