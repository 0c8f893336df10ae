//! The types of a webhook: what arrives, the event that it becomes, and their names.

mod digest;
mod headers;
mod id;
mod origin;

use std::{borrow::Cow, fmt, io, sync::Arc};

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::{Body, Item};

pub use digest::Digest;
pub use headers::Headers;
pub use id::{EventId, EventIdError, RejectionId, RejectionIdError};
pub use origin::Origin;

/// A request that is not verified: anybody may have sent it.
///
/// Its `Debug` shows the length of the body and nothing of its content.
#[derive(Clone)]
pub struct Arrival {
    /// When the whole body had been received, by the receiver's clock.
    pub received_at: Timestamp,
    /// Its method, URL and headers.
    pub head: Head,
    /// The body, byte for byte as it came.
    pub body: Body,
}

/// The head of a request.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// `POST`.
    pub method: Cow<'static, str>,
    /// The URL by which the provider knows this endpoint, with scheme, host and query. Empty if the
    /// scheme does not sign it.
    pub url: String,
    /// The header fields.
    pub headers: Headers,
}

impl Head {
    /// What follows the `?` of the URL.
    pub(crate) fn query(&self) -> &str {
        self.url.split_once('?').map(|(_, query)| query).unwrap_or_default()
    }
}

/// A verified webhook that was recorded: what destinations and endpoint functions see.
///
/// Its `Debug` shows the length of the body and nothing of its content.
#[derive(Clone, PartialEq)]
pub struct Event {
    /// Unique, and the same in every attempt to deliver it.
    pub id: EventId,
    /// The source that it came to.
    pub source: SourceName,
    /// The name of the provider that sent it. Event names have the meaning that it gives them.
    pub provider: String,
    /// What happened, in the provider's words: `booking.updated`. `unknown` if the body does not
    /// name an event.
    pub name: String,
    /// What it is about: for freispace `booking/<uuid>`. `None` if the body does not say.
    pub subject: Option<String>,
    /// When its last byte had been received.
    pub received_at: Timestamp,
    /// The name of the secret that matched, such as `env:FREISPACE_SECRET`, or of the token with which the
    /// event was fetched.
    pub secret_name: String,
    /// SHA-256 of the body.
    pub digest: Digest,
    /// Set if the provider sent the same delivery id before, with another body.
    pub conflict: bool,
    /// How it got here.
    pub origin: Origin,
    /// The headers that came with it.
    pub headers: Headers,
    /// The body, byte for byte as it was signed, or as it was in the list that it was fetched from; of an
    /// item only that item.
    pub body: Body,
    /// The number of the item, if this is one of those that a route splits an event into.
    pub item: Option<u32>,
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bodies contain customers' data, which must not get into logs.
        let Self { received_at, head, body } = self;
        f.debug_struct("Arrival")
            .field("received_at", received_at)
            .field("head", head)
            .field("body_bytes", &body.len())
            .finish()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            source,
            provider,
            name,
            subject,
            received_at,
            secret_name,
            digest,
            conflict,
            origin,
            headers,
            body,
            item,
        } = self;
        f.debug_struct("Event")
            .field("id", id)
            .field("source", source)
            .field("provider", provider)
            .field("name", name)
            .field("subject", subject)
            .field("received_at", received_at)
            .field("secret_name", secret_name)
            .field("digest", digest)
            .field("conflict", conflict)
            .field("origin", origin)
            .field("headers", headers)
            .field("body_bytes", &body.len())
            .field("item", item)
            .finish()
    }
}

impl Event {
    /// The id by which a destination knows it: `evt_…`, and of an item `evt_…_0`.
    pub fn delivered_id(&self) -> String {
        match self.item {
            Some(number) => format!("{}_{number}", self.id),
            None => self.id.to_string(),
        }
    }

    /// One of its items as an event, with a copy of the bytes of that item in memory.
    ///
    /// # Errors
    ///
    /// The body does not reach that far, or cannot be read.
    pub fn item(&self, item: Item) -> io::Result<Self> {
        let body = self.body.part(item.start..item.end)?;
        let (digest, item) = (Digest::of(&body), Some(item.number));
        Ok(Self { digest, body: body.into(), item, ..self.clone() })
    }

    /// Reads the member `data` of the JSON body as a `T`: a type of [`freispace`](crate::freispace)
    /// or one of your own. A large body is read chunk by chunk, which blocks.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the body has no `data`, if its shape is another, or if it cannot be read.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        #[derive(serde::Deserialize)]
        struct Data<T> {
            data: T,
        }
        let read: Result<Data<T>, _> = match self.body.is_stored() {
            true => serde_json::from_reader(self.body.reader()),
            false => self
                .body
                .contiguous(usize::MAX)
                .map_err(serde_json::Error::io)
                .and_then(|whole| serde_json::from_slice(&whole)),
        };
        let wrong = |cause| DataError { event: self.name.clone(), cause };
        read.map(|Data { data }| data).map_err(wrong)
    }
}

/// The body of an event does not have the shape that the function expects.
#[derive(Debug, thiserror::Error)]
#[error("data of {event} does not have the expected shape: {cause}")]
pub struct DataError {
    event: String,
    cause: serde_json::Error,
}

/// The name of a source in the configuration. It appears in logs, metrics and variables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(Arc<str>);

impl SourceName {
    /// Takes 1 to 64 of `a`–`z`, `A`–`Z`, `0`–`9`, `-` and `_`.
    ///
    /// # Errors
    ///
    /// [`NameError`] if the name has another length or another character.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
            return Err(NameError(name.chars().take(80).collect()));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text cannot name a source.
#[derive(Debug, thiserror::Error)]
#[error("invalid name {0:?}: expected 1 to {NAME_BYTES_MAX} letters, digits, `-` and `_`")]
pub struct NameError(String);

const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debug_print_of_an_event_or_an_arrival_shows_no_body() {
        let (received_at, body) = (Timestamp::UNIX_EPOCH, Body::from(&b"canary"[..]));
        let headers = Headers::from_pairs([("cookie", "canary")]);
        let event = Event {
            id: EventId::from_bits(1),
            source: SourceName::new("office").unwrap(),
            provider: "freispace".into(),
            name: "booking.updated".into(),
            subject: None,
            received_at,
            secret_name: "env:X".into(),
            digest: Digest::of_body(&body).unwrap(),
            conflict: false,
            origin: Origin::Webhook,
            item: None,
            headers: headers.clone(),
            body: body.clone(),
        };
        let head = Head { headers, ..Head::default() };
        let arrival = Arrival { received_at, head, body };
        for printed in [format!("{event:#?}"), format!("{arrival:?}")] {
            // Neither as text nor as the numbers of its bytes.
            assert!(!printed.contains("canary") && !printed.contains("99, 97"), "{printed}");
            assert!(printed.contains("body_bytes: 6"), "{printed}");
        }
    }

    #[test]
    fn a_source_name_can_be_used_in_a_label_and_in_a_variable() {
        for bad in ["", "a b", "a\"b", "ü", "a/b", &"x".repeat(65)] {
            assert!(SourceName::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(SourceName::new("freispace-2_b").unwrap().as_str(), "freispace-2_b");
    }
}
