//! The table of presets: how each provider signs and where its events name themselves.
//!
//! A provider is a file of data in `providers/`, compiled in. Adding one is adding a file and a row
//! to `FILES`.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::LazyLock};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use crate::{Scheme, Verified};

/// Every provider that this version knows.
pub fn all() -> &'static [Provider] {
    static PROVIDERS: LazyLock<Vec<Provider>> = LazyLock::new(|| {
        #[expect(
            clippy::expect_used,
            reason = "the files are compiled in and every one is parsed by a test"
        )]
        let parsed =
            FILES.iter().map(|file| toml::from_str(file).expect("a preset parses")).collect();
        parsed
    });
    &PROVIDERS
}

/// The provider of this name, as the configuration writes it.
pub fn find(name: &str) -> Option<&'static Provider> {
    all().iter().find(|provider| provider.name == name)
}

/// Every name that providers use for the same event as `name`, itself among them:
/// `offer.finalized` and `quote.finalized` are one.
pub fn synonyms(name: &str) -> Vec<&str> {
    let mut names = vec![name];
    for Events { aliases, .. } in all().iter().map(|provider| &provider.events) {
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

/// Who sends: its signature scheme, and where its event name and subject stand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The word in the configuration.
    pub name: String,
    /// The provider's page that says how it signs.
    pub docs: String,
    /// How it signs.
    pub scheme: Scheme,
    envelope: Places,
    events: Events,
}

impl Provider {
    /// Reads which event this is and what it is about: one pass over the body, no tree.
    ///
    /// Members that say nothing (absent, `null`, an object) leave their part unset. Of a member that
    /// comes twice the last counts, as in PHP, Python and Ruby.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] where the body is not a JSON object (RFC 8259) in UTF-8.
    pub fn envelope(&self, verified: &Verified) -> Result<Envelope, EnvelopeError> {
        let text =
            std::str::from_utf8(&verified.arrival().body).map_err(|_| EnvelopeError::NotUtf8)?;
        let mut reader = serde_json::Deserializer::from_str(text);
        let members = reader.deserialize_map(Members(&self.envelope)).map_err(EnvelopeError::of)?;
        reader.end().map_err(EnvelopeError::of)?;

        let name = members.name.filter(|name| !name.is_empty()).unwrap_or(Cow::Borrowed(UNKNOWN));
        let subject =
            members.subject.into_iter().collect::<Option<Vec<_>>>().map(|parts| parts.join("/"));
        Ok(Envelope { name: name.into_owned(), subject, delivery_id: None })
    }

    /// The names of all events that the provider documents.
    pub fn events(&self) -> impl Iterator<Item = &str> {
        self.events.names.iter().map(String::as_str)
    }

    /// The documented name of an event: an alias becomes the name that it stands for. `None` for an
    /// event that the provider does not document, which is accepted all the same.
    pub fn documented<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let name = self.events.aliases.get(name).map_or(name, String::as_str);
        self.events.names.iter().any(|known| known == name).then_some(name)
    }
}

/// What stands on the outside of an event's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What happened: `booking.updated`. `unknown` where the body does not say.
    pub name: String,
    /// What it is about: `booking/<uuid>`.
    pub subject: Option<String>,
    /// The id that the provider gave this delivery; freispace gives none.
    pub delivery_id: Option<String>,
}

/// The signature is right and the body is not a JSON object.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// JSON is UTF-8 (RFC 8259, section 8.1).
    #[error("body is not UTF-8")]
    NotUtf8,
    /// Not JSON, or an array, a number or a text.
    #[error("body is not a JSON object: {what} at line {line}, column {column}")]
    NotAnObject {
        /// What the reader met, without a word of the body: it ends up in logs.
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

/// Where the parts of the envelope stand: members of the body's object.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Places {
    name: String,
    subject: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Events {
    names: Vec<String>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

/// Collects the wanted members and passes over the rest.
struct Members<'p>(&'p Places);

struct Found<'b> {
    name: Option<Cow<'b, str>>,
    subject: Vec<Option<Cow<'b, str>>>,
}

impl<'b> Visitor<'b> for Members<'_> {
    type Value = Found<'b>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<Found<'b>, A::Error> {
        let mut found = Found { name: None, subject: vec![None; self.0.subject.len()] };
        while let Some((key, value)) = map.next_entry::<&'b RawValue, &'b RawValue>()? {
            let Some(key) = scalar(key) else { continue };
            if key == self.0.name {
                found.name = scalar(value);
            }
            for (place, part) in self.0.subject.iter().zip(&mut found.subject) {
                if key == *place {
                    *part = scalar(value);
                }
            }
        }
        Ok(found)
    }
}

/// A text borrowed from the body where it has no escapes. An escape for half a character, which
/// JSON allows and software that cuts a text by UTF-16 units writes, becomes U+FFFD.
struct Text<'b>(Cow<'b, str>);

impl<'b> Deserialize<'b> for Text<'b> {
    fn deserialize<D: Deserializer<'b>>(deserializer: D) -> Result<Self, D::Error> {
        struct Legible;

        impl<'b> Visitor<'b> for Legible {
            type Value = Text<'b>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'b [u8]) -> Result<Text<'b>, E> {
                Ok(Text(String::from_utf8_lossy(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text<'b>, E> {
                // Half a character comes as three bytes, each of them invalid.
                let text =
                    String::from_utf8_lossy(bytes).replace("\u{fffd}\u{fffd}\u{fffd}", "\u{fffd}");
                Ok(Text(Cow::Owned(text)))
            }
        }

        // As a string it would have to be whole characters.
        deserializer.deserialize_bytes(Legible)
    }
}

/// A string's text, or a number as it is written; nothing for what has no plain text.
fn scalar(value: &RawValue) -> Option<Cow<'_, str>> {
    match value.get().as_bytes() {
        [b'"', ..] => serde_json::from_str::<Text<'_>>(value.get()).ok().map(|Text(text)| text),
        [b'-' | b'0'..=b'9', ..] => Some(Cow::Borrowed(value.get())),
        _ => None,
    }
}

const FILES: &[&str] = &[include_str!("../providers/freispace.toml")];
const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, Headers, Secret, SourceName, verify};

    fn check(body: &[u8]) -> Result<Envelope, EnvelopeError> {
        let freispace = find("freispace").unwrap();
        let secret = Secret::new("t", b"a-made-up-secret".to_vec()).unwrap();
        let (header, value) = freispace.scheme.sign(&secret, body);
        let arrival = Arrival {
            received_at: jiff::Timestamp::UNIX_EPOCH,
            headers: Headers::from_pairs([(header, value)]),
            body: body.to_vec().into(),
        };
        let verified =
            verify(&freispace.scheme, &SourceName::new("t").unwrap(), &[secret], arrival).unwrap();
        freispace.envelope(&verified)
    }

    #[test]
    fn every_preset_parses_and_has_a_name_of_its_own() {
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
    fn both_names_of_a_quote_are_documented() {
        let freispace = find("freispace").unwrap();
        assert_eq!(freispace.documented("quote.finalized"), Some("offer.finalized"));
        assert_eq!(freispace.documented("offer.finalized"), Some("offer.finalized"));
        assert_eq!(freispace.documented("booking.exploded"), None);
        assert_eq!(freispace.events().count(), 15);
        assert_eq!(synonyms("quote.finalized"), ["offer.finalized", "quote.finalized"]);
        assert_eq!(synonyms("offer.finalized"), ["offer.finalized", "quote.finalized"]);
        assert_eq!(synonyms("push"), ["push"]);
    }
}
